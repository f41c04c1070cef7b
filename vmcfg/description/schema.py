"""The model as a JSON Schema, which ``python -m vmcfg.shell`` writes.

The schema checks data as `reading` checks text: it accepts a document of JSON values (with numbers
as integers) exactly if the same document has no VMC1xx finding. It mentions rules about several
values, and the bounds of VMC107 for the whole document, only in descriptions.
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
"""The identifier of this version of the schema, independent of its file."""


def schema() -> Schema:
    """Return the JSON Schema (2020-12) of descriptions."""
    model = of_kind(Description, "")
    example = {key: fields(Description)[key].examples[0] for key in required(Description)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "$comment": "Generated from vmcfg/description/model.py by `python -m vmcfg.shell`. Not"
        f" checked here: a document is nested at most {DEEPEST} levels deep and has at most"
        f" {MOST_NODES} values (VMC107).",
        "title": "vmcfg: description of a virtual machine, version 1",
        "description": model.pop("description"),
        "examples": [example],
        "type": model.pop("type"),
        "properties": {
            "$schema": {
                "title": "$schema",
                "description": "The schema that an editor uses; vmcfg ignores this key.",
            },
            **model.pop("properties"),
        },
        "patternProperties": {
            "^x-": {
                "title": "x-...",
                "description": "For your own use; vmcfg ignores this key.",
            }
        },
        **model,
    }


def of_kind(kind: Kind, path: str) -> Schema:
    """Return the schema of a value of one kind, at a dotted path without list indices."""
    if isinstance(kind, Either):
        # Each keyword applies to its own type. This avoids anyOf, which leads to obscure errors.
        one, full = kind.scalar.schema(), of_kind(kind.full, path)
        return {"type": [*one.pop("type"), full.pop("type")], **one, **full}
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
    """Return the schema of the value of one key, with the texts that an editor shows."""
    described: Schema = {"title": path, "description": field.doc}
    if field.default is not None:
        described["description"] += f" Default: {field.default}."
        described |= _default(field)
    if field.examples:
        described["examples"] = list(field.examples)
    value = of_kind(field.kind, path)
    # The description of the key replaces that of the mapping.
    value.pop("description", None)
    return described | value


def _default(field: Field) -> Schema:
    """Return the default as a JSON value if the key itself can have it, else nothing."""
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
    """Return the schema as text, as in its file."""
    return json.dumps(schema(), indent=2) + "\n"
