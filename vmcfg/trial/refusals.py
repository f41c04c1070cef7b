"""The commands and runs that KVM rejected, in their order."""

from __future__ import annotations

from typing import NamedTuple

from vmcfg.findings.rule import Answer, Phase
from vmcfg.plans.command import Command
from vmcfg.plans.operations import CREATE_VCPU
from vmcfg.plans.phases import CREATE, GIC_INIT, PMU_INIT
from vmcfg.trial.outcome import NOT_REACHED, Outcome

RUN = "KVM_RUN"


class Refusal(NamedTuple):
    """One rejection: of `command`, or of KVM_RUN on the vCPU that `command` created."""

    command: Command
    answer: Answer


def refusals(outcome: Outcome) -> list[Refusal]:
    """Return every rejection in the order of the kernel, except those of an already unusable VM."""
    stand_in = list(outcome.stand_in)
    create = [step for step in outcome.steps if step.command.row.phase == CREATE]
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
