"""VMC725: the ID registers that a host can show to a guest."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Answer
from vmcfg.kernel.host import Host, HostRegister
from vmcfg.kernel.register_fields import fields_of
from vmcfg.rules.kinds import host_rule
from vmcfg.rules.registers import setting_register
from vmcfg.vm.machine import Machine

ALL_BITS = (1 << 64) - 1

FIELDS_OF_FEATURES = {
    "ptrauth": frozenset(
        {
            ("ID_AA64ISAR1_EL1", "APA"),
            ("ID_AA64ISAR1_EL1", "API"),
            ("ID_AA64ISAR1_EL1", "GPA"),
            ("ID_AA64ISAR1_EL1", "GPI"),
            ("ID_AA64ISAR2_EL1", "APA3"),
            ("ID_AA64ISAR2_EL1", "GPA3"),
        }
    ),
    "sve": frozenset(
        {("ID_AA64PFR0_EL1", "SVE")}
        | {("ID_AA64ZFR0_EL1", field.name) for field in fields_of("ID_AA64ZFR0_EL1")}
    ),
    "mte": frozenset(
        {
            ("ID_AA64PFR1_EL1", "MTE"),
            ("ID_AA64PFR1_EL1", "MTE_frac"),
            ("ID_AA64PFR1_EL1", "MTEX"),
            ("ID_AA64PFR2_EL1", "MTEPERM"),
            ("ID_AA64PFR2_EL1", "MTESTOREONLY"),
            ("ID_AA64PFR2_EL1", "MTEFAR"),
        }
    ),
}
"""The fields that are 0 without a feature of the vCPU, as in a host file.

Source: sys_regs.c:__kvm_read_sanitised_id_reg, Linux 7.3.
"""

_OF_A_PMU = frozenset({("ID_AA64DFR0_EL1", "PMUVer"), ("ID_DFR0_EL1", "PerfMon")})

_OF_A_GIC = frozenset(
    {("ID_AA64PFR0_EL1", "GIC"), ("ID_PFR1_EL1", "GIC"), ("ID_AA64PFR2_EL1", "GCIE")}
)

_CHANGE_MOST_FIELDS = frozenset({"el2", "e2h0", "el1_32bit"})
"""The features with which a vCPU has other ID registers than in a host file."""


class Limit(NamedTuple):
    """Bits of a register that cannot have the value of the description on a host, and why."""

    words: str
    mask: int


@host_rule("VMC725")
def unsupported_register_value_on_host(machine: Machine, host: Host) -> Iterator[Finding]:
    """Every host must accept the values of the ID registers.

    A guest cannot have more than the host: a field must be at most that of the host (for a few
    fields, at least, or the same). If the host cannot change a field, it must be that of the host.
    `vmcfg probe --common` prints the values that several hosts accept. With the features `el2`,
    `e2h0`, and `el1_32bit`, nothing is reported: vCPUs then have other ID registers than those in a
    host file.

    Source: sys_regs.c:arm64_check_features, Linux 7.3."""
    if _CHANGE_MOST_FIELDS.intersection(machine.features):
        return
    unknown = _unknown_fields(machine)
    for index, (name, value) in enumerate(machine.registers):
        there = host.registers.get(name)
        if there is None or there.writable is None:
            continue
        limits = list(limits_of(name, value, there, unknown))
        if limits:
            first, *others = limits
            more = f" (and {len(others)} more fields)" if others else ""
            nearest = value
            for limit in limits:
                nearest = nearest & ~limit.mask | there.value & limit.mask
            yield Finding(
                ("registers", index, "value"),
                f"{name}{first.words}{more}",
                hint=f"write {nearest:#x}",
                kernel=Answer(setting_register(name), "EINVAL", "set"),
            )


def _unknown_fields(machine: Machine) -> set[tuple[str, str]]:
    """Return the fields whose value in a host file is not that of the vCPUs of the machine."""
    unknown = set(_OF_A_GIC)
    for feature in machine.features:
        unknown |= FIELDS_OF_FEATURES.get(feature, frozenset())
    return unknown if machine.has_pmu() else unknown | _OF_A_PMU


def limits_of(
    name: str, value: int, there: HostRegister, unknown: Container[tuple[str, str]] = ()
) -> Iterator[Limit]:
    """Return the limits that the host has for a register and `value` does not respect, from bit 0
    on, except of the fields `unknown`.
    """
    assert there.writable is not None
    outside = ALL_BITS
    for field in fields_of(name):
        outside &= ~field.mask
        guest, host = field.of(value), field.of(there.value)
        if guest == host or (name, field.name) in unknown:
            continue
        if field.mask & ~there.writable:
            yield Limit(f".{field.name} must be {host} on the host, not {guest}", field.mask)
        elif field.allows(guest, host):
            continue
        elif guest < field.lowest:
            yield Limit(f".{field.name} must be at least {field.lowest}, not {guest}", field.mask)
        else:
            bound = {"lower": "at most ", "higher": "at least ", "equal": ""}[field.safe]
            yield Limit(f".{field.name} must be {bound}{host} on the host, not {guest}", field.mask)
    different = (value ^ there.value) & outside
    if different and fields_of(name):
        yield Limit(f": bits {different:#x} must be those of the host", different)


RULES = (unsupported_register_value_on_host,)
