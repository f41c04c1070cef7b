"""What several tests need: goldens that `pytest --bless` rewrites, and programs that must not be missing in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bless", action="store_true", help="Write what was printed over what was expected."
    )


@pytest.fixture(scope="session")
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether expected output is to be rewritten; `git diff` then shows what changed."""
    return bool(request.config.getoption("--bless"))


@pytest.fixture(scope="session")
def same_as_file(bless: bool) -> Callable[[Path, bytes], None]:
    """A function that asserts that a file holds exactly the given bytes; with --bless it writes them there."""

    def assert_same(path: Path, actual: bytes) -> None:
        if bless:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(actual)
        assert path.exists(), f"{path.name} is missing; pytest --bless writes it"
        assert actual.decode() == path.read_bytes().decode()

    return assert_same


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """A function that finds a program by its name. A missing one skips the test, and fails it where CI is set."""

    def found(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            missing = f"{name} is not installed; tests/run installs it"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        return path

    return found
