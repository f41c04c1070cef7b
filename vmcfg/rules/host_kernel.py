"""VMC7xx: what the host's kernel must have."""

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
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine

MPIDR_KEPT = (6, 10)
"""Since when KVM keeps a set MPIDR_EL1 over a reset of the vCPU (commit e016333745c7)."""


@machine_rule("VMC701", Answer("KVM_SET_ONE_REG(MPIDR_EL1)"))
def set_mpidrs_are_kept(machine: Machine) -> Iterator[Finding]:
    """An MPIDR that KVM would not give by itself needs a host kernel 6.10 or later.

    Kernels before take the value and put their own back at every reset of the vCPU, and so when a guest starts it by
    PSCI CPU_ON. (linux commit e016333745c7; measured on 6.1 and 6.12)"""
    if machine.host_kernel >= MPIDR_KEPT:
        return
    mpidrs = Counter(vcpu.mpidr for vcpu in machine.vcpus)
    # One that two vCPUs have is VMC301's: with another MPIDR this may be none.
    by_register = [
        vcpu for vcpu in machine.vcpus if vcpu.mpidr_by_register and mpidrs[vcpu.mpidr] == 1
    ]
    if not by_register:
        return
    places: dict[Path, str] = {}
    for vcpu in sorted(by_register, key=lambda vcpu: vcpu.at):
        places.setdefault(vcpu.at, f"vCPU {vcpu.name}, id {vcpu.id}")
    (at, _), *others = places.items()
    vcpu = next(vcpu for vcpu in by_register if vcpu.at == at)
    version = version_text(machine.host_kernel)
    message = f"vCPU {vcpu.name}, id {vcpu.id}, has an MPIDR that kernels before 6.10 lose at a reset, as {version} is"
    if derived_id(vcpu.mpidr) not in range(MOST_VCPUS):
        other_way = "take MPIDRs that KVM gives: Aff0 0 to 15, then Aff1"
    elif machine.gic_version() == 2:
        other_way = (
            "take MPIDRs that KVM gives to the ids below the number of vCPUs, which GICv2 asks for"
        )
    else:
        other_way = "leave out 'vcpu_ids: sequential', by which KVM gives it another MPIDR"
    yield Finding(at, message, f"{_if_all_have(MPIDR_KEPT)}; or {other_way}", related=tuple(others))


def _if_all_have(version: Version) -> str:
    """How to say that all hosts have a kernel."""
    text = version_text(version)
    return f'if all hosts have it, write host_kernel: "{text}", or give --host-kernel {text}'


NEWER = tuple(
    (row, row.attr)
    for row in SEQUENCE
    if row.since > LINUX_6_1 and row.attr is not None and VCPU in row.apis
)
"""The attributes that not every kernel has for which vmcfg plans."""


@machine_rule("VMC702", Answer("KVM_SET_DEVICE_ATTR", "ENXIO", "set"))
def attributes_are_known(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel knows every attribute that the plan sets."""
    for row, attr in NEWER:
        if row.since > machine.host_kernel:
            origins = [
                selected.origin for selected in row.select(machine) if selected.origin is not None
            ]
            if origins:
                needed, oldest = (
                    version_text(version) for version in (row.since, machine.host_kernel)
                )
                message = f"{row.field} needs a host kernel {needed} or later ({attr.title}); the oldest is {oldest}"
                hint = f"{_if_all_have(row.since)}; or leave {row.field} out"
                related = tuple((origin, "and here") for origin in dict.fromkeys(origins[1:]))
                kernel = Answer(setting(attr), row.absent, "set")
                yield Finding(origins[0], message, hint, related=related, kernel=kernel)


@machine_rule("VMC703", None)
def host_kernel_is_planned_for(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel is 6.1 or later: what older ones do is not known here."""
    if machine.host_kernel < LINUX_6_1:
        version = version_text(machine.host_kernel)
        yield Finding(
            ("host_kernel",), f"host_kernel is {version}, but vmcfg knows no kernel before 6.1"
        )


@machine_rule("VMC704", Answer("KVM_ARM_VCPU_INIT", "ENOENT", "set"))
def features_are_known(machine: Machine) -> Iterator[Finding]:
    """The oldest host kernel knows every feature of the vCPUs.

    (KVM_CAP_ARM_EL2; ENOENT measured on 6.1 and 6.12)"""
    for index, feature in enumerate(machine.features):
        since = FEATURES[feature].since
        if since > machine.host_kernel:
            needed, oldest = (version_text(version) for version in (since, machine.host_kernel))
            message = f"the feature {feature} needs a host kernel {needed} or later; the oldest is {oldest}"
            yield Finding(("features", index), message, _if_all_have(since))


RULES = (set_mpidrs_are_kept, attributes_are_known, host_kernel_is_planned_for, features_are_known)
