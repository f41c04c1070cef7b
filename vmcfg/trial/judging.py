"""What KVM's answers to a plan mean: findings at the values that the commands carry, and predictions that held or not.

What comes before: `perform`. Next: `report`, which places the findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer, Phase, Rule
from vmcfg.plans.command import Command
from vmcfg.plans.operations import CREATE_VCPU
from vmcfg.plans.phases import GIC_INIT, PMU_INIT
from vmcfg.trial.outcome import NOT_REACHED, Outcome
from vmcfg.trial.rules import COMMANDS_TAKEN, RUN_ERRORS, VALUES_READ_BACK, VCPUS_RUN

RUN = "KVM_RUN"

At = Callable[[Command], Path]
"""Where a command comes from."""


class Refusal(NamedTuple):
    """One refusal: of `command`, or where `answer.call` is KVM_RUN, to enter the vCPU that `command` initialised."""

    command: Command
    answer: Answer


def refusals(outcome: Outcome) -> list[Refusal]:
    """Every refusal, in the order in which the kernel made them; but not what only says that the VM is dead already."""
    stand_in = list(outcome.stand_in)
    create = [step for step in outcome.steps if step.command.row.phase == "create"]
    found = []
    for command, errno, _ in (*create, *stand_in, *outcome.steps[len(create) :]):
        if errno is not None and errno != NOT_REACHED:
            phase: Phase = "init" if command.row.phase in (GIC_INIT, PMU_INIT) else "set"
            found.append(Refusal(command, Answer(command.title, errno, phase)))
    made = {
        step.command.target: step.command
        for step in outcome.steps
        if step.command.operation is CREATE_VCPU
    }
    for target, errno in outcome.runs:
        if errno is not None and not (errno == "EIO" and found):
            found.append(Refusal(made[target], Answer(RUN, errno, "run")))
    return found


def findings(
    outcome: Outcome, refused: Sequence[Refusal], at: At
) -> Iterator[tuple[Rule, Finding]]:
    """What there is to say of the kernel's refusals, and of the values that it gives back otherwise."""
    runs: dict[str, list[Refusal]] = {}
    for refusal in refused:
        if refusal.answer.call == RUN:
            runs.setdefault(refusal.answer.errno or "", []).append(refusal)
        else:
            yield COMMANDS_TAKEN, _refused(refusal, outcome, at)
    for errno, (first, *others) in runs.items():
        message = f"{_vcpu(first.command)} can't run: {RUN} fails with {errno}{_meaning(RUN_ERRORS, errno)}"
        related = tuple((at(each.command), f"{_vcpu(each.command)} neither") for each in others)
        yield VCPUS_RUN, Finding(at(first.command), message, related=related, kernel=first.answer)
    for difference in outcome.differences:
        command = outcome.steps[difference.step].command
        message = (
            f"`{command.text()}` was taken, but {difference.target} gives back {difference.got}"
            if command.operation.sets_value
            else f"{_vcpu(command)} has MPIDR_EL1 {difference.got}, and not {difference.want}"
        )
        yield VALUES_READ_BACK, Finding(at(command), message)


def _refused(refusal: Refusal, outcome: Outcome, at: At) -> Finding:
    command, answer = refusal
    who = f" for {_vcpu(command)}" if command.mpidr is not None else ""
    what = f", {interrupt_text(command.number)}," if command.row.value.is_interrupt else ""
    message = (
        f"Linux {outcome.kernel} refuses `{command.text()}`{what}{who} with {answer.errno}"
        f"{_meaning(command.row.errors, answer.errno or '')}"
    )
    stand_in = any(step.command is command for step in outcome.stand_in)
    hint = "the command sets up the GIC that stands in for the monitor's" if stand_in else None
    return Finding(at(command), message, hint, kernel=answer)


def _meaning(errors: Mapping[str, str], errno: str) -> str:
    return f": {errors[errno]}" if errno in errors else ""


def _vcpu(command: Command) -> str:
    return f"vCPU {command.mpidr}"
