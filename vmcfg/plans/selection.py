"""Selectors: each selects the values that one row of the sequence sends from a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vmcfg.arm.affinity import mpidr_register
from vmcfg.description.written import intid_of
from vmcfg.kernel import abi
from vmcfg.kernel.features import FEATURES, VCPU_FEATURES
from vmcfg.kernel.limits import VECTOR_LENGTH_STEP, is_vector_length
from vmcfg.plans.command import Selected
from vmcfg.plans.values import feature_word
from vmcfg.vm.frames import steal_time_addresses
from vmcfg.vm.machine import Machine, redistributor_regions

Selector = Callable[[Machine], Iterator[Selected]]

# Creating objects ----------------------------------------------------------------------


def vm_type(machine: Machine) -> Iterator[Selected]:
    """Return the argument of KVM_CREATE_VM."""
    yield Selected((machine.ipa_bits,))


def memory_slots(machine: Machine) -> Iterator[Selected]:
    """Return the memory slots, numbered in the order of the description."""
    for slot, (base, size, is_readonly) in enumerate(machine.memory):
        flags = abi.MEM_READONLY if is_readonly else 0
        yield Selected((slot, base, size, flags), ("memory", slot))


def enabled_features(machine: Machine) -> Iterator[Selected]:
    """Return the capabilities that the features of the vCPUs require on the VM."""
    for feature in FEATURES.values():
        if feature.enabled is not None and feature.word in machine.features:
            at = ("features", machine.features.index(feature.word))
            yield Selected((_capability_number(feature.enabled),), at)


def enabled_capabilities(machine: Machine) -> Iterator[Selected]:
    """Return the capabilities with their arguments, in file order."""
    for index, (name, args) in enumerate(machine.capabilities):
        yield Selected((_capability_number(name), *args), ("capabilities", index))


def _capability_number(name: str) -> int:
    # Few plans enable a capability, so that the table is not loaded at every start.
    from vmcfg.kernel.capabilities import CAPABILITIES

    return CAPABILITIES[name]


def vcpu_ids(machine: Machine) -> Iterator[Selected]:
    """Return the ids of the vCPUs."""
    for vcpu in machine.vcpus:
        yield Selected((vcpu.id,), None, vcpu)


def gic_type(machine: Machine) -> Iterator[Selected]:
    """Return the device type of a GIC that the plan sets up."""
    if machine.gic is not None and machine.sets_up_gic():
        _, number = abi.DEVICE_TYPES[machine.gic.version]
        yield Selected((number,))


def its_types(machine: Machine) -> Iterator[Selected]:
    """Return the device type of each ITS."""
    _, number = abi.ITS_TYPE
    for its in range(_its_count(machine)):
        yield Selected((number,), its=its)


def pmu_device_type(machine: Machine) -> Iterator[Selected]:
    """Return the type of the PMU device, which no released kernel defines."""
    if machine.has_pmu():
        yield Selected(None)


def vcpu_features(machine: Machine) -> Iterator[Selected]:
    """Return the feature word of each vCPU. The guest starts all except the boot vCPU."""
    written: list[str] = []
    for word in machine.features:
        written += FEATURES[word].bits
    for vcpu in machine.vcpus:
        names = {"PSCI_0_2", *written}
        if not vcpu.boot:
            names.add("POWER_OFF")
        if vcpu.pmu_irq is not None:
            names.add("PMU_V3")
        if machine.pmu.strict:
            names.add("PMU_V3_STRICT")
        yield Selected((feature_word(names),), None, vcpu)


def finalized_features(machine: Machine) -> Iterator[Selected]:
    """Return the features to finalize on each vCPU."""
    for feature in FEATURES.values():
        if feature.finalized is not None and feature.word in machine.features:
            bit = VCPU_FEATURES[feature.finalized]
            for vcpu in machine.vcpus:
                yield Selected((bit,), None, vcpu)


def vector_lengths(machine: Machine) -> Iterator[Selected]:
    """Return the set of vector lengths for each vCPU: bit n is 128 * (n + 1) bits."""
    lengths = set(filter(is_vector_length, machine.sve.vector_lengths))
    if lengths:
        word = sum(1 << (bits // VECTOR_LENGTH_STEP - 1) for bits in lengths)
        for vcpu in machine.vcpus:
            yield Selected((word,), ("sve", "vector_lengths"), vcpu)


def set_registers(machine: Machine) -> Iterator[Selected]:
    """Return the registers in file order: those of the whole VM once, the others on each vCPU."""
    if machine.registers:
        from vmcfg.kernel.settable_registers import SETTABLE

        for index, (name, value) in enumerate(machine.registers):
            register = SETTABLE[name]
            vcpus = machine.vcpus if register.per_vcpu else machine.vcpus[:1]
            for vcpu in vcpus:
                at = ("registers", index, "value")
                yield Selected((value,), at, vcpu, register=register)


def set_mpidrs(machine: Machine) -> Iterator[Selected]:
    """Return MPIDR_EL1 of each vCPU to whose id KVM assigns another MPIDR."""
    for vcpu in machine.vcpus:
        if vcpu.mpidr_by_register:
            yield Selected((mpidr_register(vcpu.mpidr),), vcpu.at, vcpu)


# Configuring the VM, the GIC, and the ITSs ------------------------------------------------


def smccc_ranges(machine: Machine) -> Iterator[Selected]:
    """Return the ranges of the SMCCC filter, in the order of the description."""
    for index, (action, base, count) in enumerate(machine.smccc_filter):
        yield Selected((base, count, abi.SMCCC_ACTIONS[action]), ("smccc_filter", index))


def gic_value(key: str, version: int | None = None) -> Selector:
    """Return a selector of one number of `gic`, for one GIC version or all."""

    def select(machine: Machine) -> Iterator[Selected]:
        gic = machine.gic
        if gic is None or not machine.sets_up_gic() or version not in (None, gic.version):
            return
        value = getattr(gic, key)
        if isinstance(value, int):
            yield Selected((value,), ("gic", key))

    return select


def redistributor_region_words(machine: Machine) -> Iterator[Selected]:
    """Return the redistributor regions as words: count [63:52], base [51:16], index [11:0]."""
    if not machine.sets_up_gic() or machine.gic_version() != 3:
        return
    regions = redistributor_regions(machine.gic)
    counts = machine.redistributor_counts()
    for index, (region, count) in enumerate(zip(regions, counts, strict=True)):
        word = count << 52 | region.base | index
        yield Selected((word,), ("gic", "redistributors", index))


def maintenance_irq(machine: Machine) -> Iterator[Selected]:
    """Return the maintenance interrupt of a GICv3."""
    gic = machine.gic
    if gic is None or not machine.sets_up_gic() or gic.version != 3:
        return
    if gic.maintenance_irq is not None:
        yield Selected((intid_of(gic.maintenance_irq),), ("gic", "maintenance_irq"))


def its_addresses(machine: Machine) -> Iterator[Selected]:
    """Return the address of each ITS."""
    if machine.gic is not None:
        for its in range(_its_count(machine)):
            yield Selected((machine.gic.its[its],), ("gic", "its", its), None, its)


def its_inits(machine: Machine) -> Iterator[Selected]:
    """Return the initialization of each ITS, which has no value."""
    for its in range(_its_count(machine)):
        yield Selected((), ("gic", "its", its), None, its)


def gic_init(machine: Machine) -> Iterator[Selected]:
    """Return the initialization of a GIC that the plan sets up, which has no value."""
    if machine.sets_up_gic():
        yield Selected((), ("gic",))


def _its_count(machine: Machine) -> int:
    """Return the number of ITSs that the plan creates."""
    gic = machine.gic
    if gic is None or not machine.sets_up_gic() or gic.version != 3:
        return 0
    return len(gic.its)


# Settings of the whole VM, sent through the vCPU with the lowest id ---------------------------


def timer_irq(key: str) -> Selector:
    """Return a selector of the PPI of one timer."""

    def select(machine: Machine) -> Iterator[Selected]:
        if getattr(machine.timers, key) is not None:
            yield Selected((machine.timers.intid(key),), ("timers", key), machine.vcpus[0])

    return select


def pmu_device(machine: Machine) -> Iterator[Selected]:
    """Return the host PMU, whose number only the host knows."""
    name = machine.pmu.device
    if name is not None:
        yield Selected(None, ("pmu", "device"), machine.vcpus[0], host_name=name)


def pmu_number(key: str) -> Selector:
    """Return a selector of one number of `pmu`."""

    def select(machine: Machine) -> Iterator[Selected]:
        number = getattr(machine.pmu, key)
        if number is not None:
            yield Selected((number,), ("pmu", key), machine.vcpus[0])

    return select


def pmu_event_ranges(machine: Machine) -> Iterator[Selected]:
    """Return the ranges of the PMU event filter, in the order of the description."""
    for index, (action, events) in enumerate(machine.pmu.filter):
        # nevents has 16 bits: all 65536 events need two commands.
        halves = [(0, 0x7FFF), (0x8000, 0xFFFF)] if events == (0, 0xFFFF) else [events]
        for first, last in halves:
            number = abi.PMU_EVENT_ACTIONS[action]
            payload = first, last - first + 1, number
            yield Selected(payload, ("pmu", "filter", index), machine.vcpus[0])


# Settings of each vCPU --------------------------------------------------------------------------


def pmu_irqs(machine: Machine) -> Iterator[Selected]:
    """Return the PMU interrupt of each vCPU that has one."""
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected((vcpu.pmu_irq,), vcpu.irq_at, vcpu)


def pmu_irqs_by_index(machine: Machine) -> Iterator[Selected]:
    """Return the PMU interrupts, each with the vCPU index as attribute number."""
    for index, vcpu in enumerate(machine.vcpus):
        if vcpu.pmu_irq is not None:
            yield Selected((vcpu.pmu_irq,), vcpu.irq_at, vcpu, attr_id=index)


def pmu_irqs_by_mpidr(machine: Machine) -> Iterator[Selected]:
    """Return the PMU interrupts, each with the MPIDR in bits [63:32] of the attribute number."""
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected((vcpu.pmu_irq,), vcpu.irq_at, vcpu, attr_id=vcpu.mpidr << 32)


def pmu_inits(machine: Machine) -> Iterator[Selected]:
    """Return the initialization of the PMU of each vCPU that has one, which has no value."""
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected((), vcpu.irq_at, vcpu)


def steal_time_bases(machine: Machine) -> Iterator[Selected]:
    """Return the address of the steal time of each vCPU."""
    addresses = steal_time_addresses(machine) or ()
    for address, vcpu in zip(addresses, machine.vcpus, strict=False):
        yield Selected((address,), ("steal_time", "base"), vcpu)
