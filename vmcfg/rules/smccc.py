"""VMC6xx: the SMCCC filter. VMC601-605 are in `timers` and `steal_time`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.description.model import SmcccEntry
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import NEVER_ASKED, WARNING, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import CPU_ON, SMCCC_RESERVED, STEAL_TIME_CALLS, U32_GREATEST
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import overlaps
from vmcfg.vm.machine import Machine

SMCCC = abi.setting(abi.SMCCC_FILTER)


@machine_rule("VMC606", Answer(SMCCC, "EINVAL", "set"), about="smccc_filter")
def invalid_smccc_range(machine: Machine) -> Iterator[Finding]:
    """A range of the SMCCC filter must contain at least one function id and must not end above
    0xffffffff.

    Source: hypercalls.c:kvm_smccc_set_filter; tested on 6.12 to 7.3."""
    for index, entry in enumerate(machine.smccc_filter):
        at = ("smccc_filter", index, "count")
        if entry.count == 0:
            message = f"the SMCCC filter range at {entry.base:#x} is empty"
            yield Finding(at, message, hint="set 'count' to 1 or more, or remove the entry")
        elif _last_of(entry) > U32_GREATEST:
            message = f"SMCCC filter range {_extent(entry)} exceeds 32 bits"
            room = max(0, U32_GREATEST + 1 - entry.base)
            hint = f"set 'count' to {room} or less" if room else "use a 'base' of at most 32 bits"
            # KVM sees only 32 bits of a base or a count, which is then another range.
            is_cut = max(entry.base, entry.count) > U32_GREATEST
            kernel = NEVER_ASKED if is_cut else None
            yield Finding(at, message, hint=hint, kernel=kernel)


@machine_rule("VMC607", Answer(SMCCC, "EEXIST", "set"), about="smccc_filter")
def overlapping_smccc_ranges(machine: Machine) -> Iterator[Finding]:
    """Ranges of the SMCCC filter must not overlap.

    Source: hypercalls.c:kvm_smccc_set_filter; tested on 6.12 to 7.3."""
    entries = machine.smccc_filter
    function_ids = [(entry.base, entry.base + entry.count) for entry in entries]
    for index, other in overlaps(function_ids):
        yield _overlapping(index, entries[index], other, entries[other])


def _overlapping(index: int, entry: SmcccEntry, other: int, earlier: SmcccEntry) -> Finding:
    """Return the finding that the range at `index` overlaps the earlier one at `other`."""
    message = f"SMCCC filter range {_extent(entry)} overlaps range {_extent(earlier)}"
    last = _last_of(earlier)
    return Finding(
        ("smccc_filter", index, "base"),
        message,
        hint="remove one of the two, or change 'base' and 'count' so that they do not overlap",
        related=((("smccc_filter", other, "base"), f"this range ends at {last:#x}"),),
    )


@machine_rule("VMC608", Answer(SMCCC, "EEXIST", "set"), about="smccc_filter")
def reserved_smccc_range(machine: Machine) -> Iterator[Finding]:
    """A range of the SMCCC filter must not contain Arm architecture calls, which are reserved for
    KVM: 0x80000000-0x8000ffff and 0xc0000000-0xc000ffff.

    Source: hypercalls.c:kvm_smccc_filter_insert_reserved; tested on 6.12 to 7.3."""
    for index, entry in enumerate(machine.smccc_filter):
        for reserved in SMCCC_RESERVED:
            if _overlap(entry, reserved.start, reserved.stop - 1):
                message = (
                    f"SMCCC filter range {_extent(entry)} contains function ids"
                    " that are reserved for KVM"
                )
                hint = _hint_outside(entry, reserved)
                yield Finding(("smccc_filter", index, "base"), message, hint=hint)
                break  # one finding per range is enough


def _hint_outside(entry: SmcccEntry, reserved: range) -> str:
    """Return the hint to keep what of a range is not reserved."""
    if entry.base < reserved.start:
        count = reserved.start - entry.base
        return f"set 'count: {count:#x}', so that the range ends below {reserved.start:#x}"
    if _last_of(entry) >= reserved.stop:
        return f"start the range at {reserved.stop:#x}"
    return f"remove this entry: {reserved.start:#x}-{reserved.stop - 1:#x} cannot be filtered"


@machine_rule("VMC609", Answer(SMCCC), WARNING, about="smccc_filter")
def filtered_steal_time_call(machine: Machine) -> Iterator[Finding]:
    """With `steal_time`, the SMCCC filter should not filter the calls with which guests find it:
    0xc5000020 and 0xc5000021.

    If one of them is denied, or forwarded to a VMM that does not implement it, the guest has no
    steal time.

    Source: hypercalls.c:kvm_smccc_call_handler, Linux 7.2; Arm DEN0057."""
    if machine.steal_time is None:
        return
    for index, entry in enumerate(machine.smccc_filter):
        filtered = [call for call in STEAL_TIME_CALLS if _overlap(entry, call, call)]
        if entry.action != "handle" and filtered:
            call = filtered[0]
            message = (
                f"the SMCCC filter takes {STEAL_TIME_CALLS[call]} ({call:#x}) from KVM:"
                " guests have no steal time"
            )
            hint = f"remove {call:#x} from the range, or remove 'steal_time'"
            related = ((("steal_time",), "the steal time"),)
            at = ("smccc_filter", index, "base")
            yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC610", Answer(SMCCC), WARNING, about="smccc_filter")
def denied_cpu_on(machine: Machine) -> Iterator[Finding]:
    """With more than one vCPU, the SMCCC filter should not deny PSCI CPU_ON: 0xc4000003.

    Without it, the guest can start only the boot vCPU. If it is forwarded, the VMM must implement
    it. The id 0x84000003 is used only by 32-bit guests.

    Source: hypercalls.c:kvm_smccc_call_handler, Linux 7.2; Arm DEN0022."""
    vcpus = len(machine.vcpus)
    for index, entry in enumerate(machine.smccc_filter):
        if vcpus > 1 and entry.action == "deny" and _overlap(entry, CPU_ON, CPU_ON):
            message = (
                f"the SMCCC filter denies PSCI CPU_ON ({CPU_ON:#x}): the guest can start only one"
                f" of {vcpus} vCPUs"
            )
            hint = f"remove {CPU_ON:#x} from the range"
            related = ((("vcpus",), f"{vcpus} vCPUs"),)
            at = ("smccc_filter", index, "base")
            yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC611", Answer(SMCCC), WARNING, about="smccc_filter")
def decimal_function_id(machine: Machine) -> Iterator[Finding]:
    """A function id of the SMCCC filter should not be a decimal number whose digits, as hexadecimal
    digits, are the id of a fast call: 84000005 is 0x501bd05.

    KVM accepts it, and the call that was probably meant remains unfiltered.

    Source: hypercalls.c:kvm_smccc_set_filter, Linux 7.2; Arm DEN0028, table 2-1."""
    for index, entry in enumerate(machine.smccc_filter):
        digits = str(entry.base)
        if _is_fast_call(int(digits, 16)):
            message = (
                f"function id {digits} is {entry.base:#x};"
                f" 0x{digits} would be the id of a fast call"
            )
            hint = f"if the digits are hexadecimal, write 0x{digits}"
            yield Finding(("smccc_filter", index, "base"), message, hint=hint)


def _is_fast_call(id: int) -> bool:
    """Return whether `id` is a fast call: bit 31 is set, and bits 23 to 17 are zero."""
    return id >> 31 == 1 and id >> 17 & 0x7F == 0


def _last_of(entry: SmcccEntry) -> int:
    """Return the last function id of a range."""
    return entry.base + entry.count - 1


def _extent(entry: SmcccEntry) -> str:
    """Return the first and the last function id of a range."""
    return f"{entry.base:#x}-{_last_of(entry):#x}"


def _overlap(entry: SmcccEntry, first: int, last: int) -> bool:
    """Return whether a range contains a function id from `first` to `last`."""
    return entry.base <= last and first <= _last_of(entry)


RULES = (
    invalid_smccc_range,
    overlapping_smccc_ranges,
    reserved_smccc_range,
    filtered_steal_time_call,
    denied_cpu_on,
    decimal_function_id,
)
