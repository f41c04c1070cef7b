"""KVM through its ioctls: the only module that uses /dev/kvm.

It imports only the standard library and this room, and runs on Python 3.7, so that `probe --script`
can copy it to a host. Every method raises `OSError` with the errno of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct

from vmcfg.kernel import abi

_libc = ctypes.CDLL(None, use_errno=True)

_libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)

_NORESERVE = 0x4000

_PAGE = mmap.PAGESIZE

_IMMEDIATE_EXIT = 1
"""The offset of `immediate_exit` in struct kvm_run."""


class NoKvm(Exception):
    """KVM cannot be used on this machine; the text is one sentence with the reason."""


def without_space(base: int, size: int) -> NoKvm:
    """Return the error of a memory slot that is too large for a process."""
    return NoKvm(
        f"this process cannot allocate {size:#x} bytes of address space for memory slot {base:#x}"
    )


def _ioctl(descriptor: int, request: int, argument: int = 0) -> int:
    # Not fcntl.ioctl: its argument is a C int, and it repeats a KVM_RUN that fails with EINTR.
    result: int = _libc.ioctl(descriptor, request, argument)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _with(descriptor: int, request: int, data: bytes) -> bytes:
    """Return `data` after an ioctl that reads and writes it."""
    buffer = ctypes.create_string_buffer(data, len(data))
    _ioctl(descriptor, request, ctypes.addressof(buffer))
    return buffer.raw


class Kvm:
    """An open /dev/kvm. Raises `NoKvm` if it cannot be used."""

    def __init__(self, path: str = "/dev/kvm") -> None:
        machine = os.uname().machine
        if machine != "aarch64":
            raise NoKvm(f"this machine is {machine}, not arm64: run this on an arm64 host")
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            raise NoKvm(
                f"no permission to open {path}: run as root or as a member of its group"
            ) from None
        except FileNotFoundError:
            raise NoKvm(
                f"{path} does not exist: the kernel has no KVM, or was not booted at EL2"
            ) from None
        except OSError as error:
            raise NoKvm(f"cannot open {path}: {error.strerror}") from None
        self.api_version = _ioctl(self.descriptor, abi.GET_API_VERSION)
        self.run_size = _ioctl(self.descriptor, abi.GET_VCPU_MMAP_SIZE)

    def capability(self, number: int) -> int:
        """Return the value of a capability from KVM_CHECK_EXTENSION; 0 without it."""
        return _ioctl(self.descriptor, abi.CHECK_EXTENSION, number)

    def new_vm(self) -> Vm:
        """Create a VM of type 0."""
        return Vm(self, 0)

    def close(self) -> None:
        """Close /dev/kvm; VMs that were created with it exist until they are closed."""
        os.close(self.descriptor)


class Vm:
    """A VM of this process, which is destroyed when it is closed.

    Its objects have the names of plan targets: ``vm``, ``gic``, ``vcpu:ID``.
    """

    def __init__(self, host: Kvm, type: int) -> None:
        self.host = host
        self.descriptors = {"vm": _ioctl(host.descriptor, abi.CREATE_VM, type)}
        self._memory: list[mmap.mmap] = []

    def close(self) -> None:
        """Close the VM and all its objects, so that nothing of it remains in the kernel."""
        for descriptor in reversed(list(self.descriptors.values())):
            os.close(descriptor)
        for pages in self._memory:
            pages.close()

    def capability(self, number: int) -> int:
        """Return the value of a capability for this VM from KVM_CHECK_EXTENSION."""
        return _ioctl(self.descriptors["vm"], abi.CHECK_EXTENSION, number)

    def enable_cap(self, number: int, arguments: list[int]) -> None:
        """Enable a capability of the VM with at most `abi.CAPABILITY_ARGUMENTS` arguments."""
        missing = [0] * (abi.CAPABILITY_ARGUMENTS - len(arguments))
        data = struct.pack("=II4Q64x", number, 0, *arguments, *missing)
        _with(self.descriptors["vm"], abi.ENABLE_CAP, data)

    def add_memory(self, slot: int, base: int, size: int, flags: int = 0) -> None:
        """Add a memory slot. Raises `NoKvm` if the process has no address space for it."""
        try:
            pages = mmap.mmap(
                -1, max(size, _PAGE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            )
        except (OSError, OverflowError, ValueError):
            raise without_space(base, size) from None
        self._memory.append(pages)
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        _with(
            self.descriptors["vm"],
            abi.SET_USER_MEMORY_REGION,
            struct.pack("=IIQQQ", slot, flags, base, size, start),
        )

    def create_vcpu(self, target: str, vcpu_id: int) -> None:
        """Create a vCPU."""
        self.descriptors[target] = _ioctl(self.descriptors["vm"], abi.CREATE_VCPU, vcpu_id)

    def create_device(self, target: str, type: int) -> None:
        """Create an in-kernel device."""
        made = _with(self.descriptors["vm"], abi.CREATE_DEVICE, struct.pack("=III", type, 0, 0))
        self.descriptors[target] = struct.unpack("=III", made)[1]

    def has_device(self, type: int) -> bool:
        """Return whether the host supports devices of a type."""
        try:
            self._test_device(struct.pack("=III", type, 0, abi.CREATE_DEVICE_TEST))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def _test_device(self, data: bytes) -> None:
        _with(self.descriptors["vm"], abi.CREATE_DEVICE, data)

    def init_vcpu(self, target: str, features: int) -> None:
        """Initialize a vCPU with the bits `features`, based on the preferred target of the host."""
        preferred = _with(self.descriptors["vm"], abi.ARM_PREFERRED_TARGET, bytes(32))
        cpu, word, *rest = struct.unpack("=8I", preferred)
        _with(
            self.descriptors[target],
            abi.ARM_VCPU_INIT,
            struct.pack("=8I", cpu, word | features, *rest),
        )

    def finalize_vcpu(self, target: str, feature: int) -> None:
        """Finalize a feature of a vCPU."""
        _with(self.descriptors[target], abi.ARM_VCPU_FINALIZE, struct.pack("=i", feature))

    def set_reg(self, target: str, register: int, data: bytes) -> None:
        """Set a register of a vCPU."""
        self._one_reg(abi.SET_ONE_REG, target, register, data)

    def get_reg(self, target: str, register: int, size: int = 8) -> bytes:
        """Return the `size` bytes of a register of a vCPU."""
        return self._one_reg(abi.GET_ONE_REG, target, register, bytes(size))

    def writable_masks(self) -> list[int]:
        """Return the bits that can be written of each feature ID register, in the order of the
        kernel: by op1 (0, 1, 3), CRm, and op2.
        """
        masks = (ctypes.c_uint64 * abi.FEATURE_ID_MASKS)()
        asked = struct.pack("=QI52x", ctypes.addressof(masks), 0)
        _with(self.descriptors["vm"], abi.ARM_GET_REG_WRITABLE_MASKS, asked)
        return list(masks)

    def _one_reg(self, request: int, target: str, register: int, data: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(data, len(data))
        _with(
            self.descriptors[target],
            request,
            struct.pack("=QQ", register, ctypes.addressof(buffer)),
        )
        return buffer.raw

    def set_attr(self, target: str, group: int, attr: int, data: bytes | None) -> None:
        """Set a device attribute; `data` is None if it has no value."""
        self._attr(abi.SET_DEVICE_ATTR, target, group, attr, data)

    def get_attr(self, target: str, group: int, attr: int, start: bytes) -> bytes:
        """Return the value of a device attribute; `start` is the buffer before the call."""
        return self._attr(abi.GET_DEVICE_ATTR, target, group, attr, start)

    def has_attr(self, target: str, group: int, attr: int) -> bool:
        """Return whether the kernel supports a device attribute."""
        try:
            self._attr(abi.HAS_DEVICE_ATTR, target, group, attr, None)
        except OSError as error:
            # Linux 6.1 fails with EINVAL for every attribute of a VM, and an ITS fails with ENODEV
            # for an unknown attribute.
            if error.errno in (errno.ENXIO, errno.EINVAL, errno.ENODEV):
                return False
            raise
        return True

    def _attr(self, request: int, target: str, group: int, attr: int, data: bytes | None) -> bytes:
        buffer = ctypes.create_string_buffer(data or b"", len(data or b""))
        address = 0 if data is None else ctypes.addressof(buffer)
        _with(self.descriptors[target], request, struct.pack("=IIQQ", 0, group, attr, address))
        return buffer.raw

    def run(self, target: str) -> None:
        """Enter KVM_RUN once with all its checks, without executing guest instructions."""
        descriptor = self.descriptors[target]
        with mmap.mmap(descriptor, self.host.run_size, mmap.MAP_SHARED) as shared:
            shared[_IMMEDIATE_EXIT] = 1
            try:
                _ioctl(descriptor, abi.RUN)
            except OSError as error:
                if error.errno != errno.EINTR:
                    raise
