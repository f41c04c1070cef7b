"""The calls and runs that KVM rejected, in their order."""

from __future__ import annotations

from typing import NamedTuple

from vmcfg.findings.rule import Answer
from vmcfg.trial.outcome import NOT_REACHED, Outcome
from vmcfg.trial.task import CREATE_VCPU, Call

RUN = "KVM_RUN"


class Refusal(NamedTuple):
    """One rejection: of `call`, or of KVM_RUN on the vCPU that `call` created."""

    call: Call
    answer: Answer


def refusals(outcome: Outcome) -> list[Refusal]:
    """Return every rejection in the order of the kernel, except those of an already unusable VM."""
    created = sum(step.call.kind.creates for step in outcome.steps)
    found = []
    for call, errno, _ in (
        *outcome.steps[:created],
        *outcome.stand_in,
        *outcome.steps[created:],
    ):
        if errno is not None and errno != NOT_REACHED:
            found.append(Refusal(call, Answer(call.title, errno, call.kind.phase)))
    made = {
        step.call.target: step.call for step in outcome.steps if step.call.operation == CREATE_VCPU
    }
    for target, errno in outcome.runs:
        if errno is not None and not (errno == "EIO" and found):
            found.append(Refusal(made[target], Answer(RUN, errno, "run")))
    return found
