"""Plans that are executed where vmcfg boots nothing: an initrd for any machine, and its console."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from vmcfg import files, writing
from vmcfg.commands.options import is_description, with_options
from vmcfg.escape import printable
from vmcfg.exit_codes import FOUND
from vmcfg.reports.human import drawn_for
from vmcfg.trial.verdict import Trial, executed

if TYPE_CHECKING:
    from vmcfg.trial.boot import Guest
    from vmcfg.trial.trying import Performer


boot_elsewhere_options = with_options(
    click.option(
        "--initrd",
        metavar="FILE",
        help="With --image: write the initrd that executes the plans to FILE, and do not boot.",
    ),
    click.option(
        "--results",
        metavar="FILE|-",
        help=(
            "Report the results on this console of a boot with such an initrd, and execute nothing."
        ),
    ),
)


def write_initrd(
    path: str,
    guest: Guest,
    trials: Sequence[Trial],
    *,
    skips: bool,
    go_on: bool,
    run: bool,
    color: str,
) -> int:
    """Write the archive with which the kernel of `guest` executes the tasks of `trials`. Return the
    exit code: that of findings if errors prevent one of them. Raises `NoKvm`.
    """
    from vmcfg.trial.boot import initrd_for

    if is_description(path):
        name = printable(files.name_of(path))
        raise click.UsageError(f"--initrd {name} is a description, which it would replace.")
    release = guest.image.release
    tasks = executed(trials, release, skips)
    writing.write(path, initrd_for(release, tasks, go_on=go_on, run=run))
    prevented = [trial for trial in trials if trial.task is None]
    if skips or not prevented:
        return 0
    for trial in prevented:
        files.print_error(drawn_for(sys.stderr, color, list(trial.reported), trial.texts))
    return FOUND


def performed_elsewhere(console: str, *, go_on: bool, run: bool) -> tuple[str, Performer]:
    """Return the version of the kernel whose console is in the file `console`, and the function
    that returns the outcomes there. Raises `NoKvm`.
    """
    from vmcfg.trial.boot import Results

    results = Results(files.read(console), printable(files.name_of(console)))
    return results.release, partial(results.outcomes, go_on=go_on, run=run)
