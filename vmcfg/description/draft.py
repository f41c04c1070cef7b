"""Drafts of descriptions, and the text that a person would have written for them.

In: a `Draft`, which a source of `vmcfg import` fills: a device tree, ACPI tables, a record, a
command line. Out: the text of a description, with comments on top. The same draft always results in
the same text.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.arm.interrupts import SPI_BASE, is_spi
from vmcfg.description.kinds import (
    Choice,
    Events,
    Flag,
    FunctionId,
    Interrupt,
    KernelVersion,
    Name,
    Number,
    ScalarKind,
    Size,
)
from vmcfg.description.model import ADDRESS, Description, Either, Kind, ListOf, fields
from vmcfg.description.written import MpidrRange
from vmcfg.description.yaml_readings import is_typed
from vmcfg.escape import printable

UNNAMED = "imported"
"""The name of a VM if its source has none."""

WIDTH = 100
"""The maximum length of a comment, or of a list on one line."""


class NoDraft(Exception):
    """A source from which no draft can be made; the text is one clause with the reason.

    It completes "cannot import FILE: ", begins with a lower-case letter, and has no final period.
    """


@dataclass
class Draft:
    """What a source says about a VM.

    `data` has the keys of a description with JSON values, in any order; `vmcfg` and `name` are not
    needed in it. Numbers are integers; interrupts are INTIDs, or text such as ``spi:64-127`` or, of
    a vCPU, ``ppi:23``.
    `vcpus` is a list with one entry per vCPU, in order: ``{"mpidr": "0.0.0.0", "pmu_irq": 23}``;
    without PMU interrupt, `pmu_irq` is absent or None. A key with the value None is not written.

    `notes` are sentences about what the source cannot say, and `warnings` are sentences about what
    the source says and a description cannot. Each is one sentence that ends with a period.
    """

    name: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Add a note, unless it is there already."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def warn(self, sentence: str) -> None:
        """Add a warning, unless it is there already."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def valid_name(text: str) -> str | None:
    """Return `text` as a valid name of a VM, or None if nothing of it is valid."""
    if re.fullmatch(Name.pattern, text):
        return text
    joined = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    return joined.lstrip("._-")[:63].rstrip("._-") or None


def description_text(draft: Draft) -> str:
    """Return the text of a description that says what `draft` says.

    The keys are in the order of the documentation. MPIDRs and interrupts are ranges where that is
    shorter; `vcpus` is a number if KVM itself assigns all MPIDRs.
    """
    data = dict(draft.data)
    data["vmcfg"] = 1
    data["name"] = draft.name or data.get("name") or UNNAMED
    vcpus = data.get("vcpus")
    if isinstance(vcpus, list):
        data.update(_summarized(vcpus, data))
    return "".join(f"{line}\n" for line in [*_comments(draft), *_mapping(data, Description)])


def _comments(draft: Draft) -> Iterator[str]:
    """Yield the comments on top: each sentence once."""
    for sentence in dict.fromkeys([*draft.notes, *draft.warnings]):
        yield from textwrap.wrap(
            printable(sentence),
            WIDTH,
            initial_indent="# ",
            subsequent_indent="#   ",
            break_on_hyphens=False,
        )


# vCPUs --------------------------------------------------------------------------------------------


def _summarized(vcpus: list[dict[str, Any]], data: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a description for `vcpus`: `vcpus`, `pmu`, and `vcpu_ids`."""
    mpidrs = [_mpidr(vcpu["mpidr"]) for vcpu in vcpus]
    irqs = [vcpu.get("pmu_irq") for vcpu in vcpus]
    summary: dict[str, Any] = {}
    pmu = dict(data.get("pmu") or {})
    common = _irq_of_all(irqs) if pmu.get("irq") is None else None
    if common is not None:
        irqs = [None] * len(irqs)
        summary["pmu"] = {**pmu, "irq": common}
    numbered_by_kvm = mpidrs == [mpidr_of_id(index) for index in range(len(mpidrs))]
    if numbered_by_kvm and data.get("vcpu_ids") == "sequential":
        # These ids are also the derived ones.
        summary["vcpu_ids"] = None
    if numbered_by_kvm and mpidrs and not any(irq is not None for irq in irqs):
        summary["vcpus"] = len(mpidrs)
    else:
        summary["vcpus"] = list(_entries(mpidrs, irqs))
    return summary


def _mpidr(dotted: str) -> int:
    """Return the compressed form of a dotted MPIDR."""
    compressed = 0
    for affinity in dotted.split("."):
        compressed = compressed << 8 | int(affinity)
    return compressed


def _irq_of_all(irqs: list[int | str | None]) -> int | str | None:
    """Return the value of `pmu.irq` that assigns these interrupts to all vCPUs, or None."""
    if not irqs or None in irqs:
        return None
    length, step = _run_of_irqs(irqs, 0)
    return _irq_text(irqs[0], length, step) if length == len(irqs) else None


def _entries(mpidrs: list[int], irqs: list[int | str | None]) -> Iterator[dict[str, Any]]:
    """Yield the items of `vcpus`, each with as many vCPUs as one range can have."""
    index = 0
    while index < len(mpidrs):
        longest, step = _run_of_irqs(irqs, index)
        written = _range_of_mpidrs(mpidrs, index, index + longest)
        length = written.total()
        entry = {"mpidr": str(written)}
        irq = _irq_text(irqs[index], length, step)
        yield entry if irq is None else {**entry, "pmu_irq": irq}
        index += length


def _run_of_irqs(irqs: list[int | str | None], start: int) -> tuple[int, int]:
    """Return how many interrupts from `start` one value describes, and their difference: 0 or 1.

    Only SPIs are written as a range: a PPI is the same on every vCPU, unless something is wrong.
    """
    first = irqs[start]
    if not isinstance(first, int) or not is_spi(first):
        return _equal_from(irqs, start), 0
    length = 1
    while start + length < len(irqs) and irqs[start + length] == first + length:
        length += 1
    if length == 1 or not is_spi(first + length - 1):
        return _equal_from(irqs, start), 0
    return length, 1


def _equal_from(irqs: list[int | str | None], start: int) -> int:
    """Return how many interrupts from `start` on are the same."""
    end = start + 1
    while end < len(irqs) and irqs[end] == irqs[start]:
        end += 1
    return end - start


def _irq_text(first: int | str | None, length: int, step: int) -> int | str | None:
    """Return `length` interrupts from `first` as one value."""
    if not isinstance(first, int) or step == 0 or length == 1:
        return first
    return f"spi:{first - SPI_BASE}-{first - SPI_BASE + length - 1}"


def _range_of_mpidrs(mpidrs: list[int], start: int, end: int) -> MpidrRange:
    """Return the longest range with which the MPIDRs from `start` on begin, before `end`.

    The rightmost field changes fastest: a field has a range only after the fields to its right.
    """
    first = mpidrs[start]
    length = 1
    highest = list(_affinities(first))
    for field_number in (3, 2, 1, 0):
        step = 1 << 8 * (3 - field_number)
        block = mpidrs[start : start + length]
        repeats = 1
        while highest[field_number] < 255:
            begin = start + repeats * length
            moved = [mpidr + repeats * step for mpidr in block]
            if begin + length > end or mpidrs[begin : begin + length] != moved:
                break
            highest[field_number] += 1
            repeats += 1
        length *= repeats
    last = (highest[0], highest[1], highest[2], highest[3])
    return MpidrRange(_affinities(first), last)


def _affinities(compressed: int) -> tuple[int, int, int, int]:
    """Return Aff3, Aff2, Aff1, and Aff0."""
    return (
        compressed >> 24,
        compressed >> 16 & 255,
        compressed >> 8 & 255,
        compressed & 255,
    )


# YAML ---------------------------------------------------------------------------------------------


def _mapping(data: dict[str, Any], kind: type[Any]) -> Iterator[str]:
    """Yield the lines of a mapping."""
    for key, key_field in fields(kind).items():
        value = data.get(key)
        if not _is_absent(value):
            yield from _entry(key, key_field.kind, value)


def _is_absent(value: Any) -> bool:
    """Return whether a value says nothing: None, or an empty list or mapping."""
    return value is None or value in ([], {}, ())


def _entry(key: str, kind: Kind, value: Any) -> Iterator[str]:
    """Yield the lines of a key and its value."""
    if isinstance(kind, Either):
        if isinstance(value, (list, tuple)) and len(value) == 1 and _is_scalar(value[0]):
            value = value[0]
        kind = kind.scalar if _is_scalar(value) else kind.full
    if isinstance(kind, ScalarKind):
        yield f"{key}: {_scalar(kind, value)}"
    elif not isinstance(kind, ListOf):
        yield f"{key}:"
        yield from _indented(_mapping(value, kind))
    elif isinstance(kind.item, ScalarKind):
        yield from _scalars(key, [_scalar(kind.item, item) for item in value])
    else:
        yield f"{key}:"
        for item in value:
            yield from _item(_mapping(item, _class_of(kind.item)))


def _scalars(key: str, items: list[str]) -> Iterator[str]:
    """Yield the lines of a list of scalars, of which each is as long as it can be."""
    line = f"{key}: [{', '.join(items)}]"
    yield from textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _class_of(kind: Kind) -> type[Any]:
    """Return the class of the mappings in a list."""
    assert isinstance(kind, type), kind
    return kind


def _item(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a mapping as an item of a list."""
    for number, line in enumerate(lines):
        yield f"    {line}" if number else f"  - {line}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, str))


def _scalar(kind: ScalarKind, value: Any) -> str:
    """Return a value as a person would write it for a key of some kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _number(kind, value)
    return _text(kind, str(value))


def _number(kind: ScalarKind, value: int) -> str:
    """Return a number: addresses and register values as hexadecimal, sizes with a unit."""
    if kind is ADDRESS:
        return f"0x{value:08x}" if value else "0x0"
    if isinstance(kind, Size):
        return _size(value)
    if isinstance(kind, Interrupt):
        return f"spi:{value - SPI_BASE}" if is_spi(value) else str(value)
    if isinstance(kind, FunctionId):
        return f"0x{value:08x}"
    if isinstance(kind, Events) or (isinstance(kind, Number) and kind.hex):
        return f"{value:#x}"
    if isinstance(kind, (Number, Choice, Flag)):
        return str(value)
    return _text(kind, mpidr_text(value))


def _size(value: int) -> str:
    """Return a size with the largest unit of which it is a multiple, if that has few digits."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        count, rest = divmod(value, 1 << bits)
        if count and not rest and count < 1_000_000:
            return f"{count}{unit}"
    return f"{value:#x}" if value else "0"


def _text(kind: ScalarKind, text: str) -> str:
    """Return a text, in quotes where YAML would read something else without them."""
    is_plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", text) and not text.endswith(":")
    must_be_text = isinstance(kind, (KernelVersion, Name))
    if is_plain and not (must_be_text and (is_typed(text) or text[0].isdigit())):
        return text
    return json.dumps(text)
