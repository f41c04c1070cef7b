"""TODO."""

from __future__ import annotations

from typing import Any

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.description.model import VcpuEntry
from vmcfg.description.reading import MISSING, Misfits
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


def range_misfits(values: dict[str, Any]) -> Misfits:
    """The findings that leave no machine: of ranges, of too many or too few vCPUs. Unread values are passed over."""
    written = values.get("vcpus")
    shared = getattr(values.get("pmu"), "irq", None)
    found = _filter_misfits(values.get("pmu"))
    if shared is not MISSING and shared is not None:
        found += _backwards(shared, ("pmu", "irq"), "pmu.irq")
    if isinstance(written, tuple):
        for index, entry in enumerate(written):
            if isinstance(entry, VcpuEntry):
                found += _entry_misfits(entry, ("vcpus", index))
        count = sum(_count(entry) for entry in written)
        without = sum(
            _count(entry) for entry in written if getattr(entry, "pmu_irq", MISSING) is None
        )
        readable = not found and all(
            isinstance(entry, VcpuEntry) and MISSING not in entry for entry in written
        )
    elif isinstance(written, int):
        count = without = written
        readable = True
    else:
        return found
    if count == 0 and readable:
        found.append(
            (
                AT_LEAST_ONE,
                Finding(
                    ("vcpus",),
                    "the VM has no vCPU",
                    "write a number of them, or list them by MPIDR",
                ),
            )
        )
    elif count > MOST_VCPUS:
        message = f"the VM has {count} vCPUs, but KVM takes {MOST_VCPUS} at most"
        found.append(
            (AT_MOST_512, Finding(("vcpus",), message, f"leave {count - MOST_VCPUS} of them out"))
        )
    elif (
        readable
        and isinstance(shared, IrqRange)
        and shared.total() > 1
        and shared.total() != without
    ):
        message = (
            f"pmu.irq holds {shared.total()} interrupts, but {without} vCPUs have none of their own"
        )
        hint = (
            f"end the range at {shared.first + without - 1}"
            if without
            else "remove it: every vCPU has one of its own"
        )
        found.append(
            (COUNTS, Finding(("pmu", "irq"), message, hint, related=((("vcpus",), "the vCPUs"),)))
        )
    return found


def _filter_misfits(pmu: Any) -> Misfits:
    """The ranges of events that run backwards."""
    found = []
    entries = getattr(pmu, "filter", ())
    for index, entry in enumerate(entries if isinstance(entries, tuple) else ()):
        events = getattr(entry, "events", None)
        if isinstance(events, EventRange) and events.first > events.last:
            message = f"the range of events {events} runs backwards"
            at = ("pmu", "filter", index, "events")
            found.append(
                (FORWARD, Finding(at, message, f"write {events.last:#x}-{events.first:#x}"))
            )
    return found


def _entry_misfits(entry: VcpuEntry, path: Path) -> Misfits:
    """The range findings of one entry of `vcpus`."""
    mpidr, irq = entry
    if type(mpidr) is int and (irq is None or type(irq) is int):
        return []
    found = []
    if isinstance(mpidr, MpidrRange):
        at = (*path, "mpidr")
        for level, first, last in zip((3, 2, 1, 0), mpidr.first, mpidr.last, strict=True):
            if max(first, last) > 255:
                message = f"vCPU {mpidr}: Aff{level} is {max(first, last)}, but an affinity field has 8 bits: 0 to 255"
                hint = None
                if (
                    level == 0
                    and first < last < MOST_VCPUS
                    and mpidr.first[:3] == mpidr.last[:3] == (0, 0, 0)
                ):
                    hint = f"in KVM's numbering Aff0 goes to 15, and then Aff1: 0.0.0-{last // 16}.0-15"
                elif level == 0 and first == last < MOST_VCPUS:
                    hint = f"vCPU {first} of KVM is {mpidr_text(mpidr_of_id(first))}"
                found.append((AFFINITIES, Finding(at, message, hint)))
            elif first > last:
                message = f"vCPU {mpidr}: the range of Aff{level} runs backwards"
                found.append((FORWARD, Finding(at, message, f"write {mpidr.forward()}")))
    if irq is not None and irq is not MISSING:
        found += _backwards(irq, (*path, "pmu_irq"), f"the range of interrupts of {_whose(mpidr)}")
    if (
        not found
        and isinstance(irq, IrqRange)
        and irq.total() > 1
        and mpidr is not MISSING
        and irq.total() != _count(entry)
    ):
        count = _count(entry)
        name = mpidr if isinstance(mpidr, MpidrRange) else mpidr_text(mpidr)
        vcpus = f"{count} vCPUs, {name}" if count > 1 else f"one vCPU, {name}"
        message = f"{irq.total()} interrupts are dealt out to {vcpus}"
        prefix = f"{irq.prefix}:" if irq.prefix else ""
        end = f"-{irq.first + count - 1}" if count > 1 else ""
        related = (((*path, "mpidr"), f"{vcpus} here"),)
        found.append(
            (
                COUNTS,
                Finding(
                    (*path, "pmu_irq"), message, f"write {prefix}{irq.first}{end}", related=related
                ),
            )
        )
    return found


def _whose(mpidr: Any) -> str:
    """Whose an entry of `vcpus` is, by its MPIDR as written."""
    if mpidr is MISSING:
        return "this vCPU"
    return f"vCPU {mpidr if isinstance(mpidr, MpidrRange) else mpidr_text(mpidr)}"


def _backwards(irq: int | IrqRange, path: Path, name: str) -> Misfits:
    if isinstance(irq, IrqRange) and irq.total() == 0:
        prefix = f"{irq.prefix}:" if irq.prefix else ""
        message = f"{name} runs backwards: {prefix}{irq.first}-{irq.last}"
        return [(FORWARD, Finding(path, message, f"write {prefix}{irq.last}-{irq.first}"))]
    return []


def _count(entry: Any) -> int:
    """How many vCPUs an entry of `vcpus` stands for; an unreadable one for one."""
    mpidr = getattr(entry, "mpidr", None)
    return mpidr.total() if isinstance(mpidr, MpidrRange) else 1
