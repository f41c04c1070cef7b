"""``vmcfg record``: what a program tells KVM, written down while it runs."""

from __future__ import annotations

import click

from vmcfg import files
from vmcfg.commands.options import help_option, is_description
from vmcfg.escape import printable
from vmcfg.exit_codes import FAILED
from vmcfg.monitors.recording import record as run_and_record
from vmcfg.monitors.tracer import NotTraced


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-o", "--output", metavar="FILE", required=True, help="File to write the record to.")
@click.option(
    "--all",
    "all_registers",
    is_flag=True,
    help="Record all registers of vCPUs, not only those that identify the VM.",
)
@click.argument("command", metavar="COMMAND [ARG]...", nargs=-1, required=True)
@help_option
def record(output: str, all_registers: bool, command: tuple[str, ...]) -> int:
    """Run COMMAND and record what it tells KVM.

    COMMAND runs unmodified, with its own standard input, output, and signals. The calls with which
    it, its threads, and its children set up VMs are written to FILE as JSON Lines. Neither root nor
    a special kernel is required. KVM_RUN and everything else run at full speed.

    The exit code is that of COMMAND; 128 plus the signal if it was killed; 3 if it could not be
    recorded.
    """
    if output in ("", "-"):
        raise click.UsageError(
            "-o requires the name of a file: standard output belongs to COMMAND."
        )
    if is_description(output):
        name = printable(files.name_of(output))
        raise click.UsageError(f"-o {name} is a description, which the record would replace.")
    try:
        code, is_complete = run_and_record(command, output, all_registers, _warn)
    except NotTraced as error:
        _warn(str(error))
        return FAILED
    return code if is_complete else FAILED


def _warn(text: str) -> None:
    files.print_error(f"vmcfg: {printable(text)}\n")
