"""A plan written down, a module a format. A format is a function of the plan, and of the tree that has its places."""

from __future__ import annotations

from vmcfg.lowering import Command, Plan


def unknown_values(plan: Plan) -> list[Command]:
    """The commands whose value only the host knows, so that no program can perform them as they stand."""
    return [command for command in plan.commands if _data_is_unknown(command)]


def _data_is_unknown(command: Command) -> bool:
    attr = command.row.attr
    return attr is not None and command.row.type != "none" and command.data is None


PERFORM = {
    "whole": "performed as a whole",
    "after-gic-init": "performed as one block, between CTRL_INIT of the monitor's own GIC and the first KVM_RUN",
    "around-gic-init": "performed in two: `create`; then, after CTRL_INIT of the GIC that the monitor makes, the rest",
}
"""How a plan is performed, by its header's `perform`."""
