"""A plan as JSON Lines, one command a line between a header and an end; and as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vmcfg.findings.position import Path, Position
from vmcfg.plans.plan import Plan
from vmcfg.plans.values import Payload
from vmcfg.text.tree import Tree

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def jsonl(plan: Plan, tree: Tree) -> str:
    """A header, the commands and an end, so that a cut stream shows; schemas/plan-v1.schema.json
    has the keys.
    """
    header = _dumps({"op": "plan", **plan.header()})
    end = _dumps({"op": "end", "count": len(plan.commands)})
    return "\n".join([header, *_commands(plan, tree), end, ""])


def json_object(plan: Plan, tree: Tree) -> str:
    """One object: the header's keys, and `commands`."""
    header = _dumps(plan.header())
    commands = ",\n".join(_commands(plan, tree))
    inner = f"[\n{commands}\n]" if commands else "[]"
    return f'{header[:-1]},"commands":{inner}}}\n'


def _commands(plan: Plan, tree: Tree) -> Iterator[str]:
    """Each command as a JSON object. Its names and numbers are vmcfg's own words, which need no
    escaping in JSON.
    """
    origins: dict[Path, str] = {}
    calls: dict[tuple[str, Payload | None, int | None], str] = {}
    for seq, command in enumerate(plan.commands, 1):
        op, target, group, attr, type_, value = command.fields()
        row = command.row
        call = calls.get((row.name, command.payload, command.attr_id))
        if call is None:
            call = _dumps(command.call())[1:-1]
            calls[row.name, command.payload, command.attr_id] = call
        mpidr = "" if command.mpidr is None else f'"mpidr":"{command.mpidr}",'
        origin = ""
        if command.origin is not None:
            origin = origins.get(command.origin, "")
            if not origin:
                origin = _origin(tree.position(command.origin))
                origins[command.origin] = origin
        yield (
            f'{{"op":"{op}","target":"{target}","group":"{group}","attr":"{attr}",'
            f'"type":"{type_}","value":"{value}",'
            f'"seq":{seq},"phase":"{row.phase}",{mpidr}{call}{origin}}}'
        )


def _origin(at: Position) -> str:
    pointer = _dumps(at.pointer)
    return f',"origin":{{"pointer":{pointer},"line":{at.span.line},"column":{at.span.column}}}'
