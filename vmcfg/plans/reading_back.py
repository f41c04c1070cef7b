"""The way back: the commands that show, by KVM's own answers, that a machine is set up as
planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmcfg.arm.affinity import mpidr_register
from vmcfg.plans.apis import VCPU, Api
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import CREATE_VCPU, GET_REG, INIT_VCPU, READING
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Plan
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.machine import Machine

_MPIDR_ROW = next(row for row in SEQUENCE if row.name == "vcpu.mpidr")


def reads(commands: Sequence[Command]) -> Iterator[tuple[int, Command]]:
    """The GETs that show what `commands`, a whole VM's, have done: each with the place of the
    command that it is about.

    The value of each is the one expected. Every vCPU's MPIDR is among them, also where KVM gives
    it.
    """
    vcpus = {
        command.target: command.mpidr for command in commands if command.operation is CREATE_VCPU
    }
    mpidr_is_set = {command.target for command in commands if command.row is _MPIDR_ROW}
    for place, command in enumerate(commands):
        if command.operation is INIT_VCPU and command.target not in mpidr_is_set:
            # The plan sets nothing here: it counts on KVM's own MPIDR for this vCPU's id.
            yield place, _expected_mpidr(command)
        if not command.row.readable:
            continue
        get = command._replace(operation=READING[command.operation])
        if not command.row.vm_wide:
            yield place, get
            continue
        for target, mpidr in vcpus.items():
            yield place, get._replace(target=target, mpidr=mpidr)


def _expected_mpidr(command: Command) -> Command:
    """The command that reads MPIDR_EL1 of the vCPU that `command` is for."""
    assert command.mpidr is not None
    affinities = bytes(map(int, command.mpidr.split(".")))
    payload = (mpidr_register(int.from_bytes(affinities, "big")),)
    value = _MPIDR_ROW.value.text(payload)
    return command._replace(operation=GET_REG, row=_MPIDR_ROW, value=value, payload=payload)


def read_back(
    machine: Machine,
    phases: tuple[PlanPhase, ...] = PHASES,
    unchecked: bool = False,
    api: Api = VCPU,
) -> Plan:
    """The plan that reads what `lower` sets in `phases`, once it was performed: the MPIDRs by id,
    then the rest.
    """
    commands = lower(machine, WHOLE_VM, PHASES, unchecked, api).commands
    every = [get for _, get in reads(commands) if get.row.phase in phases]
    mpidrs = {get.target: get for get in every if get.operation is GET_REG}
    by_id = [
        mpidrs[f"vcpu:{vcpu.id}"]._replace(origin=vcpu.at)
        for vcpu in machine.vcpus
        if f"vcpu:{vcpu.id}" in mpidrs
    ]
    rest = [get for get in every if get.operation is not GET_REG]
    return Plan(machine, (*by_id, *rest), ATTRIBUTES, unchecked, api, _unreadable(commands, phases))


def _unreadable(commands: Sequence[Command], phases: tuple[PlanPhase, ...]) -> tuple[str, ...]:
    """The names of the attributes that `commands` set in `phases` and KVM has no GET for, each
    once.
    """
    titles = {}
    for command in commands:
        row = command.row
        if row.attr is not None and not row.readable and row.phase in phases:
            titles[row.attr.title] = True
    return tuple(titles)
