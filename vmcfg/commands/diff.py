"""``vmcfg diff``: descriptions, plans, and records compared by their commands, and host files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vmcfg import files
from vmcfg.commands.options import (
    color_option,
    defaults_of,
    defaults_option,
    help_option,
    host_kernel_option,
    refuse_defaults,
    strict_option,
)
from vmcfg.commands.sides import DESCRIPTION, HOST, RECORD, Side, read_side, sides_of_git, two_files
from vmcfg.escape import printable, without_surrogates
from vmcfg.exit_codes import FAILED, FOUND
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import VCPU, Api
from vmcfg.plans.command import FIELDS, Command
from vmcfg.plans.difference import CHANGED, REORDERED, differences
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM, Scope

if TYPE_CHECKING:
    from vmcfg.commands.found_in_defaults import FoundInDefaults
    from vmcfg.monitors.comparison import Side as RecordSide
    from vmcfg.monitors.setup import Told

FORMATS = ("text", "json")


class Shown(NamedTuple):
    """One side of a difference: a command or call by its six fields, with its number in the plan or
    record, and its place: an origin in a description, or a line of a file.
    """

    fields: tuple[str, ...]
    mpidr: str | None
    seq: int
    origin: dict[str, Any] | None
    line: int | None


class ShownDifference(NamedTuple):
    """A difference. `old` or `new` is None if that side does not have it."""

    kind: str
    old: Shown | None
    new: Shown | None
    why: str | None = None

    @property
    def shown(self) -> Shown:
        """Return the new side, or the old one if there is no new one."""
        shown = self.new or self.old
        assert shown is not None
        return shown


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
@click.option(
    "--vm",
    type=click.IntRange(min=1),
    metavar="N",
    help="VM of a record to compare. [default: the VM with the most vCPUs]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With a record: compare also what a description leaves open, and how vCPUs start.",
)
@defaults_option
@host_kernel_option
@strict_option
@color_option
@help_option
def diff(
    paths: tuple[str, ...],
    format_: str,
    git: bool,
    unchecked: bool,
    vm: int | None,
    everything: bool,
    defaults_path: str | None,
    host_kernel: Version | None,
    strict: bool,
    color: str,
) -> int:
    """Compare what A and B tell KVM.

    Each of the two is a description, a plan in JSON Lines, or a record from 'vmcfg record'. Each
    line is a command that was added, removed, changed, or reordered, with its position in the
    files. The exit code is 0 if the commands are the same and 1 if they differ. Findings go to
    standard error. If a description has errors, nothing is compared, and the exit code is 3.

    With a record, only what KVM was told last counts, and only for what the description sets: a
    GIC that the VMM sets up, other memory, capabilities, registers, and features do not differ from
    it. vCPUs are the same if their MPIDRs are.

    A and B can also be two host files from 'vmcfg probe --format json'.

    To use it in git: git config diff.vmcfg.command 'vmcfg diff --git', and '*.vmcfg.yaml
    diff=vmcfg' in .gitattributes.
    """
    if git and defaults_path is not None and files.same(paths[0], defaults_path):
        name = printable(files.name_of(paths[0]))
        files.print_out(f"vmcfg diff {name}: not compared: it is the file of --defaults\n")
        return 0
    found_in_defaults = _found_in_defaults(defaults_path)
    if not git:
        for path in paths:
            refuse_defaults(path, defaults_path)
    old, new = (
        read_side(path, name, host_kernel, strict, unchecked, color, found_in_defaults)
        for path, name in (sides_of_git(paths) if git else two_files(paths))
    )
    if defaults_path is not None and DESCRIPTION not in (old.kind, new.kind):
        raise click.UsageError("--defaults requires a description.")
    heading = f"vmcfg diff {printable(old.file)} {printable(new.file)}"
    if old.is_wrong or new.is_wrong:
        if git:
            # git ends at any other exit code, which would hide the files after this one.
            files.print_out(f"{heading}: not compared because of the findings above\n")
        return 0 if git else FAILED
    if HOST in (old.kind, new.kind):
        return _compare_hosts(old, new, format_)
    if RECORD in (old.kind, new.kind):
        found = list(_from_records(old, new, vm, everything))
    elif vm is not None or everything:
        raise click.UsageError("--vm and --all require a record.")
    else:
        found = list(_from_plans(old, new))
    written = _json(old, new, found) if format_ == "json" else _text(old, new, found)
    if git and found:
        written = f"{heading}\n{written}"
    files.print_out(written)
    return FOUND if found and not git else 0


def _found_in_defaults(path: str | None) -> FoundInDefaults | None:
    """Return the findings in the defaults at `path`, which begin with those about them alone."""
    defaults = defaults_of(path)
    if defaults is None:
        return None
    from vmcfg.commands.found_in_defaults import FoundInDefaults

    return FoundInDefaults(defaults)


# Plans ----------------------------------------------------------------------------------------


def _from_plans(old: Side, new: Side) -> Iterator[ShownDifference]:
    """Yield the differences between two descriptions or plans."""
    scope, api = _scope_of_both(old, new)
    for each in differences(_commands(old, scope, api), _commands(new, scope, api)):
        before = each.old and _shown_command(old, each.old.command, each.old.seq)
        after = each.new and _shown_command(new, each.new.command, each.new.seq)
        yield ShownDifference(each.kind, before, after)


def _scope_of_both(old: Side, new: Side) -> tuple[Scope, Api]:
    """Return the scope and the API of the plans of both sides. Raises `NoFile` if they differ."""
    plans = [side.plan for side in (old, new) if side.plan is not None]
    both = {(plan.scope, plan.api) for plan in plans}
    if len(both) > 1:
        raise files.NoFile(
            f"{printable(old.file)} and {printable(new.file)} are plans of different scopes or"
            " APIs, which cannot be compared"
        )
    return next(iter(both), (WHOLE_VM, VCPU))


def _commands(side: Side, scope: Scope, api: Api) -> tuple[Command, ...]:
    """Return the commands of one side; none without a file."""
    if side.plan is not None:
        return side.plan.commands
    if side.machine is None:
        return ()
    return lower(side.machine, scope, unchecked=side.unchecked, api=api).commands


def _shown_command(side: Side, command: Command, seq: int) -> Shown:
    origin = line = None
    if side.plan is not None:
        # The header is the first line.
        line = seq + 1
    elif command.origin is not None and side.tree is not None:
        place = side.tree.position(command.origin)
        origin = {
            "pointer": place.pointer,
            "line": place.span.line,
            "column": place.span.column,
        }
        if place.file:
            origin = {"file": without_surrogates(place.file), **origin}
    return Shown(command.fields(), command.mpidr, seq, origin, line)


# Records --------------------------------------------------------------------------------------


def _from_records(
    old: Side, new: Side, vm: int | None, everything: bool
) -> Iterator[ShownDifference]:
    """Yield the differences between two sides of which at least one is a record."""
    from vmcfg.monitors.comparison import compared

    left, right = _record_or_described(old, vm), _record_or_described(new, vm)
    for each in compared(left, right, everything):
        before = each.old and _shown_told(old, each.old)
        after = each.new and _shown_told(new, each.new)
        yield ShownDifference(each.kind, before, after, each.why)


def _record_or_described(side: Side, vm: int | None) -> RecordSide:
    from vmcfg.monitors.comparison import machine_side, plan_side, record_side

    if side.record is not None:
        return record_side(side.record, vm)
    if side.machine is not None:
        return machine_side(side.machine)
    if side.plan is None:
        raise files.NoFile("a record can be compared only with another file")
    if side.plan.api != VCPU:
        raise files.NoFile(
            f"{printable(side.file)} is a plan for an API that no kernel supports: a record cannot"
            " be compared with it"
        )
    return plan_side(side.plan)


def _shown_told(side: Side, told: Told) -> Shown:
    if told.command is not None:
        return _shown_command(side, told.command, told.seq)
    fields = (told.op, told.target, told.group, told.attr, told.type, told.value)
    return Shown(fields, told.mpidr, told.seq, None, told.seq + 1)


# Hosts ----------------------------------------------------------------------------------------


def _compare_hosts(old: Side, new: Side, format_: str) -> int:
    """Print the facts in which two host files differ."""
    if old.host is None or new.host is None:
        other = old if old.host is None else new
        raise files.NoFile(
            f"a host file can be compared only with another one, and {printable(other.file)} is"
            " not a host file"
        )
    from vmcfg.kernel.host_facts import changes

    found = list(changes(old.host, new.host))
    if format_ == "json":
        import json

        report = {
            "format": "vmcfg.diff",
            "format_version": "1.0",
            "old": _named(old),
            "new": _named(new),
            "differences": [each._asdict() for each in found],
        }
        files.print_out(json.dumps(report, indent=2) + "\n")
    else:
        files.print_out("".join(f"{each}\n" for each in found))
    return FOUND if found else 0


# Output ---------------------------------------------------------------------------------------


def _text(old: Side, new: Side, found: list[ShownDifference]) -> str:
    return "".join(f"{difference.kind}: {_line(old, new, difference)}\n" for difference in found)


def _line(old: Side, new: Side, difference: ShownDifference) -> str:
    """Return the line of a difference: the command, its values, and in parentheses its vCPU and
    positions.
    """
    shown = difference.shown
    line = " ".join(shown.fields[:5])
    before, after = difference.old, difference.new
    if difference.kind == CHANGED and before is not None and after is not None:
        line += f" {before.fields[5]} -> {after.fields[5]}"
    else:
        line += f" {shown.fields[5]}"
    told = [] if shown.mpidr is None else [f"vCPU {shown.mpidr}"]
    if difference.why is not None:
        told.append(difference.why)
    elif difference.kind == REORDERED and before is not None and after is not None:
        told.append(f"command {before.seq} -> {after.seq}")
    for side, placed in ((old, before), (new, after)):
        if placed is not None and placed.origin is not None:
            file = printable(placed.origin.get("file", side.file))
            told.append(f"{file}:{placed.origin['line']}:{placed.origin['column']}")
        elif placed is not None and placed.line is not None:
            told.append(f"{printable(side.file)}:{placed.line}")
    return f"{line} ({', '.join(told)})" if told else line


def _json(old: Side, new: Side, found: list[ShownDifference]) -> str:
    import json

    report = {
        "format": "vmcfg.diff",
        "format_version": "1.0",
        "old": _named(old),
        "new": _named(new),
        "differences": [_difference(difference) for difference in found],
    }
    return json.dumps(report, indent=2) + "\n"


def _named(side: Side) -> dict[str, Any]:
    return {"file": without_surrogates(side.file), "kind": side.kind, "vm": side.vm}


def _difference(difference: ShownDifference) -> dict[str, Any]:
    shown = difference.shown
    # The values are in `old` and `new`.
    told = {"kind": difference.kind, **dict(zip(FIELDS[:-1], shown.fields, strict=False))}
    if shown.mpidr is not None:
        told["mpidr"] = shown.mpidr
    if difference.why is not None:
        told["why"] = difference.why
    return told | {"old": _placed(difference.old), "new": _placed(difference.new)}


def _placed(shown: Shown | None) -> dict[str, Any] | None:
    if shown is None:
        return None
    told: dict[str, Any] = {"seq": shown.seq, "value": shown.fields[5]}
    if shown.origin is not None:
        told["origin"] = shown.origin
    if shown.line is not None:
        told["line"] = shown.line
    return told
