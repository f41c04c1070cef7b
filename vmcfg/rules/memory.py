"""VMC2xx: the guest-physical address space and its memory slots."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer
from vmcfg.kernel.limits import (
    GREATEST_PAGE_SIZE,
    IPA_BITS_DEFAULT,
    IPA_BITS_GREATEST,
    IPA_BITS_LEAST,
    LEAST_PAGE_SIZE,
    MEMORY_SLOT_END,
    MOST_MEMORY_SLOTS,
)
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import address_bits
from vmcfg.vm.machine import Machine

SLOT = "KVM_SET_USER_MEMORY_REGION"


@machine_rule("VMC201", Answer("KVM_CREATE_VM", "EINVAL", "set"))
def ipa_bits_in_range(machine: Machine) -> Iterator[Finding]:
    """A guest-physical address has 32 to 52 bits.

    A host may have fewer than 52; `probe` says how many. (mmu.c:kvm_init_ipa_range, linux 7.2)"""
    bits = machine.ipa_bits
    if not IPA_BITS_LEAST <= bits <= IPA_BITS_GREATEST:
        message = f"ipa_bits is {bits}, but KVM takes {IPA_BITS_LEAST} to {IPA_BITS_GREATEST}"
        yield Finding(("ipa_bits",), message)


@machine_rule("VMC202", Answer(SLOT, "EINVAL", "set"))
def memory_slots_aligned(machine: Machine) -> Iterator[Finding]:
    """A memory slot's base and size are multiples of 64 KiB, and its size is not 0.

    A host with 64 KiB pages refuses anything else; one with 4 KiB pages takes multiples of 4 KiB.
    (kvm_main.c:kvm_set_memory_region, linux 7.2)"""
    for index, (base, size) in enumerate(machine.memory):
        if base % GREATEST_PAGE_SIZE:
            yield _unaligned(("memory", index, "base"), "base", base)
        if size % GREATEST_PAGE_SIZE:
            yield _unaligned(("memory", index, "size"), "size", size)
        elif size == 0:
            message = f"the memory slot at {base:#x} is empty"
            yield Finding(("memory", index, "size"), message, hint="leave it out")


def _unaligned(at: Path, key: str, value: int) -> Finding:
    """The finding that a base or a size is not a multiple of every host's pages."""
    message = f"the memory slot's {key}, {value:#x}, is not a multiple of 64 KiB"
    down = value - value % GREATEST_PAGE_SIZE
    up = down + GREATEST_PAGE_SIZE
    nearest = f"{down:#x} and {up:#x}"
    if key == "size" and down == 0:
        nearest = f"{up:#x}"  # a size of 0 breaks this rule, too
    # A host with 4 KiB pages accepts multiples of them.
    kernel = Answer(SLOT) if value % LEAST_PAGE_SIZE == 0 else None
    return Finding(at, message, hint=f"the nearest: {nearest}", kernel=kernel)


@machine_rule("VMC203", Answer(SLOT, "EEXIST", "set"))
def memory_slots_disjoint(machine: Machine) -> Iterator[Finding]:
    """No two memory slots share an address.

    (kvm_main.c:kvm_set_memory_region, linux 7.2)"""
    highest_end = 0
    highest_index = -1
    # By address, each slot is held to the one before it that reaches highest.
    for index in sorted(range(len(machine.memory)), key=lambda index: machine.memory[index]):
        base, size = machine.memory[index]
        if base < highest_end and size:
            yield _overlapping(machine, *sorted((index, highest_index)))
        if base + size > highest_end:
            highest_end, highest_index = base + size, index


def _overlapping(machine: Machine, first: int, second: int) -> Finding:
    """The finding that two slots overlap, in the order in which they are written."""
    earlier, later = machine.memory[first], machine.memory[second]
    message = f"the memory slot {_extent(*later)} overlaps the one at {_extent(*earlier)}"
    return Finding(
        ("memory", second, "base"),
        message,
        hint=f"the first ends at {earlier.base + earlier.size:#x}",
        related=((("memory", first, "base"), "the other slot"),),
    )


@machine_rule("VMC204", Answer(SLOT, "EFAULT", "set"))
def memory_slots_addressable(machine: Machine) -> Iterator[Finding]:
    """A memory slot ends within the guest-physical address space, 2^ipa_bits bytes.

    (mmu.c:kvm_arch_prepare_memory_region, linux 7.2)"""
    bits = address_bits(machine)
    space = 1 << bits
    for index, (base, size) in enumerate(machine.memory):
        end = base + size
        if end <= space:
            continue
        message = f"the memory slot {_extent(base, size)} ends beyond the {bits}-bit address space"
        needed = (end - 1).bit_length()
        hint = f"end it at {space:#x}"
        if needed <= IPA_BITS_GREATEST:
            hint = f"write 'ipa_bits: {needed}', or end it at {space:#x}"
        related: tuple[tuple[Path, str], ...] = ()
        if machine.ipa_bits != IPA_BITS_DEFAULT:  # otherwise it may not be written
            related = ((("ipa_bits",), "the address space"),)
        # The sum of base and size overflows its 64 bits, which KVM looks at first.
        kernel = Answer(SLOT, "EINVAL", "set") if end >= 1 << 64 else None
        yield Finding(("memory", index, "base"), message, hint=hint, related=related, kernel=kernel)


@machine_rule("VMC205", Answer(SLOT, "EINVAL", "set"))
def memory_slots_within_limits(machine: Machine) -> Iterator[Finding]:
    """A memory slot holds less than 8 TiB, and there are at most 32,767 of them.

    8 TiB are 2^31 pages of 4 KiB; a host with larger pages takes more. (kvm_main.c:kvm_set_memory_region,
    KVM_CAP_NR_MEMSLOTS; measured on 6.1, 6.12, 7.2)"""
    for index, (base, size) in enumerate(machine.memory):
        if size >= MEMORY_SLOT_END:
            message = (
                f"the memory slot at {base:#x} has {size:#x} bytes,"
                " but KVM takes less than 8 TiB in one"
            )
            yield Finding(("memory", index, "size"), message, hint="make several of it")
    count = len(machine.memory)
    if count > MOST_MEMORY_SLOTS:
        message = f"there are {count} memory slots, but KVM takes {MOST_MEMORY_SLOTS} at most"
        yield Finding(("memory", MOST_MEMORY_SLOTS), message, hint="make some of them larger")


def _extent(base: int, size: int) -> str:
    """A slot's first and last address, or where it is if it is empty."""
    return f"{base:#x}..{base + size - 1:#x}" if size else f"{base:#x}"


RULES = (
    ipa_bits_in_range,
    memory_slots_aligned,
    memory_slots_disjoint,
    memory_slots_addressable,
    memory_slots_within_limits,
)
