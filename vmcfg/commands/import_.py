"""``vmcfg import``: a description of a VM that exists."""

from __future__ import annotations

import click

from vmcfg import files, writing
from vmcfg.commands.options import help_option, strict_option
from vmcfg.description.draft import Draft, description_text
from vmcfg.description.kinds import Misfit
from vmcfg.description.kinds import Name as NameOfVm
from vmcfg.escape import printable
from vmcfg.exit_codes import FOUND
from vmcfg.importing.drafting import OptionOfOtherSource, draft_of_files, draft_of_words
from vmcfg.importing.sources import SOURCES, Wanted

WORDS = "vmcfg.words"
"""The key of a click context for the words after ``--``; None without ``--``."""


class ImportCommand(click.Command):
    """A command that keeps the words after ``--`` apart: they are a command line, not files."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments before ``--``."""
        if "--" in args:
            split = args.index("--")
            ctx.meta[WORDS] = args[split + 1 :]
            args = args[:split]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the pieces of the usage line."""
        return ["[OPTIONS]", "SOURCE...|-|-- COMMAND..."]


class Name(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A name of a VM."""

    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, if it is valid."""
        try:
            return NameOfVm().read(value, plain=False)
        except Misfit as misfit:
            self.fail(f"{misfit.message('the name')}; {misfit.hint}.", param, ctx)


@click.command(cls=ImportCommand, name="import")
@click.argument("paths", metavar="SOURCE...|-", nargs=-1)
@click.option(
    "--from",
    "kind",
    type=click.Choice(list(SOURCES)),
    help="Kind of SOURCE. [default: recognized by its content]",
)
@click.option("--name", type=Name(), help="Name of the VM. [default: from SOURCE]")
@click.option(
    "--vm",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of the VM in a record. [default: the VM with the most vCPUs]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Of a record, also import ID registers, firmware registers, and capabilities.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the description to FILE: completely, or not at all.",
)
@strict_option
@help_option
@click.pass_context
def import_(
    ctx: click.Context,
    paths: tuple[str, ...],
    kind: str | None,
    name: str | None,
    vm: int | None,
    everything: bool,
    output: str | None,
    strict: bool,
) -> int:
    """Print a description of a VM that exists.

    SOURCE is a device tree (dtb, dts, /sys/firmware/fdt), the ACPI tables APIC and GTDT or their
    directory (/sys/firmware/acpi/tables), a record of 'vmcfg record', a domain of libvirt, a file
    with a command line of QEMU (/proc/PID/cmdline), or - for standard input. The words after -- are
    a command line of QEMU.

    Comments at the top list what SOURCE does not contain. If SOURCE contains something that a
    description cannot, a warning goes to standard error; with --strict, nothing is printed then. If
    the VM has errors, so has the description: vmcfg import guest.dtb | vmcfg validate -
    """
    words: list[str] | None = ctx.meta.get(WORDS)
    _refuse_no_source(paths, kind, words)
    _refuse_output(paths, output)
    wanted = Wanted(vm, everything)
    try:
        if words is not None:
            draft = draft_of_words(words, wanted)
        else:
            draft = draft_of_files(paths, kind, wanted)
    except OptionOfOtherSource as error:
        raise click.UsageError(str(error)) from None
    draft.name = name or draft.name
    _print_warnings(draft)
    if strict and draft.warnings:
        return FOUND
    text = description_text(draft)
    if output is None or output == "-":
        files.print_out(text)
    else:
        writing.write(output, text.encode("utf-8", "backslashreplace"))
    return 0


def _refuse_no_source(paths: tuple[str, ...], kind: str | None, words: list[str] | None) -> None:
    """Raise a usage error if there is no source, or files and a command line."""
    if words is None:
        if not paths:
            raise click.UsageError("import requires a SOURCE, or -- and a command line.")
        if list(paths).count("-") > 1:
            raise click.UsageError("Only one SOURCE can be standard input.")
        return
    if paths or kind not in (None, "qemu"):
        raise click.UsageError("After -- comes a command line of QEMU, without other sources.")
    if not words:
        raise click.UsageError("-- requires a command line: -- qemu-system-aarch64 ARG...")


def _refuse_output(paths: tuple[str, ...], output: str | None) -> None:
    """Raise a usage error if `output` is empty or a source."""
    if output is None or output == "-":
        return
    if not output:
        raise click.UsageError("-o requires the name of a file.")
    if any(files.same(path, output) for path in paths):
        raise click.UsageError(f"-o {printable(files.name_of(output))} is a source itself.")


def _print_warnings(draft: Draft) -> None:
    for warning in draft.warnings:
        files.print_error(f"vmcfg: warning: {printable(warning).rstrip('.')}\n")
