"""A machine lowered to the ordered commands that set it up, each with its row and its origin."""

from __future__ import annotations

from collections.abc import Mapping

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
    commands = []
    vcpu_targets = {vcpu.id: (f"vcpu:{vcpu.id}", vcpu.name) for vcpu in machine.vcpus}
    for row in SEQUENCE:
        if row.phase not in phases or api not in row.apis:
            continue
        if scope == ATTRIBUTES and row.creates:
            continue
        for selected in row.select(machine):
            target: str = row.target
            mpidr = None
            if selected.its is not None:
                target = f"its:{selected.its}"
            elif selected.vcpu is not None:
                vcpu_target, mpidr = vcpu_targets[selected.vcpu.id]
                # The PMU device is one object: the attribute number identifies the vCPU.
                target = target if target == "pmu" else vcpu_target
            payload = selected.payload
            if payload is None:
                payload = _resolved(selected, device_type, pmu_types or {})
            commands.append(_command(row, selected, target, payload, mpidr))
    return Plan(machine, tuple(commands), scope, unchecked, api, phases=limited_to(phases))


def _resolved(
    selected: Selected, device_type: int | None, pmu_types: Mapping[str, int]
) -> Payload | None:
    """Return the number of the host or its kernel for a selected value; None if it is unknown."""
    number = device_type if selected.host_name is None else pmu_types.get(selected.host_name)
    return None if number is None else (number,)


def _command(
    row: Row, selected: Selected, target: str, payload: Payload | None, mpidr: str | None
) -> Command:
    if payload is None:
        value = "-" if selected.host_name is None else f"pmu:{selected.host_name}"
    else:
        payload = row.value.cut(payload)
        value = row.value.text(payload)
    return Command(
        row.operation,
        row,
        target,
        value,
        payload,
        mpidr,
        selected.origin,
        selected.attr_id,
        selected.host_name,
        selected.register,
    )
