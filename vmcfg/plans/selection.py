"""TODO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vmcfg.arm.affinity import mpidr_register
from vmcfg.description.written import intid_of
from vmcfg.kernel import abi
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.plans.rows import Selected
from vmcfg.vm.frames import STEAL_TIME_SIZE
from vmcfg.vm.machine import Machine, redistributor_regions


def _vm(machine: Machine) -> Iterator[Selected]:
    yield Selected(machine.ipa_bits)


def _memory(machine: Machine) -> Iterator[Selected]:
    for slot, (base, size) in enumerate(machine.memory):
        yield Selected((slot, base, size), ("memory", slot))


def _vcpus(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        yield Selected(vcpu.id, None, vcpu)


def _gic(machine: Machine) -> Iterator[Selected]:
    if machine.gic is not None and machine.sets_up_gic():
        yield Selected(abi.DEVICE_TYPES[machine.gic.version][1])


def _its_created(machine: Machine) -> Iterator[Selected]:
    for selected in _its(int)(machine):
        yield Selected(abi.ITS_TYPE[1], its=selected.its)


_FEATURE_BITS = {
    "sve": ("SVE",),
    "ptrauth": ("PTRAUTH_ADDRESS", "PTRAUTH_GENERIC"),
    "el2": ("HAS_EL2",),
}


def _features(machine: Machine) -> Iterator[Selected]:
    more = [
        bit
        for feature, bits in _FEATURE_BITS.items()
        if feature in machine.features
        for bit in bits
    ]
    for vcpu in machine.vcpus:
        power = () if vcpu.boot else ("POWER_OFF",)
        pmu = () if vcpu.pmu_irq is None else ("PMU_V3",)
        yield Selected((*power, "PSCI_0_2", *pmu, *more), None, vcpu)


def _finalized(machine: Machine) -> Iterator[Selected]:
    if "sve" in machine.features:
        for vcpu in machine.vcpus:
            yield Selected(VCPU_FEATURES["SVE"], None, vcpu)


def _mpidr(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.mpidr_by_register:
            yield Selected(mpidr_register(vcpu.mpidr), vcpu.at, vcpu)


def _gic_value(key: str, version: int | None = None) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of one number of `gic`, of one GIC version or of any."""

    def select(machine: Machine) -> Iterator[Selected]:
        gic = machine.gic
        if gic is not None and machine.sets_up_gic() and version in (None, gic.version):
            value = getattr(gic, key)
            if isinstance(value, int):
                yield Selected(value, ("gic", key))

    return select


def _regions(machine: Machine) -> Iterator[Selected]:
    if machine.sets_up_gic() and machine.gic_version() == 3:
        regions = redistributor_regions(machine.gic)
        for index, (region, count) in enumerate(
            zip(regions, machine.redistributor_counts(), strict=True)
        ):
            yield Selected(count << 52 | region.base | index, ("gic", "redistributors", index))


def _maintenance_irq(machine: Machine) -> Iterator[Selected]:
    gic = machine.gic
    if (
        gic is not None
        and machine.sets_up_gic()
        and gic.version == 3
        and gic.maintenance_irq is not None
    ):
        yield Selected(intid_of(gic.maintenance_irq), ("gic", "maintenance_irq"))


def _its(value: Callable[[int], Any]) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of what each ITS is told: `value` of its address."""

    def select(machine: Machine) -> Iterator[Selected]:
        gic = machine.gic
        if gic is not None and machine.sets_up_gic() and gic.version == 3:
            for number, address in enumerate(gic.its):
                yield Selected(value(address), ("gic", "its", number), None, number)

    return select


def _smccc_filter(machine: Machine) -> Iterator[Selected]:
    for index, (action, base, count) in enumerate(machine.smccc_filter):
        yield Selected((base, count, abi.SMCCC_ACTIONS[action]), ("smccc_filter", index))


def _timer(key: str) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of one timer's PPI: VM-wide, sent once, through the vCPU with the lowest id."""

    def select(machine: Machine) -> Iterator[Selected]:
        if getattr(machine.timers, key) is not None:
            yield Selected(machine.timers.intid(key), ("timers", key), machine.vcpus[0])

    return select


def _pmu_value(key: str) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of one value of `pmu`: VM-wide, sent once, through the vCPU with the lowest id."""

    def select(machine: Machine) -> Iterator[Selected]:
        value = getattr(machine.pmu, key)
        if value is not None:
            yield Selected(value, ("pmu", key), machine.vcpus[0])

    return select


def _pmu_filter(machine: Machine) -> Iterator[Selected]:
    for index, (action, events) in enumerate(machine.pmu.filter):
        # nevents has 16 bits: all 65,536 events are two commands.
        halves = [(0, 0x7FFF), (0x8000, 0xFFFF)] if events == (0, 0xFFFF) else [events]
        for first, last in halves:
            value = first, last - first + 1, abi.PMU_EVENT_ACTIONS[action]
            yield Selected(value, ("pmu", "filter", index), machine.vcpus[0])


def _steal_time(machine: Machine) -> Iterator[Selected]:
    if machine.steal_time is not None:
        for index, vcpu in enumerate(machine.vcpus):
            yield Selected(
                machine.steal_time.base + STEAL_TIME_SIZE * index, ("steal_time", "base"), vcpu
            )


def _pmu_irq(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected(vcpu.pmu_irq, vcpu.irq_at, vcpu)


def _pmu_device(machine: Machine) -> Iterator[Selected]:
    if machine.has_pmu():
        yield Selected(None)


def _pmu_irq_by_index(machine: Machine) -> Iterator[Selected]:
    for index, vcpu in enumerate(machine.vcpus):
        if vcpu.pmu_irq is not None:
            yield Selected(vcpu.pmu_irq, vcpu.irq_at, vcpu, attr_id=index)


def _pmu_irq_by_mpidr(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected(vcpu.pmu_irq, vcpu.irq_at, vcpu, attr_id=vcpu.mpidr << 32)


def _gic_init(machine: Machine) -> Iterator[Selected]:
    if machine.sets_up_gic():
        yield Selected(None, ("gic",))


def _pmu_init(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected(None, vcpu.irq_at, vcpu)
