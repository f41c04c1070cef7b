"""A machine lowered to the ordered commands that set it up, each with its row and its origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vmcfg.plans.apis import VCPU, Api
from vmcfg.plans.command import Command, Row, Selected
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.plans.plan import ATTRIBUTES, Plan, Scope, limited_to
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import Payload
from vmcfg.vm.machine import Machine


def lower(
    machine: Machine,
    scope: Scope = ATTRIBUTES,
    phases: tuple[PlanPhase, ...] = PHASES,
    unchecked: bool = False,
    api: Api = VCPU,
    device_type: int | None = None,
    pmu_types: Mapping[str, int] | None = None,
) -> Plan:
    """Return the plan of `machine` in `scope`: the commands of `phases`, in sequence order.

    For an `api` with a PMU device, `device_type` is the number of its type in the kernel that will
    execute the plan. `pmu_types` are the numbers of the host PMUs by name, if they are known.
    """
    numbers = _Numbers(device_type, pmu_types or {})
    vcpu_targets = {vcpu.id: (f"vcpu:{vcpu.id}", vcpu.name) for vcpu in machine.vcpus}
    commands: list[Command] = []
    for row in SEQUENCE:
        if row.phase not in phases or api not in row.apis:
            continue
        if scope == ATTRIBUTES and row.creates:
            continue
        commands += _commands(row, machine, vcpu_targets, numbers)
    return Plan(machine, tuple(commands), scope, unchecked, api, phases=limited_to(phases))


class _Numbers(NamedTuple):
    """What only the host and its kernel know: the type of the PMU device, and those of the PMUs."""

    device_type: int | None
    pmu_types: Mapping[str, int]

    def payload(self, selected: Selected) -> Payload | None:
        """Return the number for a selected value that has none; None if it is unknown."""
        host_name = selected.host_name
        number = self.device_type if host_name is None else self.pmu_types.get(host_name)
        return None if number is None else (number,)


def _commands(
    row: Row, machine: Machine, vcpu_targets: dict[int, tuple[str, str]], numbers: _Numbers
) -> Iterator[Command]:
    """Return the commands of a row, with the target and the MPIDR of each vCPU by its id."""
    values: dict[Payload, tuple[Payload, str]] = {}
    for selected in row.select(machine):
        payload, origin, vcpu, its, attr_id, host_name, register = selected
        target: str = row.target
        mpidr = None
        if its is not None:
            target = f"its:{its}"
        elif vcpu is not None:
            vcpu_target, mpidr = vcpu_targets[vcpu.id]
            # The PMU device is one object: the attribute number identifies the vCPU.
            target = target if target == "pmu" else vcpu_target
        if payload is None:
            payload = numbers.payload(selected)
        if payload is None:
            value = "-" if host_name is None else f"pmu:{host_name}"
        else:
            # Most vCPUs have the same value.
            known = values.get(payload)
            if known is None:
                known = values[payload] = _cut(row, payload)
            payload, value = known
        yield Command(
            row.operation,
            row,
            target,
            value,
            payload,
            mpidr,
            origin,
            attr_id,
            host_name,
            register,
        )


def _cut(row: Row, payload: Payload) -> tuple[Payload, str]:
    """Return `payload` cut to the C type of its row, and its text in a plan."""
    payload = row.value.cut(payload)
    return payload, row.value.text(payload)
