"""Real VMMs for the guest: QEMU of several Debian suites with its libraries, as files of a boot."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from tests.kvm import machine

SUITES = {"7.2": "bookworm", "10.0": "trixie", "11.1": "sid"}
"""The suite of Debian that has QEMU of a series."""

PACKAGE = "qemu-system-arm"
PROGRAM = "usr/bin/qemu-system-aarch64"
LIBRARIES = "usr/lib/aarch64-linux-gnu"
LOADER = "ld-linux-aarch64.so.1"
FOLDER = "/qemu"


@cache
def unpacked(series: str) -> Path:
    """Return the directory with QEMU of a series for arm64 and everything that it requires."""
    apt = machine._Apt(SUITES[series], "arm64")
    version = apt.field(PACKAGE, "Version").replace(":", "%3a")
    root = Path(machine._cache_folder(), "monitors", f"{PACKAGE}-{SUITES[series]}-{version}")
    with machine._cache_lock():
        if not root.exists():
            apt.unpack_with_dependencies(PACKAGE, root)
    return root


@cache
def qemu_files(series: str) -> dict[str, bytes]:
    """Return QEMU of a series and its libraries, by their paths in the guest."""
    root = unpacked(series)
    libraries = root / LIBRARIES
    found: dict[str, bytes] = {}
    waiting = [root / PROGRAM, libraries / LOADER]
    while waiting:
        path = waiting.pop()
        found[f"{FOLDER}/{series}/{path.name}"] = path.read_bytes()
        new = [name for name in _needed(path) if f"{FOLDER}/{series}/{name}" not in found]
        waiting += [next(iter(libraries.rglob(name))) for name in new]
    return found


def qemu_command(series: str, *arguments: str) -> list[str]:
    """Return the command that runs QEMU in the guest with its own loader and libraries."""
    folder = f"{FOLDER}/{series}"
    return [
        f"{folder}/{LOADER}",
        "--library-path",
        folder,
        f"{folder}/{Path(PROGRAM).name}",
        *arguments,
    ]


def _needed(path: Path) -> list[str]:
    """Return the names of the libraries that a program or a library requires."""
    dynamic = subprocess.run(
        ["readelf", "-d", path], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
