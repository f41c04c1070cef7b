"""``vmcfg validate``: every mistake in every description."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.commands.exit_codes import FAILED, FOUND
from vmcfg.commands.options import (
    color_option,
    host_kernel_option,
    host_option,
    hosts_of,
    stdin_filename_option,
    strict_option,
)
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import ERROR, WARNING
from vmcfg.kernel.version import Version
from vmcfg.parallel import cpus, results
from vmcfg.reports.form import Report, Totals
from vmcfg.reports.human import drawn_for
from vmcfg.reports.terminal import is_terminal, wants_color

if TYPE_CHECKING:
    from vmcfg.reports.progress import Progress


FORMATS = ("human", "concise", "json", "sarif", "github")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH|-...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="How findings are printed.",
)
@click.option(
    "--exclude",
    "excluded",
    metavar="PATTERN",
    multiple=True,
    help="Leave out what matches, and all below it: by its name (old, 'draft-*'), or with a slash by its path as found"
    " ('lab/*'). '*' matches slashes too. May be repeated.",
)
@click.option(
    "--fix", is_flag=True, help="Correct in the files what is certain, and report what is left."
)
@click.option(
    "--diff", is_flag=True, help="With --fix: print what it would change, and write nothing."
)
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Processes at most; by default one for each CPU.",
)
@color_option
def validate(
    paths: tuple[str, ...],
    format_: str,
    excluded: tuple[str, ...],
    fix: bool,
    diff: bool,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    jobs: int | None,
    color: str,
) -> int:
    """Check descriptions and print every mistake with its place.

    PATH is a file, a directory (all *.yaml and *.yml below it, no hidden ones), or - for standard input. Findings go to
    standard output; nothing is printed where there are none. With --fix --diff the differences go there, and with --fix
    the corrected text of standard input; findings then go to standard error.
    """
    hosts = hosts_of(host_paths)
    streams_product = fix and (diff or "-" in paths)
    _refuse_contradictions(paths, format_, fix, diff)
    reported_to = sys.stderr if streams_product else sys.stdout
    report = _report(format_, lambda *found: drawn_for(reported_to, color, *found))
    shown = _Shown(report, streams_product, wants_color(color, sys.stderr))

    def called(path: str) -> str:
        return stdin_filename if path == "-" else files.name_of(path)

    def outcome(path: str) -> tuple[Any, ...]:
        name = called(path)

        try:
            data = files.read(path)
        except files.NoFile as error:
            return tuple(_Outcome(failure=str(error)))
        checked = left = check(data, name, host_kernel, hosts)
        product, fixed, failure = b"", 0, None
        if fix:
            try:
                product, left, fixed = _fixed(
                    path, data, checked, diff, lambda text: check(text, name, host_kernel, hosts)
                )
                checked = checked if diff else left
            except files.NoFile as error:
                failure = str(error)
        written = report.part(left.diagnostics, left.tree.text) if left.diagnostics else ""
        return product, written, failure, 1, checked.count(ERROR), checked.count(WARNING), fixed

    every = sorted(files.descriptions(paths, excluded, shown.failed), key=called)
    shown.begin(len(every))
    try:
        with closing(results(outcome, every, 1 if "-" in every else jobs or cpus())) as outcomes:
            for each in outcomes:
                shown.add(_Outcome._make(each))
    finally:
        # Whatever ends the run, it leaves no bar behind.
        shown.make_room(sys.stderr)
    return shown.end(strict)


def _refuse_contradictions(paths: tuple[str, ...], format_: str, fix: bool, diff: bool) -> None:
    """Raise a usage error where options contradict each other."""
    if diff and not fix:
        raise click.UsageError("--diff is for --fix: it shows what that would change.")
    if fix and "-" in paths and len(paths) > 1:
        raise click.UsageError(
            "With --fix, standard input can't be mixed with files: its text goes to standard output."
        )
    if fix and (diff or "-" in paths) and format_ not in ("human", "concise"):
        product = "differences go" if diff else "corrected text goes"
        raise click.UsageError(
            f"The {product} to standard output, so --format {format_} has no place there."
        )


def _fixed(
    path: str, data: bytes, checked: Checked, diff: bool, again: Callable[[bytes], Checked]
) -> tuple[bytes, Checked, int]:
    """What --fix makes of a file: what goes to standard output, the check of the text that results, the fixes made."""
    from vmcfg.checking import fixes

    fixed, left, count = fixes.fixed(data, checked, again)
    if diff:
        return fixes.difference(checked.tree.file, data, fixed, is_terminal(sys.stdout)), left, 0
    if path == "-":
        return fixed, left, count
    if count:
        if files.read(path) != data:
            raise files.NoFile(
                f"cannot fix {printable(checked.tree.file)}: it has changed meanwhile"
            )
        files.write(path, fixed)
    return b"", left, count


def _report(format_: str, human: Callable[..., str]) -> Report:
    """The form of report that --format names."""
    if format_ == "json":
        from vmcfg.reports.as_json import REPORT
    elif format_ == "sarif":
        from vmcfg.reports.sarif import REPORT
    elif format_ == "github":
        from vmcfg.reports.github import REPORT
    elif format_ == "concise":
        return Report(_concise)
    else:
        return Report(human)
    return REPORT


def _concise(diagnostics: Iterable[Diagnostic], text: str) -> str:
    """Findings on a line each."""
    from vmcfg.reports.concise import concise

    return "".join(concise(found) + "\n" for found in diagnostics)


class _Outcome(NamedTuple):
    """What one file came to: what is printed of it, why it could not be read or written, and what was counted."""

    product: bytes = b""
    written: str = ""
    failure: str | None = None
    files: int = 0
    errors: int = 0
    warnings: int = 0
    fixed: int = 0


class _Shown:
    """What a run has shown so far, and seen."""

    def __init__(self, report: Report, streams_product: bool, color: bool) -> None:
        self.report = report
        self.print_findings = files.print_error if streams_product else files.print_out
        self.color = color
        self.parts: list[str] = []
        self.failures: list[str] = []
        self.files = self.errors = self.warnings = self.fixed = 0
        self.progress: Progress | None = None

    def failed(self, error: object) -> None:
        """Say what can't be read or written; the rest goes on."""
        self.failures.append(str(error))
        self.make_room(sys.stderr)
        files.print_error(f"vmcfg: {error}\n")

    def begin(self, total: int) -> None:
        """Expect `total` files."""
        if is_terminal(sys.stderr):
            from vmcfg.reports.progress import Progress

            self.progress = Progress(total, self.color)

    def add(self, outcome: _Outcome) -> None:
        """Show and count what one file came to."""
        self.files += outcome.files
        self.errors += outcome.errors
        self.warnings += outcome.warnings
        self.fixed += outcome.fixed
        if outcome.failure is not None:
            self.failed(outcome.failure)
        if outcome.product:
            self.make_room(sys.stdout)
            files.put_out(outcome.product)
        if outcome.written and self.report.whole is not None:
            self.parts.append(outcome.written)
        elif outcome.written:
            self.make_room(sys.stdout if self.print_findings == files.print_out else sys.stderr)
            self.print_findings(outcome.written)
        if self.progress is not None:
            self.progress.advance()

    def end(self, strict: bool) -> int:
        """Show what the run came to; the exit code."""
        if self.report.whole is not None:
            totals = Totals(self.files, self.errors, self.warnings, tuple(self.failures))
            for piece in self.report.whole(self.parts, totals):
                files.print_out(piece)
        if not self.files and not self.failures:
            raise files.NoFile("nothing to check: no *.yaml or *.yml file there")
        if is_terminal(sys.stderr) and self.files:
            from vmcfg.reports.human import summary

            files.print_error(summary(self.files, self.errors, self.warnings, self.fixed) + "\n")
        if self.failures:
            return FAILED
        return FOUND if self.errors or (strict and self.warnings) else 0

    def make_room(self, stream: Any) -> None:
        """Take the bar away where it would be in the way of what comes next."""
        if self.progress is not None and (stream is sys.stderr or is_terminal(stream)):
            self.progress.clear()
