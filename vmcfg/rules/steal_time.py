"""VMC6xx: steal time. VMC601, 602 and 606-608 are in `timers` and `smccc`."""

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


@machine_rule("VMC603", Answer(PVTIME, "EINVAL", "set"), about="steal_time")
def misaligned_steal_time(machine: Machine) -> Iterator[Finding]:
    """Steal time must start at a multiple of 64.

    Source: pvtime.c:kvm_arm_pvtime_set_attr; tested on 6.1 to 7.3."""
    if machine.steal_time is None:
        return
    base = machine.steal_time.base
    beyond = base % STEAL_TIME_SIZE
    if beyond:
        down = base - beyond
        up = down + STEAL_TIME_SIZE
        message = f"steal time must start at a multiple of {STEAL_TIME_SIZE}, not {base:#x}"
        hint = f"use the nearest multiple: {down:#x} or {up:#x}"
        yield Finding(BASE, message, hint=hint)


@machine_rule("VMC604", Answer(PVTIME, "EINVAL", "set"), about="steal_time")
def steal_time_outside_slot(machine: Machine) -> Iterator[Finding]:
    """The steal time of each vCPU, which has 64 bytes, must be inside one memory slot that KVM can
    write: one without `readonly`.

    Source: pvtime.c:kvm_arm_pvtime_set_attr; tested on 6.1 to 7.3."""
    addresses = steal_time_addresses(machine)
    if addresses is None:
        return
    writable = _writable_slots(machine)
    if any(_contains(slot, addresses) for slot in writable):
        return
    from vmcfg.vm.overlaps import Sorted

    slots = Sorted([slot.addresses for slot in writable])
    # The slots that contain an address start below the one after it.
    ends = [(address, slots.highest_end(address + 1)) for address in addresses]
    outside = [
        (address, end, vcpu)
        for (address, end), vcpu in zip(ends, machine.vcpus, strict=True)
        if end < address + STEAL_TIME_SIZE
    ]
    if not outside:
        return
    address, _, vcpu = outside[0]
    base, end = addresses.start, addresses.stop
    kind = "writable " if any(slot.readonly for slot in machine.memory) else ""
    message = (
        f"the steal time of vCPU {vcpu.name} ({address:#x}-{address + STEAL_TIME_SIZE - 1:#x})"
        f" is not inside a {kind}memory slot"
    )
    # KVM checks only that the first byte is in some slot.
    is_accepted = all(address < end for address, end, _ in outside)
    yield Finding(
        BASE,
        message,
        label=f"{STEAL_TIME_SIZE} bytes per vCPU: {base:#x}-{end - 1:#x}",
        hint=_slot_hint(machine, base, end),
        kernel=Answer(PVTIME) if is_accepted else None,
    )


def _writable_slots(machine: Machine) -> list[MemorySlot]:
    """Return the memory slots that KVM can write."""
    return [slot for slot in machine.memory if not slot.readonly]


def _contains(slot: MemorySlot, addresses: range) -> bool:
    """Return whether a memory slot contains the steal time of every vCPU."""
    return slot.base <= addresses.start and addresses.stop <= slot.base + slot.size


def _slot_hint(machine: Machine, base: int, end: int) -> str:
    """Return the hint that puts base-end into one memory slot: a new one, or an existing one."""
    # The pages around base-end, as large as a host can have them.
    first = base - base % GREATEST_PAGE_SIZE
    last = end + -end % GREATEST_PAGE_SIZE
    # Not 1 << ipa_bits: an impossible number of bits, which VMC201 finds, would need much memory.
    is_addressable = (last - 1).bit_length() <= machine.ipa_bits
    if is_addressable and _is_free(machine, first, last):
        return f"add {{base: {first:#x}, size: {(last - first) >> 10}KiB}} to 'memory'"
    slot = _roomy_slot(machine, end - base)
    if slot is None:
        return "add a memory slot for it and move it there"
    return f"move it into a memory slot, for example to {slot.base:#x}"


def _is_free(machine: Machine, base: int, end: int) -> bool:
    """Return whether no memory slot and no frame of the GIC has an address of base-end."""
    for slot in machine.memory:
        if base < slot.base + slot.size and slot.base < end:
            return False
    return not any(frame.overlaps(base, end) for frame in frames(machine))


def _roomy_slot(machine: Machine, size: int) -> MemorySlot | None:
    """Return the first memory slot that has room for `size` bytes of steal time at its base."""
    for slot in _writable_slots(machine):
        if slot.size >= size and slot.base % STEAL_TIME_SIZE == 0:
            return slot
    return None


@machine_rule("VMC605", Answer(PVTIME), about="steal_time")
def steal_time_in_frame(machine: Machine) -> Iterator[Finding]:
    """Steal time must not overlap a GIC frame: the guest could never read what KVM writes there.

    Source: tested on 6.1 to 7.3."""
    addresses = steal_time_addresses(machine)
    if addresses is None:
        return
    base, end = addresses.start, addresses.stop
    for frame in frames(machine):
        if frame.overlaps(base, end):
            message = f"steal time {base:#x}-{end - 1:#x} overlaps {frame.name} ({frame.extent})"
            hint = "move it to a memory slot that does not overlap the GIC"
            related = ((frame.at, f"{frame.name} ends at {frame.end - 1:#x}"),)
            yield Finding(BASE, message, hint=hint, related=related)


RULES = (misaligned_steal_time, steal_time_outside_slot, steal_time_in_frame)
