"""A machine lowered to the ordered commands that set it up, each with the row that it is of and where it comes from.

Also the way back: the commands that show, by KVM's own answers, that it is set up so.

What comes before: `machine`, and the rules that it passed. Next: `formats`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vmcfg import kvm
from vmcfg.kvm import Attr
from vmcfg.machine import Machine
from vmcfg.places import Path
from vmcfg.scalars import mpidr_register
from vmcfg.sequence import API_DOCS, PHASES, SEQUENCE, VCPU, Row, region_index

ATTRIBUTES, WHOLE_VM = SCOPES = ("attributes", "vm")

_BYTES = {"s32": 4, "u32": 4, "u64": 8}


class Command(NamedTuple):
    """One command. `number` is what `value` shows, wrapped to its C type; `mpidr` is its vCPU's, dotted.

    `attr_id` is the attribute's number where that names the vCPU, and is another in each command of the row.
    """

    row: Row
    target: str
    value: str
    number: Any
    mpidr: str | None
    origin: Path | None
    attr_id: int | None = None

    @property
    def attr(self) -> Attr | None:
        """The device attribute that is set or read, if the command is one of those."""
        attr = self.row.attr
        if attr is None or self.attr_id is None:
            return attr
        return attr._replace(name=hex(self.attr_id), id=self.attr_id)

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

    @property
    def start(self) -> bytes:
        """What the address of a GET points to before the call, as long as what the kernel writes there."""
        assert self.row.read is not None
        size = _BYTES[self.row.type]
        return (self.row.read(self.number) & (1 << 8 * size) - 1).to_bytes(size, "little")

    def fields(self) -> tuple[str, str, str, str, str, str]:
        """The six fields of the text format: op, target, group, attr, type, value."""
        row = self.row
        if row.attr is not None:
            name = row.attr.name if self.attr_id is None else hex(self.attr_id)
            return row.op, self.target, row.attr.group, name, row.type, self.value
        attr = "MPIDR_EL1" if row.op in ("set-reg", "get-reg") else "-"
        if row.op == "create-device":
            attr = self._device()
        return row.op, self.target, "-", attr, row.type, self.value

    def _device(self) -> str:
        """The name of the device type that is made."""
        if self.row.target == "pmu":
            return kvm.PMU_TYPE
        return next(name for name, number in (*kvm.DEVICE_TYPES.values(), kvm.ITS_TYPE) if number == self.number)

    @property
    def ioctl(self) -> str:
        """The ioctl and what it sets, as findings name it: ``KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)``."""
        row = self.row
        if row.attr is not None:
            return f"{_IOCTLS[row.op]}({row.attr.title})"
        if row.op == "create-device":
            return f"KVM_CREATE_DEVICE({self._device()})"
        return _IOCTLS[row.op]

    def call(self) -> dict[str, Any]:
        """The ioctl behind the command, by the keys of schemas/plan-v1.schema.json: its request and its argument."""
        row = self.row
        if row.attr is not None:
            number = row.attr.id if self.attr_id is None else self.attr_id
            request = _SET_DEVICE_ATTR if row.op == "set-attr" else _GET_DEVICE_ATTR
            arguments: dict[str, Any] = {"request": request, "group_id": row.attr.group_id, "attr_id": hex(number)}
            if row.type != "none":
                arguments["data"] = self.data
            if row.op == "get-attr" and row.read is region_index:
                arguments["start"] = self.start.hex()
            return arguments
        if row.op in ("set-reg", "get-reg"):
            request = hex(kvm.SET_ONE_REG if row.op == "set-reg" else kvm.GET_ONE_REG)
            return {"request": request, "reg_id": hex(kvm.MPIDR_EL1), "data": self.data}
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
    "get-reg": "KVM_GET_ONE_REG(MPIDR_EL1)",
    "set-attr": "KVM_SET_DEVICE_ATTR",
    "get-attr": "KVM_GET_DEVICE_ATTR",
}

_SET_DEVICE_ATTR = hex(kvm.SET_DEVICE_ATTR)
_GET_DEVICE_ATTR = hex(kvm.GET_DEVICE_ATTR)


class Plan(NamedTuple):
    """The commands for one machine, in order. `scope`, `unchecked` and `api` say how it was made.

    `unread` is None of a plan that sets; of one that reads back, the attributes that KVM has no GET for.
    """

    machine: Machine
    commands: tuple[Command, ...]
    scope: str
    unchecked: bool
    api: str = VCPU
    unread: tuple[str, ...] | None = None

    def header(self) -> dict[str, Any]:
        """What a reader must know before the first command, by the keys of schemas/plan-v1.schema.json."""
        machine = self.machine
        version = machine.gic_version()
        header: dict[str, Any] = {
            "format": "vmcfg.plan",
            "format_version": "1.0",
            "vm": machine.name,
            "api": self.api,
            "host_kernel": "{}.{}".format(*machine.host_kernel),
            "scope": self.scope,
            "gic": None if version is None else f"v{version}",
            "perform": self.perform(),
        }
        if self.unchecked:
            header["unchecked"] = True
        if self.api != VCPU:
            header |= {"merged": False, "note": API_DOCS[self.api]}
        if self.unread is not None:
            header["not_read_back"] = list(self.unread)
        return header

    def perform(self) -> str:
        """Where the monitor's own GIC comes: nowhere, or before the plan, or after its phase `create`."""
        if self.machine.sets_up_gic():
            return "whole"
        return "around-gic-init" if self.scope == WHOLE_VM else "after-gic-init"


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


def reads(commands: Sequence[Command]) -> Iterator[tuple[int, Command]]:
    """The GETs that show what `commands`, a whole VM's, have done: each with the place of the command that it is about.

    The value of each is the one expected. Every vCPU's MPIDR is among them, also where KVM gives it.
    """
    vcpus = {command.target: command.mpidr for command in commands if command.row.op == "create-vcpu"}
    by_register = {command.target for command in commands if command.row.op == "set-reg"}
    for place, command in enumerate(commands):
        row = command.row
        if row.op == "init-vcpu" and command.target not in by_register and command.mpidr is not None:
            # The plan sets nothing here: it counts on KVM's own MPIDR for this vCPU's id.
            number = mpidr_register(int.from_bytes(bytes(map(int, command.mpidr.split("."))), "big"))
            mpidr_row = _get(_MPIDR_ROW)
            yield place, command._replace(row=mpidr_row, value=mpidr_row.show(number), number=number)
        if row.read is None:
            continue
        get = command._replace(row=_get(row))
        if not row.vm_wide:
            yield place, get
            continue
        for target, mpidr in vcpus.items():
            yield place, get._replace(target=target, mpidr=mpidr)


def read_back(machine: Machine, phases: tuple[str, ...] = PHASES, unchecked: bool = False, api: str = VCPU) -> Plan:
    """The plan that reads what `lower` sets in `phases`, once it was performed: the MPIDRs by id, then the rest."""
    commands = lower(machine, WHOLE_VM, PHASES, unchecked, api).commands
    at = {f"vcpu:{vcpu.id}": (place, vcpu.at) for place, vcpu in enumerate(machine.vcpus)}
    every = [get for _, get in reads(commands) if get.row.phase in phases]
    mpidrs = sorted((get for get in every if get.row.op == "get-reg"), key=lambda get: at[get.target][0])
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
            _GETS[row.name] = row._replace(op="get-reg", doc="MPIDR_EL1, by which guest and GIC know the vCPU.")
        else:
            _GETS[row.name] = row._replace(op="get-attr")
    return _GETS[row.name]


def _wrapped(value: Any, type: str) -> Any:
    """`value` as its C type holds it: only an unchecked one can be too large, and then it is cut as C cuts it."""
    if value is None or isinstance(value, str):
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
