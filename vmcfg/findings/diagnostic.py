"""A finding as the user sees it: placed in a file, with everything that a report may print."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Iterable
from typing import Any, NamedTuple

from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Position, Span
from vmcfg.findings.rule import NEVER_ASKED, Answer, Rule, Severity

RELATED_SHOWN = 6
"""How many other places a diagnostic lists; the rest are counted in its message."""


class Related(NamedTuple):
    """Another place that a diagnostic speaks of."""

    file: str
    span: Span
    message: str


class Fix(NamedTuple):
    """An edit that certainly is what was meant: `text` in place of what stands at `span`."""

    span: Span
    text: str


class Diagnostic(NamedTuple):
    """A finding as the user sees it: placed in a file, with everything that a format may print.

    `hosts` are those it holds for, by their names, where it was asked of hosts.
    """

    rule: str
    name: str
    severity: Severity
    message: str
    hint: str | None
    file: str
    span: Span
    pointer: str
    related: tuple[Related, ...]
    kernel: Answer | None
    fix: Fix | None = None
    hosts: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The diagnostic by the keys of schemas/diagnostics-v1.schema.json; `fix` and `hosts` where
        there are any.
        """
        keys: dict[str, Any] = {
            "rule": self.rule,
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            **self.span._asdict(),
            "pointer": self.pointer,
            "related": [
                {"file": at.file, **at.span._asdict(), "message": at.message} for at in self.related
            ],
            "kernel": self.kernel and self.kernel.as_json(),
        }
        if self.fix is not None:
            keys["fix"] = {**self.fix.span._asdict(), "text": self.fix.text}
        if self.hosts:
            keys["hosts"] = list(self.hosts)
        return keys


def diagnose(
    file: str,
    rule: Rule,
    finding: Finding,
    position: Position,
    others: Iterable[tuple[Position, str]],
) -> Diagnostic:
    """`finding` of `rule` as a diagnostic of `file`; `others` are its related places, in the
    finding's order.

    What was reached through an alias is reported where it is written; the places of use come first
    among the related.
    """
    related = [Related(file, use, "used here, through its alias") for use in position.uses]
    related += [Related(file, other.span, words) for other, words in others]
    message = finding.message
    if len(related) > RELATED_SHOWN:
        message += f" (and {len(related) - RELATED_SHOWN} more places)"
    kernel = finding.kernel or rule.kernel
    if finding.kernel is NEVER_ASKED:
        kernel = None
    return Diagnostic(
        rule.id,
        rule.name,
        rule.severity,
        message,
        finding.hint,
        file,
        position.span,
        position.pointer,
        tuple(related[:RELATED_SHOWN]),
        kernel,
    )


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """`diagnostics` in the order in which they are printed: by file, line, column, rule."""
    return sorted(
        diagnostics,
        key=lambda found: (
            found.file,
            found.span.line,
            found.span.column,
            found.rule,
            found.message,
        ),
    )
