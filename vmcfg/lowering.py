"""A machine lowered to the ordered commands that set it up, each with the row that it is of and where it comes from.

What comes before: `machine`, and the rules that it passed. Next: `formats`.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from vmcfg import kvm
from vmcfg.machine import Machine
from vmcfg.places import Path
from vmcfg.sequence import PHASES, SEQUENCE, Row

ATTRIBUTES, WHOLE_VM = SCOPES = ("attributes", "vm")

_BYTES = {"s32": 4, "u32": 4, "u64": 8}


class Command(NamedTuple):
    """One command. `number` is what `value` shows, wrapped to its C type; `mpidr` is the target vCPU's, dotted."""

    row: Row
    target: str
    value: str
    number: Any
    mpidr: str | None
    origin: Path | None

    @property
    def data(self) -> str | None:
        """What the kernel reads at the attribute or register address, in hex digits; None where it reads nothing."""
        row_type, number = self.row.type, self.number
        if row_type in kvm.STRUCTS:
            return struct.pack(kvm.STRUCTS[row_type][0], *number).hex()
        size = _BYTES.get(row_type)
        if size is None or not isinstance(number, int):
            return None
        return (number & (1 << 8 * size) - 1).to_bytes(size, "little").hex()

    def fields(self) -> tuple[str, str, str, str, str, str]:
        """The six fields of the text format: op, target, group, attr, type, value."""
        row = self.row
        if row.attr is not None:
            return row.op, self.target, row.attr.group, row.attr.name, row.type, self.value
        attr = "MPIDR_EL1" if row.op == "set-reg" else "-"
        if row.op == "create-device":
            attr = _device_name(self.number)
        return row.op, self.target, "-", attr, row.type, self.value

    @property
    def ioctl(self) -> str:
        """The ioctl and what it sets, as findings name it: ``KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)``."""
        row = self.row
        if row.attr is not None:
            # An attribute without a name is told by its group.
            return f"KVM_SET_DEVICE_ATTR({row.attr.group if row.attr.name.startswith('0x') else row.attr.name})"
        if row.op == "create-device":
            return f"KVM_CREATE_DEVICE({_device_name(self.number)})"
        return _IOCTLS[row.op]

    def call(self) -> dict[str, Any]:
        """The ioctl behind the command, by the keys of schemas/plan-v1.schema.json: its request and its argument."""
        row = self.row
        if row.attr is not None:
            arguments = {"request": _SET_DEVICE_ATTR, "group_id": row.attr.group_id, "attr_id": hex(row.attr.id)}
            return arguments if row.type == "none" else {**arguments, "data": self.data}
        if row.op == "set-reg":
            return {"request": hex(kvm.SET_ONE_REG), "reg_id": hex(kvm.MPIDR_EL1), "data": self.data}
        if row.op == "create-vm":
            return {"request": hex(kvm.CREATE_VM), "arg": self.value}
        if row.op == "create-vcpu":
            return {"request": hex(kvm.CREATE_VCPU), "arg": self.value}
        if row.op == "create-device":
            return {"request": hex(kvm.CREATE_DEVICE), "device_id": self.number}
        if row.op == "init-vcpu":
            word = sum(1 << kvm.VCPU_FEATURES[feature] for feature in self.number)
            return {"request": hex(kvm.ARM_VCPU_INIT), "feature_words": [hex(word)]}
        if row.op == "finalize-vcpu":
            return {"request": hex(kvm.ARM_VCPU_FINALIZE), "arg": hex(self.number)}
        slot, base, size = self.number
        return {"request": hex(kvm.SET_USER_MEMORY_REGION), "slot": slot, "base": hex(base), "size": hex(size)}


_IOCTLS = {
    "create-vm": "KVM_CREATE_VM",
    "add-memory": "KVM_SET_USER_MEMORY_REGION",
    "create-vcpu": "KVM_CREATE_VCPU",
    "init-vcpu": "KVM_ARM_VCPU_INIT",
    "finalize-vcpu": "KVM_ARM_VCPU_FINALIZE",
    "set-reg": "KVM_SET_ONE_REG(MPIDR_EL1)",
}

_SET_DEVICE_ATTR = hex(kvm.SET_DEVICE_ATTR)


def _device_name(device_id: int) -> str:
    return next(name for name, number in (*kvm.DEVICE_TYPES.values(), kvm.ITS_TYPE) if number == device_id)


class Plan(NamedTuple):
    """The commands for one machine, in order. `scope` and `unchecked` are what the header says of how it was made."""

    machine: Machine
    commands: tuple[Command, ...]
    scope: str
    unchecked: bool

    def header(self) -> dict[str, Any]:
        """What a reader must know before the first command, by the keys of schemas/plan-v1.schema.json."""
        machine = self.machine
        version = machine.gic_version()
        header = {
            "format": "vmcfg.plan",
            "format_version": "1.0",
            "vm": machine.name,
            "api": "vcpu",
            "host_kernel": "{}.{}".format(*machine.host_kernel),
            "scope": self.scope,
            "gic": None if version is None else f"v{version}",
            "perform": self.perform(),
        }
        return header | {"unchecked": True} if self.unchecked else header

    def perform(self) -> str:
        """Where the monitor's own GIC comes: nowhere, or before the plan, or after its phase `create`."""
        if self.machine.sets_up_gic():
            return "whole"
        return "around-gic-init" if self.scope == WHOLE_VM else "after-gic-init"


def lower(machine: Machine, scope: str = ATTRIBUTES, phases: tuple[str, ...] = PHASES, unchecked: bool = False) -> Plan:
    """The plan of `machine`: of `scope`, the commands of `phases`, in the order of the sequence."""
    commands = []
    names = {vcpu.id: (f"vcpu:{vcpu.id}", vcpu.name) for vcpu in machine.vcpus}
    for row in SEQUENCE:
        if row.phase not in phases or (scope == ATTRIBUTES and row.op not in ("set-attr", "set-reg")):
            continue
        for value, origin, vcpu, its in row.select(machine):
            number = _wrapped(value, row.type)
            target, mpidr = (row.target, None) if vcpu is None else names[vcpu.id]
            if its is not None:
                target = f"its:{its}"
            commands.append(Command(row, target, row.show(number), number, mpidr, origin))
    return Plan(machine, tuple(commands), scope, unchecked)


def _wrapped(value: Any, type: str) -> Any:
    """`value` as its C type holds it: only an unchecked one can be too large, and then it is cut as C cuts it."""
    if isinstance(value, str):
        return value
    if type in kvm.STRUCTS:
        sizes = {"B": 8, "H": 16, "I": 32}
        layout = [code for code in kvm.STRUCTS[type][0] if code in sizes]
        return tuple(field % (1 << sizes[code]) for code, field in zip(layout, value, strict=True))
    if type == "s32":
        return (value + (1 << 31)) % (1 << 32) - (1 << 31)
    if type == "u32":
        return value % (1 << 32)
    if type == "u64":
        return value % (1 << 64)
    return value
