"""The types of values: how each is cut to its C type, written in a plan, and stored in memory.

Every value is a `Payload`, a tuple of integers: empty for a type without a value, one integer for a
number, and one per field for a struct.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar

from vmcfg.kernel.abi import CAPABILITY_ARGUMENTS
from vmcfg.kernel.features import VCPU_FEATURES

Payload = tuple[int, ...]

READ_PATTERN = 0x5A5A_5A5A_5A5A_5A5A
"""The contents of the buffer of a GET before the call: a value that no plan sets."""


class ValueType:
    """The type of the value of a command. This base class is the type without a value.

    `word` is the type in a plan, and `explained` is its description.
    """

    __slots__ = ("explained", "word")

    is_interrupt = False
    """Whether the value is an INTID."""
    read_by_key = False
    """Whether the buffer of a GET must select one of several values before the call."""
    c_type: str | None = None
    """The C type of the value if it is one number."""

    def __init__(self, word: str, explained: str) -> None:
        self.word = word
        self.explained = explained

    def cut(self, payload: Payload) -> Payload:
        """Return `payload` cut to its C type. Only an unchecked value can exceed that."""
        return payload

    def text(self, payload: Payload) -> str:
        """Return the value as in a plan."""
        return "-"

    def form(self) -> str:
        """Return the form of the value in a plan: N for a number, NAME for a name."""
        return "-"

    def data(self, payload: Payload) -> bytes | None:
        """Return what the address of an attribute or register points to; None if nothing."""
        return None

    def payload(self, data: bytes) -> Payload:
        """Return the value in `data`. Raises `ValueError` or `struct.error`."""
        return ()

    def c_number(self, payload: Payload) -> str:
        """Return the value as a C constant if it has a `c_type`."""
        raise ValueError(f"{self.word} is not one number")

    def read_start(self, payload: Payload) -> bytes:
        """Return the contents of the buffer of a GET of this value before the call."""
        raise ValueError(f"{self.word} cannot be read")


class Integer(ValueType):
    """A number of a C type, in plans hexadecimal or decimal."""

    __slots__ = ("c_type", "greatest", "hexadecimal", "is_interrupt", "least", "signed", "size")

    C_TYPES: ClassVar = {"s32": "int32_t", "u32": "uint32_t", "u64": "uint64_t"}
    """Longer numbers have no C type, and are written as bytes."""

    def __init__(self, word: str, *, hexadecimal: bool = False, is_interrupt: bool = False) -> None:
        bits = int(word[1:])
        count = {32: "four", 64: "eight", 512: "64"}[bits]
        super().__init__(word, f"{word}, {count} bytes")
        self.c_type = self.C_TYPES.get(word)
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

    def form(self) -> str:
        return "0xN" if self.hexadecimal else "N"

    def data(self, payload: Payload) -> bytes:
        return payload[0].to_bytes(self.size, "little", signed=self.signed)

    def payload(self, data: bytes) -> Payload:
        return (int.from_bytes(data, "little", signed=self.signed),)

    def c_number(self, payload: Payload) -> str:
        return hex(payload[0]) if self.word == "u64" else str(payload[0])

    def read_start(self, payload: Payload) -> bytes:
        pattern = READ_PATTERN.to_bytes(8, "little")
        return (pattern * (self.size // 8 or 1))[: self.size]


class RedistributorRegion(Integer):
    """The word of KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION. A GET selects a region by its index."""

    __slots__ = ()

    read_by_key = True

    def __init__(self) -> None:
        super().__init__("u64", hexadecimal=True)

    def read_start(self, payload: Payload) -> bytes:
        index = region_index(payload)
        return index.to_bytes(self.size, "little")


class Struct(ValueType):
    """A C struct of an attribute: `layout` in the format of the module struct, and field names.

    Fields whose names are in `hexadecimal` are written in hexadecimal.
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
        """Return the number of bits of each field, without padding."""
        return [self.BITS[letter] for letter in self.layout if letter in self.BITS]

    def cut(self, payload: Payload) -> Payload:
        fields = zip(payload, self.field_bits(), strict=True)
        return tuple([number % (1 << bits) for number, bits in fields])

    def text(self, payload: Payload) -> str:
        return _fields_text(self.fields, payload, self.hexadecimal)

    def form(self) -> str:
        return _fields_form(self.fields, self.hexadecimal)

    def data(self, payload: Payload) -> bytes:
        return struct.pack(self.layout, *payload)

    def payload(self, data: bytes) -> Payload:
        return struct.unpack(self.layout, data)

    def c_layout(self) -> list[tuple[str, int]]:
        """Return each field with its offset in bytes."""
        offsets = []
        offset = 0
        for field, bits in zip(self.fields, self.field_bits(), strict=True):
            offsets.append((field, offset))
            offset += bits // 8
        return offsets


class MemorySlot(ValueType):
    """A slot of KVM_SET_USER_MEMORY_REGION: its number, base, size, and flags, which are written
    only if they are not 0.
    """

    __slots__ = ()

    FIELDS = ("slot", "base", "size", "flags")
    HEXADECIMAL = ("base", "size", "flags")

    def __init__(self) -> None:
        super().__init__("memory", "struct kvm_userspace_memory_region")

    def text(self, payload: Payload) -> str:
        written = payload if payload[3] else payload[:3]
        return _fields_text(self.FIELDS[: len(written)], written, self.HEXADECIMAL)

    def form(self) -> str:
        return f"{_fields_form(self.FIELDS[:3], self.HEXADECIMAL)}[,flags=0xN]"


class Arguments(ValueType):
    """The number of a capability for KVM_ENABLE_CAP and its arguments, of which the text has only
    the arguments.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("args", "arguments of struct kvm_enable_cap")

    def cut(self, payload: Payload) -> Payload:
        return payload[: 1 + CAPABILITY_ARGUMENTS]

    def text(self, payload: Payload) -> str:
        _, *arguments = payload
        return ",".join(map(hex, arguments)) or "-"

    def form(self) -> str:
        return "- or 0xN[,0xN...]"


class Features(ValueType):
    """Feature bits of KVM_ARM_VCPU_INIT, written as names."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("features", "bits of kvm_vcpu_init.features")

    def names(self, payload: Payload) -> list[str]:
        """Return the names of the bits that are set, without KVM_ARM_VCPU_, by ascending bit."""
        (word,) = payload
        return [name for name, bit in VCPU_FEATURES.items() if word >> bit & 1]

    def text(self, payload: Payload) -> str:
        return ",".join(self.names(payload))

    def form(self) -> str:
        return "NAME[,NAME...]"


def feature_word(names: Iterable[str]) -> int:
    """Return the first word of kvm_vcpu_init.features with these different names."""
    return sum(1 << VCPU_FEATURES[name] for name in names)


def region_index(payload: Payload) -> int:
    """Return the index of a redistributor region: bits [11:0] of its word."""
    return payload[0] & 0xFFF


def _fields_text(names: Sequence[str], numbers: Payload, hexadecimal: Sequence[str]) -> str:
    fields = zip(names, numbers, strict=True)
    return ",".join(
        [
            f"{name}={number:#x}" if name in hexadecimal else f"{name}={number}"
            for name, number in fields
        ]
    )


def _fields_form(names: Sequence[str], hexadecimal: Sequence[str]) -> str:
    """Return the form of the text of `_fields_text`."""
    return ",".join([f"{name}=0xN" if name in hexadecimal else f"{name}=N" for name in names])


NO_VALUE = ValueType("none", "none")
COUNT = Integer("u32")
"""A count, or another number that is not an address or an interrupt."""
DEVICE_TYPE = Integer("u32")
FEATURE = Integer("s32")
HOST_PMU_TYPE = Integer("s32")
"""The number of a host PMU, which differs between hosts."""
INTID = Integer("u32", is_interrupt=True)
SIGNED_INTID = Integer("s32", is_interrupt=True)
"""An INTID that KVM reads as int: of a PMU or a timer."""
ADDRESS = Integer("u64", hexadecimal=True)
WORD = Integer("u64", hexadecimal=True)
"""A register, an id, or another word."""
STATE_WORD = Integer("u32", hexadecimal=True)
"""A register of a vGIC, or half of one."""
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
ARGUMENTS = Arguments()
VECTOR_LENGTHS = Integer("u512", hexadecimal=True)
FEATURE_WORD = Features()
