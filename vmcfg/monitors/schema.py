"""The JSON Schema of records, generated from the tables of plans."""

from __future__ import annotations

import json
from typing import Any

from vmcfg.monitors.recorder import HAS_ATTR, REQUESTS_OF, SET_GSI_ROUTING, SET_MP_STATE
from vmcfg.plans.command import FIELDS
from vmcfg.plans.operations import OPERATIONS, one_of
from vmcfg.plans.sequence import SEQUENCE

Schema = dict[str, Any]

OPS = (*(operation.word for operation in OPERATIONS), HAS_ATTR, SET_MP_STATE, SET_GSI_ROUTING)
"""Every operation of records: those of plans, and those that no plan has."""

_HEX: Schema = {"$ref": "#/$defs/hex"}
_BYTES: Schema = {"anyOf": [{"$ref": "#/$defs/bytes"}, {"type": "null"}]}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": ["string", "null"], "pattern": "^[!-~]+$"}

_ATTR: Schema = {
    "group_id": {"description": "kvm_device_attr.group.", **_NUMBER},
    "attr_id": {"description": "kvm_device_attr.attr.", **_HEX},
}
_DATA: Schema = {
    "description": "The value that the address points to; absent if there is none.",
    **_BYTES,
}
_REGISTER: Schema = {"reg_id": {"description": "kvm_one_reg.id.", **_HEX}, "data": _DATA}

_ARGUMENTS: dict[str, Schema] = {
    "create-vm": {"arg": {"description": "The VM type.", **_HEX}},
    "enable-cap": {
        "cap_id": {"description": "kvm_enable_cap.cap.", **_NUMBER},
        "args": {
            "description": "kvm_enable_cap.args, without the zeros at the end.",
            "type": "array",
            "items": _HEX,
        },
    },
    "add-memory": {
        "slot": {"description": "Number of the slot.", **_NUMBER},
        "base": {"description": "Guest-physical address of the first byte.", **_HEX},
        "size": {"description": "Size in bytes; 0x0 removes the slot.", **_HEX},
        "flags": {"description": "Flags of the slot, if any.", **_HEX},
    },
    "create-vcpu": {"arg": {"description": "The vCPU id.", **_HEX}},
    "create-device": {
        "device_id": {"description": "Number of the device type.", **_NUMBER},
        "test": {
            "description": "Present if the call only asks whether KVM supports the type.",
            "const": True,
        },
    },
    "init-vcpu": {
        "feature_words": {
            "description": "kvm_vcpu_init.features, without the words at the end that are 0.",
            "type": "array",
            "items": _HEX,
            "minItems": 1,
            "maxItems": 7,
        }
    },
    "finalize-vcpu": {"arg": {"description": "The number of the feature.", **_HEX}},
    "set-reg": _REGISTER,
    "get-reg": _REGISTER,
    "set-attr": {**_ATTR, "data": _DATA},
    "get-attr": {
        **_ATTR,
        "data": _DATA,
        "start": {
            "description": "The value before the call, if it selects one of several.",
            "$ref": "#/$defs/bytes",
        },
    },
    HAS_ATTR: _ATTR,
    SET_MP_STATE: {"mp_state": {"description": "kvm_mp_state.mp_state.", **_NUMBER}},
    SET_GSI_ROUTING: {"routes": {"description": "kvm_irq_routing.nr.", **_NUMBER}},
}
"""The keys with the arguments of each ioctl."""

_OPTIONAL = ("flags", "test", "data", "start")


def text() -> str:
    """Return the schema as text, as in its file."""
    return json.dumps(schema(), indent=2) + "\n"


def _definition(op: str) -> Schema:
    """Return the schema of the calls of one operation."""
    arguments = _ARGUMENTS[op]
    required = [key for key in arguments if key not in _OPTIONAL]
    requests = [hex(number) for number in REQUESTS_OF[op]]
    return {
        "properties": {"op": {"const": op}, "request": one_of(requests), **arguments},
        # If the struct of a call could not be read, its fields are absent.
        "if": {"properties": {"attr": {"type": "null"}}},
        "else": {"required": required},
    }


def schema() -> Schema:
    """Return the JSON Schema (2020-12) of records."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:vmcfg:schema:record:1",
        "title": "vmcfg: record, version 1",
        "description": (
            "Each line that `vmcfg record` writes: a header, the calls in the order in which they"
            " returned, and an end, without which the record is not complete."
        ),
        "oneOf": [
            {"$ref": "#/$defs/header"},
            {"$ref": "#/$defs/call"},
            {"$ref": "#/$defs/end"},
        ],
        "$defs": {
            "header": _header(),
            "end": _end(),
            "call": _call(),
            **{op: _definition(op) for op in OPS},
            "hex": {"type": "string", "pattern": "^(?:0x(?:0|[1-9a-f][0-9a-f]{0,15}))$(?!\\n)"},
            "bytes": {
                "description": "Bytes as hexadecimal digits, little-endian.",
                "type": "string",
                "pattern": "^(?:(?:[0-9a-f]{2})+)$(?!\\n)",
                "examples": ["17000000"],
            },
        },
    }


def _header() -> Schema:
    return {
        "description": "The first line.",
        "type": "object",
        "properties": {
            "op": {"const": "record"},
            "format": {"description": "Identifies the format.", "const": "vmcfg.record"},
            "format_version": {
                "description": (
                    "Version of this format. A reader should reject an unknown first number."
                ),
                "const": "1.0",
            },
            "kernel": {
                "description": "Version of the kernel on which the command ran.",
                "type": "string",
                "examples": ["6.12.107"],
            },
            "machine": {
                "description": "The machine, as in uname.",
                "type": "string",
                "examples": ["aarch64"],
            },
            "command": {
                "description": "The command and its arguments.",
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
            },
            "pmus": {
                "description": "The PMUs of the CPUs of the host.",
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string", "examples": ["armv8_pmuv3_0"]},
                        "type": {"description": "The number for SET_PMU.", "type": "integer"},
                        "cpus": {"description": "Its CPUs.", "type": "string"},
                    },
                    "required": ["name", "type", "cpus"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["op", "format", "format_version", "kernel", "machine", "command", "pmus"],
        "additionalProperties": False,
    }


def _end() -> Schema:
    return {
        "description": "The last line.",
        "type": "object",
        "properties": {
            "op": {"const": "end"},
            "count": {"description": "Number of calls before this line.", **_NUMBER},
            "other_registers": {
                "description": (
                    "Number of calls with registers that do not identify the VM, which are not"
                    " lines of the record."
                ),
                **_NUMBER,
            },
        },
        "required": ["op", "count", "other_registers"],
        "additionalProperties": False,
    }


def _call() -> Schema:
    return {
        "description": "One ioctl. The first six keys are the six fields of plans.",
        "type": "object",
        "properties": {
            "op": {"description": "The operation, as in plans.", "enum": list(OPS)},
            "target": {
                "description": (
                    "The object whose file descriptor was used, as in plans; device:N is another"
                    " device. Null if no recorded call created the descriptor."
                ),
                "type": ["string", "null"],
                "pattern": "^(?:vm|gic|(?:its|vcpu|device):(?:0|[1-9][0-9]*))$(?!\\n)",
                "examples": ["vcpu:3"],
            },
            "group": {
                "description": "The group of the attribute by its uapi name, or its number.",
                **_TEXT,
            },
            "attr": {
                "description": (
                    "The attribute, register, device type, or capability by its uapi name, or its"
                    " number."
                ),
                **_TEXT,
            },
            "type": {"description": "The C type of the value, as in plans.", **_TEXT},
            "value": {
                "description": "The value, as in plans; null if it could not be read.",
                **_TEXT,
            },
            "seq": {
                "description": "Number of the call, from 1 without gaps.",
                "type": "integer",
                "minimum": 1,
            },
            "row": {
                "description": (
                    "The kind of command that the call is, sets, or reads, by the name that 'vmcfg"
                    " explain order' lists; null if no plan has it."
                ),
                "enum": [*(row.name for row in SEQUENCE), None],
            },
            "mpidr": {
                "description": "MPIDR of the vCPU after the call: Aff3.Aff2.Aff1.Aff0.",
                "type": "string",
                "pattern": "^(?:(?:0|[1-9][0-9]{0,2})(?:\\.(?:0|[1-9][0-9]{0,2})){3})$(?!\\n)",
                "examples": ["0.0.1.0"],
            },
            "request": {"description": "Request number of the ioctl.", **_HEX},
            "vm": {
                "description": "Number of the VM, from 1; null if it is unknown.",
                "type": ["integer", "null"],
                "minimum": 1,
            },
            "thread": {"description": "Number of the thread.", "type": "integer", "minimum": 1},
            "errno": {
                "description": "Name of the error; null if the call succeeded.",
                "type": ["string", "null"],
                "examples": ["EINVAL"],
            },
            "why": {"description": "Why something is null.", "type": "string"},
        },
        "required": [
            *(*FIELDS, "seq", "row"),
            *("request", "vm", "thread", "errno"),
        ],
        "oneOf": [{"$ref": f"#/$defs/{op}"} for op in OPS],
        "unevaluatedProperties": False,
    }
