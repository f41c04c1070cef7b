"""A plan as text: one command per line with six fields, for shells or, in numbers, for C."""

from __future__ import annotations

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.escape import printable
from vmcfg.formats.headings import cautions, performed
from vmcfg.plans.apis import API_DOCS, VCPU
from vmcfg.plans.command import Command
from vmcfg.plans.phases import PHASE_DOCS, STATE
from vmcfg.plans.plan import STATE_SCOPE, Plan
from vmcfg.plans.values import Integer
from vmcfg.text.tree import Tree


def text(plan: Plan, tree: Tree, numbers: bool = False, comments: bool = False) -> str:
    """Return the commands, one per line.

    With `comments`, lines that begin with ``#`` describe each command and name its position.
    """
    lines = []
    if comments:
        lines += _heading(plan, tree)
    phase = None
    filtered = False
    for command in plan.commands:
        if comments and command.row.phase not in (phase, STATE) and plan.unread is None:
            phase = command.row.phase
            lines += ["#", f"# {phase}: {PHASE_DOCS[phase]}"]
        if comments:
            if command.row.name == "pmu.filter" and not filtered:
                filtered = True
                lines.append(
                    f"# Events in no entry of 'pmu.filter' are {plan.machine.unfiltered_events()}."
                )
            lines.append(_comment(command, tree, plan.unread is not None))
        lines.append(_numbers(command) if numbers else command.text())
    return "".join(f"{line}\n" for line in lines)


def _numbers(command: Command) -> str:
    """Return ``set-attr vcpu:0 0 0x0 4 17000000``: group, attribute, length, and data.

    A group that does not exist is 0. A register whose value the caller has, has a length, and ``-``
    instead of data. `Operation.numbers` has the meaning for each operation.
    """
    group, number, data = command.operation.numbers(command)
    value, length = command.row.value, len(data)
    if command.payload is None and isinstance(value, Integer):
        length = value.size
    return (
        f"{command.operation.word} {command.target} {group} {number:#x} {length}"
        f" {data.hex() or '-'}"
    )


def _heading(plan: Plan, tree: Tree) -> list[str]:
    header = plan.header()
    what, commands = _what(plan)
    lines = [
        (
            f"# {what} of {header['vm']}, from {printable(tree.file)}, for Linux"
            f" {header['host_kernel']} and later."
        ),
        f"# {commands} {performed(plan)}.",
    ]
    if plan.scope != STATE_SCOPE and plan.api == VCPU and plan.machine.has_pmu():
        lines.append(f"# {API_DOCS[VCPU]}")
    return lines + [f"# {sentence}" for sentence in cautions(plan)]


def _what(plan: Plan) -> tuple[str, str]:
    """Return what the lines are, and the beginning of the sentence on their execution."""
    if plan.scope == STATE_SCOPE:
        does = "restore" if plan.unread is None else "save"
        return f"Commands that {does} the state of the vGIC", "They are"
    if plan.unread is None:
        return "Plan", "It is"
    return "Commands that read back the plan", "They are"


def _comment(command: Command, tree: Tree, reads_back: bool) -> str:
    who = f" vCPU {command.mpidr}." if command.mpidr is not None else ""
    what = f" {interrupt_text(command.number)}." if command.row.value.is_interrupt else ""
    where = ""
    if command.origin is not None:
        place = tree.position(command.origin)
        where = f" {printable(place.file or tree.file)}:{place.span.line}:{place.span.column}"
    start = ""
    if reads_back and command.row.value.read_by_key:
        region = int.from_bytes(command.read_start, "little")
        start = f" Its buffer must contain {region:#x} before the call: the index of the region."
    doc = command.row.read_doc if reads_back else command.row.doc
    if command.row.phase == STATE and command.own_register is not None:
        doc = f"{doc} {command.own_register.name}."
    return f"#{where}{who}{what} {doc}{start}"
