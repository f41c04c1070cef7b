"""The table of executed jobs per kernel, at the end of the run."""

from __future__ import annotations

import pytest

from tests.kvm import oracle


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the numbers of every kernel that was used."""
    if not oracle.TALLY:
        return
    columns = list(dict.fromkeys(column for tally in oracle.TALLY.values() for column in tally))
    terminalreporter.write_sep("=", "executed on real kernels")
    for suite, tally in oracle.TALLY.items():
        counts = ", ".join(f"{column} {tally.get(column, 0)}" for column in columns)
        terminalreporter.write_line(f"{oracle.kernel(suite).version}: {counts}")
        for line in oracle.NOTES[suite]:
            terminalreporter.write_line(f"    {line}")
