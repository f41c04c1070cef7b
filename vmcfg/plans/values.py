"""TODO."""

from __future__ import annotations

from typing import Any


def decimal(value: Any) -> str:
    """Counts and small numbers as a plan shows them."""
    return str(value)


def intid(value: Any) -> str:
    """An interrupt as a plan shows it: its INTID in decimal."""
    return str(value)


def hexadecimal(value: Any) -> str:
    """Addresses, registers and packed words as a plan shows them."""
    return hex(value)


def nothing(value: Any) -> str:
    """What stands where a command carries no value."""
    return "-"


def event_filter(value: Any) -> str:
    """A PMU event filter by its struct's fields."""
    return "base_event={:#x},nevents={},action={}".format(*value)


def smccc_range(value: Any) -> str:
    """A range of the SMCCC filter by its struct's fields."""
    return "base={:#x},nr_functions={},action={}".format(*value)


def device_type(value: Any) -> str:
    """A device type by its number, where it has one."""
    return "-" if value is None else str(value)


def host_pmu(value: Any) -> str:
    """A host PMU: by the number of its type, or by its name where only the host knows the number."""
    return f"pmu:{value}" if isinstance(value, str) else str(value)


def unasked(value: Any) -> int:
    """What a GET starts from where KVM fills in the whole value: a pattern that no plan sets."""
    return 0x5A5A_5A5A_5A5A_5A5A


def region_index(value: Any) -> int:
    """What a GET of a redistributor region starts from: the index of the region that is asked for."""
    return int(value) & 0xFFF


def _memory_shown(value: Any) -> str:
    return "slot={},base={:#x},size={:#x}".format(*value)
