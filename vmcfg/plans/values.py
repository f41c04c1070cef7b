"""The types of the values that KVM is told: how each is cut to its C type, written in a plan, and
put into memory.

A value is a `Payload`, a tuple of integers whatever its type, so that every command carries one and
the same kind of thing: none for a type without a value, one for a number, one a field for a struct.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar

from vmcfg.kernel.features import VCPU_FEATURES

Payload = tuple[int, ...]

READ_PATTERN = 0x5A5A_5A5A_5A5A_5A5A
"""What the buffer of a GET holds before the call: a value that no plan sets."""


class ValueType:
    """The type of a command's value, here of a value that is not there: the base of all others.

    `word` is the type in a plan, `explained` what a person reads of it.
    """

    __slots__ = ("explained", "word")

    is_interrupt = False
    """Whether the value is an INTID."""
    read_by_key = False
    """Whether a GET must be told, in its buffer, which of several values it asks for."""
    c_type: str | None = None
    """The C type of one number, where the value is one."""

    def __init__(self, word: str, explained: str) -> None:
        self.word = word
        self.explained = explained

    def cut(self, payload: Payload) -> Payload:
        """`payload` as its C type holds it: only an unchecked value is ever too large for that."""
        return payload

    def text(self, payload: Payload) -> str:
        """The value as a plan writes it."""
        return "-"

    def data(self, payload: Payload) -> bytes | None:
        """What an attribute's or register's address points to; None where it points to nothing."""
        return None

    def payload(self, data: bytes) -> Payload:
        """The value that `data`, read from a kernel or a plan, holds. Raises `ValueError` or
        `struct.error`.
        """
        return ()

    def c_number(self, payload: Payload) -> str:
        """The value as a C constant, where it has a `c_type`."""
        raise ValueError(f"{self.word} is not one number")

    def read_start(self, payload: Payload) -> bytes:
        """What the buffer of a GET of this value holds before the call."""
        raise ValueError(f"{self.word} cannot be read")


class Integer(ValueType):
    """A number of a C type. `hexadecimal` says how a plan writes it."""

    __slots__ = ("c_type", "greatest", "hexadecimal", "is_interrupt", "least", "signed", "size")

    C_TYPES: ClassVar = {"s32": "int32_t", "u32": "uint32_t", "u64": "uint64_t"}

    def __init__(self, word: str, *, hexadecimal: bool = False, is_interrupt: bool = False) -> None:
        bits = int(word[1:])
        count = {32: "four", 64: "eight"}[bits]
        super().__init__(word, f"{word}, {count} bytes")
        self.c_type = self.C_TYPES[word]
        self.size = bits // 8
        self.signed = word[0] == "s"
        self.least = -(1 << bits - 1) if self.signed else 0
        self.greatest = (1 << bits - self.signed) - 1
        self.hexadecimal = hexadecimal
        self.is_interrupt = is_interrupt

    def cut(self, payload: Payload) -> Payload:
        (number,) = payload
        if self.least <= number <= self.greatest:
            return payload
        return ((number - self.least) % (1 << 8 * self.size) + self.least,)

    def text(self, payload: Payload) -> str:
        return hex(payload[0]) if self.hexadecimal else str(payload[0])

    def data(self, payload: Payload) -> bytes:
        return payload[0].to_bytes(self.size, "little", signed=self.signed)

    def payload(self, data: bytes) -> Payload:
        return (int.from_bytes(data, "little", signed=self.signed),)

    def c_number(self, payload: Payload) -> str:
        return hex(payload[0]) if self.word == "u64" else str(payload[0])

    def read_start(self, payload: Payload) -> bytes:
        return READ_PATTERN.to_bytes(8, "little")[: self.size]


class RedistributorRegion(Integer):
    """A redistributor region as KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION packs it: a GET names it by its
    index.
    """

    __slots__ = ()

    read_by_key = True

    def __init__(self) -> None:
        super().__init__("u64", hexadecimal=True)

    def read_start(self, payload: Payload) -> bytes:
        index = region_index(payload)
        return index.to_bytes(self.size, "little")


class Struct(ValueType):
    """A C struct that an attribute takes: `layout` in the letters of the module struct, and its
    fields' names.

    Fields whose names are in `hexadecimal` are written so.
    """

    __slots__ = ("fields", "hexadecimal", "layout")

    BITS: ClassVar = {"B": 8, "H": 16, "I": 32}

    def __init__(
        self, word: str, layout: str, fields: tuple[str, ...], hexadecimal: tuple[str, ...]
    ) -> None:
        super().__init__(word, f"struct {word}")
        self.layout = layout
        self.fields = fields
        self.hexadecimal = hexadecimal

    def field_bits(self) -> list[int]:
        """How many bits each field has; padding is none."""
        return [self.BITS[letter] for letter in self.layout if letter in self.BITS]

    def cut(self, payload: Payload) -> Payload:
        fields = zip(payload, self.field_bits(), strict=True)
        return tuple([number % (1 << bits) for number, bits in fields])

    def text(self, payload: Payload) -> str:
        return _fields_text(self.fields, payload, self.hexadecimal)

    def data(self, payload: Payload) -> bytes:
        return struct.pack(self.layout, *payload)

    def payload(self, data: bytes) -> Payload:
        return struct.unpack(self.layout, data)

    def c_layout(self) -> list[tuple[str, int]]:
        """Each field with its offset in bytes."""
        offsets = []
        offset = 0
        for field, bits in zip(self.fields, self.field_bits(), strict=True):
            offsets.append((field, offset))
            offset += bits // 8
        return offsets


class MemorySlot(ValueType):
    """A slot of KVM_SET_USER_MEMORY_REGION: its number, base and size; who performs the plan brings
    the pages.
    """

    __slots__ = ()

    FIELDS = ("slot", "base", "size")

    def __init__(self) -> None:
        super().__init__("memory", "struct kvm_userspace_memory_region")

    def text(self, payload: Payload) -> str:
        return _fields_text(self.FIELDS, payload, ("base", "size"))


class Features(ValueType):
    """Feature bits of KVM_ARM_VCPU_INIT, written by their names."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("features", "bits of kvm_vcpu_init.features")

    def names(self, payload: Payload) -> list[str]:
        """The names of the bits that are set, without KVM_ARM_VCPU_, by ascending bit."""
        (word,) = payload
        return [name for name, bit in VCPU_FEATURES.items() if word >> bit & 1]

    def text(self, payload: Payload) -> str:
        return ",".join(self.names(payload))


def feature_word(names: Iterable[str]) -> int:
    """The first word of kvm_vcpu_init.features with these features, each named once as in
    VCPU_FEATURES.
    """
    return sum(1 << VCPU_FEATURES[name] for name in names)


def region_index(payload: Payload) -> int:
    """The index of a redistributor region: bits 11..0 of what packs it."""
    return payload[0] & 0xFFF


def _fields_text(names: Sequence[str], numbers: Payload, hexadecimal: Sequence[str]) -> str:
    fields = zip(names, numbers, strict=True)
    return ",".join(
        [
            f"{name}={number:#x}" if name in hexadecimal else f"{name}={number}"
            for name, number in fields
        ]
    )


NO_VALUE = ValueType("none", "none")
COUNT = Integer("u32")
"""A count, or another number that is no address and no interrupt."""
DEVICE_TYPE = Integer("u32")
FEATURE = Integer("s32")
HOST_PMU_TYPE = Integer("s32")
"""The number of a host PMU, which is another one on each host."""
INTID = Integer("u32", is_interrupt=True)
SIGNED_INTID = Integer("s32", is_interrupt=True)
"""An INTID where KVM takes an int: the PMU's and the timers'."""
ADDRESS = Integer("u64", hexadecimal=True)
WORD = Integer("u64", hexadecimal=True)
"""A register, an id, or another packed word."""
REGION = RedistributorRegion()
EVENT_FILTER = Struct(
    "kvm_pmu_event_filter",
    "<HHB3x",
    ("base_event", "nevents", "action"),
    hexadecimal=("base_event",),
)
SMCCC_RANGE = Struct(
    "kvm_smccc_filter",
    "<IIB15x",
    ("base", "nr_functions", "action"),
    hexadecimal=("base",),
)
MEMORY_SLOT = MemorySlot()
FEATURE_WORD = Features()
