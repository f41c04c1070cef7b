"""A stand-in for the ioctls of KVM, for answers that no kernel at hand gives.

It decodes request numbers and structs by <linux/ioctl.h> and <linux/kvm.h>, without the tables of
vmcfg: a wrong number, size, or offset fails as in a kernel. It accepts everything except what
`refused` contains, and returns what was set except what `returned` contains.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

import pytest

from vmcfg.kernel import host_pmus, ioctls

NONE, WRITE, READ = 0, 1, 2
"""The directions of an ioctl, in bits [31:30] of its request."""

REQUESTS = {
    0x00: ("GET_API_VERSION", NONE, ""),
    0x01: ("CREATE_VM", NONE, ""),
    0x03: ("CHECK_EXTENSION", NONE, ""),
    0x04: ("GET_VCPU_MMAP_SIZE", NONE, ""),
    0x41: ("CREATE_VCPU", NONE, ""),
    0x46: ("SET_USER_MEMORY_REGION", WRITE, "=IIQQQ"),
    0x80: ("RUN", NONE, ""),
    0xA3: ("ENABLE_CAP", WRITE, "=II4Q64s"),
    0xAB: ("GET_ONE_REG", WRITE, "=QQ"),
    0xAC: ("SET_ONE_REG", WRITE, "=QQ"),
    0xAE: ("ARM_VCPU_INIT", WRITE, "=8I"),
    0xAF: ("ARM_PREFERRED_TARGET", READ, "=8I"),
    0xB6: ("ARM_GET_REG_WRITABLE_MASKS", READ, "=QI52s"),
    0xC2: ("ARM_VCPU_FINALIZE", WRITE, "=i"),
    0xE0: ("CREATE_DEVICE", READ | WRITE, "=III"),
    0xE1: ("SET_DEVICE_ATTR", WRITE, "=IIQQ"),
    0xE2: ("GET_DEVICE_ATTR", WRITE, "=IIQQ"),
    0xE3: ("HAS_DEVICE_ATTR", WRITE, "=IIQQ"),
}
"""The name, the direction, and the layout of the argument, by bits [7:0] of the request."""

ATTR_SIZES = {
    ("vm", 0, 0): 24,
    ("vcpu", 0, 0): 4,
    ("vcpu", 0, 1): 0,
    ("vcpu", 0, 2): 8,
    ("vcpu", 0, 3): 4,
    ("vcpu", 0, 4): 4,
    ("vcpu", 1, 0): 4,
    ("vcpu", 1, 1): 4,
    ("vcpu", 1, 2): 4,
    ("vcpu", 1, 3): 4,
    ("vcpu", 2, 0): 8,
    ("gic", 0, 0): 8,
    ("gic", 0, 1): 8,
    ("gic", 0, 2): 8,
    ("gic", 0, 3): 8,
    ("gic", 0, 5): 8,
    ("gic", 3, 0): 4,
    ("gic", 4, 0): 0,
    ("gic", 9, 0): 4,
    ("its", 0, 4): 8,
    ("its", 4, 0): 0,
}
"""The number of bytes that KVM reads or writes, by kind of object, group, and attribute."""

DEVICES = {5: "gic", 7: "gic", 8: "its"}
"""The kinds of objects, by device type."""

REGION = ("gic", 0, 5)
"""The attribute whose value contains its index, so that there are several of it."""

MPIDR_EL1 = 0x603000000013C005
TIMERS = 1
"""The group of a vCPU that belongs to the whole VM."""

RUN_SIZE = 0x4000
PREFERRED_TARGET = (5, 0x400, 0, 0, 0, 0, 0, 0x77)
"""The number of a target, and features of the host, to which KVM_ARM_VCPU_INIT must add its own."""


class Refused(Exception):
    """The errno of a rejected call."""


class StandInKvm:
    """A kernel with arm64 KVM, in this process.

    `refused` has an errno for each call that it rejects, such as ``vcpu:0 RUN``, and `returned` has
    the bytes for calls that read. `calls` are the calls so far: object, name, and numbers.
    """

    def __init__(self, release: str = "7.2.13") -> None:
        self.release = release
        self.machine = "aarch64"
        self.refused: dict[str, int] = {}
        self.returned: dict[str, bytes] = {}
        self.capabilities: dict[int, int] = {126: 1, 165: 48, 170: 1}
        self.lacking: set[str] = set()
        self.devices = {5, 7, 8}
        self.masks: bytes | None = None
        self.calls: list[str] = []
        self.objects: dict[tuple[int, int], str] = {}
        """The names of the objects, by device and inode of their descriptors."""
        self.made: list[tuple[int, tuple[int, int]]] = []
        self.values: dict[str, bytes] = {}
        self.ioctl = _Ioctl(self)

    def new_object(self, name: str, size: int = 0) -> int:
        """Return the descriptor of a new object."""
        descriptor = os.memfd_create(name)
        os.ftruncate(descriptor, size)
        self.objects[_identity(descriptor)] = name
        self.made.append((descriptor, _identity(descriptor)))
        return descriptor

    def still_open(self) -> list[str]:
        """Return the names of the objects whose descriptors are open."""
        found = []
        for descriptor, identity in self.made:
            try:
                now = _identity(descriptor)
            except OSError:
                continue
            if now == identity:
                found.append(self.objects[identity])
        return found

    def answer(self, descriptor: int, request: int, argument: int) -> int:
        """Return the result of an ioctl. Raises `Refused`."""
        name, layout = _request(request)
        size = struct.calcsize(layout)
        numbers = struct.unpack(layout, ctypes.string_at(argument, size)) if size else (argument,)
        who = self.objects[_identity(descriptor)]
        result: int = getattr(self, f"_{name.lower()}")(who, argument, *numbers)
        return result

    def note(self, call: str) -> None:
        """Add `call` to the log. Raises `Refused` if the call is rejected."""
        self.calls.append(call)
        if call in self.refused:
            raise Refused(self.refused[call])

    def _get_api_version(self, who: str, at: int, *_: int) -> int:
        self.note(f"{who} GET_API_VERSION")
        return 12

    def _get_vcpu_mmap_size(self, who: str, at: int, *_: int) -> int:
        self.note(f"{who} GET_VCPU_MMAP_SIZE")
        return RUN_SIZE

    def _check_extension(self, who: str, at: int, number: int) -> int:
        self.note(f"{who} CHECK_EXTENSION {number}")
        return self.capabilities.get(number, 0)

    def _create_vm(self, who: str, at: int, type: int) -> int:
        self.note(f"{who} CREATE_VM {type:#x}")
        return self.new_object("vm")

    def _create_vcpu(self, who: str, at: int, id: int) -> int:
        self.note(f"{who} CREATE_VCPU {id}")
        aff0, aff1, aff2 = id & 0xF, id >> 4 & 0xFF, id >> 12 & 0xFF
        mpidr = 1 << 31 | aff2 << 16 | aff1 << 8 | aff0
        self.values[f"vcpu:{id} {MPIDR_EL1:#x}"] = mpidr.to_bytes(8, "little")
        return self.new_object(f"vcpu:{id}", RUN_SIZE)

    def _create_device(self, who: str, at: int, type: int, descriptor: int, flags: int) -> int:
        self.note(f"{who} CREATE_DEVICE {type} flags {flags}")
        if type not in self.devices:
            raise Refused(errno.ENODEV)
        if flags == 0:
            kind = DEVICES[type]
            count = sum(name.startswith(kind) for name in self.still_open())
            name = kind if kind == "gic" else f"{kind}:{count}"
            made = struct.pack("=III", type, self.new_object(name), 0)
            ctypes.memmove(at, made, len(made))
        return 0

    def _set_user_memory_region(
        self, who: str, at: int, slot: int, flags: int, base: int, size: int, start: int
    ) -> int:
        self.note(f"{who} SET_USER_MEMORY_REGION {slot} flags {flags} {base:#x} {size:#x}")
        # The last byte of the memory must exist.
        assert ctypes.string_at(start + size - 1, 1) == b"\0"
        return 0

    def _enable_cap(self, who: str, at: int, cap: int, flags: int, *rest: int | bytes) -> int:
        *arguments, padding = rest
        assert padding == bytes(64)
        told = " ".join(f"{each:#x}" for each in arguments if isinstance(each, int))
        self.note(f"{who} ENABLE_CAP {cap} flags {flags} {told}")
        return 0

    def _arm_preferred_target(self, who: str, at: int, *_: int) -> int:
        self.note(f"{who} ARM_PREFERRED_TARGET")
        data = struct.pack("=8I", *PREFERRED_TARGET)
        ctypes.memmove(at, data, len(data))
        return 0

    def _arm_vcpu_init(self, who: str, at: int, *words: int) -> int:
        self.note(f"{who} ARM_VCPU_INIT {' '.join(map(hex, words))}")
        return 0

    def _arm_vcpu_finalize(self, who: str, at: int, feature: int) -> int:
        self.note(f"{who} ARM_VCPU_FINALIZE {feature}")
        return 0

    def _set_one_reg(self, who: str, at: int, id: int, address: int) -> int:
        data = ctypes.string_at(address, 1 << (id >> 52 & 0xF))
        self.note(f"{who} SET_ONE_REG {id:#x} {data.hex()}")
        self.values[f"{who} {id:#x}"] = data
        return 0

    def _get_one_reg(self, who: str, at: int, id: int, address: int) -> int:
        call = f"{who} GET_ONE_REG {id:#x}"
        self.note(call)
        stored = self.values.get(f"{who} {id:#x}", bytes(1 << (id >> 52 & 0xF)))
        data = self.returned.get(call, stored)
        ctypes.memmove(address, data, len(data))
        return 0

    def _arm_get_reg_writable_masks(
        self, who: str, at: int, address: int, range_: int, reserved: bytes
    ) -> int:
        assert (range_, reserved) == (0, bytes(52))
        self.note(f"{who} ARM_GET_REG_WRITABLE_MASKS")
        if self.masks is None:
            raise Refused(errno.EINVAL)
        ctypes.memmove(address, self.masks, len(self.masks))
        return 0

    def _set_device_attr(
        self, who: str, at: int, flags: int, group: int, attr: int, address: int
    ) -> int:
        size = self._attr_size(who, flags, group, attr)
        # Without a value, the address is not used, and is 0.
        assert (size == 0) == (address == 0)
        data = ctypes.string_at(address, size) if size else b""
        self.note(f"{who} SET_DEVICE_ATTR {group} {attr} {data.hex() or '-'}")
        self.values[_attr_key(who, group, attr, data)] = data
        return 0

    def _get_device_attr(
        self, who: str, at: int, flags: int, group: int, attr: int, address: int
    ) -> int:
        size = self._attr_size(who, flags, group, attr)
        call = f"{who} GET_DEVICE_ATTR {group} {attr}"
        self.note(call)
        key = _attr_key(who, group, attr, ctypes.string_at(address, size))
        if key not in self.values:
            raise Refused(errno.ENOENT)
        data = self.returned.get(call, self.values[key])
        ctypes.memmove(address, data, len(data))
        return 0

    def _has_device_attr(
        self, who: str, at: int, flags: int, group: int, attr: int, address: int
    ) -> int:
        assert (flags, address) == (0, 0)
        self.note(f"{who} HAS_DEVICE_ATTR {group} {attr}")
        if f"{_kind(who)} {group} {attr}" in self.lacking:
            raise Refused(errno.ENXIO)
        return 0

    @staticmethod
    def _attr_size(who: str, flags: int, group: int, attr: int) -> int:
        assert flags == 0
        if (_kind(who), group, attr) not in ATTR_SIZES:
            raise Refused(errno.ENXIO)
        return ATTR_SIZES[_kind(who), group, attr]

    def _run(self, who: str, at: int, *_: int) -> int:
        self.note(f"{who} RUN")
        # The newest object of this name: earlier VMs, which are closed, had one, too.
        of_name = [number for number, identity in self.made if self.objects[identity] == who]
        # A shared mapping of the descriptor has written this byte: kvm_run.immediate_exit.
        if os.pread(of_name[-1], 1, 1) == b"\1":
            raise Refused(errno.EINTR)
        raise AssertionError("the vCPU would execute guest instructions")


class _Ioctl:
    """The function ``ioctl`` of libc."""

    def __init__(self, kernel: StandInKvm) -> None:
        self.kernel = kernel

    def __call__(self, descriptor: int, request: int, argument: int) -> int:
        try:
            return self.kernel.answer(descriptor, request, argument)
        except Refused as refused:
            ctypes.set_errno(refused.args[0])
            return -1


def _request(request: int) -> tuple[str, str]:
    """Return the name and the layout of a request. Raises `Refused` as a kernel does."""
    name, direction, layout = REQUESTS.get(request & 0xFF, ("", NONE, ""))
    size = struct.calcsize(layout)
    if not name or request != direction << 30 | size << 16 | 0xAE << 8 | request & 0xFF:
        raise Refused(errno.ENOTTY)
    return name, layout


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _kind(who: str) -> str:
    return who.partition(":")[0]


def _attr_key(who: str, group: int, attr: int, data: bytes) -> str:
    """Return the place of a value: timers belong to the VM, and regions have an index."""
    kind = _kind(who)
    if (kind, group) == ("vcpu", TIMERS):
        return f"timer {attr}"
    if (kind, group, attr) == REGION:
        return f"region {int.from_bytes(data, 'little') & 0xFFF}"
    return f"{who} {group} {attr}"


def install(monkeypatch: pytest.MonkeyPatch, kernel: StandInKvm, pmus: Path) -> None:
    """Replace KVM of this process by `kernel`; `pmus` is the directory of the host PMUs."""
    real_open = os.open

    def opened(path: str, flags: int, *rest: int) -> int:
        if path != "/dev/kvm":
            return real_open(path, flags, *rest)
        assert flags == os.O_RDWR | os.O_CLOEXEC
        if "open /dev/kvm" in kernel.refused:
            number = kernel.refused["open /dev/kvm"]
            raise OSError(number, os.strerror(number))
        return kernel.new_object("kvm")

    def uname() -> os.uname_result:
        return os.uname_result(("Linux", "host", kernel.release, "#1 SMP", kernel.machine))

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "uname", uname)
    monkeypatch.setattr(ioctls, "_libc", kernel)
    monkeypatch.setattr(host_pmus.host_pmus, "__defaults__", (str(pmus),))


def execute(script: str, monkeypatch: pytest.MonkeyPatch, kernel: StandInKvm, pmus: Path) -> None:
    """Execute a script of vmcfg on `kernel` in this process. Its modules replace those of vmcfg
    only meanwhile. Raises `SystemExit` as the script does.
    """
    kept = {name: sys.modules[name] for name in sys.modules if name.startswith("vmcfg")}
    script = script.replace('"/sys/bus/event_source/devices"', f'"{pmus}"')
    code = compile(script, "script", "exec")
    for name in kept:
        del sys.modules[name]
    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda name, use_errno: kernel)
        # What is found here would not be found on a host.
        patch.setattr(sys, "path", [each for each in sys.path if not _has_vmcfg(each)])
        patch.setattr(sys, "meta_path", [each for each in sys.meta_path if not _is_editable(each)])
        try:
            exec(code, {"__name__": "__main__"})
        finally:
            for name in [name for name in sys.modules if name.startswith("vmcfg")]:
                del sys.modules[name]
            sys.modules.update(kept)


def _has_vmcfg(folder: str) -> bool:
    return Path(folder, "vmcfg").is_dir()


def _is_editable(finder: object) -> bool:
    return "editable" in str(finder).lower()


def add_pmu(folder: Path, name: str, type: int, cpus: str | None) -> None:
    """Add a PMU to a directory such as /sys/bus/event_source/devices; others than those of CPUs
    have no list of CPUs.
    """
    (folder / name).mkdir(parents=True)
    (folder / name / "type").write_text(f"{type}\n")
    if cpus is not None:
        (folder / name / "cpus").write_text(f"{cpus}\n")
