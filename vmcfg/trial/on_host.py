"""What a script of `try --script` does on the host: it executes its trials and prints the report.

It does what `vmcfg try --format json` does there, with the same modules.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from vmcfg.exit_codes import FAILED
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.version import Version, running_release, version_of
from vmcfg.trial.report import as_json, exit_code, remarks
from vmcfg.trial.verdict import Trial, attempts, performer_here


class Since(NamedTuple):
    """A trial for the kernels from `version` on, up to that of the next one of the same file."""

    version: Version
    trial: Trial


class Execution(NamedTuple):
    """How trials are executed: as several files or as one, with which options of `try`."""

    is_several: bool
    unchecked: bool
    run: bool


def main(files: Sequence[Sequence[Since]], unreadable: Sequence[str], how: Execution) -> int:
    """Execute the trials of all files on this host and print the report. Return the exit code.

    `unreadable` are the lines about files that could not be read, and therefore have no trials.
    """
    sys.stderr.write("".join(unreadable))
    if unreadable and not files:
        return FAILED
    release = running_release()
    here = version_of(release)
    trials = [trial_for(here, variants) for variants in files]
    try:
        performed = performer_here(go_on=how.unchecked, run=how.run)
        done = attempts(trials, performed, release, False)
    except NoKvm as error:
        sys.stderr.write(f"vmcfg: {error}\n")
        return FAILED
    sys.stderr.write("".join(remarks(done, how.is_several)))
    sys.stdout.write(as_json(done, how.is_several, how.unchecked))
    return FAILED if unreadable else exit_code(done, False)


def trial_for(here: Version, variants: Sequence[Since]) -> Trial:
    """Return the trial for a kernel: the last of `variants` that is not later, else the first."""
    earlier = [each.trial for each in variants if each.version <= here]
    return earlier[-1] if earlier else variants[0].trial
