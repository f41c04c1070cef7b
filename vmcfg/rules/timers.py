"""VMC6xx: the timers' PPIs, steal time, and the SMCCC filter."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.description.model import SmcccEntry
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import dotted
from vmcfg.findings.rule import NEVER_ASKED, Answer
from vmcfg.kernel import abi
from vmcfg.rules.gic import no_ppi
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import STEAL_TIME_SIZE, frames
from vmcfg.vm.machine import ClaimedPpi, Machine

SET = {
    "virtual": abi.setting(abi.TIMER_IRQ_VTIMER),
    "physical": abi.setting(abi.TIMER_IRQ_PTIMER),
    "hyp_virtual": abi.setting(abi.TIMER_IRQ_HVTIMER),
    "hyp_physical": abi.setting(abi.TIMER_IRQ_HPTIMER),
}

PVTIME = abi.setting(abi.PVTIME_IPA)

SMCCC = abi.setting(abi.SMCCC_FILTER)

RESERVED = (0x80000000, 0xC0000000)
"""The Arm architecture calls, of 2^16 functions each, that KVM handles itself."""


@machine_rule("VMC601", Answer(SET["virtual"], "EINVAL", "set"))
def timer_irqs_are_ppis(machine: Machine) -> Iterator[Finding]:
    """A timer's interrupt is a PPI, INTID 16 to 31.

    (arch_timer.c:kvm_arm_timer_set_attr; measured on 6.1, 6.12, 7.2)"""
    for key, call in SET.items():
        written = getattr(machine.timers, key)
        if written is not None:
            yield from no_ppi(
                written, ("timers", key), f"timers.{key}", Answer(call, "EINVAL", "set")
            )


@machine_rule("VMC602", Answer("KVM_RUN", "EINVAL", "run"))
def timer_ppis_distinct(machine: Machine) -> Iterator[Finding]:
    """The timers in use have different PPIs, also where they are not written.

    Those are the EL1 timers, 27 (virtual) and 30 (physical) by default; with `el2` also the EL2 timers, 28 and 26, and
    the GIC's maintenance interrupt, 25. KVM takes all numbers; the second one finds its PPI taken at the first KVM_RUN.
    Without EL2 the EL2 timers are unused and may have any. (arch_timer.c:timer_irqs_are_valid; measured on 6.1, 6.12,
    7.2, with EL2 on 7.2)"""
    used: dict[int, ClaimedPpi] = {}
    for claimed in sorted(machine.claimed_ppis(), key=lambda claimed: claimed.written):
        earlier = used.setdefault(claimed.intid, claimed)
        if earlier is claimed:
            continue
        default = "" if earlier.written else " by default"
        message = f"{dotted(claimed.at)} is {interrupt_text(claimed.intid)}, but that is taken{default} by {earlier.name}"
        related = ((earlier.at, earlier.name),) if earlier.written else ()
        usual = "virtual 27, physical 30"
        if machine.has_el2():
            usual += ", hyp_virtual 28, hyp_physical 26, maintenance_irq 25"
        yield Finding(claimed.at, message, f"the usual ones: {usual}", related=related)


@machine_rule("VMC603", Answer(PVTIME, "EINVAL", "set"))
def steal_time_aligned(machine: Machine) -> Iterator[Finding]:
    """Steal time begins at a multiple of 64.

    (pvtime.c:kvm_arm_pvtime_set_attr; measured on 6.1, 6.12, 7.2)"""
    if machine.steal_time is not None and machine.steal_time.base % STEAL_TIME_SIZE:
        base = machine.steal_time.base
        down = base // STEAL_TIME_SIZE * STEAL_TIME_SIZE
        message = f"steal time begins at {base:#x}, which is not a multiple of 64"
        yield Finding(
            ("steal_time", "base"),
            message,
            f"the nearest: {down:#x} and {down + STEAL_TIME_SIZE:#x}",
        )


@machine_rule("VMC604", Answer(PVTIME, "EINVAL", "set"))
def steal_time_in_one_slot(machine: Machine) -> Iterator[Finding]:
    """Steal time, 64 bytes a vCPU, lies wholly inside one memory slot.

    KVM asks for a slot at each address; only inside one is every address backed. (pvtime.c:kvm_arm_pvtime_set_attr;
    measured on 6.1, 6.12, 7.2)"""
    if machine.steal_time is None:
        return
    base = machine.steal_time.base
    end = base + STEAL_TIME_SIZE * len(machine.vcpus)
    if any(slot.base <= base and end <= slot.base + slot.size for slot in machine.memory):
        return
    addresses = range(base, end, STEAL_TIME_SIZE)
    backed = all(
        any(slot.base <= at < slot.base + slot.size for slot in machine.memory) for at in addresses
    )
    message = f"steal time, {base:#x}..{end - 1:#x} for {len(machine.vcpus)} vCPUs, does not lie inside one memory slot"
    hint = _slot_hint(machine, base, end)
    yield Finding(("steal_time", "base"), message, hint, kernel=Answer(PVTIME) if backed else None)


def _slot_hint(machine: Machine, base: int, end: int) -> str:
    """What to write so that base..end lies in one memory slot: one for it, or one that is there already."""
    first, last = base // 0x10000 * 0x10000, -(-end // 0x10000) * 0x10000
    taken = [(slot.base, slot.base + slot.size) for slot in machine.memory]
    taken += [(frame.base, frame.end) for frame in frames(machine)]
    # Not 1 << ipa_bits: an impossible number of bits is found by another rule, and would not fit into memory.
    fits = (last - 1).bit_length() <= machine.ipa_bits
    if fits and not any(first < beyond and begin < last for begin, beyond in taken):
        return f"add {{base: {first:#x}, size: {(last - first) >> 10}KiB}} to memory"
    roomy = next(
        (
            slot
            for slot in machine.memory
            if slot.size >= end - base and slot.base % STEAL_TIME_SIZE == 0
        ),
        None,
    )
    return (
        "move it into a slot of its own"
        if roomy is None
        else f"move it into a slot, to {roomy.base:#x} for one"
    )


@machine_rule("VMC605", Answer(PVTIME))
def steal_time_outside_frames(machine: Machine) -> Iterator[Finding]:
    """Steal time lies in no frame of the GIC: what KVM writes there the guest could never read.

    (measured on 6.1, 6.12, 7.2)"""
    if machine.steal_time is None:
        return
    base = machine.steal_time.base
    end = base + STEAL_TIME_SIZE * len(machine.vcpus)
    for frame in frames(machine):
        if base < frame.end and frame.base < end:
            message = f"steal time, {base:#x}..{end - 1:#x}, lies in {frame.name}, {frame.extent}"
            yield Finding(
                ("steal_time", "base"), message, "move it", related=((frame.at, frame.name),)
            )


@machine_rule("VMC606", Answer(SMCCC, "EINVAL", "set"))
def smccc_ranges_end_in_32_bits(machine: Machine) -> Iterator[Finding]:
    """A range of the SMCCC filter has at least one function, and ends at 0xffffffff at the latest.

    (hypercalls.c:kvm_smccc_set_filter; measured on 6.12, 7.2)"""
    for index, (_, base, count) in enumerate(machine.smccc_filter):
        at = ("smccc_filter", index, "count")
        if not count:
            yield Finding(
                at, f"the SMCCC filter's range at {base:#x} has no function", "leave it out"
            )
        elif base + count > 1 << 32:
            # A base or count beyond 32 bits is cut: what then becomes of it is another range.
            kernel = None if base < 1 << 32 and count < 1 << 32 else NEVER_ASKED
            message = (
                f"the SMCCC filter's range {base:#x}..{base + count - 1:#x} ends beyond 32 bits"
            )
            yield Finding(
                at, message, f"at most {max(0, (1 << 32) - base)} functions", kernel=kernel
            )


@machine_rule("VMC607", Answer(SMCCC, "EEXIST", "set"))
def smccc_ranges_disjoint(machine: Machine) -> Iterator[Finding]:
    """No two ranges of the SMCCC filter share a function.

    (hypercalls.c:kvm_smccc_set_filter; measured on 6.12, 7.2)"""
    entries = machine.smccc_filter
    for index, entry in enumerate(entries):
        for other, earlier in enumerate(entries[:index]):
            if (
                entry.base < earlier.base + earlier.count
                and earlier.base < entry.base + entry.count
            ):
                message = (
                    f"the SMCCC filter's range {_functions(entry)} overlaps {_functions(earlier)}"
                )
                related = ((("smccc_filter", other, "base"), "the earlier range"),)
                yield Finding(
                    ("smccc_filter", index, "base"),
                    message,
                    "a function has one entry",
                    related=related,
                )
                break


@machine_rule("VMC608", Answer(SMCCC, "EEXIST", "set"))
def smccc_ranges_not_reserved(machine: Machine) -> Iterator[Finding]:
    """No range of the SMCCC filter has one of the Arm architecture calls, which KVM keeps to itself.

    Those are 0x80000000..0x8000ffff and 0xc0000000..0xc000ffff. (hypercalls.c:init_smccc_filter; measured on 6.12,
    7.2)"""
    for index, entry in enumerate(machine.smccc_filter):
        for reserved in RESERVED:
            if entry.base < reserved + 0x10000 and reserved < entry.base + entry.count:
                message = f"the SMCCC filter's range {_functions(entry)} has functions that KVM keeps to itself"
                hint = f"KVM's own are {reserved:#x}..{reserved + 0xFFFF:#x}"
                yield Finding(("smccc_filter", index, "base"), message, hint)
                break


def _functions(entry: SmcccEntry) -> str:
    return f"{entry.base:#x}..{entry.base + entry.count - 1:#x}"


RULES = (
    timer_irqs_are_ppis,
    timer_ppis_distinct,
    steal_time_aligned,
    steal_time_in_one_slot,
    steal_time_outside_frames,
    smccc_ranges_end_in_32_bits,
    smccc_ranges_disjoint,
    smccc_ranges_not_reserved,
)
