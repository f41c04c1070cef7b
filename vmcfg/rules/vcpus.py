"""VMC3xx: vCPUs and their MPIDRs.

VMC302 to VMC306 are in `ranges`: if one of them is broken, there is no machine to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vmcfg.arm.affinity import GREATEST_AFF0, aff0, aff3, mpidr_of_id, mpidr_text
from vmcfg.description.written import MpidrRange
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Answer
from vmcfg.kernel.limits import GICV2_MOST_VCPUS, MOST_VCPUS
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine, Vcpu

MOST_SUGGESTED = 4
"""The maximum number of free MPIDRs in a hint, so that they fit on a line."""

SET_MPIDR = "KVM_SET_ONE_REG(MPIDR_EL1)"

GIC_IS_V3 = ((("gic", "version"), "GICv3"),)
"""The second place of rules about GICv3."""


# MPIDRs --------------------------------------------------------------------------------------


@machine_rule("VMC301", Answer(SET_MPIDR))
def duplicate_mpidr(machine: Machine) -> Iterator[Finding]:
    """Every vCPU must have its own MPIDR.

    KVM accepts any value. If two vCPUs share an MPIDR, only one of them gets their SPIs and SGIs:
    on Linux 6.1 the first, and on 6.12 to 7.3 the other. The guest finds only the redistributor of
    the first, so that the other gets no PPI. It is undefined which of them a PSCI call reaches.

    Source: sys_regs.c, Linux 7.2; tested with a guest on 6.1 to 7.3."""
    if len({vcpu.mpidr for vcpu in machine.vcpus}) == len(machine.vcpus):
        return
    kernel = Answer("KVM_CREATE_VCPU", "EEXIST", "set") if machine.has_mpidrs_as_ids else None
    users: dict[int, list[Path]] = {}
    taken: set[int] = set()
    for vcpu in sorted(machine.vcpus, key=lambda vcpu: vcpu.at):
        users.setdefault(vcpu.mpidr, []).append(vcpu.at)
    # Overlapping ranges share many MPIDRs for one reason: only the first of them is reported.
    seen: set[tuple[Path, ...]] = set()
    for mpidr, places in users.items():
        if len(places) > 1 and tuple(places) not in seen:
            seen.add(tuple(places))
            free = _free_mpidrs(machine, places[1:], taken)
            yield _shared_mpidr(mpidr, places, free, kernel)


def _shared_mpidr(
    mpidr: int, places: list[Path], free: list[str], kernel: Answer | None
) -> Finding:
    """Return the finding that the vCPUs at these places share an MPIDR; `free` are free MPIDRs."""
    first, second, *more = places
    name = mpidr_text(mpidr)
    message = f"MPIDR {name} is already used by another vCPU"
    if more:
        message = f"MPIDR {name} is used by {len(places)} vCPUs"
    suggested = ", ".join(free)
    is_one = suggested.replace(".", "").isdecimal()
    hint = "use a free MPIDR" if is_one else "use free MPIDRs"
    if suggested:
        hint += f", such as {suggested}"
    related = [(first, f"first use of {name}")]
    related += [(at, f"also {name}") for at in more]
    return Finding(
        second,
        message,
        hint=hint,
        related=tuple(related),
        label=f"{name} again",
        kernel=kernel,
    )


def _free_mpidrs(machine: Machine, places: list[Path], taken: set[int]) -> list[str]:
    """Return free MPIDRs for the vCPUs at the first of `places`, and add them to `taken`.

    For a range, they are one with as many vCPUs.
    """
    wrong = set(places)
    used = taken | {vcpu.mpidr for vcpu in machine.vcpus if vcpu.at not in wrong}
    found = []
    for at in places[:MOST_SUGGESTED]:
        mpidrs = [vcpu.mpidr for vcpu in machine.vcpus if vcpu.at == at]
        rows = len({mpidr >> 8 for mpidr in mpidrs})
        free = _free_range(used, rows, len(mpidrs) // rows)
        if free is not None:
            chosen = set(free.mpidrs())
            used |= chosen
            taken |= chosen
            found.append(str(free))
    return found


def _free_range(used: set[int], rows: int, width: int) -> MpidrRange | None:
    """Return the first free MPIDRs with `rows` values of Aff1 and `width` of Aff0."""
    for first in range(0, MOST_VCPUS >> 4, rows):
        for start in range(0, GREATEST_AFF0 + 2 - width, width):
            last = first + rows - 1
            free = MpidrRange((0, 0, first, start), (0, 0, last, start + width - 1))
            if last < MOST_VCPUS >> 4 and used.isdisjoint(free.mpidrs()):
                return free
    return None


@machine_rule("VMC307", Answer(SET_MPIDR), about="gic")
def nonzero_aff3_with_gicv3(machine: Machine) -> Iterator[Finding]:
    """With GICv3, Aff3 of every MPIDR must be 0.

    KVM accepts other values, but GICR_TYPER and GICD_IROUTER of the vGIC have no Aff3: the guest
    does not find the redistributor of such a vCPU.

    Source: vgic-mmio-v3.c:vgic_mmio_read_v3r_typer, Linux 7.2; tested with a guest on 6.1 to
    7.3."""
    if machine.gic_version() == 3:
        for vcpu in _first_of_each_place(machine, _has_aff3):
            message = (
                f"Aff3 of vCPU {vcpu.name} must be 0, not {aff3(vcpu.mpidr)}:"
                " a guest with GICv3 cannot reach it"
            )
            hint = "use 0 as the first of the four numbers"
            yield Finding(vcpu.at, message, hint=hint, related=GIC_IS_V3)


@machine_rule("VMC308", Answer(SET_MPIDR), about="gic")
def aff0_above_15_with_gicv3(machine: Machine) -> Iterator[Finding]:
    """With GICv3, Aff0 of every MPIDR must be at most 15.

    KVM accepts other values, but the target list of an SGI has 16 bits, one per Aff0. If a VM has
    vCPUs with Aff0 8 and 200, the SGIs of the guest for either of them reach 8 on Linux 6.12 to
    7.3, and 200 on 6.1. Other interrupts arrive.

    Source: vgic-mmio-v3.c:vgic_v3_dispatch_sgi, Linux 7.2; tested with a guest on 6.1 to 7.3."""
    if machine.gic_version() == 3:
        for vcpu in _first_of_each_place(machine, _has_great_aff0):
            message = (
                f"Aff0 of vCPU {vcpu.name} must be at most {GREATEST_AFF0} with GICv3,"
                " for SGIs to reach it"
            )
            hint = _numbering_of_kvm(vcpu, machine)
            yield Finding(vcpu.at, message, hint=hint, related=GIC_IS_V3)


@machine_rule("VMC309", Answer(SET_MPIDR), WARNING)
def possibly_unreachable_vcpu(machine: Machine) -> Iterator[Finding]:
    """Without `gic`, every MPIDR should be one that a guest with GICv3 can reach.

    With GICv3, which most VMMs create, Aff3 must be 0 and Aff0 must be at most 15. If the VMM
    creates a GICv2, write `gic: {version: 2, set_up_by: monitor}`.

    Source: vgic-mmio-v3.c, Linux 7.2."""
    if machine.gic is not None:
        return
    for vcpu in _first_of_each_place(machine, _is_unreachable_by_gicv3):
        if _has_aff3(vcpu):
            value = f"Aff3 {aff3(vcpu.mpidr)}, not 0"
            hint = "if the VMM creates a GICv2, add 'gic: {version: 2, set_up_by: monitor}'"
        else:
            value = f"Aff0 {aff0(vcpu.mpidr)}, above {GREATEST_AFF0}"
            hint = _numbering_of_kvm(vcpu, machine)
        message = f"vCPU {vcpu.name} has {value}: a guest with GICv3 cannot reach it"
        yield Finding(vcpu.at, message, hint=hint)


def _first_of_each_place(machine: Machine, is_wrong: Callable[[Vcpu], bool]) -> Iterator[Vcpu]:
    """Return the wrong vCPUs; of those that are written at the same place, only the first."""
    seen: set[Path] = set()
    for vcpu in machine.vcpus:
        if is_wrong(vcpu) and vcpu.at not in seen:
            seen.add(vcpu.at)
            yield vcpu


def _has_aff3(vcpu: Vcpu) -> bool:
    return aff3(vcpu.mpidr) != 0


def _has_great_aff0(vcpu: Vcpu) -> bool:
    return aff0(vcpu.mpidr) > GREATEST_AFF0


def _is_unreachable_by_gicv3(vcpu: Vcpu) -> bool:
    return vcpu.mpidr & _AFF3_OR_GREAT_AFF0 != 0


_AFF3_OR_GREAT_AFF0 = 0xFF << 24 | 0xFF & ~GREATEST_AFF0
"""The bits of a compressed MPIDR that no vCPU has which a guest with GICv3 can reach."""


def _numbering_of_kvm(vcpu: Vcpu, machine: Machine) -> str:
    """Return the hint for a vCPU whose Aff0 looks like an id: the MPIDR that KVM assigns to it.

    If the vCPU has other affinities, or another vCPU has that MPIDR, it is not what is meant.
    """
    ids = [other.mpidr for other in machine.vcpus if other.at == vcpu.at]
    as_range = mpidrs_of_ids(ids)
    if as_range is not None:
        return as_range
    number = aff0(vcpu.mpidr)
    meant = mpidr_of_id(number)
    is_used = any(other.mpidr == meant for other in machine.vcpus)
    if is_used or vcpu.mpidr != number:
        return f"use Aff0 from 0 to {GREATEST_AFF0}, and increase Aff1 for further vCPUs"
    return (
        f"if you mean the vCPU with id {number}, write {mpidr_text(meant)}:"
        f" KVM numbers Aff0 from 0 to {GREATEST_AFF0}"
    )


def mpidrs_of_ids(mpidrs: list[int]) -> str | None:
    """Return the hint for MPIDRs that are whole groups of 16 ids, written as Aff0, or None."""
    first, last = min(mpidrs), max(mpidrs)
    is_consecutive = sorted(mpidrs) == list(range(first, last + 1))
    if not is_consecutive or last > 255 or first % 16 != 0 or last % 16 != 15:
        return None
    first, last = first // 16, last // 16
    aff1 = f"{first}-{last}" if first != last else f"{first}"
    return f"write 0.0.{aff1}.0-15: KVM numbers Aff0 from 0 to 15"


# Numbers and ids ------------------------------------------------------------------------


ON_A_GICV2 = "on a host with a GICv2"


@machine_rule(
    "VMC310", Answer("KVM_CREATE_VCPU", "EINVAL", "set", condition=ON_A_GICV2), about="gic"
)
def too_many_vcpus_for_gicv2(machine: Machine) -> Iterator[Finding]:
    """A VM with GICv2 can have at most 8 vCPUs: its registers have one byte of CPU targets.

    A host with a GICv2 rejects the ninth vCPU. A host with a GICv3 that can emulate GICv2 accepts
    it and then rejects the GIC with E2BIG.

    Source: vgic-init.c:kvm_vgic_create; tested on 6.1 to 7.3 with a GICv2."""
    vcpus = len(machine.vcpus)
    if machine.gic_version() == 2 and vcpus > GICV2_MOST_VCPUS:
        message = f"the VM has {vcpus} vCPUs; GICv2 supports at most {GICV2_MOST_VCPUS}"
        hint = f"use GICv3, or reduce the VM to {GICV2_MOST_VCPUS} vCPUs"
        related = ((("gic", "version"), "GICv2"),)
        yield Finding(("vcpus",), message, hint=hint, related=related)


@machine_rule("VMC312", Answer("KVM_CREATE_VCPU", "EINVAL", "set"), about="has_mpidrs_as_ids")
def vcpu_id_out_of_range(machine: Machine) -> Iterator[Finding]:
    """With `vcpu_ids: mpidr`, the compressed MPIDR of every vCPU must be an id that KVM accepts:
    below 512.

    The compressed MPIDR has one byte per affinity, so only 0.0.0.0 to 0.0.1.255 are below 512. A
    host with a GICv2 accepts only ids below 8.

    Source: arm.c:kvm_arch_vcpu_precreate; tested on 6.1 to 7.3."""
    limit = MOST_VCPUS
    kernel = None
    if machine.gic_version() == 2:
        limit = GICV2_MOST_VCPUS
        kernel = Answer("KVM_CREATE_VCPU", "EINVAL", "set", condition=ON_A_GICV2)
    if not machine.has_mpidrs_as_ids:
        return
    for vcpu in _first_of_each_place(machine, lambda vcpu: vcpu.id >= limit):
        message = (
            f"the id of vCPU {vcpu.name} is {vcpu.id}, its MPIDR; KVM allows at most {limit - 1}"
        )
        is_beyond = vcpu.id >= MOST_VCPUS
        yield Finding(
            vcpu.at,
            message,
            hint="remove 'vcpu_ids: mpidr', or use MPIDRs from 0.0.0.0 to 0.0.1.255",
            kernel=None if is_beyond else kernel,
        )


RULES = (
    duplicate_mpidr,
    nonzero_aff3_with_gicv3,
    aff0_above_15_with_gicv3,
    possibly_unreachable_vcpu,
    too_many_vcpus_for_gicv2,
    vcpu_id_out_of_range,
)
