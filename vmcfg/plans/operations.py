"""The operations: every ioctl that a plan uses, a class each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vmcfg.kernel import abi
from vmcfg.kernel.abi import Attr, Register
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.plans.command import Command, Operation, Row
from vmcfg.plans.values import FEATURES, MEMORY_SLOT, Payload, feature_word

if TYPE_CHECKING:
    from vmcfg.kernel.ioctls import Vm


class Unsupported(ValueError):
    """A plan's line that says something that vmcfg does not know."""


class _ByValue(Operation):
    """An ioctl whose argument is one number."""

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"arg": hex(command.number)}

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        return (int(arguments["arg"], 16),)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".attr = {command.number:#x}"


class CreateVm(_ByValue):
    """KVM_CREATE_VM on /dev/kvm; the number is the VM's type, which holds its address width."""

    word = "create-vm"
    ioctl = "KVM_CREATE_VM"
    request = abi.CREATE_VM
    makes_target = True


class AddMemory(Operation):
    """KVM_SET_USER_MEMORY_REGION."""

    word = "add-memory"
    ioctl = "KVM_SET_USER_MEMORY_REGION"
    request = abi.SET_USER_MEMORY_REGION

    def arguments(self, command: Command) -> dict[str, Any]:
        slot, base, size = _payload(command)
        return {"slot": slot, "base": hex(base), "size": hex(size)}

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        slot, base, size = (arguments[name] for name in MEMORY_SLOT.FIELDS)
        return int(slot), int(base, 16), int(size, 16)

    def perform(self, vm: Vm, command: Command) -> None:
        slot, base, size = _payload(command)
        vm.add_memory(slot, base, size)

    def c_members(self, command: Command) -> Iterator[str]:
        slot, base, size = _payload(command)
        members = f".slot = {slot}, .guest_phys_addr = {base:#x}, .memory_size = {size:#x}"
        yield f".data = &(const struct kvm_userspace_memory_region){{ {members} }}"


class CreateVcpu(_ByValue):
    """KVM_CREATE_VCPU; the number is the vCPU's id."""

    word = "create-vcpu"
    ioctl = "KVM_CREATE_VCPU"
    request = abi.CREATE_VCPU
    makes_target = True

    def perform(self, vm: Vm, command: Command) -> None:
        vm.create_vcpu(command.target, command.number)


class CreateDevice(Operation):
    """KVM_CREATE_DEVICE; the number is the device's type, which the PMU's has in no kernel."""

    word = "create-device"
    ioctl = "KVM_CREATE_DEVICE"
    request = abi.CREATE_DEVICE
    makes_target = True

    def attr(self, command: Command) -> str:
        return abi.PMU_TYPE if command.row.target == "pmu" else abi.DEVICE_NAMES[command.number]

    def title(self, command: Command) -> str:
        return f"{self.ioctl}({self.attr(command)})"

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"device_id": command.number if command.is_resolved else None}

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        number = arguments["device_id"]
        if number not in abi.DEVICE_NAMES:
            raise Unsupported(f"vmcfg knows no device type {number}")
        return (number,)

    def perform(self, vm: Vm, command: Command) -> None:
        vm.create_device(command.target, command.number)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".data = &(const struct kvm_create_device){{ .type = {command.number} }}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        yield self.attr(command), str(command.number)


class InitVcpu(Operation):
    """KVM_ARM_VCPU_INIT: the features are added to the host's preferred target."""

    word = "init-vcpu"
    ioctl = "KVM_ARM_VCPU_INIT"
    request = abi.ARM_VCPU_INIT

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"feature_words": [hex(command.number)]}

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        names = arguments["value"].split(",")
        known = FEATURES.names((-1,))
        if not set(names) <= set(known):
            raise Unsupported(f"vmcfg knows the features {', '.join(known)}")
        return (feature_word(names),)

    def perform(self, vm: Vm, command: Command) -> None:
        vm.init_vcpu(command.target, command.number)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".data = &(const struct kvm_vcpu_init){{ .features = {{ {command.number:#x} }} }}"

    def c_names(self, command: Command) -> Iterator[tuple[str, str]]:
        for name in FEATURES.names(_payload(command)):
            yield f"KVM_ARM_VCPU_{name}", str(VCPU_FEATURES[name])


class FinalizeVcpu(_ByValue):
    """KVM_ARM_VCPU_FINALIZE; the number is a feature's."""

    word = "finalize-vcpu"
    ioctl = "KVM_ARM_VCPU_FINALIZE"
    request = abi.ARM_VCPU_FINALIZE

    def perform(self, vm: Vm, command: Command) -> None:
        vm.finalize_vcpu(command.target, command.number)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".data = &(const int){{ {command.number:#x} }}"


class _RegisterOperation(Operation):
    """An ioctl on one register of a vCPU."""

    def attr(self, command: Command) -> str:
        return _register(command).name

    def title(self, command: Command) -> str:
        return f"{self.ioctl}({self.attr(command)})"

    def arguments(self, command: Command) -> dict[str, Any]:
        return {"reg_id": hex(_register(command).id), "data": _hex(command)}

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        return _payload_of_data(arguments, row)

    def c_members(self, command: Command) -> Iterator[str]:
        yield f".attr = {_register(command).id:#x}"
        yield f".data = {_c_data(command)}"


class SetReg(_RegisterOperation):
    """KVM_SET_ONE_REG."""

    word = "set-reg"
    ioctl = "KVM_SET_ONE_REG"
    request = abi.SET_ONE_REG
    sets_value = True

    def perform(self, vm: Vm, command: Command) -> None:
        data = command.data
        assert data is not None
        vm.set_reg(command.target, _register(command).id, data)


class GetReg(_RegisterOperation):
    """KVM_GET_ONE_REG, whose value is the one expected."""

    word = "get-reg"
    ioctl = "KVM_GET_ONE_REG"
    request = abi.GET_ONE_REG

    def read(self, vm: Vm, command: Command) -> bytes:
        return vm.get_reg(command.target, _register(command).id)


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

    def payload(self, arguments: Mapping[str, Any], row: Row) -> Payload:
        if row.value.word == "none":
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


class SetAttr(_AttrOperation):
    """KVM_SET_DEVICE_ATTR."""

    word = "set-attr"
    ioctl = "KVM_SET_DEVICE_ATTR"
    request = abi.SET_DEVICE_ATTR
    sets_value = True

    def perform(self, vm: Vm, command: Command) -> None:
        attr = _attr(command)
        vm.set_attr(command.target, attr.group_id, attr.id, command.data)


class GetAttr(_AttrOperation):
    """KVM_GET_DEVICE_ATTR, whose value is the one expected."""

    word = "get-attr"
    ioctl = "KVM_GET_DEVICE_ATTR"
    request = abi.GET_DEVICE_ATTR

    def arguments(self, command: Command) -> dict[str, Any]:
        arguments = super().arguments(command)
        if command.row.value.read_by_key:
            arguments["start"] = command.read_start.hex()
        return arguments

    def read(self, vm: Vm, command: Command) -> bytes:
        attr = _attr(command)
        return vm.get_attr(command.target, attr.group_id, attr.id, command.read_start)


def _payload(command: Command) -> Payload:
    assert command.payload is not None
    return command.payload


def _register(command: Command) -> Register:
    assert command.row.register is not None
    return command.row.register


def _attr(command: Command) -> Attr:
    assert command.row.attr is not None
    return command.row.attr


def _hex(command: Command) -> str | None:
    """What the address points to, in hex digits; None where only the host knows it."""
    data = command.data
    return None if data is None else data.hex()


def _payload_of_data(arguments: Mapping[str, Any], row: Row) -> Payload:
    """The value that a line's `data` holds."""
    if arguments["data"] is None:
        raise Unsupported(
            "its data is null: only the host knows it, so it has to be resolved there"
        )
    return row.value.cut(row.value.payload(bytes.fromhex(arguments["data"])))


def _c_data(command: Command) -> str:
    """What an attribute's or register's address points to, as a C expression."""
    data, value = command.data, command.row.value
    if data is None:
        raise ValueError(f"only the host knows the value of {command.text()}")
    if value.c_type is not None:
        return f"&(const {value.c_type}){{ {value.c_number(_payload(command))} }}"
    # A struct that older headers lack, as its bytes; the words have its fields.
    return f"(const unsigned char[]){{ {', '.join(f'0x{byte:02x}' for byte in data)} }}"


CREATE_VM = CreateVm()
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
"""Every operation that a plan may have."""
