"""``vmcfg show``: all identifiers of each vCPU."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.commands.exit_codes import FOUND
from vmcfg.commands.findings_output import print_findings
from vmcfg.commands.options import (
    color_option,
    defaults_of,
    defaults_option,
    help_option,
    host_kernel_option,
    host_option,
    hosts_of,
    refuse_defaults,
    stdin_filename_option,
    strict_option,
)
from vmcfg.kernel.version import Version
from vmcfg.reports.styled import table
from vmcfg.reports.terminal import columns, is_terminal, wants_color
from vmcfg.vm.identifiers import Names, names, notes
from vmcfg.vm.machine import Machine

FORMATS = ("human", "json", "csv")

COLUMNS = (
    "index",
    "id",
    "MPIDR",
    "MPIDR_EL1",
    "compressed",
    "reg",
    "INTID",
    "PPI/SPI",
    "KVM_IRQ_LINE",
    "",
)
"""The columns of the table. The last one marks the boot vCPU, and MPIDRs set by register."""

MAP_WIDTH = 80
"""The width of a map if the output is not a terminal."""


@click.command()
@click.argument("path", metavar="PATH|-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="Output format.",
)
@click.option(
    "--map",
    "as_map",
    is_flag=True,
    help=(
        "Print a map of the VM: the users of all guest-physical addresses and INTIDs, what is free,"
        " and the findings there; also if there are errors."
    ),
)
@defaults_option
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@color_option
@help_option
def show(
    path: str,
    format_: str,
    as_map: bool,
    defaults_path: str | None,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    color: str,
) -> int:
    """List all identifiers of each vCPU.

    PATH is a description, or - for standard input. The identifiers are the index (order of
    creation), the id of KVM_CREATE_VCPU, the MPIDR (dotted, as register, and compressed), the
    device tree reg, the PMU interrupt as INTID and as PPI or SPI, and its KVM_IRQ_LINE word. The
    formats json and csv also contain the device tree interrupts and the GSIV of the MADT.

    Findings go to standard error. If there are errors, nothing is listed. With --map, a map is
    printed if all values are valid, in the formats human and json.
    """
    if as_map and format_ == "csv":
        raise click.UsageError("--map requires --format human or json.")
    name = stdin_filename if path == "-" else files.name_of(path)
    refuse_defaults(path, defaults_path)
    defaults = defaults_of(defaults_path, stdin_filename)
    checked = check(files.read(path), name, host_kernel, hosts_of(host_paths), defaults)
    print_findings(checked, color)
    machine = checked.plannable(strict, unchecked=False)
    if as_map and checked.machine is not None:
        files.print_out(_map(checked, checked.machine, format_, color))
        return 0 if machine is not None else FOUND
    if machine is None:
        return FOUND
    every = names(machine)
    if format_ == "json":
        header = {"format": "vmcfg.show", "format_version": "1.0", "vm": machine.name}
        written = _json(header, every)
    elif format_ == "csv":
        written = _csv(every)
    else:
        rows = [_row(each) for each in every]
        written = table(COLUMNS, rows) if wants_color(color, sys.stdout) else _plain(rows)
        written += "".join(f"{note}\n" for note in notes(machine))
        if machine.pmu.filter:
            written += f"Events in no entry of 'pmu.filter' are {machine.unfiltered_events()}.\n"
    files.print_out(written)
    return 0


def _map(checked: Checked, machine: Machine, format_: str, color: str) -> str:
    """Return the map of the VM with the findings of its check."""
    from vmcfg.commands.map_output import map_json, map_lines
    from vmcfg.vm.map import map_of

    drawn = map_of(machine, checked.diagnostics, lambda path: checked.tree.position(path).pointer)
    if format_ == "json":
        return map_json(drawn)
    from vmcfg.reports.styled import colored, plain

    width = columns(sys.stdout) if is_terminal(sys.stdout) else MAP_WIDTH
    lines = map_lines(machine, drawn, width)
    return colored(lines) if wants_color(color, sys.stdout) else plain(lines)


def _json(header: dict[str, str], every: list[Names]) -> str:
    vcpus = ",\n".join(json.dumps(each.as_json(), separators=(",", ":")) for each in every)
    return json.dumps(header, separators=(",", ":"))[:-1] + f',"vcpus":[\n{vcpus}\n]}}\n'


def _csv(every: list[Names]) -> str:
    """Return a line with the names of the fields, then one line per vCPU.

    Cells are separated by spaces, and null is empty.
    """
    found = [each.as_json() for each in every]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found[0])
    writer.writerows([_csv_field(value) for value in each.values()] for each in found)
    return text.getvalue()


def _csv_field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _row(vcpu: Names) -> tuple[str, ...]:
    told = vcpu.as_json()
    marks = [
        words
        for words, holds in (("boot", vcpu.boot), ("set by register", vcpu.mpidr_by_register))
        if holds
    ]
    number = next(
        (
            f"{kind} {told[key]}"
            for key, kind in (("ppi", "PPI"), ("spi", "SPI"))
            if told[key] is not None
        ),
        "-",
    )
    return (
        str(vcpu.index),
        str(vcpu.id),
        told["mpidr"],
        told["mpidr_el1"],
        told["compressed"],
        " ".join(told["reg"]),
        "-" if vcpu.intid is None else str(vcpu.intid),
        number,
        told["irq_line"] or "-",
        ", ".join(marks),
    )


def _plain(rows: list[tuple[str, ...]]) -> str:
    """Return the table without color."""
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in (COLUMNS, *rows)
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)
