"""The JSON Schema of plans, generated from operations, rows, and phases."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.plans.apis import APIS
from vmcfg.plans.command import FIELDS, Operation, Row
from vmcfg.plans.operations import (
    ATTR_PROPERTIES,
    BYTES,
    GET_ATTR,
    OPERATIONS,
    READING,
    SET_ATTR,
    SET_REG,
    one_of,
)
from vmcfg.plans.phases import PHASES, STATE
from vmcfg.plans.plan import SCOPES, STATE_SCOPE
from vmcfg.plans.saving import state_rows
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.state import ALL_BITS
from vmcfg.plans.values import NO_VALUE

Schema = dict[str, Any]

IN_EVERY_COMMAND = (*FIELDS, "seq", "phase", "row", "request")
"""The keys of every command."""

NUMBERED = ("its", "vcpu")
"""The targets with a number, of which there can be several."""


def text() -> str:
    """Return the schema as text, as in its file."""
    return json.dumps(schema(), indent=2) + "\n"


def rows_of(operation: Operation) -> list[Row]:
    """Return the rows of an operation; of one that reads, the rows that it can read back."""
    setting = {reading: each for each, reading in READING.items()}
    if operation in setting:
        rows = [row for row in SEQUENCE if row.operation is setting[operation]]
        return [row for row in rows if row.readable]
    return [row for row in SEQUENCE if row.operation is operation]


def _types(rows: Iterable[Row]) -> list[str]:
    """Return the types of the values of some rows, each once."""
    return list(dict.fromkeys(row.value.word for row in rows))


def _operations() -> Schema:
    """Return the schema of the property `op`."""
    reading = list(READING.values())
    does = [f"{each.word} is {each.ioctl}{each.does}" for each in OPERATIONS if each not in reading]
    reads = [f"{each.word} is {each.ioctl}" for each in reading]
    return {
        "description": (
            f"The operation: {', '.join(does)}. With --get, it reads back: {', '.join(reads)}."
        ),
        "enum": [each.word for each in OPERATIONS],
    }


def _attr_pattern() -> str:
    """Return the pattern of the fourth field: a uapi name, a register, a number, or nothing."""
    registers = [name for name in _registers(SEQUENCE) if not name.startswith("KVM_")]
    names = "|".join(["KVM_[A-Z0-9_]+", *registers, "0x(?:0|[1-9a-f][0-9a-f]*)", "-"])
    return rf"^(?:{names})$(?!\n)"


def _registers(rows: Iterable[Row]) -> list[str]:
    """Return the names of the registers that some rows set."""
    names: list[str] = []
    for row in rows:
        if row.register is not None:
            names.append(row.register.name)
        elif row.operation is SET_REG:
            names += SETTABLE
    return names


def _definition(operation: Operation) -> Schema:
    """Return the schema of a command of one operation."""
    rows = rows_of(operation)
    properties: Schema = {
        "op": {"const": operation.word},
        **_target(rows),
        **_names(rows),
        "type": one_of(_types(rows)),
        "row": one_of([row.name for row in rows]),
        "request": {"const": hex(operation.request)},
    }
    own = operation.schema(rows)
    description = (
        f"With --numbers, sscanf() reads it with '{operation.scanned}': {operation.scanned_as}."
    )
    if "origin" not in own["required"]:
        properties["origin"] = False
    return {"description": description, **own, "properties": properties | own["properties"]}


def _target(rows: list[Row]) -> Schema:
    """Return the schema of the target of an operation; nothing if all targets are possible."""
    targets = sorted({row.target for row in rows})
    if len(targets) > 3 or ("gic" in targets and "vcpu" in targets):
        return {}
    if targets == ["vm"]:
        return {"target": {"const": "vm"}}
    patterns = [f"{each}:" if each in NUMBERED else f"{each}$" for each in targets]
    pattern = patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"
    return {"target": {"pattern": f"^{pattern}"}}


def _names(rows: list[Row]) -> Schema:
    """Return the schemas of the third and fourth fields of an operation."""
    registers = _registers(rows)
    if registers:
        return {"group": {"const": "-"}, "attr": one_of(registers)}
    if any(row.attr is not None for row in rows):
        return {"group": {"pattern": "^KVM_"}}
    return {"group": {"const": "-"}, "attr": {"const": "-"}}


def _state_command() -> Schema:
    """Return the schema of a command that saves or restores the state of a vGIC."""
    rows = state_rows()
    requests = [hex(each.request) for each in (SET_ATTR, GET_ATTR)]
    return {
        "description": (
            "One access to the state of a vGIC. get-attr saves a register, and set-attr restores it"
            " or executes a command of the group CTRL."
        ),
        "type": "object",
        "properties": {
            "op": {"enum": [SET_ATTR.word, GET_ATTR.word]},
            "target": {"type": "string", "pattern": "^(?:gic|its:(?:0|[1-9][0-9]*))$(?!\\n)"},
            "group": one_of(list(dict.fromkeys(row.attr.group for row in rows if row.attr))),
            "attr": {"type": "string", "pattern": "^(?:0x[0-9a-f]+|KVM_[A-Z0-9_]+)$(?!\\n)"},
            "type": {
                "description": (
                    "The C type that KVM reads or writes at kvm_device_attr.addr, regardless of the"
                    " size of the register; none: a command."
                ),
                **one_of(_types(rows)),
            },
            "value": {
                "description": "- if the caller's buffer has the value, else a constant.",
                "enum": ["-", hex(ALL_BITS)],
            },
            "seq": {"$ref": "#/$defs/command/properties/seq"},
            "phase": {"const": STATE},
            "row": one_of([row.name for row in rows]),
            "register": {
                "description": (
                    "The register, with its index and, for half of a register, its bits; absent in"
                    " a command of the group CTRL."
                ),
                "type": "string",
                "examples": ["GICD_IROUTER32[31:0]"],
            },
            "mpidr": {"$ref": "#/$defs/command/properties/mpidr"},
            "request": one_of(requests),
            **ATTR_PROPERTIES,
            "data": {
                "description": (
                    "What kvm_device_attr.addr points to: null if the value is in the caller's"
                    " buffer, a constant otherwise. Absent in a command of the group CTRL."
                ),
                "anyOf": [BYTES, {"type": "null"}],
            },
        },
        "required": [*IN_EVERY_COMMAND, "group_id", "attr_id"],
        "if": {"properties": {"type": {"const": NO_VALUE.word}}},
        "then": {"properties": {"op": {"const": SET_ATTR.word}, "register": False, "data": False}},
        "else": {"required": ["register", "data"]},
        "additionalProperties": False,
    }


def schema() -> Schema:
    """Return the JSON Schema (2020-12) of plans."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:vmcfg:schema:plan:1",
        "title": "vmcfg: plan, version 1",
        "description": (
            "The output of `vmcfg emit`, also with --get: each line of --format jsonl (a header,"
            " the commands in order, and an end that shows that nothing was truncated), or the one"
            " object of --format json. With --scope state, the commands are those that restore the"
            " state of the vGIC, or with --get save it."
        ),
        "oneOf": [
            {"$ref": "#/$defs/header-line"},
            {"$ref": "#/$defs/command"},
            {"$ref": "#/$defs/state-command"},
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
                "description": "The last line of JSON Lines. A stream without it was truncated.",
                "type": "object",
                "properties": {
                    "op": {"const": "end"},
                    "count": {
                        "description": "Number of commands between the header and this line.",
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
                        "description": "The commands, in the order of execution.",
                        "type": "array",
                    }
                },
                "required": ["commands"],
                "if": {"properties": {"scope": {"const": STATE_SCOPE}}},
                "then": {"properties": {"commands": {"items": {"$ref": "#/$defs/state-command"}}}},
                "else": {"properties": {"commands": {"items": {"$ref": "#/$defs/command"}}}},
                "unevaluatedProperties": False,
            },
            "header": {
                "description": "The header of the plan.",
                "type": "object",
                "properties": {
                    "format": {"description": "Identifies the format.", "const": "vmcfg.plan"},
                    "format_version": {
                        "description": (
                            "Version of this format. A reader should reject an unknown first"
                            " number."
                        ),
                        "const": "1.0",
                    },
                    "vm": {
                        "description": "Name of the VM.",
                        "type": "string",
                        "pattern": "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,62})$(?!\\n)",
                    },
                    "api": {
                        "description": (
                            "How the vCPU of a PMU interrupt is identified. vcpu (the merged API):"
                            " by its file descriptor. pmu-device: by its index, in bits [31:0] of"
                            " the attribute of one device. pmu-device-mpidr: by its compressed"
                            " MPIDR, in bits [63:32] of that."
                        ),
                        "enum": list(APIS),
                    },
                    "merged": {
                        "description": (
                            "Present if the API was never merged: no released kernel supports it."
                        ),
                        "const": False,
                    },
                    "note": {
                        "description": "Description of an API that was never merged.",
                        "type": "string",
                    },
                    "not_read_back": {
                        "description": (
                            "Present with --get, whose commands read back what the plan sets:"
                            " attributes that the plan sets and that KVM cannot return."
                        ),
                        "type": "array",
                        "items": {"type": "string", "pattern": "^(?:KVM_[A-Z0-9_]+)$(?!\\n)"},
                        "uniqueItems": True,
                    },
                    "host_kernel": {
                        "description": "Oldest host kernel that the plan supports.",
                        "type": "string",
                        "pattern": "^(?:(?:0|[1-9][0-9]*)\\.(?:0|[1-9][0-9]*))$(?!\\n)",
                        "examples": ["6.12"],
                    },
                    "scope": {
                        "description": (
                            "attributes: commands that set attributes and MPIDRs. vm: also those"
                            " that create the VM, its memory, vCPUs, and devices. state: those that"
                            " save or restore the state of the vGIC."
                        ),
                        "enum": list(SCOPES),
                    },
                    "gic": {
                        "description": "GIC version of the description; null if it has no 'gic'.",
                        "enum": ["v2", "v3", None],
                    },
                    "perform": {
                        "description": (
                            "When the VMM sets up the GIC. whole: never, because the plan does it."
                            " after-gic-init: before the plan, which is executed after CTRL_INIT."
                            " around-gic-init: after the phase create; the rest of the plan is"
                            " executed after CTRL_INIT. state: the plan saves or restores a vGIC"
                            " that is set up."
                        ),
                        "enum": ["whole", "after-gic-init", "around-gic-init", "state"],
                    },
                    "phases": {
                        "description": "Present with --phase: the phases of the commands.",
                        "type": "array",
                        "items": {"enum": list(PHASES)},
                    },
                    "unchecked": {
                        "description": "Present with --unchecked: the plan might break rules.",
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
                            "The object whose file descriptor is used: vm, gic, its:N in file"
                            " order, vcpu:ID with the id of KVM_CREATE_VCPU, or pmu, the device of"
                            " the APIs that were never merged."
                        ),
                        "type": "string",
                        "pattern": "^(?:vm|gic|pmu|(?:its|vcpu):(?:0|[1-9][0-9]*))$(?!\\n)",
                        "examples": ["vcpu:3"],
                    },
                    "group": {
                        "description": (
                            "The group of the attribute by its uapi name, or - without a group."
                        ),
                        "type": "string",
                        "pattern": "^(?:KVM_[A-Z0-9_]+|-)$(?!\\n)",
                        "examples": ["KVM_ARM_VCPU_PMU_V3_CTRL"],
                    },
                    "attr": {
                        "description": (
                            "The attribute, register, or device type by its uapi name; hexadecimal"
                            " if the uapi has no name; - if there is none."
                        ),
                        "type": "string",
                        "pattern": _attr_pattern(),
                        "examples": ["KVM_ARM_VCPU_PMU_V3_IRQ"],
                    },
                    "type": {
                        "description": (
                            "The C type of the value. none: no value; features: names of features"
                            " of KVM_ARM_VCPU_INIT; memory: a memory slot; otherwise the name of a"
                            " C struct, whose fields are named in the value."
                        ),
                        "enum": _types(SEQUENCE),
                    },
                    "value": {
                        "description": (
                            "The value as text, in get-attr and get-reg the expected value: INTIDs"
                            " and counts are decimal; addresses, registers, and other words are"
                            " hexadecimal; pmu:NAME is a host PMU whose number only the host knows;"
                            " - means no value."
                        ),
                        "type": "string",
                        "pattern": "^(?:[!-~]+)$(?!\\n)",
                        "examples": ["23"],
                    },
                    "seq": {
                        "description": "Number of the command in the output, from 1 without gaps.",
                        "type": "integer",
                        "minimum": 1,
                    },
                    "phase": {
                        "description": (
                            "create: create objects. configure: settings made before"
                            " initialization. gic-init: CTRL_INIT of the vGIC. pmu-init: INIT of"
                            " each PMU. late: other settings, before the first KVM_RUN."
                        ),
                        "enum": list(PHASES),
                    },
                    "row": {
                        "description": (
                            "The kind of command, by the name that 'vmcfg explain order' lists."
                        ),
                        "enum": [row.name for row in SEQUENCE],
                    },
                    "mpidr": {
                        "description": "MPIDR of the vCPU of the command: Aff3.Aff2.Aff1.Aff0.",
                        "type": "string",
                        "pattern": (
                            "^(?:(?:0|[1-9][0-9]{0,2})(?:\\.(?:0|[1-9][0-9]{0,2})){3})$(?!\\n)"
                        ),
                        "examples": ["0.0.1.0"],
                    },
                    "request": {
                        "description": "Request number of the ioctl.",
                        "$ref": "#/$defs/hex",
                    },
                    "origin": {
                        "description": (
                            "Position of the value in the description; for a command without a"
                            " value, the position that it comes from."
                        ),
                        "$ref": "#/$defs/origin",
                    },
                },
                "required": list(IN_EVERY_COMMAND),
                "if": {"properties": {"target": {"pattern": "^vcpu:"}}},
                "then": {"required": ["mpidr"]},
                "oneOf": [{"$ref": f"#/$defs/{each.word}"} for each in OPERATIONS],
                "unevaluatedProperties": False,
            },
            **{each.word: _definition(each) for each in OPERATIONS},
            "state-command": _state_command(),
            "hex": {"type": "string", "pattern": "^(?:0x(?:0|[1-9a-f][0-9a-f]{0,15}))$(?!\\n)"},
            "bytes": {
                "description": "Bytes as hexadecimal digits, little-endian.",
                "type": "string",
                "pattern": "^(?:(?:[0-9a-f]{2})+)$(?!\\n)",
                "examples": ["17000000"],
            },
            "origin": {
                "description": (
                    "A position in the description; a value used through an alias has the position"
                    " of its anchor."
                ),
                "type": "object",
                "properties": {
                    "file": {
                        "description": "The file of defaults, if the value is from there.",
                        "type": "string",
                    },
                    "pointer": {
                        "description": "JSON pointer (RFC 6901).",
                        "type": "string",
                        "format": "json-pointer",
                        "pattern": "^(?:(?:/(?:[^~/]|~[01])*)*)$(?!\\n)",
                    },
                    "line": {"description": "Line, from 1.", "type": "integer", "minimum": 1},
                    "column": {
                        "description": "Column in code points, from 1.",
                        "type": "integer",
                        "minimum": 1,
                    },
                },
                "required": ["pointer", "line", "column"],
                "additionalProperties": False,
            },
        },
    }
