"""VMC711-723 and VMC725: requirements on the hosts of `--host`. VMC701-704 are in `host_kernel`.

Each rule checks a machine and one host.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from vmcfg.findings.finding import Finding, not_written
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Answer, Rule
from vmcfg.kernel import abi
from vmcfg.kernel.features import FEATURES, STRICT_PMU
from vmcfg.kernel.host import Host
from vmcfg.kernel.limits import is_vector_length
from vmcfg.kernel.version import version_text
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules import registers_on_hosts
from vmcfg.rules.capabilities import enabling, known_capabilities
from vmcfg.rules.features import LENGTHS, SET_VECTOR_LENGTHS
from vmcfg.rules.host_kernel import RULES as HOST_KERNEL_RULES
from vmcfg.rules.host_kernel import origins_of
from vmcfg.rules.kinds import host_rule
from vmcfg.rules.memory import (
    SLOT,
    large_memory_slot,
    misaligned_slots,
    oversized_slots,
    slot_size_end,
    small_page_memory_slot,
)
from vmcfg.rules.pmu import counters_without_device
from vmcfg.vm.machine import Machine

VCPU_INIT_REJECTS = Answer("KVM_ARM_VCPU_INIT", "EINVAL", "set")


_USE_ANOTHER_HOST = "use another host"

_OTHER_WAYS = {
    "steal_time.base": "remove 'steal_time'",
    "vcpus.pmu_irq": "remove all PMU interrupts, or use another host",
    **dict.fromkeys(
        ("gic.distributor", "gic.redistributors", "gic.cpu_interface"), _USE_ANOTHER_HOST
    ),
}
"""The hints for keys that cannot be removed alone."""


@host_rule("VMC711")
def unsupported_attribute_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must have every attribute that the plan sets.

    Source: KVM_HAS_DEVICE_ATTR."""
    for row in SEQUENCE:
        if row.attr is None or VCPU not in row.apis:
            continue
        # If the kernel is too old for it, VMC702 reports it.
        if row.since > host.kernel or _is_found_by_another_rule(row, host):
            continue
        if (row.target, row.attr.group, row.attr.name) not in host.lacking:
            continue
        origins = origins_of(row, machine)
        if origins:
            message = (
                f"'{row.field}' requires {row.attr.title}, which KVM on the host does not have"
            )
            hint = _OTHER_WAYS.get(row.field, f"remove '{row.field}'")
            kernel = Answer(abi.setting(row.attr), row.absent, "set")
            yield Finding(origins[0], message, hint=hint, kernel=kernel)


def _is_found_by_another_rule(row: Row, host: Host) -> bool:
    """Return whether a host lacks an attribute because it has no PMU (VMC716), or not this GIC
    (VMC713), at all.
    """
    assert row.attr is not None
    if row.attr.group == abi.PMU_V3_IRQ.group and not _has_pmu(host):
        return True
    if row.target == "gic" and row.gic_version is not None:
        return _device_name(row.gic_version) not in host.devices
    return row.target in ("gic", "its") and not _has_gic(host)


def _device_name(gic_version: int) -> str:
    """Return the uapi name of the GIC of a version."""
    name, _ = abi.DEVICE_TYPES[gic_version]
    return name


def _has_gic(host: Host) -> bool:
    """Return whether KVM on the host supports any GIC."""
    return any(_device_name(version) in host.devices for version in (2, 3))


def _has_pmu(host: Host) -> bool:
    """Return whether KVM on the host supports a PMU for guests."""
    return bool(host.capabilities.get("KVM_CAP_ARM_PMU_V3"))


@host_rule("VMC712")
def unsupported_ipa_bits_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must support the number of address bits of the VM.

    Source: KVM_CAP_ARM_VM_IPA_SIZE."""
    bits = host.capabilities.get("KVM_CAP_ARM_VM_IPA_SIZE", 0)
    if bits and machine.ipa_bits > bits:
        default = " (default)" if machine.has_default_ipa_bits else ""
        message = f"'ipa_bits' must be at most {bits} on the host, not {machine.ipa_bits}{default}"
        hint = f"{'add' if default else 'set'} 'ipa_bits: {bits}'"
        label = not_written("ipa_bits", str(machine.ipa_bits)) if default else ""
        kernel = Answer("KVM_CREATE_VM", "EINVAL", "set")
        yield Finding(("ipa_bits",), message, hint=hint, kernel=kernel, label=label)


@host_rule("VMC713")
def unsupported_gic_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must support the GIC version of the VM, and any GIC if the VM has a PMU.

    Source: KVM_CREATE_DEVICE with KVM_CREATE_DEVICE_TEST; pmu-emul.c:kvm_arm_pmu_v3_set_attr."""
    version = machine.gic_version()
    if version is None:
        at = _first_irq_at(machine)
        if at is not None and _has_pmu(host) and not _has_gic(host):
            message = "KVM on the host does not support a GIC, which PMU interrupts require"
            kernel = Answer(abi.setting(abi.PMU_V3_IRQ), "EINVAL", "set")
            yield Finding(at, message, hint=_USE_ANOTHER_HOST, kernel=kernel)
        return
    name = _device_name(version)
    if name not in host.devices:
        message = f"KVM on the host does not support a GICv{version} ({name})"
        kernel = Answer(f"KVM_CREATE_DEVICE({name})", "ENODEV", "set")
        yield Finding(("gic", "version"), message, hint=_gic_hint(host, version), kernel=kernel)


def _gic_hint(host: Host, version: int) -> str:
    """Return the hint for a host without that GIC: the other version, if the host supports it."""
    other = 2 if version == 3 else 3
    if _device_name(other) in host.devices:
        return f"use a GICv{other}, which the host supports"
    return _USE_ANOTHER_HOST


@host_rule("VMC714")
def too_many_vcpus_for_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must support the number of vCPUs.

    Source: KVM_CAP_MAX_VCPUS."""
    most = host.capabilities.get("KVM_CAP_MAX_VCPUS", 0)
    if most and len(machine.vcpus) > most:
        count = len(machine.vcpus)
        message = f"the VM has {count} vCPUs; KVM on the host allows at most {most}"
        kernel = Answer("KVM_CREATE_VCPU", "EINVAL", "set")
        yield Finding(("vcpus",), message, hint=f"remove {count - most} of them", kernel=kernel)


_FEATURE_HINTS = {
    "el2": "start the host kernel with 'kvm-arm.mode=nested', which requires CPUs with FEAT_NV2, or"
    " remove 'el2'",
}
"""The hints for features that a host can have after all."""


@host_rule("VMC715")
def unsupported_feature_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must support the features of the vCPUs.

    Source: KVM_CAP_ARM_SVE, KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_CAP_ARM_PTRAUTH_GENERIC,
    KVM_CAP_ARM_EL2, KVM_CAP_ARM_EL2_E2H0, KVM_CAP_ARM_EL1_32BIT, KVM_CAP_ARM_MTE,
    KVM_CAP_ARM_PMU_V3_STRICT."""
    for index, word in enumerate(machine.features):
        capabilities = FEATURES[word].capabilities
        lacking = [name for name in capabilities if not host.capabilities.get(name)]
        if lacking:
            message = (
                f"the host does not support feature '{word}' for guests ({', '.join(lacking)} is 0)"
            )
            hint = _FEATURE_HINTS.get(word, f"remove '{word}'")
            enabled = FEATURES[word].enabled
            kernel = VCPU_INIT_REJECTS
            if enabled is not None:
                kernel = Answer(enabling(enabled), "EINVAL", "set")
            yield Finding(("features", index), message, hint=hint, kernel=kernel)
    (strict,) = STRICT_PMU.capabilities
    # If the kernel is too old for it, VMC704 reports it.
    is_asked = machine.pmu.strict and host.kernel >= STRICT_PMU.since and _has_pmu(host)
    if is_asked and host.capabilities.get(strict) == 0:
        message = f"the host does not support 'pmu.strict' ({strict} is 0)"
        yield Finding(("pmu", "strict"), message, hint="remove 'strict'", kernel=VCPU_INIT_REJECTS)


@host_rule("VMC716")
def missing_pmu_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """If vCPUs have a PMU interrupt, every host must support a PMU for guests.

    Source: KVM_CAP_ARM_PMU_V3."""
    at = _first_irq_at(machine)
    if at is not None and not _has_pmu(host):
        message = "the host does not support a PMU for guests (KVM_CAP_ARM_PMU_V3 is 0)"
        hint = "remove all PMU interrupts, or use another host"
        yield Finding(at, message, hint=hint, kernel=VCPU_INIT_REJECTS)


def _first_irq_at(machine: Machine) -> Path | None:
    """Return where the first PMU interrupt is written; None without a PMU."""
    places = [vcpu.irq_at for vcpu in machine.vcpus if vcpu.pmu_irq is not None]
    return min(places, default=None)


@host_rule("VMC717")
def unknown_pmu_device_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must have the PMU that `pmu.device` names.

    Source: /sys/bus/event_source/devices."""
    wanted = machine.pmu.device
    names = [pmu.name for pmu in host.pmus]
    if wanted is None or wanted in names or not _has_pmu(host):
        return  # VMC716 reports a host without a PMU
    message = f"the host does not have the PMU '{wanted}'"
    hint = f"use {', '.join(names)}" if names else "remove 'device': the host has no PMU"
    kernel = Answer(abi.setting(abi.PMU_V3_SET_PMU), "ENXIO", "set")
    yield Finding(("pmu", "device"), message, hint=hint, kernel=kernel)


@host_rule("VMC718", WARNING)
def multiple_pmus_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """On a host with several PMUs, vCPUs should run only on the CPUs of the PMU that KVM uses for
    them.

    If `pmu.device` is not set, KVM uses the PMU of the CPU on which the first vCPU is initialized,
    and the counters stop on other CPUs. If it is set, KVM_RUN fails on other CPUs.

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_pmu, Linux 7.2."""
    at = _first_irq_at(machine)
    if len(host.pmus) < 2 or at is None:
        return
    if machine.pmu.device is None:
        message = (
            f"the host has {len(host.pmus)} PMUs, and 'pmu.device' is not set:"
            " counters stop on the CPUs of the others"
        )
        every = ", ".join(f"{pmu.name} (CPUs {pmu.cpus})" for pmu in host.pmus)
        hint = f"add 'device' to 'pmu' and run every vCPU on the CPUs of that PMU: {every}"
        yield Finding(at, message, hint=hint, kernel=Answer("KVM_RUN"))
        return
    chosen = next((pmu for pmu in host.pmus if pmu.name == machine.pmu.device), None)
    if chosen is not None:
        message = f"vCPUs with PMU '{chosen.name}' can run only on CPUs {chosen.cpus} of the host"
        hint = f"run every vCPU on CPUs {chosen.cpus}: on others, KVM_RUN returns an error"
        kernel = Answer(abi.setting(abi.PMU_V3_SET_PMU))
        yield Finding(("pmu", "device"), message, hint=hint, kernel=kernel)


@host_rule("VMC719")
def unsupported_memory_slot_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """The base and the size of every memory slot must be multiples of the page size of every host,
    and every host must support the number of slots and the number of pages of a slot.

    Source: KVM_CAP_NR_MEMSLOTS; kvm_main.c:kvm_set_memory_region, Linux 7.2."""
    if host.page_size is not None:
        for at, value, name in misaligned_slots(machine, host.page_size):
            kib = host.page_size >> 10
            message = f"{name} must be a multiple of {kib} KiB, the page size of the host"
            hint = f"use a multiple of {host.page_size:#x}, not {value:#x}"
            yield Finding(at, message, hint=hint, kernel=Answer(SLOT, "EINVAL", "set"))
        for at, (base, size, _) in oversized_slots(machine, host.page_size):
            tib = slot_size_end(host.page_size) >> 40
            kib = host.page_size >> 10
            message = (
                f"memory slot {base:#x} must be smaller than {tib} TiB, not {size:#x} bytes:"
                f" the host has {kib} KiB pages"
            )
            hint = "write several smaller slots, one after the other"
            yield Finding(at, message, hint=hint, kernel=Answer(SLOT, "EINVAL", "set"))
    most = host.capabilities.get("KVM_CAP_NR_MEMSLOTS", 0)
    count = len(machine.memory)
    if most and count > most:
        message = f"the VM has {count} memory slots; KVM on the host allows at most {most}"
        kernel = Answer(SLOT, "EINVAL", "set")
        hint = "write fewer and larger slots"
        yield Finding(("memory", most), message, hint=hint, kernel=kernel)


@host_rule("VMC720")
def too_many_counters_for_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """`pmu.counters` must be at most the number of event counters of the host PMU.

    A host file has the number for the PMU that KVM chooses. On a host with several PMUs,
    `pmu.device` can choose another one, so that nothing is reported.

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters, Linux 7.2; PMCR_EL0.N."""
    counters = machine.pmu.counters
    most = host.event_counters
    if counters is None or most is None or len(host.pmus) > 1:
        return
    if counters > most:
        message = f"'pmu.counters' must be at most {most} on the host, not {counters}"
        kernel = Answer(abi.setting(abi.PMU_V3_SET_NR_COUNTERS), "EINVAL", "set")
        yield Finding(("pmu", "counters"), message, hint=f"set 'counters: {most}'", kernel=kernel)


@host_rule("VMC721")
def unsupported_capability_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must support the capabilities that the plan enables, and their arguments.

    Source: KVM_CHECK_EXTENSION; KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES."""
    for index, (name, args) in enumerate(machine.capabilities):
        known = known_capabilities()[name]
        # If the kernel is too old for it, VMC708 reports it.
        if known.since > host.kernel:
            continue
        at: Path = ("capabilities", index)
        kernel = Answer(enabling(name), "EINVAL", "set")
        sizes = host.capabilities.get("KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES", 0)
        if name == CHUNK_SIZE and args and sizes and known.errno_of is not None:
            is_possible = known.errno_of(args[0]) is None
            if is_possible and args[0] and not args[0] & sizes:
                every = ", ".join(hex(1 << bit) for bit in range(64) if sizes >> bit & 1)
                message = f"the host does not have blocks of {args[0]:#x} bytes"
                yield Finding((*at, "args", 0), message, hint=f"use {every}", kernel=kernel)
        elif name != CHUNK_SIZE and host.capabilities.get(name) == 0:
            message = f"the host does not support {name}"
            yield Finding((*at, "name"), message, hint=f"remove {name}", kernel=kernel)


CHUNK_SIZE = "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE"
"""Its value is a size, which is 0 on hosts that support it."""


@host_rule("VMC722")
def unsupported_vector_lengths_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """`sve.vector_lengths` must be the lengths of every host, up to a maximum.

    KVM cannot hide single lengths of the host, or add others.

    Source: guest.c:set_sve_vls; tested on 6.1 to 7.3."""
    lengths = set(machine.sve.vector_lengths)
    has = host.sve_vector_lengths
    if not lengths or has is None or "sve" not in machine.features:
        return
    up_to_maximum = [length for length in has if length <= max(lengths)]
    if lengths != set(up_to_maximum) and all(map(is_vector_length, lengths)):
        kernel = Answer(SET_VECTOR_LENGTHS, "EINVAL", "set")
        message = f"the host has the vector lengths {', '.join(map(str, has))}"
        best = up_to_maximum or list(has[:1])
        hint = f"write [{', '.join(map(str, best))}]"
        yield Finding(LENGTHS, message, hint=hint, kernel=kernel)


@host_rule("VMC723", WARNING)
def older_host_kernel(machine: Machine, host: Host) -> Iterator[Finding]:
    """The kernel of every host should be at least `host_kernel`.

    The check of a host uses the kernel of the host. If this description does not work on it, only
    the reason is reported."""
    written = machine.host_kernel
    if machine.host_kernel_from != "description" or host.kernel >= written:
        return
    reasons = (rule.findings(machine.on_kernel(host.kernel)) for rule in HOST_KERNEL_RULES)
    if any(True for _ in chain.from_iterable(reasons)):
        return
    found, wanted = version_text(host.kernel), version_text(written)
    message = f"the host runs Linux {found}, which is older than 'host_kernel', {wanted}"
    hint = f"set 'host_kernel: \"{found}\"', or use another host"
    yield Finding(("host_kernel",), message, hint=hint)


RULES = (
    unsupported_attribute_on_host,
    unsupported_ipa_bits_on_host,
    unsupported_gic_on_host,
    too_many_vcpus_for_host,
    unsupported_feature_on_host,
    missing_pmu_on_host,
    unknown_pmu_device_on_host,
    multiple_pmus_on_host,
    unsupported_memory_slot_on_host,
    too_many_counters_for_host,
    unsupported_capability_on_host,
    unsupported_vector_lengths_on_host,
    older_host_kernel,
    *registers_on_hosts.RULES,
)
"""The rules that need `--host`: no description breaks them alone."""


def findings_on(machine: Machine, host: Host) -> Iterator[tuple[Rule, Finding]]:
    """Return the findings about `machine` on `host`, except those from its kernel version."""
    for rule in RULES:
        yield from rule.findings(machine, host)


def as_on(host: Host, rule: Rule, finding: Finding) -> Finding | None:
    """Return the finding of a rule over machines as it is on `host`, which answers what such a rule
    can only suspect; None if it is nothing there.
    """
    if rule in (small_page_memory_slot, large_memory_slot) and host.page_size is not None:
        return None  # VMC719 decides
    if rule is counters_without_device:
        # VMC716 reports a host without a PMU.
        return finding._replace(hint=_device_hint(host)) if _has_pmu(host) else None
    return finding


def _device_hint(host: Host) -> str:
    """Return the hint to name a PMU of the host."""
    devices = [f"'device: {pmu.name}'" for pmu in host.pmus]
    return f"add {' or '.join(devices)}" if devices else "remove 'counters'"
