"""One process of pytest-xdist per kernel, and the table of executed jobs at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import not_here
from tests.kvm import debian, machine, oracle, ssh_hosts

HERE = Path(__file__).parent

TIMEOUT = 3600
"""Seconds per test, of which the first one of a kernel boots it, on a machine that is busy with
other things. `machine.run` has a shorter limit for each boot.
"""


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ssh_hosts.Host]]:
    """Return the booted hosts of `ssh_hosts.HOSTS` by name. Tests with them are of the group
    "hosts", so that one process boots them.
    """
    keys = tmp_path_factory.mktemp("keys")
    try:
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(ssh_hosts.booted(oracle.kernel(series), keys))
                for name, series in ssh_hosts.HOSTS.items()
            }
    except debian.NoMachineError as error:
        not_here(f"NO HOST WAS BOOTED: {error}")


def series_of(item: pytest.Item) -> str | None:
    """Return the kernel of a test, or None if it has none."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("series")


# First: pytest-xdist reads the marks in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by kernel: those that take longest first, and each in one process, which boots
    it once; then all other tests.
    """
    in_order = [*reversed(oracle.FULL), *oracle.SERIES]
    here = [item for item in items if item.path.is_relative_to(HERE)]
    for item in here:
        item.add_marker(pytest.mark.timeout(TIMEOUT))
        series = series_of(item)
        if series is not None:
            item.add_marker(pytest.mark.xdist_group(series))
    here.sort(key=lambda item: in_order.index(series_of(item) or oracle.FULL[-1]))
    # Kernels take longest, so that other tests fill the time at the end.
    others = [item for item in items if not item.path.is_relative_to(HERE)]
    items[:] = here + others


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Count the boots, and send the numbers of a process of pytest-xdist to the one that prints
    them.
    """
    for series, seconds in machine.BOOTS.items():
        oracle.TALLY[series]["boots"] = len(seconds)
        oracle.TALLY[series]["CPU seconds of QEMU"] = round(sum(seconds))
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tally"] = {series: dict(tally) for series, tally in oracle.TALLY.items()}
        output["notes"] = dict(oracle.NOTES)
        output["imported"] = list(oracle.IMPORTED)
        output["guests"] = dict(oracle.GUESTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the numbers of a process of pytest-xdist."""
    output = getattr(node, "workeroutput", {})
    for series, tally in output.get("tally", {}).items():
        for column, count in tally.items():
            oracle.TALLY[series][column] += count
    for series, notes in output.get("notes", {}).items():
        oracle.NOTES[series] += [note for note in notes if note not in oracle.NOTES[series]]
    oracle.IMPORTED.extend(output.get("imported", []))
    for case, taken in output.get("guests", {}).items():
        oracle.GUESTS[case] |= taken


def _taken(case: str, taken: str) -> str:
    """Return what a guest took, unless it is what the case describes."""
    return "as described" if case.endswith(f": {taken}") else f"TOOK {taken}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the numbers of every kernel that was used, the sources that were imported, and the
    interrupts that guests took.
    """
    if oracle.IMPORTED:
        terminalreporter.write_sep("=", "imported")
        for line in oracle.IMPORTED:
            terminalreporter.write_line(line)
    if oracle.GUESTS:
        terminalreporter.write_sep("=", "INTIDs by vCPU id: described, and taken by a guest")
        for case, taken in oracle.GUESTS.items():
            in_order = sorted(taken, key=oracle.version)
            words = (f"{series} {_taken(case, taken[series])}" for series in in_order)
            terminalreporter.write_line(f"{case}: {'; '.join(words)}")
    if not oracle.TALLY:
        return
    columns = list(dict.fromkeys(column for tally in oracle.TALLY.values() for column in tally))
    terminalreporter.write_sep("=", "executed on real kernels")
    for series, tally in sorted(oracle.TALLY.items(), key=lambda each: oracle.version(each[0])):
        counts = ", ".join(f"{column} {tally.get(column, 0)}" for column in columns)
        kernel = oracle.kernel(series)
        terminalreporter.write_line(
            f"{kernel.package} {kernel.version} of {kernel.suite}: {counts}"
        )
        for line in oracle.NOTES[series]:
            terminalreporter.write_line(f"    {line}")
    if "sid" not in machine.KERNELS.values():
        terminalreporter.write_line("No kernel of sid was tested: its packages change every day.")
