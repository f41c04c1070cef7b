"""Real arm64 kernels with a working KVM, booted under QEMU on any Debian machine.

`kernel()` returns a kernel, and `run()` boots it, runs one command in it, and returns its
output. `serving()` boots it as a server. Everything comes from Debian packages, which are fetched
once: a second run does not require a network.

Environment: VMCFG_KVM_REFRESH=1 fetches newer packages from the mirror; XDG_CACHE_HOME moves the
cache.
"""

from __future__ import annotations

import contextlib
import fcntl
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
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
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
LEFT_OUT = re.compile(r"usr/share/(doc|man|info|locale|lintian|bug|doc-base)/")
NESTED_SUITE = "trixie"
FIRST_QEMU_WITH_NESTED = 9
CONSOLE_TAIL = 4000
RESULT_DISK_BYTES = 1 << 30  # sparse

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


class NoMachineError(Exception):
    """This host cannot boot the kernels; the message has the reason."""


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
        return GuestError(f"{problem}; the console ends:\n{tail(self.console)}")


def headers(kernel: Kernel) -> tuple[Path, Path]:
    """Return the directories of the kernel headers for programs on arm64, which must be searched
    before those of a compiler.

    Raises `NoMachineError` if they cannot be fetched.
    """
    root = Path(cache_folder(), "headers", kernel.version)
    with cache_lock():
        if not root.exists():
            Apt(kernel.suite, "arm64").unpack_with_dependencies("linux-libc-dev", root)
    return root / "usr/include", root / "usr/include/aarch64-linux-gnu"


def run(
    kernel: Kernel,
    files: Mapping[str, bytes],
    command: Sequence[str],
    *,
    gic_version: int = 3,
    cpu: str = "max,pauth-impdef=on",
    smp: int = 2,
    memory_mb: int = 1024,
    append: str = "",
    nested: bool = False,
    timeout: float = 300,
) -> Result:
    """Return the result of a command on that kernel, as root in /work, with the files at their
    absolute paths.

    One CPU (`smp`) takes much less time than two, which wait for each other in emulation.
    `nested` requires EL2 inside guests of KVM (KVM_CAP_ARM_EL2), and therefore a newer QEMU than
    that of Debian 12.
    """
    if nested:
        append = f"kvm-arm.mode=nested {append}"
    # Only this CPU has memory tags (MTE).
    tags = ",mte=on" if cpu.startswith("max") else ""
    emulated = Emulated(
        _nested_qemu() if nested else _qemu(),
        f"virt,virtualization=on,gic-version={gic_version}{tags}",
        cpu,
        smp,
        memory_mb,
        append,
    )
    return boot(kernel, _base_initrd(kernel), files, command, emulated, timeout)


# Booting


class Emulated(NamedTuple):
    """A machine that QEMU emulates: its options, and words for the command line of the kernel."""

    qemu: Sequence[str]
    machine: str = "virt,virtualization=on,gic-version=3,mte=on"
    cpu: str = "max,pauth-impdef=on"
    smp: int = 1
    memory_mb: int = 1024
    append: str = ""

    def options(self) -> list[str]:
        """Return the command line of QEMU as far as it is about this."""
        size = ["-smp", str(self.smp), "-m", str(self.memory_mb)]
        return [*self.qemu, "-M", self.machine, "-cpu", self.cpu, *size]


@contextlib.contextmanager
def serving(
    kernel: Kernel, files: Mapping[str, bytes], command: Sequence[str], port: int
) -> Iterator[Serving]:
    """Boot a kernel that executes a command as `run` does, and end it with the context.

    Connections to `port` of this machine, from itself only, are those to port 22 of the guest,
    which has no other network.
    """
    with tempfile.TemporaryDirectory(prefix="vmcfg-kvm-") as folder:
        arguments = _prepare(
            Path(folder),
            kernel,
            _base_initrd(kernel),
            files,
            command,
            Emulated(_qemu()),
            network=(
                *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
                *("-device", "virtio-net-pci,netdev=net,romfile="),
            ),
        )
        console = Path(folder, "console")
        with console.open("wb") as stream:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        before = _cpu_of_children()
        try:
            yield Serving(process, console)
        finally:
            process.kill()
            process.wait()
            BOOTS[kernel.series].append(_cpu_of_children() - before)


def boot(
    kernel: Kernel,
    base_initrd: Path,
    files: Mapping[str, bytes],
    command: Sequence[str],
    emulated: Emulated,
    timeout: float,
) -> Result:
    """Return the result of a command on a kernel in that machine."""
    with tempfile.TemporaryDirectory(prefix="vmcfg-kvm-") as folder:
        arguments = _prepare(
            Path(folder),
            kernel,
            base_initrd,
            files,
            command,
            emulated,
            network=("-nic", "none"),
        )
        disk, console = Path(folder, "disk"), Path(folder, "console")
        started = time.monotonic()
        before = _cpu_of_children()
        with console.open("wb") as stream:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
            try:
                status = process.wait(timeout)
                ending = f"QEMU ended with status {status} before the command did"
            except subprocess.TimeoutExpired:
                disk.write_bytes(b"")  # its content might be incomplete
                ending = f"the guest did not end within {timeout:g} s"
            finally:
                process.kill()
                process.wait()
        seconds = time.monotonic() - started
        BOOTS[kernel.series].append(_cpu_of_children() - before)
        try:
            with tarfile.open(disk, "r:") as archive:
                exit_code, stdout, stderr = (
                    _member(archive, name) for name in ("exit_code", "stdout", "stderr")
                )
        except (tarfile.TarError, KeyError):
            raise GuestError(
                f"kernel {kernel.series}: {ending}; its console ends:\n{tail(console)}"
            ) from None
    return Result(int(exit_code), stdout, stderr, seconds)


def tail(console: Path) -> str:
    """Return the last lines of a console."""
    return console.read_bytes()[-CONSOLE_TAIL:].decode(errors="replace")


def _prepare(
    folder: Path,
    kernel: Kernel,
    base_initrd: Path,
    files: Mapping[str, bytes],
    command: Sequence[str],
    emulated: Emulated,
    network: Sequence[str],
) -> list[str]:
    """Write the initrd and the disk of a guest to `folder`. Return the command line of QEMU."""
    tree: Tree = {"work": FOLDER, "command": (stat.S_IFREG | 0o755, shlex.join(command).encode())}
    tree |= {path.lstrip("/"): (stat.S_IFREG | 0o755, content) for path, content in files.items()}
    initrd, disk = Path(folder, "initrd"), Path(folder, "disk")
    shutil.copyfile(base_initrd, initrd)
    with initrd.open("ab") as stream:
        stream.write(_cpio(tree))
    with disk.open("wb") as stream:
        stream.truncate(RESULT_DISK_BYTES)
    arguments = emulated.options()
    arguments += ["-display", "none", "-monitor", "none", "-serial", "stdio"]
    arguments += [*network, "-no-reboot"]
    arguments += ["-drive", f"file={disk},if=none,id=results,format=raw,cache=unsafe"]
    arguments += ["-device", "nvme,serial=results,drive=results"]
    arguments += ["-kernel", str(kernel.image), "-initrd", str(initrd)]
    append = f"console=ttyAMA0 quiet loglevel=1 panic=-1 {emulated.append}".rstrip()
    return [*arguments, "-append", append]


def _cpu_of_children() -> float:
    """Return the CPU time of all processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(f"./{name}")
    assert stream is not None
    return stream.read()


# Archives that the kernel unpacks

Tree = dict[
    str, tuple[int, bytes]
]  # path without leading slash -> mode with file type, content (of a link: its target)
FOLDER = (stat.S_IFDIR | 0o755, b"")


def _cpio(tree: Tree) -> bytes:
    """Return the tree as an uncompressed newc archive: unpacking is slow in emulation."""
    folders = {str(parent) for path in tree for parent in Path(path).parents} - {"."}
    whole = dict.fromkeys(folders, FOLDER) | tree
    archive = io.BytesIO()
    for path, (mode, content) in [*sorted(whole.items()), ("TRAILER!!!", (0, b""))]:
        name = path.encode() + b"\0"
        fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        archive.write(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        archive.write(bytes(-archive.tell() % 4))
        archive.write(content)
        archive.write(bytes(-archive.tell() % 4))
    return archive.getvalue()


def _tree(archive: tarfile.TarFile) -> Tree:
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


# The cache: every entry is written to another name and then renamed, so that it is never
# incomplete.


def cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vmcfg-tests", "kvm")
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


def _say(text: str) -> None:
    print(f"vmcfg tests: {text}", file=sys.stderr, flush=True)


# Content of the cache


@cache
def kernel(series: str) -> Kernel:
    """Return the newest cloud kernel of that series that Debian has for arm64."""
    with cache_lock():
        note = Path(cache_folder(), "kernels", f"{series}.json")
        if note.exists() and not refresh():
            found = json.loads(note.read_text())
        else:
            found = _fetch_kernel(series)
            store(note, json.dumps(found).encode())
    image = Path(cache_folder(), "kernels", found["image"])
    return Kernel(series, found["package"], found["version"], KERNELS[series], image)


def _fetch_kernel(series: str) -> dict[str, str]:
    apt = Apt(KERNELS[series], "arm64")
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
    path = Path(cache_folder(), "kernels", image)
    if not path.exists():
        started = time.monotonic()
        (deb,) = apt.packages([package])
        for name, (mode, content) in deb.items():
            if re.fullmatch(
                r"(boot/vmlinuz-.*|usr/lib/modules/[^/]*/vmlinuz)", name
            ) and stat.S_ISREG(mode):
                store(path, content)
        if not path.exists():
            raise NoMachineError(f"{package} {version} has no kernel image")
        _say(f"kernel {series} ({package} {version}) fetched in {time.monotonic() - started:.1f} s")
    return {"package": package, "version": version, "image": image}


@cache
def _base_initrd(kernel: Kernel) -> Path:
    """Return Python of Debian with the modules that vmcfg imports, as an uncompressed archive."""
    qemu = _qemu()
    with cache_lock():
        folder = Path(cache_folder(), "base")
        recipe = hashlib.sha256(
            repr((BASE_SUITE, BASE_PACKAGES, LEFT_OUT.pattern, INIT, WARM_UP)).encode()
        ).hexdigest()
        note = Path(folder, f"{recipe[:16]}.current")
        if note.exists() and not refresh():
            return Path(folder, note.read_text())
        apt = Apt(BASE_SUITE, "arm64")
        versions = apt.fields(BASE_PACKAGES, "Version")
        archive = Path(
            folder,
            f"{hashlib.sha256(' '.join([recipe, *versions]).encode()).hexdigest()[:16]}.cpio",
        )
        if not archive.exists():
            _build_base(archive, apt, kernel, qemu)
        store(note, archive.name.encode())
    return archive


def _build_base(archive: Path, apt: Apt, kernel: Kernel, qemu: Sequence[str]) -> None:
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
        plain.write(_cpio(tree))
        plain.flush()
        compiled = boot(
            kernel,
            Path(plain.name),
            {"/work/warm-up.py": WARM_UP},
            ["python3", "/work/warm-up.py"],
            Emulated(qemu, "virt,gic-version=3", smp=2),
            timeout=600,
        )
    if compiled.exit_code != 0:
        raise NoMachineError(
            f"Python does not work in the guest:\n{compiled.stderr.decode(errors='replace')}"
        )
    with tarfile.open(fileobj=io.BytesIO(compiled.stdout)) as modules:
        tree |= _tree(modules)
    store(archive, _cpio(tree))
    _say(
        f"root of {BASE_SUITE}: fetched in {fetched - started:.1f} s, "
        f"{len(compiled.stdout) >> 10} KiB of modules compiled in {compiled.seconds:.1f} s"
    )


def refresh() -> bool:
    return os.environ.get("VMCFG_KVM_REFRESH") == "1"


# QEMU

EMULATOR = "qemu-system-aarch64"
EMULATOR_PACKAGE = "qemu-system-arm"


@cache
def _qemu() -> tuple[str, ...]:
    """Return QEMU of the system; if it is missing and this process is root, install it."""
    if not shutil.which(EMULATOR):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise NoMachineError(
                f"{EMULATOR} is missing, and only root can install it: apt-get install "
                f"{EMULATOR_PACKAGE}"
            )
        started = time.monotonic()
        install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", EMULATOR_PACKAGE)
        with cache_lock():
            try:
                _output(*install, DEBIAN_FRONTEND="noninteractive")
            except NoMachineError:  # without package lists, or with old ones
                _output("apt-get", "update", "-qq")
                _output(*install, DEBIAN_FRONTEND="noninteractive")
        _say(f"{EMULATOR_PACKAGE} installed in {time.monotonic() - started:.1f} s")
    return (EMULATOR,)


@cache
def _nested_qemu() -> tuple[str, ...]:
    """Return a QEMU that emulates nested virtualization: of the system, or a private copy."""
    if shutil.which(EMULATOR):
        major = re.search(r"version (\d+)", _output(EMULATOR, "--version"))
        if major and int(major[1]) >= FIRST_QEMU_WITH_NESTED:
            return (EMULATOR,)
    with cache_lock():
        folder = Path(cache_folder(), "qemu")
        note = Path(folder, "current")
        if note.exists() and not refresh():
            root = Path(folder, note.read_text())
        else:
            apt = Apt(NESTED_SUITE, _output("dpkg", "--print-architecture").strip())
            root = Path(
                folder, apt.field(EMULATOR_PACKAGE, "Version").replace(":", "%3a")
            )  # a colon separates search paths
            if not root.exists():
                started = time.monotonic()
                apt.unpack_with_dependencies(EMULATOR_PACKAGE, root)
                _say(
                    f"private {EMULATOR_PACKAGE} {root.name} fetched in "
                    f"{time.monotonic() - started:.1f} s"
                )
            store(note, root.name.encode())
    loader = next(Path(root, "usr/lib").glob("*/ld-linux-*.so.*"))
    data = ("-L", f"{root}/usr/share/qemu")
    return (str(loader), "--library-path", str(loader.parent), f"{root}/usr/bin/{EMULATOR}", *data)


# Packages of Debian, with an APT configuration that does not change that of the system


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
        shown = _output(
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
        return _output("apt-cache", "pkgnames", prefix, APT_CONFIG=self._configuration()).split()

    def packages(self, names: Iterable[str]) -> list[Tree]:
        """Return the contents of the packages, in order of the names of their files."""
        with tempfile.TemporaryDirectory(prefix="vmcfg-kvm-apt-") as folder:
            _output(
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
            _output(
                *install, "-o", f"Dir::Cache::Archives={archives}", APT_CONFIG=self._configuration()
            )
            for deb in archives.glob("*.deb"):
                _output("dpkg-deb", "-x", str(deb), str(unpacked))
            unpacked.rename(root)

    def source(self, package: str, folder: Path) -> None:
        """Download the files of a source package, such as its archives, to a directory."""
        download = ("apt-get", "source", "-qq", "--download-only", "--tar-only", package)
        _output(*download, folder=str(folder), APT_CONFIG=self._configuration())

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
    text = _output("apt-config", "dump", "Acquire")  # proxies and similar settings
    text += "".join(f'{name} "{value}";\n' for name, value in settings.items())
    configuration = Path(folder, "apt.conf")
    configuration.write_text(text)
    started = time.monotonic()
    _output(
        "apt-get",
        "update",
        "-qq",
        "-o",
        "APT::Update::Error-Mode=any",
        APT_CONFIG=str(configuration),
    )
    _say(f"package lists of {suite} {architecture} fetched in {time.monotonic() - started:.1f} s")
    return str(configuration)


@cache
def _debian_mirror() -> str:
    """Return the Debian mirror that APT of this machine uses."""
    if not shutil.which("apt-get"):
        raise NoMachineError(
            "apt-get is missing: the kernels are fetched from the Debian mirror of APT"
        )
    targets = _output(
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
        return _tree(archive)


def _output(*command: str, folder: str | None = None, **environment: str) -> str:
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
