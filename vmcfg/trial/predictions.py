"""What the findings of a description predict of the kernel, and whether it did that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Answer, Rule
from vmcfg.kernel.version import Version, version_of
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.refusals import RUN, Refusal
from vmcfg.trial.rules import PREDICTIONS_HOLD


class Prediction(NamedTuple):
    """A finding's word on what the kernel does, and what it did. `held` is None where an earlier
    refusal hides that.
    """

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


def predictions(
    described: Sequence[Diagnostic],
    here: Sequence[Diagnostic],
    outcome: Outcome,
    refused: Sequence[Refusal],
) -> list[Prediction]:
    """What the findings `described` predict, beside what the kernel did.

    `here` are the findings for this very kernel: what is none here, the kernel is to accept.
    """
    kernel = version_of(outcome.kernel)
    predicted = list(_predicted(described, here, kernel))
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
            hidden = _is_hidden(answer.call, outcome, refused, answers & expected)
            held = None if hidden else False
            verdicts.append(Prediction(found, answer, same_call, held))
    return verdicts


def _predicted(
    described: Sequence[Diagnostic], here: Sequence[Diagnostic], kernel: Version
) -> Iterator[tuple[Diagnostic, Answer]]:
    """Each finding that predicts something, with what it predicts of this very kernel."""
    on_this = {(found.rule, found.pointer): found.kernel for found in here}
    for found in described:
        if found.kernel is None:
            continue
        accepted = Answer(found.kernel.call)
        answer = on_this.get((found.rule, found.pointer), accepted)
        # What is no finding here, the kernel is to accept; one that predicts nothing here keeps its
        # word.
        yield found, (answer or found.kernel).on(kernel)


def _is_hidden(
    call: str, outcome: Outcome, refused: Sequence[Refusal], expected: Collection[Answer]
) -> bool:
    """Whether an answer to the call may not be its own, since the kernel had refused something
    before.

    Another finding may have predicted what became of the call, or an earlier command may be
    lacking.
    """
    if any(answer.call == call for answer in expected):
        return True
    if not refused or refused[0].answer.call == RUN:
        return False
    if call == RUN:
        return True
    commands = [step.command for step in outcome.steps]
    places = [place for place, command in enumerate(commands) if command.title == call]
    last = max(places, default=-1)
    for place, command in enumerate(commands):
        if command is refused[0].command:
            return place < last
    # What was refused first is no command of the plan, but of the GIC that stood in.
    return True


def unpredicted(refused: Sequence[Refusal], predicted: Sequence[Prediction]) -> list[Refusal]:
    """The refusals that no prediction accounts for: the first, if it is one. What comes after may
    follow from it.
    """
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
