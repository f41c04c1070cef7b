"""A stand-in for a guest that executes plans: what `vmcfg/trial/performer.c` does in a booted
kernel, in this process, with the stand-in for KVM.

It is written after the head of performer.c, without the modules of vmcfg that write its input and
read its output.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_in_kvm import REQUESTS, RUN_SIZE, StandInKvm
from vmcfg.trial import boot

CAP_ARM_PMU_V3 = 126
FEATURE_PMU_V3 = 1 << 3
TEST_DEVICE = 1
NORESERVE = 0x4000

NUMBERS = {
    name: direction << 30 | struct.calcsize(layout) << 16 | 0xAE << 8 | number
    for number, (name, direction, layout) in REQUESTS.items()
}
"""The number of each request."""

Fields = list[str]


def install(monkeypatch: pytest.MonkeyPatch, kernel: StandInKvm, pmus: Path) -> None:
    """Replace the boot of an image by `kernel`; `pmus` is the directory of its host PMUs."""
    monkeypatch.setattr(boot, "_booted", lambda guest, plans: (console(kernel, pmus, plans), ""))


def console(kernel: StandInKvm, pmus: Path, plans: str) -> bytes:
    """Return what the performer prints about `plans`."""
    said = [f"release {kernel.release}", "version #1 SMP"]
    said.append(f"page-size {os.sysconf('SC_PAGE_SIZE')}")
    types: dict[str, int] = {}
    for path in sorted(pmus.iterdir()):
        if (path / "cpus").exists():
            types[path.name] = int((path / "type").read_text())
            cpus = (path / "cpus").read_text().strip()
            said.append(f"pmu {path.name} {types[path.name]} {cpus}")
    if "open /dev/kvm" in kernel.refused:
        said.append(f"none {kernel.refused['open /dev/kvm']}")
    else:
        lines = iter([line.split(" ") for line in plans.splitlines()])
        for word, number, stops, runs, *key in lines:
            assert word == "plan"
            plan = _Plan(kernel, types, stops == "1")
            plan.said += [f"of {each}" for each in key]
            plan.execute(list(iter(lambda: next(lines), ["end"])), runs == "1")
            said += [f"plan {number}", *plan.said, f"end {number} {_sum(plan.said)}"]
    return "".join(f"vmcfg:{line}\r\n" for line in (*said, "done")).encode()


def _sum(lines: list[str]) -> int:
    """Return the FNV-1a of lines of the output."""
    total = 0x811C9DC5
    for byte in "".join(f"vmcfg:{line}\n" for line in lines).encode():
        total = (total ^ byte) * 0x01000193 % (1 << 32)
    return total


class _Plan:
    """The execution of one plan. `said` are the lines of its output."""

    def __init__(self, kernel: StandInKvm, pmus: dict[str, int], stops: bool) -> None:
        self.kernel = kernel
        self.pmus = pmus
        self.stops = stops
        self.said: list[str] = []
        self.targets: dict[str, int] = {"kvm": os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)}
        self.lines_of_vcpus: dict[str, int] = {}
        self.pages: list[mmap.mmap] = []
        self.is_refused = False

    def execute(self, lines: list[Fields], runs: bool) -> None:
        """Execute the lines of the plan, and close its VM."""
        try:
            if self.is_executable(lines):
                for number, fields in self.chosen(lines):
                    if not self.line(number, fields):
                        return
                if runs and not (self.is_refused and self.stops):
                    self.enter_vcpus()
        finally:
            for descriptor in self.targets.values():
                os.close(descriptor)
            for pages in self.pages:
                pages.close()

    def is_executable(self, lines: list[Fields]) -> bool:
        """Return whether this host has the PMUs of the plan."""
        for number, fields in enumerate(lines):
            name = fields[5].removeprefix("pmu:") if fields[5:] else ""
            if fields[5:] and name != fields[5] and name not in self.pmus:
                self.said.append(f"unknown {number}")
                return False
        features = [int(fields[3], 16) for fields in lines if fields[0] == "init-vcpu"]
        if any(each & FEATURE_PMU_V3 for each in features):
            has_pmu, _ = self.ioctl("kvm", "CHECK_EXTENSION", CAP_ARM_PMU_V3)
            if not has_pmu:
                self.said.append("without-pmu")
            return bool(has_pmu)
        return True

    def chosen(self, lines: list[Fields]) -> Iterator[tuple[int, Fields]]:
        """Yield the lines that are executed: of the GICs in place of that of the VMM, only one."""
        is_chosen, is_skipped = False, False
        for number, fields in enumerate(lines):
            if fields[0] in ("gic", "or-gic"):
                is_skipped = is_chosen or "vm" not in self.targets
                if not is_skipped and fields[0] == "gic":
                    is_skipped = not self.supports(int(fields[1]))
                if not is_skipped:
                    is_chosen = True
                    self.said.append(f"chosen {number}")
            elif fields[0] == "rest":
                is_skipped = False
            elif not is_skipped:
                yield number, fields

    def supports(self, type: int) -> bool:
        try:
            self.ioctl("vm", "CREATE_DEVICE", struct.pack("=III", type, 0, TEST_DEVICE))
        except OSError:
            return False
        return True

    def line(self, number: int, fields: Fields) -> bool:
        """Execute a line. Return whether the plan goes on."""
        word, target = fields[0], fields[1]
        reads = word.startswith("get-") or word == "ask"
        if self.is_refused and self.stops and word != "ask":
            self.said += [] if reads else [f"missed {number}"]
            return True
        is_missed = target not in self.targets and not word.startswith("create-")
        if is_missed or (word != "create-vm" and "vm" not in self.targets and target != "kvm"):
            self.said += [] if word.startswith("get-") else [f"missed {number}"]
            return True
        try:
            if reads:
                self.read(number, *fields)
            else:
                self.perform(number, *fields)
        except MemoryError:
            self.said.append(f"no-memory {number}")
            return False
        except OSError as error:
            self.said.append(f"failed {number} {error.errno}")
            self.is_refused = self.is_refused or not reads
        return True

    def perform(
        self, line: int, op: str, target: str, group: str, number: str, length: str, text: str
    ) -> None:
        """Execute a command."""
        value, data = int(number, 16), self.data(text)
        assert len(data) == int(length)
        if op == "create-vm":
            self.targets[target], _ = self.ioctl("kvm", "CREATE_VM", value)
        elif op == "create-vcpu":
            self.targets[target], _ = self.ioctl("vm", "CREATE_VCPU", value)
            self.lines_of_vcpus[target] = line
        elif op == "create-device":
            made = self.ioctl("vm", "CREATE_DEVICE", struct.pack("=III", value, 0, 0))[1]
            self.targets[target] = struct.unpack("=III", made)[1]
        elif op == "add-memory":
            address = self.memory(struct.unpack("=IIQQ", data)[3])
            self.ioctl("vm", "SET_USER_MEMORY_REGION", data + struct.pack("=Q", address))
        elif op == "enable-cap":
            self.ioctl("vm", "ENABLE_CAP", struct.pack("=II32s64x", value, 0, data))
        elif op == "init-vcpu":
            _, preferred = self.ioctl("vm", "ARM_PREFERRED_TARGET", bytes(32))
            cpu, features, *rest = struct.unpack("=8I", preferred)
            self.ioctl(target, "ARM_VCPU_INIT", struct.pack("=8I", cpu, features | value, *rest))
        elif op == "finalize-vcpu":
            self.ioctl(target, "ARM_VCPU_FINALIZE", struct.pack("=i", value))
        elif op == "set-reg":
            self.at_address(target, "SET_ONE_REG", "=QQ", (value,), data)
        else:
            assert op == "set-attr"
            self.at_address(target, "SET_DEVICE_ATTR", "=IIQQ", (0, int(group), value), data)

    def read(
        self,
        line: int,
        op: str,
        target: str,
        group: str,
        number: str,
        length: str,
        text: str,
        expected: str = "",
    ) -> None:
        """Print the answer to a question, or the value of a GET if it is not the expected one."""
        data = self.data(text)
        assert len(data) == int(length)
        if op == "ask":
            request = next(name for name, each in NUMBERS.items() if each == int(group, 16))
            result, _ = self.ioctl(target, request, data or int(number, 0))
            # It is not a descriptor that stays open.
            self.said.append(f"got {line} {result.to_bytes(8, 'little').hex()}")
            return
        if op == "get-reg":
            # KVM writes as many bytes as the id of the register says.
            assert len(data) == 1 << (int(number, 16) >> 52 & 0xF)
            got = self.at_address(target, "GET_ONE_REG", "=QQ", (int(number, 16),), data)
        elif op == "get-masks":
            got = self.at_address(target, "ARM_GET_REG_WRITABLE_MASKS", "=Q56x", (), data)
        else:
            assert op == "get-attr"
            fields = (0, int(group), int(number, 16))
            got = self.at_address(target, "GET_DEVICE_ATTR", "=IIQQ", fields, data)
        if got.hex() != expected:
            self.said.append(f"got {line} {got.hex()}")

    def memory(self, size: int) -> int:
        """Return the address of memory of a slot. Raises `MemoryError` without address space."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
        try:
            self.pages.append(mmap.mmap(-1, size, flags))
        except (OSError, OverflowError, ValueError):
            raise MemoryError from None
        return ctypes.addressof(ctypes.c_char.from_buffer(self.pages[-1]))

    def enter_vcpus(self) -> None:
        for target, line in self.lines_of_vcpus.items():
            with mmap.mmap(self.targets[target], RUN_SIZE, mmap.MAP_SHARED) as run:
                run[1] = 1  # immediate_exit
                try:
                    self.ioctl(target, "RUN", 0)
                except OSError as error:
                    if error.errno != errno.EINTR:
                        self.said.append(f"run {line} {error.errno}")

    def data(self, text: str) -> bytes:
        if text.startswith("pmu:"):
            return struct.pack("=I", self.pmus[text.removeprefix("pmu:")])
        return b"" if text == "-" else bytes.fromhex(text)

    def at_address(
        self, target: str, request: str, layout: str, fields: tuple[int, ...], data: bytes
    ) -> bytes:
        """Return the bytes at an address in the argument of an ioctl, after it. Without bytes, the
        address is 0.
        """
        buffer = ctypes.create_string_buffer(data, len(data))
        address = ctypes.addressof(buffer) if data else 0
        self.ioctl(target, request, struct.pack(layout, *fields, address))
        return buffer.raw

    def ioctl(self, target: str, request: str, argument: int | bytes) -> tuple[int, bytes]:
        """Return the result of an ioctl, and its argument after it."""
        after = b""
        if isinstance(argument, int):
            result = self.kernel.ioctl(self.targets[target], NUMBERS[request], argument)
        else:
            buffer = ctypes.create_string_buffer(argument, len(argument))
            address = ctypes.addressof(buffer)
            result = self.kernel.ioctl(self.targets[target], NUMBERS[request], address)
            after = buffer.raw
        if result < 0:
            raise OSError(ctypes.get_errno(), request)
        return result, after
