"""The script of ``vmcfg try --script``, printed or written to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import click

from vmcfg import files, writing
from vmcfg.commands.options import is_description
from vmcfg.escape import printable
from vmcfg.exit_codes import FAILED, FOUND
from vmcfg.kernel.version import Version
from vmcfg.reports.human import drawn_for
from vmcfg.trial.on_host import Execution, Since
from vmcfg.trial.script import LATER, trial_script, variants
from vmcfg.trial.verdict import Trial

TrialOn = Callable[[Version], Trial]
"""The function that returns a trial on a kernel of a version."""


def require_output(output: str, wants_script: bool) -> None:
    """Raise a usage error if nothing can be written to `output`."""
    if not wants_script:
        raise click.UsageError("--output requires --script.")
    if is_description(output):
        name = printable(files.name_of(output))
        raise click.UsageError(f"-o {name} is a description, which the script would replace.")


def print_script(
    trials: Callable[[], list[TrialOn]],
    unreadable: list[str],
    how: Execution,
    output: str | None,
    color: str,
) -> int:
    """Print the script, or write it to `output`. Return the exit code: not 0 if no host can execute
    all trials.

    A script is printed even then, since the shell discards the exit code in a pipe: it ends with
    the same code. `trials` adds the lines about files that it cannot read to `unreadable`.
    """
    try:
        functions = trials()
    except files.NoFile as error:
        functions = []
        unreadable.append(f"vmcfg: {error}\n")
        files.print_error(unreadable[-1])
    found = [variants(trial_on) for trial_on in functions]
    text = trial_script(found, unreadable, how)
    if output is None:
        files.print_out(text)
    elif not unreadable:
        writing.write(output, text.encode())
    never = [
        trial_on
        for trial_on, each in zip(functions, found, strict=True)
        if not _can_be_executed(each)
    ]
    for trial_on in never:
        last = trial_on(LATER)
        files.print_error(drawn_for(sys.stderr, color, list(last.reported), last.texts))
    if unreadable:
        return FAILED
    return FOUND if never else 0


def _can_be_executed(variants: Sequence[Since]) -> bool:
    """Return whether the trial of a file can be executed on a kernel of any version."""
    return any(each.trial.task is not None for each in variants)
