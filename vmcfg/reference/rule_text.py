"""A rule in words: its requirement, an example that breaks it, and the answer of KVM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmcfg.checking.check import check
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import FoundBy, Rule
from vmcfg.reference.examples import example_of
from vmcfg.reference.layout import WIDEST, wrapped

FOUND_BY: dict[FoundBy, str] = {
    "defaults": "Found with `--defaults`; this problem never reaches KVM.",
    "run": "Found by `vmcfg validate` in several files; this problem never reaches KVM.",
    "host": (
        "Found by `vmcfg validate --host` and `vmcfg emit --host`, which compare the description"
        " with a host file from `vmcfg probe --format json`."
    ),
    "emit": "Found by `vmcfg emit`, depending on its options; this problem never reaches KVM.",
    "try": "Found by `vmcfg try`, which executes the plan on this host.",
}
"""Which command finds that a rule is broken, if a check of only the description does not."""

NEVER_REACHES_KVM = "Checked by vmcfg only; this problem never reaches KVM."


def rule_lines(rule: Rule, width: int = WIDEST) -> Iterator[str]:
    """Yield the lines that explain a rule; text has at most `width` columns per line."""
    yield f"{rule.id} {rule.name} ({rule.severity})"
    for paragraph in rule.paragraphs:
        yield ""
        yield from wrapped(paragraph, width)
    if rule.found_by in FOUND_BY:
        yield ""
        yield from wrapped(FOUND_BY[rule.found_by], width)
    example = example_of(rule.id)
    if example is not None:
        yield from _example_lines(
            "For example:", text_of(example), findings_in(example, rule), width
        )
    if rule.found_by != "validate":
        yield from _conditional_lines(rule, width)
    if rule.source is not None:
        yield ""
        yield from wrapped(rule.source, width, "source: ")


def _conditional_lines(rule: Rule, width: int) -> Iterator[str]:
    """Yield the example of a rule that a check of only the description does not find, if any."""
    from vmcfg.reference.conditional_examples import CONDITIONAL_EXAMPLES

    conditional = CONDITIONAL_EXAMPLES.get(rule.id)
    if conditional is not None:
        heading = f"For example, {conditional.condition}:"
        yield from _example_lines(heading, conditional.text, conditional.findings(rule.id), width)


def _example_lines(
    heading: str, text: str, diagnostics: list[Diagnostic], width: int
) -> Iterator[str]:
    """Yield the lines of a description that breaks the rule, and of its findings."""
    yield ""
    yield from wrapped(heading, width)
    yield ""
    yield from (f"    {line}" for line in text.splitlines())
    for found in diagnostics:
        yield ""
        for line in finding_lines(found):
            yield from wrapped(line, width, "    ", "      ")


def text_of(example: Path) -> str:
    """Return the text of an example; bytes that are not UTF-8 are escaped."""
    return example.read_bytes().decode("utf-8", "backslashreplace")


def findings_in(example: Path, rule: Rule) -> list[Diagnostic]:
    """Return the findings of a rule in an example."""
    found = check(example.read_bytes(), example.name).diagnostics
    return [each for each in found if each.rule == rule.id]


def finding_lines(found: Diagnostic) -> Iterator[str]:
    """Yield a finding as reports for people print it: its headline, hint, and kernel's answer."""
    line, column = found.span.line, found.span.column
    place = f"{found.file}:{line}:{column}"
    yield f"{place}: {found.severity}[{found.rule}] {printable(found.message)}"
    if found.hint is not None:
        yield f"hint: {printable(found.hint)}"
    yield NEVER_REACHES_KVM if found.kernel is None else f"kernel: {found.kernel}"
