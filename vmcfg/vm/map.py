"""The map of a VM: who uses which guest-physical addresses and which INTIDs, and what is free.

In: a `Machine` and its findings. Out: the contents of ``vmcfg show --map``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, is_spi
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.position import Path
from vmcfg.kernel.limits import NR_IRQS_GREATEST
from vmcfg.vm.frames import (
    STEAL_TIME_SIZE,
    V3_REDIST,
    V3_REDIST_REGION,
    V3_REDIST_SIZE,
    Frame,
    address_bits,
    device_frames,
    frames,
    steal_time_addresses,
)
from vmcfg.vm.machine import Extent, Machine, Vcpu

Kind = Literal[
    "memory", "gic", "device", "steal-time", "sgi", "timer", "maintenance", "pmu", "free"
]


OVERLAPS_SHOWN = 4
"""The maximum number of other users in a row. A file can contain many ranges that all overlap."""


class Row(NamedTuple):
    """A range of addresses or INTIDs with its user, or a free range: `name` is then empty.

    `last` is inclusive. `vcpus` are those of redistributors, steal time, and PMUs, in index order.
    `inside` is the name of the memory slot that contains the steal time. `overlaps` are the names
    of other users of a part of the range, at most `OVERLAPS_SHOWN`; its own name if several PMUs
    share the SPI. `outside` means that a part is not in the address space, or not below the number
    of INTIDs. `findings` are the ids of the rules that it breaks, and `note` is a fact for people.
    """

    first: int
    last: int
    kind: Kind
    name: str
    vcpus: tuple[Vcpu, ...] = ()
    note: str = ""
    inside: str | None = None
    overlaps: tuple[str, ...] = ()
    outside: bool = False
    findings: tuple[str, ...] = ()

    def as_json(self, number: Callable[[int], Any]) -> dict[str, Any]:
        """Return the row by the keys of schemas/map-v1.schema.json; `number` forms the two ends."""
        return {
            "first": number(self.first),
            "last": number(self.last),
            "kind": self.kind,
            "name": self.name or None,
            "vcpus": [vcpu.name for vcpu in self.vcpus],
            "note": self.note or None,
            "inside": self.inside,
            "overlaps": list(self.overlaps),
            "outside": self.outside,
            "findings": list(self.findings),
        }


class Map(NamedTuple):
    """The rows of a VM, in ascending order: its `addresses`, and its `intids` from 0.

    The space of addresses ends below 2^`bits`, and that of INTIDs below `nr_irqs`.
    """

    name: str
    bits: int
    nr_irqs: int
    addresses: list[Row]
    intids: list[Row]


def map_of(
    machine: Machine, findings: Iterable[Diagnostic], pointer_of: Callable[[Path], str]
) -> Map:
    """Return the map of a VM. `pointer_of` returns the pointer that findings at a path have."""
    marks = _Marks(findings, pointer_of)
    bits = address_bits(machine)
    # VMC404 reports an impossible number.
    nr_irqs = max(SPI_BASE, min(machine.nr_irqs(), NR_IRQS_GREATEST))
    addresses = [*_slots(machine), *_frames(machine), *_steal_time(machine)]
    intids = [*_private(machine), *_pmus(machine.vcpus), *_device_interrupts(machine)]
    return Map(
        machine.name,
        bits,
        nr_irqs,
        _rows([marks.marked(*claim) for claim in addresses], (0, 1 << bits)),
        _rows(
            [marks.marked(*claim) for claim in intids],
            (0, PPI_BASE),
            (PPI_BASE, SPI_BASE),
            (SPI_BASE, nr_irqs),
        ),
    )


PMU = "PMU"
"""The name of the rows with interrupts of PMUs."""

_Claim = tuple[Row, tuple[Path, ...]]
"""The row of a user, with the paths of its range in the description."""


class _Marks:
    """The rules of the findings at each place of a description, and below it."""

    __slots__ = ("_pointer_of", "_rules")

    def __init__(self, findings: Iterable[Diagnostic], pointer_of: Callable[[Path], str]) -> None:
        self._pointer_of = pointer_of
        self._rules: dict[str, set[str]] = {}
        for finding in findings:
            place = finding.pointer
            while place:
                self._rules.setdefault(place, set()).add(finding.rule)
                place = place.rpartition("/")[0]

    def marked(self, row: Row, at: tuple[Path, ...]) -> Row:
        """Return the row with the rules that are broken at its paths."""
        if not self._rules:
            return row
        none: set[str] = set()
        broken = none.union(*(self._rules.get(self._pointer_of(path), none) for path in set(at)))
        return row._replace(findings=tuple(sorted(broken)))


# Users of addresses -------------------------------------------------------------------------------


def _slots(machine: Machine) -> Iterator[_Claim]:
    """Return the memory slots by their numbers in KVM, except empty ones."""
    for number, slot in enumerate(machine.memory):
        first, end = slot.addresses
        if first < end:
            note = "read-only" if slot.readonly else ""
            row = Row(first, end - 1, "memory", f"memory slot {number}", note=note)
            yield row, (("memory", number),)


def _frames(machine: Machine) -> Iterator[_Claim]:
    """Return the frames of the GIC and of the devices."""
    left = machine.vcpus
    for frame in frames(machine):
        row = Row(frame.base, frame.end - 1, "gic", frame.name.removeprefix("the "))
        if frame.attr in (V3_REDIST, V3_REDIST_REGION):
            room = frame.size // V3_REDIST_SIZE
            free = max(0, room - len(left))
            note = f"room for {free} more" if free else ""
            row = row._replace(vcpus=left[:room], note=note)
            left = left[room:]
        if frame.size:
            yield row, (_written_at(frame),)
    for frame in device_frames(machine):
        row = Row(frame.base, frame.end - 1, "device", frame.name)
        yield row, (frame.at, (*frame.at[:-1], "size"))


def _written_at(frame: Frame) -> Path:
    """Return the path of all that is written about a frame: of a region, also its count."""
    return frame.at if frame.region is None else frame.at[:-1]


def _steal_time(machine: Machine) -> Iterator[_Claim]:
    """Return the steal time of all vCPUs."""
    addresses = steal_time_addresses(machine)
    if addresses is None:
        return
    first, end = addresses.start, addresses.stop
    around = next(
        (
            f"memory slot {number}"
            for number, slot in enumerate(machine.memory)
            if slot.addresses[0] <= first and end <= slot.addresses[1]
        ),
        None,
    )
    note = f"{STEAL_TIME_SIZE} bytes each" if len(machine.vcpus) > 1 else ""
    row = Row(first, end - 1, "steal-time", "steal time", machine.vcpus, note, around)
    yield row, (("steal_time", "base"),)


# Users of INTIDs ----------------------------------------------------------------------------------


def _private(machine: Machine) -> Iterator[_Claim]:
    """Return the SGIs, and the PPIs of the timers and the GIC."""
    yield Row(0, PPI_BASE - 1, "sgi", "SGIs", note="between vCPUs"), ()
    for claimed in machine.claimed_ppis():
        kind: Kind = "timer" if claimed.at[0] == "timers" else "maintenance"
        name = claimed.name.removeprefix("the ")
        note = "" if claimed.written else "default"
        row = Row(claimed.intid, claimed.intid, kind, name, note=note)
        yield row, (claimed.at,) if claimed.written else ()


def _pmus(vcpus: Sequence[Vcpu]) -> list[_Claim]:
    """Return the interrupts of the PMUs: consecutive SPIs of consecutive vCPUs as one range."""
    users: dict[int, list[int]] = {}
    for index, vcpu in enumerate(vcpus):
        if vcpu.pmu_irq is not None:
            users.setdefault(vcpu.pmu_irq, []).append(index)
    claims: list[_Claim] = []
    # The INTID and the index of the only vCPU that would continue the last range.
    following: tuple[int, int] | None = None
    for intid in sorted(users):
        indexes = users[intid]
        own = tuple(vcpus[index] for index in indexes)
        at = tuple(vcpu.irq_at for vcpu in own)
        is_range = is_spi(intid) and len(own) == 1
        if is_range and following == (intid, indexes[0]):
            row, earlier = claims.pop()
            claims.append((row._replace(last=intid, vcpus=(*row.vcpus, *own)), (*earlier, *at)))
        else:
            is_shared = is_spi(intid) and len(own) > 1
            overlaps = (PMU,) if is_shared else ()
            claims.append((Row(intid, intid, "pmu", PMU, own, overlaps=overlaps), at))
        following = (intid + 1, indexes[0] + 1) if is_range else None
    return claims


def _device_interrupts(machine: Machine) -> Iterator[_Claim]:
    """Return the interrupts of the devices of the VMM, as written."""
    for index, device in enumerate(machine.devices):
        if device.intids is not None:
            row = Row(*device.intids, "device", f"device '{device.name}'")
            yield row, (("devices", index, "irq"),)


# Both ---------------------------------------------------------------------------------------------


def _rows(users: Iterable[Row], *spaces: Extent) -> list[Row]:
    """Return the rows of all users and of the free ranges, in ascending order.

    A free range is in one of the `spaces`, which follow each other.
    """
    end = spaces[-1][1]
    ordered = sorted(users, key=lambda row: (row.first, -row.last))
    found = [row._replace(outside=row.last >= end) for row in ordered]
    _mark_overlaps(found)
    found += _free(found, spaces)
    found.sort(key=lambda row: (row.first, -row.last))
    return found


def _mark_overlaps(rows: list[Row]) -> None:
    """Set `overlaps` of each row that has a number of another one. The rows are in order.

    Steal time in its slot overlaps nothing.
    """
    # A row that overlaps any earlier one overlaps one of those with the highest ends.
    highest: list[int] = []
    for index, row in enumerate(rows):
        if row.inside is not None:
            continue
        highest = [earlier for earlier in highest if rows[earlier].last >= row.first]
        for earlier in highest:
            rows[index] = _with_overlap(rows[index], rows[earlier].name)
            rows[earlier] = _with_overlap(rows[earlier], row.name)
        highest.append(index)
        if len(highest) > OVERLAPS_SHOWN:
            highest.remove(min(highest, key=lambda each: rows[each].last))


def _with_overlap(row: Row, name: str) -> Row:
    """Return a row with the name of one more user of its range, if there is room for it."""
    if len(row.overlaps) == OVERLAPS_SHOWN or name in row.overlaps:
        return row
    return row._replace(overlaps=(*row.overlaps, name))


def _free(rows: Sequence[Row], spaces: Sequence[Extent]) -> list[Row]:
    """Return the free ranges in each of the spaces. The rows are in order."""
    gaps: list[Extent] = []
    used = 0
    for row in rows:
        if row.first > used:
            gaps.append((used, row.first))
        used = max(used, row.last + 1)
    gaps.append((used, max(used, spaces[-1][1])))
    return [
        Row(max(first, low), min(end, high) - 1, "free", "")
        for first, end in gaps
        for low, high in spaces
        if max(first, low) < min(end, high)
    ]
