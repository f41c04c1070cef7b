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
from vmcfg.checking.defaults import defaults_in
from vmcfg.checking.fixes import apart, edited, fixed
from vmcfg.commands.found_in_defaults import split
from vmcfg.description import unknown_keys
from vmcfg.description.model import Either, ListOf, every_field
from vmcfg.reports.human import drawn

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import grown

EVERY = grown.RIGHT | grown.WRONG
IN_DEFAULTS = [name for name, text in EVERY.items() if grown.is_split(text)]

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


def forget() -> None:
    """Clear the caches: the next description is as the first one of a process."""
    for each in vars(unknown_keys).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def whole_work(data: bytes) -> None:
    """Check a description, draw its findings, and apply its fixes."""
    forget()
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


def whole_work_on_defaults(text: str) -> None:
    """Check a description with its entries in its defaults, draw its findings, and fix them."""
    forget()
    lower, upper = grown.split(text)
    defaults = defaults_in(lower, "defaults.yaml")
    checked = check(upper, "vm.yaml", defaults=defaults)
    drawn(checked.diagnostics, checked.tree.texts, color=False)
    split(checked, defaults)
    edits = apart(each.fix for each in checked.diagnostics if each.fix is not None)
    defaults_in(edited(lower, edits), "defaults.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_DEFAULTS)
def test_calls_grow_with_the_number_of_entries_in_defaults(name: str) -> None:
    few_entries, many_entries = (EVERY[name](count) for count in (FEW, MORE * FEW))
    whole_work_on_defaults(few_entries)  # imports what it needs
    few = calls(lambda: whole_work_on_defaults(few_entries))
    many = calls(lambda: whole_work_on_defaults(many_entries))
    assert many < 1.25 * MORE * few


@pytest.mark.parametrize("name", [name for name in IN_DEFAULTS if name in grown.RIGHT])
def test_right_entries_in_defaults_are_right(name: str) -> None:
    lower, upper = grown.split(EVERY[name](FEW))
    assert check(upper, "vm.yaml", defaults=defaults_in(lower, "d.yaml")).diagnostics == []


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
