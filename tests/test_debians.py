"""The tests that run vmcfg, once more under the Pythons of Debian releases.

The short loop is repeated, without the files below, and with the comparison of the two parsers,
which depend most on PyYAML. Under Debian 12, only what depends on the libraries is repeated. Other
slow tests start the same commands with more inputs, and kernels do not depend on Python: tests/kvm
runs vmcfg with Python, click, rich, and PyYAML of Debian 12.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import debians
from tests.conftest import TESTED_WITH, not_here
from tests.kvm.debian import NoMachineError

ROOT = Path(__file__).parent.parent

OTHERS = (
    "kvm",
    "test_contributing.py",
    "test_debians.py",
    "test_docs.py",
    "test_package.py",
    "test_pre_commit.py",
    "test_rooms.py",
    "test_share.py",
    "test_tests.py",
    "test_words.py",
)
"""What is about the repository: its texts, generated files, packages, and tests."""

WITH_EXTRAS = (
    "test_acpi.py",
    "test_acpi_source.py",
    "test_devicetree.py",
    "test_import.py",
    "test_libvirt.py",
    "test_qemu_board.py",
    "test_told_and_seen.py",
    "test_tree_source.py",
)
"""What requires libfdt, which is compiled for one Python, or the tests that do."""

OF_LIBRARIES = (
    "test_cases.py",
    "test_cli.py",
    "test_console.py",
    "test_files.py",
    "test_many_files.py",
    "test_parsers.py",
    "test_printed.py",
    "test_reports.py",
    "test_samples.py",
    "test_schema.py",
    "test_show.py",
)
"""What depends on click, rich, and PyYAML. Debian 12 has the Python of most machines that run these
tests: only its libraries are others, the oldest ones.
"""

pytestmark = pytest.mark.slow


def python_of(suite: str) -> debians.Debian:
    try:
        return debians.python_of(suite)
    except NoMachineError as error:
        not_here(f"NO PYTHON OF DEBIAN WAS TESTED: {error}")


def run(suite: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python_of(suite).python, *arguments],
        cwd=ROOT,
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("suite", debians.SUITES)
def test_it_imports_the_packages_of_debian(suite: str) -> None:
    script = "import click, rich, yaml; print(click.__file__, rich.__file__, yaml.__file__)"
    root = python_of(suite).python.parent.parent
    folders = [str(Path(path).parent.parent) for path in run(suite, "-c", script).stdout.split()]
    assert folders == [f"{root}/lib/python3/dist-packages"] * 3


def test_debian_12_has_the_oldest_supported_packages() -> None:
    """The versions in pyproject.toml; of Python, the static checks cover 3.10."""
    listed = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]")
    floors = dict(re.findall(r'"(\w+)>=([0-9.]+)"', listed[0]))
    assert len(floors) == 3
    packages = {"python3-click": "click", "python3-rich": "rich", "python3-yaml": "PyYAML"}
    _, *versions = python_of("bookworm").versions
    for package, version in zip(debians.PACKAGES[1:], versions, strict=True):
        floor = floors[packages[package]]
        assert re.match(rf"{re.escape(floor)}[.-]", version), (package, version, floor)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", debians.SUITES)
def test_vmcfg_is_the_same_under_the_python_of_debian(
    suite: str, record_property: Callable[[str, object], None]
) -> None:
    record_property(TESTED_WITH, str(python_of(suite)))
    for arguments in repeated(suite):
        done = run(suite, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
        assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-10_000:]
        assert re.search(r"\n[0-9]{2,} passed", done.stdout)


def repeated(suite: str) -> list[list[str]]:
    """Return the arguments of pytest of each run under the Python of a suite."""
    if suite == "bookworm":
        return [["-m", "not slow", *(f"tests/{name}" for name in OF_LIBRARIES)]]
    ignored = [f"--ignore=tests/{name}" for name in (*OTHERS, *WITH_EXTRAS)]
    return [["-m", "not slow", *ignored, "tests"], ["-k", "parsers_agree", "tests/test_parsers.py"]]
