"""VMC2xx: the guest-physical address space and its memory slots."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.description.model import MemorySlot
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Answer
from vmcfg.kernel.limits import (
    GREATEST_PAGE_SIZE,
    IPA_BITS_DEFAULT,
    IPA_BITS_GREATEST,
    IPA_BITS_LEAST,
    LEAST_PAGE_SIZE,
    MOST_MEMORY_SLOTS,
    MOST_PAGES_OF_SLOT,
    PAGE_SIZES,
)
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import address_bits, address_space_text, overlaps
from vmcfg.vm.machine import Machine

SLOT = "KVM_SET_USER_MEMORY_REGION"


@machine_rule("VMC201", Answer("KVM_CREATE_VM", "EINVAL", "set"))
def ipa_bits_out_of_range(machine: Machine) -> Iterator[Finding]:
    """A guest-physical address must have 32 to 52 bits.

    A host can support fewer than 52: `vmcfg probe` prints its maximum.

    Source: mmu.c:kvm_init_ipa_range, Linux 7.2."""
    bits = machine.ipa_bits
    if not IPA_BITS_LEAST <= bits <= IPA_BITS_GREATEST:
        message = f"'ipa_bits' must be {IPA_BITS_LEAST} to {IPA_BITS_GREATEST}, not {bits}"
        hint = f"remove 'ipa_bits': the default is {IPA_BITS_DEFAULT}"
        yield Finding(("ipa_bits",), message, hint=hint)


@machine_rule("VMC202", Answer(SLOT, "EINVAL", "set"), about="memory")
def misaligned_memory_slot(machine: Machine) -> Iterator[Finding]:
    """The base and the size of a memory slot must be multiples of 4 KiB, and the size must not be
    0.

    4 KiB is the smallest page size of arm64 hosts; VMC206 warns about larger pages.

    Source: kvm_main.c:kvm_set_memory_region, Linux 7.2."""
    for index, slot in enumerate(machine.memory):
        base, size, _ = slot
        if base % LEAST_PAGE_SIZE:
            message = f"the base of memory slot {base:#x} must be a multiple of 4 KiB"
            hint = alignment_hint(base, LEAST_PAGE_SIZE)
            yield Finding(("memory", index, "base"), message, hint=hint)
        if size % LEAST_PAGE_SIZE:
            message = (
                f"the size of memory slot {base:#x} must be a multiple of 4 KiB, not {size:#x}"
            )
            yield Finding(("memory", index, "size"), message, hint=_size_hint(size))
        elif size == 0:
            message = f"memory slot {base:#x} is empty"
            at = ("memory", index, "size")
            yield Finding(at, message, hint="remove the slot", label="empty")


def alignment_hint(address: int, alignment: int) -> str:
    """Return the hint for a misaligned address: the same digits as hexadecimal if these are
    aligned, because then a lost 0x is likely. The nearest multiple would only hide that.
    """
    digits = str(address)
    if int(digits, 16) % alignment == 0:
        return f"if the digits are hexadecimal, write 0x{digits}"
    return f"use a multiple of {alignment:#x}"


def _size_hint(size: int) -> str:
    """Return the hint for a size: a small one is probably a number of MiB, not of bytes."""
    if size < SMALLEST_MEMORY:
        return f"if you mean MiB, write {size}MiB: {size} is a number of bytes"
    return alignment_hint(size, LEAST_PAGE_SIZE)


SMALLEST_MEMORY = 1 << 20
"""The size in bytes below which a slot cannot be the RAM of a guest."""


def misaligned_slots(machine: Machine, page_size: int) -> Iterator[tuple[Path, int, str]]:
    """Return the path, the value, and the name of each base and size that is not a multiple of the
    page size, if it is a multiple of the smallest one.
    """
    for index, slot in enumerate(machine.memory):
        for key, value in (("base", slot.base), ("size", slot.size)):
            if value % page_size and value % LEAST_PAGE_SIZE == 0:
                shown = f" ({value:#x})" if key == "size" else ""
                name = f"the {key} of memory slot {slot.base:#x}{shown}"
                yield ("memory", index, key), value, name


@machine_rule(
    "VMC206",
    Answer(SLOT, "EINVAL", "set", condition="on a host with 64 KiB pages"),
    WARNING,
    about="memory",
)
def small_page_memory_slot(machine: Machine) -> Iterator[Finding]:
    """The base and the size of a memory slot should be multiples of 64 KiB, the largest page size
    of arm64 hosts.

    With `--host`, the page size of the host decides: VMC719 reports what it rejects.

    Source: kvm_main.c:kvm_set_memory_region, Linux 7.2."""
    for at, value, name in misaligned_slots(machine, GREATEST_PAGE_SIZE):
        failing = [size >> 10 for size in PAGE_SIZES if value % size]
        pages = " or ".join(str(size) for size in failing)
        message = f"{name} fails on hosts with {pages} KiB pages"
        hint = "use a multiple of 64 KiB, or check with '--host' that no host has such pages"
        if at[-1] == "size" and value < SMALLEST_MEMORY:
            hint = f"use a multiple of 64KiB; if you mean MiB, write {value}MiB"
        condition = f"on a host with {pages} KiB pages"
        yield Finding(at, message, hint=hint, kernel=Answer(SLOT, "EINVAL", "set", None, condition))


@machine_rule("VMC203", Answer(SLOT, "EEXIST", "set"), about="memory")
def overlapping_memory_slots(machine: Machine) -> Iterator[Finding]:
    """Memory slots must not overlap.

    Source: kvm_main.c:kvm_set_memory_region, Linux 7.2."""
    addresses = [slot.addresses for slot in machine.memory]
    for index, earlier in overlaps(addresses):
        yield _overlapping(machine, earlier, index)


def _overlapping(machine: Machine, first: int, second: int) -> Finding:
    """Return the finding that two slots overlap; `first` and `second` are in file order."""
    earlier, later = machine.memory[first], machine.memory[second]
    message = f"memory slot {_extent(later)} overlaps memory slot {_extent(earlier)}"
    end = earlier.base + earlier.size
    return Finding(
        ("memory", second, "base"),
        message,
        hint=f"start slot {later.base:#x} at {end:#x} or above, where the other one ends",
        related=((("memory", first, "base"), f"the other slot ends at {end - 1:#x}"),),
    )


@machine_rule("VMC204", Answer(SLOT, "EFAULT", "set"), about="memory")
def memory_slot_out_of_range(machine: Machine) -> Iterator[Finding]:
    """A memory slot must end within the guest-physical address space, which has 2^ipa_bits bytes.

    Source: mmu.c:kvm_arch_prepare_memory_region, Linux 7.2."""
    bits = address_bits(machine)
    space = 1 << bits
    for index, slot in enumerate(machine.memory):
        end = slot.base + slot.size
        if end > space:
            yield _out_of_range(machine, index, slot, bits)


def _out_of_range(machine: Machine, index: int, slot: MemorySlot, bits: int) -> Finding:
    """Return the finding that a slot ends above the address space of `bits` bits."""
    base, size, _ = slot
    end = base + size
    last = (1 << bits) - 1
    message = f"memory slot {_extent(slot)} exceeds {address_space_text(machine)}"
    needed = (end - 1).bit_length()
    hint = f"move the slot so that it ends at {last:#x} or below"
    if needed <= IPA_BITS_GREATEST:
        hint = f"set 'ipa_bits: {needed}', or {hint}"
    related: tuple[tuple[Path, str], ...] = ()
    if not machine.has_default_ipa_bits:
        related = ((("ipa_bits",), f"the last address is {last:#x}"),)
    # The sum of base and size overflows its 64 bits, which KVM checks first.
    kernel = Answer(SLOT, "EINVAL", "set") if end >= 1 << 64 else None
    return Finding(("memory", index, "base"), message, hint=hint, related=related, kernel=kernel)


@machine_rule("VMC205", Answer(SLOT, "EINVAL", "set"), about="memory")
def memory_slot_limit_exceeded(machine: Machine) -> Iterator[Finding]:
    """A memory slot must be smaller than 128 TiB, and a VM can have at most 32767 slots.

    128 TiB are 2^31 pages of 64 KiB, the largest page size of arm64 hosts; VMC207 warns about
    smaller pages.

    Source: kvm_main.c:kvm_set_memory_region, KVM_CAP_NR_MEMSLOTS; tested on 6.1 to 7.3."""
    end = slot_size_end(GREATEST_PAGE_SIZE)
    for index, (base, size, _) in enumerate(machine.memory):
        if size >= end:
            message = f"memory slot {base:#x} must be smaller than 128 TiB, not {size:#x} bytes"
            hint = "write several smaller slots, one after the other"
            yield Finding(("memory", index, "size"), message, hint=hint)
    count = len(machine.memory)
    if count > MOST_MEMORY_SLOTS:
        message = f"the VM has {count} memory slots; KVM allows at most {MOST_MEMORY_SLOTS}"
        hint = "write fewer and larger slots"
        yield Finding(("memory", MOST_MEMORY_SLOTS), message, hint=hint)


def slot_size_end(page_size: int) -> int:
    """Return one more byte than the maximum size of a slot on a host with pages of that size."""
    return (MOST_PAGES_OF_SLOT + 1) * page_size


def oversized_slots(machine: Machine, page_size: int) -> Iterator[tuple[Path, MemorySlot]]:
    """Return each slot that has too many pages of that size, if it has not with the largest ones,
    and the path of its size.
    """
    for index, slot in enumerate(machine.memory):
        if slot_size_end(page_size) <= slot.size < slot_size_end(GREATEST_PAGE_SIZE):
            yield ("memory", index, "size"), slot


@machine_rule(
    "VMC207",
    Answer(SLOT, "EINVAL", "set", condition="on a host with 4 KiB pages"),
    WARNING,
    about="memory",
)
def large_memory_slot(machine: Machine) -> Iterator[Finding]:
    """A memory slot should be smaller than 8 TiB: 2^31 pages of 4 KiB, the smallest page size of
    arm64 hosts.

    A host with 16 KiB pages accepts slots of less than 32 TiB. With `--host`, the page size of the
    host decides: VMC719 reports what it rejects.

    Source: kvm_main.c:kvm_set_memory_region, KVM_MEM_MAX_NR_PAGES, Linux 7.2; tested with 4 KiB
    pages on 6.1 to 7.3."""
    for at, (base, size, _) in oversized_slots(machine, LEAST_PAGE_SIZE):
        failing = [page_size >> 10 for page_size in PAGE_SIZES if size >= slot_size_end(page_size)]
        condition = f"on a host with {' or '.join(map(str, failing))} KiB pages"
        message = f"memory slot {base:#x} of {size:#x} bytes fails {condition}"
        hint = "write slots of less than 8 TiB, or check with '--host' that no host has such pages"
        kernel = Answer(SLOT, "EINVAL", "set", condition=condition)
        yield Finding(at, message, hint=hint, kernel=kernel)


def _extent(slot: MemorySlot) -> str:
    """Return the first and the last address of a slot, or its base if it is empty."""
    base, size, _ = slot
    return f"{base:#x}-{base + size - 1:#x}" if size else f"{base:#x}"


RULES = (
    ipa_bits_out_of_range,
    misaligned_memory_slot,
    overlapping_memory_slots,
    memory_slot_out_of_range,
    memory_slot_limit_exceeded,
    small_page_memory_slot,
    large_memory_slot,
)
