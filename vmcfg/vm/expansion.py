"""A description expanded to one VM: each vCPU with its id, its MPIDR, and its interrupt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from vmcfg.arm.affinity import derived_id, mpidr_of_id
from vmcfg.description.model import Description, VcpuEntry
from vmcfg.description.written import IrqRange
from vmcfg.findings.position import Path
from vmcfg.kernel.limits import IPA_BITS_DEFAULT, MOST_VCPUS
from vmcfg.kernel.version import LINUX_6_1
from vmcfg.vm.machine import Machine, Vcpu


def machine(description: Description) -> Machine:
    """Return the VM of a description without findings about ranges."""
    return Machine(
        name=description.name,
        host_kernel=description.host_kernel or LINUX_6_1,
        host_kernel_from="default" if description.host_kernel is None else "description",
        ipa_bits=IPA_BITS_DEFAULT if description.ipa_bits is None else description.ipa_bits,
        has_default_ipa_bits=description.ipa_bits is None,
        memory=description.memory,
        gic=description.gic,
        pmu=description.pmu,
        timers=description.timers,
        vcpus=_with_ids(_in_file_order(description), description),
        has_mpidrs_as_ids=description.vcpu_ids == "mpidr",
        steal_time=description.steal_time,
        smccc_filter=description.smccc_filter,
        features=description.features,
        sve=description.sve,
        capabilities=description.capabilities,
        registers=description.registers,
        devices=description.devices,
    )


_Written = tuple[int, bool, int | None, Path, Path, int | IrqRange | None]
"""A vCPU in file order: the fields of `Vcpu` without the id."""

_SHARED_AT: Path = ("pmu", "irq")


def _in_file_order(description: Description) -> list[_Written]:
    """Return the vCPUs in file order; the first is the boot vCPU."""
    if isinstance(description.vcpus, int):
        return _counted(description.vcpus, description.pmu.irq)
    return _listed(description.vcpus, description.pmu.irq)


def _counted(count: int, shared: int | IrqRange | None) -> list[_Written]:
    """Return `count` vCPUs with the MPIDRs that KVM assigns; `shared` is pmu.irq."""
    intids = _dealt(shared)
    at: Path = ("vcpus",)
    return [
        (mpidr_of_id(number), number == 0, next(intids, None), at, _SHARED_AT, shared)
        for number in range(count)
    ]


def _listed(entries: tuple[VcpuEntry, ...], shared: int | IrqRange | None) -> list[_Written]:
    """Return the vCPUs of the entries; `shared` is pmu.irq, for those without 'pmu_irq'."""
    shared_intids = _dealt(shared)
    vcpus: list[_Written] = []
    for index, (mpidr, written) in enumerate(entries):
        at: Path = ("vcpus", index, "mpidr")
        irq_at: Path = ("vcpus", index, "pmu_irq")
        if type(mpidr) is int and type(written) is int:
            # Most entries have no range: this avoids the cost of expansion.
            vcpus.append((mpidr, not vcpus, written, at, irq_at, written))
            continue
        intids = _dealt(written)
        if written is None:
            written, intids, irq_at = shared, shared_intids, _SHARED_AT
        for each in (mpidr,) if isinstance(mpidr, int) else mpidr.mpidrs():
            vcpus.append((each, not vcpus, next(intids, None), at, irq_at, written))
    return vcpus


def _dealt(irq: int | IrqRange | None) -> Iterator[int]:
    """Return the INTIDs that a written interrupt assigns: a range once, a single one forever."""
    if irq is None:
        return iter(())
    if isinstance(irq, int):
        return repeat(irq)
    if irq.total() == 1:
        return repeat(irq.intid)
    return iter(range(irq.intid, irq.base + irq.last + 1))


def _with_ids(vcpus: list[_Written], description: Description) -> tuple[Vcpu, ...]:
    """Return `vcpus`, which are in file order, with ids and in ascending order of ids."""
    if description.vcpu_ids == "sequential":
        return tuple([Vcpu(number, *vcpu) for number, vcpu in enumerate(vcpus)])
    if description.vcpu_ids == "mpidr":
        return tuple(sorted([Vcpu(vcpu[0], *vcpu) for vcpu in vcpus], key=_id))
    has_gicv2 = description.gic is not None and description.gic.version == 2
    by_id = _by_derived_id(vcpus, len(vcpus) if has_gicv2 else MOST_VCPUS)
    return tuple([Vcpu(number, *by_id[number]) for number in sorted(by_id)])


def _id(vcpu: Vcpu) -> int:
    return vcpu.id


def _by_derived_id(vcpus: list[_Written], limit: int) -> dict[int, _Written]:
    """Return each vCPU by the id to which KVM assigns its MPIDR if below `limit`, or a free id."""
    by_id: dict[int, _Written] = {}
    remaining = []
    for vcpu in vcpus:
        mpidr = vcpu[0]
        derived = derived_id(mpidr)
        if derived is not None and derived < limit and derived not in by_id:
            by_id[derived] = vcpu
        else:
            remaining.append(vcpu)
    free = (number for number in range(MOST_VCPUS) if number not in by_id)
    return by_id | dict(zip(free, remaining, strict=False))
