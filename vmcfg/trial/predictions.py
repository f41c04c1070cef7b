"""The predictions in the findings of a description, and whether the kernel did as predicted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Answer, Rule
from vmcfg.kernel.version import Version, version_of
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.refusals import RUN, Refusal
from vmcfg.trial.rules import WRONG_PREDICTION


class Prediction(NamedTuple):
    """A prediction of a finding, and its result; `held` is None if it cannot be known: a rejection
    hides it, or it is for other hosts.
    """

    diagnostic: Diagnostic
    predicted: Answer
    kernel: Answer | None
    held: bool | None

    def __str__(self) -> str:
        found = self.diagnostic
        verdict = {
            True: "confirmed",
            False: f"wrong, {self.kernel}" if self.kernel is not None else "wrong, it succeeds",
            None: "unknown: an earlier rejection hides it, or it is for other hosts",
        }[self.held]
        place = f"{found.file}:{found.span.line}"
        return f"{place}: {found.rule} predicts that {self.predicted}: {verdict}"


class Foretold(NamedTuple):
    """What findings predict: `described` are those of the description, and `here` those for the
    kernel that executes it. `absent` are the answers of kernels before a version to attributes that
    they do not have.
    """

    described: tuple[Diagnostic, ...]
    here: tuple[Diagnostic, ...]
    absent: tuple[tuple[Version, Answer], ...]


def predictions(
    foretold: Foretold, outcome: Outcome, refused: Sequence[Refusal]
) -> list[Prediction]:
    """Return the predictions of the findings, with what the kernel did.

    Without a finding for this kernel, it must accept.
    """
    kernel = version_of(outcome.kernel)
    answers = {refusal.answer for refusal in refused}
    # A kernel without an attribute rejects every value of it, unless an earlier check rejects this
    # one.
    absent = {
        answer.call: answer
        for since, answer in foretold.absent
        if since > kernel and answer in answers
    }
    predicted = [
        (found, absent.get(answer.call, answer))
        for found, answer in _predicted(foretold.described, foretold.here, kernel)
    ]
    expected = {answer for _, answer in predicted}
    surprises = [refusal.answer for refusal in refused if refusal.answer not in expected]
    verdicts = []
    for found, answer in predicted:
        same_call = next((each for each in surprises if each.call == answer.call), None)
        if answer.errno is not None and answer in answers:
            verdicts.append(Prediction(found, answer, answer, True))
        elif answer.errno is None and same_call is None:
            verdicts.append(Prediction(found, answer, None, True))
        else:
            is_unknown = _is_for_some_hosts(found) or _is_hidden(
                answer.call, outcome, refused, answers & expected
            )
            held = None if is_unknown else False
            verdicts.append(Prediction(found, answer, same_call, held))
    return verdicts


def _predicted(
    described: Sequence[Diagnostic], here: Sequence[Diagnostic], kernel: Version
) -> Iterator[tuple[Diagnostic, Answer]]:
    """Return each finding with a prediction, and what it predicts for this kernel."""
    on_this = {(found.rule, found.pointer): found.kernel for found in here}
    for found in described:
        if found.kernel is None:
            continue
        accepted = Answer(found.kernel.call)
        answer = on_this.get((found.rule, found.pointer), accepted)
        # Without a finding for this kernel, it must accept. A finding without an answer for this
        # kernel keeps its general one.
        yield found, (answer or found.kernel).on(kernel)


def _is_for_some_hosts(found: Diagnostic) -> bool:
    """Return whether the prediction of a finding is only for some hosts."""
    return found.kernel is not None and bool(found.kernel.condition)


def _is_hidden(
    call: str, outcome: Outcome, refused: Sequence[Refusal], expected: Collection[Answer]
) -> bool:
    """Return whether an earlier rejection might have changed the answer to the call.

    Another finding might have predicted this answer, or an earlier command might be missing.
    """
    if any(answer.call == call for answer in expected):
        return True
    if not refused or refused[0].answer.call == RUN:
        return False
    if call == RUN:
        return True
    calls = [step.call for step in outcome.steps]
    last = max((place for place, each in enumerate(calls) if each.title == call), default=-1)
    for place, each in enumerate(calls):
        if each is refused[0].call:
            return place < last
    # The first rejected command belongs to the stand-in GIC, not to the plan.
    return True


def unpredicted(refused: Sequence[Refusal], predicted: Sequence[Prediction]) -> list[Refusal]:
    """Return the first rejection if it was not predicted. Later ones might follow from it."""
    expected = {prediction.predicted for prediction in predicted}
    return [refusal for refusal in refused[:1] if refusal.answer not in expected]


def disappointments(predicted: Sequence[Prediction]) -> list[tuple[Rule, Finding, Diagnostic]]:
    """Return the wrong predictions, each with its finding."""
    return [
        (
            WRONG_PREDICTION,
            Finding(
                (), f"{each.diagnostic.rule} predicts that {each.predicted}, but {_instead(each)}"
            ),
            each.diagnostic,
        )
        for each in predicted
        if each.held is False
    ]


def _instead(prediction: Prediction) -> str:
    return "it succeeds" if prediction.kernel is None else f"{prediction.kernel}"
