"""Findings in the forms that programs read, one module per form.

A report is made file by file, so that many files can be checked in parallel, and completed when the
numbers of all files are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from vmcfg.findings.diagnostic import Diagnostic

Texts = Mapping[str, str]
"""The texts in which findings are, by file: first that of the file that was checked."""


class Totals:
    """The totals of a run: the numbers of files, errors, and warnings, and each file that could not
    be read or written, with the reason.
    """

    __slots__ = ("errors", "failures", "files", "warnings")

    def __init__(
        self, files: int, errors: int, warnings: int, failures: tuple[tuple[str, str], ...]
    ) -> None:
        self.files = files
        self.errors = errors
        self.warnings = warnings
        self.failures = failures


class Report:
    """A form of report: `part` returns the report about the findings of one file, with the texts
    that they are in.

    Without `whole`, each part is printed immediately, and `after` returns what follows the last one
    from the ids of the broken rules. With it, `whole` makes the report at the end, piece by piece,
    from all parts that are not empty, in order. `right` returns the part of a file without
    findings, from its name.
    """

    __slots__ = ("after", "part", "right", "whole")

    def __init__(
        self,
        part: Callable[[list[Diagnostic], Texts], str],
        whole: Callable[[Sequence[str], Totals], Iterator[str]] | None = None,
        after: Callable[[Iterable[str]], str] | None = None,
        right: Callable[[str], str] | None = None,
    ) -> None:
        self.part = part
        self.right = right
        self.whole = whole
        self.after = after


REPORT_FORMATS = {
    "concise": "concise",
    "json": "as_json",
    "sarif": "sarif",
    "github": "github",
    "junit": "junit",
    "gitlab": "gitlab",
}
"""The forms of report by name, each with the module of this room that defines it as `REPORT`.

Only `human` is missing: it depends on the terminal.
"""


def report_form(name: str) -> Report:
    """Return the form of that name. Its module is imported only here."""
    from importlib import import_module

    form: Report = import_module(f"vmcfg.reports.{REPORT_FORMATS[name]}").REPORT
    return form


def items(found: Iterable[object], depth: int) -> str:
    """Return `found` as the items of a JSON list that is nested `depth` levels deep, without its
    brackets.
    """
    import json

    line = "\n" + "  " * depth
    return ",".join(line + json.dumps(each, indent=2).replace("\n", line) for each in found)


def filled(skeleton: object, key: str, parts: Sequence[str]) -> Iterator[str]:
    """Return `skeleton` as JSON in pieces, with `parts` from `items` in its empty list `key`."""
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
