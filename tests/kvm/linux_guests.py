"""A Linux guest with an emitted tree in a VM of an emitted plan: what it is given, and what it
prints.

The kernel is that of the host. `guest_init.c` is its only program.
"""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.kvm import guests, independent, machine, oracle
from vmcfg.checking.check import check
from vmcfg.guest.tree_source import source

HERE = Path(__file__).parent
MEMORY = 0x40000000
KERNEL, TREE, INITRD = MEMORY + (2 << 20), MEMORY + (128 << 20), MEMORY + (130 << 20)
UART = 0x50001000
"""As in run_guest.c. It is the console of a kernel that panics; nothing else is printed on it."""

SECONDS = 120.0
BOOTARGS = "console=ttyS0 loglevel=4 panic=-1 cryptomgr.notests"

LEVEL = 4
"""The level of messages of the interrupt controller, as in a device tree."""

COMPLAINTS = re.compile(r"<[0-4]>.*(pmu|perf|gic|irq|timer)", re.IGNORECASE)
"""Warnings and errors in the log of the kernel about the PMU, the GIC, or the timers."""

SLOW = re.compile(r"interrupt took [0-9]+ ns|interrupt took too long")
"""Messages of the kernel that only emulation causes."""


class Linux(NamedTuple):
    """A description of a VM for Linux; `pmu` is the key with the interrupts of the PMUs."""

    pmu: str

    def text(self, version: tuple[int, int]) -> bytes:
        """Return the description: older kernels cannot set MPIDRs, or lose PPIs of other ids."""
        mpidrs = ("0.0.200.1", "0.0.0.0", "0.0.3.0") if version >= (6, 10) else ("0.0.0.0-2",)
        vcpus = ", ".join(f"{{mpidr: {each}}}" for each in mpidrs)
        return (
            'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\n'
            f"memory: [{{base: {MEMORY:#x}, size: 256MiB}}]\n"
            f"gic: {{version: 3, distributor: {guests.DISTRIBUTOR:#x},"
            f" redistributors: [{{base: {guests.REDISTRIBUTORS:#x}}}]}}\n"
            f"vcpus: [{vcpus}]\npmu: {{{self.pmu}}}\n"
        ).encode()

    def described(self, version: tuple[int, int]) -> dict[int, int]:
        """Return the PMU interrupt of each vCPU, by its affinity."""
        vcpus = independent.vcpus(yaml.safe_load(self.text(version)))
        return {independent.register(mpidr) & 0xFFFFFF: irq for _, mpidr, irq, _ in vcpus if irq}

    def job(self, version: tuple[int, int]) -> guests.Job:
        """Return how it is run: only the boot vCPU starts, and starts the others with PSCI."""
        vcpus = independent.vcpus(yaml.safe_load(self.text(version)))
        (boot,) = (vcpu for vcpu, _, _, is_boot in vcpus if is_boot)
        loads = (("Image", KERNEL), (f"{self.name()}.dtb", TREE), ("initrd", INITRD))
        starts = f"vcpu:{boot} {KERNEL:#x} {TREE:#x}\n"
        return guests.Job(guests.plan_of(self.text(version)), starts, loads, SECONDS)

    def name(self) -> str:
        """Return a name for its files."""
        return re.sub(r"[^a-z0-9]+", "-", self.pmu)


@cache
def initrd(compiler: str, folder: Path) -> bytes:
    """Return the archive with the only program of the guest, compiled in `folder`."""
    path = folder / "init"
    strict = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-O1", "-static", "-s")
    subprocess.run([compiler, *strict, "-o", path, HERE / "guest_init.c"], check=True)
    return machine.archive_of({"init": (stat.S_IFREG | 0o755, path.read_bytes())})


def tree(text: bytes, archive: bytes) -> str:
    """Return the source of the device tree: the emitted one, and what a VMM adds to it."""
    described = check(text, "vm.yaml").machine
    assert described is not None
    return source(described) + (
        "/ {\n"
        f'chosen {{ bootargs = "{BOOTARGS}"; stdout-path = "/serial@{UART:x}";\n'
        f"linux,initrd-start = <0 {INITRD:#x}>;"
        f" linux,initrd-end = <0 {INITRD + len(archive):#x}>; }};\n"
        f'serial@{UART:x} {{ compatible = "ns16550a"; reg = <0 {UART:#x} 0 0x100>;'
        f" clock-frequency = <1843200>; interrupts = <0 100 {LEVEL}>; }};\n"
        "};\n"
    )


def files(
    series: str, linux: Mapping[str, Linux], compiler: str, dtc: str, folder: Path
) -> dict[str, bytes]:
    """Return the files of all guests on the kernel of a series."""
    archive = initrd(compiler, folder)
    found = {
        "/work/Image": oracle.kernel(series).image.read_bytes(),
        "/work/initrd": archive,
    }
    for each in linux.values():
        text = tree(each.text(oracle.version(series)), archive)
        command = [dtc, "-I", "dts", "-O", "dtb"]
        blob = subprocess.run(command, input=text.encode(), check=True, capture_output=True)
        found[f"/work/{each.name()}.dtb"] = blob.stdout
    return found


class Printed(NamedTuple):
    """What a Linux guest printed: whether each CPU counted cycles, the affinity of each CPU, the
    counts of each interrupt by CPU, and the log of its kernel.
    """

    counted: dict[int, bool]
    affinities: dict[int, int]
    interrupts: list[tuple[str, int, list[int]]]
    log: str

    def complaints(self) -> list[str]:
        """Return the lines of the log that complain about the PMU, the GIC, or the timers."""
        lines = self.log.splitlines()
        return [line for line in lines if COMPLAINTS.match(line) and not SLOW.search(line)]

    def taken(self, name: str) -> dict[int, tuple[int, ...]]:
        """Return the INTIDs that each CPU took for a driver, by its affinity."""
        return {
            affinity: tuple(
                intid for driver, intid, counts in self.interrupts if driver == name and counts[cpu]
            )
            for cpu, affinity in self.affinities.items()
        }


def printed(output: str) -> Printed:
    """Read the output of guest_init.c."""
    counted = re.findall(r"(?m)^cpu (\d+): (counted|not counted)$", output)
    boot = re.search(r"Booting Linux on physical CPU (0x[0-9a-f]+)", output)
    assert boot is not None, output[-4000:]
    others = re.findall(r"CPU(\d+): Booted secondary processor (0x[0-9a-f]+)", output)
    interrupts = []
    for line in re.findall(r"(?m)^ *\d+: .*GICv3.*$", output):
        before, after = line.split("GICv3")
        intid, *_, driver = after.split()
        interrupts.append((driver, int(intid), [int(each) for each in before.split()[1:]]))
    return Printed(
        {int(cpu): said == "counted" for cpu, said in counted},
        {0: int(boot[1], 0), **{int(cpu): int(affinity, 0) for cpu, affinity in others}},
        interrupts,
        output.partition("-- log\n")[2],
    )
