"""VMC302 to VMC306: ranges, and the number of vCPUs.

If one of these rules is broken, there is no machine to plan. The rules check values as written,
before ranges are expanded. They also check a description that could be read only in part, so that
one wrong word does not hide a wrong range elsewhere.
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

LENGTHS = Rule(
    "VMC302",
    "range-length-mismatch",
    """A range of interrupts must contain exactly one interrupt per vCPU that it is assigned to.

    A value without a range applies to all of them.""",
)

REVERSED = Rule(
    "VMC303",
    "reversed-range",
    """The first number of a range must not exceed the last.""",
)

AT_MOST_512 = Rule(
    "VMC304",
    "too-many-vcpus",
    """A VM can have at most 512 vCPUs: on arm64, KVM limits their number and their ids to that.

    Ranges are counted before they are expanded.

    Source: KVM_CAP_MAX_VCPUS on 6.1 to 7.3.""",
    kernel=Answer("KVM_CREATE_VCPU", "EINVAL", "set"),
)

AT_LEAST_ONE = Rule("VMC305", "zero-vcpus", """A VM must have at least one vCPU.""")

AFFINITIES = Rule(
    "VMC306",
    "affinity-out-of-range",
    """Each of the four affinity fields of an MPIDR must be 0 to 255: it has 8 bits in the register.
    """,
)

RULES = (LENGTHS, REVERSED, AT_MOST_512, AT_LEAST_ONE, AFFINITIES)
"""The rules without which there is no machine to plan."""


WrittenIrq = int | IrqRange | Unread | None


def range_findings(description: Description | HalfRead) -> list[Found]:
    """Return the findings without a machine. Values that could not be read are skipped."""
    written = _written(description)
    vcpus = written.vcpus
    found = [
        *_reversed_events(written.events),
        *_reversed_irq(written.shared_irq, ("pmu", "irq"), "in 'pmu.irq'"),
    ]
    for index, irq in enumerate(written.device_irqs):
        found += _reversed_irq(irq, ("devices", index, "irq"), "in 'devices'")
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
        # Otherwise the number of vCPUs might be the only problem, and it is reported already.
        without_irq = sum(_vcpus_of(entry) for entry in vcpus if entry.pmu_irq is None)
        found += _wrong_counts(count, without_irq, written.shared_irq)
    return found


# What is written ----------------------------------------------------------------------------------


class _HalfReadVcpu:
    """An entry of `vcpus` with a value that could not be read, or with an unknown key."""

    __slots__ = ("mpidr", "pmu_irq")

    def __init__(self, mpidr: int | MpidrRange | Unread, pmu_irq: WrittenIrq) -> None:
        self.mpidr = mpidr
        self.pmu_irq = pmu_irq


_Entry = VcpuEntry | _HalfReadVcpu


class _Written:
    """The values that these rules check: `vcpus`, `pmu.irq`, events of filter entries, and
    interrupts of devices.
    """

    __slots__ = ("device_irqs", "events", "shared_irq", "vcpus")

    def __init__(
        self,
        *,
        vcpus: int | tuple[_Entry, ...] | Unread,
        shared_irq: WrittenIrq,
        events: list[EventRange | Unread | None],
        device_irqs: list[WrittenIrq],
    ) -> None:
        self.vcpus = vcpus
        self.shared_irq = shared_irq
        self.events = events
        self.device_irqs = device_irqs


def _written(description: Description | HalfRead) -> _Written:
    if isinstance(description, Description):
        return _Written(
            vcpus=description.vcpus,
            shared_irq=description.pmu.irq,
            events=[entry.events for entry in description.pmu.filter],
            device_irqs=[device.irq for device in description.devices],
        )
    vcpus = description["vcpus"]
    pmu = description["pmu"]
    return _Written(
        vcpus=tuple(map(_entry, vcpus)) if isinstance(vcpus, tuple) else vcpus,
        shared_irq=_value(pmu, "irq"),
        events=_values(_value(pmu, "filter"), "events"),
        device_irqs=_values(description["devices"], "irq"),
    )


def _entry(entry: VcpuEntry | HalfRead | Unread) -> _Entry:
    if isinstance(entry, VcpuEntry):
        return entry
    return _HalfReadVcpu(_value(entry, "mpidr"), _value(entry, "pmu_irq"))


def _value(mapping: Any, key: str) -> Any:
    """Return the value of a key: `UNREAD` if it could not be read, None if nothing is written."""
    if mapping is None:
        return None
    if isinstance(mapping, Unread):
        return UNREAD
    return mapping[key] if isinstance(mapping, HalfRead) else getattr(mapping, key)


def _values(items: Any, key: str) -> list[Any]:
    """Return the value of a key in each item of a list; none if there is no list."""
    return [_value(item, key) for item in items] if isinstance(items, tuple) else []


def _is_whole(entry: _Entry) -> bool:
    """Return whether every value of an entry of `vcpus` could be read."""
    if isinstance(entry, VcpuEntry):
        return True
    return not isinstance(entry.mpidr, Unread) and not isinstance(entry.pmu_irq, Unread)


def _vcpus_of(entry: _Entry) -> int:
    """Return the number of vCPUs of an entry of `vcpus`; 1 if its MPIDR could not be read."""
    return entry.mpidr.total() if isinstance(entry.mpidr, MpidrRange) else 1


# How many vCPUs -----------------------------------------------------------------------------------


def _wrong_counts(count: int, without_irq: int, shared_irq: WrittenIrq) -> Iterator[Found]:
    """Return the problem in the number of vCPUs, or of the interrupts in `pmu.irq`."""
    if count > MOST_VCPUS:
        yield _too_many(count)
    elif count == 0:
        hint = "write the number of vCPUs, or a list of vCPUs by MPIDR"
        yield AT_LEAST_ONE, Finding(("vcpus",), "the VM has no vCPUs", hint)
    elif isinstance(shared_irq, IrqRange):
        yield from _shared_length_mismatch(shared_irq, without_irq)


def _too_many(count: int) -> Found:
    message = f"the VM has {count} vCPUs; KVM allows at most {MOST_VCPUS}"
    return AT_MOST_512, Finding(("vcpus",), message, f"remove {count - MOST_VCPUS} of them")


# Reversed ranges ----------------------------------------------------------------------------------


def _reversed_events(entries: list[EventRange | Unread | None]) -> Iterator[Found]:
    """Return the findings about reversed ranges of events."""
    for index, events in enumerate(entries):
        if isinstance(events, EventRange) and events.first > events.last:
            path = ("pmu", "filter", index, "events")
            message = f"the range of events {events} is reversed"
            yield REVERSED, Finding(path, message, f"write {events.last:#x}-{events.first:#x}")


def _reversed_irq(irq: WrittenIrq, path: Path, whose: str) -> Iterator[Found]:
    """Return the finding about a reversed range of interrupts; `whose` ends its message."""
    if isinstance(irq, IrqRange) and irq.total() == 0:
        message = f"the range {irq.text(irq.first, irq.last)} {whose} is reversed"
        yield REVERSED, Finding(path, message, f"write {irq.text(irq.last, irq.first)}")


# Entries of vcpus ---------------------------------------------------------------------------------


def _entry_findings(entry: _Entry, path: Path) -> list[Found]:
    """Return the findings about one entry of `vcpus`."""
    mpidr, irq = entry.mpidr, entry.pmu_irq
    found: list[Found] = []
    if isinstance(mpidr, MpidrRange):
        found += _wrong_affinities(mpidr, (*path, "mpidr"))
    found += _reversed_irq(irq, (*path, "pmu_irq"), f"for {_name_of(mpidr)}")
    if not found and isinstance(irq, IrqRange) and not isinstance(mpidr, Unread):
        found += _length_mismatch(irq, mpidr, _vcpus_of(entry), path)
    return found


def _wrong_affinities(mpidr: MpidrRange, path: Path) -> Iterator[Found]:
    """Return the findings about fields of an MPIDR that exceed 8 bits or are reversed."""
    for level, first, last in zip((3, 2, 1, 0), mpidr.first, mpidr.last, strict=True):
        greatest = max(first, last)
        if greatest > 255:
            message = f"Aff{level} of vCPU {mpidr} must be 0 to 255, not {greatest}"
            hint = _numbering_of_kvm(mpidr) if level == 0 else None
            hint = hint or "use numbers from 0 to 255 in all four fields"
            yield AFFINITIES, Finding(path, message, hint)
        elif first > last:
            message = f"the range of Aff{level} in MPIDR {mpidr} is reversed"
            yield REVERSED, Finding(path, message, f"write {mpidr.forward()}")


def _numbering_of_kvm(mpidr: MpidrRange) -> str | None:
    """Return the hint for an MPIDR whose Aff0 looks like an index: the numbering of KVM."""
    first, last = mpidr.first[3], mpidr.last[3]
    if first == last < MOST_VCPUS:
        mpidr_of_first = mpidr_text(mpidr_of_id(first))
        return f"if you mean the vCPU with id {first}, write {mpidr_of_first}"
    if first < last < MOST_VCPUS and mpidr.first[:3] == mpidr.last[:3] == (0, 0, 0):
        return f"write 0.0.0-{last // 16}.0-15: KVM numbers Aff0 from 0 to 15, then increments Aff1"
    return None


# Lengths of ranges --------------------------------------------------------------------------------


def _length_mismatch(
    irq: IrqRange, mpidr: int | MpidrRange, count: int, path: Path
) -> Iterator[Found]:
    """Return the finding if an entry for `count` vCPUs has a range of more or fewer interrupts.

    A single interrupt applies to all of them.
    """
    if irq.total() <= 1 or irq.total() == count:
        return
    name = _text_of(mpidr)
    vcpus = f"the {count} vCPUs {name}" if count > 1 else f"the vCPU {name}"
    message = f"'pmu_irq' lists {irq.total()} interrupts for {vcpus}"
    hint = f"write {irq.text(irq.first, irq.first + count - 1)}"
    related = (((*path, "mpidr"), f"{count} vCPUs" if count > 1 else "1 vCPU"),)
    yield LENGTHS, Finding((*path, "pmu_irq"), message, hint, related=related)


def _shared_length_mismatch(irq: IrqRange, without_irq: int) -> Iterator[Found]:
    """Return the finding if pmu.irq is a range of more or fewer interrupts than its vCPUs."""
    if irq.total() <= 1 or irq.total() == without_irq:
        return
    message = (
        f"'pmu.irq' lists {irq.total()} interrupts for the {without_irq} vCPUs without 'pmu_irq'"
    )
    hint = "remove it: every vCPU has its own 'pmu_irq'"
    if without_irq:
        hint = f"write {irq.text(irq.first, irq.first + without_irq - 1)}"
    related = ((("vcpus",), f"{without_irq} without 'pmu_irq'"),)
    yield LENGTHS, Finding(("pmu", "irq"), message, hint, related=related)


# Words --------------------------------------------------------------------------------------------


def _name_of(mpidr: int | MpidrRange | Unread) -> str:
    """Return the words for an entry of `vcpus`: with its MPIDR as written."""
    return "a vCPU" if isinstance(mpidr, Unread) else f"vCPU {_text_of(mpidr)}"


def _text_of(mpidr: int | MpidrRange) -> str:
    return mpidr_text(mpidr) if isinstance(mpidr, int) else str(mpidr)
