"""The command line: which commands there are, and how a run ends."""

from __future__ import annotations

import gc
import importlib
import signal
import sys
from typing import Any

import click

from vmcfg import __version__
from vmcfg.commands.exit_codes import FAILED, USAGE
from vmcfg.files import NoFile, print_error

COMMANDS = {
    "validate": "Check descriptions and print every mistake with its place.",
    "emit": "Print the ordered commands that set up a description's VM.",
    "show": "Show each vCPU of a description under all its names.",
    "decode": "Say everything that a number may be, as a name of a vCPU or of its interrupt.",
    "explain": "Explain a rule, an attribute, the order of the commands, or the names of a vCPU.",
    "example": "Print a sample description, or list them.",
    "try": "Perform a plan on this host's KVM, in a throw-away VM, and read it back.",
    "probe": "Say what this host's KVM has, or make a host file of it.",
    "diff": "Compare two descriptions by the commands that they come to.",
    "schema": "Print a JSON Schema: of descriptions, plans, diagnostics, diffs or vCPUs.",
}
"""The commands with their one line of help, so that the help of all need not load any."""

_IN_PYTHON = {"try": "try_"}
"""The commands whose name is a Python keyword, by their module and function."""

EPILOG = """
\b
Exit codes:
  0  nothing found at or above the threshold
  1  findings; of diff, a difference; of try, a refusal or another value read back
  2  wrong usage
  3  the job could not be done
"""


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are documented."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded."""
        if cmd_name not in COMMANDS:
            return None
        name = _IN_PYTHON.get(cmd_name, cmd_name)
        command: click.Command = getattr(importlib.import_module(f"vmcfg.commands.{name}"), name)
        # It was turned off while modules are loaded (vmcfg.__main__), which are not to be searched
        # later either.
        gc.freeze()
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the likely command named where there is none of that name."""
        name = click.utils.make_str(args[0])
        if name not in COMMANDS and not name.startswith("-"):
            from vmcfg.nearest import nearest

            likely = nearest(name, COMMANDS)
            question = "" if likely is None else f" Did you mean {likely!r}?"
            ctx.fail(f"No such command {name!r}.{question}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from vmcfg.files import print_out

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
@click.pass_context
def vmcfg(ctx: click.Context) -> None:
    """Check descriptions of arm64 KVM virtual machines; emit the ordered commands that set their
    device attributes.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def main() -> None:
    """Run vmcfg on this process's arguments, and exit with its code: never with a traceback."""
    if hasattr(signal, "SIGPIPE"):
        # A reader that has seen enough ends us as it ends any other program: silently, with 141 to
        # the shell.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, _interrupted)
    code = _run()
    # The interpreter would search all that is still alive for cycles, a tenth of a short run, only
    # to give it back.
    gc.freeze()
    sys.exit(code)


def _interrupted(number: int, frame: object) -> None:
    """End at once, as shells expect of an interrupted program; what is half written is cleared away
    on the way out.
    """
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
        print_error(
            f"vmcfg: internal error: {type(error).__name__}: {error}\n"
            "This is a defect of vmcfg; please report it with the description and the command.\n"
        )
        return FAILED
