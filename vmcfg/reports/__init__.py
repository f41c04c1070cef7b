"""Findings in the forms that programs read, a module each.

A report is made file by file, so that many files can be checked at once, and finished when their numbers are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmcfg.report import Diagnostic


class Totals(NamedTuple):
    """What a run saw: how many files it read, what it found in them, and a line for each that it could not read."""

    files: int
    errors: int
    warnings: int
    unread: tuple[str, ...]


class Report(NamedTuple):
    """A form of report: `part` is what one file's findings, of a text, come to; it is printed as soon as it is there.

    Where there is a `whole`, it is what is printed instead, at the end: made of all parts that are not empty, in order.
    """

    part: Callable[[list[Diagnostic], str], str]
    whole: Callable[[Sequence[str], Totals], str] | None = None


def filled(skeleton: object, key: str, parts: Sequence[str]) -> str:
    """`skeleton` as JSON, its one empty list at `key` filled with `parts`: JSON texts of several items each."""
    import json

    text = json.dumps(skeleton, indent=2) + "\n"
    if not parts:
        return text
    before, _, after = text.partition(f'"{key}": []')
    indent = " " * (len(before) - before.rindex("\n") - 1)
    inner = "".join(f"\n{indent}  {line}" for part in parts[:-1] for line in f"{part},".split("\n"))
    inner += "".join(f"\n{indent}  {line}" for line in parts[-1].split("\n"))
    return f'{before}"{key}": [{inner}\n{indent}]{after}'
