"""The options that several commands have."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmcfg import files
from vmcfg.description.kinds import KernelVersion, Misfit
from vmcfg.escape import printable
from vmcfg.files import STDIN
from vmcfg.kernel.version import LINUX_6_1, Version

if TYPE_CHECKING:
    from vmcfg.checking.check import Defaults
    from vmcfg.kernel.host import Host


Command = TypeVar("Command", bound=Callable[..., Any])


def with_options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return a decorator that adds `options`, which the help lists in this order."""

    def added(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return added


def _print_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        files.print_out(f"{ctx.get_help()}\n")
        ctx.exit()


def help_option(command: Command) -> Command:
    """Add -h and --help. Unlike the option of click, it reports errors of writing as `NoFile`."""
    # help_option of click 8.1.3 ignores its callback.
    return click.option(
        "-h",
        "--help",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_help,
        help="Show this message and exit.",
    )(command)


class HostKernel(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A kernel version on the command line: X.Y, 6.1 or later."""

    name = "X.Y"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Version:
        """Return the version as two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            version = KernelVersion().read(value, plain=False)
        except Misfit as misfit:
            self.fail(f"{misfit.message('the option')}; {misfit.hint}.", param, ctx)
        if version < LINUX_6_1:
            self.fail(f"the version must be 6.1 or later, not {value}.", param, ctx)
        return version


def host_kernel_option(command: Command) -> Command:
    """Add --host-kernel."""
    return click.option(
        "--host-kernel",
        type=HostKernel(),
        help="Oldest host kernel to support; overrides 'host_kernel' in the description.",
    )(command)


def host_option(command: Command) -> Command:
    """Add --host."""
    return click.option(
        "--host",
        "host_paths",
        metavar="FILE",
        multiple=True,
        help=(
            "Host file from 'vmcfg probe --format json' for a host that must support the plan,"
            " or a directory of host files. Can be repeated."
        ),
    )(command)


def hosts_of(paths: Sequence[str]) -> list[Host]:
    """Return the hosts of --host: files, and all *.json in directories. Raises `NoFile`."""
    if not paths:
        return []
    from vmcfg.kernel.host import read_host

    files_named: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            inside = sorted(
                name
                for name in os.listdir(path)
                if name.endswith(".json") and not name.startswith(".")
            )
            if not inside:
                raise files.NoFile(f"no host files (*.json) in {printable(files.name_of(path))}")
            files_named += [os.path.join(path, name) for name in inside]
        else:
            files_named.append(path)
    return [read_host(files.read(path), files.name_of(path)) for path in files_named]


def defaults_option(command: Command) -> Command:
    """Add --defaults."""
    return click.option(
        "--defaults",
        "defaults_path",
        metavar="FILE",
        help=(
            "Description without 'name' and 'vcpus', whose keys hold where a description does not"
            " have them."
        ),
    )(command)


def defaults_of(path: str | None, stdin_filename: str = STDIN) -> Defaults | None:
    """Return the defaults of --defaults. Raises `NoFile`, or a usage error if they are standard
    input.
    """
    if path is None:
        return None
    if path == "-":
        raise click.UsageError("--defaults requires a file: it cannot be standard input.")
    if stdin_filename != STDIN:
        refuse_defaults(stdin_filename, path)
    from vmcfg.checking.defaults import defaults_in

    return defaults_in(files.read(path), files.name_of(path))


def refuse_defaults(path: str, defaults_path: str | None) -> None:
    """Raise a usage error if the description at `path` is the file of --defaults."""
    if defaults_path is not None and files.same(path, defaults_path):
        name = printable(files.name_of(path))
        raise click.UsageError(f"{name} is the file of --defaults, not a description.")


def stdin_filename_option(command: Command) -> Command:
    """Add --stdin-filename."""
    return click.option(
        "--stdin-filename",
        metavar="NAME",
        default=STDIN,
        help="File name to show for standard input.",
    )(command)


def color_option(command: Command) -> Command:
    """Add --color."""
    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        help=(
            "Color the findings. auto: obey NO_COLOR, then FORCE_COLOR; otherwise only on a"
            " terminal."
        ),
    )(command)


def strict_option(command: Command) -> Command:
    """Add --strict."""
    return click.option("--strict", is_flag=True, help="Treat warnings as errors.")(command)


def exclude_option(command: Command) -> Command:
    """Add --exclude."""
    return click.option(
        "--exclude",
        "excluded",
        metavar="PATTERN",
        multiple=True,
        help=(
            "Skip matching files and directories: by name (old, 'draft-*') or, if PATTERN contains"
            " a slash, by path as found ('lab/*'). '*' also matches slashes. Can be repeated."
        ),
    )(command)


def jobs_option(command: Command) -> Command:
    """Add --jobs."""
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        metavar="N",
        help="Maximum number of processes. [default: one per CPU]",
    )(command)


def is_description(path: str) -> bool:
    """Return whether a file is a description, which no output must replace: it has the key vmcfg,
    as no output of vmcfg has.
    """
    if not os.path.isfile(path):
        return False
    with files.opened(path) as source:
        return re.search(rb"(?m)^vmcfg[ \t]*:", source.head) is not None
