"""The verdict on tasks: their outcomes with findings and predictions, from any performer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmcfg.findings.diagnostic import Diagnostic, diagnose, in_order
from vmcfg.findings.position import Position
from vmcfg.kernel.ioctls import Kvm, NoKvm
from vmcfg.kernel.version import Version, version_of, version_text
from vmcfg.trial.judging import judged
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.perform import perform
from vmcfg.trial.predictions import (
    Foretold,
    Prediction,
    disappointments,
    predictions,
    unpredicted,
)
from vmcfg.trial.refusals import refusals
from vmcfg.trial.task import CREATE_DEVICE, CREATE_VM, INIT_VCPU, Task


class Tried(NamedTuple):
    """A plan with the answers of KVM in the kernel `release`. `outcome` is None if errors prevented
    its execution. The positions of findings are in `texts`, by file.
    """

    name: str
    release: str
    texts: Mapping[str, str]
    outcome: Outcome | None
    diagnostics: list[Diagnostic]
    predictions: list[Prediction]
    failed: bool


class Trial(NamedTuple):
    """A description or a plan in `file`, and the task that it means. `task` is None if errors
    prevent its execution.

    `texts` are those of the file and its defaults, by file, `host_kernel` the oldest kernel that it
    is for, and `reported` are the findings about it. Without `foretold`, no prediction is checked.
    """

    file: str
    name: str
    texts: Mapping[str, str]
    host_kernel: Version
    task: Task | None
    reported: tuple[Diagnostic, ...]
    foretold: Foretold | None

    def not_executed(self, release: str) -> Tried:
        """Return the result without a task: the findings about the description."""
        return Tried(self.file, release, self.texts, None, list(self.reported), [], True)

    def judged(self, outcome: Outcome) -> Tried:
        """Return the result of the task with that outcome."""
        refused = refusals(outcome)
        predicted: list[Prediction] = []
        broken: list[Diagnostic] = []
        if self.foretold is not None:
            predicted = predictions(self.foretold, outcome, refused)
            refused = unpredicted(refused, predicted)
            broken = [
                diagnose(found.file, rule, finding, Position(found.span, found.pointer), ())
                for rule, finding, found in disappointments(predicted)
            ]
        found = [*judged(self.file, outcome, refused), *broken]
        every = in_order([*self.reported, *found])
        return Tried(self.name, outcome.kernel, self.texts, outcome, every, predicted, bool(found))


class Attempt(NamedTuple):
    """A file with its result, or the reason why it has none."""

    file: str
    tried: Tried | None
    reason: str = ""


def performer_here(*, go_on: bool, run: bool) -> Callable[[Sequence[Task]], list[Outcome | NoKvm]]:
    """Return the function that executes tasks on this host. It raises `NoKvm` if none can be
    executed, and returns it for each that cannot.
    """

    def perform_one(task: Task) -> Outcome | NoKvm:
        try:
            return perform(task, go_on=go_on, run=run)
        except NoKvm as error:
            return error

    def performed(tasks: Sequence[Task]) -> list[Outcome | NoKvm]:
        if len(tasks) > 1:
            Kvm().close()
        return [perform_one(task) for task in tasks]

    return performed


def attempts(
    trials: Sequence[Trial],
    performed: Callable[[Sequence[Task]], list[Outcome | NoKvm]],
    release: str,
    skips: bool,
) -> list[Attempt]:
    """Return the result of each trial, in order, with a function as `performer_here` returns it.

    With `skips`, those are left out that the kernel `release` is too old for, and those that this
    host turns out to lack something for.
    """
    tasks = executed(trials, release, skips)
    outcomes = iter(performed(tasks) if tasks else ())
    return [_attempt(trial, release, outcomes, skips) for trial in trials]


def executed(trials: Sequence[Trial], release: str, skips: bool) -> list[Task]:
    """Return the tasks of those trials that are executed on the kernel `release`, in order."""
    wanted = [trial for trial in trials if not (skips and _too_old(trial, release))]
    return [trial.task for trial in wanted if trial.task is not None]


def _attempt(
    trial: Trial, release: str, outcomes: Iterator[Outcome | NoKvm], skips: bool
) -> Attempt:
    reason = _too_old(trial, release) if skips else None
    if reason is not None:
        return Attempt(trial.file, None, reason)
    if trial.task is None:
        return Attempt(trial.file, trial.not_executed(release))
    outcome = next(outcomes)
    if isinstance(outcome, NoKvm):
        return Attempt(trial.file, None, str(outcome))
    tried = trial.judged(outcome)
    lacking = _lacking(outcome) if skips and tried.failed else None
    if lacking is not None:
        return Attempt(trial.file, None, lacking)
    return Attempt(trial.file, tried)


def _too_old(trial: Trial, release: str) -> str | None:
    """Return why a kernel is too old for a description, or None if it is not."""
    if trial.host_kernel <= version_of(release):
        return None
    return f"it requires Linux {version_text(trial.host_kernel)}, but this is {release}"


def _lacking(outcome: Outcome) -> str | None:
    """Return what the host lacks if the first rejection says so, which says nothing on the kernel:
    a GIC version, EL2 of guests, or address bits.
    """
    first = next(iter(refusals(outcome)), None)
    if first is None:
        return None
    call, answer = first
    _, _, _, attr, _, value = call.text.split(" ")
    if call.operation == CREATE_DEVICE and answer.errno == "ENODEV":
        return f"this host does not support {attr}"
    if call.operation == INIT_VCPU and "HAS_EL2" in value:
        return "this host does not support EL2 of guests (KVM_CAP_ARM_EL2)"
    if call.operation == CREATE_VM and answer.errno == "EINVAL":
        return f"this host does not support the VM type {value}: too many address bits"
    return None
