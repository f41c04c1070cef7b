"""What KVM accepts but should not, what it rejects late, and where the kernel documentation and the
code differ. All of it is taken from the tables: from the rules, their cases, and the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import Rule
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.examples import example_name
from vmcfg.reference.rule_text import findings_in
from vmcfg.vm.identifier_limits import LIMITS

RIGHTLY_ACCEPTED = {
    "VMC504": "the number of a nonexistent PPI is the INTID of an SPI, which KVM sees",
}
"""Rules whose problems KVM accepts for a good reason. They are not surprising."""


class Surprise(NamedTuple):
    """A rule that a description breaks without an error of KVM, with the case that shows it."""

    rule: Rule
    case: Path
    findings: tuple[Diagnostic, ...]


def accepted(cases: Iterable[Path]) -> Iterator[Surprise]:
    """Yield a case for each rule of which KVM accepts a breach, in the order of the rules.

    It is the example of the rule, if KVM accepts that, or else the shortest case.
    """
    of_rule: dict[str, list[Path]] = {}
    for case in sorted(cases):
        of_rule.setdefault(case.name[:6], []).append(case)
    for rule in every_rule():
        if rule.kernel is None or rule.id in RIGHTLY_ACCEPTED:
            continue
        example = example_name(rule.id)
        ordered = sorted(
            of_rule.get(rule.id, []),
            key=lambda case: (case.name != example, len(case.read_bytes())),
        )
        for case in ordered:
            found = tuple(each for each in findings_in(case, rule) if is_accepted(each))
            if found:
                yield Surprise(rule, case, found)
                break


def is_accepted(found: Diagnostic) -> bool:
    """Return whether a kernel accepts what a finding is about: all of them, or only older ones."""
    answer = found.kernel
    return answer is not None and (answer.errno is None or answer.since is not None)


def rejected_late() -> list[Rule]:
    """Return the rules whose problems KVM rejects only after the call that sets the value."""
    return [
        rule
        for rule in every_rule()
        if rule.kernel is not None and rule.kernel.phase in ("init", "run")
    ]


class Difference(NamedTuple):
    """A difference between the kernel documentation and the code: the name of its rule, row, or
    identifier; the text; and its source.
    """

    about: Rule | Row | str
    text: str
    source: str | None


_DOCUMENTATION = re.compile(r"\b(?:documentation|documents?)\b")


def differences() -> Iterator[Difference]:
    """Yield what is said about the kernel documentation: by the rules that KVM has an answer for,
    the rows, and the limits of identifiers.
    """
    for rule in every_rule():
        if rule.kernel is not None:
            text = _about_documentation(rule.paragraphs)
            if text:
                yield Difference(rule, text, rule.source)
    for row in SEQUENCE:
        errors = (f"{errno}: {words}" for errno, words in row.errors.items())
        text = _about_documentation([row.doc, *errors])
        if text:
            yield Difference(row, text, row.source)
    for limit in LIMITS:
        text = _about_documentation([limit.bites])
        if text:
            yield Difference(limit.name, text, limit.source)


def _about_documentation(texts: Iterable[str]) -> str:
    """Return those of the texts that name documentation, each as a sentence."""
    said = (each.rstrip(".") for each in texts if _DOCUMENTATION.search(each))
    return " ".join(f"{each}." for each in said)
