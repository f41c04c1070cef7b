"""VMC2xx: the guest-physical address space and its memory slots."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.description.model import IPA_BITS
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Answer
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine

SLOT = "KVM_SET_USER_MEMORY_REGION"

GRANULE = 0x10000
"""The largest page size of an arm64 host: 64 KiB."""

MOST_SIZE = 1 << 43

MOST_SLOTS = 32767


@machine_rule("VMC201", Answer("KVM_CREATE_VM", "EINVAL", "set"))
def ipa_bits_in_range(machine: Machine) -> Iterator[Finding]:
    """A guest-physical address has 32 to 52 bits.

    A host may have fewer than 52; `probe` says how many. (mmu.c:kvm_init_ipa_range, linux 7.2)"""
    if not IPA_BITS.least <= machine.ipa_bits <= IPA_BITS.greatest:
        yield Finding(
            ("ipa_bits",),
            f"ipa_bits is {machine.ipa_bits}, but KVM takes {IPA_BITS.least} to {IPA_BITS.greatest}",
        )


@machine_rule("VMC202", Answer(SLOT, "EINVAL", "set"))
def memory_slots_aligned(machine: Machine) -> Iterator[Finding]:
    """A memory slot's base and size are multiples of 64 KiB, and its size is not 0.

    A host with 64 KiB pages refuses anything else; one with 4 KiB pages takes multiples of 4 KiB.
    (kvm_main.c:kvm_set_memory_region, linux 7.2)"""
    for index, (base, size) in enumerate(machine.memory):
        for key, value in (("base", base), ("size", size)):
            if value % GRANULE:
                down, up = value // GRANULE * GRANULE, -(-value // GRANULE) * GRANULE
                kernel = Answer(SLOT) if value % 0x1000 == 0 else None
                message = f"the memory slot's {key}, {value:#x}, is not a multiple of 64 KiB"
                nearest = f"{down:#x} and {up:#x}" if down or key == "base" else f"{up:#x}"
                yield Finding(
                    ("memory", index, key), message, f"the nearest: {nearest}", kernel=kernel
                )
        if not size:
            yield Finding(
                ("memory", index, "size"), f"the memory slot at {base:#x} is empty", "leave it out"
            )


@machine_rule("VMC203", Answer(SLOT, "EEXIST", "set"))
def memory_slots_disjoint(machine: Machine) -> Iterator[Finding]:
    """No two memory slots share an address.

    (kvm_main.c:kvm_set_memory_region, linux 7.2)"""
    highest: tuple[int, int] | None = None
    for base, size, index in sorted(
        (base, size, index) for index, (base, size) in enumerate(machine.memory)
    ):
        if highest is not None and base < highest[0] and size:
            first, second = sorted((index, highest[1]))
            mine, other = machine.memory[second], machine.memory[first]
            message = f"the memory slot {_extent(*mine)} overlaps the one at {_extent(*other)}"
            hint = f"the first ends at {other.base + other.size:#x}"
            yield Finding(
                ("memory", second, "base"),
                message,
                hint,
                related=((("memory", first, "base"), "the other slot"),),
            )
        if highest is None or base + size > highest[0]:
            highest = (base + size, index)


@machine_rule("VMC204", Answer(SLOT, "EFAULT", "set"))
def memory_slots_addressable(machine: Machine) -> Iterator[Finding]:
    """A memory slot ends within the guest-physical address space, 2^ipa_bits bytes.

    (mmu.c:kvm_arch_prepare_memory_region, linux 7.2)"""
    space = 1 << max(32, min(machine.ipa_bits, 52))
    for index, (base, size) in enumerate(machine.memory):
        end = base + size
        if end > space:
            bits = (end - 1).bit_length()
            message = f"the memory slot {_extent(base, size)} ends beyond the {space.bit_length() - 1}-bit address space"
            hint = (
                f"write 'ipa_bits: {bits}', or end it at {space:#x}"
                if bits <= 52
                else f"end it at {space:#x}"
            )
            kernel = Answer(SLOT, "EINVAL", "set") if end >= 1 << 64 else None
            related = ((("ipa_bits",), "the address space"),) if machine.ipa_bits != 40 else ()
            yield Finding(("memory", index, "base"), message, hint, related=related, kernel=kernel)


@machine_rule("VMC205", Answer(SLOT, "EINVAL", "set"))
def memory_slots_within_limits(machine: Machine) -> Iterator[Finding]:
    """A memory slot holds less than 8 TiB, and there are at most 32,767 of them.

    8 TiB are 2^31 pages of 4 KiB; a host with larger pages takes more. (kvm_main.c:kvm_set_memory_region,
    KVM_CAP_NR_MEMSLOTS; measured on 6.1, 6.12, 7.2)"""
    for index, (base, size) in enumerate(machine.memory):
        if size >= MOST_SIZE:
            message = f"the memory slot at {base:#x} has {size:#x} bytes, but KVM takes less than 8 TiB in one"
            yield Finding(("memory", index, "size"), message, "make several of it")

    if len(machine.memory) > MOST_SLOTS:
        message = (
            f"there are {len(machine.memory)} memory slots, but KVM takes {MOST_SLOTS} at most"
        )
        yield Finding(("memory", MOST_SLOTS), message, "make some of them larger")


def _extent(base: int, size: int) -> str:
    return f"{base:#x}..{base + size - 1:#x}" if size else f"{base:#x}"


RULES = (
    ipa_bits_in_range,
    memory_slots_aligned,
    memory_slots_disjoint,
    memory_slots_addressable,
    memory_slots_within_limits,
)
