"""What applies to every test, and fixtures of several tests.

Every test checks something, is not skipped in CI, and can be repeated from what is printed. The
fixtures are files that `pytest --bless` rewrites, and programs that tests call.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NoReturn

import pytest
from _pytest.assertion import rewrite

from tests import seeds

ROOT = Path(__file__).parent.parent


FOREIGN = ("PYTHON", "GIT_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LC_", "LANG", "XDG_")
"""Prefixes of the variables that change the output of vmcfg, Python, or Git."""


def clean_environment() -> None:
    """Remove the settings of the user, for every process that the tests start."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name == "VMCFG_TRACEBACK":
            del os.environ[name]


clean_environment()


def default_signals() -> None:
    """Give the processes that the tests start the signals of a terminal: a shell that starts the
    tests in the background ignores some, and its children would, too.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


default_signals()


# Every test --------------------------------------------------------------------------------------

TESTED_WITH = "tested with"
"""The name of a property of a test that is printed at the end of the run."""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        forget_older_rewrites()
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(seeds.SEED)


def forget_older_rewrites() -> None:
    """Remove the compiled tests that are older than pyproject.toml: pytest does not compile them
    again if it sets enable_assertion_pass_hook.
    """
    newest = (ROOT / "pyproject.toml").stat().st_mtime
    for path in (ROOT / "tests").rglob("__pycache__/*-pytest-*.pyc"):
        if path.stat().st_mtime < newest:
            path.unlink(missing_ok=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest tests early: those of tests/kvm, then those of Debian's Pythons."""
    longest = ("kvm", "test_debians.py")
    places = {item: [name in item.path.parts for name in longest] for item in items}
    items.sort(key=lambda item: places[item].index(True) if any(places[item]) else len(longest))


def pytest_report_header() -> str:
    return f"seed: {seeds.chosen()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not terminalreporter.showheader:
        terminalreporter.write_line(f"seed: {seeds.chosen()}")
    for report in [each for kind in terminalreporter.stats.values() for each in kind]:
        for name, value in getattr(report, "user_properties", ()):
            if name == TESTED_WITH and report.when == "call":
                terminalreporter.write_line(f"{name} {value}")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let a test fail that returns without an executed assertion: its loops were empty, or it
    returned early.
    """
    of_tests = (f"{ROOT}/tests/", str(pyfuncitem.path))
    checked = False

    def passed() -> bool:
        nonlocal checked
        # Hypothesis has assertions, too.
        checked = checked or sys._getframe(1).f_code.co_filename.startswith(of_tests)
        return False

    with pytest.MonkeyPatch.context() as patch:
        # pytest asks after each assertion that holds whether to call a hook. The hook itself would
        # get a description of the assertion, which takes time.
        patch.setattr(rewrite, "_check_if_assertion_pass_impl", passed)
        result = yield
    if not checked:
        pytest.fail("this test executed no 'assert', so that it cannot fail", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        again = f"{seeds.chosen()} python -m pytest {shlex.quote(item.nodeid)}"
        report.sections.append(("to repeat", again))
    return report


def not_here(reason: str) -> NoReturn:
    """Skip the test, because this machine cannot execute it; with CI set, it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# Fixtures ----------------------------------------------------------------------------------------

TO_BLESS = "run 'python -m pytest --bless' with the file of this test, and read 'git diff'"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bless", action="store_true", help="Replace the expected output with the actual output."
    )


@pytest.fixture(scope="session")
def bless(request: pytest.FixtureRequest) -> bool:
    """Return whether to rewrite expected output; `git diff` then shows what changed."""
    return bool(request.config.getoption("--bless"))


@pytest.fixture(scope="session")
def same_as_file(bless: bool) -> Callable[[Path, bytes], None]:
    """Return a function that asserts the bytes of a file; with --bless, it writes them."""

    def assert_same(path: Path, actual: bytes) -> None:
        name = os.path.relpath(path, ROOT)
        if bless:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(actual)
        assert path.exists(), f"{name} is missing: {TO_BLESS}"
        # Bytes, because some examples are not UTF-8.
        expected = path.read_bytes()
        assert actual.decode(errors="backslashreplace") == expected.decode(
            errors="backslashreplace"
        ), f"{name} differs from what vmcfg prints now. If the new text is right: {TO_BLESS}"

    return assert_same


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Return a function that finds a program, or skips the test; with CI set, the test fails."""

    def found(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            not_here(f"{name} is not installed: run tests/run, which installs it")
        return path

    return found


Vmcfg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vmcfg_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Vmcfg:
    """Return a function that runs vmcfg in this process and in `tmp_path`: the exit code, the
    output, and the errors.
    """
    from vmcfg import cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vmcfg", *arguments])
        code = cli._run()
        output, errors = capsys.readouterr()
        return code, output, errors

    return run
