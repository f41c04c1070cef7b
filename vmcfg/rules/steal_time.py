"""VMC6xx: steal time. The hundred is that of `timers`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.description.model import MemorySlot
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import GREATEST_PAGE_SIZE
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import STEAL_TIME_SIZE, frames, steal_time_addresses
from vmcfg.vm.machine import Machine

PVTIME = abi.setting(abi.PVTIME_IPA)

BASE = ("steal_time", "base")


@machine_rule("VMC603", Answer(PVTIME, "EINVAL", "set"))
def steal_time_aligned(machine: Machine) -> Iterator[Finding]:
    """Steal time begins at a multiple of 64.

    (pvtime.c:kvm_arm_pvtime_set_attr; measured on 6.1, 6.12, 7.2)"""
    if machine.steal_time is None:
        return
    base = machine.steal_time.base
    beyond = base % STEAL_TIME_SIZE
    if beyond:
        down = base - beyond
        up = down + STEAL_TIME_SIZE
        message = f"steal time begins at {base:#x}, which is not a multiple of {STEAL_TIME_SIZE}"
        yield Finding(BASE, message, hint=f"the nearest: {down:#x} and {up:#x}")


@machine_rule("VMC604", Answer(PVTIME, "EINVAL", "set"))
def steal_time_in_one_slot(machine: Machine) -> Iterator[Finding]:
    """Steal time, 64 bytes a vCPU, lies wholly inside one memory slot.

    KVM asks for a slot at each address; only inside one is every address backed. (pvtime.c:kvm_arm_pvtime_set_attr;
    measured on 6.1, 6.12, 7.2)"""
    addresses = steal_time_addresses(machine)
    if addresses is None:
        return
    base, end = addresses.start, addresses.stop
    if any(slot.base <= base and end <= slot.base + slot.size for slot in machine.memory):
        return
    message = (
        f"steal time, {base:#x}..{end - 1:#x} for {len(machine.vcpus)} vCPUs,"
        " does not lie inside one memory slot"
    )
    # KVM asks only whether each vCPU's address is in a slot, be it one slot or several.
    is_backed = all(_is_in_memory(machine, address) for address in addresses)
    kernel = Answer(PVTIME) if is_backed else None
    yield Finding(BASE, message, hint=_slot_hint(machine, base, end), kernel=kernel)


def _is_in_memory(machine: Machine, address: int) -> bool:
    """Whether an address is in a memory slot."""
    return any(slot.base <= address < slot.base + slot.size for slot in machine.memory)


def _slot_hint(machine: Machine, base: int, end: int) -> str:
    """What to write so that base..end is in one memory slot: a new one, or one that is there."""
    # The pages around base..end, as large as a host may have them.
    first = base - base % GREATEST_PAGE_SIZE
    last = end + -end % GREATEST_PAGE_SIZE
    # Not 1 << ipa_bits: an impossible number of bits, which VMC201 finds, would need much memory.
    is_addressable = (last - 1).bit_length() <= machine.ipa_bits
    if is_addressable and _is_free(machine, first, last):
        return f"add {{base: {first:#x}, size: {(last - first) >> 10}KiB}} to memory"
    slot = _roomy_slot(machine, end - base)
    if slot is None:
        return "move it into a slot of its own"
    return f"move it into a slot, to {slot.base:#x} for one"


def _is_free(machine: Machine, base: int, end: int) -> bool:
    """Whether neither memory nor a frame of the GIC has an address of base..end."""
    for slot in machine.memory:
        if base < slot.base + slot.size and slot.base < end:
            return False
    return not any(frame.overlaps(base, end) for frame in frames(machine))


def _roomy_slot(machine: Machine, size: int) -> MemorySlot | None:
    """The first memory slot at whose base there is room for so many bytes of steal time."""
    for slot in machine.memory:
        if slot.size >= size and slot.base % STEAL_TIME_SIZE == 0:
            return slot
    return None


@machine_rule("VMC605", Answer(PVTIME))
def steal_time_outside_frames(machine: Machine) -> Iterator[Finding]:
    """Steal time lies in no frame of the GIC: what KVM writes there the guest could never read.

    (measured on 6.1, 6.12, 7.2)"""
    addresses = steal_time_addresses(machine)
    if addresses is None:
        return
    base, end = addresses.start, addresses.stop
    for frame in frames(machine):
        if frame.overlaps(base, end):
            message = f"steal time, {base:#x}..{end - 1:#x}, lies in {frame.name}, {frame.extent}"
            yield Finding(BASE, message, hint="move it", related=((frame.at, frame.name),))


RULES = (steal_time_aligned, steal_time_in_one_slot, steal_time_outside_frames)
