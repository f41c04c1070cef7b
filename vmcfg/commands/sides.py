"""The two sides of ``vmcfg diff``: their files, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import check
from vmcfg.commands.findings_output import print_findings
from vmcfg.escape import printable
from vmcfg.kernel.version import Version
from vmcfg.plans.header import begins_with
from vmcfg.plans.planfile import PlanFile, read_compared_plan
from vmcfg.text.tree import Tree
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.commands.found_in_defaults import FoundInDefaults
    from vmcfg.monitors.record_file import Record

NO_FILE = "/dev/null"
"""The file name that git passes for a side without the file."""

DESCRIPTION, PLAN, RECORD, HOST = "description", "plan", "record", "host"
"""What a side can be."""


class Side(NamedTuple):
    """One side: a description, a plan, a record, or a host file. `kind` is None without a file.

    A description with errors has no `machine`.
    """

    file: str
    kind: str | None
    tree: Tree | None = None
    machine: Machine | None = None
    plan: PlanFile | None = None
    record: Record | None = None
    host: dict[str, Any] | None = None
    unchecked: bool = False

    @property
    def is_wrong(self) -> bool:
        """Return whether it is a description with errors."""
        return self.kind == DESCRIPTION and self.machine is None

    @property
    def vm(self) -> str | None:
        """Return the name of the VM, if it has one."""
        if self.machine is not None:
            return self.machine.name
        return None if self.plan is None else self.plan.name


Named = tuple["str | None", str]
"""A file and its name in messages; None if git has no file on this side."""


def two_files(paths: tuple[str, ...]) -> tuple[Named, Named]:
    """Return the two files of the arguments. Raises `UsageError` if there are not two."""
    if len(paths) != 2:
        raise click.UsageError(f"diff requires two files, not {len(paths)}.")
    old, new = paths
    if (old, new) == ("-", "-"):
        raise click.UsageError("Only one of the two files can be standard input.")
    return (old, _name(old)), (new, _name(new))


def _name(path: str) -> str:
    return files.STDIN if path == "-" else files.name_of(path)


def sides_of_git(arguments: tuple[str, ...]) -> tuple[Named, Named]:
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


def read_side(
    path: str | None,
    name: str,
    host_kernel: Version | None,
    strict: bool,
    unchecked: bool,
    color: str,
    found_in_defaults: FoundInDefaults | None,
) -> Side:
    """Return the side in a file, which shows by its content what it is.

    Raises `NoFile` if it cannot be read, and prints the findings about a description: those in its
    defaults, which `found_in_defaults` has, only once for both sides.
    """
    if path is None:
        return Side(name, None)
    with files.opened(path) as source:
        if begins_with(source.head, "plan"):
            return Side(name, PLAN, plan=read_compared_plan(source.lines(), name))
        if begins_with(source.head, "record"):
            return _record_side(source.lines(), name)
        data = source.read()
    if data.lstrip()[:1] == b"{" and b'"vmcfg.host"' in data[:4096]:
        from vmcfg.kernel.host import host_file, read_host

        read_host(data, name)  # raises NoFile if it is incomplete
        return Side(name, HOST, host=host_file(data, name))
    return _description_side(data, name, host_kernel, strict, unchecked, color, found_in_defaults)


def _record_side(lines: Iterator[bytes], name: str) -> Side:
    from vmcfg.monitors.record_file import read_record

    record = read_record(lines, name)
    if not record.is_complete:
        files.print_error(f"vmcfg: {record.incomplete_text()}\n")
    return Side(name, RECORD, record=record)


def _description_side(
    data: bytes,
    name: str,
    host_kernel: Version | None,
    strict: bool,
    unchecked: bool,
    color: str,
    found_in_defaults: FoundInDefaults | None,
) -> Side:
    defaults = None if found_in_defaults is None else found_in_defaults.defaults
    checked = check(data, name, host_kernel, defaults=defaults)
    remaining = checked.diagnostics
    if found_in_defaults is not None:
        remaining = found_in_defaults.remaining(checked)
    print_findings(checked._replace(diagnostics=remaining), color)
    machine = checked.plannable(strict, unchecked)
    return Side(name, DESCRIPTION, checked.tree, machine, unchecked=unchecked)
