"""A plan in JSON Lines, read to be executed or compared: complete, and each line consistent with
the table.

In: the lines of ``vmcfg emit --format jsonl``. Out: the commands for `trial.perform`, which must be
those of a whole VM, or for a comparison.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from vmcfg.description.model import Gic
from vmcfg.escape import printable
from vmcfg.files import NoFile
from vmcfg.kernel.abi import Register
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES
from vmcfg.plans.apis import APIS, VCPU, Api
from vmcfg.plans.command import FIELDS, Command, Row
from vmcfg.plans.header import object_in
from vmcfg.plans.operations import CREATE_VCPU, CREATE_VM, ENABLE_CAP, SET_REG, Unsupported
from vmcfg.plans.plan import SCOPES, STATE_SCOPE, WHOLE_VM, Scope
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import Payload

_EXPLANATORY = ("seq", "phase", "row", "mpidr", "origin")
"""The keys of a command other than its six fields and its ioctl."""


_MPIDR = re.compile(
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
)


class PlanFile(NamedTuple):
    """A plan. `origins` has the origin of each command, or None; `text` is the text of the file."""

    name: str
    commands: tuple[Command, ...]
    monitors_gic: bool
    gic: Gic | None
    origins: tuple[dict[str, Any] | None, ...]
    text: str
    scope: Scope = WHOLE_VM
    api: Api = VCPU


class _Odd(Exception):
    """A problem in one line."""


class _NoPlan(Exception):
    """The file is empty, or its first line is not a JSON object."""


def read_plan(lines: Iterable[bytes], file: str) -> PlanFile:
    """Return the plan in `lines`. Raises `NoFile` if it is not an executable whole-VM plan.

    Reading ends at the first line that is wrong.
    """
    return _read(lines, file, _Reader())


def read_compared_plan(lines: Iterable[bytes], file: str) -> PlanFile:
    """Return the plan in `lines`, of any scope and API. Raises `NoFile` if it is not a complete
    plan that sets, or if it has only some phases.
    """
    return _read(lines, file, _Reader(is_executed=False))


def _read(lines: Iterable[bytes], file: str, reader: _Reader) -> PlanFile:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            reader.add(line, number)
        reader.end()
    except _Odd as odd:
        raise NoFile(f"{file}, line {number}: {printable(str(odd))}") from None
    except _NoPlan:
        raise NoFile(
            f"{file} is not a plan in JSON Lines;"
            " run 'vmcfg emit --scope vm --format jsonl' to create one"
        ) from None
    return reader.plan()


class _Reader:
    """A plan, as far as it has been read."""

    def __init__(self, *, is_executed: bool = True) -> None:
        self.is_executed = is_executed
        self.text: list[str] = []
        self.header: dict[str, Any] = {}
        self.commands: list[Command] = []
        self.origins: list[dict[str, Any] | None] = []
        self.made: set[str] = set()
        """The targets that earlier lines created."""
        self.has_end = False

    def add(self, line: bytes, number: int) -> None:
        """Add the next line. Raises `_Odd` or `_NoPlan`."""
        try:
            text = line.decode()
            read = object_in(text)
        except UnicodeDecodeError:
            read = None
        if read is None:
            if number == 1:
                raise _NoPlan
            raise _Odd("this is not a JSON object")
        self.text.append(text)
        if number == 1:
            _check_format(read)
            if self.is_executed:
                _check_executable(read)
            else:
                _check_comparable(read)
            _check_gic(read)
            self.header = read
        elif self.has_end:
            raise _Odd('the plan ended at the line before: {"op":"end", ...}')
        elif read.get("op") == "end":
            self.has_end = read == self._right_end()
            self.end()
        else:
            command = _command(read, number - 1, self.is_executed)
            if self.is_executed:
                _check_target(command, self.made)
            self.commands.append(command)
            self.origins.append(read.get("origin"))

    def end(self) -> None:
        """Raise `_Odd` or `_NoPlan` unless the last line was the right end."""
        if not self.text:
            raise _NoPlan
        if not self.has_end:
            end = json.dumps(self._right_end(), separators=(",", ":"))
            count = len(self.commands)
            raise _Odd(f"a plan with {count} commands must end with {end}: this one is truncated")

    def _right_end(self) -> dict[str, Any]:
        return {"op": "end", "count": len(self.commands)}

    def plan(self) -> PlanFile:
        """Return the plan after its end."""
        header = self.header
        whole = header["perform"] == "whole"
        gic = None if whole or header["gic"] is None else Gic(int(header["gic"][1:]))
        commands, origins = tuple(self.commands), tuple(self.origins)
        text = "".join(self.text)
        scope, api = header["scope"], header["api"]
        return PlanFile(header["vm"], commands, not whole, gic, origins, text, scope, api)


def _check_format(header: dict[str, Any]) -> None:
    if header.get("op") != "plan" or header.get("format") != "vmcfg.plan":
        raise _Odd('a plan must begin with a header: {"op":"plan","format":"vmcfg.plan", ...}')
    if not str(header.get("format_version")).startswith("1."):
        raise _Odd(f"'format_version' must be 1.x, not {header.get('format_version')}")
    if not isinstance(header.get("vm"), str):
        raise _Odd("the header needs the name of the VM in 'vm'")


def _check_executable(header: dict[str, Any]) -> None:
    if header.get("scope") == STATE_SCOPE:
        raise _Odd("it saves or restores the state of a vGIC, and does not set up a VM")
    if header.get("scope") != WHOLE_VM:
        raise _Odd(
            f"'scope' must be 'vm', not '{header.get('scope')}': use 'vmcfg emit --scope vm'"
        )
    if header.get("api") != VCPU:
        raise _Odd(f"'api' must be 'vcpu', not '{header.get('api')}': no kernel supports others")
    if header.get("perform") not in ("whole", "around-gic-init"):
        raise _Odd("the header needs valid values for 'perform' and 'gic'")


def _check_comparable(header: dict[str, Any]) -> None:
    if header.get("perform") == "state":
        raise _Odd("a plan of the state of a vGIC cannot be compared")
    if "not_read_back" in header:
        raise _Odd("a plan that reads back cannot be compared: use 'vmcfg emit' without --get")
    if "phases" in header:
        raise _Odd("a plan of some phases cannot be compared: use 'vmcfg emit' without --phase")
    if header.get("scope") not in SCOPES or header.get("api") not in APIS:
        raise _Odd("the header needs valid values for 'scope' and 'api'")


def _check_gic(header: dict[str, Any]) -> None:
    says_perform = header.get("perform") in ("whole", "around-gic-init", "after-gic-init")
    says_gic = header.get("gic", "") in (None, "v2", "v3")
    if not (says_perform and says_gic):
        raise _Odd("the header needs valid values for 'perform' and 'gic'")


def _command(line: dict[str, Any], seq: int, is_executed: bool) -> Command:
    """Return the command of one line."""
    if line.get("seq") != seq:
        raise _Odd(f"'seq' must be {seq}, not {line.get('seq')}: a line is missing or was moved")
    row = _row(line) if is_executed else _named_row(line)
    operation = row.operation
    if line.get("phase") != row.phase:
        raise _Odd(f"'phase' of {operation.word} must be '{row.phase}', not '{line.get('phase')}'")
    if line.get("row") != row.name:
        raise _Odd(f"'row' must be '{row.name}' here, not '{line.get('row')}'")
    host_name = None if is_executed else _host_name(line)
    # The device of the APIs that were never merged has no number in released kernels.
    has_number = is_executed or (host_name is None and line.get("device_id", 0) is not None)
    payload = _payload(line, row) if has_number else None
    value = str(line.get("value")) if payload is None else row.value.text(payload)
    command = Command(
        operation,
        row,
        str(line.get("target")),
        value,
        payload,
        _mpidr(line, row),
        attr_id=_attr_id(line, row),
        host_name=host_name,
        own_register=_own_register(line, row),
    )
    _check_agreement(line, command)
    return command


def _named_row(line: dict[str, Any]) -> Row:
    """Return the row with the name in a line, if the line can be one of its commands."""
    for row in SEQUENCE:
        if row.name == line.get("row"):
            return row
    raise _Odd(f"unknown row '{line.get('row')}'")


def _host_name(line: dict[str, Any]) -> str | None:
    """Return the name of the host PMU of a line whose number only the host knows."""
    value = str(line.get("value"))
    is_unknown = line.get("data", "") is None and value.startswith("pmu:")
    return value.removeprefix("pmu:") if is_unknown else None


def _attr_id(line: dict[str, Any], row: Row) -> int | None:
    """Return the number of an attribute that identifies a vCPU; None for other rows."""
    if row.target != "pmu" or row.attr is None:
        return None
    try:
        return int(line["attr_id"], 16)
    except (KeyError, TypeError, ValueError):
        raise _Odd("'attr_id' is missing or invalid") from None


def _row(line: dict[str, Any]) -> Row:
    """Return the row of the sequence for a line."""
    for row in SEQUENCE:
        if VCPU in row.apis and _is_of(line, row):
            return row
    told = " ".join(str(line.get(key)) for key in FIELDS[:4])
    raise _Odd(f"unknown command '{told}'")


def _is_of(line: dict[str, Any], row: Row) -> bool:
    target = str(line.get("target")).partition(":")[0]
    if (line.get("op"), target) != (row.operation.word, row.target):
        return False
    if row.attr is not None:
        return (line.get("group"), line.get("attr")) == (row.attr.group, row.attr.name)
    if row.register is not None:
        return line.get("attr") == row.register.name
    if row.operation is ENABLE_CAP:
        is_of_table = line.get("attr") in VM_CAPABILITIES
        return row.name == ("vm.capability" if is_of_table else "vm.feature")
    return row.operation is not SET_REG or line.get("attr") in SETTABLE


def _own_register(line: dict[str, Any], row: Row) -> Register | None:
    """Return the register of a line whose row has none; None if there is none."""
    if row.operation is SET_REG and row.register is None:
        if line.get("attr") not in SETTABLE:
            raise _Odd(f"unknown register '{line.get('attr')}'")
        return SETTABLE[str(line.get("attr"))]
    return None


def _mpidr(line: dict[str, Any], row: Row) -> str | None:
    """Return the dotted MPIDR of the vCPU of a line; None for other targets."""
    mpidr = line.get("mpidr")
    has_vcpu = row.target == "vcpu" or (row.target == "pmu" and row.attr is not None)
    if not has_vcpu and mpidr is None:
        return None
    if has_vcpu and isinstance(mpidr, str) and _MPIDR.fullmatch(mpidr):
        return mpidr
    raise _Odd("'mpidr' must be the dotted MPIDR of the vCPU, such as 0.0.0.0")


def _payload(line: dict[str, Any], row: Row) -> Payload:
    """Return the value of a command, from the keys with the arguments of the ioctl."""
    try:
        return row.operation.payload(line, row)
    except Unsupported as error:
        raise _Odd(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, struct.error):
        raise _Odd(f"the value of {row.operation.word} is missing or invalid") from None


def _check_agreement(line: dict[str, Any], command: Command) -> None:
    """Raise `_Odd` if a key of the line conflicts with `command`, is unknown, or is missing."""
    stated = {key: value for key, value in line.items() if key not in _EXPLANATORY}
    meant = dict(zip(FIELDS, command.fields(), strict=True)) | command.call()
    for key in (*meant, *stated):
        if stated.get(key) != meant.get(key):
            here, rest = json.dumps(stated.get(key)), json.dumps(meant.get(key))
            raise _Odd(f"'{key}' is {here}, which conflicts with the rest of the line: {rest}")


def _check_target(command: Command, made: set[str]) -> None:
    """Raise `_Odd` if the target of `command` is missing or created again. Note new ones."""
    operation, target = command.operation, command.target
    if (operation is CREATE_VM) != (not made):
        raise _Odd("a plan must create exactly one VM, with its first command")
    if operation.makes_target and target in made:
        raise _Odd(f"{target} is created twice")
    if not operation.makes_target and target not in made:
        raise _Odd(f"{target} is used before it is created")
    if operation is CREATE_VCPU and target != f"vcpu:{command.number}":
        raise _Odd(f"'target' must be vcpu:{command.number}, not {target}")
    if operation.makes_target:
        made.add(target)
