"""A plan in JSON Lines read back, to be performed: whole, and every line in agreement with itself
and with the table.

What comes before: the bytes of ``vmcfg emit --scope vm --format jsonl``. Next: `perform`.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, NamedTuple

from vmcfg.description.model import Gic
from vmcfg.files import NoFile
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Command, Row
from vmcfg.plans.operations import CREATE_VCPU, CREATE_VM, Unsupported
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import Payload

_EXPLANATORY = ("seq", "phase", "mpidr", "origin")
"""The keys of a command that are neither its six fields nor its ioctl."""

_SIX = ("op", "target", "group", "attr", "type", "value")

_MPIDR = re.compile(
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
)


class PlanFile(NamedTuple):
    """A whole VM's plan. `origins` says of each command where in its description it comes from, if
    that is told.
    """

    name: str
    commands: tuple[Command, ...]
    monitors_gic: bool
    gic: Gic | None
    origins: tuple[dict[str, Any] | None, ...]


class _Odd(Exception):
    """What is wrong with one line."""


def read_plan(data: bytes, file: str) -> PlanFile:
    """The plan in `data`. Raises `NoFile` where it is not one whole VM's that can be performed as
    it stands.
    """
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
                f'a plan of {len(middle)} commands ends with {{"op":"end","count":{len(middle)}}}:'
                " this one is cut"
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
            f"the plan's scope is {header.get('scope')}, but only a whole VM's can be performed:"
            " --scope vm"
        )
    if header.get("api") != VCPU:
        raise _Odd(f"no kernel knows the API {header.get('api')}; only --api vcpu can be performed")
    says_perform = header.get("perform") in ("whole", "around-gic-init")
    says_gic = header.get("gic", "") in (None, "v2", "v3")
    if not (says_perform and says_gic):
        raise _Odd("the header does not say whose GIC it is, by 'perform' and 'gic'")
    if not isinstance(header.get("vm"), str):
        raise _Odd("the header does not name the VM")


def _command(line: dict[str, Any], seq: int, made: set[str]) -> Command:
    """The command of one line; `made` are the targets that the lines before have made."""
    if line.get("seq") != seq:
        raise _Odd(f"seq is {line.get('seq')}, but {seq} comes here: a line is missing, or moved")
    row = _row(line)
    operation = row.operation
    if line.get("phase") != row.phase:
        raise _Odd(f"{operation.word} is of the phase {row.phase}, not {line.get('phase')}")
    payload = _payload(line, row)
    value = row.value.text(payload)
    command = Command(operation, row, str(line["target"]), value, payload, _mpidr(line, row))
    _check_agreement(line, command)
    _check_target(command, made)
    return command


def _row(line: dict[str, Any]) -> Row:
    """The row of the sequence that a line is of."""
    for row in SEQUENCE:
        if VCPU in row.apis and _is_of(line, row):
            return row
    told = " ".join(str(line.get(key)) for key in _SIX[:4])
    raise _Odd(f"vmcfg knows no command '{told}'")


def _is_of(line: dict[str, Any], row: Row) -> bool:
    target = str(line.get("target")).partition(":")[0]
    if (line.get("op"), target) != (row.operation.word, row.target):
        return False
    if row.attr is not None:
        return (line.get("group"), line.get("attr")) == (row.attr.group, row.attr.name)
    return row.register is None or line.get("attr") == row.register.name


def _mpidr(line: dict[str, Any], row: Row) -> str | None:
    """The MPIDR of the vCPU that a line is for, dotted."""
    mpidr = line.get("mpidr")
    if row.target != "vcpu" and mpidr is None:
        return None
    if row.target == "vcpu" and isinstance(mpidr, str) and _MPIDR.fullmatch(mpidr):
        return mpidr
    raise _Odd("'mpidr' is for commands to a vCPU: its affinity, as 0.0.0.0")


def _payload(line: dict[str, Any], row: Row) -> Payload:
    """What a command carries, from the keys that are for the kernel."""
    try:
        return row.operation.payload(line, row)
    except Unsupported as error:
        raise _Odd(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, struct.error):
        raise _Odd(f"what {row.operation.word} carries is missing or no number") from None


def _check_agreement(line: dict[str, Any], command: Command) -> None:
    """Raise `_Odd` where a key of the line says something else than `command`, or is one too many
    or missing.
    """
    stated = {key: value for key, value in line.items() if key not in _EXPLANATORY}
    meant = dict(zip(_SIX, command.fields(), strict=True)) | command.call()
    for key in (*meant, *stated):
        if stated.get(key) != meant.get(key):
            here, rest = json.dumps(stated.get(key)), json.dumps(meant.get(key))
            raise _Odd(f"'{key}' is {here}, but the rest of the line means {rest}")


def _check_target(command: Command, made: set[str]) -> None:
    """Raise `_Odd` where `command` speaks to an object that is not made, or makes one that is; note
    what it makes.
    """
    operation, target = command.operation, command.target
    if (operation is CREATE_VM) != (not made):
        raise _Odd("a plan makes one VM, with its first command")
    if operation.makes_target and target in made:
        raise _Odd(f"{target} is made twice")
    if not operation.makes_target and target not in made:
        raise _Odd(f"{target} is used, but not made before")
    if operation is CREATE_VCPU and target != f"vcpu:{command.number}":
        raise _Odd(f"the target is {target}, but vCPU {command.number} is made")
    if operation.makes_target:
        made.add(target)
