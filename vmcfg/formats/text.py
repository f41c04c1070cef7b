"""A plan as text: one command a line, six fields, for shells to read; or in numbers, for C to scan."""

from __future__ import annotations

from vmcfg.files import printable
from vmcfg.formats import PERFORM
from vmcfg.lowering import Command, Plan
from vmcfg.scalars import interrupt_text
from vmcfg.sequence import PHASE_DOCS, intid
from vmcfg.tree import Tree


def text(plan: Plan, tree: Tree, numbers: bool = False, comments: bool = False) -> str:
    """The commands, one a line. With `comments`, lines that begin with ``#`` say what each is and where it is from."""
    lines = []
    if comments:
        lines += _heading(plan, tree)
    phase = None
    filtered = False
    for command in plan.commands:
        if comments and command.row.phase != phase:
            phase = command.row.phase
            lines += ["#", f"# {phase}: {PHASE_DOCS[phase]}"]
        if comments:
            if command.row.name == "pmu.filter" and not filtered:
                filtered = True
                lines.append(f"# Events that no entry of pmu.filter names are {plan.machine.unfiltered_events()}.")
            lines.append(_comment(command, tree))
        lines.append(_numbers(command) if numbers else " ".join(command.fields()))
    return "".join(f"{line}\n" for line in lines)


def _numbers(command: Command) -> str:
    """``set-attr vcpu:0 0 0x0 4 17000000``: group, attribute, length, data; of set-reg 0 and the register's id."""
    data = command.data
    call = command.call()
    group, attr = (call["group_id"], call["attr_id"]) if "attr_id" in call else (0, call["reg_id"])
    length = 0 if data is None else len(data) // 2
    return f"{command.row.op} {command.target} {group} {attr} {length} {data or '-'}"


def _heading(plan: Plan, tree: Tree) -> list[str]:
    header = plan.header()
    lines = [
        f"# The plan of {header['vm']}, from {printable(tree.file)}, for kernels {header['host_kernel']} and later.",
        f"# It is {PERFORM[header['perform']]}.",
    ]
    if plan.unchecked:
        lines.append("# It was not held to the rules: KVM may refuse it, or take what a guest can't use.")
    return lines


def _comment(command: Command, tree: Tree) -> str:
    who = f" vCPU {command.mpidr}." if command.mpidr is not None else ""
    what = f" {interrupt_text(command.number)}." if command.row.show is intid else ""
    where = ""
    if command.origin is not None:
        place = tree.place(command.origin)
        where = f" {printable(tree.file)}:{place.span.line}:{place.span.column}"
    return f"#{where}{who}{what} {command.row.doc}"
