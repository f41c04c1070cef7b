"""A finding on one line, which is complete alone."""

from __future__ import annotations

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.reports.form import Report, Texts
from vmcfg.reports.styled import Piece


def _part(diagnostics: list[Diagnostic], texts: Texts) -> str:
    return "".join([f"{concise(found)}\n" for found in diagnostics])


REPORT = Report(_part)


def first_line(found: Diagnostic) -> list[Piece]:
    """Return ``path:line:column: severity[rule] message``, which is complete alone."""
    place = f"{printable(found.file)}:{found.span.line}:{found.span.column}: "
    return [
        (place, "title"),
        (f"{found.severity}[{found.rule}]", found.severity),
        (f" {printable(found.message)}", "title"),
    ]


NAMES_SHOWN = 3
"""The maximum number of hosts that a line names."""


def hosts_text(found: Diagnostic, most: int) -> str:
    """Return on how many of the hosts a finding is, with at most `most` of their names."""
    names = [printable(name) for name in found.hosts[:most]]
    more = len(found.hosts) - len(names)
    if more:
        names.append(f"and {more} more")
    return f"{len(found.hosts)} of {found.hosts_checked}: {', '.join(names)}"


def concise(found: Diagnostic) -> str:
    """Return a diagnostic on one line, with its first related place, its hint, and its hosts."""
    line = "".join(text for text, _ in first_line(found))
    if found.related:
        first = found.related[0]
        place = f"{printable(first.file)}:{first.span.line}:{first.span.column}"
        line += f" ({printable(first.message)}: {place})"
    if found.hint is not None:
        line += f"; hint: {printable(found.hint)}"
    if found.hosts:
        line += f"; hosts: {hosts_text(found, NAMES_SHOWN)}"
    if found.fix is not None:
        line += "; fixable with --fix"
    return line
