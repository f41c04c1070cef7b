"""``vmcfg validate``: every mistake in every description."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import click

from vmcfg import console, files
from vmcfg.checking import Checked, check
from vmcfg.cli import FAILED, FOUND
from vmcfg.commands import (
    color_option,
    host_kernel_option,
    is_terminal,
    stdin_filename_option,
    strict_option,
    wants_color,
)
from vmcfg.report import ERROR, WARNING
from vmcfg.scalars import Version

FORMATS = ("human", "concise", "json")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH|-...")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="human", help="How findings are printed.")
@host_kernel_option
@strict_option
@stdin_filename_option
@color_option
def validate(
    paths: tuple[str, ...], format_: str, host_kernel: Version | None, strict: bool, stdin_filename: str, color: str
) -> int:
    """Check descriptions and print every mistake with its place.

    PATH is a file, a directory (all *.yaml and *.yml below it, no hidden ones), or - for standard input. Findings go to
    standard output; nothing is printed where there are none.
    """
    counts = _Counts(strict)

    def checked() -> Iterator[Checked]:
        for path in files.descriptions(paths):
            try:
                data = files.read(path)
            except files.NoFile as error:
                files.print_error(f"vmcfg: {error}\n")
                counts.failed = True
                continue
            found = check(data, stdin_filename if path == "-" else files.name_of(path), host_kernel)
            counts.add(found)
            yield found

    if format_ == "json":
        _print_json(checked(), counts)
    else:
        drawn = _drawer(format_, wants_color(color, sys.stdout))
        for found in checked():
            if found.diagnostics:
                files.print_out(drawn(found))
    if not counts.files and not counts.failed:
        raise files.NoFile("nothing to check: no *.yaml or *.yml file there")
    if is_terminal(sys.stderr) and counts.files:
        files.print_error(console.summary(counts.files, counts.errors, counts.warnings) + "\n")
    return counts.exit_code()


class _Counts:
    """What a run has seen so far."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.files = 0
        self.errors = 0
        self.warnings = 0
        self.failed = False

    def add(self, checked: Checked) -> None:
        self.files += 1
        self.errors += checked.count(ERROR)
        self.warnings += checked.count(WARNING)

    def exit_code(self) -> int:
        if self.failed:
            return FAILED
        return FOUND if self.errors or (self.strict and self.warnings) else 0


def _drawer(format_: str, color: bool) -> Callable[[Checked], str]:
    if format_ == "concise":
        return lambda checked: "".join(console.concise(found) + "\n" for found in checked.diagnostics)
    return lambda checked: console.drawn(checked.diagnostics, checked.tree.text, color)


def _print_json(checked: Iterator[Checked], counts: _Counts) -> None:
    import json

    diagnostics = [found.as_json() for each in checked for found in each.diagnostics]
    report = {
        "format": "vmcfg.diagnostics",
        "format_version": "1.0",
        "files": counts.files,
        "errors": counts.errors,
        "warnings": counts.warnings,
        "diagnostics": diagnostics,
    }
    files.print_out(json.dumps(report, indent=2) + "\n")
