"""TODO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmcfg.arm.affinity import mpidr_register
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Plan
from vmcfg.plans.rows import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.machine import Machine


def reads(commands: Sequence[Command]) -> Iterator[tuple[int, Command]]:
    """The GETs that show what `commands`, a whole VM's, have done: each with the place of the command that it is about.

    The value of each is the one expected. Every vCPU's MPIDR is among them, also where KVM gives it.
    """
    vcpus = {
        command.target: command.mpidr for command in commands if command.row.op == "create-vcpu"
    }
    by_register = {command.target for command in commands if command.row.op == "set-reg"}
    for place, command in enumerate(commands):
        row = command.row
        if (
            row.op == "init-vcpu"
            and command.target not in by_register
            and command.mpidr is not None
        ):
            # The plan sets nothing here: it counts on KVM's own MPIDR for this vCPU's id.
            number = mpidr_register(
                int.from_bytes(bytes(map(int, command.mpidr.split("."))), "big")
            )
            mpidr_row = _get(_MPIDR_ROW)
            yield (
                place,
                command._replace(row=mpidr_row, value=mpidr_row.show(number), number=number),
            )
        if row.read is None:
            continue
        get = command._replace(row=_get(row))
        if not row.vm_wide:
            yield place, get
            continue
        for target, mpidr in vcpus.items():
            yield place, get._replace(target=target, mpidr=mpidr)


def read_back(
    machine: Machine, phases: tuple[str, ...] = PHASES, unchecked: bool = False, api: str = VCPU
) -> Plan:
    """The plan that reads what `lower` sets in `phases`, once it was performed: the MPIDRs by id, then the rest."""
    commands = lower(machine, WHOLE_VM, PHASES, unchecked, api).commands
    at = {f"vcpu:{vcpu.id}": (place, vcpu.at) for place, vcpu in enumerate(machine.vcpus)}
    every = [get for _, get in reads(commands) if get.row.phase in phases]
    mpidrs = sorted(
        (get for get in every if get.row.op == "get-reg"), key=lambda get: at[get.target][0]
    )
    mpidrs = [get._replace(origin=at[get.target][1]) for get in mpidrs]
    unread = dict.fromkeys(
        command.row.attr.title
        for command in commands
        if command.row.attr is not None and command.row.read is None and command.row.phase in phases
    )
    rest = (get for get in every if get.row.op != "get-reg")
    return Plan(machine, (*mpidrs, *rest), ATTRIBUTES, unchecked, api, tuple(unread))


_MPIDR_ROW = next(row for row in SEQUENCE if row.op == "set-reg")

_GETS: dict[str, Row] = {}


def _get(row: Row) -> Row:
    """The row of the command that reads what `row` sets."""
    if row.name not in _GETS:
        if row.op == "set-reg":
            _GETS[row.name] = row._replace(
                op="get-reg", doc="MPIDR_EL1, by which guest and GIC know the vCPU."
            )
        else:
            _GETS[row.name] = row._replace(op="get-attr")
    return _GETS[row.name]
