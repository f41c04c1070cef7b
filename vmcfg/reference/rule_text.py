"""A rule in words: what must hold, what KVM makes of a breach, and an example."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from vmcfg.checking.check import check
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import FoundBy, Rule
from vmcfg.reference.examples import example_of

FOUND_BY: dict[FoundBy, str] = {
    "host": "`--host` asks for it, of hosts that `vmcfg probe --format json` has described.",
    "emit": "`vmcfg emit` finds it, for what it is asked to emit. The kernel is never asked.",
    "try": "`vmcfg try` finds it, by asking the kernel.",
}
"""What finds that a rule is broken, where that is not a check of the description alone."""


def rule_lines(rule: Rule) -> Iterator[str]:
    """A rule, explained."""
    yield f"{rule.id} {rule.name} ({rule.severity})"
    yield ""
    yield inspect.cleandoc(rule.doc)
    yield ""
    yield kernel_sentence(rule)
    yield from _example_lines(rule)


def kernel_sentence(rule: Rule) -> str:
    """What KVM has to do with a rule."""
    if rule.found_by in FOUND_BY:
        return FOUND_BY[rule.found_by]
    if rule.kernel is None:
        return "The kernel is never asked."
    return f"The kernel: {rule.kernel}."


def _example_lines(rule: Rule) -> Iterator[str]:
    """A description that breaks the rule, and what is found in it."""
    example = example_of(rule.id)
    if example is None:
        return
    data = example.read_bytes()
    yield ""
    yield "For example:"
    yield ""
    for line in data.decode("utf-8", "backslashreplace").splitlines():
        yield f"    {line}"
    yield ""
    for found in check(data, example.name).diagnostics:
        if found.rule == rule.id:
            yield f"    {_headline(found)}"
            if found.hint is not None:
                yield f"    hint: {found.hint}"


def _headline(found: Diagnostic) -> str:
    """A finding on one line, as every report for people begins it."""
    line, column = found.span.line, found.span.column
    return (
        f"{found.file}:{line}:{column}: {found.severity}[{found.rule}] {printable(found.message)}"
    )
