"""Findings that a command prints with its product: drawn for people, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vmcfg import files

if TYPE_CHECKING:
    from vmcfg.checking.check import Checked
    from vmcfg.findings.diagnostic import Diagnostic
    from vmcfg.reports.form import Texts


def print_diagnostics(diagnostics: Iterable[Diagnostic], texts: Texts, color: str) -> None:
    """Draw the findings of a file on standard error, with the help line."""
    # Most runs find nothing, and importing the drawing code takes a tenth of a start.
    from vmcfg.reports.human import drawn_for, help_line
    from vmcfg.reports.terminal import wants_color

    found = list(diagnostics)
    files.print_error(drawn_for(sys.stderr, color, found, texts))
    rules = [each.rule for each in found]
    files.print_error(help_line(rules, wants_color(color, sys.stderr)))


def print_findings(checked: Checked, color: str) -> None:
    """Draw the findings of a check on standard error, if there are any."""
    if checked.diagnostics:
        print_diagnostics(checked.diagnostics, checked.tree.texts, color)
