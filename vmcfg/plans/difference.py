"""Two plans compared: commands that were added, removed, changed, or reordered.

In: two plans from `lowering`. Out: the differences that ``vmcfg diff`` prints.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vmcfg.plans.command import Command
from vmcfg.plans.sequence import SEQUENCE

ADDED, REMOVED, CHANGED, REORDERED = KINDS = ("added", "removed", "changed", "reordered")


class Placed(NamedTuple):
    """A command and its number in its plan, from 1."""

    seq: int
    command: Command


class Difference(NamedTuple):
    """One difference. `old` is None if it was added, and `new` is None if it was removed."""

    kind: str
    old: Placed | None
    new: Placed | None

    @property
    def command(self) -> Command:
        """Return the new command, or the old one if it was removed."""
        placed = self.new or self.old
        assert placed is not None
        return placed.command


_Identity = tuple[object, ...]


def differences(old: Sequence[Command], new: Sequence[Command]) -> list[Difference]:
    """Return the differences between two plans in plan order; none if they are the same.

    If commands change their order, as few of them as possible are reported as reordered.
    """
    found = []
    same: list[tuple[Placed, Placed]] = []
    olds, news = _by_identity(old), _by_identity(new)
    for identity in dict.fromkeys((*olds, *news)):
        for left, right in _paired(olds.get(identity, []), news.get(identity, [])):
            if left is None or right is None:
                found.append(Difference(REMOVED if right is None else ADDED, left, right))
            elif left.command.value == right.command.value:
                same.append((left, right))
            else:
                found.append(Difference(CHANGED, left, right))
    same.sort(key=lambda pair: pair[0].seq)
    kept = _longest_rising([right.seq for _, right in same])
    found += [Difference(REORDERED, *pair) for place, pair in enumerate(same) if place not in kept]
    return sorted(found, key=_order)


def _by_identity(commands: Sequence[Command]) -> dict[_Identity, list[Placed]]:
    """Return the commands by what they set; only slots, regions, and filters have several each."""
    found: dict[_Identity, list[Placed]] = defaultdict(list)
    for seq, command in enumerate(commands, 1):
        op, target, group, attr, _, _ = command.fields()
        found[op, target, group, attr].append(Placed(seq, command))
    return found


def _paired(
    olds: list[Placed], news: list[Placed]
) -> Iterator[tuple[Placed | None, Placed | None]]:
    """Return commands of one identity in pairs: those with equal values first, then in order.

    The values of slots and regions contain their index from 0 without gaps, so that the same
    indexes are paired.
    """
    by_value: dict[str, deque[Placed]] = defaultdict(deque)
    for right in news:
        by_value[right.command.value].append(right)
    rest = []
    for left in olds:
        equal = by_value[left.command.value]
        if equal:
            yield left, equal.popleft()
        else:
            rest.append(left)
    left_over = sorted(
        (each for equal in by_value.values() for each in equal), key=lambda placed: placed.seq
    )
    common = min(len(rest), len(left_over))
    yield from zip(rest[:common], left_over[:common], strict=True)
    yield from ((left, None) for left in rest[common:])
    yield from ((None, right) for right in left_over[common:])


def _longest_rising(numbers: list[int]) -> set[int]:
    """Return the positions of a longest rising subsequence of `numbers`."""
    ends: list[int] = []
    places: list[int] = []
    before: list[int | None] = []
    for place, number in enumerate(numbers):
        at = bisect_left(ends, number)
        before.append(places[at - 1] if at else None)
        ends[at : at + 1] = [number]
        places[at : at + 1] = [place]
    kept = set()
    last = places[-1] if places else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept


_ROWS = {row.name: place for place, row in enumerate(SEQUENCE)}


def _order(difference: Difference) -> tuple[int, int, str, bool, int]:
    """Return the sort key of a difference: its row, its object, and removals before additions."""
    kind, _, number = difference.command.target.partition(":")
    seq = (difference.new or difference.old or Placed(0, difference.command)).seq
    return (
        _ROWS[difference.command.row.name],
        int(number or 0),
        kind,
        difference.kind != REMOVED,
        seq,
    )
