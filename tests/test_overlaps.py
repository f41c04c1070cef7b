"""Ranges that overlap are found as if each were compared with each other one, but faster."""

from __future__ import annotations

from typing import SupportsIndex

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmcfg.vm.frames import overlaps
from vmcfg.vm.machine import Extent
from vmcfg.vm.overlaps import Claims, FreeAddresses, Sorted, _Free

EXTENTS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair)))
)
"""Ranges in a small space, so that they overlap, touch, contain each other, or are empty."""


def overlap(one: Extent, other: Extent) -> bool:
    return bool(set(range(*one)) & set(range(*other)))


@given(EXTENTS)
def test_each_range_that_overlaps_an_earlier_one_is_found(extents: list[Extent]) -> None:
    found = overlaps(extents)
    expected = [
        index
        for index, extent in enumerate(extents)
        if any(overlap(extent, earlier) for earlier in extents[:index])
    ]
    assert [index for index, _ in found] == expected
    for index, earlier in found:
        assert earlier < index
        assert overlap(extents[index], extents[earlier])


@given(EXTENTS)
def test_a_number_belongs_to_the_first_range_that_contains_it(extents: list[Extent]) -> None:
    claims = Claims(extents)
    for number in range(-1, 40):
        first = next((i for i, extent in enumerate(extents) if number in range(*extent)), None)
        assert claims.owner(number) == first


@given(EXTENTS, st.integers(0, 30), st.integers(1, 8))
def test_sorted_ranges_answer_as_a_search_does(
    extents: list[Extent], first: int, size: int
) -> None:
    extents = [extent for extent in extents if extent[0] != extent[1]]
    end = first + size
    by_number = Sorted(extents)
    covered = [index for index, extent in enumerate(extents) if overlap(extent, (first, end))]
    highest = by_number.highest_end(end)
    assert highest == max((high for low, high in extents if low < end), default=0)
    assert by_number.count(first, end) == len(covered)
    assert (highest > first) == bool(covered)
    if covered:
        lowest = by_number.lowest(first)
        assert extents[lowest][0] == min(extents[index][0] for index in covered)
    starting = [index for index, (low, _) in enumerate(extents) if first <= low < end]
    found = by_number.starting_in(first, end, 3)
    assert len(found) == min(3, len(starting))
    assert set(found) <= set(starting)


@given(EXTENTS, st.lists(st.integers(0, 1000), min_size=1, max_size=4))
def test_frames_that_follow_their_hints_overlap_nothing(
    extents: list[Extent], chosen: list[int]
) -> None:
    frames = [extent for extent in extents if extent[0] != extent[1]]
    assume(frames)
    moved = list(dict.fromkeys(number % len(frames) for number in chosen))
    free = FreeAddresses(frames, 1000)
    for index in moved:
        hint = free.suggestion("it", frames[index], 4)
        base = int(hint.removeprefix("move it to a free address, such as "), 0)
        assert base % 4 == 0
        low, high = frames[index]
        frames[index] = base, base + high - low
        others = frames[:index] + frames[index + 1 :]
        assert not any(overlap(frames[index], other) for other in others)


def test_a_frame_without_room_gets_no_address() -> None:
    free = FreeAddresses([(0, 60)], 64)
    assert free.suggestion("it", (0, 8), 8) == "move it to an address that is not in use"


def test_ranges_that_all_overlap_are_claimed_in_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of steps is counted, because a time would depend on the machine."""
    steps = 0

    class Counted(list[int]):
        def __getitem__(self, place: SupportsIndex) -> int:  # type: ignore[override]
            nonlocal steps
            steps += 1
            return super().__getitem__(place)

    original = _Free.__init__

    def counted(self: _Free, count: int) -> None:
        original(self, count)
        self.following = Counted(self.following)

    count = 2000
    nested = [(number, 2 * count - number) for number in range(count)]
    crossing = [(number, number + count) for number in range(count)]
    monkeypatch.setattr(_Free, "__init__", counted)
    for extents in (nested, nested[::-1], crossing, crossing[::-1], [(0, 9)] * count):
        steps = 0
        assert len(Claims(extents).clashes) == count - 1
        assert steps < 20 * count
