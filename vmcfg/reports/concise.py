"""A finding on one line, complete by itself."""

from __future__ import annotations

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.reports.form import Report
from vmcfg.reports.styled import Piece


def _part(diagnostics: list[Diagnostic], text: str) -> str:
    return "".join([f"{concise(found)}\n" for found in diagnostics])


REPORT = Report(_part)


def first_line(found: Diagnostic) -> list[Piece]:
    """``path:line:column: severity[rule] message``, complete by itself."""
    place = f"{printable(found.file)}:{found.span.line}:{found.span.column}: "
    return [
        (place, "title"),
        (f"{found.severity}[{found.rule}]", found.severity),
        (f" {printable(found.message)}", "title"),
    ]


def concise(found: Diagnostic) -> str:
    """A diagnostic on one line, its first related place included."""
    line = "".join(text for text, _ in first_line(found))
    if found.related:
        first = found.related[0]
        place = f"{printable(first.file)}:{first.span.line}:{first.span.column}"
        line += f" ({printable(first.message)}: {place})"
    return line
