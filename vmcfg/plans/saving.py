"""The commands that save the state of a vGIC, and those that restore it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from vmcfg.kernel.abi import Attr, Register
from vmcfg.kernel.state import STATE_ERRORS
from vmcfg.plans.command import Command, Row, Selected, Target
from vmcfg.plans.operations import GET_ATTR, SET_ATTR
from vmcfg.plans.phases import STATE
from vmcfg.plans.plan import STATE_SCOPE, Plan
from vmcfg.plans.state import (
    CTRL,
    CTRL_NAME,
    StateAction,
    StateLine,
    StateRow,
    demands_vcpu,
    saved_state_of,
    state_of,
)
from vmcfg.plans.values import NO_VALUE, STATE_WORD, WORD
from vmcfg.vm.machine import Machine, Vcpu


def state_plan(machine: Machine, saves: bool, unchecked: bool = False) -> Plan:
    """Return the plan that saves or restores the state of the vGIC of `machine`.

    `machine` has a `gic`, and `vmcfg.rules.state` has no finding about it.
    """
    version = machine.gic_version()
    assert version is not None
    rows = saved_state_of(version) if saves else state_of(version)
    commands: list[Command] = []
    for row in rows:
        if row.applies(machine):
            commands += _commands(row, machine, saves)
    return Plan(machine, tuple(commands), STATE_SCOPE, unchecked, unread=() if saves else None)


def state_rows() -> list[Row]:
    """Return every kind of command of these plans, each name once."""
    lines = [line for version in (3, 2) for line in (*state_of(version), *saved_state_of(version))]
    rows = {line: _row(line, saves) for line in lines for saves in (True, False)}
    return list({row.name: row for row in rows.values()}.values())


def _commands(line: StateLine, machine: Machine, saves: bool) -> Iterator[Command]:
    row = _row(line, saves)
    if isinstance(line, StateAction):
        for target in _targets(line, machine):
            yield Command(row.operation, row, target, "-", ())
        return
    payload = None if line.constant is None else (line.constant,)
    value = "-" if payload is None else row.value.text(payload)
    for access in line.accesses(machine.nr_irqs()):
        for target, vcpu in _owners(line, machine):
            yield Command(
                row.operation,
                row,
                target,
                value,
                payload,
                mpidr=vcpu.name if vcpu is not None and line.part == "vcpu" else None,
                attr_id=_who(vcpu, machine) | access.number,
                own_register=Register(access.register, access.number),
            )


def _targets(line: StateLine, machine: Machine) -> list[str]:
    """Return the devices of a row: every ITS, or the GIC."""
    if line.part != "its":
        return ["gic"]
    assert machine.gic is not None
    return [f"its:{number}" for number in range(len(machine.gic.its))]


def _owners(row: StateRow, machine: Machine) -> Iterator[tuple[str, Vcpu | None]]:
    """Return the device of each register of a row, and the vCPU in its attribute, if any."""
    if row.part == "vcpu":
        for vcpu in machine.vcpus:
            yield "gic", vcpu
    elif row.part == "distributor":
        yield "gic", machine.vcpus[0] if demands_vcpu(row, machine) else None
    else:
        for target in _targets(row, machine):
            yield target, None


def _who(vcpu: Vcpu | None, machine: Machine) -> int:
    """Return the vCPU in the upper half of an attribute number: its MPIDR, of a GICv2 its id."""
    if vcpu is None:
        return 0
    return (vcpu.id if machine.gic_version() == 2 else vcpu.mpidr) << 32


@cache
def _row(line: StateLine, saves: bool) -> Row:
    """Return the row of a command that saves or restores."""
    if isinstance(line, StateAction):
        return Row(
            name=f"state.{line.title}",
            phase=STATE,
            operation=SET_ATTR,
            target=_target(line),
            value=NO_VALUE,
            select=_nothing,
            doc=line.doc,
            field="gic",
            source=line.source,
            errors=STATE_ERRORS,
            attr=Attr(CTRL_NAME, CTRL, line.title, line.number),
        )
    does = "Saves" if saves else "Restores"
    if line.constant is not None:
        does = "Clears what the register after it only sets:"
    return Row(
        name=f"state.{line.register}",
        phase=STATE,
        operation=GET_ATTR if saves else SET_ATTR,
        target=_target(line),
        value=WORD if line.size == WORD.size else STATE_WORD,
        select=_nothing,
        doc=does,
        field="gic",
        source=line.source,
        errors=STATE_ERRORS,
        attr=Attr(line.group_name, line.group, "0x0", 0),
        since=line.since,
    )


def _target(line: StateLine) -> Target:
    return "its" if line.part == "its" else "gic"


def _nothing(machine: Machine) -> Iterator[Selected]:
    """Return no value of a set-up: only `state_plan` uses these rows."""
    return iter(())
