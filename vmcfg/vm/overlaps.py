"""Ranges of numbers that overlap: of addresses, INTIDs, and function ids.

A file can contain many ranges that all overlap. Therefore, nothing here compares each range with
each other one: the time grows as n log n.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from vmcfg.vm.machine import Extent


class Claims:
    """The owner of each number: the first of several ranges that contains it.

    `clashes` has each range that overlaps an earlier one, with the owner of the lowest number that
    belongs to an earlier one, both by their index.
    """

    __slots__ = ("clashes", "owners", "points")

    def __init__(self, extents: Sequence[Extent]) -> None:
        self.points = sorted({number for extent in extents for number in extent})
        self.owners: list[int | None] = [None] * len(self.points)
        """The owner of the numbers from each point to the next one."""
        self.clashes: list[tuple[int, int]] = []
        place_of = {number: place for place, number in enumerate(self.points)}
        free = _Free(len(self.points))
        for index, (first, end) in enumerate(extents):
            earlier = self._claim(index, place_of[first], place_of[end], free)
            if earlier is not None:
                self.clashes.append((index, earlier))

    def _claim(self, index: int, place: int, stop: int, free: _Free) -> int | None:
        """Make a range the owner of what is free in it. Return the first owner of the rest."""
        earlier = None
        while place < stop:
            owner = self.owners[place]
            if owner is None:
                self.owners[place] = index
                free.take(place)
                place += 1
                continue
            if earlier is None:
                earlier = owner
            place = free.next(place)
        return earlier

    def owner(self, number: int) -> int | None:
        """Return the index of the first range that contains `number`, or None."""
        place = bisect_right(self.points, number) - 1
        return self.owners[place] if place >= 0 else None


class _Free:
    """The free places of a row: `next` skips those that are taken, each run of them only once."""

    __slots__ = ("following",)

    def __init__(self, count: int) -> None:
        self.following = list(range(count + 1))

    def take(self, place: int) -> None:
        """Take a free place."""
        self.following[place] = place + 1

    def next(self, place: int) -> int:
        """Return the first free place from `place` on, and shorten the way to it."""
        following = self.following
        while following[place] != place:
            following[place] = following[following[place]]
            place = following[place]
        return place


class Sorted:
    """Ranges in the order of their first numbers, to find those that overlap another one."""

    __slots__ = ("ends", "firsts", "highest_ends", "order")

    def __init__(self, extents: Sequence[Extent]) -> None:
        self.order = sorted(range(len(extents)), key=extents.__getitem__)
        self.firsts = [extents[index][0] for index in self.order]
        self.ends = sorted(end for _, end in extents)
        self.highest_ends = list(accumulate((extents[index][1] for index in self.order), max))
        """The highest end of each range and all before it."""

    def highest_end(self, below: int) -> int:
        """Return the highest end of the ranges that start below a number; 0 if there are none."""
        place = bisect_left(self.firsts, below)
        return self.highest_ends[place - 1] if place else 0

    def count(self, first: int, end: int) -> int:
        """Return the number of ranges that overlap `first` to `end`. No range is empty."""
        return bisect_left(self.firsts, end) - bisect_right(self.ends, first)

    def lowest(self, first: int) -> int:
        """Return the index of the lowest range that ends above `first`."""
        return self.order[bisect_right(self.highest_ends, first)]

    def starting_in(self, first: int, end: int, most: int) -> list[int]:
        """Return the indexes of the lowest `most` ranges that start from `first` to `end`."""
        place = bisect_left(self.firsts, first)
        stop = bisect_left(self.firsts, end)
        return self.order[place : min(stop, place + most)]


class FreeAddresses:
    """The addresses below `end` outside the `used` ranges.

    For the hints of several findings: each frame gets other addresses, in ascending order.
    """

    __slots__ = ("end", "least", "place", "used")

    def __init__(self, used: Sequence[Extent], end: int) -> None:
        self.used = sorted(used)
        self.end = end
        self.least = 0
        """The end of the addresses that the last frame got."""
        self.place = 0
        """The first used range that is not below them."""

    def suggestion(self, name: str, own: Extent, alignment: int) -> str:
        """Return the hint to move a frame, whose own range is `own`, to free addresses."""
        size = own[1] - own[0]
        base = _aligned(max(own[0], self.least), alignment)
        is_own_known = False
        while self.place < len(self.used) and self.used[self.place][0] < base + size:
            used = self.used[self.place]
            if used == own and not is_own_known:
                is_own_known = True  # it becomes free
            elif used[1] > base:
                base = _aligned(used[1], alignment)
            self.place += 1
        self.least = base + size
        if self.least > self.end:
            return f"move {name} to an address that is not in use"
        return f"move {name} to a free address, such as {base:#x}"


def _aligned(address: int, alignment: int) -> int:
    return address + -address % alignment
