"""Findings printed beside the product of a command: drawn for a person, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vmcfg import files

if TYPE_CHECKING:
    from vmcfg.checking.check import Checked
    from vmcfg.findings.diagnostic import Diagnostic


def print_diagnostics(diagnostics: Iterable[Diagnostic], text: str, color: str) -> None:
    """Draw the findings of a file whose text is `text` on standard error."""
    # Most runs find nothing, and drawing takes a tenth of a start to load.
    from vmcfg.reports.human import drawn_for

    files.print_error(drawn_for(sys.stderr, color, diagnostics, text))


def print_findings(checked: Checked, color: str) -> None:
    """Draw the findings of a check on standard error, where there are any."""
    if checked.diagnostics:
        print_diagnostics(checked.diagnostics, checked.tree.text, color)
