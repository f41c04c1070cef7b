"""``--format github``: workflow commands, which GitHub Actions shows as annotations.

A command is one line, such as
``::error file=vm.yaml,line=5,col=14,endLine=5,endColumn=16,title=VMC503 name::message``. Characters
that would end a line, a property, or the command are percent-encoded: no text from a description or
a file name can become a command. GitHub shows ten annotations of each kind per step, and columns
only if a place is in one line.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.reports.concise import NAMES_SHOWN, hosts_text
from vmcfg.reports.form import Report, Texts


def _part(diagnostics: list[Diagnostic], texts: Texts) -> str:
    return "".join(_command(found) + "\n" for found in diagnostics)


def _command(found: Diagnostic) -> str:
    span = found.span
    in_one_line = span.line == span.end_line
    properties: dict[str, object] = {"file": printable(found.file), "line": span.line}
    if in_one_line:
        properties["col"] = span.column
    properties["endLine"] = span.end_line
    if in_one_line:
        properties["endColumn"] = span.end_column
    properties["title"] = f"{found.rule} {found.name}"
    written = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    message = _data("\n".join(_lines(found)))
    return f"::{found.severity} {written}::{message}"


def _lines(found: Diagnostic) -> Iterator[str]:
    """Return the lines: the message, the other places, the hint, the kernel, and the hosts."""
    yield printable(found.message)
    for each in found.related:
        yield printable(f"{each.file}:{each.span.line}:{each.span.column}: {each.message}")
    if found.hint is not None:
        yield printable(f"hint: {found.hint}")
    if found.kernel is not None:
        yield printable(f"kernel: {found.kernel}")
    if found.hosts:
        yield f"hosts: {hosts_text(found, NAMES_SHOWN)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


REPORT = Report(_part)
