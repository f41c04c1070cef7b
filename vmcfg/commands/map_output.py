"""``vmcfg show --map``: one row per range, as text in the width of the terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any

from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, SPI_END
from vmcfg.reports.styled import Piece
from vmcfg.vm.machine import Machine, Vcpu
from vmcfg.vm.map import PMU, Map, Row

LEAST_WORDS = 28
"""The least width of the last column. If there is less room, the words are on their own lines."""


def map_json(drawn: Map) -> str:
    """Return a map by schemas/map-v1.schema.json, with one row per line."""
    head = {
        "format": "vmcfg.map",
        "format_version": "1.0",
        "vm": drawn.name,
        "ipa_bits": drawn.bits,
        "nr_irqs": drawn.nr_irqs,
    }
    addresses = _items(row.as_json(hex) for row in drawn.addresses)
    intids = _items(row.as_json(int) for row in drawn.intids)
    return f'{_compact(head)[:-1]},"addresses":[{addresses}],"intids":[{intids}]}}\n'


def _items(rows: Iterable[dict[str, Any]]) -> str:
    lines = ",\n".join(map(_compact, rows))
    return f"\n{lines}\n"


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def map_lines(machine: Machine, drawn: Map, width: int) -> Iterator[list[Piece]]:
    """Yield the lines of the map of a VM, for a number of columns.

    Rows with a finding, an overlap, or a part out of range begin with `!`.
    """
    all_vcpus = len(machine.vcpus)
    default = " (default)" if machine.has_default_ipa_bits else ""
    yield [(f"Guest-physical addresses: {drawn.bits} bits{default}", "title")]
    addresses = _with_heads(drawn.addresses, _address_ends, _size_text)
    yield from _section(addresses, "overlaps", all_vcpus, width)
    yield [("", "plain")]
    default = " (default)" if machine.gic is None or machine.gic.nr_irqs is None else ""
    yield [(f"INTIDs: 0-{drawn.nr_irqs - 1}{default}", "title")]
    intids = _with_heads(drawn.intids, _intid_ends, _numbers_text)
    yield from _section(intids, "shared with", all_vcpus, width)


def _section(
    rows: Sequence[tuple[str, Row]], verb: str, all_vcpus: int, width: int
) -> Iterator[list[Piece]]:
    """Yield the lines of rows, each with its range as text."""
    indent = max(len(head) for head, _ in rows) + 4
    is_narrow = width - indent < LEAST_WORDS
    if is_narrow:
        indent = 4
    for head, row in rows:
        is_wrong = bool(row.findings or row.overlaps or row.outside)
        deeper = "  " if row.inside is not None else ""
        words = wrap(
            _words(row, verb, all_vcpus),
            max(width - indent, LEAST_WORDS),
            initial_indent=deeper,
            subsequent_indent=deeper,
            break_long_words=False,
            break_on_hyphens=False,
        )
        style = "error" if is_wrong else "gutter" if row.kind == "free" else "plain"
        mark = "! " if is_wrong else "  "
        start = mark + head
        if is_narrow:
            yield [(start.rstrip(), style)]
        else:
            yield [(start.ljust(indent) + words.pop(0), style)]
        for line in words:
            yield [(" " * indent + line, style)]


def _with_heads(
    rows: Sequence[Row], ends: Callable[[Row], tuple[str, str]], middle: Callable[[Row], str]
) -> list[tuple[str, Row]]:
    """Return each row with its range as text: the hyphens of all rows are in one column."""
    cells = [(*ends(row), middle(row)) for row in rows]
    low, high, wide = (max(map(len, column)) for column in zip(*cells, strict=True))
    return [
        (f"{first:>{low}}{'-' if last else ' '}{last:<{high}}  {what:<{wide}}", row)
        for (first, last, what), row in zip(cells, rows, strict=True)
    ]


# Ranges -------------------------------------------------------------------------------------------


def _address_ends(row: Row) -> tuple[str, str]:
    return hex(row.first), hex(row.last)


def _intid_ends(row: Row) -> tuple[str, str]:
    return str(row.first), "" if row.first == row.last else str(row.last)


def _size_text(row: Row) -> str:
    """Return the size of a range in the largest unit below it: ``64 KiB``, ``895.3 MiB``."""
    size = row.last - row.first + 1
    unit = min((size.bit_length() - 1) // 10, 5)
    whole, rest = divmod(size, 1 << 10 * unit)
    name = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")[unit]
    if not rest:
        return f"{whole} {name}"
    # Rounded down: a size never seems to reach the next unit.
    return f"{whole}.{rest * 10 >> 10 * unit} {name}"


def _numbers_text(row: Row) -> str:
    """Return the numbers of a range among the PPIs or SPIs: ``SPI 8-11``."""
    kind, first = _number(row.first)
    last_kind, last = _number(row.last)
    if row.first == row.last:
        return f"{kind} {first}"
    if kind == last_kind:
        return f"{kind} {first}-{last}"
    return f"{kind} {first}-{last_kind} {last}"


def _number(intid: int) -> tuple[str, int]:
    """Return the kind of an interrupt, and its number there."""
    if intid < PPI_BASE:
        return "SGI", intid
    if intid < SPI_BASE:
        return "PPI", intid - PPI_BASE
    return ("SPI", intid - SPI_BASE) if intid < SPI_END else ("INTID", intid)


# Words --------------------------------------------------------------------------------------------


def _words(row: Row, verb: str, all_vcpus: int) -> str:
    """Return the user of a range, what is special about it, and the rules that it breaks."""
    if row.kind == "free":
        return "free"
    words = _user(row, all_vcpus)
    if row.note:
        words += f" ({row.note})"
    others = [name for name in row.overlaps if name != PMU or row.name != PMU]
    if len(others) < len(row.overlaps):
        words += ", all the same SPI"
    if others:
        words += f", {verb} {', '.join(others)}"
    if row.outside:
        words += ", out of range"
    return words + (f" [{' '.join(row.findings)}]" if row.findings else "")


def _user(row: Row, all_vcpus: int) -> str:
    """Return the user of a range, with its vCPUs by MPIDR."""
    count = len(row.vcpus)
    if not count:
        return row.name
    if row.kind == "pmu" and row.first < SPI_BASE and count == all_vcpus:
        return f"{row.name} of every vCPU"
    vcpus = f"vCPU{'s' if count > 1 else ''} {vcpus_text(row.vcpus)}"
    return f"{row.name}{': ' if row.kind == 'gic' else ' of '}{vcpus}"


Affinities = tuple[int, int, int, int]


def vcpus_text(vcpus: Sequence[Vcpu]) -> str:
    """Return the MPIDRs of vCPUs in their order, as ranges of a description: ``0.0.0-3.0-15``."""
    runs = [_runs_of_last(list(same)) for _, same in groupby(map(_affinities, vcpus), _cluster)]
    blocks: list[tuple[Affinities, Affinities]] = []
    for first, last in (run for same in runs for run in same):
        if blocks and _continues(blocks[-1], first, last):
            blocks[-1] = blocks[-1][0], last
        else:
            blocks.append((first, last))
    return ", ".join(_block_text(*block) for block in blocks)


def _affinities(vcpu: Vcpu) -> Affinities:
    """Return Aff3, Aff2, Aff1, and Aff0: the bytes of a compressed MPIDR."""
    aff3, aff2, aff1, aff0 = vcpu.mpidr.to_bytes(4, "big")
    return aff3, aff2, aff1, aff0


def _cluster(affinities: Affinities) -> tuple[int, ...]:
    return affinities[:3]


def _runs_of_last(same: list[Affinities]) -> list[tuple[Affinities, Affinities]]:
    """Return the ranges of Aff0 in a list of MPIDRs that differ only there."""
    runs = [(same[0], same[0])]
    for each in same[1:]:
        first, last = runs[-1]
        if each[3] == last[3] + 1:
            runs[-1] = first, each
        else:
            runs.append((each, each))
    return runs


def _continues(block: tuple[Affinities, Affinities], first: Affinities, last: Affinities) -> bool:
    """Return whether a range of Aff0 is that of the block, in the next Aff1."""
    start, end = block
    is_next = first[:2] == end[:2] and first[2] == end[2] + 1
    return is_next and first[3] == start[3] and last[3] == end[3]


def _block_text(first: Affinities, last: Affinities) -> str:
    return ".".join(
        str(low) if low == high else f"{low}-{high}" for low, high in zip(first, last, strict=True)
    )
