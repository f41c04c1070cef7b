"""``--format json``: one object, of the shape that schemas/diagnostics-v1.schema.json says."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vmcfg.report import Diagnostic
from vmcfg.reports import Report, Totals, filled


def _part(diagnostics: list[Diagnostic], text: str) -> str:
    return ",\n".join(json.dumps(found.as_json(), indent=2) for found in diagnostics)


def _whole(parts: Sequence[str], totals: Totals) -> str:
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
