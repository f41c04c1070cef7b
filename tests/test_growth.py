"""The cost of a check grows with the number of entries, not with its square.

The calls of functions are counted, because a time would depend on the machine. A call that loops
inside, such as `list.count`, counts only once: `tests/benchmarks/run entries` measures times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vmcfg.checking.check import check
from vmcfg.checking.fixes import fixed
from vmcfg.description import unknown_keys
from vmcfg.description.model import Either, ListOf, every_field
from vmcfg.reports.human import drawn

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import grown

EVERY = grown.RIGHT | grown.WRONG

FEW = 150
MORE = 4


def calls(action: Callable[[], object]) -> int:
    """Return the number of calls of functions in Python and C that `action` makes."""
    count = 0

    def counted(frame: object, event: str, function: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def whole_work(data: bytes) -> None:
    """Check a description as the first one of a process, draw its findings, and apply its fixes."""
    for each in vars(unknown_keys).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()
    checked = check(data, "vm.yaml")
    drawn(checked.diagnostics, checked.tree.texts, color=False)
    fixed(data, checked, lambda text: check(text, "vm.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_calls_grow_with_the_number_of_entries(name: str) -> None:
    few_entries, many_entries = (EVERY[name](count).encode() for count in (FEW, MORE * FEW))
    whole_work(few_entries)  # imports what it needs
    few = calls(lambda: whole_work(few_entries))
    many = calls(lambda: whole_work(many_entries))
    assert many < 1.25 * MORE * few


@pytest.mark.parametrize("name", grown.RIGHT)
def test_right_entries_are_right(name: str) -> None:
    assert check(grown.RIGHT[name](FEW).encode(), "vm.yaml").diagnostics == []


@pytest.mark.parametrize("name", grown.WRONG)
def test_wrong_entries_are_wrong(name: str) -> None:
    assert check(grown.WRONG[name](FEW).encode(), "vm.yaml").diagnostics != []


def test_every_list_of_the_format_grows() -> None:
    kinds = {
        name: field.kind.full if isinstance(field.kind, Either) else field.kind
        for name, field in every_field().items()
    }
    lists = {name for name, kind in kinds.items() if isinstance(kind, ListOf)}
    lines = {
        path
        for text in grown.RIGHT.values()
        for path in lists
        if text(2).count(f"{path.rpartition('.')[2]}:\n    - ") == 1
    }
    # Of these, only a few exist, so that a long list is wrong.
    few = {"features", "sve.vector_lengths", "capabilities", "capabilities.args", "registers"}
    assert lines == lists - few
