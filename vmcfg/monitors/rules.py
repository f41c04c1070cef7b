"""VMC82x and VMC83x: what QEMU decides otherwise than a description.

Only `vmcfg emit --format qemu` and `--format libvirt` find these: KVM accepts such descriptions.
Each rule compares a machine with the VM that the nearest options create. A rule finds nothing about
what the description leaves open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.arm.interrupts import interrupt_text
from vmcfg.description.model import DEFAULT_TIMERS
from vmcfg.description.written import intid_of
from vmcfg.findings.finding import Finding, Found
from vmcfg.findings.position import Path, dotted
from vmcfg.findings.rule import Rule
from vmcfg.monitors import qemu
from vmcfg.monitors.qemu import Fact, Vm
from vmcfg.rules.kinds import RuleFailed
from vmcfg.vm.frames import V3_REDIST_SIZE
from vmcfg.vm.machine import Machine, redistributor_regions

VmmCheck = Callable[[Machine, Vm], Iterator[Finding]]

VERSIONS = f"QEMU {', '.join(qemu.RECORDED[:-1])}, and {qemu.RECORDED[-1]}"


class VmmRule(Rule):
    """A rule over a machine and the VM that a VMM creates: `check` returns each difference.

    `fact` is the number that the VMM has fixed, if there is one. Its source is part of the
    explanation.
    """

    __slots__ = ("check", "fact")

    def __init__(self, id: str, check: VmmCheck, fact: Fact) -> None:
        name = check.__name__.replace("_", "-")
        source = f"Source: {fact.source}; recorded from {VERSIONS}."
        super().__init__(id, name, f"{check.__doc__}\n\n{source}", found_by="emit")
        self.check = check
        self.fact = fact

    def findings(self, machine: Machine, vm: Vm) -> Iterator[Found]:
        """Return each difference between `machine` and `vm`, with the rule. Raises `RuleFailed`."""
        label = f"{VERSIONS}: {self.fact.source}"
        try:
            for finding in self.check(machine, vm):
                yield self, finding._replace(label=finding.label or label)
        except Exception as error:
            raise RuleFailed(self) from error


def vmm_rule(id: str, fact: Fact) -> Callable[[VmmCheck], VmmRule]:
    """Return a decorator that makes a rule of a check, as `machine_rule` does."""

    def rule_of(check: VmmCheck) -> VmmRule:
        return VmmRule(id, check, fact)

    return rule_of


def source(text: str) -> Fact:
    """Return the fact that QEMU has no number at all for something."""
    return Fact(0, text)


# vCPUs --------------------------------------------------------------------------------------------


@vmm_rule("VMC820", source("target/arm/kvm.c:kvm_arch_init_vcpu"))
def vmm_mpidr_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """Each vCPU must have the MPIDR that KVM assigns to its index, and the boot vCPU index 0.

    QEMU creates vCPUs with the ids 0, 1, 2, and so on, reads the MPIDR that KVM assigned to each,
    and starts the first one. No option changes this."""
    others = [
        (index, vcpu)
        for index, vcpu in enumerate(machine.vcpus)
        if vcpu.mpidr != mpidr_of_id(index)
    ]
    if others:
        index, first = others[0]
        expected = mpidr_text(mpidr_of_id(index))
        message = f"QEMU assigns MPIDR {expected} to the vCPU with index {index}, not {first.name}"
        last = mpidr_text(mpidr_of_id(len(machine.vcpus) - 1))
        hint = f"write 'vcpus: {len(machine.vcpus)}', which means 0.0.0.0 to {last}"
        related = [(vcpu.at, f"index {number}") for number, vcpu in others[1:]]
        yield Finding(first.at, message, hint, related=_apart(first.at, related))
        return
    boot = next(vcpu for vcpu in machine.vcpus if vcpu.boot)
    if boot is not machine.vcpus[0]:
        message = f"QEMU starts vCPU {machine.vcpus[0].name} first, not {boot.name}"
        hint = f"move vCPU {machine.vcpus[0].name} to the start of 'vcpus'"
        yield Finding(boot.at, message, hint)


def _apart(at: Path, related: Sequence[tuple[Path, str]]) -> tuple[tuple[Path, str], ...]:
    """Return the related places that differ from `at` and from each other."""
    by_path = dict(related)
    by_path.pop(at, None)
    return tuple(by_path.items())


@vmm_rule("VMC838", qemu.FIRST_REGION_COUNT)
def too_many_vcpus_for_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The vCPUs must have room in the redistributor regions of QEMU.

    The first region has room for 123 vCPUs. The second one is above the RAM, and not there if the
    VM has only 32 address bits."""
    if len(machine.vcpus) > vm.most_vcpus and machine.gic_version() != 2:
        message = (
            f"QEMU with {vm.ipa_bits} address bits supports {vm.most_vcpus} vCPUs,"
            f" not {len(machine.vcpus)}"
        )
        yield Finding(("vcpus",), message, "remove 'ipa_bits', or use fewer vCPUs", on="key")


_FEATURES = {
    "el2": "QEMU 7.2 and 10.0 do not support EL2 for guests with KVM",
    "e2h0": "QEMU has no option for 'e2h0'",
    "mte": "QEMU 7.2 does not support memory tags (MTE) with KVM",
}
"""The features of vCPUs that not every recorded QEMU supports."""


@vmm_rule("VMC835", source("hw/arm/virt.c:machvirt_init, target/arm/kvm.c:kvm_arch_init_vcpu"))
def feature_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """Every recorded version of QEMU must support the features of the vCPUs.

    QEMU 7.2, of Debian 12, ends with an error for EL2 and for memory tags with KVM. QEMU 10.0
    supports memory tags, and QEMU 11.1 also supports EL2. No version has an option for the strict
    PMU or for EL2 without VHE. With a 32-bit EL1, QEMU has neither SVE nor pointer authentication
    nor steal time."""
    for index, feature in enumerate(machine.features):
        if feature in _FEATURES:
            yield Finding(("features", index), _FEATURES[feature], f"remove '{feature}'")
        elif feature not in vm.features:
            message = f"QEMU does not support '{feature}' together with 'el1_32bit'"
            yield Finding(("features", index), message, f"remove '{feature}'")
    if machine.pmu.strict:
        message = "QEMU has no option for the strict PMU"
        yield Finding(("pmu", "strict"), message, "remove 'strict'")
    if machine.steal_time is not None and vm.steal_time is None:
        message = "QEMU does not support steal time together with 'el1_32bit'"
        yield Finding(("steal_time",), message, "remove 'steal_time'", on="key")


# The PMU ------------------------------------------------------------------------------------------


@vmm_rule("VMC821", qemu.PMU_IRQ)
def vmm_pmu_irq_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The PMU interrupt of every vCPU must be INTID 23 (PPI 7).

    QEMU uses this interrupt on every vCPU, and no option changes it."""
    others = [vcpu for vcpu in machine.vcpus if vcpu.pmu_irq not in (None, vm.pmu_irq)]
    if others and vm.pmu_irq is not None:
        first = others[0]
        assert first.pmu_irq is not None
        message = (
            f"QEMU uses {interrupt_text(vm.pmu_irq)} for the PMU of vCPU {first.name},"
            f" not {interrupt_text(first.pmu_irq)}"
        )
        related = [(vcpu.irq_at, f"vCPU {vcpu.name}") for vcpu in others[1:]]
        hint = f"use {vm.pmu_irq} on every vCPU"
        yield Finding(first.irq_at, message, hint, related=_apart(first.irq_at, related))


@vmm_rule("VMC822", source("target/arm/cpu.c:arm_set_pmu"))
def partial_pmu_in_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """Every vCPU must have a PMU, or none.

    QEMU has one model of CPU for all vCPUs, with a PMU or without."""
    without = [vcpu for vcpu in machine.vcpus if vcpu.pmu_irq is None]
    if machine.has_pmu() and without:
        first = without[0]
        message = f"QEMU gives a PMU to vCPU {first.name}, as to all others"
        hint = f"add 'pmu: {{irq: {qemu.PMU_IRQ.value}}}', which applies to all vCPUs"
        related = [(vcpu.at, f"vCPU {vcpu.name}") for vcpu in without[1:]]
        yield Finding(first.at, message, hint, related=_apart(first.at, related))


@vmm_rule("VMC823", source("target/arm/kvm.c:kvm_arm_pmu_init"))
def pmu_device_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`pmu.device` must not be set: QEMU does not select the host PMU.

    KVM then uses the PMU of the CPU on which the first vCPU is initialized. To decide it, run QEMU
    only on the CPUs of one PMU."""
    if machine.pmu.device is not None:
        message = f"QEMU cannot select the host PMU '{machine.pmu.device}'"
        hint = "remove 'device', and start QEMU only on CPUs of that PMU, with taskset"
        yield Finding(("pmu", "device"), message, hint)


@vmm_rule("VMC824", source("target/arm/kvm.c:kvm_arm_pmu_init"))
def pmu_counters_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`pmu.counters` must not be set: QEMU does not set the number of event counters.

    The guest then has as many counters as the host PMU."""
    if machine.pmu.counters is not None:
        message = f"QEMU cannot set the number of event counters to {machine.pmu.counters}"
        yield Finding(("pmu", "counters"), message, "remove 'counters'")


@vmm_rule("VMC825", source("target/arm/kvm.c:kvm_arm_pmu_init"))
def pmu_filter_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`pmu.filter` must be empty: QEMU does not set an event filter.

    The guest can then count all events. An option for a filter was proposed for QEMU in 2024, but
    not merged."""
    if machine.pmu.filter:
        message = "QEMU cannot set an event filter: the guest can count all events"
        yield Finding(("pmu", "filter"), message, "remove 'filter'", on="key")


# The GIC ------------------------------------------------------------------------------------------


@vmm_rule("VMC826", qemu.NR_IRQS)
def vmm_nr_irqs_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`gic.nr_irqs` must be 288: the board virt has 256 SPIs, and no option changes this."""
    written = None if machine.gic is None else machine.gic.nr_irqs
    if written not in (None, qemu.NR_IRQS.value):
        message = f"QEMU creates the GIC with {qemu.NR_IRQS.value} INTIDs, not {written}"
        hint = f"write 'nr_irqs: {qemu.NR_IRQS.value}', or remove 'nr_irqs'"
        yield Finding(("gic", "nr_irqs"), message, hint)


@vmm_rule("VMC827", qemu.DISTRIBUTOR)
def vmm_frame_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The distributor, the CPU interface, and the ITS must be where the board virt has them.

    These addresses are 0x8000000, 0x8010000 (GICv2), and 0x8080000 (GICv3), and there is at most
    one ITS. No option changes this."""
    if machine.gic is None:
        return
    for key, name, fact in (
        ("distributor", "the distributor", qemu.DISTRIBUTOR),
        ("cpu_interface", "the CPU interface", qemu.CPU_INTERFACE),
    ):
        written = getattr(machine.gic, key)
        if written not in (None, fact.value):
            yield _elsewhere(("gic", key), name, written, fact)
    for index, written in enumerate(machine.gic.its):
        at: Path = ("gic", "its", index)
        if index > 0:
            message = f"QEMU creates one ITS, not {len(machine.gic.its)}"
            yield Finding(at, message, "remove all but the first one")
            return
        if written != qemu.ITS.value:
            yield _elsewhere(at, "the ITS", written, qemu.ITS)


def _elsewhere(at: Path, name: str, written: int, fact: Fact) -> Finding:
    """Return the finding about a frame that QEMU has at another address."""
    message = f"QEMU places {name} at {fact.value:#x}, not at {written:#x}"
    label = f"{VERSIONS}: {fact.source}"
    return Finding(at, message, f"write {fact.value:#010x}", label=label)


@vmm_rule("VMC828", qemu.REDISTRIBUTORS)
def vmm_redistributor_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The redistributor of each vCPU must be where the board virt has it.

    The first 123 vCPUs have theirs from 0x80a0000 on, in the order of their indices. The others
    have them in a second region, above the RAM: at 0x4000000000, or higher if the RAM extends
    beyond this address. One address or several regions are equal if each vCPU is at the same
    address."""
    at_of = _redistributors(machine)
    expected = _addresses(vm.redistributors)
    for vcpu, (at, address), right in zip(machine.vcpus, at_of, expected, strict=False):
        if address != right:
            message = (
                f"QEMU places the redistributor of vCPU {vcpu.name} at {right:#x},"
                f" not at {address:#x}"
            )
            yield Finding(at, message, f"write {_regions_text(vm)}")
            return


def _redistributors(machine: Machine) -> list[tuple[Path, int]]:
    """Return where the redistributor of each vCPU is written, and its address, by index."""
    at: Path = ("gic", "redistributors")
    if machine.gic is None or machine.gic.redistributors is None:
        return []
    if isinstance(machine.gic.redistributors, int):
        every = _addresses([(machine.gic.redistributors, len(machine.vcpus))])
        return [(at, address) for address in every]
    counts = machine.redistributor_counts()
    found: list[tuple[Path, int]] = []
    for index, region in enumerate(redistributor_regions(machine.gic)):
        # A region can have room for more vCPUs.
        count = min(counts[index], len(machine.vcpus) - len(found))
        region_at = (*at, index, "base")
        found += [(region_at, address) for address in _addresses([(region.base, count)])]
    return found


def _addresses(regions: Sequence[tuple[int, int]]) -> list[int]:
    """Return the address of each redistributor in regions, each with a base and a count."""
    return [base + V3_REDIST_SIZE * number for base, count in regions for number in range(count)]


def _regions_text(vm: Vm) -> str:
    """Return the redistributor regions of QEMU as YAML."""
    regions = [f"{{base: {base:#x}, count: {count}}}" for base, count in vm.redistributors]
    return f"'redistributors: [{', '.join(regions)}]'"


@vmm_rule("VMC829", qemu.MAINTENANCE_IRQ)
def maintenance_irq_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The GIC maintenance interrupt must be INTID 25 (PPI 9), the default of KVM.

    No option of QEMU changes it."""
    written = None if machine.gic is None else machine.gic.maintenance_irq
    if written is not None and intid_of(written) != qemu.MAINTENANCE_IRQ.value:
        message = (
            f"QEMU uses {interrupt_text(qemu.MAINTENANCE_IRQ.value)} for GIC maintenance,"
            f" not {interrupt_text(intid_of(written))}"
        )
        yield Finding(("gic", "maintenance_irq"), message, "remove 'maintenance_irq'")


# Timers and SMCCC ---------------------------------------------------------------------------------


@vmm_rule("VMC830", source("include/hw/arm/bsa.h:ARCH_TIMER_VIRT_IRQ"))
def timers_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The PPIs of the timers must be the defaults of KVM: QEMU does not set them.

    The defaults are INTID 27 (virtual), 30 (physical), 28 (EL2 virtual), and 26 (EL2 physical)."""
    for key, default in DEFAULT_TIMERS.items():
        intid = machine.timers.intid(key)
        if intid != default:
            at: Path = ("timers", key)
            message = (
                f"QEMU uses {interrupt_text(default)} for '{dotted(at)}',"
                f" not {interrupt_text(intid)}"
            )
            yield Finding(at, message, f"remove '{dotted(at)}'")


@vmm_rule("VMC831", source("target/arm/kvm.c:kvm_arch_init"))
def smccc_filter_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`smccc_filter` must be empty: QEMU does not set an SMCCC filter.

    KVM then handles all calls. A filter was proposed for QEMU, but not merged."""
    if machine.smccc_filter:
        message = "QEMU cannot set an SMCCC filter: KVM handles all calls"
        yield Finding(("smccc_filter",), message, "remove 'smccc_filter'", on="key")


# Memory -------------------------------------------------------------------------------------------


@vmm_rule("VMC832", qemu.STEAL_TIME)
def vmm_steal_time_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """Steal time must start at 0x90a0000, where the board virt has it. No option changes this."""
    if machine.steal_time is None or vm.steal_time is None:
        return  # VMC835 reports steal time with a 32-bit EL1
    base = machine.steal_time.base
    if base != vm.steal_time:
        message = f"QEMU places steal time at {vm.steal_time:#x}, not at {base:#x}"
        hint = (
            f"write {vm.steal_time:#010x}, and add"
            f" '{{base: {vm.steal_time:#010x}, size: 64KiB}}' to 'memory'"
        )
        yield Finding(("steal_time", "base"), message, hint)


@vmm_rule("VMC833", qemu.RAM)
def vmm_memory_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """The memory slots must be where the board virt has RAM or flash.

    RAM is one range that starts at 0x40000000, and its size is a multiple of 8 KiB; several slots
    without a gap are equal to one. Below 0x8000000 is flash, which is read-only for KVM. QEMU also
    has a slot for steal time, as large as its vCPUs need."""
    first, end = vm.ram
    ram = set(qemu.ram_slots(machine))
    others: list[tuple[Path, str]] = []
    for index, slot in enumerate(machine.memory):
        slot_base, slot_end = slot.addresses
        if slot.readonly:
            is_there = slot_end <= qemu.FLASH_END.value
        else:
            is_there = index not in ram or (first <= slot_base and slot_end <= end)
        if not is_there:
            kind = "a read-only slot" if slot.readonly else "RAM"
            others.append((("memory", index), f"{kind} at {slot_base:#x}-{slot_end - 1:#x}"))
    if others:
        at, words = others[0]
        message = f"QEMU does not have {words}"
        if words.startswith("RAM"):
            hint = f"write '{{base: {first:#x}, size: {_size_text(end - first)}}}' for all RAM"
        else:
            hint = "remove the slot, or move it below 0x8000000, where QEMU has flash"
        yield Finding(at, message, hint, related=tuple(others[1:]))
        return
    size = qemu.ram_size(machine)
    if size is not None and size != end - first:
        message = f"QEMU has {end - first:#x} bytes of RAM, not {size:#x}: it rounds up to 8 KiB"
        hint = f"write a multiple of {qemu.RAM_SIZE_STEP.value:#x}"
        yield Finding(("memory", max(ram), "size"), message, hint)


def _size_text(size: int) -> str:
    """Return a size as a description has it."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size % (1 << bits) == 0:
            return f"{size >> bits}{unit}"
    return f"{size:#x}"


@vmm_rule("VMC834", source("hw/arm/virt.c:virt_kvm_type"))
def vmm_ipa_bits_mismatch(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`ipa_bits` must be the number of address bits for which QEMU creates the VM.

    QEMU computes it from its highest address: 40 bits with up to 510 GiB of RAM, more with more
    RAM. For `ipa_bits: 32`, vmcfg adds `highmem=off`, which leaves out everything above 4 GiB. If
    the host supports fewer bits, QEMU leaves out PCI windows until its addresses fit."""
    if not machine.has_default_ipa_bits and machine.ipa_bits != vm.ipa_bits:
        message = f"QEMU creates this VM with {vm.ipa_bits} address bits, not {machine.ipa_bits}"
        hint = f"write 'ipa_bits: {vm.ipa_bits}', or remove 'ipa_bits'"
        yield Finding(("ipa_bits",), message, hint)


# Capabilities and registers -----------------------------------------------------------------------


@vmm_rule("VMC836", source("target/arm/kvm.c:kvm_arch_init, accel/kvm/kvm-all.c:kvm_init"))
def capability_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`capabilities` must contain only those that QEMU enables, with the same arguments.

    These are KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 with 3, and KVM_CAP_ARM_NISV_TO_USER. Newer versions
    have options for others, which QEMU 7.2 does not have."""
    for index, (name, args) in enumerate(machine.capabilities):
        enabled = qemu.CAPABILITIES.get(name)
        if enabled == args:
            continue
        if enabled is None:
            message = f"QEMU does not enable {name}"
        else:
            message = f"QEMU enables {name} with the arguments {list(enabled)}, not {list(args)}"
        yield Finding(("capabilities", index), message, f"remove {name}")


@vmm_rule("VMC837", source("target/arm/kvm.c:kvm_arm_init_cpreg_list"))
def register_unsupported_by_vmm(machine: Machine, vm: Vm) -> Iterator[Finding]:
    """`registers` must be empty: QEMU writes the values that it reads from KVM.

    The guest then sees the ID registers and the firmware registers of the host."""
    if machine.registers:
        message = f"QEMU cannot set {machine.registers[0].name}: it uses the value of the host"
        related = [
            (("registers", index), each.name) for index, each in enumerate(machine.registers)
        ]
        hint = "remove 'registers'"
        yield Finding(("registers", 0), message, hint, related=tuple(related[1:]))


RULES = (
    vmm_mpidr_mismatch,
    vmm_pmu_irq_mismatch,
    partial_pmu_in_vmm,
    pmu_device_unsupported_by_vmm,
    pmu_counters_unsupported_by_vmm,
    pmu_filter_unsupported_by_vmm,
    vmm_nr_irqs_mismatch,
    vmm_frame_mismatch,
    vmm_redistributor_mismatch,
    maintenance_irq_unsupported_by_vmm,
    timers_unsupported_by_vmm,
    smccc_filter_unsupported_by_vmm,
    vmm_steal_time_mismatch,
    vmm_memory_mismatch,
    vmm_ipa_bits_mismatch,
    feature_unsupported_by_vmm,
    capability_unsupported_by_vmm,
    register_unsupported_by_vmm,
    too_many_vcpus_for_vmm,
)
"""In the order of their ids."""


def findings_for_qemu(machine: Machine) -> Iterator[Found]:
    """Return what QEMU decides otherwise than `machine`, with the nearest options."""
    vm = qemu.vm_of(qemu.options_for(machine))
    for rule in RULES:
        yield from rule.findings(machine, vm)
