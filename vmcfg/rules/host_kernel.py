"""VMC70x: requirements on the oldest host kernel. VMC711-718 are in `hosts`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from vmcfg.arm.affinity import aff0, derived_id, mpidr_of_id, mpidr_text
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer
from vmcfg.kernel.abi import VGIC_MAINT_IRQ, setting
from vmcfg.kernel.features import FEATURES, STRICT_PMU
from vmcfg.kernel.limits import MOST_VCPUS
from vmcfg.kernel.version import LINUX_6_1, Version, version_text
from vmcfg.rules.capabilities import enabling, known_capabilities
from vmcfg.rules.kinds import machine_rule
from vmcfg.rules.registers import IF_OTHER, settable_registers, setting_register
from vmcfg.rules.vcpus import mpidrs_of_ids
from vmcfg.vm.machine import Machine, Vcpu

if TYPE_CHECKING:
    from vmcfg.kernel.abi import Attr
    from vmcfg.plans.command import Row

MPIDR_KEPT = (6, 10)
"""The first release in which KVM keeps a set MPIDR_EL1 when the vCPU is reset."""

PPIS_BY_ID = (6, 7)
"""The first release in which KVM finds the vCPU of a PPI by its id (Linux commit 9a0a75d3ccee)."""

USE_ASSIGNED = "use MPIDRs that KVM assigns: Aff0 0 to 15, then Aff1"
"""The hint for vCPUs whose MPIDRs cannot be set."""


@cache
def newer_attributes() -> tuple[tuple[Row, Attr], ...]:
    """Return the rows whose attribute some supported kernel does not have, each with it."""
    from vmcfg.plans.apis import VCPU
    from vmcfg.plans.sequence import SEQUENCE

    return tuple(
        (row, row.attr)
        for row in SEQUENCE
        if row.since > LINUX_6_1 and row.attr is not None and VCPU in row.apis
    )


def sets_newer_attribute(machine: Machine) -> bool:
    """Return whether a plan can have one of `newer_attributes`. Few have one: the others do not
    import the table of all attributes.
    """
    gic, timers = machine.gic, machine.timers
    settings = (
        machine.pmu.counters,
        timers.hyp_virtual,
        timers.hyp_physical,
        None if gic is None else gic.maintenance_irq,
    )
    return bool(machine.smccc_filter) or any(each is not None for each in settings)


def origins_of(row: Row, machine: Machine) -> list[Path]:
    """Return the places in the description of what a row sends."""
    return [each.origin for each in row.select(machine) if each.origin is not None]


@machine_rule("VMC701", Answer("KVM_SET_ONE_REG(MPIDR_EL1)"))
def mpidr_lost_at_reset(machine: Machine) -> Iterator[Finding]:
    """An MPIDR other than the one that KVM assigns requires Linux 6.10 or later on the host.

    Older kernels accept the value but restore their own at every reset of the vCPU, for example
    when the guest starts it with PSCI CPU_ON.

    Source: Linux commit e016333745c7; tested on 6.1 and 6.12."""
    if machine.host_kernel >= MPIDR_KEPT:
        return
    set_by_register = [vcpu for vcpu in machine.vcpus if vcpu.mpidr_by_register]
    if not set_by_register:
        return
    mpidrs = Counter(vcpu.mpidr for vcpu in machine.vcpus)
    # VMC301 reports duplicates, and VMC312 ids that KVM rejects: with another MPIDR, such a vCPU
    # might not break this rule.
    losing = [vcpu for vcpu in set_by_register if mpidrs[vcpu.mpidr] == 1 and vcpu.id < MOST_VCPUS]
    if not losing:
        return
    losing.sort(key=lambda vcpu: vcpu.at)
    first = losing[0]
    message = (
        f"Linux before {version_text(MPIDR_KEPT)} loses the MPIDR of vCPU {first.name}"
        f" (id {first.id}) at a reset; the oldest host kernel is {machine.host_kernel_text()}"
    )
    hint = f"{newer_kernel_hint(machine, MPIDR_KEPT)}; otherwise {_other_way(first, machine)}"
    # Of vCPUs that are written at the same place, the first is named.
    places: dict[Path, str] = {}
    for vcpu in losing:
        places.setdefault(vcpu.at, f"vCPU {vcpu.name}, id {vcpu.id}")
    del places[first.at]
    yield Finding(first.at, message, hint=hint, related=tuple(places.items()))


def _other_way(vcpu: Vcpu, machine: Machine) -> str:
    """Return the hint for hosts with older kernels: use an MPIDR that KVM assigns."""
    together = [other for other in machine.vcpus if other.at == vcpu.at]
    as_range = mpidrs_of_ids([each.mpidr for each in together])
    if as_range is not None:
        return as_range
    others = {other.mpidr for other in machine.vcpus if other.at != vcpu.at}
    assigned = [mpidr_of_id(each.id) for each in together]
    first, last = assigned[0], assigned[-1]
    if others.isdisjoint(assigned) and assigned == list(range(first, last + 1)):
        if first == last:
            return f"write {mpidr_text(first)}, which KVM assigns to vCPU id {vcpu.id}"
        ids = f"{together[0].id} to {together[-1].id}"
        return f"write {mpidr_text(first)}-{aff0(last)}, which KVM assigns to vCPU ids {ids}"
    if derived_id(vcpu.mpidr) not in range(MOST_VCPUS) or machine.gic_version() == 2:
        return USE_ASSIGNED
    return "remove 'vcpu_ids: sequential', so that KVM assigns this MPIDR"


def newer_kernel_hint(machine: Machine, version: Version) -> str:
    """Return the hint for hosts that all run a kernel of that version or later."""
    text = version_text(version)
    if machine.host_kernel_from == "elsewhere":
        # 'host_kernel' is overridden: what it says does not matter.
        return f"use only hosts with Linux {text} or later"
    return f"if all your hosts run Linux {text} or later, set 'host_kernel: \"{text}\"'"


@machine_rule("VMC702", Answer("KVM_SET_DEVICE_ATTR", "ENXIO", "set"))
def unsupported_attribute(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel must have every attribute that the plan sets."""
    if not sets_newer_attribute(machine):
        return
    for row, attr in newer_attributes():
        if row.since <= machine.host_kernel:
            continue
        origins = origins_of(row, machine)
        if not origins:
            continue
        needed = version_text(row.since)
        message = (
            f"'{row.field}' requires Linux {needed} or later,"
            f" but the oldest host kernel is {machine.host_kernel_text()}"
        )
        first, *others = origins
        yield Finding(
            first,
            message,
            hint=f"{newer_kernel_hint(machine, row.since)}; otherwise remove '{row.field}'",
            related=tuple((origin, "also here") for origin in dict.fromkeys(others)),
            label=f"sets {attr.title}",
            kernel=Answer(setting(attr), row.absent, "set"),
        )


@machine_rule("VMC703", None)
def unsupported_host_kernel(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel must be Linux 6.1 or later: vmcfg has no data about older kernels."""
    if machine.host_kernel < LINUX_6_1:
        version = version_text(machine.host_kernel)
        oldest = version_text(LINUX_6_1)
        hint = f"use hosts with Linux {oldest} or later"
        if machine.host_kernel_from == "elsewhere":
            message = f"the host kernel must be {oldest} or later, not {version}"
            yield Finding((), message, hint=hint, on="first key", label=f"Linux {version}")
        else:
            message = f"'host_kernel' must be {oldest} or later, not {version}"
            yield Finding(("host_kernel",), message, hint=hint)


@machine_rule("VMC704", Answer("KVM_ARM_VCPU_INIT", "ENOENT", "set"))
def unsupported_feature(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel must support every feature of the vCPUs.

    Source: KVM_CAP_ARM_EL2, KVM_CAP_ARM_PMU_V3_STRICT; ENOENT tested on 6.1 to 7.2."""
    for index, word in enumerate(machine.features):
        since = FEATURES[word].since
        if since > machine.host_kernel:
            yield _too_new(("features", index), f"feature '{word}'", word, since, machine)
    if machine.pmu.strict and STRICT_PMU.since > machine.host_kernel:
        at = ("pmu", "strict")
        yield _too_new(at, "'pmu.strict'", "pmu.strict", STRICT_PMU.since, machine)


def _too_new(
    at: Path,
    name: str,
    removed: str,
    since: Version,
    machine: Machine,
    kernel: Answer | None = None,
) -> Finding:
    """Return the finding that the oldest host kernel does not support what is at a path."""
    message = (
        f"{name} requires Linux {version_text(since)} or later,"
        f" but the oldest host kernel is {machine.host_kernel_text()}"
    )
    hint = f"{newer_kernel_hint(machine, since)}; otherwise remove '{removed}'"
    return Finding(at, message, hint=hint, kernel=kernel)


@machine_rule("VMC706", Answer("KVM_CREATE_VCPU"))
def ppis_lost_by_id(machine: Machine) -> Iterator[Finding]:
    """Before Linux 6.7, the ids of vCPUs must be 0, 1, 2, and so on, without a gap.

    Older kernels use the id of a vCPU as its index when they raise a PPI. If the two differ, the
    vCPU gets no interrupt from its timers or from a PMU with a PPI.

    Source: vgic.c:kvm_vgic_inject_irq, Linux 6.1; tested on 6.1 and 6.12."""
    if machine.host_kernel >= PPIS_BY_ID:
        return
    # VMC312 reports ids that KVM rejects.
    losing = [
        (index, vcpu)
        for index, vcpu in enumerate(machine.vcpus)
        if vcpu.id != index and vcpu.id < MOST_VCPUS
    ]
    if not losing:
        return
    losing.sort(key=lambda each: each[1].at)
    index, first = losing[0]
    message = (
        f"Linux before {version_text(PPIS_BY_ID)} loses the PPIs of vCPU {first.name}, because its"
        f" id is {first.id} and its index is {index}; the oldest host kernel is"
        f" {machine.host_kernel_text()}"
    )
    last = mpidr_text(mpidr_of_id(len(machine.vcpus) - 1))
    other = f"use the MPIDRs 0.0.0.0 to {last}"
    if machine.has_mpidrs_as_ids:
        # From the 17th vCPU on, the MPIDR that KVM assigns to an id is another number.
        other = f"remove 'vcpu_ids: mpidr' and {other}"
    hint = f"{newer_kernel_hint(machine, PPIS_BY_ID)}; otherwise {other}"
    # Of vCPUs that are written at the same place, the first is named.
    places: dict[Path, str] = {}
    for index, vcpu in losing:
        places.setdefault(vcpu.at, f"vCPU {vcpu.name}, id {vcpu.id}, index {index}")
    del places[first.at]
    yield Finding(first.at, message, hint=hint, related=tuple(places.items()))


@machine_rule("VMC708", Answer("KVM_ENABLE_CAP", "EINVAL", "set"), about="capabilities")
def unsupported_capability(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel must support every capability that is enabled.

    Source: KVM_CHECK_EXTENSION; tested on 6.1 to 7.3."""
    for index, (name, _) in enumerate(machine.capabilities):
        since = known_capabilities()[name].since
        if since > machine.host_kernel:
            at = ("capabilities", index, "name")
            kernel = Answer(enabling(name), "EINVAL", "set")
            yield _too_new(at, name, name, since, machine, kernel)


@machine_rule(
    "VMC709", Answer("KVM_SET_ONE_REG", "EINVAL", "set", condition=IF_OTHER), about="registers"
)
def unsupported_register(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel must be able to set every register to its value.

    An older kernel accepts an ID register only with the value of the host, and a firmware register
    only with the values that it knows.

    Source: KVM_ARM_GET_REG_WRITABLE_MASKS; hypercalls.c:kvm_arm_set_fw_reg; tested on 6.1 to
    7.3."""
    for index, (name, value) in enumerate(machine.registers):
        register = settable_registers()[name]
        if register.since > machine.host_kernel:
            at: Path = ("registers", index, "name")
            kernel = Answer(setting_register(name), "EINVAL", "set", condition=IF_OTHER)
            if register.is_firmware:
                kernel = Answer(setting_register(name), "ENOENT", "set")
            yield _too_new(at, name, name, register.since, machine, kernel)
            continue
        since = (register.values or {}).get(value, register.since)
        if since > machine.host_kernel:
            at = ("registers", index, "value")
            kernel = Answer(setting_register(name), "EINVAL", "set")
            yield _too_new(at, f"value {value:#x} of {name}", name, since, machine, kernel)


IN_6_15_AND_6_16 = "on Linux 6.15 and 6.16"
SET_MAINTENANCE = setting(VGIC_MAINT_IRQ)


@machine_rule(
    "VMC710", Answer(SET_MAINTENANCE, "EINVAL", "set", condition=IN_6_15_AND_6_16), about="gic"
)
def maintenance_irq_without_mpidr_0(machine: Machine) -> Iterator[Finding]:
    """On Linux 6.15 and 6.16, `gic.maintenance_irq` requires a vCPU with MPIDR 0.0.0.0.

    These kernels look for a vCPU with the MPIDR in the attribute number, which is 0, before they
    set the interrupt of the VM.

    Source: vgic-kvm-device.c:vgic_v3_attr_regs_access; tested on 6.16 and 6.17."""
    gic = machine.gic
    # Also if the VMM sets up the GIC: it then sets this interrupt.
    if gic is None or gic.maintenance_irq is None:
        return
    if not (6, 15) <= machine.host_kernel < (6, 17) or gic.version != 3:
        return
    if all(vcpu.mpidr != 0 for vcpu in machine.vcpus):
        message = (
            "'gic.maintenance_irq' requires a vCPU with MPIDR 0.0.0.0 on Linux before 6.17;"
            f" the oldest host kernel is {machine.host_kernel_text()}"
        )
        hint = f"{newer_kernel_hint(machine, (6, 17))}; otherwise remove 'gic.maintenance_irq'"
        yield Finding(("gic", "maintenance_irq"), message, hint=hint)


RULES = (
    mpidr_lost_at_reset,
    unsupported_attribute,
    unsupported_host_kernel,
    unsupported_feature,
    ppis_lost_by_id,
    unsupported_capability,
    unsupported_register,
    maintenance_irq_without_mpidr_0,
)
