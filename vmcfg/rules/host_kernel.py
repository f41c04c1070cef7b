"""VMC70x: what the oldest host kernel must have. VMC71x are in `hosts`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vmcfg.arm.affinity import derived_id
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer
from vmcfg.kernel.abi import setting
from vmcfg.kernel.features import FEATURES
from vmcfg.kernel.limits import MOST_VCPUS
from vmcfg.kernel.version import LINUX_6_1, Version, version_text
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine, Vcpu

MPIDR_KEPT = (6, 10)
"""Since when KVM keeps a set MPIDR_EL1 over a reset of the vCPU (commit e016333745c7)."""

NEWER_ATTRIBUTES = tuple(
    (row, row.attr)
    for row in SEQUENCE
    if row.since > LINUX_6_1 and row.attr is not None and VCPU in row.apis
)
"""The rows whose attribute is missing from some kernel that vmcfg plans for."""


def origins_of(row: Row, machine: Machine) -> list[Path]:
    """Where the description writes what a row sends."""
    return [each.origin for each in row.select(machine) if each.origin is not None]


@machine_rule("VMC701", Answer("KVM_SET_ONE_REG(MPIDR_EL1)"))
def set_mpidrs_are_kept(machine: Machine) -> Iterator[Finding]:
    """An MPIDR that KVM would not give by itself needs a host kernel 6.10 or later.

    Kernels before take the value and put their own back at every reset of the vCPU, and so when a guest starts it by
    PSCI CPU_ON. (linux commit e016333745c7; measured on 6.1 and 6.12)"""
    if machine.host_kernel >= MPIDR_KEPT:
        return
    mpidrs = Counter(vcpu.mpidr for vcpu in machine.vcpus)
    # One that two vCPUs have is VMC301's: with another MPIDR this may be none.
    losing = [vcpu for vcpu in machine.vcpus if vcpu.mpidr_by_register and mpidrs[vcpu.mpidr] == 1]
    if not losing:
        return
    losing.sort(key=lambda vcpu: vcpu.at)
    first = losing[0]
    who = f"vCPU {first.name}, id {first.id}"
    oldest = version_text(machine.host_kernel)
    message = f"{who}, has an MPIDR that kernels before 6.10 lose at a reset, as {oldest} is"
    hint = f"{_if_all_have(MPIDR_KEPT)}; or {_other_way(first, machine)}"
    # Of vCPUs that are written at one place, the first is named.
    places: dict[Path, str] = {}
    for vcpu in losing:
        places.setdefault(vcpu.at, f"vCPU {vcpu.name}, id {vcpu.id}")
    del places[first.at]
    yield Finding(first.at, message, hint=hint, related=tuple(places.items()))


def _other_way(vcpu: Vcpu, machine: Machine) -> str:
    """What to do for an MPIDR that KVM assigns by itself."""
    if derived_id(vcpu.mpidr) not in range(MOST_VCPUS):
        return "take MPIDRs that KVM gives: Aff0 0 to 15, then Aff1"
    if machine.gic_version() == 2:
        return (
            "take MPIDRs that KVM gives to the ids below the number of vCPUs, which GICv2 asks for"
        )
    return "leave out 'vcpu_ids: sequential', by which KVM gives it another MPIDR"


def _if_all_have(version: Version) -> str:
    """How to say that all hosts have a kernel."""
    text = version_text(version)
    return f'if all hosts have it, write host_kernel: "{text}", or give --host-kernel {text}'


@machine_rule("VMC702", Answer("KVM_SET_DEVICE_ATTR", "ENXIO", "set"))
def attributes_are_known(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel knows every attribute that the plan sets."""
    for row, attr in NEWER_ATTRIBUTES:
        if row.since <= machine.host_kernel:
            continue
        origins = origins_of(row, machine)
        if not origins:
            continue
        needed = version_text(row.since)
        oldest = version_text(machine.host_kernel)
        message = (
            f"{row.field} needs a host kernel {needed} or later ({attr.title});"
            f" the oldest is {oldest}"
        )
        first, *others = origins
        yield Finding(
            first,
            message,
            hint=f"{_if_all_have(row.since)}; or leave {row.field} out",
            related=tuple((origin, "and here") for origin in dict.fromkeys(others)),
            kernel=Answer(setting(attr), row.absent, "set"),
        )


@machine_rule("VMC703", None)
def host_kernel_is_planned_for(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel is 6.1 or later: what older ones do is not known here."""
    if machine.host_kernel < LINUX_6_1:
        version = version_text(machine.host_kernel)
        message = f"host_kernel is {version}, but vmcfg knows no kernel before 6.1"
        yield Finding(("host_kernel",), message)


@machine_rule("VMC704", Answer("KVM_ARM_VCPU_INIT", "ENOENT", "set"))
def features_are_known(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel knows every feature of the vCPUs.

    (KVM_CAP_ARM_EL2; ENOENT measured on 6.1 and 6.12)"""
    oldest = version_text(machine.host_kernel)
    for index, word in enumerate(machine.features):
        since = FEATURES[word].since
        if since > machine.host_kernel:
            needed = version_text(since)
            message = (
                f"the feature {word} needs a host kernel {needed} or later; the oldest is {oldest}"
            )
            yield Finding(("features", index), message, hint=_if_all_have(since))


RULES = (set_mpidrs_are_kept, attributes_are_known, host_kernel_is_planned_for, features_are_known)
