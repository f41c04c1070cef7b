"""``vmcfg diff``: two descriptions compared by what KVM is told."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.commands.exit_codes import FOUND
from vmcfg.commands.findings_output import print_findings
from vmcfg.commands.options import color_option, host_kernel_option, strict_option
from vmcfg.escape import printable
from vmcfg.kernel.version import Version
from vmcfg.plans.command import Command
from vmcfg.plans.difference import CHANGED, REORDERED, Difference, Placed, differences
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM, Plan
from vmcfg.text.tree import Tree

FORMATS = ("text", "json")

NO_FILE = "/dev/null"
"""What git calls the side on which a file does not exist."""


class Side(NamedTuple):
    """One description and its plan of the whole VM. `plan` is None where there is no file, or
    findings stand.
    """

    file: str
    tree: Tree | None
    plan: Plan | None
    wrong: bool


@click.command()
@click.argument("paths", metavar="A B", nargs=-1, required=True)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="text",
    help="How differences are written.",
)
@click.option(
    "--git", is_flag=True, help="Take the arguments that git gives an external diff command."
)
@click.option("--unchecked", is_flag=True, help="Report findings and compare all the same.")
@host_kernel_option
@strict_option
@color_option
def diff(
    paths: tuple[str, ...],
    format_: str,
    git: bool,
    unchecked: bool,
    host_kernel: Version | None,
    strict: bool,
    color: str,
) -> int:
    """Compare the descriptions A and B by the commands that set up the whole VM, whatever their
    YAML looks like.

    A line says of a command that it was added, removed, changed or reordered, and where either file
    says so. The exit code is 0 where KVM is told the same and 1 where it is not. Findings of either
    go to standard error as emit's do, and then nothing is compared.

    As git's diff driver: git config diff.vmcfg.command 'vmcfg diff --git', and '*.vmcfg.yaml
    diff=vmcfg' in .gitattributes.
    """
    old, new = (
        _side(path, name, host_kernel, strict, unchecked, color)
        for path, name in (_sides_of_git(paths) if git else _two(paths))
    )
    heading = f"vmcfg diff {printable(old.file)} {printable(new.file)}"
    if old.wrong or new.wrong:
        if git:
            # git stops at an exit code other than 0, and has no other word for a revision that is
            # wrong.
            files.print_out(f"{heading}: not compared, for the findings above\n")
        return 0 if git else FOUND
    found = differences(_plan(old, new), _plan(new, old))
    written = _json(old, new, found) if format_ == "json" else _text(old, new, found)
    if git and found:
        written = f"{heading}\n{written}"
    files.print_out(written)
    return FOUND if found and not git else 0


Named = tuple["str | None", str]
"""A file and what it is called; None where git has none on this side."""


def _two(paths: tuple[str, ...]) -> tuple[Named, Named]:
    if len(paths) != 2:
        raise click.UsageError(f"Two descriptions can be compared, not {len(paths)}.")
    old, new = paths
    if (old, new) == ("-", "-"):
        raise click.UsageError("Standard input can be one of the two, not both.")
    return (old, _name(old)), (new, _name(new))


def _name(path: str) -> str:
    return files.STDIN if path == "-" else files.name_of(path)


def _sides_of_git(arguments: tuple[str, ...]) -> tuple[Named, Named]:
    """The two files and their names: path old-file old-hex old-mode new-file new-hex new-mode
    [new-path message].
    """
    if len(arguments) == 1:
        # Of an unmerged path git tells the name alone.
        name = printable(files.name_of(arguments[0]))
        files.print_out(f"vmcfg diff: {name} is not merged\n")
        raise click.exceptions.Exit(0)
    if len(arguments) < 7:
        raise click.UsageError(
            "--git is for git alone: it gives seven arguments, path old-file old-hex old-mode "
            "new-..."
        )
    path, old, _, _, new, *_ = arguments
    new_path = arguments[7] if len(arguments) > 7 else path
    return _side_of_git("a", path, old), _side_of_git("b", new_path, new)


def _side_of_git(side: str, path: str, file: str) -> Named:
    return (None, NO_FILE) if file == NO_FILE else (file, files.name_of(f"{side}/{path}"))


def _side(
    path: str | None,
    name: str,
    host_kernel: Version | None,
    strict: bool,
    unchecked: bool,
    color: str,
) -> Side:
    if path is None:
        return Side(name, None, None, wrong=False)
    checked: Checked = check(files.read(path), name, host_kernel)
    print_findings(checked, color)
    machine = checked.plannable(strict, unchecked)
    if machine is None:
        return Side(name, checked.tree, None, wrong=True)
    return Side(name, checked.tree, lower(machine, WHOLE_VM, unchecked=unchecked), wrong=False)


def _plan(side: Side, other: Side) -> Plan:
    """The plan of one side: where it has no file, the other's without a command."""
    if side.plan is not None:
        return side.plan
    if other.plan is None:
        raise files.NoFile("there is no description on either side")
    return other.plan._replace(commands=())


def _text(old: Side, new: Side, found: list[Difference]) -> str:
    return "".join(f"{difference.kind}: {_line(old, new, difference)}\n" for difference in found)


def _line(old: Side, new: Side, difference: Difference) -> str:
    """The command with its value, or both values; then which vCPU, and the place in each file, in
    brackets.
    """
    command = difference.command
    line = " ".join(command.fields()[:5])
    if difference.kind == CHANGED and difference.old is not None:
        line += f" {difference.old.command.value} -> {command.value}"
    else:
        line += f" {command.value}"
    told = [] if command.mpidr is None else [f"vCPU {command.mpidr}"]
    if difference.kind == REORDERED and difference.old is not None and difference.new is not None:
        told.append(f"command {difference.old.seq} -> {difference.new.seq}")
    for side, placed in ((old, difference.old), (new, difference.new)):
        origin = placed and _origin(side, placed.command)
        if origin:
            told.append(f"{printable(side.file)}:{origin['line']}:{origin['column']}")
    return f"{line} ({', '.join(told)})" if told else line


def _origin(side: Side, command: Command) -> dict[str, Any] | None:
    """Where a command comes from, by the keys of the plan's `origin`; None where it carries nothing
    written.
    """
    if command.origin is None or side.tree is None:
        return None
    place = side.tree.position(command.origin)
    return {"pointer": place.pointer, "line": place.span.line, "column": place.span.column}


def _json(old: Side, new: Side, found: list[Difference]) -> str:
    import json

    report = {
        "format": "vmcfg.diff",
        "format_version": "1.0",
        "old": {"file": old.file, "vm": old.plan and old.plan.machine.name},
        "new": {"file": new.file, "vm": new.plan and new.plan.machine.name},
        "differences": [_difference(old, new, difference) for difference in found],
    }
    return json.dumps(report, indent=2) + "\n"


def _difference(old: Side, new: Side, difference: Difference) -> dict[str, Any]:
    command = difference.command
    op, target, group, attr, type_, _ = command.fields()
    return {
        "kind": difference.kind,
        "op": op,
        "target": target,
        "group": group,
        "attr": attr,
        "type": type_,
        **({} if command.mpidr is None else {"mpidr": command.mpidr}),
        "old": _of_side(old, difference.old),
        "new": _of_side(new, difference.new),
    }


def _of_side(side: Side, placed: Placed | None) -> dict[str, Any] | None:
    if placed is None:
        return None
    told: dict[str, Any] = {"seq": placed.seq, "value": placed.command.value}
    origin = _origin(side, placed.command)
    return told | {"origin": origin} if origin else told
