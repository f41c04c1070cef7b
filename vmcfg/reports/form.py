"""Findings in the forms that programs read, a module each.

A report is made file by file, so that many files can be checked at once, and finished when their
numbers are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from vmcfg.findings.diagnostic import Diagnostic


class Totals:
    """What a run saw: how many files it read, what it found in them, and a line for each that
    failed.
    """

    __slots__ = ("errors", "failures", "files", "warnings")

    def __init__(self, files: int, errors: int, warnings: int, failures: tuple[str, ...]) -> None:
        self.files = files
        self.errors = errors
        self.warnings = warnings
        self.failures = failures


class Report:
    """A form of report: `part` is what one file's findings, of a text, come to; it is printed as
    soon as it is there.

    Where there is a `whole`, that is printed instead, at the end and piece by piece: it is made of
    all parts that are not empty, in order.
    """

    __slots__ = ("part", "whole")

    def __init__(
        self,
        part: Callable[[list[Diagnostic], str], str],
        whole: Callable[[Sequence[str], Totals], Iterator[str]] | None = None,
    ) -> None:
        self.part = part
        self.whole = whole


REPORT_FORMATS = {
    "concise": "concise",
    "json": "as_json",
    "sarif": "sarif",
    "github": "github",
}
"""The forms of report by name, with the module of this room that has each as `REPORT`.

Only `human` is not here: it depends on the terminal that shows it.
"""


def report_form(name: str) -> Report:
    """The form of that name; its module is loaded only now."""
    from importlib import import_module

    form: Report = import_module(f"vmcfg.reports.{REPORT_FORMATS[name]}").REPORT
    return form


def items(found: Iterable[object], depth: int) -> str:
    """`found` as JSON, as they stand in a list that is `depth` deep in a document, without its
    brackets.
    """
    import json

    line = "\n" + "  " * depth
    return ",".join(line + json.dumps(each, indent=2).replace("\n", line) for each in found)


def filled(skeleton: object, key: str, parts: Sequence[str]) -> Iterator[str]:
    """`skeleton` as JSON, its one empty list at `key` filled with `parts`, which `items` made;
    piece by piece.
    """
    import json

    before, empty, after = (json.dumps(skeleton, indent=2) + "\n").partition(f'"{key}": []')
    if not parts:
        yield before + empty + after
        return
    yield f'{before}"{key}": ['
    for place, part in enumerate(parts):
        yield f",{part}" if place else part
    indent = before[before.rindex("\n") :]
    yield f"{indent}]{after}"
