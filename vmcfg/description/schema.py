"""The model as a JSON Schema: ``python -m vmcfg.shell`` prints what schemas/vm-v1.schema.json holds.

The schema says of data what `decode` says of text: it accepts a document of JSON values (numbers written as integers)
exactly if no VMC1xx is found in the same document. What two values say together stands in it as words at most, and so
do the bounds of VMC107, which hold for the document as a whole.
"""

from __future__ import annotations

import inspect
import json
from functools import singledispatch
from typing import Any

from vmcfg.description.kinds import (
    HEX_DIGITS,
    NUMBER_PATTERN,
    Choice,
    Events,
    Interrupt,
    KernelVersion,
    Misfit,
    Mpidr,
    Name,
    Number,
    Size,
)
from vmcfg.description.model import Description, Either, Field, ListOf, Scalar, fields, required
from vmcfg.kernel.limits import INTID_GREATEST
from vmcfg.text.tree import DEEPEST, MOST_NODES

Schema = dict[str, Any]

ID = "urn:vmcfg:schema:vm:1"
"""What this version of the schema is called, wherever its file lies."""


def schema() -> Schema:
    """The JSON Schema (2020-12) of descriptions."""
    model = of_kind(Description, "")
    example = {key: fields(Description)[key].examples[0] for key in required(Description)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "$comment": "Generated from vmcfg/description/model.py by `python -m vmcfg.shell`. Not said here: a document is nested at"
        f" most {DEEPEST} deep and has at most {MOST_NODES:,} values (VMC107).",
        "title": "vmcfg: description of a virtual machine, version 1",
        "description": model.pop("description"),
        "examples": [example],
        "type": model.pop("type"),
        "properties": {
            "$schema": {
                "title": "$schema",
                "description": "Where an editor finds this schema; vmcfg ignores it.",
            },
            **model.pop("properties"),
        },
        "patternProperties": {
            "^x-": {
                "title": "x-...",
                "description": "The user's own: whatever it holds, vmcfg does not read it.",
            }
        },
        **model,
    }


def of_kind(kind: Any, path: str) -> Schema:
    """The schema of a value of one of the model's kinds. `path` is its dotted path, without list indices."""
    if isinstance(kind, Either):
        # Each keyword holds for its own type, so one or the other needs no anyOf, whose errors nobody understands.
        one, many = of_scalar(kind.scalar), of_kind(kind.many, path)
        return {"type": [*one.pop("type"), many.pop("type")], **one, **many}
    if isinstance(kind, ListOf):
        return {"type": "array", "items": of_kind(kind.item, path)}
    if isinstance(kind, type):
        prefix = f"{path}." if path else ""
        return {
            "description": inspect.cleandoc(kind.__doc__ or ""),
            "type": "object",
            "properties": {
                key: of_field(field, prefix + key) for key, field in fields(kind).items()
            },
            "required": list(required(kind)),
            "additionalProperties": False,
        }
    return of_scalar(kind)


def of_field(field: Field, path: str) -> Schema:
    """The schema of one key's value, with what an editor shows of it."""
    described: Schema = {"title": path, "description": field.doc}
    if field.default is not None:
        described["description"] += f" Default: {field.default}."
        described |= _default(field)
    if field.examples:
        described["examples"] = list(field.examples)
    return described | {
        key: value for key, value in of_kind(field.kind, path).items() if key != "description"
    }


def _default(field: Field) -> Schema:
    """The default as a JSON value, where its words are one that the field itself can hold."""
    words = field.default or ""
    try:
        value = json.loads(words)
    except ValueError:
        value = words
    try:
        field.kind.read(str(value), plain=isinstance(value, int))
    except (AttributeError, Misfit):
        return {}
    return {"default": value}


def anchored(pattern: str) -> str:
    """`pattern` for a whole text, in every dialect: Python's `$` alone would let a line feed follow."""
    return rf"^(?:{pattern})$(?!\n)"


@singledispatch
def of_scalar(kind: Scalar) -> Schema:
    """The schema of one value."""
    raise TypeError(f"no schema for {type(kind).__name__}")


@of_scalar.register
def _(kind: Number) -> Schema:
    return _integer_or_text(kind.least, kind.greatest, NUMBER_PATTERN)


@of_scalar.register
def _(kind: Size) -> Schema:
    return _integer_or_text(kind.least, kind.greatest, kind.pattern)


@of_scalar.register
def _(kind: Interrupt) -> Schema:
    return _integer_or_text(0, INTID_GREATEST, kind.pattern)


@of_scalar.register
def _(kind: Events) -> Schema:
    return _integer_or_text(0, kind.greatest, kind.pattern)


def _integer_or_text(least: int, greatest: int, pattern: str) -> Schema:
    return {
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": greatest,
        "pattern": anchored(pattern),
    }


@of_scalar.register(Name)
@of_scalar.register(KernelVersion)
@of_scalar.register(Mpidr)
def _(kind: Name | KernelVersion | Mpidr) -> Schema:
    return {"type": "string", "pattern": anchored(kind.pattern)}


@of_scalar.register
def _(kind: Choice) -> Schema:
    if isinstance(kind.choices[0], str):
        return {"enum": list(kind.choices)}
    spellings = "|".join(_spellings(int(number)) for number in kind.choices)
    return {
        "anyOf": [{"enum": list(kind.choices)}, {"type": "string", "pattern": anchored(spellings)}]
    }


def _spellings(number: int) -> str:
    """A pattern of all texts that are `number`: decimal, or hexadecimal with zeros before it."""
    digits = "".join(
        digit if digit.isdecimal() else f"[{digit}{digit.upper()}]" for digit in f"{number:x}"
    )
    return f"{number}|0x0{{0,{HEX_DIGITS - len(f'{number:x}')}}}{digits}"


def text() -> str:
    """The schema as its file holds it."""
    return json.dumps(schema(), indent=2) + "\n"
