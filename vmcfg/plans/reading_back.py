"""Reading back: the commands whose answers show that KVM has set up a machine as planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmcfg.arm.affinity import mpidr_register
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import VCPU, Api
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import CREATE_VCPU, GET_REG, INIT_VCPU, READING, SET_REG
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Plan, limited_to
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.machine import Machine

_MPIDR_ROW = next(row for row in SEQUENCE if row.name == "vcpu.mpidr")


def reads(commands: Sequence[Command], kernel: Version) -> Iterator[tuple[int, Command]]:
    """Return the GETs for `commands` of a whole VM that a kernel supports, each with the index of
    the command it checks.

    Each has the expected value. The MPIDR of every vCPU is read, even if KVM assigned it.
    """
    vcpus = {
        command.target: command.mpidr for command in commands if command.operation is CREATE_VCPU
    }
    # A register that is set several times has the last value.
    last = {
        (command.target, command.register.name): place
        for place, command in enumerate(commands)
        if command.operation is SET_REG
    }
    mpidr_is_set = {command.target for command in commands if command.row is _MPIDR_ROW}
    for place, command in enumerate(commands):
        if command.operation is INIT_VCPU and command.target not in mpidr_is_set:
            # The plan does not set it: it relies on the MPIDR that KVM assigns to this id.
            yield place, _expected_mpidr(command)
        if not _is_readable(command, kernel):
            continue
        if command.operation is SET_REG and last[command.target, command.register.name] != place:
            continue
        get = command._replace(operation=READING[command.operation])
        if not command.row.vm_wide:
            yield place, get
            continue
        for target, mpidr in vcpus.items():
            yield place, get._replace(target=target, mpidr=mpidr)


def _is_readable(command: Command, kernel: Version) -> bool:
    """Return whether a kernel returns what a command sets, unchanged."""
    if command.operation is SET_REG and not command.register.is_kept:
        return False
    return command.row.readable and kernel >= command.row.read_since


def _expected_mpidr(command: Command) -> Command:
    """Return the command that reads MPIDR_EL1 of the vCPU of `command`."""
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
    """Return the plan that reads back what `lower` sets in `phases`, MPIDRs first."""
    commands = lower(machine, WHOLE_VM, PHASES, unchecked, api).commands
    kernel = machine.host_kernel
    every = [get for _, get in reads(commands, kernel) if get.row.phase in phases]
    mpidrs = {get.target: get for get in every if get.row is _MPIDR_ROW}
    by_id = [
        mpidrs[f"vcpu:{vcpu.id}"]._replace(origin=vcpu.at)
        for vcpu in machine.vcpus
        if f"vcpu:{vcpu.id}" in mpidrs
    ]
    rest = [get for get in every if get.row is not _MPIDR_ROW]
    unreadable = _unreadable(commands, phases, kernel)
    return Plan(
        machine, (*by_id, *rest), ATTRIBUTES, unchecked, api, unreadable, limited_to(phases)
    )


def _unreadable(
    commands: Sequence[Command], phases: tuple[PlanPhase, ...], kernel: Version
) -> tuple[str, ...]:
    """Return the names of the attributes in `commands` and `phases` that KVM cannot return."""
    titles = {}
    for command in commands:
        row = command.row
        is_readable = _is_readable(command, kernel)
        if row.attr is not None and not is_readable and row.phase in phases:
            titles[row.attr.title] = True
    return tuple(titles)
