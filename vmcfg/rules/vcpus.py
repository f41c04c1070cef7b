"""VMC3xx: vCPUs and their MPIDRs. VMC302 to VMC306 stand in `machine`: what breaks them leaves none to check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Answer
from vmcfg.kernel.limits import GICV2_MOST_VCPUS
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine, Vcpu

SET_MPIDR = "KVM_SET_ONE_REG(MPIDR_EL1)"


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
    shared = {mpidr: places for mpidr, places in users.items() if len(places) > 1}
    free = (mpidr for mpidr in map(mpidr_of_id, count()) if mpidr not in users)
    # Ranges that overlap share many MPIDRs for one cause: the first of them stands for all.
    seen: set[tuple[Path, ...]] = set()
    for mpidr, (first, second, *more) in shared.items():
        if (first, second, *more) in seen:
            continue
        seen.add((first, second, *more))
        name = mpidr_text(mpidr)
        message = f"MPIDR {name} is another vCPU's already"
        if more:
            message = f"MPIDR {name} is that of {2 + len(more)} vCPUs"
        unused = ", ".join(mpidr_text(next(free)) for _ in range(min(1 + len(more), 4)))
        related = (
            (first, f"vCPU {name} is first here"),
            *((at, f"vCPU {name} here too") for at in more),
        )
        yield Finding(second, message, f"not taken yet: {unused}", related=related)


def _written_once(machine: Machine, breaks: Callable[[Vcpu], bool]) -> Iterator[Vcpu]:
    """Of each MPIDR as written, the first vCPU that `breaks` is true of."""
    seen = set()
    for vcpu in machine.vcpus:
        if breaks(vcpu) and vcpu.at not in seen:
            seen.add(vcpu.at)
            yield vcpu


def _aff3(vcpu: Vcpu) -> bool:
    return vcpu.mpidr >> 24 != 0


def _aff0(vcpu: Vcpu) -> bool:
    return vcpu.mpidr & 0xFF > 15


def _aff0_hint(vcpu: Vcpu) -> str:
    aff0 = vcpu.mpidr & 0xFF
    return f"KVM's vCPU {aff0} is {mpidr_text(mpidr_of_id(aff0))}; a cluster holds 16 vCPUs, Aff0 0 to 15"


@machine_rule("VMC307", Answer(SET_MPIDR))
def aff3_is_zero_with_gicv3(machine: Machine) -> Iterator[Finding]:
    """With GICv3, Aff3 of every MPIDR is 0.

    KVM takes it, but GICR_TYPER and GICD_IROUTER of the vGIC have no Aff3: the guest finds no redistributor of that
    vCPU. (vgic-mmio-v3.c:vgic_mmio_read_v3r_typer, linux 7.2)"""
    if machine.gic_version() == 3:
        for vcpu in _written_once(machine, _aff3):
            message = f"vCPU {vcpu.name} has Aff3 {vcpu.mpidr >> 24}, but a guest with GICv3 can't reach it: Aff3 must be 0"
            yield Finding(vcpu.at, message, related=((("gic", "version"), "GICv3"),))


@machine_rule("VMC308", Answer(SET_MPIDR))
def aff0_below_16_with_gicv3(machine: Machine) -> Iterator[Finding]:
    """With GICv3, Aff0 of every MPIDR is at most 15.

    KVM takes it, but an SGI's target list has 16 bits, one for each Aff0. With 8 and 200 in one VM, a guest's SGIs for
    either of them reach 8 on 6.12 and 7.2, and 200 on 6.1.
    (vgic-mmio-v3.c:vgic_v3_dispatch_sgi, linux 7.2; measured)"""
    if machine.gic_version() == 3:
        for vcpu in _written_once(machine, _aff0):
            aff0 = vcpu.mpidr & 0xFF
            message = f"vCPU {vcpu.name} has Aff0 {aff0}, but with GICv3 an SGI can only name an Aff0 up to 15"
            yield Finding(
                vcpu.at, message, _aff0_hint(vcpu), related=((("gic", "version"), "GICv3"),)
            )


@machine_rule("VMC309", Answer(SET_MPIDR), WARNING)
def affinities_fit_gicv3(machine: Machine) -> Iterator[Finding]:
    """Where the description says nothing of the GIC, MPIDRs are such as a guest with GICv3 can reach.

    With GICv3, which most monitors make, Aff3 must be 0 and Aff0 at most 15. Write
    `gic: {version: 2, set_up_by: monitor}` where the monitor makes a GICv2. (vgic-mmio-v3.c, linux 7.2)"""
    if machine.gic is None:
        for vcpu in _written_once(machine, lambda vcpu: _aff3(vcpu) or _aff0(vcpu)):
            what = (
                f"Aff3 {vcpu.mpidr >> 24}, not 0"
                if _aff3(vcpu)
                else f"Aff0 {vcpu.mpidr & 255}, above 15"
            )
            message = f"vCPU {vcpu.name} has {what}: with a GICv3 a guest can't reach it"
            hint = (
                _aff0_hint(vcpu)
                if not _aff3(vcpu)
                else "write 'gic: {version: 2, set_up_by: monitor}' if the monitor makes a GICv2"
            )
            yield Finding(vcpu.at, message, hint)


@machine_rule("VMC310", Answer("KVM_CREATE_VCPU", "EINVAL", "set"))
def vcpus_fit_gicv2(machine: Machine) -> Iterator[Finding]:
    """A VM with GICv2 has at most 8 vCPUs: its registers have a byte of CPU targets.

    A host with a GICv2 refuses the ninth vCPU. One with a GICv3 that can emulate GICv2 takes it, and then refuses the
    GIC with E2BIG. (vgic-init.c:kvm_vgic_create; measured on 6.1, 6.12, 7.2 with a GICv2)"""
    if machine.gic_version() == 2 and len(machine.vcpus) > GICV2_MOST_VCPUS:
        message = (
            f"the VM has {len(machine.vcpus)} vCPUs, but GICv2 serves {GICV2_MOST_VCPUS} at most"
        )
        related = ((("gic", "version"), "GICv2"),)
        yield Finding(("vcpus",), message, "take GICv3, or leave some out", related=related)


@machine_rule("VMC311", None, WARNING)
def features_listed_once(machine: Machine) -> Iterator[Finding]:
    """A feature is listed once."""
    for index, feature in enumerate(machine.features):
        first = machine.features.index(feature)
        if first != index:
            message = f"the feature {feature} is listed twice"
            yield Finding(
                ("features", index),
                message,
                "remove one",
                related=((("features", first), "listed first"),),
            )


RULES = (
    mpidrs_distinct,
    aff3_is_zero_with_gicv3,
    aff0_below_16_with_gicv3,
    affinities_fit_gicv3,
    vcpus_fit_gicv2,
    features_listed_once,
)
