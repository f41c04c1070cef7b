"""What KVM's answers to a plan mean: findings at the values that the commands carry, and predictions that held or not.

What comes before: `perform`. Next: `report`, which places the findings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from vmcfg.host import version
from vmcfg.lowering import Command
from vmcfg.perform import NOT_REACHED, Outcome
from vmcfg.places import Path
from vmcfg.report import Answer, Diagnostic, Finding, Rule
from vmcfg.rules.kernel import COMMANDS_TAKEN, PREDICTIONS_HOLD, VALUES_READ_BACK, VCPUS_RUN
from vmcfg.scalars import interrupt_text
from vmcfg.sequence import GIC_INIT, PMU_INIT, RUN_ERRORS, intid

RUN = "KVM_RUN"


At = Callable[[Command], Path]
"""Where a command comes from."""


class Refusal(NamedTuple):
    """One refusal: of `command`, or where `answer.call` is KVM_RUN, to enter the vCPU that `command` initialised."""

    command: Command
    answer: Answer


class Prediction(NamedTuple):
    """A finding's word on what the kernel does, and what it did. `held` is None where an earlier refusal hides that."""

    diagnostic: Diagnostic
    predicted: Answer
    kernel: Answer | None
    held: bool | None

    def __str__(self) -> str:
        found = self.diagnostic
        verdict = {
            True: "so it does",
            False: f"but {self.kernel}" if self.kernel is not None else "but the kernel accepts it",
            None: "which an earlier refusal hides",
        }[self.held]
        return f"{found.file}:{found.span.line}: {found.rule} says that {self.predicted}: {verdict}"


def refusals(outcome: Outcome) -> list[Refusal]:
    """Every refusal, in the order in which the kernel made them; but not what only says that the VM is dead already."""
    stand_in = list(outcome.stand_in)
    create = [step for step in outcome.steps if step.command.row.phase == "create"]
    found = []
    for command, errno, _ in (*create, *stand_in, *outcome.steps[len(create) :]):
        if errno is not None and errno != NOT_REACHED:
            phase = "init" if command.row.phase in (GIC_INIT, PMU_INIT) else "set"
            found.append(Refusal(command, Answer(command.ioctl, errno, phase)))
    made = {step.command.target: step.command for step in outcome.steps if step.command.row.op == "create-vcpu"}
    for target, errno in outcome.runs:
        if errno is not None and not (errno == "EIO" and found):
            found.append(Refusal(made[target], Answer(RUN, errno, "run")))
    return found


def findings(outcome: Outcome, refused: Sequence[Refusal], at: At) -> Iterator[tuple[Rule, Finding]]:
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
            f"`{' '.join(command.fields())}` was taken, but {difference.target} gives back {difference.got}"
            if command.row.op in ("set-attr", "set-reg")
            else f"{_vcpu(command)} has MPIDR_EL1 {difference.got}, and not {difference.want}"
        )
        yield VALUES_READ_BACK, Finding(at(command), message)


def _refused(refusal: Refusal, outcome: Outcome, at: At) -> Finding:
    command, answer = refusal
    who = f" for {_vcpu(command)}" if command.mpidr is not None else ""
    what = f", {interrupt_text(command.number)}," if command.row.show is intid else ""
    message = (
        f"Linux {outcome.kernel} refuses `{' '.join(command.fields())}`{what}{who} with {answer.errno}"
        f"{_meaning(command.row.errors, answer.errno or '')}"
    )
    stand_in = any(step.command is command for step in outcome.stand_in)
    hint = "the command sets up the GIC that stands in for the monitor's" if stand_in else None
    return Finding(at(command), message, hint, kernel=answer)


def _meaning(errors: dict[str, str], errno: str) -> str:
    return f": {errors[errno]}" if errno in errors else ""


def _vcpu(command: Command) -> str:
    return f"vCPU {command.mpidr}"


def predictions(
    described: Sequence[Diagnostic], here: Sequence[Diagnostic], outcome: Outcome, refused: Sequence[Refusal]
) -> list[Prediction]:
    """What the findings `described` predict, beside what the kernel did.

    `here` are the findings for this very kernel: what is none here, the kernel is to accept.
    """
    kernel = version(outcome.kernel)
    on_this = {(found.rule, found.pointer): found.kernel for found in here}
    predicted = [
        (found, (on_this.get((found.rule, found.pointer), Answer(found.kernel.call)) or found.kernel).on(kernel))
        for found in described
        if found.kernel is not None
    ]
    expected = {answer for _, answer in predicted}
    surprises = [refusal.answer for refusal in refused if refusal.answer not in expected]
    answers = {refusal.answer for refusal in refused}
    verdicts = []
    for found, answer in predicted:
        same_call = next((each for each in surprises if each.call == answer.call), None)
        if answer.errno is not None and answer in answers:
            verdicts.append(Prediction(found, answer, answer, True))
        elif answer.errno is None and same_call is None:
            verdicts.append(Prediction(found, answer, None, True))
        else:
            hidden = _hidden(answer.call, outcome, refused, answers & expected)
            verdicts.append(Prediction(found, answer, same_call, None if hidden else False))
    return verdicts


def _hidden(call: str, outcome: Outcome, refused: Sequence[Refusal], expected: Collection[Answer]) -> bool:
    """Whether an answer to the call may not be its own, since the kernel had refused something before.

    Another finding may have predicted what became of the call, or an earlier command may be lacking.
    """
    if any(answer.call == call for answer in expected):
        return True
    commands = [step.command for step in outcome.steps]
    first = next((place for place, command in enumerate(commands) if refused and command is refused[0].command), None)
    if not refused or refused[0].answer.call == RUN:
        return False
    last = max((place for place, command in enumerate(commands) if command.ioctl == call), default=-1)
    return call == RUN or first is None or first < last


def unpredicted(refused: Sequence[Refusal], predicted: Sequence[Prediction]) -> list[Refusal]:
    """The refusals that no prediction accounts for: the first, if it is one. What comes after may follow from it."""
    expected = {prediction.predicted for prediction in predicted}
    return [refusal for refusal in refused[:1] if refusal.answer not in expected]


def disappointments(predicted: Sequence[Prediction]) -> list[tuple[Rule, Finding, Diagnostic]]:
    """The predictions that did not hold, each with the finding that made it."""
    return [
        (
            PREDICTIONS_HOLD,
            Finding((), f"{each.diagnostic.rule} says that {each.predicted}: {_instead(each)}"),
            each.diagnostic,
        )
        for each in predicted
        if each.held is False
    ]


def _instead(prediction: Prediction) -> str:
    return "this kernel accepts it" if prediction.kernel is None else f"here {prediction.kernel}"
