"""KVM itself, through its ioctls: the only module that talks to /dev/kvm.

It needs nothing but the standard library and this room, and no newer Python than 3.7, so that
`probe --script` can carry it to a host. Every method raises `OSError` with the kernel's errno.
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
    """KVM can't be asked on this machine; the text is one clear sentence."""


def _ioctl(descriptor: int, request: int, argument: int = 0) -> int:
    # Not fcntl.ioctl: its argument is a C int, and a KVM_RUN that ends with EINTR must not be tried
    # again.
    result: int = _libc.ioctl(descriptor, request, argument)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _with(descriptor: int, request: int, data: bytes) -> bytes:
    """What `data` has become after an ioctl that reads and writes it."""
    buffer = ctypes.create_string_buffer(data, len(data))
    _ioctl(descriptor, request, ctypes.addressof(buffer))
    return buffer.raw


class Kvm:
    """An open /dev/kvm. Raises `NoKvm` where there is none for us."""

    def __init__(self, path: str = "/dev/kvm") -> None:
        machine = os.uname().machine
        if machine != "aarch64":
            raise NoKvm(
                f"this machine is {machine}, not arm64: its KVM has none of these attributes"
            )
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            raise NoKvm(
                f"no permission to open {path}: run as root, or join the group that owns it"
            ) from None
        except FileNotFoundError:
            raise NoKvm(
                f"there is no {path}: this kernel has no KVM, or did not start at EL2"
            ) from None
        except OSError as error:
            raise NoKvm(f"cannot open {path}: {error.strerror}") from None
        self.api_version = _ioctl(self.descriptor, abi.GET_API_VERSION)
        self.run_size = _ioctl(self.descriptor, abi.GET_VCPU_MMAP_SIZE)

    def capability(self, number: int) -> int:
        """What KVM_CHECK_EXTENSION says of a capability: 0 where it is absent."""
        return _ioctl(self.descriptor, abi.CHECK_EXTENSION, number)

    def close(self) -> None:
        """Close /dev/kvm; VMs made through it live on until they are closed."""
        os.close(self.descriptor)


class Vm:
    """A VM of this process, gone when it is closed. A plan's targets name its objects: ``vm``,
    ``gic``, ``vcpu:ID``.
    """

    def __init__(self, host: Kvm, type: int) -> None:
        self.host = host
        self.descriptors = {"vm": _ioctl(host.descriptor, abi.CREATE_VM, type)}
        self._memory: list[mmap.mmap] = []

    def close(self) -> None:
        """Close the VM and everything in it: nothing of it is left in the kernel."""
        for descriptor in reversed(list(self.descriptors.values())):
            os.close(descriptor)
        self.descriptors.clear()
        for pages in self._memory:
            pages.close()
        self._memory.clear()

    def capability(self, number: int) -> int:
        """What KVM_CHECK_EXTENSION says of a capability for this VM."""
        return _ioctl(self.descriptors["vm"], abi.CHECK_EXTENSION, number)

    def add_memory(self, slot: int, base: int, size: int) -> None:
        """Back `size` guest-physical bytes from `base` with memory. Raises `NoKvm` where there is
        no room for it.
        """
        try:
            pages = mmap.mmap(
                -1, max(size, _PAGE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            )
        except (OSError, OverflowError, ValueError):
            raise NoKvm(
                f"this process has no {size:#x} bytes of address space for the memory slot at"
                f" {base:#x}"
            ) from None
        self._memory.append(pages)
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        _with(
            self.descriptors["vm"],
            abi.SET_USER_MEMORY_REGION,
            struct.pack("=IIQQQ", slot, 0, base, size, start),
        )

    def create_vcpu(self, target: str, vcpu_id: int) -> None:
        """Make a vCPU."""
        self.descriptors[target] = _ioctl(self.descriptors["vm"], abi.CREATE_VCPU, vcpu_id)

    def create_device(self, target: str, type: int) -> None:
        """Make an in-kernel device."""
        made = _with(self.descriptors["vm"], abi.CREATE_DEVICE, struct.pack("=III", type, 0, 0))
        self.descriptors[target] = struct.unpack("=III", made)[1]

    def has_device(self, type: int) -> bool:
        """Whether this host can make devices of that type."""
        try:
            _with(
                self.descriptors["vm"],
                abi.CREATE_DEVICE,
                struct.pack("=III", type, 0, abi.CREATE_DEVICE_TEST),
            )
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def init_vcpu(self, target: str, features: int) -> None:
        """Initialise a vCPU with the feature bits `features` on the host's preferred target."""
        preferred = _with(self.descriptors["vm"], abi.ARM_PREFERRED_TARGET, bytes(32))
        cpu, word, *rest = struct.unpack("=8I", preferred)
        _with(
            self.descriptors[target],
            abi.ARM_VCPU_INIT,
            struct.pack("=8I", cpu, word | features, *rest),
        )

    def finalize_vcpu(self, target: str, feature: int) -> None:
        """Finalise a feature of a vCPU."""
        _with(self.descriptors[target], abi.ARM_VCPU_FINALIZE, struct.pack("=i", feature))

    def set_reg(self, target: str, register: int, data: bytes) -> None:
        """Set a vCPU's register."""
        self._one_reg(abi.SET_ONE_REG, target, register, data)

    def get_reg(self, target: str, register: int, size: int = 8) -> bytes:
        """The `size` bytes of a vCPU's register."""
        return self._one_reg(abi.GET_ONE_REG, target, register, bytes(size))

    def _one_reg(self, request: int, target: str, register: int, data: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(data, len(data))
        _with(
            self.descriptors[target],
            request,
            struct.pack("=QQ", register, ctypes.addressof(buffer)),
        )
        return buffer.raw

    def set_attr(self, target: str, group: int, attr: int, data: bytes | None) -> None:
        """Set a device attribute; `data` is None where it carries no value."""
        self._attr(abi.SET_DEVICE_ATTR, target, group, attr, data)

    def get_attr(self, target: str, group: int, attr: int, start: bytes) -> bytes:
        """The value of a device attribute, written over `start`."""
        return self._attr(abi.GET_DEVICE_ATTR, target, group, attr, start)

    def has_attr(self, target: str, group: int, attr: int) -> bool:
        """Whether this kernel knows a device attribute."""
        try:
            self._attr(abi.HAS_DEVICE_ATTR, target, group, attr, None)
        except OSError as error:
            # 6.1 says EINVAL to every attribute of a VM, and ENODEV is the ITS's word for one that
            # it does not know.
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
        """Enter a vCPU and leave it at once: every check of the first KVM_RUN is made, no guest
        instruction runs.
        """
        descriptor = self.descriptors[target]
        with mmap.mmap(descriptor, self.host.run_size, mmap.MAP_SHARED) as shared:
            shared[_IMMEDIATE_EXIT] = 1
            try:
                _ioctl(descriptor, abi.RUN)
            except OSError as error:
                if error.errno != errno.EINTR:
                    raise
