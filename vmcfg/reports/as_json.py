"""``--format json``: one object, as in schemas/diagnostics-v1.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vmcfg.escape import without_surrogates
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.reports.form import Report, Texts, Totals, filled, items


def _part(diagnostics: list[Diagnostic], texts: Texts) -> str:
    return items((found.as_json() for found in diagnostics), 2)


def _whole(parts: Sequence[str], totals: Totals) -> Iterator[str]:
    report: dict[str, Any] = {
        "format": "vmcfg.diagnostics",
        "format_version": "1.0",
        "files": totals.files,
        "errors": totals.errors,
        "warnings": totals.warnings,
        "diagnostics": [],
    }
    if totals.failures:
        report["unreadable"] = [
            {"file": without_surrogates(file), "message": reason}
            for file, reason in totals.failures
        ]
    return filled(report, "diagnostics", parts)


REPORT = Report(_part, _whole)
