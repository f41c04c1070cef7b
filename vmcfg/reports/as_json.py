"""``--format json``: one object, of the shape that schemas/diagnostics-v1.schema.json says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.reports.form import Report, Totals, filled, items


def _part(diagnostics: list[Diagnostic], text: str) -> str:
    return items((found.as_json() for found in diagnostics), 2)


def _whole(parts: Sequence[str], totals: Totals) -> Iterator[str]:
    report = {
        "format": "vmcfg.diagnostics",
        "format_version": "1.0",
        "files": totals.files,
        "errors": totals.errors,
        "warnings": totals.warnings,
        "diagnostics": [],
    }
    return filled(report, "diagnostics", parts)


REPORT = Report(_part, _whole)
