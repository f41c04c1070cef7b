"""A plan as JSON Lines, one command per line between header and end, or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from vmcfg.escape import without_surrogates
from vmcfg.findings.position import Path, Start
from vmcfg.plans.command import Command, Row
from vmcfg.plans.phases import STATE
from vmcfg.plans.plan import Plan
from vmcfg.plans.values import Payload
from vmcfg.text.tree import Tree

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def jsonl(plan: Plan, tree: Tree) -> str:
    """Return a header, the commands, and an end, which shows that nothing was truncated.

    The keys are those of schemas/plan-v1.schema.json.
    """
    header = _dumps({"op": "plan", **plan.header()})
    end = _dumps({"op": "end", "count": len(plan.commands)})
    return "\n".join([header, *_commands(plan, tree), end, ""])


def json_object(plan: Plan, tree: Tree) -> str:
    """Return one object: the keys of the header, and `commands`."""
    header = _dumps(plan.header())
    commands = ",\n".join(_commands(plan, tree))
    inner = f"[\n{commands}\n]" if commands else "[]"
    return f'{header[:-1]},"commands":{inner}}}\n'


def _commands(plan: Plan, tree: Tree) -> Iterator[str]:
    """Return each command as a JSON object. No name or number of vmcfg needs escapes in JSON."""
    origins: dict[Path, str] = {}
    parts: dict[tuple[Row, Payload | None, str, int | None], _Parts] = {}
    for seq, command in enumerate(plan.commands, 1):
        kind = command.row, command.payload, command.value, command.attr_id
        part = parts.get(kind)
        if part is None:
            part = parts[kind] = _parts(command)
        origin = ""
        if command.origin is not None:
            origin = origins.get(command.origin, "")
            if not origin:
                origin = origins[command.origin] = _origin(tree.start(command.origin))
        mpidr = "" if command.mpidr is None else f'"mpidr":"{command.mpidr}",'
        before_target, before_seq, before_mpidr, call = part
        yield (
            f"{before_target}{command.target}{before_seq}{seq}{before_mpidr}{mpidr}{call}{origin}}}"
        )


class _Parts(NamedTuple):
    """The text of all commands that differ only in target, vCPU, and origin."""

    before_target: str
    before_seq: str
    before_mpidr: str
    call: str


def _parts(command: Command) -> _Parts:
    op, _, group, attr, type_, value = command.fields()
    return _Parts(
        f'{{"op":"{op}","target":"',
        f'","group":"{group}","attr":"{attr}","type":"{type_}","value":"{value}","seq":',
        f',"phase":"{command.row.phase}","row":"{command.row.name}",{_register(command)}',
        _dumps(command.call())[1:-1],
    )


def _register(command: Command) -> str:
    """Return the register of a command that saves or restores one, as a member."""
    if command.row.phase != STATE or command.own_register is None:
        return ""
    return f'"register":"{command.own_register.name}",'


def _origin(start: Start) -> str:
    pointer = _dumps(start.pointer)
    file = f'"file":{_dumps(without_surrogates(start.file))},' if start.file else ""
    return f',"origin":{{{file}"pointer":{pointer},"line":{start.line},"column":{start.column}}}'
