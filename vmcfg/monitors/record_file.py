"""A record, read back: its header, and its calls, each with the command that it is in a plan.

In: the lines of a file that ``vmcfg record`` wrote. Out: a `Record`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from vmcfg.escape import printable
from vmcfg.files import NoFile
from vmcfg.kernel.version import Version, version_of
from vmcfg.plans.command import Command, Row
from vmcfg.plans.header import object_in
from vmcfg.plans.operations import INIT_VCPU, SET_REG, Unsupported
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import Payload, Struct

Line = dict[str, Any]

_ROWS = {row.name: row for row in SEQUENCE}

_MPIDR = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")

_TARGET = re.compile(r"vm|gic|(?:its|vcpu|device):[0-9]{1,10}")

_KINDS: dict[str, tuple[type, ...]] = {
    "op": (str,),
    "target": (str, type(None)),
    "group": (str, type(None)),
    "attr": (str, type(None)),
    "type": (str, type(None)),
    "value": (str, type(None)),
    "seq": (int,),
    "row": (str, type(None)),
    "vm": (int, type(None)),
    "thread": (int,),
    "errno": (str, type(None)),
}
"""The keys that every call has, with the types of their values."""


class Call(NamedTuple):
    """A call in a record, by the keys of its line. `command` is the same in a plan, if a plan can
    have it and if the call succeeded and could be read.
    """

    line: Line
    row: Row | None
    command: Command | None

    @property
    def op(self) -> str:
        """Return the operation."""
        return str(self.line["op"])

    @property
    def seq(self) -> int:
        """Return the number of the call in the record."""
        return int(self.line["seq"])

    @property
    def place(self) -> int:
        """Return the line of the file, from 1: the header is the first."""
        return self.seq + 1

    @property
    def target(self) -> str:
        """Return the target; empty if it is unknown."""
        return self.line["target"] or ""

    @property
    def kind(self) -> str:
        """Return the kind of the target: ``vcpu`` of ``vcpu:0``."""
        return self.target.partition(":")[0]

    @property
    def vm(self) -> int | None:
        """Return the number of the VM."""
        number: int | None = self.line["vm"]
        return number

    @property
    def mpidr(self) -> str | None:
        """Return the MPIDR of the vCPU after the call."""
        return self.line.get("mpidr")

    @property
    def has_succeeded(self) -> bool:
        """Return whether KVM did what the call asked for."""
        return self.line["errno"] is None


class Record(NamedTuple):
    """A record. `pmus` are the names of the host PMUs by number.

    `other_registers` is the number of calls that are not in it; 0 if it is not complete.
    """

    file: str
    release: str
    command: tuple[str, ...]
    pmus: dict[int, str]
    calls: tuple[Call, ...]
    is_complete: bool
    other_registers: int

    @property
    def kernel(self) -> Version:
        """Return the version of the kernel on which it was recorded."""
        return version_of(self.release)

    def incomplete_text(self) -> str:
        """Return what a user must know of a record without an end."""
        return (
            f"{printable(self.file)} has no end: the recording was interrupted, and later calls"
            " might be missing"
        )

    def vms(self) -> list[int]:
        """Return the numbers of its VMs."""
        return sorted({call.vm for call in self.calls if call.vm is not None})

    def calls_of(self, vm: int) -> list[Call]:
        """Return the calls of one VM that succeeded, in the order in which they returned."""
        return [call for call in self.calls if call.vm == vm and call.has_succeeded]

    def chosen_vm(self, wanted: int | None = None) -> int:
        """Return the VM `wanted`, or else that with the most vCPUs: of several, that with the most
        attributes that were set, or the first. Raises `NoFile` if it does not exist.
        """
        numbers = self.vms()
        if not numbers:
            raise NoFile(f"{printable(self.file)} contains no VM: the program created none")
        if wanted is None:
            return max(numbers, key=lambda number: (*self._size(number), -number))
        if wanted not in numbers:
            raise NoFile(
                f"{printable(self.file)} has no VM {wanted}: its VMs are"
                f" {', '.join(map(str, numbers))}"
            )
        return wanted

    def _size(self, vm: int) -> tuple[int, int]:
        """Return the number of vCPUs of a VM, and of the attributes that were set."""
        ops = [call.op for call in self.calls_of(vm)]
        return ops.count("create-vcpu"), ops.count("set-attr")


class _Odd(Exception):
    """A problem in one line."""


def read_record(lines: Iterable[bytes], file: str) -> Record:
    """Return the record in `lines`. Raises `NoFile` if it is not one.

    A record without an end is accepted; if its last line is cut, that line is not in it.
    """
    header: Line = {}
    calls: list[Call] = []
    end: Line | None = None
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if number > 1 and not line.endswith(b"\n"):
                break
            read = object_in(line)
            if read is None:
                raise _Odd("this is not a JSON object")
            if number == 1:
                header = _checked_header(read)
            elif end is not None:
                raise _Odd("the record has ended at the line before")
            elif read.get("op") == "end":
                end = _checked_end(read, len(calls))
            else:
                calls.append(_call(read, len(calls) + 1))
    except _Odd as odd:
        raise NoFile(f"{printable(file)}, line {number}: {odd}") from None
    if not header:
        raise NoFile(f"{printable(file)} is empty: it is not a record")
    return Record(
        file,
        header["kernel"],
        tuple(header["command"]),
        {pmu["type"]: pmu["name"] for pmu in header["pmus"]},
        tuple(calls),
        end is not None,
        0 if end is None else end["other_registers"],
    )


def _checked_header(header: Line) -> Line:
    if header.get("op") != "record" or header.get("format") != "vmcfg.record":
        raise _Odd(
            'a record must begin with a header: {"op":"record","format":"vmcfg.record", ...}'
        )
    if not str(header.get("format_version")).startswith("1."):
        raise _Odd(f"'format_version' must be 1.x, not {header.get('format_version')}")
    command, pmus = header.get("command"), header.get("pmus")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise _Odd("'command' must be a list of texts")
    if not isinstance(pmus, list) or not all(map(_is_pmu, pmus)):
        raise _Odd("'pmus' must be a list of PMUs with 'name' and 'type'")
    try:
        version_of(header["kernel"])
    except (KeyError, ValueError, AttributeError, TypeError):
        raise _Odd("'kernel' must be the version of a kernel, such as 6.12.107") from None
    return header


def _is_pmu(pmu: object) -> bool:
    return (
        isinstance(pmu, dict)
        and isinstance(pmu.get("name"), str)
        and isinstance(pmu.get("type"), int)
    )


def _checked_end(end: Line, count: int) -> Line:
    if end.get("count") != count:
        raise _Odd(f"'count' is {end.get('count')}, but the record has {count} calls")
    if not isinstance(end.get("other_registers"), int):
        raise _Odd("'other_registers' must be a number")
    return end


def _call(line: Line, seq: int) -> Call:
    """Return the call of one line."""
    for key, kinds in _KINDS.items():
        if key not in line or not isinstance(line[key], kinds) or isinstance(line[key], bool):
            raise _Odd(f"'{key}' is missing or invalid")
    if line["seq"] != seq:
        raise _Odd(f"'seq' must be {seq}, not {line['seq']}: a line is missing or was moved")
    if line["target"] is not None and not _TARGET.fullmatch(line["target"]):
        raise _Odd(f"'target' is invalid: {line['target']}")
    mpidr = line.get("mpidr")
    if mpidr is not None and not (isinstance(mpidr, str) and _MPIDR.fullmatch(mpidr)):
        raise _Odd("'mpidr' must be a dotted MPIDR, such as 0.0.0.0")
    row = _row(line)
    return Call(line, row, None if row is None else _command(line, row))


def _row(line: Line) -> Row | None:
    name = line["row"]
    if name is None:
        return None
    if name not in _ROWS:
        raise _Odd(f"unknown row '{name}'")
    return _ROWS[name]


def _command(line: Line, row: Row) -> Command | None:
    """Return the command of a plan that a call is; None if no plan has it, or if it failed."""
    is_known = line["op"] == row.operation.word and line["target"] is not None
    if not is_known or line["errno"] is not None or line["value"] is None or line.get("test"):
        return None
    register = None
    if row.operation is SET_REG and row.register is None:
        from vmcfg.kernel.settable_registers import SETTABLE

        register = SETTABLE.get(line["attr"])
        if register is None:
            raise _Odd(f"unknown register '{line['attr']}'")
    try:
        payload = _payload(line, row)
        value = line["value"] if row.operation is INIT_VCPU else row.value.text(payload)
    except Unsupported as error:
        raise _Odd(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error):
        raise _Odd(f"the value of {line['op']} is missing or invalid") from None
    if value != line["value"]:
        raise _Odd(
            f"'value' is {line['value']}, which conflicts with the rest of the line: {value}"
        )
    target, mpidr = line["target"], line.get("mpidr")
    return Command(row.operation, row, target, value, payload, mpidr, own_register=register)


def _payload(line: Line, row: Row) -> Payload:
    if row.operation is INIT_VCPU:
        # A program can set bits that vmcfg does not know.
        words = [int(word, 16) for word in line["feature_words"]]
        return (sum(word << 32 * place for place, word in enumerate(words)),)
    payload = row.operation.payload(line, row)
    if isinstance(row.value, Struct) and len(payload) != len(row.value.fields):
        raise ValueError
    return payload
