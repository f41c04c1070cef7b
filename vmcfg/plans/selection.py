"""What a row of the sequence sends: selectors, each of which picks the values of one row from a
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vmcfg.arm.affinity import mpidr_register
from vmcfg.description.written import intid_of
from vmcfg.kernel import abi
from vmcfg.kernel.features import FEATURES, VCPU_FEATURES
from vmcfg.plans.command import Selected
from vmcfg.plans.values import feature_word
from vmcfg.vm.frames import steal_time_addresses
from vmcfg.vm.machine import Machine, redistributor_regions

Selector = Callable[[Machine], Iterator[Selected]]

# What makes the objects ----------------------------------------------------------------------


def vm_type(machine: Machine) -> Iterator[Selected]:
    """The argument of KVM_CREATE_VM."""
    yield Selected((machine.ipa_bits,))


def memory_slots(machine: Machine) -> Iterator[Selected]:
    """The memory slots, numbered in the order of the description."""
    for slot, (base, size) in enumerate(machine.memory):
        yield Selected((slot, base, size), ("memory", slot))


def vcpu_ids(machine: Machine) -> Iterator[Selected]:
    """The ids of the vCPUs."""
    for vcpu in machine.vcpus:
        yield Selected((vcpu.id,), None, vcpu)


def gic_type(machine: Machine) -> Iterator[Selected]:
    """The device type of a GIC that the plan sets up."""
    if machine.gic is not None and machine.sets_up_gic():
        _, number = abi.DEVICE_TYPES[machine.gic.version]
        yield Selected((number,))


def its_types(machine: Machine) -> Iterator[Selected]:
    """The device type of each ITS."""
    _, number = abi.ITS_TYPE
    for its in range(_its_count(machine)):
        yield Selected((number,), its=its)


def pmu_device_type(machine: Machine) -> Iterator[Selected]:
    """The type of the PMU device, for which no kernel has a number."""
    if machine.has_pmu():
        yield Selected(None)


def vcpu_features(machine: Machine) -> Iterator[Selected]:
    """The feature word of each vCPU: all but the boot vCPU wait for the guest to start them."""
    written: list[str] = []
    for word in machine.features:
        written += FEATURES[word].bits
    for vcpu in machine.vcpus:
        names = {"PSCI_0_2", *written}
        if not vcpu.boot:
            names.add("POWER_OFF")
        if vcpu.pmu_irq is not None:
            names.add("PMU_V3")
        yield Selected((feature_word(names),), None, vcpu)


def finalized_features(machine: Machine) -> Iterator[Selected]:
    """The features that each vCPU has to finalize."""
    for feature in FEATURES.values():
        if feature.finalized is not None and feature.word in machine.features:
            bit = VCPU_FEATURES[feature.finalized]
            for vcpu in machine.vcpus:
                yield Selected((bit,), None, vcpu)


def set_mpidrs(machine: Machine) -> Iterator[Selected]:
    """MPIDR_EL1 of each vCPU to whose id KVM assigns another one."""
    for vcpu in machine.vcpus:
        if vcpu.mpidr_by_register:
            yield Selected((mpidr_register(vcpu.mpidr),), vcpu.at, vcpu)


# What configures the VM, the GIC and the ITSs ------------------------------------------------


def smccc_ranges(machine: Machine) -> Iterator[Selected]:
    """The ranges of the SMCCC filter, in the order of the description."""
    for index, (action, base, count) in enumerate(machine.smccc_filter):
        yield Selected((base, count, abi.SMCCC_ACTIONS[action]), ("smccc_filter", index))


def gic_value(key: str, version: int | None = None) -> Selector:
    """A selector of one number of `gic`, of one GIC version or of any."""

    def select(machine: Machine) -> Iterator[Selected]:
        gic = machine.gic
        if gic is None or not machine.sets_up_gic() or version not in (None, gic.version):
            return
        value = getattr(gic, key)
        if isinstance(value, int):
            yield Selected((value,), ("gic", key))

    return select


def redistributor_region_words(machine: Machine) -> Iterator[Selected]:
    """The redistributor regions, packed: count in bits 63..52, base in 51..16, index in 11..0."""
    if not machine.sets_up_gic() or machine.gic_version() != 3:
        return
    regions = redistributor_regions(machine.gic)
    counts = machine.redistributor_counts()
    for index, (region, count) in enumerate(zip(regions, counts, strict=True)):
        word = count << 52 | region.base | index
        yield Selected((word,), ("gic", "redistributors", index))


def maintenance_irq(machine: Machine) -> Iterator[Selected]:
    """The maintenance interrupt of a GICv3."""
    gic = machine.gic
    if gic is None or not machine.sets_up_gic() or gic.version != 3:
        return
    if gic.maintenance_irq is not None:
        yield Selected((intid_of(gic.maintenance_irq),), ("gic", "maintenance_irq"))


def its_addresses(machine: Machine) -> Iterator[Selected]:
    """The address of each ITS."""
    if machine.gic is not None:
        for its in range(_its_count(machine)):
            yield Selected((machine.gic.its[its],), ("gic", "its", its), None, its)


def its_inits(machine: Machine) -> Iterator[Selected]:
    """The initialization of each ITS, which carries no value."""
    for its in range(_its_count(machine)):
        yield Selected((), ("gic", "its", its), None, its)


def gic_init(machine: Machine) -> Iterator[Selected]:
    """The initialization of a GIC that the plan sets up, which carries no value."""
    if machine.sets_up_gic():
        yield Selected((), ("gic",))


def _its_count(machine: Machine) -> int:
    """How many ITSs the plan makes."""
    gic = machine.gic
    if gic is None or not machine.sets_up_gic() or gic.version != 3:
        return 0
    return len(gic.its)


# What is the same for the whole VM, and sent through the vCPU with the lowest id -------------


def timer_irq(key: str) -> Selector:
    """A selector of one timer's PPI."""

    def select(machine: Machine) -> Iterator[Selected]:
        if getattr(machine.timers, key) is not None:
            yield Selected((machine.timers.intid(key),), ("timers", key), machine.vcpus[0])

    return select


def pmu_device(machine: Machine) -> Iterator[Selected]:
    """The host PMU, whose number only the host knows."""
    name = machine.pmu.device
    if name is not None:
        yield Selected(None, ("pmu", "device"), machine.vcpus[0], host_name=name)


def pmu_number(key: str) -> Selector:
    """A selector of one number of `pmu`."""

    def select(machine: Machine) -> Iterator[Selected]:
        number = getattr(machine.pmu, key)
        if number is not None:
            yield Selected((number,), ("pmu", key), machine.vcpus[0])

    return select


def pmu_event_ranges(machine: Machine) -> Iterator[Selected]:
    """The ranges of the PMU's event filter, in the order of the description."""
    for index, (action, events) in enumerate(machine.pmu.filter):
        # nevents has 16 bits: all 65,536 events are two commands.
        halves = [(0, 0x7FFF), (0x8000, 0xFFFF)] if events == (0, 0xFFFF) else [events]
        for first, last in halves:
            number = abi.PMU_EVENT_ACTIONS[action]
            payload = first, last - first + 1, number
            yield Selected(payload, ("pmu", "filter", index), machine.vcpus[0])


# What each vCPU has --------------------------------------------------------------------------


def pmu_irqs(machine: Machine) -> Iterator[Selected]:
    """The PMU interrupt of each vCPU that has one."""
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected((vcpu.pmu_irq,), vcpu.irq_at, vcpu)


def pmu_irqs_by_index(machine: Machine) -> Iterator[Selected]:
    """The PMU interrupts, each with its vCPU's index as the attribute's number."""
    for index, vcpu in enumerate(machine.vcpus):
        if vcpu.pmu_irq is not None:
            yield Selected((vcpu.pmu_irq,), vcpu.irq_at, vcpu, attr_id=index)


def pmu_irqs_by_mpidr(machine: Machine) -> Iterator[Selected]:
    """The PMU interrupts, each with its vCPU's MPIDR in bits 63..32 of the attribute's number."""
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected((vcpu.pmu_irq,), vcpu.irq_at, vcpu, attr_id=vcpu.mpidr << 32)


def pmu_inits(machine: Machine) -> Iterator[Selected]:
    """The initialization of the PMU of each vCPU that has one, which carries no value."""
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected((), vcpu.irq_at, vcpu)


def steal_time_bases(machine: Machine) -> Iterator[Selected]:
    """Where each vCPU's steal time lies."""
    addresses = steal_time_addresses(machine) or ()
    for address, vcpu in zip(addresses, machine.vcpus, strict=False):
        yield Selected((address,), ("steal_time", "base"), vcpu)
