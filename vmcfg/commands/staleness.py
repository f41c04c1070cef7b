"""What `vmcfg emit --check` prints about a file that is missing or differs from its description."""

from __future__ import annotations

import os
from itertools import zip_longest

from vmcfg import files
from vmcfg.commands.emission import Emitted
from vmcfg.escape import excerpt, printable
from vmcfg.formats.registry import MachineFormat, PlanFormat

BEFORE, LONGEST = 40, 120
"""The number of characters shown of a long line: before the first difference, and in all."""


def staleness(path: str, emitted: Emitted, format_: PlanFormat | MachineFormat) -> str:
    """Return a line if the file at `path` is not what is emitted of its description, else nothing.

    Raises `NoFile` if the file cannot be read.
    """
    assert emitted.data is not None
    name = printable(files.name_of(path))
    tree = emitted.checked.tree
    if not os.path.exists(path):
        return f"{name}: missing: run 'vmcfg emit' ({printable(tree.file)})\n"
    present = files.read(path)
    if present == emitted.data:
        return ""
    old, new = _lines(present), _lines(emitted.data)
    number, before, after = _first_difference(old, new)
    place = _place(emitted, format_, new, number)
    return f"{name}:{number}: stale: {_words(before, after)} ({place})\n"


def _lines(data: bytes) -> list[str]:
    """Return the lines of a file, without their ends."""
    text = data.decode("utf-8", "replace")
    return text.removesuffix("\n").split("\n") if text else []


def _first_difference(old: list[str], new: list[str]) -> tuple[int, str | None, str | None]:
    """Return the number of the first line that differs, and both lines; None without a line.

    If no line differs, it is the last one, whose end does.
    """
    for number, (before, after) in enumerate(zip_longest(old, new), 1):
        if before != after:
            return number, before, after
    return len(old), old[-1], old[-1]


def _words(before: str | None, after: str | None) -> str:
    """Return how two lines differ."""
    if before is None:
        return f"'{excerpt(after or '', LONGEST)}' is missing"
    if after is None:
        return f"'{excerpt(before, LONGEST)}' is after the end"
    if before == after:
        return "the end of its last line differs"
    start = max(0, _length_in_common(before, after) - BEFORE)
    if max(len(before), len(after)) <= LONGEST:
        start = 0
    dots = "..." if start else ""
    shown = [f"'{dots}{excerpt(line[start:], LONGEST)}'" for line in (before, after)]
    return f"{shown[0]} instead of {shown[1]}"


def _length_in_common(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    same = next((at for at, (left, right) in enumerate(pairs) if left != right), None)
    return min(len(one), len(other)) if same is None else same


def _place(
    emitted: Emitted, format_: PlanFormat | MachineFormat, lines: list[str], number: int
) -> str:
    """Return the place in the description of what line `number` of a file contains."""
    tree, plan = emitted.checked.tree, emitted.plan
    file = printable(tree.file)
    if plan is None or not isinstance(format_, PlanFormat) or format_.lines_before is None:
        return file
    comments = sum(line.startswith("#") for line in lines[: number - 1])
    index = number - 1 - format_.lines_before - comments
    origin = plan.commands[index].origin if 0 <= index < len(plan.commands) else None
    if origin is None:
        return file
    place = tree.position(origin)
    return f"{printable(place.file or tree.file)}:{place.span.line}:{place.span.column}"
