"""The capabilities that KVM_ENABLE_CAP enables on an arm64 VM, with their arguments and limits."""

from __future__ import annotations

from collections.abc import Callable

from vmcfg.kernel.limits import LEAST_PAGE_SIZE, U32_GREATEST
from vmcfg.kernel.version import LINUX_6_1, Version


class VmCapability:
    """A capability of KVM_ENABLE_CAP on a VM.

    If it has an argument, `allowed` are the allowed values in words, `example` is one of them, and
    `errno_of` returns the errno of KVM for a value, or None if KVM accepts the value. `requires` is
    a capability that must be enabled before it. If it is enabled again, KVM fails with
    `errno_of_second`, or accepts it if that is None. Kernels support it since `since`, and `doc`
    says what it does.
    """

    __slots__ = (
        "allowed",
        "doc",
        "errno_of",
        "errno_of_second",
        "example",
        "name",
        "requires",
        "since",
        "source",
    )

    def __init__(
        self,
        name: str,
        *,
        doc: str,
        source: str,
        since: Version = LINUX_6_1,
        allowed: str | None = None,
        example: str = "",
        errno_of: Callable[[int], str | None] | None = None,
        requires: str | None = None,
        errno_of_second: str | None = None,
    ) -> None:
        self.name = name
        self.doc = doc
        self.source = source
        self.since = since
        self.allowed = allowed
        self.example = example
        self.errno_of = errno_of
        self.requires = requires
        self.errno_of_second = errno_of_second


BLOCK_SIZES = tuple(1 << bits for bits in (12, 14, 16, 21, 25, 29, 30))
"""The sizes of pages and blocks of all page sizes that kvm_supported_block_sizes can return."""

DIRTY_RING_GREATEST = 1 << 20
"""KVM_DIRTY_RING_MAX_ENTRIES entries of 16 bytes: the value of KVM_CAP_DIRTY_LOG_RING_ACQ_REL."""


def _dirty_log_errno(flags: int) -> str | None:
    return None if flags in (0, 1, 3) else "EINVAL"


def _halt_poll_errno(nanoseconds: int) -> str | None:
    return None if nanoseconds <= U32_GREATEST else "EINVAL"


def _chunk_errno(size: int) -> str | None:
    return None if size == 0 or size in BLOCK_SIZES else "EINVAL"


def _dirty_ring_errno(size: int) -> str | None:
    # KVM reads the lower 32 bits.
    size &= U32_GREATEST
    if size < LEAST_PAGE_SIZE or size & (size - 1):
        return "EINVAL"
    return "E2BIG" if size > DIRTY_RING_GREATEST else None


_ARM = "arm.c:kvm_vm_ioctl_enable_cap, Linux 7.3"
_GENERIC = "virt/kvm/kvm_main.c:kvm_vm_ioctl_enable_cap_generic, Linux 7.3"

VM_CAPABILITIES = {
    each.name: each
    for each in (
        VmCapability(
            "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
            doc="KVM_CLEAR_DIRTY_LOG, and not KVM_GET_DIRTY_LOG, protects dirty pages again.",
            source=_GENERIC,
            allowed="0, 1, or 3",
            example="1",
            errno_of=_dirty_log_errno,
        ),
        VmCapability(
            "KVM_CAP_ARM_NISV_TO_USER",
            doc="The VMM gets an exit for accesses that KVM cannot decode (KVM_EXIT_ARM_NISV).",
            source=_ARM,
        ),
        VmCapability(
            "KVM_CAP_HALT_POLL",
            doc="Sets how many nanoseconds a vCPU that waits is polled.",
            source=_GENERIC,
            allowed=f"at most {U32_GREATEST:#x}",
            example="200000",
            errno_of=_halt_poll_errno,
        ),
        VmCapability(
            "KVM_CAP_ARM_SYSTEM_SUSPEND",
            doc="PSCI SYSTEM_SUSPEND is available to the guest, and causes an exit.",
            source=_ARM,
        ),
        VmCapability(
            "KVM_CAP_DIRTY_LOG_RING_ACQ_REL",
            doc="Each vCPU logs its dirty pages in a ring of this number of bytes.",
            source="virt/kvm/kvm_main.c:kvm_vm_ioctl_enable_dirty_log_ring, Linux 7.3",
            since=(6, 2),
            allowed="a power of two from the page size of the host to 0x100000",
            example="0x10000",
            errno_of=_dirty_ring_errno,
            errno_of_second="EINVAL",
        ),
        VmCapability(
            "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP",
            doc="Pages that KVM writes without a vCPU, such as tables of an ITS, are in a bitmap.",
            source=_GENERIC,
            since=(6, 2),
            requires="KVM_CAP_DIRTY_LOG_RING_ACQ_REL",
        ),
        VmCapability(
            "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE",
            doc="Sets the size of the chunks that KVM splits into pages when dirty logging starts.",
            source=_ARM,
            since=(6, 5),
            allowed="0 or a block size of the host",
            example="0x200000",
            errno_of=_chunk_errno,
        ),
        VmCapability(
            "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS",
            doc="MIDR_EL1, REVIDR_EL1, and AIDR_EL1 can be set.",
            source=_ARM,
            since=(6, 15),
        ),
        VmCapability(
            "KVM_CAP_ARM_SEA_TO_USER",
            doc="The VMM gets an exit for a synchronous external abort (KVM_EXIT_ARM_SEA).",
            source=_ARM,
            since=(6, 19),
        ),
    )
}
"""By name, in the order of their numbers. KVM_CAP_ARM_MTE is the feature `mte`."""
