"""What was performed of a plan, and all that KVM said."""

from __future__ import annotations

from typing import NamedTuple

from vmcfg.description.model import Gic
from vmcfg.plans.command import Command

NOT_REACHED = "not reached"
"""What became of a command that an earlier refusal left without its object, or that came after the
last one tried.
"""


class Task(NamedTuple):
    """What is to be performed: a whole VM's commands; and whether the GIC is the monitor's, as far
    as described.
    """

    commands: tuple[Command, ...]
    monitors_gic: bool
    gic: Gic | None


class Step(NamedTuple):
    """A command and what became of it: None where it was done, an errno's name, or NOT_REACHED."""

    command: Command
    outcome: str | None
    read: tuple[str, ...] = ()


class Difference(NamedTuple):
    """A value that KVM, asked through `target`, gives back otherwise than step `step` set it,
    counted from 0.
    """

    step: int
    target: str
    want: str
    got: str


class Run(NamedTuple):
    """A vCPU's first KVM_RUN; `errno` is None where it passed every check."""

    target: str
    errno: str | None


class Outcome(NamedTuple):
    """All that KVM said to a task. `stand_in` are the steps of the GIC that stood in for the
    monitor's.
    """

    kernel: str
    steps: tuple[Step, ...]
    stand_in: tuple[Step, ...]
    differences: tuple[Difference, ...]
    runs: tuple[Run, ...]

    @property
    def performed(self) -> int:
        """How many of the plan's commands were done."""
        return sum(step.outcome is None for step in self.steps)

    @property
    def read_back(self) -> int:
        """How many values were read back."""
        return sum(len(step.read) for step in self.steps)
