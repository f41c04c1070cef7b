"""A description or a plan tried on KVM of this machine: executed, judged, with findings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vmcfg.checking.check import Checked, check
from vmcfg.findings.diagnostic import Diagnostic, diagnose, in_order
from vmcfg.findings.position import WHOLE, Position, Span
from vmcfg.kernel.version import Version, running_release, version_of
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.planfile import read_plan
from vmcfg.trial.judging import PositionOf, diagnostic, remarks
from vmcfg.trial.outcome import Outcome, Task
from vmcfg.trial.perform import perform
from vmcfg.trial.predictions import Prediction, disappointments, predictions, unpredicted
from vmcfg.trial.refusals import refusals


class Tried(NamedTuple):
    """A plan with the answers of KVM. `outcome` is None if errors prevented its execution. The
    positions of findings are in `text`.
    """

    name: str
    text: str
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
    checked = check(data, file, host_kernel)
    if checked.machine is not None and checked.machine.has_default_host_kernel:
        checked = check(data, file, version_of(running_release()))
    machine = checked.plannable(strict, unchecked)
    if machine is None:
        return Tried(file, checked.tree.text, None, checked.diagnostics, [], True)
    commands = lower(machine, WHOLE_VM).commands
    task = Task(commands, not machine.sets_up_gic(), machine.gic)
    outcome = perform(task, go_on=unchecked, run=run)

    refused = refusals(outcome)
    predicted: list[Prediction] = []
    broken: list[Diagnostic] = []
    if unchecked:
        here = check(data, file, version_of(outcome.kernel)).diagnostics
        predicted = predictions(checked.diagnostics, here, outcome, refused)
        refused = unpredicted(refused, predicted)
        broken = [
            diagnose(file, rule, finding, Position(found.span, found.pointer), ())
            for rule, finding, found in disappointments(predicted)
        ]
    position_of = _position_in(checked)
    found = [diagnostic(file, each, position_of) for each in remarks(outcome, refused)] + broken
    every = in_order(checked.diagnostics + found)
    return Tried(machine.name, checked.tree.text, outcome, every, predicted, bool(found))


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


def try_plan(written: Iterable[bytes], file: str, run: bool) -> Tried:
    """Try the plan in the lines `written` of `file`. Raises `NoKvm` if KVM cannot be used, or
    `NoFile`.
    """
    plan = read_plan(written, file)
    outcome = perform(Task(plan.commands, plan.monitors_gic, plan.gic), run=run)
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
            hint = f"change line {line}, column {column} of the description, its origin"
            remark = remark._replace(hint=hint)
        found.append(diagnostic(file, remark, position_of))
    return Tried(plan.name, plan.text, outcome, in_order(found), [], bool(found))
