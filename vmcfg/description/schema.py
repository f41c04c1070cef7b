"""The model as a JSON Schema, which ``python -m vmcfg.shell`` writes.

The schema says of data what `reading` says of text: it accepts a document of JSON values (numbers
written as integers) exactly if no VMC1xx is found in the same document. What two values say
together stands in it as words at most, and so do the bounds of VMC107, which hold for the document
as a whole.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from vmcfg.description.kinds import Misfit, ScalarKind
from vmcfg.description.model import Description, Either, Field, Kind, ListOf, fields, required
from vmcfg.text.node_reader import DEEPEST, MOST_NODES

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
        "$comment": "Generated from vmcfg/description/model.py by `python -m vmcfg.shell`. Not said"
        f" here: a document is nested at most {DEEPEST} deep and has at most {MOST_NODES:,} values"
        " (VMC107).",
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


def of_kind(kind: Kind, path: str) -> Schema:
    """The schema of a value of one of the model's kinds, at a dotted path without list indices."""
    if isinstance(kind, Either):
        # Each keyword holds for its own type, so this needs no anyOf, whose errors nobody
        # understands.
        one, many = kind.scalar.schema(), of_kind(kind.many, path)
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
    return kind.schema()


def of_field(field: Field, path: str) -> Schema:
    """The schema of one key's value, with what an editor shows of it."""
    described: Schema = {"title": path, "description": field.doc}
    if field.default is not None:
        described["description"] += f" Default: {field.default}."
        described |= _default(field)
    if field.examples:
        described["examples"] = list(field.examples)
    value = of_kind(field.kind, path)
    # A mapping's own description gives way to that of its key.
    value.pop("description", None)
    return described | value


def _default(field: Field) -> Schema:
    """The default as a JSON value, where its words are one that the field itself can hold."""
    words = field.default or ""
    try:
        value = json.loads(words)
    except ValueError:
        value = words
    if not isinstance(field.kind, ScalarKind):
        return {}
    try:
        field.kind.read(str(value), plain=isinstance(value, int))
    except Misfit:
        return {}
    return {"default": value}


def text() -> str:
    """The schema as its file holds it."""
    return json.dumps(schema(), indent=2) + "\n"
