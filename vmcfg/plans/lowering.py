"""A machine lowered to the ordered commands that set it up, each with the row that it is of and where it comes from.

Also the way back: the commands that show, by KVM's own answers, that it is set up so.

What comes before: `machine`, and the rules that it passed. Next: `formats`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmcfg.kernel import abi
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Command
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import ATTRIBUTES, Plan
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.machine import Machine


def lower(
    machine: Machine,
    scope: str = ATTRIBUTES,
    phases: tuple[str, ...] = PHASES,
    unchecked: bool = False,
    api: str = VCPU,
    device_type: int | None = None,
    pmu_types: Mapping[str, int] | None = None,
) -> Plan:
    """The plan of `machine`: of `scope`, the commands of `phases`, in the order of the sequence.

    Under an `api` that has a PMU device, `device_type` is the number of its type, where the kernel meant has one.
    `pmu_types` are the numbers of the host's PMUs, by name, where they are known.
    """
    commands = []
    names = {vcpu.id: (f"vcpu:{vcpu.id}", vcpu.name) for vcpu in machine.vcpus}
    for row in SEQUENCE:
        if row.phase not in phases or api not in row.apis:
            continue
        if scope == ATTRIBUTES and row.op not in ("set-attr", "set-reg"):
            continue
        for value, origin, vcpu, its, attr_id in row.select(machine):
            number = _wrapped(value, row.type)
            if isinstance(number, str) and pmu_types:
                number = pmu_types.get(number, number)
            target, mpidr = (row.target, None) if vcpu is None else names[vcpu.id]
            if its is not None:
                target = f"its:{its}"
            elif row.target == "pmu":
                target = row.target
                number = device_type if number is None else number
            commands.append(Command(row, target, row.show(number), number, mpidr, origin, attr_id))
    return Plan(machine, tuple(commands), scope, unchecked, api)


def _wrapped(value: Any, type: str) -> Any:
    """`value` as its C type holds it: only an unchecked one can be too large, and then it is cut as C cuts it."""
    if value is None or isinstance(value, str):
        return value
    if type in abi.STRUCTS:
        sizes = {"B": 8, "H": 16, "I": 32}
        layout = [code for code in abi.STRUCTS[type][0] if code in sizes]
        return tuple(field % (1 << sizes[code]) for code, field in zip(layout, value, strict=True))
    if type == "s32":
        return (value + (1 << 31)) % (1 << 32) - (1 << 31)
    if type == "u32":
        return value % (1 << 32)
    if type == "u64":
        return value % (1 << 64)
    return value
