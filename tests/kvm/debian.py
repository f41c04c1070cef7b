"""Packages of Debian: fetched from its mirror without a change of this system, and unpacked in a
cache. A second run does not require a network.

Environment: VMCFG_KVM_REFRESH=1 fetches newer packages. The cache is in the home directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LEFT_OUT = re.compile(r"usr/share/(doc|man|info|locale|lintian|bug|doc-base)/")
EMULATOR = "qemu-system-aarch64"
EMULATOR_PACKAGE = "qemu-system-arm"

Tree = dict[str, tuple[int, bytes]]
"""Files by their paths without leading slash: the mode with the type, and the content, which is
the target of a link.
"""

FOLDER = (stat.S_IFDIR | 0o755, b"")


class NoMachineError(Exception):
    """This host cannot fetch or boot what a test needs; the message has the reason."""


# The cache: every entry is written to another name and then renamed, so that it is never
# incomplete.


def cache_folder() -> Path:
    folder = Path.home() / ".cache" / "vmcfg-tests" / "kvm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as stream:
        stream.write(content)
    os.replace(stream.name, path)


@contextlib.contextmanager
def cache_lock() -> Iterator[None]:
    with Path(cache_folder(), "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"vmcfg tests: {text}", file=sys.stderr, flush=True)


def refresh() -> bool:
    """Return whether newer packages are fetched."""
    return os.environ.get("VMCFG_KVM_REFRESH") == "1"


# Packages, with an APT configuration that does not change that of the system


@dataclass(frozen=True)
class Apt:
    """The packages of one suite for one architecture."""

    suite: str
    architecture: str

    def field(self, package: str, name: str) -> str:
        """Return one field of the newest version of the package; empty if there is none."""
        return self.fields([package], name)[0]

    def fields(self, packages: Sequence[str], name: str) -> list[str]:
        """Return the same field of the newest version of each package, in their order."""
        shown = output(
            "apt-cache", "show", "--no-all-versions", *packages, APT_CONFIG=self._configuration()
        )
        found: dict[str, str] = {}
        for paragraph in shown.split("\n\n"):
            lines = dict(
                line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"[^ ]+: ", line)
            )
            found[lines.get("Package", "")] = lines.get(name, "")
        return [found[package] for package in packages]

    def names(self, prefix: str) -> list[str]:
        """Return the names of all packages that begin with the prefix."""
        return output("apt-cache", "pkgnames", prefix, APT_CONFIG=self._configuration()).split()

    def packages(self, names: Iterable[str]) -> list[Tree]:
        """Return the contents of the packages, in order of the names of their files."""
        with tempfile.TemporaryDirectory(prefix="vmcfg-kvm-apt-") as folder:
            output(
                "apt-get",
                "download",
                "-qq",
                *names,
                folder=folder,
                APT_CONFIG=self._configuration(),
            )
            return [_deb(path) for path in sorted(Path(folder).glob("*.deb"))]

    def unpack_with_dependencies(self, package: str, root: Path, *others: str) -> None:
        """Unpack packages and all their dependencies in `root`, which is never incomplete."""
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=".partial-") as folder:
            archives, unpacked = Path(folder, "archives"), Path(folder, "root")
            Path(archives, "partial").mkdir(parents=True)
            install = (
                "apt-get",
                "install",
                "-y",
                "-qq",
                "--download-only",
                "--no-install-recommends",
                package,
                *others,
            )
            output(
                *install, "-o", f"Dir::Cache::Archives={archives}", APT_CONFIG=self._configuration()
            )
            for deb in archives.glob("*.deb"):
                output("dpkg-deb", "-x", str(deb), str(unpacked))
            unpacked.rename(root)

    def source(self, package: str, folder: Path) -> None:
        """Download the files of a source package, such as its archives, to a directory."""
        download = ("apt-get", "source", "-qq", "--download-only", "--tar-only", package)
        output(*download, folder=str(folder), APT_CONFIG=self._configuration())

    def _configuration(self) -> str:
        return _apt_configuration(self.suite, self.architecture)


SOURCES = "source"
"""In place of an architecture: the lists of source packages, too."""


@cache
def _apt_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a directory that is removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="vmcfg-kvm-apt-")


@cache
def _apt_configuration(suite: str, architecture: str) -> str:
    """Return the path of an APT configuration, with package lists that this process has fetched."""
    if not KEYRING.exists():
        raise NoMachineError(f"{KEYRING} is missing (apt-get install debian-archive-keyring)")
    folder = Path(_apt_folder().name, f"{suite}-{architecture}")
    for name in ("lists/partial", "cache/archives/partial"):
        Path(folder, name).mkdir(parents=True, exist_ok=True)
    arch = "arm64" if architecture == SOURCES else architecture
    source = f"[arch={arch} signed-by={KEYRING}] {_debian_mirror()} {suite} main\n"
    kinds = ("deb", "deb-src") if architecture == SOURCES else ("deb",)
    Path(folder, "sources.list").write_text("".join(f"{kind} {source}" for kind in kinds))
    settings = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::Etc::SourceList": f"{folder}/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": f"{folder}",
        "Dir::State::Lists": f"{folder}/lists",
        "Dir::State::Status": "/dev/null",
    }
    text = output("apt-config", "dump", "Acquire")  # proxies and similar settings
    text += "".join(f'{name} "{value}";\n' for name, value in settings.items())
    configuration = Path(folder, "apt.conf")
    configuration.write_text(text)
    started = time.monotonic()
    output(
        "apt-get",
        "update",
        "-qq",
        "-o",
        "APT::Update::Error-Mode=any",
        APT_CONFIG=str(configuration),
    )
    say(f"package lists of {suite} {architecture} fetched in {time.monotonic() - started:.1f} s")
    return str(configuration)


@cache
def _debian_mirror() -> str:
    """Return the Debian mirror that APT of this machine uses."""
    if not shutil.which("apt-get"):
        raise NoMachineError(
            "apt-get is missing: the kernels are fetched from the Debian mirror of APT"
        )
    targets = output(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"
    )
    for line in targets.splitlines():
        uri, release = line.split()
        if re.fullmatch(r"[a-z]+", release) and "debian" in uri:
            return uri
    raise NoMachineError("the APT sources of this machine have no Debian mirror with arm64 kernels")


def _deb(path: Path) -> Tree:
    content = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", path], check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return tree_of(archive)


def output(*command: str, folder: str | None = None, **environment: str) -> str:
    """Return the standard output of the command. Raises `NoMachineError` if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NoMachineError(f"{shlex.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def tree_of(archive: tarfile.TarFile) -> Tree:
    """Return the files of an archive of tar."""
    tree: Tree = {}
    for member in archive:
        path = member.name.removeprefix("./").lstrip("/")
        if not path or path == "." or LEFT_OUT.match(path):
            continue
        if member.isdir():
            tree[path] = FOLDER
        elif member.issym():
            tree[path] = (stat.S_IFLNK | 0o777, member.linkname.encode())
        else:
            content = archive.extractfile(member)
            tree[path] = (stat.S_IFREG | member.mode, content.read() if content else b"")
    return tree


# QEMU


def qemu_of(suite: str) -> Path:
    """Return the program of a private copy of QEMU of a suite, from the cache or from the mirror.

    Raises `NoMachineError`.
    """
    with cache_lock():
        folder = Path(cache_folder(), "qemu")
        note = Path(folder, f"{suite}.current")
        if note.exists() and not refresh():
            return _program_in(Path(folder, note.read_text()))
        apt = Apt(suite, output("dpkg", "--print-architecture").strip())
        # A colon separates search paths.
        root = Path(folder, apt.field(EMULATOR_PACKAGE, "Version").replace(":", "%3a"))
        if not root.exists():
            started = time.monotonic()
            apt.unpack_with_dependencies(EMULATOR_PACKAGE, root)
            say(f"{EMULATOR_PACKAGE} {root.name} fetched in {time.monotonic() - started:.1f} s")
        store(note, root.name.encode())
        return _program_in(root)


def _program_in(root: Path) -> Path:
    """Return a script that starts QEMU in `root` with the libraries there."""
    # Before trixie, some libraries are in /lib.
    folders = [str(path) for path in (*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-gnu"))]
    loader = next(path for each in folders for path in Path(each).glob("ld-linux-*.so.*"))
    command = [str(loader), "--library-path", ":".join(folders), f"{root}/usr/bin/{EMULATOR}"]
    command += ["-L", f"{root}/usr/share/qemu"]
    script = root / EMULATOR
    if not script.exists():
        store(script, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n'.encode())
        script.chmod(0o755)
    return script
