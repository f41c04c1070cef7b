"""The lines of a record, from calls that KVM accepted; tests/kvm has real ones."""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

import pytest

from vmcfg.kernel import abi
from vmcfg.monitors.recorder import Recorder

KVM, VM, VCPU, COPY = 3, 10, 11, 12
REGISTER, STRUCT, VALUE = 0x1000, 0x2000, 0x3000


class Call:
    """A call of a thread, with its memory by address."""

    def __init__(
        self,
        descriptor: int,
        request: int,
        argument: int = STRUCT,
        result: int = 0,
        process: int = 1,
        **memory: bytes,
    ) -> None:
        self.thread = process
        self.process = process
        self.descriptor = descriptor
        self.request = request
        self.argument = argument
        self.result = result
        self.note: object = None
        self._memory = {STRUCT: memory.get("head", b""), VALUE: memory.get("value", b"")}

    def memory(self, address: int, size: int) -> bytes:
        found = self._memory.get(address, b"")
        if len(found) < size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found[:size]


class Recorded:
    """A recorder with the lines that it has written."""

    def __init__(self, kernel: tuple[int, int] = (6, 12)) -> None:
        self.lines: list[dict[str, Any]] = []
        self.recorder = Recorder(self.lines.append, kernel)

    def call(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        call = Call(*arguments, **options)
        assert self.recorder.entered(call)
        self.recorder.returned(call)
        return self.lines[-1]


@pytest.fixture
def recorded() -> Recorded:
    """Return a recorder that knows a VM and its vCPU 1."""
    made = Recorded()
    made.call(KVM, abi.CREATE_VM, 40, VM)
    made.call(VM, abi.CREATE_VCPU, 1, VCPU)
    return made


def init(recorded: Recorded, descriptor: int, process: int = 1) -> tuple[Any, Any]:
    """Return the VM and the target of a KVM_ARM_VCPU_INIT."""
    head = struct.pack("=8I", 5, 4, *[0] * 6)
    line = recorded.call(descriptor, abi.ARM_VCPU_INIT, process=process, head=head)
    return line["vm"], line["target"]


def test_a_descriptor_is_what_the_last_call_made_it(recorded: Recorded) -> None:
    assert init(recorded, VCPU) == (1, "vcpu:1")
    recorded.call(KVM, abi.CREATE_VM, 40, VCPU)
    recorded.call(VCPU, abi.CREATE_VCPU, 0, COPY)
    assert init(recorded, COPY) == (2, "vcpu:0")
    assert init(recorded, VM) == (1, "vm")


def test_a_duplicate_is_the_same_and_replaces_what_was_there(recorded: Recorded) -> None:
    recorded.recorder.duplicated(1, VCPU, COPY)
    assert init(recorded, COPY) == (1, "vcpu:1")
    recorded.recorder.duplicated(1, 0, COPY)  # a file that is not of KVM
    assert init(recorded, COPY) == (None, None)


def test_a_child_inherits_and_a_new_program_keeps_what_is_open(recorded: Recorded) -> None:
    recorded.recorder.forked(1, 2)
    assert init(recorded, VCPU, process=2) == (1, "vcpu:1")
    recorded.recorder.executed(2, {0, 1, 2, VM})
    assert init(recorded, VCPU, process=2) == (None, None)
    assert init(recorded, VM, process=2) == (1, "vm")
    assert init(recorded, VCPU) == (1, "vcpu:1")
    assert init(recorded, VCPU, process=3) == (None, None)


def test_what_was_refused_makes_nothing(recorded: Recorded) -> None:
    line = recorded.call(VM, abi.CREATE_VCPU, 600, -errno.EINVAL)
    assert (line["target"], line["vm"], line["errno"]) == ("vcpu:600", 1, "EINVAL")
    assert "mpidr" not in line
    test = struct.pack("=III", 8, 0, abi.CREATE_DEVICE_TEST)
    assert recorded.call(VM, abi.CREATE_DEVICE, head=test)["test"] is True
    its = struct.pack("=III", 8, COPY, 0)
    assert recorded.call(VM, abi.CREATE_DEVICE, head=its)["target"] == "its:0"
    assert recorded.call(VM, abi.CREATE_DEVICE, head=its)["target"] == "its:1"
    vfio = struct.pack("=III", 4, COPY, 0)
    line = recorded.call(VM, abi.CREATE_DEVICE, head=vfio)
    assert (line["target"], line["attr"], line["row"]) == ("device:0", "4", None)


def mpidr(recorded: Recorded, request: int, value: int, result: int = 0) -> Any:
    head = struct.pack("=QQ", abi.MPIDR_EL1.id, VALUE)
    data = value.to_bytes(8, "little")
    return recorded.call(VCPU, request, result=result, head=head, value=data)["mpidr"]


def test_the_mpidr_is_that_of_kvm_until_a_register_sets_it(recorded: Recorded) -> None:
    assert recorded.lines[-1]["mpidr"] == "0.0.0.1"
    assert mpidr(recorded, abi.SET_ONE_REG, 0x80000305, -errno.EINVAL) == "0.0.0.1"
    assert mpidr(recorded, abi.SET_ONE_REG, 0x80000305) == "0.0.3.5"
    init(recorded, VCPU)
    assert recorded.lines[-1]["mpidr"] == "0.0.3.5"


def test_linux_before_6_10_restores_the_mpidr() -> None:
    old = Recorded((6, 1))
    old.call(KVM, abi.CREATE_VM, 40, VM)
    old.call(VM, abi.CREATE_VCPU, 1, VCPU)
    assert mpidr(old, abi.SET_ONE_REG, 0x80000305) == "0.0.3.5"
    init(old, VCPU)
    assert old.lines[-1]["mpidr"] == "0.0.0.1"


def attr(group: int, number: int, address: int = VALUE) -> bytes:
    return struct.pack("=IIQQ", 0, group, number, address)


def test_attributes_have_the_words_of_plans_or_numbers(recorded: Recorded) -> None:
    value = (23).to_bytes(4, "little") + b"rest"
    line = recorded.call(VCPU, abi.SET_DEVICE_ATTR, head=attr(0, 0), value=value)
    assert (line["row"], line["type"], line["value"], line["data"]) == (
        "pmu.irq",
        "s32",
        "23",
        "17000000",
    )
    line = recorded.call(VCPU, abi.SET_DEVICE_ATTR, head=attr(0, 1))
    assert (line["row"], line["value"], "data" in line) == ("pmu.init", "-", False)
    line = recorded.call(VCPU, abi.SET_DEVICE_ATTR, head=attr(77, 5), value=value)
    assert (line["group"], line["attr"], line["value"], line["data"]) == ("77", "0x5", None, None)
    assert line["why"] == "vmcfg does not know the size of this value"
    line = recorded.call(VCPU, abi.SET_DEVICE_ATTR, head=attr(0, 0, 8))
    assert line["why"] == "the memory at 0x8 cannot be read: Input/output error"
    gic = struct.pack("=III", 7, COPY, 0)
    recorded.call(VM, abi.CREATE_DEVICE, head=gic)
    word = (0xC664).to_bytes(8, "little")
    line = recorded.call(COPY, abi.SET_DEVICE_ATTR, head=attr(6, 0xC664), value=word)
    assert (line["group"], line["type"], line["value"]) == (
        "KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS",
        "u64",
        "0xc664",
    )
    # KVM ignores the number of an attribute that is alone in its group.
    line = recorded.call(
        COPY, abi.SET_DEVICE_ATTR, head=attr(3, 7), value=(64).to_bytes(4, "little")
    )
    assert (line["row"], line["value"]) == ("gic.nr_irqs", "64")


STRUCTS = {
    "create-device": (VM, abi.CREATE_DEVICE, struct.pack("=III", 8, 0, 1)),
    "enable-cap": (VM, abi.ENABLE_CAP, struct.pack("=II4Q", 205, 0, 0, 0, 0, 0)),
    "add-memory": (VM, abi.SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, 4096, 8192)),
    # The struct is longer, but no line has the rest of it.
    "add-memory 2": (VM, abi.SET_USER_MEMORY_REGION2, struct.pack("=IIQQQ", 0, 0, 0, 4096, 8192)),
    "init-vcpu": (VCPU, abi.ARM_VCPU_INIT, struct.pack("=8I", 5, 4, *[0] * 6)),
    "finalize-vcpu": (VCPU, abi.ARM_VCPU_FINALIZE, struct.pack("=i", 4)),
    "set-reg": (VCPU, abi.SET_ONE_REG, struct.pack("=QQ", abi.MPIDR_EL1.id, VALUE)),
    "get-reg": (VCPU, abi.GET_ONE_REG, struct.pack("=QQ", abi.MPIDR_EL1.id, VALUE)),
    "set-attr": (VCPU, abi.SET_DEVICE_ATTR, struct.pack("=IIQQ", 0, 0, 1, 0)),
    "get-attr": (VCPU, abi.GET_DEVICE_ATTR, struct.pack("=IIQQ", 0, 0, 0, VALUE)),
    "has-attr": (VCPU, abi.HAS_DEVICE_ATTR, struct.pack("=IIQQ", 0, 0, 0, 0)),
    "set-mp-state": (VCPU, abi.SET_MP_STATE, struct.pack("=I", 0)),
}


@pytest.mark.parametrize("op", STRUCTS)
def test_no_more_than_the_struct_of_a_call_is_read(op: str, recorded: Recorded) -> None:
    descriptor, request, head = STRUCTS[op]
    recorded.recorder.all_registers = True
    line = recorded.call(descriptor, request, head=head, value=bytes(8))
    assert (line["op"], line.get("why")) == (op.partition(" ")[0], None)
    assert line["value"] is not None
    line = recorded.call(descriptor, request, head=head[:-1], value=bytes(8))
    assert (line["op"], line["value"]) == (op.partition(" ")[0], None)
    assert line["why"] == "the memory at 0x2000 cannot be read: Input/output error"


def test_the_older_way_to_place_a_gicv2_is_an_attribute(recorded: Recorded) -> None:
    """KVM_ARM_SET_DEVICE_ADDR on a VM has the number of KVM_GET_ONE_REG."""
    head = struct.pack("=QQ", 1, 0x8010000)
    line = recorded.call(VM, abi.GET_ONE_REG, head=head)
    assert (line["op"], line["target"], line["row"], line["value"]) == (
        "set-attr",
        "gic",
        "gic.v2.cpu_interface",
        "0x8010000",
    )
    assert line["request"] == "0x4010aeab"
