"""``vmcfg diff``: two descriptions compared by their commands."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.commands.exit_codes import FAILED, FOUND
from vmcfg.commands.findings_output import print_findings
from vmcfg.commands.options import color_option, help_option, host_kernel_option, strict_option
from vmcfg.escape import printable, without_surrogates
from vmcfg.kernel.version import Version
from vmcfg.plans.command import Command
from vmcfg.plans.difference import CHANGED, REORDERED, Difference, Placed, differences
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM, Plan
from vmcfg.text.tree import Tree

FORMATS = ("text", "json")

NO_FILE = "/dev/null"
"""The file name that git passes for a side without the file."""


class Side(NamedTuple):
    """One description with its whole-VM plan. `plan` is None without a file, or with errors."""

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
    help="Output format.",
)
@click.option(
    "--git", is_flag=True, help="Accept the arguments that git passes to an external diff command."
)
@click.option(
    "--unchecked", is_flag=True, help="Compare the plans despite errors, if they can be made."
)
@host_kernel_option
@strict_option
@color_option
@help_option
def diff(
    paths: tuple[str, ...],
    format_: str,
    git: bool,
    unchecked: bool,
    host_kernel: Version | None,
    strict: bool,
    color: str,
) -> int:
    """Compare the commands of the descriptions A and B.

    Each line is a command that was added, removed, changed, or reordered, with its position in the
    files. The exit code is 0 if the commands are the same and 1 if they differ. Findings go to
    standard error. If a description has errors, nothing is compared, and the exit code is 3.

    To use it in git: git config diff.vmcfg.command 'vmcfg diff --git', and '*.vmcfg.yaml
    diff=vmcfg' in .gitattributes.
    """
    old, new = (
        _side(path, name, host_kernel, strict, unchecked, color)
        for path, name in (_sides_of_git(paths) if git else _two(paths))
    )
    heading = f"vmcfg diff {printable(old.file)} {printable(new.file)}"
    if old.wrong or new.wrong:
        if git:
            # git ends at any other exit code, which would hide the files after this one.
            files.print_out(f"{heading}: not compared because of the findings above\n")
        return 0 if git else FAILED
    found = differences(_plan(old, new), _plan(new, old))
    written = _json(old, new, found) if format_ == "json" else _text(old, new, found)
    if git and found:
        written = f"{heading}\n{written}"
    files.print_out(written)
    return FOUND if found and not git else 0


Named = tuple["str | None", str]
"""A file and its name in messages; None if git has no file on this side."""


def _two(paths: tuple[str, ...]) -> tuple[Named, Named]:
    if len(paths) != 2:
        raise click.UsageError(f"diff requires two descriptions, not {len(paths)}.")
    old, new = paths
    if (old, new) == ("-", "-"):
        raise click.UsageError("Only one of the two descriptions can be standard input.")
    return (old, _name(old)), (new, _name(new))


def _name(path: str) -> str:
    return files.STDIN if path == "-" else files.name_of(path)


def _sides_of_git(arguments: tuple[str, ...]) -> tuple[Named, Named]:
    """Return the two files and their names.

    The arguments are: path old-file old-hex old-mode new-file new-hex new-mode [new-path message].
    """
    if len(arguments) == 1:
        # For an unmerged path, git passes only the name.
        name = printable(files.name_of(arguments[0]))
        files.print_out(f"vmcfg diff: {name} is not merged\n")
        raise click.exceptions.Exit(0)
    if len(arguments) < 7:
        raise click.UsageError(
            "--git requires the seven arguments of git: path old-file old-hex old-mode new-file"
            " new-hex new-mode."
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
    """Return the plan of one side; without a file, that of the other side without commands."""
    if side.plan is not None:
        return side.plan
    if other.plan is None:
        raise files.NoFile("neither side has a description")
    return other.plan._replace(commands=())


def _text(old: Side, new: Side, found: list[Difference]) -> str:
    return "".join(f"{difference.kind}: {_line(old, new, difference)}\n" for difference in found)


def _line(old: Side, new: Side, difference: Difference) -> str:
    """Return the line of a difference: the command, its values, and in parentheses its vCPU and
    positions.
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
    """Return the origin of a command by the keys of `origin` in plans; None if it has none."""
    if command.origin is None or side.tree is None:
        return None
    place = side.tree.position(command.origin)
    return {"pointer": place.pointer, "line": place.span.line, "column": place.span.column}


def _json(old: Side, new: Side, found: list[Difference]) -> str:
    import json

    report = {
        "format": "vmcfg.diff",
        "format_version": "1.0",
        "old": {"file": without_surrogates(old.file), "vm": old.plan and old.plan.machine.name},
        "new": {"file": without_surrogates(new.file), "vm": new.plan and new.plan.machine.name},
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
