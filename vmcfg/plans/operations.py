"""The operations: every ioctl that a plan uses, with one class each."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from vmcfg.kernel import abi
from vmcfg.kernel.abi import Attr
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.plans.command import Command, Operation, Row
from vmcfg.plans.values import FEATURE_WORD, NO_VALUE, Payload, feature_word


class Unsupported(ValueError):
    """A plan line with something that vmcfg does not support."""


class _ByValue(Operation):
    """An ioctl whose argument is one number."""

    argument: ClassVar[str]
    """The meaning of the number."""

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"arg": hex(command.number)}

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        return 0, command.number, b""

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        return (int(arguments["arg"], 16),)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".attr = {command.number:#x}"

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            "properties": {"value": HEX, "arg": {"description": self.argument, **HEX}},
            "required": ["arg"],
        }


HEX = {"$ref": "#/$defs/hex"}
"""A hexadecimal number, in the schema of plans."""
BYTES = {"$ref": "#/$defs/bytes"}
"""Bytes as hexadecimal digits, in the schema of plans."""


class CreateVm(_ByValue):
    """KVM_CREATE_VM on /dev/kvm; the number is the VM type, which contains its address bits."""

    word = "create-vm"
    ioctl = "KVM_CREATE_VM"
    request = abi.CREATE_VM
    scanned = "create-vm vm 0 %llx 0 -"
    scanned_as = "the argument of the ioctl"
    argument = (
        "The argument of the ioctl: the VM type, which contains the number of bits of"
        " guest-physical addresses."
    )
    makes_target = True


class AddMemory(Operation):
    """KVM_SET_USER_MEMORY_REGION."""

    word = "add-memory"
    ioctl = "KVM_SET_USER_MEMORY_REGION"
    request = abi.SET_USER_MEMORY_REGION
    scanned = "add-memory vm 0 0x0 24 %48s"
    scanned_as = "the first 24 bytes of the struct: slot, flags, address, size"

    def arguments(self, command: Command) -> dict[str, Any]:
        slot, base, size, flags = _payload(command)
        arguments = {"slot": slot, "base": hex(base), "size": hex(size)}
        return {**arguments, "flags": hex(flags)} if flags else arguments

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        slot, base, size, flags = _payload(command)
        return 0, 0, struct.pack("<IIQQ", slot, flags, base, size)

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        slot, base, size = (arguments[name] for name in ("slot", "base", "size"))
        flags = arguments.get("flags", "0x0")
        return int(slot), int(base, 16), int(size, 16), int(flags, 16)

    def c_members(self, command: Command) -> Iterator[str]:
        slot, base, size, flags = _payload(command)
        members = f".slot = {slot}, .guest_phys_addr = {base:#x}, .memory_size = {size:#x}"
        if flags:
            members = f"{members}, .flags = {flags:#x}"
        yield f".data = &(const struct kvm_userspace_memory_region){{ {members} }}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        if _payload(command)[3]:
            yield "KVM_MEM_READONLY", str(abi.MEM_READONLY)

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            "properties": {
                "slot": {"description": "Number of the slot.", "type": "integer", "minimum": 0},
                "base": {"description": "Guest-physical address of the first byte.", **HEX},
                "size": {
                    "description": (
                        "Size in bytes. The program that executes the plan provides the memory."
                    ),
                    **HEX,
                },
                "flags": {
                    "description": "Flags of the slot, if any: 0x2 is KVM_MEM_READONLY.",
                    **HEX,
                },
            },
            "required": ["slot", "base", "size", "origin"],
        }


class EnableCap(Operation):
    """KVM_ENABLE_CAP on the VM, with the number of a capability and its arguments."""

    word = "enable-cap"
    ioctl = "KVM_ENABLE_CAP"
    request = abi.ENABLE_CAP
    scanned = "enable-cap vm 0 %llx %u %64s"
    scanned_as = "kvm_enable_cap.cap, and the length and bytes of its args"

    def attr(self, command: Command) -> str:
        return _capability_name(_payload(command)[0])

    def title(self, command: Command) -> str:
        return f"{self.ioctl}({self.attr(command)})"

    def arguments(self, command: Command) -> dict[str, Any]:
        number, *arguments = _payload(command)
        return {"cap_id": number, "args": [hex(each) for each in arguments]}

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        number, *arguments = _payload(command)
        return 0, number, struct.pack(f"<{len(arguments)}Q", *arguments)

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        number = int(arguments["cap_id"])
        _capability_name(number)
        return number, *(int(each, 16) for each in arguments["args"])

    def c_members(self, command: Command) -> Iterator[str]:
        number, *arguments = _payload(command)
        given = f", .args = {{ {', '.join(map(hex, arguments))} }}" if arguments else ""
        yield f".data = &(const struct kvm_enable_cap){{ .cap = {number}{given} }}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        yield self.attr(command), str(_payload(command)[0])

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            "properties": {
                "attr": {"pattern": "^KVM_CAP_"},
                "value": {"pattern": "^(?:-|0x[0-9a-f]+(?:,0x[0-9a-f]+)*)$"},
                "cap_id": {
                    "description": "kvm_enable_cap.cap: the number of the capability.",
                    "type": "integer",
                    "minimum": 0,
                },
                "args": {
                    "description": "kvm_enable_cap.args; those that are not here are 0.",
                    "type": "array",
                    "items": HEX,
                    "maxItems": abi.CAPABILITY_ARGUMENTS,
                },
            },
            "required": ["cap_id", "args", "origin"],
        }


def _capability_name(number: int) -> str:
    """Return the name of a capability. Raises `Unsupported`."""
    from vmcfg.kernel.capabilities import CAPABILITIES

    for name, each in CAPABILITIES.items():
        if each == number:
            return name
    raise Unsupported(f"unknown capability {number}")


class CreateVcpu(_ByValue):
    """KVM_CREATE_VCPU; the number is the vCPU id."""

    word = "create-vcpu"
    ioctl = "KVM_CREATE_VCPU"
    request = abi.CREATE_VCPU
    scanned = "create-vcpu vcpu:%u 0 %llx 0 -"
    scanned_as = "the argument of the ioctl"
    argument = "The argument of the ioctl: the vCPU id."
    makes_target = True


class CreateDevice(Operation):
    """KVM_CREATE_DEVICE; the number is the device type. The PMU device has none in any kernel."""

    word = "create-device"
    ioctl = "KVM_CREATE_DEVICE"
    request = abi.CREATE_DEVICE
    scanned = "create-device %15s 0 %llx 0 -"
    scanned_as = "kvm_create_device.type"
    makes_target = True

    def attr(self, command: Command) -> str:
        return abi.PMU_TYPE if command.row.target == "pmu" else abi.DEVICE_NAMES[command.number]

    def title(self, command: Command) -> str:
        return f"{self.ioctl}({self.attr(command)})"

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"device_id": command.number if command.is_resolved else None}

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        return 0, command.number, b""

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        number = arguments["device_id"]
        if number not in abi.DEVICE_NAMES:
            raise Unsupported(f"unknown device type {number}")
        return (number,)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".data = &(const struct kvm_create_device){{ .type = {command.number} }}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        yield self.attr(command), str(command.number)

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        known = sorted(abi.DEVICE_NAMES[number] for number in abi.MADE_DEVICES)
        return {
            "properties": {
                "attr": {"enum": [*known, abi.PMU_TYPE]},
                "device_id": {
                    "description": (
                        f"Number of the device type; null for {abi.PMU_TYPE}, which no released"
                        " kernel defines, unless --device-type was used."
                    ),
                    "type": ["integer", "null"],
                    "minimum": 0,
                    "maximum": 4294967295,
                },
            },
            "required": ["device_id"],
            "if": {"properties": {"target": {"const": "pmu"}}},
            "then": {"properties": {"attr": {"const": abi.PMU_TYPE}}},
            "else": {
                "properties": {
                    "attr": {"pattern": "^KVM_DEV_TYPE_ARM_VGIC_"},
                    "device_id": {"enum": list(abi.MADE_DEVICES)},
                }
            },
        }


class InitVcpu(Operation):
    """KVM_ARM_VCPU_INIT: the features are added to the preferred target of the host."""

    word = "init-vcpu"
    ioctl = "KVM_ARM_VCPU_INIT"
    request = abi.ARM_VCPU_INIT
    scanned = "init-vcpu vcpu:%u 0 %llx 0 -"
    scanned_as = "bits for kvm_vcpu_init.features[0]"

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"feature_words": [hex(command.number)]}

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        return 0, command.number, b""

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        names = arguments["value"].split(",")
        known = FEATURE_WORD.names((-1,))
        if not set(names) <= set(known):
            raise Unsupported(f"the features must be from {', '.join(known)}")
        return (feature_word(names),)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".data = &(const struct kvm_vcpu_init){{ .features = {{ {command.number:#x} }} }}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        for name in FEATURE_WORD.names(_payload(command)):
            yield f"KVM_ARM_VCPU_{name}", str(VCPU_FEATURES[name])

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            "properties": {
                "value": {"pattern": "^[A-Z0-9_]+(?:,[A-Z0-9_]+)*$"},
                "feature_words": {
                    "description": (
                        "Bits that are ORed into kvm_vcpu_init.features, as returned by"
                        " KVM_ARM_PREFERRED_TARGET."
                    ),
                    "type": "array",
                    "items": HEX,
                    "minItems": 1,
                    "maxItems": 7,
                },
            },
            "required": ["feature_words"],
        }


class FinalizeVcpu(_ByValue):
    """KVM_ARM_VCPU_FINALIZE; the number is that of a feature."""

    word = "finalize-vcpu"
    ioctl = "KVM_ARM_VCPU_FINALIZE"
    request = abi.ARM_VCPU_FINALIZE
    scanned = "finalize-vcpu vcpu:%u 0 %llx 0 -"
    scanned_as = "the int of the ioctl"
    argument = "The int of the ioctl: the number of the feature."

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".data = &(const int){{ {command.number:#x} }}"

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        argument = {"description": self.argument, **HEX}
        return {"properties": {"arg": argument}, "required": ["arg"]}


class _RegisterOperation(Operation):
    """An ioctl on one register of a vCPU."""

    points: ClassVar[str]
    """The relation between kvm_one_reg.addr and the value."""

    def attr(self, command: Command) -> str:
        return command.register.name

    def title(self, command: Command) -> str:
        return f"{self.ioctl}({self.attr(command)})"

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"reg_id": hex(command.register.id), "data": _hex(command)}

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        return 0, command.register.id, command.data or b""

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        return _payload_of_data(arguments, row)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".attr = {command.register.id:#x}"
        yield f".data = {_c_data(command)}"

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            "properties": {
                "value": {"pattern": "^0x(?:0|[1-9a-f][0-9a-f]{0,127})$"},
                "reg_id": {"description": "kvm_one_reg.id.", **HEX},
                "data": {
                    "description": (
                        f"The bytes that kvm_one_reg.addr {self.points}: 8, or 64 if the type is"
                        " u512."
                    ),
                    **BYTES,
                    "minLength": 16,
                    "maxLength": 128,
                },
            },
            "required": ["reg_id", "data", "origin"],
        }


class SetReg(_RegisterOperation):
    """KVM_SET_ONE_REG."""

    word = "set-reg"
    ioctl = "KVM_SET_ONE_REG"
    request = abi.SET_ONE_REG
    scanned = "set-reg vcpu:%u 0 %llx %u %128s"
    scanned_as = "kvm_one_reg.id, and the length and bytes of the value"
    points = "points to"
    sets_value = True


class GetReg(_RegisterOperation):
    """KVM_GET_ONE_REG; the value is the expected one."""

    word = "get-reg"
    ioctl = "KVM_GET_ONE_REG"
    request = abi.GET_ONE_REG
    scanned = "get-reg vcpu:%u 0 %llx %u %128s"
    scanned_as = "kvm_one_reg.id, and the length and bytes of the value"
    points = "is expected to point to after the call"


class _AttrOperation(Operation):
    """An ioctl on one device attribute."""

    def group(self, command: Command) -> str:
        return _attr(command).group

    def attr(self, command: Command) -> str:
        return _attr(command).name if command.attr_id is None else hex(command.attr_id)

    def title(self, command: Command) -> str:
        return f"{self.ioctl}({_attr(command).title})"

    def arguments(self, command: Command) -> dict[str, Any]:
        attr = _attr(command)
        number = attr.id if command.attr_id is None else command.attr_id
        arguments: dict[str, Any] = {"group_id": attr.group_id, "attr_id": hex(number)}
        if command.payload != ():
            arguments["data"] = _hex(command)
        return arguments

    def numbers(self, command: Command) -> tuple[int, int, bytes]:
        attr = command.attr
        assert attr is not None
        return attr.group_id, attr.id, command.data or b""

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        if row.value is NO_VALUE:
            return ()
        return _payload_of_data(arguments, row)

    def c_members(self, command: Command) -> Iterator[str]:
        arguments = self.arguments(command)
        yield f".group = {arguments['group_id']}"
        yield f".attr = {arguments['attr_id']}"
        if "data" in arguments:
            yield f".data = {_c_data(command)}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        attr = command.attr
        assert attr is not None
        yield attr.group, str(attr.group_id)
        if not attr.name.startswith("0x"):
            yield attr.name, f"{attr.id:#x}"


ATTR_PROPERTIES = {
    "group_id": {"description": "kvm_device_attr.group.", "type": "integer", "minimum": 0},
    "attr_id": {"description": "kvm_device_attr.attr.", **HEX},
}


class SetAttr(_AttrOperation):
    """KVM_SET_DEVICE_ATTR."""

    word = "set-attr"
    ioctl = "KVM_SET_DEVICE_ATTR"
    request = abi.SET_DEVICE_ATTR
    scanned = "set-attr %15s %u %llx %u %128s"
    scanned_as = "kvm_device_attr.group and attr, and the length and bytes of the value"
    does = " on the file descriptor of the target"
    sets_value = True

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        data = {
            "description": (
                "What kvm_device_attr.addr points to. Absent if the attribute does not use it. Null"
                " if only the host knows it; the program that executes the plan must then fail."
            ),
            "anyOf": [BYTES, {"type": "null"}],
        }
        return {
            "properties": {**ATTR_PROPERTIES, "data": data},
            "required": ["group_id", "attr_id", "origin"],
            "if": {"properties": {"type": {"const": NO_VALUE.word}}},
            "then": {"properties": {"value": {"const": "-"}, "data": False}},
            "else": {
                "required": ["data"],
                "if": {"properties": {"value": {"pattern": "^pmu:"}}},
                "then": {"properties": {"data": {"type": "null"}}},
                "else": {"properties": {"data": {"type": "string"}}},
            },
        }


class GetAttr(_AttrOperation):
    """KVM_GET_DEVICE_ATTR; the value is the expected one."""

    word = "get-attr"
    ioctl = "KVM_GET_DEVICE_ATTR"
    request = abi.GET_DEVICE_ATTR
    scanned = "get-attr %15s %u %llx %u %128s"
    scanned_as = "kvm_device_attr.group and attr, and the length and bytes of the value"

    def arguments(self, command: Command) -> dict[str, Any]:
        arguments = super().arguments(command)
        if command.row.value.read_by_key:
            arguments["start"] = command.read_start.hex()
        return arguments

    def schema(self, rows: Sequence[Row]) -> dict[str, Any]:
        keyed = [row.attr.name for row in rows if row.attr is not None and row.value.read_by_key]
        data = "What kvm_device_attr.addr is expected to point to after the call."
        start = (
            "What kvm_device_attr.addr must point to before the call, if KVM reads it too: the"
            " index of the redistributor region."
        )
        return {
            "properties": {
                **ATTR_PROPERTIES,
                "data": {"description": data, **BYTES},
                "start": {"description": start, **BYTES},
            },
            "required": ["group_id", "attr_id", "data", "origin"],
            "if": {"properties": {"attr": one_of(keyed)}},
            "then": {"required": ["start"]},
            "else": {"properties": {"start": False}},
        }


def has_pmu(commands: Iterable[Command]) -> bool:
    """Return whether commands create a vCPU with a PMU."""
    for command in commands:
        if command.operation is INIT_VCPU and "PMU_V3" in FEATURE_WORD.names((command.number,)):
            return True
    return False


def one_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the schema of one of several words."""
    return {"const": words[0]} if len(words) == 1 else {"enum": list(words)}


def _payload(command: Command) -> Payload:
    assert command.payload is not None
    return command.payload


def _attr(command: Command) -> Attr:
    assert command.row.attr is not None
    return command.row.attr


def _hex(command: Command) -> str | None:
    """Return what the address points to, in hexadecimal; None if only the host knows it."""
    data = command.data
    return None if data is None else data.hex()


def _payload_of_data(arguments: Mapping[str, Any], row: Row) -> Payload:
    """Return the value in `data` of a line."""
    if arguments["data"] is None:
        raise Unsupported(
            "'data' is null because only the host knows it: emit the plan on the host"
        )
    return row.value.cut(row.value.payload(bytes.fromhex(arguments["data"])))


def _c_data(command: Command) -> str:
    """Return what the address of an attribute or register points to, as a C expression."""
    data, value = command.data, command.row.value
    if data is None:
        raise ValueError(f"only the host knows the value of {command.text()}")
    if value.c_type is not None:
        return f"&(const {value.c_type}){{ {value.c_number(_payload(command))} }}"
    # Older headers do not have the struct: write its bytes. The text has its fields.
    return f"(const unsigned char[]){{ {', '.join(f'0x{byte:02x}' for byte in data)} }}"


CREATE_VM = CreateVm()
ENABLE_CAP = EnableCap()
ADD_MEMORY = AddMemory()
CREATE_VCPU = CreateVcpu()
CREATE_DEVICE = CreateDevice()
INIT_VCPU = InitVcpu()
FINALIZE_VCPU = FinalizeVcpu()
SET_REG = SetReg()
SET_ATTR = SetAttr()
GET_REG = GetReg()
GET_ATTR = GetAttr()

OPERATIONS = (
    CREATE_VM,
    ENABLE_CAP,
    ADD_MEMORY,
    CREATE_VCPU,
    CREATE_DEVICE,
    INIT_VCPU,
    FINALIZE_VCPU,
    SET_REG,
    SET_ATTR,
    GET_REG,
    GET_ATTR,
)
"""Every operation of plans."""

READING: dict[Operation, Operation] = {SET_ATTR: GET_ATTR, SET_REG: GET_REG}
"""The operation that reads what another one sets."""
