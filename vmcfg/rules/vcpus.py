"""VMC3xx: vCPUs and their MPIDRs.

VMC302 to VMC306 are in `ranges`: if one of them is broken, there is no machine to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from vmcfg.arm.affinity import GREATEST_AFF0, aff0, aff3, mpidr_of_id, mpidr_text
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Answer
from vmcfg.kernel.limits import GICV2_MOST_VCPUS
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine, Vcpu

SET_MPIDR = "KVM_SET_ONE_REG(MPIDR_EL1)"

GIC_IS_V3 = ((("gic", "version"), "GICv3"),)
"""Where a rule about GICv3 also points."""


# MPIDRs --------------------------------------------------------------------------------------


@machine_rule("VMC301", Answer(SET_MPIDR))
def mpidrs_distinct(machine: Machine) -> Iterator[Finding]:
    """No two vCPUs have one MPIDR.

    KVM takes any value; which of the two PSCI, SGIs and the GIC's registers then reach is undefined.
    (sys_regs.c, linux 7.2: no check on 6.1, 6.12, 7.2)"""
    if len({vcpu.mpidr for vcpu in machine.vcpus}) == len(machine.vcpus):
        return
    users: dict[int, list[Path]] = {}
    for vcpu in sorted(machine.vcpus, key=lambda vcpu: vcpu.at):
        users.setdefault(vcpu.mpidr, []).append(vcpu.at)
    unused = (mpidr for mpidr in map(mpidr_of_id, count()) if mpidr not in users)
    # Ranges that overlap share many MPIDRs for one cause: the first of them stands for all.
    seen: set[tuple[Path, ...]] = set()
    for mpidr, places in users.items():
        if len(places) > 1 and tuple(places) not in seen:
            seen.add(tuple(places))
            yield _shared_mpidr(mpidr, places, unused)


def _shared_mpidr(mpidr: int, places: list[Path], unused: Iterator[int]) -> Finding:
    """The finding that vCPUs at these places have one MPIDR; its hint takes from `unused`."""
    first, second, *more = places
    name = mpidr_text(mpidr)
    message = f"MPIDR {name} is another vCPU's already"
    if more:
        message = f"MPIDR {name} is that of {len(places)} vCPUs"
    # One for each vCPU but the first, as far as they fit on a line.
    wanted = min(len(places) - 1, 4)
    suggested = [mpidr_text(next(unused)) for _ in range(wanted)]
    related = [(first, f"vCPU {name} is first here")]
    related += [(at, f"vCPU {name} here too") for at in more]
    hint = f"not taken yet: {', '.join(suggested)}"
    return Finding(second, message, hint=hint, related=tuple(related))


@machine_rule("VMC307", Answer(SET_MPIDR))
def aff3_is_zero_with_gicv3(machine: Machine) -> Iterator[Finding]:
    """With GICv3, Aff3 of every MPIDR is 0.

    KVM takes it, but GICR_TYPER and GICD_IROUTER of the vGIC have no Aff3: the guest finds no redistributor of that
    vCPU. (vgic-mmio-v3.c:vgic_mmio_read_v3r_typer, linux 7.2)"""
    if machine.gic_version() == 3:
        for vcpu in _first_of_each_place(machine, _has_aff3):
            message = (
                f"vCPU {vcpu.name} has Aff3 {aff3(vcpu.mpidr)},"
                " but a guest with GICv3 can't reach it: Aff3 must be 0"
            )
            yield Finding(vcpu.at, message, related=GIC_IS_V3)


@machine_rule("VMC308", Answer(SET_MPIDR))
def aff0_below_16_with_gicv3(machine: Machine) -> Iterator[Finding]:
    """With GICv3, Aff0 of every MPIDR is at most 15.

    KVM takes it, but an SGI's target list has 16 bits, one for each Aff0. With 8 and 200 in one VM, a guest's SGIs for
    either of them reach 8 on 6.12 and 7.2, and 200 on 6.1.
    (vgic-mmio-v3.c:vgic_v3_dispatch_sgi, linux 7.2; measured)"""
    if machine.gic_version() == 3:
        for vcpu in _first_of_each_place(machine, _has_great_aff0):
            message = (
                f"vCPU {vcpu.name} has Aff0 {aff0(vcpu.mpidr)},"
                f" but with GICv3 an SGI can only name an Aff0 up to {GREATEST_AFF0}"
            )
            yield Finding(vcpu.at, message, hint=_numbering_of_kvm(vcpu), related=GIC_IS_V3)


@machine_rule("VMC309", Answer(SET_MPIDR), WARNING)
def affinities_fit_gicv3(machine: Machine) -> Iterator[Finding]:
    """Where the description says nothing of the GIC, MPIDRs are such as a guest with GICv3 can reach.

    With GICv3, which most monitors make, Aff3 must be 0 and Aff0 at most 15. Write
    `gic: {version: 2, set_up_by: monitor}` where the monitor makes a GICv2. (vgic-mmio-v3.c, linux 7.2)"""
    if machine.gic is not None:
        return
    for vcpu in _first_of_each_place(machine, _is_unreachable_by_gicv3):
        if _has_aff3(vcpu):
            what = f"Aff3 {aff3(vcpu.mpidr)}, not 0"
            hint = "write 'gic: {version: 2, set_up_by: monitor}' if the monitor makes a GICv2"
        else:
            what = f"Aff0 {aff0(vcpu.mpidr)}, above {GREATEST_AFF0}"
            hint = _numbering_of_kvm(vcpu)
        message = f"vCPU {vcpu.name} has {what}: with a GICv3 a guest can't reach it"
        yield Finding(vcpu.at, message, hint=hint)


def _first_of_each_place(machine: Machine, is_wrong: Callable[[Vcpu], bool]) -> Iterator[Vcpu]:
    """The wrong vCPUs, but of those that are written at one place only the first."""
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
    return _has_aff3(vcpu) or _has_great_aff0(vcpu)


def _numbering_of_kvm(vcpu: Vcpu) -> str:
    """What KVM assigns to a vCPU whose Aff0 looks like an id."""
    number = aff0(vcpu.mpidr)
    mpidr = mpidr_text(mpidr_of_id(number))
    return f"KVM's vCPU {number} is {mpidr}; a cluster holds 16 vCPUs, Aff0 0 to {GREATEST_AFF0}"


# Numbers and features ------------------------------------------------------------------------


@machine_rule("VMC310", Answer("KVM_CREATE_VCPU", "EINVAL", "set"))
def vcpus_fit_gicv2(machine: Machine) -> Iterator[Finding]:
    """A VM with GICv2 has at most 8 vCPUs: its registers have a byte of CPU targets.

    A host with a GICv2 refuses the ninth vCPU. One with a GICv3 that can emulate GICv2 takes it, and then refuses the
    GIC with E2BIG. (vgic-init.c:kvm_vgic_create; measured on 6.1, 6.12, 7.2 with a GICv2)"""
    vcpus = len(machine.vcpus)
    if machine.gic_version() == 2 and vcpus > GICV2_MOST_VCPUS:
        message = f"the VM has {vcpus} vCPUs, but GICv2 serves {GICV2_MOST_VCPUS} at most"
        hint = "take GICv3, or leave some out"
        yield Finding(("vcpus",), message, hint=hint, related=((("gic", "version"), "GICv2"),))


@machine_rule("VMC311", None, WARNING)
def features_listed_once(machine: Machine) -> Iterator[Finding]:
    """A feature is listed once."""
    for index, feature in enumerate(machine.features):
        first = machine.features.index(feature)
        if first != index:
            message = f"the feature {feature} is listed twice"
            related = ((("features", first), "listed first"),)
            yield Finding(("features", index), message, hint="remove one", related=related)


RULES = (
    mpidrs_distinct,
    aff3_is_zero_with_gicv3,
    aff0_below_16_with_gicv3,
    affinities_fit_gicv3,
    vcpus_fit_gicv2,
    features_listed_once,
)
