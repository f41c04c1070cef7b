"""A description or a plan tried on KVM of this machine: executed, judged, with findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmcfg.checking.check import Checked, Defaults, check
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic, diagnose, in_order
from vmcfg.findings.position import WHOLE, Position, Span
from vmcfg.kernel.host import Host
from vmcfg.kernel.ioctls import Kvm, NoKvm
from vmcfg.kernel.version import Version, running_release, version_of, version_text
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import CREATE_DEVICE, CREATE_VM, INIT_VCPU
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.planfile import read_plan
from vmcfg.trial.judging import PositionOf, diagnostic, of_default, remarks
from vmcfg.trial.outcome import Outcome, Task
from vmcfg.trial.perform import perform
from vmcfg.trial.predictions import Prediction, disappointments, predictions, unpredicted
from vmcfg.trial.refusals import refusals


class Tried(NamedTuple):
    """A plan with the answers of KVM. `outcome` is None if errors prevented its execution. The
    positions of findings are in `texts`, by file.
    """

    name: str
    texts: Mapping[str, str]
    outcome: Outcome | None
    diagnostics: list[Diagnostic]
    predictions: list[Prediction]
    failed: bool


def try_description(
    data: bytes,
    file: str,
    host_kernel: Version | None,
    strict: bool,
    unchecked: bool,
    run: bool,
) -> Tried:
    """Try the description `data` of `file`. Raises `NoKvm` if KVM cannot be used."""
    trial = prepared(data, file, host_kernel, strict, unchecked, running_release())
    if trial.task is None:
        return trial.not_executed()
    return trial.judged(perform(trial.task, go_on=unchecked, run=run))


class Trial(NamedTuple):
    """A description, and the task that it means. `task` is None if errors prevent its execution.

    `reported` are the findings about the description: those for other hosts, if hosts are given.
    """

    data: bytes
    file: str
    checked: Checked
    task: Task | None
    unchecked: bool
    reported: list[Diagnostic]
    defaults: Defaults | None

    def not_executed(self) -> Tried:
        """Return the result without a task: the findings about the description."""
        return Tried(self.file, self.checked.tree.texts, None, self.reported, [], True)

    def judged(self, outcome: Outcome) -> Tried:
        """Return the result of the task with that outcome."""
        return _judged(self, outcome)


def prepared(
    data: bytes,
    file: str,
    host_kernel: Version | None,
    strict: bool,
    unchecked: bool,
    release: str,
    hosts: Sequence[Host] = (),
    defaults: Defaults | None = None,
) -> Trial:
    """Return the description `data` of `file` as a task for the kernel `release`, which is its
    host_kernel if it has none.

    If there are `hosts`, the findings are those for them. The task does not depend on them.
    """
    checked = check(data, file, host_kernel, defaults=defaults)
    if checked.machine is not None and checked.machine.has_default_host_kernel:
        checked = check(data, file, version_of(release), defaults=defaults)
    reported = check(data, file, hosts=hosts, defaults=defaults) if hosts else checked
    machine = checked.machine
    task = None
    if machine is not None and reported.plannable(strict, unchecked) is not None:
        commands = lower(machine, WHOLE_VM).commands
        task = Task(commands, not machine.sets_up_gic(), machine.gic)
    return Trial(data, file, checked, task, unchecked, reported.diagnostics, defaults)


class Attempt(NamedTuple):
    """A file with its result, or the reason why it has none."""

    file: str
    tried: Tried | None
    reason: str = ""


Performer = Callable[[Sequence[Task]], "list[Outcome | NoKvm]"]
"""The function that executes tasks. It raises `NoKvm` if none can be executed, and returns it for
each that cannot.
"""


def performer_here(*, go_on: bool, run: bool) -> Performer:
    """Return the function that executes tasks on this host."""

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
    trials: Sequence[Trial], performed: Performer, release: str, skips: bool
) -> list[Attempt]:
    """Return the result of each trial, in order. With `skips`, those are left out that the kernel
    `release` is too old for, and those that this host turns out to lack something for.
    """
    reasons = [_too_old(trial, release) if skips else None for trial in trials]
    tasks = [
        trial.task
        for trial, reason in zip(trials, reasons, strict=True)
        if trial.task is not None and reason is None
    ]
    outcomes = iter(performed(tasks) if tasks else ())
    return [
        _attempt(trial, reason, outcomes, skips)
        for trial, reason in zip(trials, reasons, strict=True)
    ]


def _attempt(
    trial: Trial, reason: str | None, outcomes: Iterator[Outcome | NoKvm], skips: bool
) -> Attempt:
    if reason is not None:
        return Attempt(trial.file, None, reason)
    if trial.task is None:
        return Attempt(trial.file, trial.not_executed())
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
    machine = trial.checked.machine
    if machine is None or machine.host_kernel <= version_of(release):
        return None
    return f"it requires Linux {version_text(machine.host_kernel)}, but this is {release}"


def _lacking(outcome: Outcome) -> str | None:
    """Return what the host lacks if the first rejection says so, which says nothing on the kernel:
    a GIC version, EL2 of guests, or address bits.
    """
    first = next(iter(refusals(outcome)), None)
    if first is None:
        return None
    command, answer = first
    if command.operation is CREATE_DEVICE and answer.errno == "ENODEV":
        return f"this host does not support {command.operation.attr(command)}"
    if command.operation is INIT_VCPU and "HAS_EL2" in command.value:
        return "this host does not support EL2 of guests (KVM_CAP_ARM_EL2)"
    if command.operation is CREATE_VM and answer.errno == "EINVAL":
        return f"this host does not support the VM type {command.value}: too many address bits"
    return None


def _judged(trial: Trial, outcome: Outcome) -> Tried:
    data, file, checked, _, unchecked, reported, defaults = trial
    assert checked.machine is not None
    refused = refusals(outcome)
    predicted: list[Prediction] = []
    broken: list[Diagnostic] = []
    if unchecked:
        here = check(data, file, version_of(outcome.kernel), defaults=defaults).diagnostics
        predicted = predictions(checked.diagnostics, here, outcome, refused)
        refused = unpredicted(refused, predicted)
        broken = [
            diagnose(found.file, rule, finding, Position(found.span, found.pointer), ())
            for rule, finding, found in disappointments(predicted)
        ]
    position_of = _position_in(checked)
    found = [
        diagnostic(file, of_default(each, checked.machine), position_of)
        for each in remarks(outcome, refused)
    ] + broken
    every = in_order(reported + found)
    texts = checked.tree.texts
    return Tried(checked.machine.name, texts, outcome, every, predicted, bool(found))


def _position_in(checked: Checked) -> PositionOf:
    """Return the function that finds the position of a command: of its value, vCPU, or key."""
    assert checked.machine is not None
    vcpus = {f"vcpu:{vcpu.id}": vcpu.at for vcpu in checked.machine.vcpus}

    def position_of(command: Command) -> Position:
        path = command.origin
        if path is None:
            path = vcpus.get(command.target)
        if path is None:
            path = tuple(command.row.field.split("."))
        return checked.tree.position(path)

    return position_of


def try_plan(
    written: Iterable[bytes], file: str, run: bool, performed: Performer | None = None
) -> Tried:
    """Try the plan in the lines `written` of `file`, by default on this host. Raises `NoKvm` if KVM
    cannot be used, or `NoFile`.
    """
    plan = read_plan(written, file)
    performed = performed or performer_here(go_on=False, run=run)
    (outcome,) = performed([Task(plan.commands, plan.monitors_gic, plan.gic)])
    if isinstance(outcome, NoKvm):
        raise outcome
    lines = plan.text.split("\n")
    # The first line is the header. Commands of the stand-in GIC have no line.
    numbers = {id(command): number for number, command in enumerate(plan.commands, 2)}
    origins = {
        id(command): origin
        for command, origin in zip(plan.commands, plan.origins, strict=True)
        if origin is not None
    }

    def position_of(command: Command) -> Position:
        number = numbers.get(id(command))
        if number is None:
            return Position(WHOLE, "")
        return Position(Span(number, 1, number, len(lines[number - 1]) + 1), "")

    found = []
    for remark in remarks(outcome, refusals(outcome)):
        origin = origins.get(id(remark.command))
        if origin is not None:
            line, column = origin.get("line"), origin.get("column")
            where = printable(origin["file"]) if "file" in origin else "the description"
            hint = f"change line {line}, column {column} of {where}, its origin"
            remark = remark._replace(hint=hint)
        found.append(diagnostic(file, remark, position_of))
    return Tried(plan.name, {file: plan.text}, outcome, in_order(found), [], bool(found))
