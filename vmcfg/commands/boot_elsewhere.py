"""Plans that are executed where vmcfg boots nothing: an initrd for any machine, and its console."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from vmcfg import files, writing
from vmcfg.commands.options import Command, is_description
from vmcfg.escape import printable
from vmcfg.trial.task import Task

if TYPE_CHECKING:
    from vmcfg.trial.boot import Guest
    from vmcfg.trial.trying import Performer


def boot_elsewhere_options(command: Command) -> Command:
    """Add --initrd and --results."""
    options = (
        click.option(
            "--initrd",
            metavar="FILE",
            help="With --image: write the initrd that executes the plans to FILE, and do not boot.",
        ),
        click.option(
            "--results",
            metavar="FILE|-",
            help=(
                "Report the results on this console of a boot with such an initrd, and execute"
                " nothing."
            ),
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def write_initrd(path: str, guest: Guest, tasks: Sequence[Task], *, go_on: bool, run: bool) -> None:
    """Write the archive with which the kernel of `guest` executes `tasks`. Raises `NoKvm`."""
    from vmcfg.trial.boot import initrd_for

    if is_description(path):
        name = printable(files.name_of(path))
        raise click.UsageError(f"--initrd {name} is a description, which it would replace.")
    writing.write(path, initrd_for(guest.image.release, tasks, go_on=go_on, run=run))


def performed_elsewhere(console: str, *, go_on: bool, run: bool) -> tuple[str, Performer]:
    """Return the version of the kernel whose console is in the file `console`, and the function
    that returns the outcomes there. Raises `NoKvm`.
    """
    from vmcfg.trial.boot import Results

    results = Results(files.read(console), printable(files.name_of(console)))
    return results.release, partial(results.outcomes, go_on=go_on, run=run)
