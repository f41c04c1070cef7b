"""Files of Debian packages that the tests read, in the cache of the kernels.

`VMCFG_KVM_REFRESH=1` fetches newer packages.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.conftest import not_here
from tests.kvm import debian


class Package(NamedTuple):
    """A package whose files are in the directory `root`."""

    name: str
    version: str
    root: Path


@cache
def files_of(suite: str, architecture: str, package: str, pattern: str) -> Package:
    """Return the newest version of a package, with its regular files whose path matches `pattern`.

    `package` is a regular expression; of several names, the one with the highest numbers counts.
    Without them, the test is skipped, or fails if CI is set.
    """
    try:
        return _files_of(suite, architecture, package, pattern)
    except debian.NoMachineError as error:
        not_here(f"NO SOURCE WAS TESTED: {error}")


def _files_of(suite: str, architecture: str, package: str, pattern: str) -> Package:
    """Return the package, from the cache or from the mirror. Raises `NoMachineError`."""
    with debian.cache_lock():
        folder = Path(debian.cache_folder(), "packages")
        words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{suite} {architecture} {package} {pattern}")
        note = Path(folder, f"{words}.json")
        if note.exists() and not debian.refresh():
            found = json.loads(note.read_text())
        else:
            found = _fetch(folder, debian.Apt(suite, architecture), package, pattern)
            debian.store(note, json.dumps(found).encode())
    return Package(found["name"], found["version"], Path(folder, found["root"]))


def _fetch(folder: Path, apt: debian.Apt, package: str, pattern: str) -> dict[str, str]:
    prefix = re.match(r"[a-z0-9-]*", package)
    names = [name for name in apt.names(prefix[0] if prefix else "") if re.fullmatch(package, name)]
    if not names:
        raise debian.NoMachineError(f"{apt.suite} has no package {package}")
    name = max(names, key=lambda each: [int(number) for number in re.findall(r"\d+", each)])
    version = apt.field(name, "Version")
    root = f"{name}_{version}".replace(":", "%3a")
    (deb,) = apt.packages([name])
    for path, (mode, content) in deb.items():
        if stat.S_ISREG(mode) and re.search(pattern, path):
            debian.store(Path(folder, root, path), content)
    return {"name": name, "version": version, "root": root}


IN_LINUX = (
    "Documentation/devicetree/bindings",
    "arch/arm64/tools",
    "tools/arch/arm64/include",
    "tools/include",
    "tools/lib/rbtree.c",
    "tools/testing/kunit",
    "tools/testing/selftests/kselftest.h",
    "tools/testing/selftests/kselftest_harness.h",
    "tools/testing/selftests/kvm",
    "tools/testing/selftests/rseq",
)
"""What the tests read of the source of Linux."""


@cache
def linux_source() -> Path:
    """Return a directory with those of the newest source of Linux in Debian 13."""
    pattern = r"usr/src/linux-source-[0-9.]+\.tar\.xz$"
    package = files_of("trixie", "arm64", r"linux-source-6\.\d+", pattern)
    (archive,) = package.root.glob("usr/src/*.tar.xz")
    # Another list is another directory.
    folder = package.root / f"unpacked-{zlib.crc32(repr(IN_LINUX).encode()):08x}"
    with debian.cache_lock():
        if not folder.exists():
            wanted = [f"{package.name}/{each}" for each in IN_LINUX]
            with tempfile.TemporaryDirectory(dir=package.root) as incomplete:
                command = ["tar", "-xf", str(archive), "-C", incomplete, *wanted]
                subprocess.run(command, check=True)
                Path(incomplete, package.name).rename(folder)
    return folder


@cache
def source_of(suite: str, package: str, files: str) -> Path:
    """Return a directory with the files of a source package whose paths match a pattern of tar.

    Without them, the test is skipped, or fails if CI is set.
    """
    try:
        return _source_of(suite, package, files)
    except debian.NoMachineError as error:
        not_here(f"NO SOURCE WAS TESTED: {error}")


def _source_of(suite: str, package: str, files: str) -> Path:
    """Return the directory, from the cache or from the mirror. Raises `NoMachineError`."""
    with debian.cache_lock():
        folder = Path(debian.cache_folder(), "packages", f"{package}-of-{suite}-source")
        if not folder.exists() or debian.refresh():
            shutil.rmtree(folder, ignore_errors=True)
            apt = debian.Apt(suite, debian.SOURCES)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as incomplete:
                apt.source(package, Path(incomplete))
                (archive,) = Path(incomplete).glob("*.orig.tar.*[!c]")
                command = ["tar", "-xf", str(archive), "-C", incomplete, "--wildcards", files]
                subprocess.run(command, check=True)
                (unpacked,) = (each for each in Path(incomplete).iterdir() if each.is_dir())
                unpacked.rename(folder)
    return folder


@cache
def qemu(suite: str) -> Path:
    """Return the program of a private copy of QEMU of a suite.

    Without it, the test is skipped, or fails if CI is set.
    """
    try:
        return debian.qemu_of(suite)
    except debian.NoMachineError as error:
        not_here(f"NO QEMU WAS TESTED: {error}")
