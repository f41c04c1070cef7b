"""Programs that use KVM in the guest under `vmcfg record`: QEMU of several Debian suites with its
libraries, `vmcfg try`, and a program in C; and the records of one boot.
"""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.kvm import debian, machine, oracle

HERE = Path(__file__).parent

SUITES = {"10.0": "trixie", "11.1": "sid"}
"""The suite of Debian that has QEMU of a series."""

WITH_OLDER = {"7.2": "bookworm"} | SUITES
"""The same, with QEMU of Debian 12, which makes its calls in another order."""

PACKAGE = "qemu-system-arm"
PROGRAM = "usr/bin/qemu-system-aarch64"
LIBRARIES = ("usr/lib/aarch64-linux-gnu", "lib/aarch64-linux-gnu")
"""Debian 12 has some libraries below /lib."""

LOADER = "ld-linux-aarch64.so.1"
FOLDER = "/qemu"

SERIES = ("6.1", "6.12", "7.2")
"""The series of the kernels on which QEMU is recorded."""

GICV2, GICV3 = "gicv2", "gicv3"


class Variant(NamedTuple):
    """A VM of QEMU: its options for -M and -cpu, the number of vCPUs, and the machine it needs."""

    machine: str = "virt,gic-version=3"
    cpu: str = "host,pmu=on"
    vcpus: int = 2
    more: tuple[str, ...] = ()
    host: str = GICV3


VARIANTS = {
    "smp-1": Variant(vcpus=1),
    "smp-2": Variant(),
    "pmu-off": Variant(cpu="host,pmu=off"),
    "its-off": Variant(machine="virt,gic-version=3,its=off"),
    "steal-time-off": Variant(cpu="host,pmu=on,kvm-steal-time=off"),
    "gicv2": Variant(machine="virt,gic-version=2", host=GICV2),
}
LARGE = {"smp-130": Variant(vcpus=130, more=("-S",))}
"""It runs for minutes; with -S, the vCPUs are set up and do not run."""

Job = dict[str, Any]


@cache
def unpacked(series: str) -> Path:
    """Return the directory with QEMU of a series for arm64 and everything that it requires."""
    suite = WITH_OLDER[series]
    folder = debian.cache_folder() / "monitors"
    with debian.cache_lock():
        note = folder / f"{suite}.json"
        if note.exists() and not debian.refresh():
            return folder / str(json.loads(note.read_text())["folder"])
        apt = debian.Apt(suite, "arm64")
        name = f"{PACKAGE}-{suite}-{apt.field(PACKAGE, 'Version').replace(':', '%3a')}"
        if not (folder / name).exists():
            apt.unpack_with_dependencies(PACKAGE, folder / name)
        debian.store(note, json.dumps({"folder": name}).encode())
    return folder / name


@cache
def qemu_files(series: str) -> dict[str, bytes]:
    """Return QEMU of a series and its libraries, by their paths in the guest."""
    root = unpacked(series)
    found: dict[str, bytes] = {}
    waiting = [root / PROGRAM, _library(root, LOADER)]
    while waiting:
        path = waiting.pop()
        found[f"{FOLDER}/{series}/{path.name}"] = path.read_bytes()
        new = [name for name in _needed(path) if f"{FOLDER}/{series}/{name}" not in found]
        waiting += [_library(root, name) for name in new]
    return found


def _library(root: Path, name: str) -> Path:
    """Return the path of a library of the packages in `root`."""
    return next(path for folder in LIBRARIES for path in (root / folder).rglob(name))


def _needed(path: Path) -> list[str]:
    """Return the names of the libraries that a program or a library requires."""
    dynamic = subprocess.run(
        ["readelf", "-d", path], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)


def qemu_job(series: str, name: str) -> Job:
    """Return the job that runs a VM of QEMU until it has set it up."""
    variant = (VARIANTS | LARGE)[name]
    folder = f"{FOLDER}/{series}"
    command = [f"{folder}/{LOADER}", "--library-path", folder, f"{folder}/{Path(PROGRAM).name}"]
    command += ["-accel", "kvm", "-M", variant.machine, "-cpu", variant.cpu]
    command += ["-smp", str(variant.vcpus), "-m", "1024", *variant.more, "-nic", "none"]
    command += ["-display", "none", "-serial", "none", "-monitor", "stdio"]
    return {
        "name": f"qemu-{series}-{name}",
        "command": command,
        "input": "quit\n",
        "timeout": 3000 if name in LARGE else 600,
    }


def records(
    series: str, jobs: list[Job], files: dict[str, bytes], *, host: str = GICV3, timeout: float
) -> dict[str, dict[str, Any]]:
    """Return the records of `jobs` on the kernel of a series, by their names."""
    carried = oracle.package() | files
    for suite in WITH_OLDER:
        if any(f"{FOLDER}/{suite}/" in job["command"][0] for job in jobs):
            carried |= qemu_files(suite)
    carried["/work/record_driver.py"] = (HERE / "record_driver.py").read_bytes()
    carried["/work/jobs.json"] = json.dumps(jobs).encode()
    result = machine.run(
        oracle.kernel(series),
        carried,
        ["python3", "record_driver.py"],
        gic_version=2 if host == GICV2 else 3,
        memory_mb=3072,
        timeout=timeout,
    )
    assert result.exit_code == 0, result.stderr.decode()
    answers: dict[str, dict[str, Any]] = json.loads(result.stdout)
    return answers
