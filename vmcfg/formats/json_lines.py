"""A plan as JSON Lines, one command per line between header and end, or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vmcfg.findings.position import Path, Position
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
            f'"seq":{seq},"phase":"{row.phase}","row":"{row.name}",{mpidr}{call}{origin}}}'
        )


def _origin(at: Position) -> str:
    pointer = _dumps(at.pointer)
    return f',"origin":{{"pointer":{pointer},"line":{at.span.line},"column":{at.span.column}}}'
