"""The results of `try` as KTAP version 1 (Linux 7.2, Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.trial.verdict import Attempt, Tried


def ktap(attempts: Sequence[Attempt]) -> str:
    """Return one test per file. What this kernel or host lacks is skipped."""
    lines = ["KTAP version 1", f"1..{len(attempts)}"]
    for number, attempt in enumerate(attempts, 1):
        lines += _lines(number, attempt)
    return "".join(f"{line}\n" for line in lines)


def _lines(number: int, attempt: Attempt) -> Iterator[str]:
    name = printable(attempt.file).replace("#", "_")
    if attempt.tried is None:
        yield f"ok {number} {name} # SKIP {printable(attempt.reason)}"
    elif attempt.tried.failed:
        yield from map(_diagnostic, _reasons(attempt.tried))
        yield f"not ok {number} {name}"
    else:
        yield f"ok {number} {name}"


def _reasons(tried: Tried) -> list[Diagnostic]:
    """Return the findings because of which a test fails."""
    if tried.outcome is None:
        return tried.diagnostics
    return [found for found in tried.diagnostics if found.rule.startswith("VMC9")]


def _diagnostic(found: Diagnostic) -> str:
    place = f"{found.file}:{found.span.line}:{found.span.column}"
    return f"# {printable(place)}: {found.severity}[{found.rule}] {printable(found.message)}"
