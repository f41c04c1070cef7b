"""VMC71x: what the hosts must have that `--host` describes. VMC70x are in `host_kernel`.

Each rule looks at a machine and one host.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Answer, Rule
from vmcfg.kernel import abi
from vmcfg.kernel.features import FEATURES
from vmcfg.kernel.host import Host
from vmcfg.plans.apis import VCPU
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules.host_kernel import origins_of
from vmcfg.rules.kinds import host_rule
from vmcfg.vm.machine import Machine

VCPU_INIT_REFUSES = Answer("KVM_ARM_VCPU_INIT", "EINVAL", "set")


@host_rule("VMC711")
def hosts_have_the_attributes(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host has every attribute that the plan sets.

    (KVM_HAS_DEVICE_ATTR)"""
    for row in SEQUENCE:
        if row.attr is None or VCPU not in row.apis:
            continue
        # What its kernel is too old for is found by VMC702.
        if row.since > host.kernel or _is_found_by_vmc716(row.attr, host):
            continue
        if (row.target, row.attr.group, row.attr.name) not in host.lacking:
            continue
        origins = origins_of(row, machine)
        if origins:
            message = f"{row.field} is set by {row.attr.title}, which the host's KVM does not have"
            hint = f"leave {row.field} out"
            kernel = Answer(abi.setting(row.attr), row.absent, "set")
            yield Finding(origins[0], message, hint=hint, kernel=kernel)


def _is_found_by_vmc716(attr: abi.Attr, host: Host) -> bool:
    """Whether a host lacks an attribute because it has no PMU: it lacks all of the PMU's then."""
    return attr.group == abi.PMU_V3_IRQ.group and not _has_pmu(host)


def _has_pmu(host: Host) -> bool:
    """Whether the host's KVM can give a guest a PMU."""
    return bool(host.capabilities.get("KVM_CAP_ARM_PMU_V3"))


@host_rule("VMC712")
def hosts_have_the_address_width(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host can make a VM of so many address bits.

    (KVM_CAP_ARM_VM_IPA_SIZE)"""
    bits = host.capabilities.get("KVM_CAP_ARM_VM_IPA_SIZE", 0)
    if bits and machine.ipa_bits > bits:
        message = f"ipa_bits is {machine.ipa_bits}, but the host's guests have {bits} at most"
        kernel = Answer("KVM_CREATE_VM", "EINVAL", "set")
        yield Finding(("ipa_bits",), message, hint=f"write 'ipa_bits: {bits}'", kernel=kernel)


@host_rule("VMC713")
def hosts_emulate_the_gic(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host can emulate the GIC.

    (KVM_CREATE_DEVICE with its test flag)"""
    version = machine.gic_version()
    if version is None:
        return
    name, _ = abi.DEVICE_TYPES[version]
    if name not in host.devices:
        message = f"the host's KVM can't emulate a GICv{version} ({name})"
        kernel = Answer(f"KVM_CREATE_DEVICE({name})", "ENODEV", "set")
        yield Finding(("gic", "version"), message, kernel=kernel)


@host_rule("VMC714")
def hosts_take_the_vcpus(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host takes so many vCPUs.

    (KVM_CAP_MAX_VCPUS)"""
    most = host.capabilities.get("KVM_CAP_MAX_VCPUS", 0)
    if most and len(machine.vcpus) > most:
        message = f"the VM has {len(machine.vcpus)} vCPUs, but the host's KVM takes {most} at most"
        yield Finding(("vcpus",), message, kernel=Answer("KVM_CREATE_VCPU", "EINVAL", "set"))


@host_rule("VMC715")
def hosts_have_the_features(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host has the features of the vCPUs.

    (KVM_CAP_ARM_SVE, KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_CAP_ARM_PTRAUTH_GENERIC, KVM_CAP_ARM_EL2)"""
    for index, word in enumerate(machine.features):
        capabilities = FEATURES[word].capabilities
        lacking = [name for name in capabilities if not host.capabilities.get(name)]
        if lacking:
            message = f"the host has no {word} for guests ({', '.join(lacking)} is 0)"
            yield Finding(
                ("features", index), message, hint="leave it out", kernel=VCPU_INIT_REFUSES
            )


@host_rule("VMC716")
def hosts_have_a_pmu(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host has a PMU for guests with a PMU interrupt.

    (KVM_CAP_ARM_PMU_V3)"""
    at = _first_irq_at(machine)
    if at is not None and not _has_pmu(host):
        message = "the host has no PMU that KVM could give a guest (KVM_CAP_ARM_PMU_V3 is 0)"
        yield Finding(at, message, kernel=VCPU_INIT_REFUSES)


def _first_irq_at(machine: Machine) -> Path | None:
    """Where the first PMU interrupt is written; None without a PMU."""
    places = [vcpu.irq_at for vcpu in machine.vcpus if vcpu.pmu_irq is not None]
    return min(places, default=None)


@host_rule("VMC717")
def hosts_have_the_pmu_device(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host has the PMU that `pmu.device` names.

    (/sys/bus/event_source/devices)"""
    wanted = machine.pmu.device
    names = [pmu.name for pmu in host.pmus]
    if wanted is None or wanted in names:
        return
    has = ", ".join(names) or "none"
    message = f"the host has no PMU called {wanted}: it has {has}"
    kernel = Answer(abi.setting(abi.PMU_V3_SET_PMU), "ENXIO", "set")
    yield Finding(("pmu", "device"), message, kernel=kernel)


@host_rule("VMC718", WARNING)
def counters_count_everywhere(machine: Machine, host: Host) -> Iterator[Finding]:
    """On a host with several PMUs, vCPUs stay on the CPUs of the one that counts for them.

    Where `pmu.device` is not written, KVM takes that of the CPU on which the first vCPU is initialised, and counters
    stop on the others; where it is, KVM_RUN fails there. (pmu-emul.c:kvm_arm_pmu_v3_set_pmu, linux 7.2)"""
    at = _first_irq_at(machine)
    if len(host.pmus) < 2 or at is None:
        return
    if machine.pmu.device is None:
        every = "; ".join(f"{pmu.name} on CPUs {pmu.cpus}" for pmu in host.pmus)
        message = (
            f"the host has {len(host.pmus)} PMUs ({every}), and no pmu.device is chosen:"
            " counters stop on other CPUs"
        )
        hint = f"write 'device: {host.pmus[0].name}' under pmu, for one"
        yield Finding(at, message, hint=hint, kernel=Answer("KVM_RUN"))
        return
    chosen = next((pmu for pmu in host.pmus if pmu.name == machine.pmu.device), None)
    if chosen is not None:
        message = f"vCPUs with the PMU {chosen.name} run on the CPUs {chosen.cpus} alone"
        hint = "pin every vCPU to them; elsewhere KVM_RUN ends with KVM_EXIT_FAIL_ENTRY"
        kernel = Answer(abi.setting(abi.PMU_V3_SET_PMU))
        yield Finding(("pmu", "device"), message, hint=hint, kernel=kernel)


RULES = (
    hosts_have_the_attributes,
    hosts_have_the_address_width,
    hosts_emulate_the_gic,
    hosts_take_the_vcpus,
    hosts_have_the_features,
    hosts_have_a_pmu,
    hosts_have_the_pmu_device,
    counters_count_everywhere,
)
"""Found where `--host` describes hosts; by no description alone."""


def findings_on(machine: Machine, host: Host) -> Iterator[tuple[Rule, Finding]]:
    """What there is to say of `machine` on `host`, beyond what its kernel's version tells."""
    for rule in RULES:
        for finding in rule.check(machine, host):
            yield rule, finding
