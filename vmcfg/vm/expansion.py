"""A description expanded to one VM: each vCPU with its id, its MPIDR and its interrupt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product, repeat

from vmcfg.arm.affinity import derived_id, mpidr_of_id
from vmcfg.description.model import Description
from vmcfg.description.written import IrqRange, MpidrRange
from vmcfg.findings.position import Path
from vmcfg.kernel.limits import MOST_VCPUS
from vmcfg.vm.machine import Machine, Vcpu


def machine(description: Description) -> Machine:
    """The VM of a description without range findings."""
    return Machine(
        description.name,
        description.host_kernel,
        description.ipa_bits,
        description.memory,
        description.gic,
        description.pmu,
        description.timers,
        _with_ids(_written_vcpus(description), description),
        description.steal_time,
        description.smccc_filter,
        description.features,
        description.devices,
    )


_Written = tuple[int, bool, int | None, Path, Path, int | IrqRange | None]
"""A vCPU in file order, still without an id: the other fields of a `Vcpu`."""


def _written_vcpus(description: Description) -> list[_Written]:
    """The vCPUs in file order."""
    shared = description.pmu.irq
    shared_at: Path = ("pmu", "irq")
    shared_intids = _dealt(shared)
    vcpus: list[_Written] = []
    if isinstance(description.vcpus, int):
        at: Path = ("vcpus",)
        for number in range(description.vcpus):
            intid = next(shared_intids, None)
            vcpus.append((mpidr_of_id(number), not vcpus, intid, at, shared_at, shared))
        return vcpus
    for index, (mpidr, written) in enumerate(description.vcpus):
        at = ("vcpus", index, "mpidr")
        irq_at: Path = ("vcpus", index, "pmu_irq")
        if type(mpidr) is int and type(written) is int:
            # What most entries are, without the cost of ranges.
            vcpus.append((mpidr, not vcpus, written, at, irq_at, written))
            continue
        intids = _dealt(written)
        if written is None:
            written, intids, irq_at = shared, shared_intids, shared_at
        for each in _mpidrs(mpidr):
            vcpus.append((each, not vcpus, next(intids, None), at, irq_at, written))
    return vcpus


def _dealt(irq: int | IrqRange | None) -> Iterator[int]:
    """The INTIDs that a written interrupt deals out: one by one, or a single one for ever."""
    if irq is None:
        return iter(())
    if isinstance(irq, int):
        return repeat(irq)
    if irq.total() == 1:
        return repeat(irq.intid)
    return iter(range(irq.intid, irq.base + irq.last + 1))


def _mpidrs(mpidr: int | MpidrRange) -> Iterator[int]:
    """The compressed MPIDRs that a written one stands for, the rightmost field running fastest."""
    if isinstance(mpidr, int):
        yield mpidr
        return
    ranges = [range(first, last + 1) for first, last in zip(mpidr.first, mpidr.last, strict=True)]
    for aff3, aff2, aff1, aff0 in product(*ranges):
        yield aff3 << 24 | aff2 << 16 | aff1 << 8 | aff0


def _with_ids(vcpus: list[_Written], description: Description) -> tuple[Vcpu, ...]:
    """`vcpus`, given in file order, with their ids; in ascending order of id."""
    if description.vcpu_ids == "sequential":
        return tuple([Vcpu(number, *vcpu) for number, vcpu in enumerate(vcpus)])
    has_gicv2 = description.gic is not None and description.gic.version == 2
    limit = len(vcpus) if has_gicv2 else MOST_VCPUS
    by_id: dict[int, _Written] = {}
    remaining = []
    for vcpu in vcpus:
        mpidr = vcpu[0]
        derived = derived_id(mpidr)
        if derived is not None and derived < limit and derived not in by_id:
            by_id[derived] = vcpu
        else:
            remaining.append(vcpu)
    free = [number for number in range(MOST_VCPUS) if number not in by_id]
    by_id |= zip(free, remaining, strict=False)
    return tuple([Vcpu(number, *by_id[number]) for number in sorted(by_id)])
