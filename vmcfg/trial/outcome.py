"""The results of an executed plan: every answer of KVM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vmcfg.kernel.ioctls import NoKvm
from vmcfg.trial.task import Call

NOT_REACHED = "not reached"
"""The result of a call whose target does not exist, or that is after the last executed one."""


class Step(NamedTuple):
    """A call and its result: None if it succeeded, the name of an errno, or NOT_REACHED."""

    call: Call
    outcome: str | None
    read: tuple[str, ...] = ()


class Difference(NamedTuple):
    """A value that KVM returns at `target` and that differs from what step `step` (from 0) set."""

    step: int
    target: str
    want: str
    got: str


class Run(NamedTuple):
    """The first KVM_RUN of a vCPU; `errno` is None if it passed every check."""

    target: str
    errno: str | None


class Outcome(NamedTuple):
    """Every answer of KVM to a task. `stand_in` are the steps of the GIC that replaced that of the
    VMM.
    """

    kernel: str
    steps: tuple[Step, ...]
    stand_in: tuple[Step, ...]
    differences: tuple[Difference, ...]
    runs: tuple[Run, ...]

    @property
    def performed(self) -> int:
        """Return the number of commands of the plan that succeeded."""
        return sum(step.outcome is None for step in self.steps)

    @property
    def read_back(self) -> int:
        """Return the number of values that were read back."""
        return sum(len(step.read) for step in self.steps)


def without_pmu() -> NoKvm:
    """Return the error of vCPUs with a PMU on a host without PMUs for guests."""
    return NoKvm("this host does not support a PMU for guests (KVM_CAP_ARM_PMU_V3 is 0)")


def without_pmu_named(name: str, pmus: Iterable[str]) -> NoKvm:
    """Return the error of a host PMU that is not among those of the host."""
    names = ", ".join(pmus)
    has = f"it has {names}" if names else "it has none"
    return NoKvm(f"this host does not have the PMU '{name}': {has}")
