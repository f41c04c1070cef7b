"""The JSON Schema of plans: what schemas/plan-v1.schema.json holds. Operations, rows and phases say
what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from vmcfg.plans.apis import APIS
from vmcfg.plans.command import Operation, Row
from vmcfg.plans.operations import OPERATIONS, READING, one_of
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import SCOPES
from vmcfg.plans.sequence import SEQUENCE

Schema = dict[str, Any]

NUMBERED = ("its", "vcpu")
"""The targets of which there are several, told apart by a number."""


def text() -> str:
    """The schema as its file holds it."""
    return json.dumps(schema(), indent=2) + "\n"


def _rows(operation: Operation) -> list[Row]:
    """The rows whose commands are of an operation: its own, or for one that reads, those that it
    can read back.
    """
    setting = {reading: each for each, reading in READING.items()}
    if operation in setting:
        rows = [row for row in SEQUENCE if row.operation is setting[operation]]
        return [row for row in rows if row.readable]
    return [row for row in SEQUENCE if row.operation is operation]


def _types(rows: Iterable[Row]) -> list[str]:
    """The types of the values of some rows, each once."""
    return list(dict.fromkeys(row.value.word for row in rows))


def _operations() -> Schema:
    """The property `op`."""
    reading = list(READING.values())
    does = [f"{each.word} is {each.ioctl}{each.does}" for each in OPERATIONS if each not in reading]
    reads = [f"{each.word} is {each.ioctl}" for each in reading]
    return {
        "description": (
            f"What is done: {', '.join(does)}. With --get, what reads it back: {', '.join(reads)}."
        ),
        "enum": [each.word for each in OPERATIONS],
    }


def _attr_pattern() -> str:
    """What may be in the fourth field: a name of the uapi, a register, a number, or nothing."""
    registers = [row.register.name for row in SEQUENCE if row.register is not None]
    names = "|".join(["KVM_[A-Z0-9_]+", *registers, "0x(?:0|[1-9a-f][0-9a-f]*)", "-"])
    return rf"^(?:{names})$(?!\n)"


def _definition(operation: Operation) -> Schema:
    """The schema of a command of one operation."""
    rows = _rows(operation)
    properties: Schema = {
        "op": {"const": operation.word},
        **_target(rows),
        **_names(rows),
        "type": one_of(_types(rows)),
        "request": {"const": hex(operation.request)},
    }
    own = operation.schema(rows)
    if "origin" not in own["required"]:
        properties["origin"] = False
    return {**own, "properties": properties | own["properties"]}


def _target(rows: list[Row]) -> Schema:
    """What an operation speaks to; nothing where that is any object."""
    targets = sorted({row.target for row in rows})
    if len(targets) > 3 or ("gic" in targets and "vcpu" in targets):
        return {}
    if targets == ["vm"]:
        return {"target": {"const": "vm"}}
    patterns = [f"{each}:" if each in NUMBERED else f"{each}$" for each in targets]
    pattern = patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"
    return {"target": {"pattern": f"^{pattern}"}}


def _names(rows: list[Row]) -> Schema:
    """What an operation's third and fourth fields are."""
    registers = [row.register.name for row in rows if row.register is not None]
    if registers:
        return {"group": {"const": "-"}, "attr": one_of(registers)}
    if any(row.attr is not None for row in rows):
        return {"group": {"pattern": "^KVM_"}}
    return {"group": {"const": "-"}, "attr": {"const": "-"}}


def schema() -> Schema:
    """The JSON Schema (2020-12) of plans."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:vmcfg:schema:plan:1",
        "title": "vmcfg: plan, version 1",
        "description": (
            "What `vmcfg emit` prints, with --get too: each line of --format jsonl (a header, the"
            " commands in order, an end, so that a cut stream shows), and the one object of"
            " --format json."
        ),
        "oneOf": [
            {"$ref": "#/$defs/header-line"},
            {"$ref": "#/$defs/command"},
            {"$ref": "#/$defs/end-line"},
            {"$ref": "#/$defs/object"},
        ],
        "$defs": {
            "header-line": {
                "description": "The first line of JSON Lines.",
                "$ref": "#/$defs/header",
                "properties": {"op": {"const": "plan"}},
                "required": ["op"],
                "unevaluatedProperties": False,
            },
            "end-line": {
                "description": "The last line of JSON Lines. A stream without it was cut.",
                "type": "object",
                "properties": {
                    "op": {"const": "end"},
                    "count": {
                        "description": "How many commands came between the header and this line.",
                        "type": "integer",
                        "minimum": 0,
                    },
                },
                "required": ["op", "count"],
                "additionalProperties": False,
            },
            "object": {
                "description": "The whole plan as --format json prints it.",
                "$ref": "#/$defs/header",
                "properties": {
                    "commands": {
                        "description": "The commands, in the order in which KVM must get them.",
                        "type": "array",
                        "items": {"$ref": "#/$defs/command"},
                    }
                },
                "required": ["commands"],
                "unevaluatedProperties": False,
            },
            "header": {
                "description": "What a reader must know before the first command.",
                "type": "object",
                "properties": {
                    "format": {"description": "What this is.", "const": "vmcfg.plan"},
                    "format_version": {
                        "description": (
                            "The version of this format. A reader that knows another first number"
                            " should refuse it."
                        ),
                        "const": "1.0",
                    },
                    "vm": {
                        "description": "The VM's name.",
                        "type": "string",
                        "pattern": "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,62})$(?!\\n)",
                    },
                    "api": {
                        "description": (
                            "How a PMU interrupt's vCPU is named. vcpu, the merged one: not at all,"
                            " the attribute is its own file descriptor's. pmu-device: by its index,"
                            " in bits 31..0 of the attribute of one device. pmu-device-mpidr: by"
                            " its compressed MPIDR, in bits 63..32 of that."
                        ),
                        "enum": list(APIS),
                    },
                    "merged": {
                        "description": (
                            "Stands where the API was never merged: no kernel takes the plan."
                        ),
                        "const": False,
                    },
                    "note": {
                        "description": "What an API is that was never merged.",
                        "type": "string",
                    },
                    "not_read_back": {
                        "description": (
                            "Stands where --get was given, whose commands read what the plan sets:"
                            " the attributes that are set and that KVM has no GET for."
                        ),
                        "type": "array",
                        "items": {"type": "string", "pattern": "^(?:KVM_[A-Z0-9_]+)$(?!\\n)"},
                        "uniqueItems": True,
                    },
                    "host_kernel": {
                        "description": "The oldest host kernel that the plan was made for.",
                        "type": "string",
                        "pattern": "^(?:(?:0|[1-9][0-9]*)\\.(?:0|[1-9][0-9]*))$(?!\\n)",
                        "examples": ["6.12"],
                    },
                    "scope": {
                        "description": (
                            "attributes: what is set. vm: also what makes the VM, its vCPUs and its"
                            " devices."
                        ),
                        "enum": list(SCOPES),
                    },
                    "gic": {
                        "description": (
                            "The GIC that the description names; null where it leaves it to the"
                            " monitor altogether."
                        ),
                        "enum": ["v2", "v3", None],
                    },
                    "perform": {
                        "description": (
                            "Where the monitor's own GIC comes. whole: nowhere, the plan sets it"
                            " up. after-gic-init: the plan is one block, performed after the"
                            " monitor's CTRL_INIT. around-gic-init: the phase create comes before"
                            " the monitor makes its GIC, the rest after its CTRL_INIT."
                        ),
                        "enum": ["whole", "after-gic-init", "around-gic-init"],
                    },
                    "unchecked": {
                        "description": (
                            "Stands where --unchecked was given: the plan may break rules."
                        ),
                        "const": True,
                    },
                },
                "required": [
                    "format",
                    "format_version",
                    "vm",
                    "api",
                    "host_kernel",
                    "scope",
                    "gic",
                    "perform",
                ],
                "if": {"properties": {"api": {"const": "vcpu"}}},
                "then": {"properties": {"merged": False, "note": False}},
                "else": {"required": ["merged", "note"]},
            },
            "command": {
                "description": (
                    "One ioctl. The first six keys are the six fields of the text format."
                ),
                "type": "object",
                "properties": {
                    "op": _operations(),
                    "target": {
                        "description": (
                            "Whose file descriptor: vm, gic, its:N in file order, vcpu:ID, the id"
                            " of KVM_CREATE_VCPU, or pmu, the device of the APIs that were never"
                            " merged."
                        ),
                        "type": "string",
                        "pattern": "^(?:vm|gic|pmu|(?:its|vcpu):(?:0|[1-9][0-9]*))$(?!\\n)",
                        "examples": ["vcpu:3"],
                    },
                    "group": {
                        "description": (
                            "The attribute's group by its uapi name; - where there is none."
                        ),
                        "type": "string",
                        "pattern": "^(?:KVM_[A-Z0-9_]+|-)$(?!\\n)",
                        "examples": ["KVM_ARM_VCPU_PMU_V3_CTRL"],
                    },
                    "attr": {
                        "description": (
                            "The attribute, register or device type by its uapi name; in hex where"
                            " the uapi gives no name; - where there is none."
                        ),
                        "type": "string",
                        "pattern": _attr_pattern(),
                        "examples": ["KVM_ARM_VCPU_PMU_V3_IRQ"],
                    },
                    "type": {
                        "description": (
                            "The C type of the value: none where there is no value; features: names"
                            " of KVM_ARM_VCPU_INIT's features; memory: a memory slot; else the name"
                            " of a C struct, whose fields the value names."
                        ),
                        "enum": _types(SEQUENCE),
                    },
                    "value": {
                        "description": (
                            "The value as text, of a get-attr or get-reg the value expected: INTIDs"
                            " and counts in decimal; addresses, registers and packed words in hex;"
                            " pmu:NAME a host PMU whose number only the host knows; - where there"
                            " is none."
                        ),
                        "type": "string",
                        "pattern": "^(?:[!-~]+)$(?!\\n)",
                        "examples": ["23"],
                    },
                    "seq": {
                        "description": (
                            "The command's number in what is printed, from 1 without gaps."
                        ),
                        "type": "integer",
                        "minimum": 1,
                    },
                    "phase": {
                        "description": (
                            "create: objects come into being. configure: what an initialisation"
                            " freezes. gic-init: the vGIC's CTRL_INIT. pmu-init: each PMU's INIT."
                            " late: the rest, before the first KVM_RUN."
                        ),
                        "enum": list(PHASES),
                    },
                    "mpidr": {
                        "description": (
                            "The MPIDR of the vCPU that the command is for, Aff3.Aff2.Aff1.Aff0."
                        ),
                        "type": "string",
                        "pattern": (
                            "^(?:(?:0|[1-9][0-9]{0,2})(?:\\.(?:0|[1-9][0-9]{0,2})){3})$(?!\\n)"
                        ),
                        "examples": ["0.0.1.0"],
                    },
                    "request": {
                        "description": "The ioctl's request number.",
                        "$ref": "#/$defs/hex",
                    },
                    "origin": {
                        "description": (
                            "Where the value stands in the description; for a command that carries"
                            " none, what called for it."
                        ),
                        "$ref": "#/$defs/origin",
                    },
                },
                "required": [
                    "op",
                    "target",
                    "group",
                    "attr",
                    "type",
                    "value",
                    "seq",
                    "phase",
                    "request",
                ],
                "if": {"properties": {"target": {"pattern": "^vcpu:"}}},
                "then": {"required": ["mpidr"]},
                "oneOf": [{"$ref": f"#/$defs/{each.word}"} for each in OPERATIONS],
                "unevaluatedProperties": False,
            },
            **{each.word: _definition(each) for each in OPERATIONS},
            "hex": {"type": "string", "pattern": "^(?:0x(?:0|[1-9a-f][0-9a-f]{0,15}))$(?!\\n)"},
            "bytes": {
                "description": "Bytes as hex digits, little-endian.",
                "type": "string",
                "pattern": "^(?:(?:[0-9a-f]{2})+)$(?!\\n)",
                "examples": ["17000000"],
            },
            "origin": {
                "description": (
                    "A place in the description, where it is written, also when it is used through"
                    " an alias."
                ),
                "type": "object",
                "properties": {
                    "pointer": {
                        "description": "The place by RFC 6901.",
                        "type": "string",
                        "format": "json-pointer",
                        "pattern": "^(?:(?:/(?:[^~/]|~[01])*)*)$(?!\\n)",
                    },
                    "line": {"description": "The line, from 1.", "type": "integer", "minimum": 1},
                    "column": {
                        "description": "The column in code points, from 1.",
                        "type": "integer",
                        "minimum": 1,
                    },
                },
                "required": ["pointer", "line", "column"],
                "additionalProperties": False,
            },
        },
    }
