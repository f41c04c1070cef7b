"""TODO."""

from __future__ import annotations

from vmcfg.findings.rule import Rule
from vmcfg.plans.command import Command
from vmcfg.plans.plan import Plan


def unknown_values(plan: Plan) -> list[Command]:
    """The commands that have a number which only the host knows, so that no program can perform them as they stand."""
    return [command for command in plan.commands if _number_is_unknown(command)]


def _number_is_unknown(command: Command) -> bool:
    row = command.row
    if row.op == "create-device":
        return command.number is None
    return row.attr is not None and row.type != "none" and command.data is None


VALUES_ARE_KNOWN = Rule(
    "VMC705",
    "values-are-known",
    """What a program is to perform as it stands has no value that only the host knows.

    A host PMU has a name, and another number on every host (/sys/bus/event_source/devices/NAME/type). A plan that names
    it can be had as text or JSON, for who resolves the name; in numbers, in shell and in C it can't be said.""",
)
"""No rule of a description: `vmcfg emit` holds its plan to it, for the formats that are performed as they stand."""
