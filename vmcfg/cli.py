"""The command line: the commands, and how a run ends."""

from __future__ import annotations

import gc
import importlib
import signal
import sys
from typing import Any

import click

from vmcfg import __version__
from vmcfg.commands.options import help_option
from vmcfg.exit_codes import FAILED, USAGE
from vmcfg.files import NoFile, discard_unwritten, print_error, print_out

COMMANDS = {
    "validate": "Check descriptions and report every problem with its line and column.",
    "emit": "Print the plan: the commands for KVM, in order.",
    "import": "Print a description of a VM that exists.",
    "show": "List all identifiers of each vCPU.",
    "decode": "Show every vCPU or interrupt identifier that a number can be.",
    "explain": "Explain a rule, a key, the order of the commands, or the identifiers of a vCPU.",
    "example": "Print a sample description, or list all samples.",
    "try": "Execute the plan on KVM of this host, in its own VM, and read the values back.",
    "probe": "Show what KVM on this host supports, or create a host file.",
    "record": "Run a VMM and record what it tells KVM.",
    "diff": "Compare what two descriptions, plans, or records tell KVM.",
    "schema": "Print the JSON Schema of descriptions, or of an output of vmcfg.",
}
"""The commands with one line of help each, so that 'vmcfg --help' imports no command."""

_IN_PYTHON = {"import": "import_", "try": "try_"}
"""The commands whose name is a Python keyword, with the name of their module and function."""

EPILOG = """
\b
Exit codes:
  0  no errors
  1  errors (diff: differences; try: KVM rejected something)
  2  usage error
  3  failure: vmcfg could not do its work

With --strict, warnings count as errors.
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the documentation."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name and return it."""
        if cmd_name not in COMMANDS:
            return None
        name = _IN_PYTHON.get(cmd_name, cmd_name)
        command: click.Command = getattr(importlib.import_module(f"vmcfg.commands.{name}"), name)
        # It is off during imports (vmcfg.__main__). Imported modules need no garbage collection.
        gc.freeze()
        # A description is up to some 100,000 objects, all of which live until its end: a collection
        # after every 700, as is the default, finds nothing.
        gc.set_threshold(50_000)
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command as click does; for an unknown name, suggest a similar one."""
        name = click.utils.make_str(args[0])
        if name not in COMMANDS and not name.startswith("-"):
            from vmcfg.nearest import nearest

            likely = nearest(name, COMMANDS)
            suggestion = "" if likely is None else f" If you mean {likely!r}, write that."
            ctx.fail(f"No such command {name!r}.{suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        print_out(f"vmcfg {__version__}\n")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EPILOG, no_args_is_help=False, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
@help_option
@click.pass_context
def vmcfg(ctx: click.Context) -> None:
    """Check descriptions of arm64 KVM virtual machines, and print the commands that set the device
    attributes of KVM.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def main() -> None:
    """Run vmcfg on the arguments of this process and exit with its code, without a traceback."""
    if hasattr(signal, "SIGPIPE"):
        # If the reader of a pipe ends, vmcfg ends silently, with 141 for the shell.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell starts commands in the background with SIGINT ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupted)
    code = _run()
    discard_unwritten()
    # Without this, the interpreter searches all live objects for cycles: a tenth of a short run.
    gc.freeze()
    sys.exit(code)


def _interrupted(number: int, frame: object) -> None:
    """End immediately with the exit code for the signal; temporary files are removed."""
    for again in (signal.SIGINT, signal.SIGTERM):
        # A second signal, such as that of a parent process, must not end the removal.
        signal.signal(again, signal.SIG_IGN)
    sys.exit(128 + number)


def _run() -> int:
    try:
        result: Any = vmcfg.main(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except NoFile as error:
        print_error(f"vmcfg: {error}\n")
        return FAILED
    except click.ClickException as error:
        if sys.stderr is not None:
            error.show()
        return USAGE
    except OSError as error:
        print_error(f"vmcfg: {error}\n")
        return FAILED
    except Exception as error:
        from vmcfg.commands.defects import defect_text

        print_error(f"vmcfg: {defect_text(error)}\n")
        return FAILED
