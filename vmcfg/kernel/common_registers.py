"""The ID registers that guests can have alike on several hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmcfg.kernel.host import Host
from vmcfg.kernel.register_fields import Field, fields_of
from vmcfg.kernel.settable_registers import SETTABLE, SettableRegister
from vmcfg.kernel.version import version_text


class NotCommon(Exception):
    """The reason why a register cannot be the same on all hosts."""


class CommonRegisters(NamedTuple):
    """The registers that differ between hosts: `values` that all of them accept, by name, and the
    reasons why the others cannot be the same.
    """

    values: dict[str, int]
    reasons: list[str]


def common_registers(hosts: Sequence[Host]) -> CommonRegisters:
    """Return the registers that differ between `hosts`, with the best value for all of them."""
    values: dict[str, int] = {}
    reasons = []
    for name, register in SETTABLE.items():
        if len({_value(host, register) for host in hosts}) == 1:
            continue
        try:
            values[name] = _common_value(register, hosts)
        except NotCommon as reason:
            reasons.append(f"{name} cannot be the same on all hosts: {reason}")
    return CommonRegisters(values, reasons)


def _value(host: Host, register: SettableRegister) -> int | None:
    """Return the value of a register on a host; None if the host does not have it.

    If a kernel does not have a bitmap of services, all of its bits are 0.
    """
    there = host.registers.get(register.name)
    if there is not None:
        return there.value
    return None if register.bits is None else 0


def _common_value(register: SettableRegister, hosts: Sequence[Host]) -> int:
    """Return the best value of a register that all hosts accept. Raises `NotCommon`."""
    for host in hosts:
        if register.name not in host.registers:
            raise NotCommon(f"{host.name} does not have it")
        if host.kernel < register.since:
            since = version_text(register.since)
            raise NotCommon(f"{host.name} runs Linux {version_text(host.kernel)}, before {since}")
    values = [host.registers[register.name].value for host in hosts]
    if register.values is not None:
        # Every kernel accepts the earlier versions of PSCI.
        return min(values)
    if register.bits is not None:
        return _bits_of_all(values)
    fields = fields_of(register.name)
    if register.capability is not None or not fields:
        words = ", ".join(
            f"{value:#x} on {host.name}" for value, host in zip(values, hosts, strict=True)
        )
        raise NotCommon(words)
    value = _bits_of_all(values)
    for field in fields:
        value = value & ~field.mask | _common_field(register.name, field, hosts)
    return value


def _bits_of_all(values: Sequence[int]) -> int:
    common = values[0]
    for value in values:
        common &= value
    return common


def _common_field(name: str, field: Field, hosts: Sequence[Host]) -> int:
    """Return the best value of a field for all hosts, in its place in the register.

    Raises `NotCommon`.
    """
    parts = [field.of(host.registers[name].value) for host in hosts]
    if field.safe == "equal":
        best = parts[0] if len(set(parts)) == 1 else (*field.always, 0)[0]
    else:
        best = min(parts) if field.safe == "lower" else max(parts)
    for host, part in zip(hosts, parts, strict=True):
        writable = host.registers[name].writable or 0
        if part != best and field.mask & ~writable:
            raise NotCommon(f"{field.name} is always {part} on {host.name}, but {best} on others")
        if part != best and not field.allows(best, part):
            raise NotCommon(f"{field.name} must be {part} on {host.name}, but {best} on others")
    return best << field.shift & field.mask
