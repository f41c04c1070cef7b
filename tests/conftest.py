"""Fixtures of several tests: files that `pytest --bless` rewrites, and programs that tests call."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


FOREIGN = ("PYTHON", "GIT_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LC_", "LANG", "XDG_")
"""Prefixes of the variables that change the output of vmcfg, Python, or Git."""


def clean_environment() -> None:
    """Remove the settings of the user, for every process that the tests start."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name == "VMCFG_TRACEBACK":
            del os.environ[name]


clean_environment()

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
            missing = f"{name} is not installed: run tests/run, which installs it"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
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
