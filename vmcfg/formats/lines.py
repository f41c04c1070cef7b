"""A plan as JSON Lines, one command a line between a header and an end; and as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vmcfg.places import Path, Place
from vmcfg.lowering import Plan
from vmcfg.tree import Tree

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def jsonl(plan: Plan, tree: Tree) -> str:
    """A header, the commands and an end, so that a cut stream shows; schemas/plan-v1.schema.json has the keys."""
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
    places: dict[Path, Place] = {}
    for seq, command in enumerate(plan.commands, 1):
        op, target, group, attr, type, value = command.fields()
        line = {
            "op": op,
            "target": target,
            "group": group,
            "attr": attr,
            "type": type,
            "value": value,
            "seq": seq,
            "phase": command.row.phase,
        }
        if command.mpidr is not None:
            line["mpidr"] = command.mpidr
        line |= command.call()
        origin = command.origin
        if origin is not None:
            place = places.get(origin)
            if place is None:
                place = places[origin] = tree.place(origin)
            line["origin"] = {"pointer": place.pointer, "line": place.span.line, "column": place.span.column}
        yield _dumps(line)
