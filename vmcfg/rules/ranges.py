"""VMC302 to VMC306: ranges, and how many vCPUs there are. Where one of these is broken, there is no machine to plan.

They look at what is written, before a range is expanded, and also at what could be read of a description in part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.description.half_read import HalfRead, Unread
from vmcfg.description.model import Description, Pmu, VcpuEntry
from vmcfg.description.written import EventRange, IrqRange, MpidrRange
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer, Rule
from vmcfg.kernel.limits import MOST_VCPUS

COUNTS = Rule(
    "VMC302",
    "ranges-run-in-step",
    """A range of interrupts holds as many as the vCPUs that it is dealt out to.

    A value without a range is the same for all.""",
)

FORWARD = Rule(
    "VMC303", "ranges-run-forward", """A range goes from its lesser to its greater end."""
)

AT_MOST_512 = Rule(
    "VMC304",
    "vcpus-at-most-512",
    """A VM has at most 512 vCPUs: KVM's limit on arm64 for their number and for their ids.

    Ranges are counted before anything is expanded. (KVM_CAP_MAX_VCPUS on Linux 6.1, 6.12 and 7.2)""",
    kernel=Answer("KVM_CREATE_VCPU", "EINVAL", "set"),
)

AT_LEAST_ONE = Rule("VMC305", "vcpus-at-least-one", """A VM has at least one vCPU.""")

AFFINITIES = Rule(
    "VMC306",
    "affinities-are-bytes",
    """Each of an MPIDR's four affinity fields is 0 to 255: it has 8 bits in the register.""",
)

RULES = (COUNTS, FORWARD, AT_MOST_512, AT_LEAST_ONE, AFFINITIES)
"""The rules that leave no machine to plan where they are broken."""

Found = tuple[Rule, Finding]

WrittenMpidr = int | MpidrRange | Unread
WrittenIrq = int | IrqRange | Unread | None


def range_findings(description: Description | HalfRead) -> list[Found]:
    """The findings that leave no machine. What could not be read is passed over."""
    shared: WrittenIrq = _value(_value(description, "pmu"), "irq")
    found = list(_reversed_events(_value(description, "pmu")))
    found += _reversed_irq(shared, ("pmu", "irq"), "pmu.irq")
    written = _value(description, "vcpus")
    if isinstance(written, int):
        return found + list(_wrong_counts(written, written, shared))
    if not isinstance(written, tuple):
        return found
    for index, entry in enumerate(written):
        if not isinstance(entry, Unread):
            found += _entry_findings(entry, ("vcpus", index))
    count = sum(map(_vcpus_of, written))
    if count > MOST_VCPUS:
        found.append(_too_many(count))
    elif not found and all(map(_is_readable, written)):
        # Otherwise a vCPU more or less may be all that is wrong, and it is said already.
        without = sum(_vcpus_of(entry) for entry in written if _value(entry, "pmu_irq") is None)
        found += _wrong_counts(count, without, shared)
    return found


def _value(mapping: Any, key: str) -> Any:
    """What is written for a key: `UNREAD` where that could not be read, None where nothing is written."""
    if mapping is None or isinstance(mapping, Unread):
        return mapping
    return mapping[key] if isinstance(mapping, HalfRead) else getattr(mapping, key)


def _is_readable(entry: VcpuEntry | HalfRead | Unread) -> bool:
    if isinstance(entry, HalfRead):
        return entry.is_whole
    return isinstance(entry, VcpuEntry)


def _vcpus_of(entry: VcpuEntry | HalfRead | Unread) -> int:
    """How many vCPUs an entry of `vcpus` stands for; one whose MPIDR could not be read for one."""
    mpidr: WrittenMpidr = _value(entry, "mpidr")
    return mpidr.total() if isinstance(mpidr, MpidrRange) else 1


def _wrong_counts(count: int, without: int, shared: WrittenIrq) -> Iterator[Found]:
    """What is wrong with the number of vCPUs, or with that of the interrupts for those that have none of their own."""
    if count > MOST_VCPUS:
        yield _too_many(count)
    elif count == 0:
        hint = "write a number of them, or list them by MPIDR"
        yield AT_LEAST_ONE, Finding(("vcpus",), "the VM has no vCPU", hint)
    elif isinstance(shared, IrqRange) and shared.total() > 1 and shared.total() != without:
        message = (
            f"pmu.irq holds {shared.total()} interrupts, but {without} vCPUs have none of their own"
        )
        hint = "remove it: every vCPU has one of its own"
        if without:
            hint = f"end the range at {shared.first + without - 1}"
        related = ((("vcpus",), "the vCPUs"),)
        yield COUNTS, Finding(("pmu", "irq"), message, hint, related=related)


def _too_many(count: int) -> Found:
    message = f"the VM has {count} vCPUs, but KVM takes {MOST_VCPUS} at most"
    return AT_MOST_512, Finding(("vcpus",), message, f"leave {count - MOST_VCPUS} of them out")


def _reversed_events(pmu: Pmu | HalfRead | Unread | None) -> Iterator[Found]:
    """The ranges of events that run backwards."""
    entries = _value(pmu, "filter")
    if not isinstance(entries, tuple):
        return
    for index, entry in enumerate(entries):
        events: EventRange | Unread | None = _value(entry, "events")
        if isinstance(events, EventRange) and events.first > events.last:
            at = ("pmu", "filter", index, "events")
            message = f"the range of events {events} runs backwards"
            hint = f"write {events.last:#x}-{events.first:#x}"
            yield FORWARD, Finding(at, message, hint)


def _reversed_irq(irq: WrittenIrq, path: Path, name: str) -> Iterator[Found]:
    """The finding about a range of interrupts that runs backwards."""
    if isinstance(irq, IrqRange) and irq.total() == 0:
        message = f"{name} runs backwards: {irq.text(irq.first, irq.last)}"
        yield FORWARD, Finding(path, message, f"write {irq.text(irq.last, irq.first)}")


def _entry_findings(entry: VcpuEntry | HalfRead, path: Path) -> list[Found]:
    """The findings about one entry of `vcpus`."""
    mpidr: WrittenMpidr = _value(entry, "mpidr")
    irq: WrittenIrq = _value(entry, "pmu_irq")
    found: list[Found] = []
    if isinstance(mpidr, MpidrRange):
        found += _affinity_findings(mpidr, (*path, "mpidr"))
    if isinstance(irq, IrqRange):
        name = f"the range of interrupts of {_vcpu(mpidr)}"
        found += _reversed_irq(irq, (*path, "pmu_irq"), name)
        if not found and not isinstance(mpidr, Unread):
            found += _wrong_range_length(irq, mpidr, path)
    return found


def _vcpu(mpidr: WrittenMpidr) -> str:
    """Which vCPU an entry of `vcpus` is of, by its MPIDR as written."""
    return "this vCPU" if isinstance(mpidr, Unread) else f"vCPU {_mpidr_text(mpidr)}"


def _mpidr_text(mpidr: int | MpidrRange) -> str:
    return mpidr_text(mpidr) if isinstance(mpidr, int) else str(mpidr)


def _affinity_findings(mpidr: MpidrRange, at: Path) -> Iterator[Found]:
    """What is wrong with the affinities of an MPIDR that is written with ranges, or with numbers above 255."""
    for level, first, last in zip((3, 2, 1, 0), mpidr.first, mpidr.last, strict=True):
        greatest = max(first, last)
        if greatest > 255:
            message = f"vCPU {mpidr}: Aff{level} is {greatest}, but an affinity field has 8 bits: 0 to 255"
            hint = _aff0_hint(mpidr) if level == 0 else None
            yield AFFINITIES, Finding(at, message, hint)
        elif first > last:
            message = f"vCPU {mpidr}: the range of Aff{level} runs backwards"
            yield FORWARD, Finding(at, message, f"write {mpidr.forward()}")


def _aff0_hint(mpidr: MpidrRange) -> str | None:
    """What was probably meant by an Aff0 above 255: KVM's number of a vCPU."""
    *above, first = mpidr.first
    *above_last, last = mpidr.last
    if last >= MOST_VCPUS:
        return None
    if first == last:
        return f"vCPU {first} of KVM is {mpidr_text(mpidr_of_id(first))}"
    if first < last and above == above_last == [0, 0, 0]:
        return f"in KVM's numbering Aff0 goes to 15, and then Aff1: 0.0.0-{last // 16}.0-15"
    return None


def _wrong_range_length(irq: IrqRange, mpidr: int | MpidrRange, path: Path) -> Iterator[Found]:
    """The finding about a range of interrupts that is shorter or longer than that of the vCPUs."""
    count = mpidr.total() if isinstance(mpidr, MpidrRange) else 1
    if irq.total() in (1, count):
        return
    name = _mpidr_text(mpidr)
    vcpus = f"{count} vCPUs, {name}" if count > 1 else f"one vCPU, {name}"
    message = f"{irq.total()} interrupts are dealt out to {vcpus}"
    hint = f"write {irq.text(irq.first, irq.first + count - 1)}"
    related = (((*path, "mpidr"), f"{vcpus} here"),)
    yield COUNTS, Finding((*path, "pmu_irq"), message, hint, related=related)
