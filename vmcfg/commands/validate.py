"""``vmcfg validate``: every problem in every description."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from vmcfg import files
from vmcfg.commands.checked_file import FileCheck, FileResult, SharedNames
from vmcfg.commands.options import (
    color_option,
    defaults_of,
    defaults_option,
    exclude_option,
    help_option,
    host_kernel_option,
    host_option,
    hosts_of,
    jobs_option,
    stdin_filename_option,
    strict_option,
)
from vmcfg.commands.run_output import RunOutput, human_report
from vmcfg.kernel.version import Version
from vmcfg.parallel import cpus, results
from vmcfg.reports.form import REPORT_FORMATS, report_form
from vmcfg.reports.terminal import is_terminal, wants_color

HUMAN = "human"
FORMATS = (HUMAN, *REPORT_FORMATS)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH|-...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default=HUMAN,
    help="Output format.",
)
@exclude_option
@click.option(
    "--fix",
    is_flag=True,
    help="Apply the unambiguous fixes to the files and report the remaining findings.",
)
@click.option(
    "--diff", is_flag=True, help="With --fix: print the changes as a diff and write nothing."
)
@defaults_option
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@click.option(
    "--summary",
    is_flag=True,
    help=(
        "Print the summary line on standard error even if that is not a terminal, as in a CI log."
    ),
)
@jobs_option
@color_option
@help_option
def validate(
    paths: tuple[str, ...],
    format_: str,
    excluded: tuple[str, ...],
    fix: bool,
    diff: bool,
    defaults_path: str | None,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    summary: bool,
    jobs: int | None,
    color: str,
) -> int:
    """Check descriptions and report every problem with its line and column.

    PATH is a file, a directory (all *.yaml and *.yml in it, except hidden ones), or - for standard
    input. Findings go to standard output; without findings, nothing is printed. With --fix --diff
    or --fix -, standard output gets the differences or the corrected text, and findings go to
    standard error.
    """
    hosts = hosts_of(host_paths)
    defaults = defaults_of(defaults_path, stdin_filename)
    _refuse_contradictions(paths, format_, fix, diff)
    streams_product = fix and (diff or "-" in paths)
    findings_stream = sys.stderr if streams_product else sys.stdout
    human = format_ == HUMAN
    report = human_report(findings_stream, color) if human else report_form(format_)
    output = RunOutput(report, streams_product, summary, wants_color(color, sys.stderr))

    def name_of(path: str) -> str:
        return stdin_filename if path == "-" else files.name_of(path)

    file_check = FileCheck(
        name_of=name_of,
        host_kernel=host_kernel,
        hosts=hosts,
        report=report,
        fix=fix,
        diff=diff,
        for_terminal=is_terminal(sys.stdout),
        defaults=defaults,
    )
    found_files = files.descriptions(paths, excluded, output.print_failure)
    every = sorted(files.without(found_files, defaults_path), key=name_of)
    output.is_only_defaults = bool(found_files) and not every
    names = SharedNames(file_check)
    # Only this process can read standard input.
    processes = 1 if "-" in every else jobs or cpus()
    if fix and defaults is not None:
        from vmcfg.commands.fixed_defaults import fix_defaults

        assert defaults_path is not None
        fix_defaults(defaults_path, file_check, every, processes, output)
    output.begin(len(every), file_check.defaults)
    try:
        with closing(results(file_check.fields, every, processes)) as found:
            for path, fields in zip(every, found, strict=True):
                output.add(names.compared(path, FileResult._make(fields)))
    finally:
        # However the run ends, no progress bar remains.
        output.make_room(sys.stderr)
    code = output.end(strict)
    if fix and not streams_product:
        total = output.files + (defaults is not None)
        files.print_error(f"{files.changed_text(output.changed, total)}\n")
    return code


def _refuse_contradictions(paths: tuple[str, ...], format_: str, fix: bool, diff: bool) -> None:
    """Raise a usage error if options contradict each other."""
    if diff and not fix:
        raise click.UsageError("--diff requires --fix.")
    if fix and "-" in paths and len(paths) > 1:
        raise click.UsageError("With --fix, standard input and files cannot be combined.")
    if fix and (diff or "-" in paths) and format_ not in (HUMAN, "concise"):
        product = "differences go" if diff else "corrected text goes"
        raise click.UsageError(
            f"--format {format_} cannot be used here: the {product} to standard output."
        )
