"""Real arm64 kernels with a working KVM, booted under QEMU on any Debian machine.

`kernel()` returns a kernel, and `run()` boots it, runs one command in it, and returns its
output. `serving()` boots it as a server. The machine is that of `vmcfg try --image`, with Python of
Debian as the root file system.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shlex
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.kvm import debian
from tests.kvm.debian import FOLDER, NoMachineError, Tree, output
from vmcfg.trial.emulated import CPU, Emulated, console_of
from vmcfg.trial.initrd import Entry, archive

KERNELS = {
    "6.1": "bookworm",
    "6.12": "trixie",
    "6.16": "trixie-backports",
    "6.17": "trixie-backports",
    "6.18": "trixie-backports",
    "6.19": "trixie-backports",
    "7.0": "trixie-backports",
    "7.1": "trixie-backports",
    "7.2": "trixie-backports",
    "7.3": "trixie-backports",
}
"""The suite of Debian that has the cloud kernel of each series, the oldest first."""
BASE_SUITE = "bookworm"
PYTHON_TAG = "cpython-311"
"""The tag of compiled modules for the Python of that suite."""
BASE_PACKAGES = (
    "busybox-static",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libuuid1",
    "libyaml-0-2",
    "python3-click",
    "python3-markdown-it",
    "python3-mdurl",
    "python3-pygments",
    "python3-rich",
    "python3-yaml",
    "python3.11-minimal",
    "zlib1g",
)
NESTED_SUITE = "trixie"
FIRST_QEMU_WITH_NESTED = 9
NESTED = "kvm-arm.mode=nested"
"""The kernel parameter for EL2 inside guests."""
CONSOLE_TAIL = 4000
RESULT_DISK_BYTES = 1 << 30  # sparse

WITHOUT_LPA2 = f"{CPU},lpa2=off"
"""The CPU of `vmcfg try --image` without addresses of 52 bits: with them, the emulation of Linux
6.12 and later takes a quarter longer, and a program of its kselftests 1.6 s.
"""

INIT = Path(__file__).with_name("init.sh").read_bytes()

# Runs once in the guest: compiles the modules that its Python programs import, so that later boots
# do not compile them again.
WARM_UP = b"""\
import importlib, io, pkgutil, py_compile, sys, tarfile
for name in ("argparse", "click.testing", "click.shell_completion", "concurrent.futures",\
 "csv", "ctypes.util",
             "difflib", "fcntl", "gettext", "hashlib", "importlib.metadata", "json",\
 "logging", "mmap", "pathlib",
             "platform", "resource", "rich.console", "rich.markdown", "rich.markup",\
 "rich.padding", "rich.panel",
             "rich.progress", "rich.syntax", "rich.table", "rich.text", "rich.traceback",\
 "rich.tree", "shlex",
             "subprocess", "tempfile", "tomllib", "unicodedata", "unittest.mock", "uuid",\
 "yaml", "zipfile"):
    importlib.import_module(name)
import click, rich
for package in (click, rich):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name not in ("rich.__main__", "rich.jupyter") and "_win" not in module.name:
            importlib.import_module(module.name)
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None) or ""
        if source.startswith("/usr/lib/") and source.endswith(".py"):
            archive.add(py_compile.compile(source, doraise=True, invalidation_mode=mode))
"""


BOOTS: dict[str, list[float]] = defaultdict(list)
"""The CPU time of each boot in seconds, by the series of the kernel."""


class GuestError(Exception):
    """The guest did not finish its command; the message ends with the last lines of the console."""


@dataclass(frozen=True)
class Kernel:
    """A Debian kernel image for arm64 in the cache."""

    series: str  # "6.1"
    package: str
    version: str  # version of the package: "6.1.176-1"
    suite: str
    image: Path

    def __str__(self) -> str:
        return self.series


@dataclass(frozen=True)
class Result:
    """The results of a command in the guest."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float  # from the start of QEMU to its end


@dataclass(frozen=True)
class Serving:
    """A guest that serves its port 22, and the file with its console."""

    process: subprocess.Popen[bytes]
    console: Path

    def explain(self, problem: str) -> GuestError:
        """Return the error with a problem and the last lines of the console."""
        return GuestError(f"{problem}; {_end_of(self.console.read_bytes())}")


def headers(kernel: Kernel) -> tuple[Path, Path]:
    """Return the directories of the kernel headers for programs on arm64, which must be searched
    before those of a compiler.

    Raises `NoMachineError` if they cannot be fetched.
    """
    root = Path(debian.cache_folder(), "headers", kernel.version)
    with debian.cache_lock():
        if not root.exists():
            debian.Apt(kernel.suite, "arm64").unpack_with_dependencies("linux-libc-dev", root)
    return root / "usr/include", root / "usr/include/aarch64-linux-gnu"


def run(
    kernel: Kernel,
    files: Mapping[str, bytes],
    command: Sequence[str],
    *,
    gic_version: int = 3,
    cpu: str = WITHOUT_LPA2,
    smp: int = 1,
    memory_mb: int = 1024,
    nested: bool = False,
    timeout: float = 300,
) -> Result:
    """Return the result of a command on that kernel, as root in /work, with the files at their
    absolute paths.

    `nested` requires EL2 inside guests of KVM (KVM_CAP_ARM_EL2), and therefore a newer QEMU than
    that of Debian 12.
    """
    emulated = Emulated(f"gic-version={gic_version}", cpu, NESTED * nested, smp, memory_mb)
    program = nested_qemu() if nested else qemu()
    return boot(kernel, base_initrd(kernel), files, command, program, emulated, timeout)


# Booting


@contextlib.contextmanager
def serving(
    kernel: Kernel, files: Mapping[str, bytes], command: Sequence[str], port: int
) -> Iterator[Serving]:
    """Boot a kernel that executes a command as `run` does, and end it with the context.

    Connections to `port` of this machine, from itself only, are those to port 22 of the guest,
    which has no other network.
    """
    with tempfile.TemporaryDirectory(prefix="vmcfg-kvm-") as folder:
        network = (
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
        )
        initrd, disk = _prepare(Path(folder), base_initrd(kernel), files, command)
        arguments = Emulated().arguments(kernel.image, initrd, network)
        console = Path(folder, "console")
        with console.open("wb") as stream:
            process = subprocess.Popen(
                [qemu(), *arguments, *_results_in(disk)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield Serving(process, console)
        finally:
            process.kill()
            # Meanwhile, other guests have come and gone: only the time of this one is added.
            _, process.returncode, usage = os.wait4(process.pid, 0)
            BOOTS[kernel.series].append(usage.ru_utime + usage.ru_stime)


def boot(
    kernel: Kernel,
    base: Path,
    files: Mapping[str, bytes],
    command: Sequence[str],
    program: Path,
    emulated: Emulated,
    timeout: float,
    options: Sequence[str] = (),
) -> Result:
    """Return the result of a command on a kernel in a machine of QEMU, which is `program`, with
    more `options`.
    """
    with tempfile.TemporaryDirectory(prefix="vmcfg-kvm-") as folder:
        initrd, disk = _prepare(Path(folder), base, files, command)
        arguments = emulated.arguments(kernel.image, initrd)
        started = time.monotonic()
        with counted(kernel.series):
            whole = [str(program), *arguments, *_results_in(disk), *options]
            console, ending = console_of(whole, timeout, None)
        seconds = time.monotonic() - started
        try:
            with tarfile.open(disk, "r:") as results:
                exit_code, stdout, stderr = (
                    _member(results, name) for name in ("exit_code", "stdout", "stderr")
                )
        except (tarfile.TarError, KeyError):
            raise GuestError(f"kernel {kernel.series}: {ending}; {_end_of(console)}") from None
    return Result(int(exit_code), stdout, stderr, seconds)


def _end_of(console: bytes) -> str:
    return f"its console ends:\n{console[-CONSOLE_TAIL:].decode(errors='replace')}"


def _prepare(
    folder: Path, base: Path, files: Mapping[str, bytes], command: Sequence[str]
) -> tuple[Path, Path]:
    """Write the initrd of a guest and the disk for its results to `folder`. Return their paths."""
    tree: Tree = {"work": FOLDER, "command": (stat.S_IFREG | 0o755, shlex.join(command).encode())}
    tree |= {path.lstrip("/"): (stat.S_IFREG | 0o755, content) for path, content in files.items()}
    initrd, disk = Path(folder, "initrd"), Path(folder, "disk")
    shutil.copyfile(base, initrd)
    with initrd.open("ab") as stream:
        stream.write(archive_of(tree))
    with disk.open("wb") as stream:
        stream.truncate(RESULT_DISK_BYTES)
    return initrd, disk


def archive_of(tree: Tree) -> bytes:
    """Return the initrd with these files."""
    folders = {str(parent) for path in tree for parent in Path(path).parents} - {"."}
    whole = dict.fromkeys(folders, FOLDER) | tree
    return archive(Entry(path, mode, content) for path, (mode, content) in sorted(whole.items()))


def _results_in(disk: Path) -> list[str]:
    """Return the arguments of QEMU for the disk to which the guest writes its results."""
    drive = f"file={disk},if=none,id=results,format=raw,cache=unsafe"
    return ["-drive", drive, "-device", "nvme,serial=results,drive=results"]


@contextlib.contextmanager
def counted(series: str) -> Iterator[None]:
    """Count what happens in the context as a boot of the kernel of a series."""
    before = _cpu_of_children()
    try:
        yield
    finally:
        BOOTS[series].append(_cpu_of_children() - before)


def _cpu_of_children() -> float:
    """Return the CPU time of all processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(f"./{name}")
    assert stream is not None
    return stream.read()


# Content of the cache


@cache
def kernel(series: str) -> Kernel:
    """Return the newest cloud kernel of that series that Debian has for arm64."""
    with debian.cache_lock():
        note = Path(debian.cache_folder(), "kernels", f"{series}.json")
        if note.exists() and not debian.refresh():
            found = json.loads(note.read_text())
        else:
            found = _fetch_kernel(series)
            debian.store(note, json.dumps(found).encode())
    image = Path(debian.cache_folder(), "kernels", found["image"])
    return Kernel(series, found["package"], found["version"], KERNELS[series], image)


def _fetch_kernel(series: str) -> dict[str, str]:
    apt = debian.Apt(KERNELS[series], "arm64")
    # From 6.19 on, the package linux-image has no image, but requires linux-binary, which has it.
    for kind in ("binary", "image"):
        name = rf"linux-{kind}-{re.escape(series)}\.[0-9].*-cloud-arm64"
        packages = [each for each in apt.names("linux-") if re.fullmatch(name, each)]
        if packages:
            break
    else:
        raise NoMachineError(f"{KERNELS[series]} has no cloud kernel {series} for arm64")
    versions = dict(zip(packages, apt.fields(packages, "Version"), strict=True))
    package = max(packages, key=lambda each: [int(n) for n in re.findall(r"\d+", versions[each])])
    version = versions[package]
    image = f"{package}_{version}"
    path = Path(debian.cache_folder(), "kernels", image)
    if not path.exists():
        started = time.monotonic()
        (deb,) = apt.packages([package])
        for name, (mode, content) in deb.items():
            if re.fullmatch(
                r"(boot/vmlinuz-.*|usr/lib/modules/[^/]*/vmlinuz)", name
            ) and stat.S_ISREG(mode):
                debian.store(path, content)
        if not path.exists():
            raise NoMachineError(f"{package} {version} has no kernel image")
        debian.say(
            f"kernel {series} ({package} {version}) fetched in {time.monotonic() - started:.1f} s"
        )
    return {"package": package, "version": version, "image": image}


@cache
def base_initrd(kernel: Kernel) -> Path:
    """Return Python of Debian with the modules that vmcfg imports, as an uncompressed archive."""
    with debian.cache_lock():
        folder = Path(debian.cache_folder(), "base")
        recipe = hashlib.sha256(
            repr((BASE_SUITE, BASE_PACKAGES, debian.LEFT_OUT.pattern, INIT, WARM_UP)).encode()
        ).hexdigest()
        note = Path(folder, f"{recipe[:16]}.current")
        if note.exists() and not debian.refresh():
            return Path(folder, note.read_text())
        apt = debian.Apt(BASE_SUITE, "arm64")
        versions = apt.fields(BASE_PACKAGES, "Version")
        base = Path(
            folder,
            f"{hashlib.sha256(' '.join([recipe, *versions]).encode()).hexdigest()[:16]}.cpio",
        )
        if not base.exists():
            _build_base(base, apt, kernel)
        debian.store(note, base.name.encode())
    return base


def _build_base(base: Path, apt: debian.Apt, kernel: Kernel) -> None:
    started = time.monotonic()
    tree: Tree = {
        "init": (stat.S_IFREG | 0o755, INIT),
        "usr/bin/python3": (stat.S_IFLNK | 0o777, b"python3.11"),
        **dict.fromkeys(("dev", "proc", "sys", "tmp", "root"), FOLDER),
    }
    for contents in apt.packages(BASE_PACKAGES):
        tree |= contents
    fetched = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="vmcfg-kvm-base-") as plain:
        plain.write(archive_of(tree))
        plain.flush()
        compiled = boot(
            kernel,
            Path(plain.name),
            {"/work/warm-up.py": WARM_UP},
            ["python3", "/work/warm-up.py"],
            qemu(),
            Emulated("virtualization=off", cpus=2),
            timeout=600,
        )
    if compiled.exit_code != 0:
        raise NoMachineError(
            f"Python does not work in the guest:\n{compiled.stderr.decode(errors='replace')}"
        )
    with tarfile.open(fileobj=io.BytesIO(compiled.stdout)) as modules:
        tree |= debian.tree_of(modules)
    debian.store(base, archive_of(tree))
    debian.say(
        f"root of {BASE_SUITE}: fetched in {fetched - started:.1f} s, "
        f"{len(compiled.stdout) >> 10} KiB of modules compiled in {compiled.seconds:.1f} s"
    )


# QEMU


@cache
def qemu() -> Path:
    """Return QEMU of the system; if it is missing and this process is root, install it."""
    found = shutil.which(debian.EMULATOR)
    if found is None:
        _installqemu()
        found = shutil.which(debian.EMULATOR)
        assert found is not None
    return Path(found)


def _installqemu() -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoMachineError(
            f"{debian.EMULATOR} is missing, and only root can install it: apt-get install "
            f"{debian.EMULATOR_PACKAGE}"
        )
    started = time.monotonic()
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
    with debian.cache_lock():
        try:
            output(*install, debian.EMULATOR_PACKAGE, DEBIAN_FRONTEND="noninteractive")
        except NoMachineError:  # without package lists, or with old ones
            output("apt-get", "update", "-qq")
            output(*install, debian.EMULATOR_PACKAGE, DEBIAN_FRONTEND="noninteractive")
    debian.say(f"{debian.EMULATOR_PACKAGE} installed in {time.monotonic() - started:.1f} s")


@cache
def nested_qemu() -> Path:
    """Return a QEMU that emulates nested virtualization: of the system, or a private copy."""
    if shutil.which(debian.EMULATOR):
        major = re.search(r"version (\d+)", output(debian.EMULATOR, "--version"))
        if major and int(major[1]) >= FIRST_QEMU_WITH_NESTED:
            return qemu()
    return debian.qemu_of(NESTED_SUITE)
