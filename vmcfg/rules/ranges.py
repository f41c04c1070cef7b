"""VMC302 to VMC306: ranges, and how many vCPUs there are.

If one of these rules is broken, there is no machine to plan. The rules look at what is written, before a range is expanded. They also look at what could be read
of a description in part, so that one wrong word does not hide a wrong range elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.description.half_read import UNREAD, HalfRead, Unread
from vmcfg.description.model import Description, VcpuEntry
from vmcfg.description.written import EventRange, IrqRange, MpidrRange
from vmcfg.findings.finding import Finding, Found
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


WrittenIrq = int | IrqRange | Unread | None


def range_findings(description: Description | HalfRead) -> list[Found]:
    """The findings that leave no machine. What could not be read is passed over."""
    written = _written(description)
    vcpus = written.vcpus
    found = [
        *_reversed_events(written.events),
        *_reversed_irq(written.shared_irq, ("pmu", "irq"), "pmu.irq"),
    ]
    if isinstance(vcpus, Unread):
        return found
    if isinstance(vcpus, int):
        return [*found, *_wrong_counts(vcpus, vcpus, written.shared_irq)]
    for index, entry in enumerate(vcpus):
        # Most entries have no range: they need no path and no call.
        if isinstance(entry.mpidr, MpidrRange) or isinstance(entry.pmu_irq, IrqRange):
            found += _entry_findings(entry, ("vcpus", index))
    count = sum(map(_vcpus_of, vcpus))
    if count > MOST_VCPUS:
        found.append(_too_many(count))
    elif not found and all(map(_is_whole, vcpus)):
        # Otherwise a vCPU more or less may be all that is wrong, and it is said already.
        without_irq = sum(_vcpus_of(entry) for entry in vcpus if entry.pmu_irq is None)
        found += _wrong_counts(count, without_irq, written.shared_irq)
    return found


# What is written ----------------------------------------------------------------------------------


class _HalfReadVcpu:
    """An entry of `vcpus` in which something could not be read, or was one key too many."""

    __slots__ = ("mpidr", "pmu_irq")

    def __init__(self, mpidr: int | MpidrRange | Unread, pmu_irq: WrittenIrq) -> None:
        self.mpidr = mpidr
        self.pmu_irq = pmu_irq


_Entry = VcpuEntry | _HalfReadVcpu


class _Written:
    """What these rules look at: `vcpus`, `pmu.irq`, and the events of each filter entry."""

    __slots__ = ("events", "shared_irq", "vcpus")

    def __init__(
        self,
        *,
        vcpus: int | tuple[_Entry, ...] | Unread,
        shared_irq: WrittenIrq,
        events: list[EventRange | Unread | None],
    ) -> None:
        self.vcpus = vcpus
        self.shared_irq = shared_irq
        self.events = events


def _written(description: Description | HalfRead) -> _Written:
    if isinstance(description, Description):
        return _Written(
            vcpus=description.vcpus,
            shared_irq=description.pmu.irq,
            events=[entry.events for entry in description.pmu.filter],
        )
    vcpus = description["vcpus"]
    pmu = description["pmu"]
    filter = _value(pmu, "filter")
    return _Written(
        vcpus=tuple(map(_entry, vcpus)) if isinstance(vcpus, tuple) else vcpus,
        shared_irq=_value(pmu, "irq"),
        events=[_value(entry, "events") for entry in filter] if isinstance(filter, tuple) else [],
    )


def _entry(entry: VcpuEntry | HalfRead | Unread) -> _Entry:
    if isinstance(entry, VcpuEntry):
        return entry
    return _HalfReadVcpu(_value(entry, "mpidr"), _value(entry, "pmu_irq"))


def _value(mapping: Any, key: str) -> Any:
    """What is written for a key: `UNREAD` if that could not be read, None if nothing is written."""
    if mapping is None:
        return None
    if isinstance(mapping, Unread):
        return UNREAD
    return mapping[key] if isinstance(mapping, HalfRead) else getattr(mapping, key)


def _is_whole(entry: _Entry) -> bool:
    """Whether every value of an entry of `vcpus` could be read."""
    if isinstance(entry, VcpuEntry):
        return True
    return not isinstance(entry.mpidr, Unread) and not isinstance(entry.pmu_irq, Unread)


def _vcpus_of(entry: _Entry) -> int:
    """How many vCPUs an entry of `vcpus` stands for; one where its MPIDR could not be read."""
    return entry.mpidr.total() if isinstance(entry.mpidr, MpidrRange) else 1


# How many vCPUs -----------------------------------------------------------------------------------


def _wrong_counts(count: int, without_irq: int, shared_irq: WrittenIrq) -> Iterator[Found]:
    """What is wrong with the number of vCPUs, or of the interrupts that some of them share."""
    if count > MOST_VCPUS:
        yield _too_many(count)
    elif count == 0:
        hint = "write a number of them, or list them by MPIDR"
        yield AT_LEAST_ONE, Finding(("vcpus",), "the VM has no vCPU", hint)
    elif isinstance(shared_irq, IrqRange):
        yield from _shared_out_of_step(shared_irq, without_irq)


def _too_many(count: int) -> Found:
    message = f"the VM has {count} vCPUs, but KVM takes {MOST_VCPUS} at most"
    return AT_MOST_512, Finding(("vcpus",), message, f"leave {count - MOST_VCPUS} of them out")


# Reversed ranges ----------------------------------------------------------------------------------


def _reversed_events(entries: list[EventRange | Unread | None]) -> Iterator[Found]:
    """The ranges of events of filter entries that run backwards."""
    for index, events in enumerate(entries):
        if isinstance(events, EventRange) and events.first > events.last:
            path = ("pmu", "filter", index, "events")
            message = f"the range of events {events} runs backwards"
            yield FORWARD, Finding(path, message, f"write {events.last:#x}-{events.first:#x}")


def _reversed_irq(irq: WrittenIrq, path: Path, name: str) -> Iterator[Found]:
    """The range of interrupts that `name` is, where it runs backwards."""
    if isinstance(irq, IrqRange) and irq.total() == 0:
        message = f"{name} runs backwards: {irq.text(irq.first, irq.last)}"
        yield FORWARD, Finding(path, message, f"write {irq.text(irq.last, irq.first)}")


# Entries of vcpus ---------------------------------------------------------------------------------


def _entry_findings(entry: _Entry, path: Path) -> list[Found]:
    """The findings about one entry of `vcpus`."""
    mpidr, irq = entry.mpidr, entry.pmu_irq
    found: list[Found] = []
    if isinstance(mpidr, MpidrRange):
        found += _wrong_affinities(mpidr, (*path, "mpidr"))
    found += _reversed_irq(irq, (*path, "pmu_irq"), f"the range of interrupts of {_name_of(mpidr)}")
    if not found and isinstance(irq, IrqRange) and not isinstance(mpidr, Unread):
        found += _out_of_step(irq, mpidr, _vcpus_of(entry), path)
    return found


def _wrong_affinities(mpidr: MpidrRange, path: Path) -> Iterator[Found]:
    """The fields of an MPIDR that do not fit 8 bits, or that run backwards."""
    for level, first, last in zip((3, 2, 1, 0), mpidr.first, mpidr.last, strict=True):
        greatest = max(first, last)
        if greatest > 255:
            message = f"vCPU {mpidr}: Aff{level} is {greatest}, but an affinity field has 8 bits: 0 to 255"
            hint = _numbering_of_kvm(mpidr) if level == 0 else None
            yield AFFINITIES, Finding(path, message, hint)
        elif first > last:
            message = f"vCPU {mpidr}: the range of Aff{level} runs backwards"
            yield FORWARD, Finding(path, message, f"write {mpidr.forward()}")


def _numbering_of_kvm(mpidr: MpidrRange) -> str | None:
    """How KVM numbers the vCPUs of an MPIDR whose Aff0 is too great, if that looks like an index."""
    first, last = mpidr.first[3], mpidr.last[3]
    if first == last < MOST_VCPUS:
        return f"vCPU {first} of KVM is {mpidr_text(mpidr_of_id(first))}"
    if first < last < MOST_VCPUS and mpidr.first[:3] == mpidr.last[:3] == (0, 0, 0):
        return f"in KVM's numbering Aff0 goes to 15, and then Aff1: 0.0.0-{last // 16}.0-15"
    return None


# Ranges in step -----------------------------------------------------------------------------------


def _out_of_step(irq: IrqRange, mpidr: int | MpidrRange, count: int, path: Path) -> Iterator[Found]:
    """The finding if an entry for `count` vCPUs has a range of more or fewer interrupts.

    A single interrupt is for all.
    """
    if irq.total() <= 1 or irq.total() == count:
        return
    name = _text_of(mpidr)
    vcpus = f"{count} vCPUs, {name}" if count > 1 else f"one vCPU, {name}"
    message = f"{irq.total()} interrupts are dealt out to {vcpus}"
    hint = f"write {irq.text(irq.first, irq.first + count - 1)}"
    related = (((*path, "mpidr"), f"{vcpus} here"),)
    yield COUNTS, Finding((*path, "pmu_irq"), message, hint, related=related)


def _shared_out_of_step(irq: IrqRange, without_irq: int) -> Iterator[Found]:
    """The finding if pmu.irq is a range that is not as long as there are vCPUs without their own."""
    if irq.total() <= 1 or irq.total() == without_irq:
        return
    message = (
        f"pmu.irq holds {irq.total()} interrupts, but {without_irq} vCPUs have none of their own"
    )
    hint = "remove it: every vCPU has one of its own"
    if without_irq:
        hint = f"end the range at {irq.first + without_irq - 1}"
    related = ((("vcpus",), "the vCPUs"),)
    yield COUNTS, Finding(("pmu", "irq"), message, hint, related=related)


# Words --------------------------------------------------------------------------------------------


def _name_of(mpidr: int | MpidrRange | Unread) -> str:
    """What messages call an entry of `vcpus`: by its MPIDR as written."""
    return "this vCPU" if isinstance(mpidr, Unread) else f"vCPU {_text_of(mpidr)}"


def _text_of(mpidr: int | MpidrRange) -> str:
    return mpidr_text(mpidr) if isinstance(mpidr, int) else str(mpidr)
