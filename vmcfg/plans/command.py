"""TODO."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from vmcfg.findings.position import Path
from vmcfg.kernel import abi
from vmcfg.kernel.abi import Attr
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.plans.rows import Row
from vmcfg.plans.values import region_index

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
        if row_type in abi.STRUCTS:
            return struct.pack(abi.STRUCTS[row_type][0], *number).hex()
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
            return abi.PMU_TYPE
        return next(
            name
            for name, number in (*abi.DEVICE_TYPES.values(), abi.ITS_TYPE)
            if number == self.number
        )

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
            arguments: dict[str, Any] = {
                "request": request,
                "group_id": row.attr.group_id,
                "attr_id": hex(number),
            }
            if row.type != "none":
                arguments["data"] = self.data
            if row.op == "get-attr" and row.read is region_index:
                arguments["start"] = self.start.hex()
            return arguments
        if row.op in ("set-reg", "get-reg"):
            request = hex(abi.SET_ONE_REG if row.op == "set-reg" else abi.GET_ONE_REG)
            return {"request": request, "reg_id": hex(abi.MPIDR_EL1), "data": self.data}
        if row.op == "create-vm":
            return {"request": hex(abi.CREATE_VM), "arg": self.value}
        if row.op == "create-vcpu":
            return {"request": hex(abi.CREATE_VCPU), "arg": self.value}
        if row.op == "create-device":
            return {"request": hex(abi.CREATE_DEVICE), "device_id": self.number}
        if row.op == "init-vcpu":
            word = sum(1 << VCPU_FEATURES[feature] for feature in self.number)
            return {"request": hex(abi.ARM_VCPU_INIT), "feature_words": [hex(word)]}
        if row.op == "finalize-vcpu":
            return {"request": hex(abi.ARM_VCPU_FINALIZE), "arg": hex(self.number)}
        slot, base, size = self.number
        return {
            "request": hex(abi.SET_USER_MEMORY_REGION),
            "slot": slot,
            "base": hex(base),
            "size": hex(size),
        }


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

_SET_DEVICE_ATTR = hex(abi.SET_DEVICE_ATTR)

_GET_DEVICE_ATTR = hex(abi.GET_DEVICE_ATTR)
