"""The lines of a record, made from the ioctls of a program: `emit`'s words for what vmcfg knows,
and numbers for the rest.

In: calls from `tracer`. Out: one dictionary per line, by the keys of schemas/record-v1.schema.json.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from vmcfg.arm.affinity import compressed_of_register, mpidr_of_id, mpidr_text
from vmcfg.kernel import abi
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.limits import MOST_VCPUS
from vmcfg.kernel.version import Version
from vmcfg.monitors.attributes import (
    Attribute,
    attribute,
    is_identifying,
    register_name,
    register_row,
    register_size,
)
from vmcfg.plans import operations
from vmcfg.plans.command import Command, Operation, Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import Payload

HAS_ATTR, SET_MP_STATE, SET_GSI_ROUTING = "has-attr", "set-mp-state", "set-gsi-routing"
"""The operations that no plan has."""

KEEPS_MPIDR_SINCE = (6, 10)
"""Older kernels restore their own MPIDR at every KVM_ARM_VCPU_INIT; tested on 6.1 and 6.12."""

UNSEEN = "no recorded call created this descriptor"


class CallOfThread(Protocol):
    """An ioctl of a thread, as in `tracer.Call`."""

    thread: int
    process: int
    descriptor: int
    request: int
    argument: int
    result: int
    note: object

    def memory(self, address: int, size: int) -> bytes:
        """Return memory of the thread. Raises `OSError`."""


class _Vm:
    """A VM of the program: its number, and how many devices of each kind it has."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.devices = {"its": 0, "device": 0}


class _Object:
    """What a descriptor refers to: a VM, a vCPU, or a device. `mpidr` is that of a vCPU."""

    def __init__(self, vm: _Vm, target: str) -> None:
        self.vm = vm
        self.target = target
        self.mpidr: str | None = None

    @property
    def kind(self) -> str:
        """Return the kind of target, as rows have it."""
        return self.target.partition(":")[0]


class _Read(NamedTuple):
    """Memory of the program at a call: the struct of the call, and what is at an address in it.

    What cannot be read is None, and `why` is the reason.
    """

    head: bytes | None
    value: bytes | None
    why: str | None

    def words(self, layout: str) -> tuple[int, ...] | None:
        """Return the fields of the struct; None if it cannot be read."""
        return None if self.head is None else struct.unpack_from(layout, self.head)


class _Told(NamedTuple):
    """The part of a line that depends on the operation.

    `target` is None if it is that of the descriptor. `arguments` are the keys of the ioctl.
    """

    six: tuple[str, str | None, str | None, str | None, str | None, str | None]
    row: Row | None
    arguments: dict[str, Any]
    why: str | None = None


class _Request(NamedTuple):
    """How one ioctl is recorded: its struct, and the function that makes the line of a call."""

    size: int
    tell: Callable[[Recorder, CallOfThread, _Object | None, _Read], _Told]


class Recorder:
    """The record of one program. `write` gets each line, as soon as its call returns.

    With `all_registers`, calls with any register are lines; otherwise most are only counted.
    """

    def __init__(
        self, write: Callable[[dict[str, Any]], None], kernel: Version, all_registers: bool = False
    ) -> None:
        self._write = write
        self.kernel = kernel
        self.all_registers = all_registers
        self.count = 0
        self.other_registers = 0
        self._vms = 0
        self._descriptors: dict[int, dict[int, _Object]] = {}
        """What the descriptors of each process refer to."""

    # What the tracer tells --------------------------------------------------------------------

    def entered(self, call: CallOfThread) -> bool:
        """Read the arguments of a call before it is made. Return whether its result matters."""
        request = _REQUESTS[call.request]
        read = _read(call, request.size)
        if self._is_only_counted(call, read):
            self.other_registers += 1
            return False
        call.note = self._with_value(call, read)
        return True

    def returned(self, call: CallOfThread) -> None:
        """Write the line of a call."""
        request = _REQUESTS[call.request]
        read = call.note
        assert isinstance(read, _Read)
        made_by = self._table(call.process).get(call.descriptor)
        told = request.tell(self, call, made_by, read)
        self._write(self._line(call, made_by, told))

    def duplicated(self, process: int, old: int, new: int) -> None:
        """Note that the descriptor `new` of a process is the same file as `old`."""
        table = self._table(process)
        if old in table:
            table[new] = table[old]
        else:
            table.pop(new, None)

    def forked(self, parent: int, child: int) -> None:
        """Note that a new process has the descriptors of its parent."""
        self._descriptors[child] = dict(self._table(parent))

    def executed(self, process: int, descriptors: set[int]) -> None:
        """Note that only these descriptors of a process are still open."""
        table = self._table(process)
        self._descriptors[process] = {
            number: made for number, made in table.items() if number in descriptors
        }

    def end(self) -> dict[str, Any]:
        """Return the last line of the record."""
        return {"op": "end", "count": self.count, "other_registers": self.other_registers}

    def _is_only_counted(self, call: CallOfThread, read: _Read) -> bool:
        """Return whether a call is about a register that says nothing about the VM."""
        if self.all_registers or call.request not in (abi.SET_ONE_REG, abi.GET_ONE_REG):
            return False
        words = read.words("=QQ")
        if words is None or self._is_of_vm(call):
            return False
        return not is_identifying(words[0])

    def _is_of_vm(self, call: CallOfThread) -> bool:
        used = self._table(call.process).get(call.descriptor)
        return used is not None and used.kind == "vm"

    # Lines ------------------------------------------------------------------------------------

    def _table(self, process: int) -> dict[int, _Object]:
        return self._descriptors.setdefault(process, {})

    def _line(self, call: CallOfThread, used: _Object | None, told: _Told) -> dict[str, Any]:
        """Return the line of a call; `used` is what its descriptor refers to."""
        self.count += 1
        op, target, group, attr, type_, value = told.six
        made = self._made(call, used, target) if target is not None else used
        why = told.why
        if target is None:
            target = None if used is None else used.target
            why = why or (UNSEEN if used is None else None)
        line: dict[str, Any] = {
            "op": op,
            "target": target,
            "group": group,
            "attr": attr,
            "type": type_,
            "value": value,
            "seq": self.count,
            "row": None if told.row is None else told.row.name,
        }
        if made is not None and made.mpidr is not None:
            line["mpidr"] = made.mpidr
        vm = made or used
        line |= {"request": hex(call.request), **told.arguments}
        line |= {
            "vm": None if vm is None else vm.vm.number,
            "thread": call.thread,
            "errno": None if call.result >= 0 else _errno_name(-call.result),
        }
        if why is not None:
            line["why"] = why
        return line

    def _made(self, call: CallOfThread, used: _Object | None, target: str) -> _Object | None:
        """Return the object that a call has created, and note its descriptor; None if it failed."""
        if call.result < 0:
            return None
        if call.request == abi.CREATE_VM:
            self._vms += 1
            made = _Object(_Vm(self._vms), target)
        elif used is None:
            return None
        else:
            made = _Object(used.vm, target)
        number = call.result
        if call.request == abi.CREATE_VCPU and call.argument < MOST_VCPUS:
            made.mpidr = mpidr_text(mpidr_of_id(call.argument))
        if call.request == abi.CREATE_DEVICE:
            written = _memory(call, call.argument, 12)
            words = written.words("=III")
            # A test creates nothing.
            if words is None or words[2] & abi.CREATE_DEVICE_TEST:
                return None
            number = words[1]
            if made.kind in made.vm.devices:
                made.vm.devices[made.kind] += 1
        self._table(call.process)[number] = made
        return made

    def _with_value(self, call: CallOfThread, read: _Read) -> _Read:
        """Return `read` with the value at the address in the struct, if the call passes one."""
        if call.request == abi.SET_ONE_REG:
            words = read.words("=QQ")
            if words is not None:
                return _value(call, read, words[1], register_size(words[0]))
        if call.request in (abi.SET_DEVICE_ATTR, abi.GET_DEVICE_ATTR):
            words = read.words("=IIQQ")
            if words is not None:
                _, group, number, address = words
                size = self._attribute(call, group, number).size
                return _value(call, read, address, size) if size else read
        return read

    def _attribute(self, call: CallOfThread, group: int, number: int) -> Attribute:
        used = self._table(call.process).get(call.descriptor)
        return attribute(None if used is None else used.kind, group, number)

    # One function per ioctl -------------------------------------------------------------------

    def _create_vm(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        return _command(operations.CREATE_VM, "vm", (call.argument,))

    def _create_vcpu(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        target = f"vcpu:{call.argument}"
        told = _command(operations.CREATE_VCPU, target, (call.argument,))
        return told._replace(why=UNSEEN if used is None else None)

    def _create_device(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=III")
        if words is None:
            return _unread("create-device", read)
        number, _, flags = words
        target = _device_target(number, None if used is None else used.vm)
        name = abi.DEVICE_NAMES.get(number, str(number))
        row = next(
            (
                each
                for each in SEQUENCE
                if each.operation is operations.CREATE_DEVICE and each.target == _kind(target)
            ),
            None,
        )
        if number not in abi.MADE_DEVICES:
            row = None
        arguments: dict[str, Any] = {"device_id": number}
        if flags & abi.CREATE_DEVICE_TEST:
            arguments["test"] = True
        six = ("create-device", target, "-", name, "u32", str(number))
        return _Told(six, row, arguments, UNSEEN if used is None else None)

    def _add_memory(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=IIQQQ")
        if words is None:
            return _unread("add-memory", read)
        slot, flags, base, size, _ = words
        return _command(operations.ADD_MEMORY, None, (slot, base, size, flags))

    def _enable_cap(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=II4Q")
        if words is None:
            return _unread("enable-cap", read)
        number, _, *arguments = words
        while arguments and arguments[-1] == 0:
            arguments.pop()
        name = _CAPABILITY_NAMES.get(number)
        row = _capability_row(name) if used is None or used.kind == "vm" else None
        if row is not None:
            return _command(row.operation, None, (number, *arguments), row)
        written = [hex(each) for each in arguments]
        six = ("enable-cap", None, "-", name or str(number), "args", ",".join(written) or "-")
        return _Told(six, None, {"cap_id": number, "args": written})

    def _init_vcpu(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=8I")
        if words is None:
            return _unread("init-vcpu", read)
        features = list(words[1:])
        while len(features) > 1 and features[-1] == 0:
            features.pop()
        if used is not None and call.result >= 0 and self.kernel < KEEPS_MPIDR_SINCE:
            self._reset_mpidr(used)
        value = ",".join(_feature_names(features)) or "-"
        row = _ROWS["vcpu.init"]
        six = ("init-vcpu", None, "-", "-", row.value.word, value)
        return _Told(six, row, {"feature_words": [hex(each) for each in features]})

    @staticmethod
    def _reset_mpidr(used: _Object) -> None:
        kind, _, number = used.target.partition(":")
        if kind == "vcpu":
            used.mpidr = mpidr_text(mpidr_of_id(int(number)))

    def _finalize_vcpu(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=i")
        if words is None:
            return _unread("finalize-vcpu", read)
        return _command(operations.FINALIZE_VCPU, None, words)

    def _register(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        operation = operations.SET_REG if call.request == abi.SET_ONE_REG else operations.GET_REG
        words = read.words("=QQ")
        if words is None:
            return _unread(operation.word, read)
        id, address = words
        if used is not None and used.kind == "vm":
            return _device_address(id, address)
        size = register_size(id)
        data, why = read.value, read.why
        if operation is operations.GET_REG:
            got = _value(call, read, address, size) if call.result >= 0 else read
            data, why = got.value, got.why
        if id == abi.MPIDR_EL1.id and data is not None and call.result >= 0 and used is not None:
            used.mpidr = mpidr_text(compressed_of_register(int.from_bytes(data, "little")))
        number = None if data is None else hex(int.from_bytes(data, "little"))
        six = (operation.word, None, "-", register_name(id), f"u{8 * size}", number)
        arguments = {"reg_id": hex(id), "data": None if data is None else data.hex()}
        row = register_row(id)
        if why is None and data is None:
            arguments = {"reg_id": hex(id)}
            six = (*six[:5], "-")
        return _Told(six, row, arguments, why)

    def _attr(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        op = _ATTR_OPERATIONS[call.request]
        words = read.words("=IIQQ")
        if words is None:
            return _unread(op, read)
        _, group, number, address = words
        attr = attribute(None if used is None else used.kind, group, number)
        ids: dict[str, Any] = {"group_id": group, "attr_id": hex(number)}
        if op == HAS_ATTR or attr.size == 0 or (op == "get-attr" and call.result < 0):
            return _Told((op, None, attr.group, attr.attr, "none", "-"), attr.row, ids)
        if attr.size is None:
            why = UNSEEN if used is None else "vmcfg does not know the size of this value"
            ids["data"] = None
            return _Told((op, None, attr.group, attr.attr, None, None), attr.row, ids, why)
        if op == "get-attr":
            ids |= _start(attr, read)
            read = _value(call, read, address, attr.size)
        ids["data"] = None if read.value is None else read.value.hex()
        type_, value = _typed(attr, read.value)
        return _Told((op, None, attr.group, attr.attr, type_, value), attr.row, ids, read.why)

    def _set_mp_state(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=I")
        if words is None:
            return _unread(SET_MP_STATE, read)
        state = words[0]
        six = (SET_MP_STATE, None, "-", "-", "u32", str(state))
        return _Told(six, None, {"mp_state": state})

    def _set_gsi_routing(self, call: CallOfThread, used: _Object | None, read: _Read) -> _Told:
        words = read.words("=II")
        if words is None:
            return _unread(SET_GSI_ROUTING, read)
        six = (SET_GSI_ROUTING, None, "-", "-", "u32", str(words[0]))
        return _Told(six, None, {"routes": words[0]})


# Memory -------------------------------------------------------------------------------------------


def _read(call: CallOfThread, size: int) -> _Read:
    """Return the struct of a call; without a size, its argument is a number."""
    return _memory(call, call.argument, size) if size else _Read(None, None, None)


def _memory(call: CallOfThread, address: int, size: int) -> _Read:
    try:
        return _Read(call.memory(address, size), None, None)
    except OSError as error:
        return _Read(None, None, _unreadable(address, error))


def _value(call: CallOfThread, read: _Read, address: int, size: int) -> _Read:
    """Return `read` with the value at an address."""
    try:
        return read._replace(value=call.memory(address, size), why=None)
    except OSError as error:
        return read._replace(value=None, why=_unreadable(address, error))


def _unreadable(address: int, error: OSError) -> str:
    return f"the memory at {address:#x} cannot be read: {error.strerror}"


def _unread(op: str, read: _Read) -> _Told:
    """Return the line of a call whose struct cannot be read."""
    return _Told((op, None, None, None, None, None), None, {}, read.why)


# Words --------------------------------------------------------------------------------------------

_ROWS = {row.name: row for row in SEQUENCE}

_CAPABILITY_NAMES = {number: name for name, number in CAPABILITIES.items()}

_ATTR_OPERATIONS = {
    abi.SET_DEVICE_ATTR: "set-attr",
    abi.GET_DEVICE_ATTR: "get-attr",
    abi.HAS_DEVICE_ATTR: HAS_ATTR,
}


def _command(
    operation: Operation, target: str | None, payload: Payload, row: Row | None = None
) -> _Told:
    """Return a call in the words of a plan."""
    if row is None:
        row = next(each for each in SEQUENCE if each.operation is operation)
    command = Command(operation, row, target or row.target, row.value.text(payload), payload)
    op, _, group, attr, type_, value = command.fields()
    six = (op, target, group, attr, type_, value)
    return _Told(six, row, operation.arguments(command))


def _capability_row(name: str | None) -> Row | None:
    """Return the row that enables a capability of a VM, if any."""
    from vmcfg.kernel.features import FEATURES
    from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES

    if name in VM_CAPABILITIES:
        return _ROWS["vm.capability"]
    enabled = [feature.enabled for feature in FEATURES.values()]
    return _ROWS["vm.feature"] if name is not None and name in enabled else None


def _feature_names(words: list[int]) -> list[str]:
    """Return the names of the feature bits of a vCPU; a bit without a name is its number."""
    names = {bit: name for name, bit in VCPU_FEATURES.items()}
    bits = [
        32 * place + bit for place, word in enumerate(words) for bit in range(32) if word >> bit & 1
    ]
    return [names.get(bit, f"bit:{bit}") for bit in bits]


def _device_target(type: int, vm: _Vm | None) -> str:
    """Return the target that a new device of a VM is."""
    name = abi.DEVICE_NAMES.get(type, "")
    kind = "its" if name == abi.ITS_TYPE[0] else "gic" if "VGIC" in name else "device"
    if kind == "gic":
        return kind
    return f"{kind}:{0 if vm is None else vm.devices[kind]}"


def _kind(target: str) -> str:
    return target.partition(":")[0]


def _typed(attr: Attribute, data: bytes | None) -> tuple[str | None, str | None]:
    """Return the type and the value of an attribute as text."""
    if attr.row is None:
        bits = 8 * (attr.size or 0)
        return f"u{bits}", None if data is None else hex(int.from_bytes(data, "little"))
    value = attr.row.value
    return value.word, None if data is None else value.text(value.payload(data))


def _start(attr: Attribute, read: _Read) -> Mapping[str, str]:
    """Return the key `start` of a get-attr whose buffer selects one of several values."""
    is_keyed = attr.row is not None and attr.row.value.read_by_key
    return {"start": read.value.hex()} if is_keyed and read.value is not None else {}


def _device_address(id: int, address: int) -> _Told:
    """Return KVM_ARM_SET_DEVICE_ADDR on a VM, the older way to set an address of a GICv2, in the
    words of the attribute. Its number is that of KVM_GET_ONE_REG.
    """
    attr = attribute("gic", 0, id & 0xFFFF)
    data = address.to_bytes(8, "little").hex()
    ids = {"group_id": 0, "attr_id": hex(id & 0xFFFF), "data": data}
    six = ("set-attr", "gic", attr.group, attr.attr, "u64", hex(address))
    return _Told(six, attr.row, ids)


def _errno_name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


_REQUESTS: dict[int, _Request] = {
    abi.CREATE_VM: _Request(0, Recorder._create_vm),
    abi.ENABLE_CAP: _Request(40, Recorder._enable_cap),
    abi.SET_USER_MEMORY_REGION: _Request(32, Recorder._add_memory),
    abi.SET_USER_MEMORY_REGION2: _Request(32, Recorder._add_memory),
    abi.CREATE_VCPU: _Request(0, Recorder._create_vcpu),
    abi.CREATE_DEVICE: _Request(12, Recorder._create_device),
    abi.ARM_VCPU_INIT: _Request(32, Recorder._init_vcpu),
    abi.ARM_VCPU_FINALIZE: _Request(4, Recorder._finalize_vcpu),
    abi.SET_ONE_REG: _Request(16, Recorder._register),
    abi.GET_ONE_REG: _Request(16, Recorder._register),
    abi.SET_DEVICE_ATTR: _Request(24, Recorder._attr),
    abi.GET_DEVICE_ATTR: _Request(24, Recorder._attr),
    abi.HAS_DEVICE_ATTR: _Request(24, Recorder._attr),
    abi.SET_MP_STATE: _Request(4, Recorder._set_mp_state),
    abi.SET_GSI_ROUTING: _Request(8, Recorder._set_gsi_routing),
}

REQUESTS = tuple(_REQUESTS)
"""The ioctls that are recorded. KVM_RUN is not: it is never stopped."""

REQUESTS_OF: dict[str, tuple[int, ...]] = {
    operations.CREATE_VM.word: (abi.CREATE_VM,),
    operations.ENABLE_CAP.word: (abi.ENABLE_CAP,),
    operations.ADD_MEMORY.word: (abi.SET_USER_MEMORY_REGION, abi.SET_USER_MEMORY_REGION2),
    operations.CREATE_VCPU.word: (abi.CREATE_VCPU,),
    operations.CREATE_DEVICE.word: (abi.CREATE_DEVICE,),
    operations.INIT_VCPU.word: (abi.ARM_VCPU_INIT,),
    operations.FINALIZE_VCPU.word: (abi.ARM_VCPU_FINALIZE,),
    operations.SET_REG.word: (abi.SET_ONE_REG,),
    # KVM_ARM_SET_DEVICE_ADDR, which sets an attribute, has the number of KVM_GET_ONE_REG.
    operations.SET_ATTR.word: (abi.SET_DEVICE_ATTR, abi.GET_ONE_REG),
    operations.GET_REG.word: (abi.GET_ONE_REG,),
    operations.GET_ATTR.word: (abi.GET_DEVICE_ATTR,),
    HAS_ATTR: (abi.HAS_DEVICE_ATTR,),
    SET_MP_STATE: (abi.SET_MP_STATE,),
    SET_GSI_ROUTING: (abi.SET_GSI_ROUTING,),
}
"""The ioctls of each operation of a record."""
