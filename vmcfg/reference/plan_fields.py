"""The six fields of a command in a plan, every operation, and every type of value, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmcfg.plans import schema as plan_schema
from vmcfg.plans.command import FIELDS, Operation
from vmcfg.plans.operations import OPERATIONS, READING
from vmcfg.plans.sequence import SEQUENCE

BY_DEFAULT = "by default"

NUMBERS = "N is a decimal number; 0xN is a hexadecimal number without leading zeros."
"""The meaning of the letters in the form of a value."""


class OperationText(NamedTuple):
    """An operation in words: when it is printed, and the targets and types that it can have."""

    word: str
    ioctl: str
    printed: str
    targets: str
    types: str


class NumbersText(NamedTuple):
    """The line of an operation in `--numbers`: the format of sscanf(), and what that stores."""

    word: str
    scanned: str
    meaning: str


class TypeText(NamedTuple):
    """A type of value in words: `form` is how a plan writes the value."""

    word: str
    explained: str
    form: str


def field_meanings() -> dict[str, str]:
    """Return the meaning of each of the six fields, in their order."""
    properties = plan_schema.schema()["$defs"]["command"]["properties"]
    meanings = {field: properties[field]["description"] for field in FIELDS}
    # The schema lists the operations there; here, they have their own table.
    return meanings | {"op": "The operation: one ioctl."}


def operation_texts() -> Iterator[OperationText]:
    """Yield every operation, in the order of plans."""
    for operation in OPERATIONS:
        rows = plan_schema.rows_of(operation)
        targets = sorted({_target_text(row.target) for row in rows})
        types = sorted({row.value.word for row in rows})
        yield OperationText(
            operation.word,
            operation.ioctl,
            _printed(operation),
            ", ".join(targets),
            ", ".join(types),
        )


def numbers_texts() -> list[NumbersText]:
    """Return the line of every operation in `--numbers`, in the order of plans."""
    return [NumbersText(each.word, each.scanned, each.scanned_as) for each in OPERATIONS]


def type_texts() -> list[TypeText]:
    """Return every type of value, each once, in alphabetical order."""
    values = [row.value for row in SEQUENCE]
    return sorted({TypeText(value.word, value.explained, value.form()) for value in values})


def _printed(operation: Operation) -> str:
    """Return when an operation is printed: by default, or with an option."""
    if operation in READING.values():
        return "with --get"
    return BY_DEFAULT if operation.sets_value else "with --scope vm"


def _target_text(target: str) -> str:
    """Return how a plan writes a kind of target."""
    numbers = {"vcpu": "vcpu:ID", "its": "its:N"}
    return numbers.get(target, target)
