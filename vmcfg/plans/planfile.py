"""A plan in JSON Lines read back, to be performed: whole, and every line in agreement with itself and with the table.

What comes before: the bytes of ``vmcfg emit --scope vm --format jsonl``. Next: `perform`.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, NamedTuple

from vmcfg.description.model import Gic
from vmcfg.files import NoFile
from vmcfg.kernel.abi import DEVICE_TYPES, ITS_TYPE, STRUCTS
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Command
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.rows import Row
from vmcfg.plans.sequence import SEQUENCE

_EXPLANATORY = ("seq", "phase", "mpidr", "origin")
"""The keys of a command that are neither its six fields nor its ioctl."""

_SIX = ("op", "target", "group", "attr", "type", "value")

_MPIDR = re.compile(
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
)


class PlanFile(NamedTuple):
    """A whole VM's plan. `origins` says of each command where in its description it comes from, if that is told."""

    name: str
    commands: tuple[Command, ...]
    monitors_gic: bool
    gic: Gic | None
    origins: tuple[dict[str, Any] | None, ...]


class _Odd(Exception):
    """What is wrong with one line."""


def read_plan(data: bytes, file: str) -> PlanFile:
    """The plan in `data`. Raises `NoFile` where it is not one whole VM's that can be performed as it stands."""
    try:
        lines = [_object(line) for line in data.decode().removesuffix("\n").split("\n")]
    except (UnicodeDecodeError, _Odd):
        lines = []
    if len(lines) < 2:
        raise NoFile(
            f"{file} is no plan in JSON Lines: make one with 'vmcfg emit --scope vm --format jsonl'"
        )
    header, *middle, end = lines
    number = 1
    try:
        _check_header(header)
        number = len(lines)
        if end != {"op": "end", "count": len(middle)}:
            raise _Odd(
                f'a plan of {len(middle)} commands ends with {{"op":"end","count":{len(middle)}}}: this one is cut'
            )
        made: set[str] = set()
        commands = []
        for number, line in enumerate(middle, 2):
            commands.append(_command(line, number - 1, made))
    except _Odd as odd:
        raise NoFile(f"{file}, line {number}: {odd}") from None
    whole = header["perform"] == "whole"
    gic = None if whole or header["gic"] is None else Gic(int(header["gic"][1:]))
    return PlanFile(
        header["vm"], tuple(commands), not whole, gic, tuple(line.get("origin") for line in middle)
    )


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _Odd("not a JSON object")
    return value


def _check_header(header: dict[str, Any]) -> None:
    if header.get("op") != "plan" or header.get("format") != "vmcfg.plan":
        raise _Odd('a plan begins with its header, {"op":"plan","format":"vmcfg.plan", ...}')
    if not str(header.get("format_version")).startswith("1."):
        raise _Odd(
            f"this vmcfg reads plans of format version 1, not {header.get('format_version')}"
        )
    if header.get("scope") != WHOLE_VM:
        raise _Odd(
            f"the plan's scope is {header.get('scope')}, but only a whole VM's can be performed: --scope vm"
        )
    if header.get("api") != VCPU:
        raise _Odd(f"no kernel knows the API {header.get('api')}; only --api vcpu can be performed")
    if header.get("perform") not in ("whole", "around-gic-init") or header.get("gic", "") not in (
        None,
        "v2",
        "v3",
    ):
        raise _Odd("the header does not say whose GIC it is, by 'perform' and 'gic'")
    if not isinstance(header.get("vm"), str):
        raise _Odd("the header does not name the VM")


def _command(line: dict[str, Any], seq: int, made: set[str]) -> Command:
    """The command of one line; `made` are the targets that the lines before have made."""
    if line.get("seq") != seq:
        raise _Odd(f"seq is {line.get('seq')}, but {seq} comes here: a line is missing, or moved")
    row = _row(line)
    target = str(line["target"])
    if line.get("phase") != row.phase:
        raise _Odd(f"{row.op} is of the phase {row.phase}, not {line.get('phase')}")
    mpidr = line.get("mpidr")
    if (row.target == "vcpu") != isinstance(mpidr, str) or (
        mpidr is not None and not _MPIDR.fullmatch(mpidr)
    ):
        raise _Odd("'mpidr' is for commands to a vCPU: its affinity, as 0.0.0.0")
    command = Command(row, target, str(line.get("value")), _number(line, row), mpidr, None)
    stated = {key: value for key, value in line.items() if key not in _EXPLANATORY}
    meant = (
        dict(zip(_SIX, command._replace(value=row.show(command.number)).fields(), strict=True))
        | command.call()
    )
    for key in (*meant, *stated):
        if stated.get(key) != meant.get(key):
            raise _Odd(
                f"'{key}' is {json.dumps(stated.get(key))}, but the rest of the line means {json.dumps(meant.get(key))}"
            )
    _check_target(command, made)
    return command


def _row(line: dict[str, Any]) -> Row:
    target = str(line.get("target")).partition(":")[0]
    for row in SEQUENCE:
        group, attr = (row.attr.group, row.attr.name) if row.attr is not None else (None, None)
        if (row.op, row.target) != (line.get("op"), target) or VCPU not in row.apis:
            continue
        if row.attr is None or (group, attr) == (line.get("group"), line.get("attr")):
            return row
    told = " ".join(str(line.get(key)) for key in _SIX[:4])
    raise _Odd(f"vmcfg knows no command '{told}'")


def _number(line: dict[str, Any], row: Row) -> Any:
    """What a command carries, from the keys that are for the kernel."""
    try:
        if row.op in ("set-attr", "set-reg"):
            if row.type == "none":
                return None
            if line["data"] is None:
                raise _Odd(
                    "its data is null: only the host knows it, so it has to be resolved there"
                )
            data = bytes.fromhex(line["data"])
            if row.type in STRUCTS:
                return struct.unpack(STRUCTS[row.type][0], data)
            return int.from_bytes(data, "little", signed=row.type == "s32")
        if row.op in ("create-vm", "create-vcpu", "finalize-vcpu"):
            return int(line["arg"], 16)
        if row.op == "create-device":
            if line["device_id"] not in [
                number for _, number in (*DEVICE_TYPES.values(), ITS_TYPE)
            ]:
                raise _Odd(f"vmcfg knows no device type {line['device_id']}")
            return line["device_id"]
        if row.op == "init-vcpu":
            features = tuple(line["value"].split(","))
            if not VCPU_FEATURES.keys() >= set(features):
                raise _Odd(f"vmcfg knows the features {', '.join(VCPU_FEATURES)}")
            return features
        return int(line["slot"]), int(line["base"], 16), int(line["size"], 16)
    except (KeyError, TypeError, ValueError, AttributeError, struct.error):
        raise _Odd(f"what {row.op} carries is missing or no number") from None


def _check_target(command: Command, made: set[str]) -> None:
    op, target = command.row.op, command.target
    if (op == "create-vm") != (not made):
        raise _Odd("a plan makes one VM, with its first command")
    making = op in ("create-vm", "create-vcpu", "create-device")
    if making == (target in made):
        raise _Odd(
            f"{target} is made twice" if making else f"{target} is used, but not made before"
        )
    if op == "create-vcpu" and target != f"vcpu:{command.number}":
        raise _Odd(f"the target is {target}, but vCPU {command.number} is made")
    if making:
        made.add(target)
