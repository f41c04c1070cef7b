"""The task of a plan: its commands as calls, the GIC in place of that of the VMM, and the values to
read back.

In: commands from `lowering` or `planfile`, and the positions of what they set. Out: a task, the
same for every kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.description.model import Gic
from vmcfg.findings.finding import not_written
from vmcfg.findings.position import Position
from vmcfg.kernel.abi import DEVICE_TYPES
from vmcfg.kernel.version import NEVER
from vmcfg.plans.command import Command, Row
from vmcfg.plans.operations import CREATE_VCPU, CREATE_VM, has_pmu
from vmcfg.plans.phases import CREATE, GIC_INIT, PMU_INIT
from vmcfg.plans.reading_back import reads
from vmcfg.plans.values import Integer
from vmcfg.trial.stand_in_gic import stand_in_gic
from vmcfg.trial.task import Call, Get, Kind, StandInGic, Task

PositionOf = Callable[[Command], Position]
"""The function that returns the position of a command, also of one of the stand-in GIC."""

ON_ANOTHER_HOST = "run it on another host: this command sets up the GIC of the VMM"


def task_of(
    commands: Sequence[Command],
    monitors_gic: bool,
    gic: Gic | None,
    position_of: PositionOf,
    hint_of: Callable[[Command], str | None] = lambda command: None,
) -> Task:
    """Return the task of the commands of a whole VM. With `monitors_gic`, the VMM sets up the GIC,
    which is `gic`, or unknown.

    `hint_of` returns the hint of findings about a command, if any.
    """
    kinds: dict[str, Kind] = {}

    def call(command: Command) -> Call:
        kind = kinds.setdefault(command.row.name, _kind(command.row))
        return _call(command, kind, position_of(command), hint_of(command))

    gics = []
    if monitors_gic:
        vcpus = sum(command.operation is CREATE_VCPU for command in commands)
        for version in (3, 2) if gic is None else (gic.version,):
            calls = [call(each) for each in stand_in_gic(gic, version, vcpus)]
            calls = [each._replace(hint=ON_ANOTHER_HOST) for each in calls]
            gics.append(StandInGic(DEVICE_TYPES[version][1], tuple(calls)))
    # `reads` leaves out what a kernel cannot return: ask for all, each with its first kernel.
    gets = [
        Get(step, call(get), get.read_start, get.row.read_since)
        for step, get in reads(commands, NEVER)
    ]
    return Task(tuple(map(call, commands)), tuple(gics), tuple(gets), has_pmu(commands))


def default_ipa_bits(call: Call, ipa_bits: int) -> Call:
    """Return a call that creates a VM with the default address bits, with the key to add; any other
    call as it is.
    """
    if call.operation != CREATE_VM.word:
        return call
    return call._replace(about=" (default)", hint=not_written("ipa_bits", str(ipa_bits)))


def _kind(row: Row) -> Kind:
    value = row.value
    return Kind(
        row.phase == CREATE,
        "init" if row.phase in (GIC_INIT, PMU_INIT) else "set",
        row.since,
        row.errors,
        isinstance(value, Integer) and value.signed,
        isinstance(value, Integer) and value.hexadecimal,
    )


def _call(command: Command, kind: Kind, position: Position, hint: str | None) -> Call:
    group, number, data, pmu = 0, 0, b"", None
    if command.is_resolved:
        group, number, data = command.operation.numbers(command)
    else:
        attr, pmu = command.attr, command.host_name
        assert attr is not None
        group, number = attr.group_id, attr.id
    who = f" for vCPU {command.mpidr}" if command.mpidr is not None else ""
    what = f" ({interrupt_text(command.number)})" if command.row.value.is_interrupt else ""
    return Call(
        command.operation.word,
        command.target,
        group,
        number,
        data,
        kind,
        command.text(),
        command.title,
        position,
        f"{who}{what}",
        hint,
        command.mpidr,
        pmu,
    )
