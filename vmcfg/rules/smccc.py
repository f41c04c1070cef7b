"""VMC6xx: the SMCCC filter. The hundred is that of `timers`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.description.model import SmcccEntry
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import NEVER_ASKED, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import SMCCC_RESERVED, U32_GREATEST
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine

SMCCC = abi.setting(abi.SMCCC_FILTER)


@machine_rule("VMC606", Answer(SMCCC, "EINVAL", "set"))
def smccc_ranges_end_in_32_bits(machine: Machine) -> Iterator[Finding]:
    """A range of the SMCCC filter has at least one function, and ends at 0xffffffff at the latest.

    (hypercalls.c:kvm_smccc_set_filter; measured on 6.12, 7.2)"""
    for index, entry in enumerate(machine.smccc_filter):
        at = ("smccc_filter", index, "count")
        if entry.count == 0:
            message = f"the SMCCC filter's range at {entry.base:#x} has no function"
            yield Finding(at, message, hint="leave it out")
        elif _last_of(entry) > U32_GREATEST:
            message = f"the SMCCC filter's range {_extent(entry)} ends beyond 32 bits"
            room = max(0, U32_GREATEST + 1 - entry.base)
            # A base or count beyond 32 bits is cut: what then becomes of it is another range.
            is_cut = max(entry.base, entry.count) > U32_GREATEST
            kernel = NEVER_ASKED if is_cut else None
            yield Finding(at, message, hint=f"at most {room} functions", kernel=kernel)


@machine_rule("VMC607", Answer(SMCCC, "EEXIST", "set"))
def smccc_ranges_disjoint(machine: Machine) -> Iterator[Finding]:
    """No two ranges of the SMCCC filter share a function.

    (hypercalls.c:kvm_smccc_set_filter; measured on 6.12, 7.2)"""
    entries = machine.smccc_filter
    for index, entry in enumerate(entries):
        for other, earlier in enumerate(entries[:index]):
            if _overlap(entry, earlier.base, _last_of(earlier)):
                message = f"the SMCCC filter's range {_extent(entry)} overlaps {_extent(earlier)}"
                yield Finding(
                    ("smccc_filter", index, "base"),
                    message,
                    hint="a function has one entry",
                    related=((("smccc_filter", other, "base"), "the earlier range"),),
                )
                break  # one finding a range is enough


@machine_rule("VMC608", Answer(SMCCC, "EEXIST", "set"))
def smccc_ranges_not_reserved(machine: Machine) -> Iterator[Finding]:
    """No range of the SMCCC filter has one of the Arm architecture calls, which KVM keeps to itself.

    Those are 0x80000000..0x8000ffff and 0xc0000000..0xc000ffff. (hypercalls.c:init_smccc_filter; measured on 6.12,
    7.2)"""
    for index, entry in enumerate(machine.smccc_filter):
        for reserved in SMCCC_RESERVED:
            if _overlap(entry, reserved.start, reserved.stop - 1):
                message = (
                    f"the SMCCC filter's range {_extent(entry)}"
                    " has functions that KVM keeps to itself"
                )
                hint = f"KVM's own are {reserved.start:#x}..{reserved.stop - 1:#x}"
                yield Finding(("smccc_filter", index, "base"), message, hint=hint)
                break  # one finding a range is enough


def _last_of(entry: SmcccEntry) -> int:
    """The last function id of a range."""
    return entry.base + entry.count - 1


def _extent(entry: SmcccEntry) -> str:
    """The first and last function id of a range."""
    return f"{entry.base:#x}..{_last_of(entry):#x}"


def _overlap(entry: SmcccEntry, first: int, last: int) -> bool:
    """Whether a range has a function id from `first` to `last`."""
    return entry.base <= last and first <= _last_of(entry)


RULES = (smccc_ranges_end_in_32_bits, smccc_ranges_disjoint, smccc_ranges_not_reserved)
