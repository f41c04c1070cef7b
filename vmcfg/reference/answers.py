"""The answers of KVM that rules predict: those of their tables, and those of their examples."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from vmcfg.findings.rule import NEVER_ASKED, Answer, Rule
from vmcfg.reference.conditional_examples import CONDITIONAL_EXAMPLES
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.examples import example_of
from vmcfg.reference.layout import wrapped
from vmcfg.reference.rule_text import findings_in


@cache
def predictions() -> tuple[tuple[Rule, Answer], ...]:
    """Return each rule with each different answer that it predicts, in the order of the rules."""
    found = {
        (rule.id, answer.call, answer.errno): (rule, answer)
        for rule in every_rule()
        for answer in _answers(rule)
        if answer != NEVER_ASKED
    }
    return tuple(found.values())


def _answers(rule: Rule) -> Iterator[Answer]:
    if rule.kernel is not None:
        yield rule.kernel
    example = example_of(rule.id)
    findings = [] if example is None else findings_in(example, rule)
    conditional = CONDITIONAL_EXAMPLES.get(rule.id)
    if conditional is not None:
        findings += conditional.findings(rule.id)
    for found in findings:
        if found.kernel is not None:
            yield found.kernel


def prediction_lines(about: str, answers: list[tuple[Rule, Answer]], width: int) -> Iterator[str]:
    """Yield the rules that predict some answers, under a heading that ends with `about`."""
    if not answers:
        return
    yield ""
    yield f"Rules about {about}:"
    for rule, answer in answers:
        yield from wrapped(f"{rule.name}: {answer}", width, f"  {rule.id}  ")
