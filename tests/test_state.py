"""The table of the vGIC's state: its order, and what each register is repeated for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmcfg.kernel.state import STATE_SIZES
from vmcfg.plans.state import BEFORE, STATE_V3, broken

NAMES = [row.register for row in STATE_V3]


def test_restores_in_the_order_of_the_documents() -> None:
    """The list breaks no constraint."""
    assert broken(NAMES) == []


@given(st.sampled_from(BEFORE))
def test_finds_a_swapped_pair(constraint: tuple[str, str, str]) -> None:
    """A list with one pair in the other order breaks that constraint."""
    before, after, _ = constraint
    first = next(name for name in NAMES if name.startswith(before))
    last = next(n for n in NAMES if n.startswith(after) and not n.startswith(before))
    swapped = [{first: last, last: first}.get(name, name) for name in NAMES]
    assert constraint in broken(swapped)


def test_has_the_sizes_that_kvm_uses() -> None:
    """A register has the size of its group."""
    kinds = {(row.part, row.group, row.size) for row in STATE_V3 if row.size}
    sizes = {STATE_SIZES["its" if part == "its" else "gic", group] for part, group, _ in kinds}
    assert sizes == {4, 8}
    for part, group, size in kinds:
        assert STATE_SIZES["its" if part == "its" else "gic", group] == size


@given(st.integers(2, 31).map(lambda words: words * 32))
def test_repeats_registers_up_to_nr_irqs(nr_irqs: int) -> None:
    """A register of INTIDs has as many words as the SPIs need, and ends below the next one."""
    for row in STATE_V3:
        numbers = list(row.numbers(nr_irqs))
        assert len(set(numbers)) == len(numbers)
        if row.bits:
            assert numbers[-1] + 4 == row.number + nr_irqs * row.bits // 8
