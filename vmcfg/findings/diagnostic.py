"""A finding as the user sees it: with its position in a file and everything that reports print."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Iterable
from typing import Any, NamedTuple

from vmcfg.escape import without_surrogates
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Position, Span
from vmcfg.findings.rule import NEVER_ASKED, Answer, Rule, Severity

RELATED_SHOWN = 6
"""The maximum number of other places in a diagnostic; its message counts the rest."""


class Related(NamedTuple):
    """Another place that a diagnostic mentions."""

    file: str
    span: Span
    message: str


class Fix(NamedTuple):
    """An edit that certainly was meant: `text` replaces the text at `span`."""

    span: Span
    text: str


class Diagnostic(NamedTuple):
    """A finding as the user sees it: with its position in a file and everything that reports print.

    `label` is the text under the underlined place. `hosts` are the names of the hosts with this
    finding, if hosts were checked, and `hosts_checked` is the number of all of them.
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
    label: str = ""
    hosts_checked: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the diagnostic by the keys of schemas/diagnostics-v1.schema.json.

        `fix`, `hosts`, and `hosts_checked` are there only if they have a value.
        """
        keys: dict[str, Any] = {
            "rule": self.rule,
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
            "file": without_surrogates(self.file),
            **self.span._asdict(),
            "pointer": self.pointer,
            "related": [
                {
                    "file": without_surrogates(at.file),
                    **at.span._asdict(),
                    "message": at.message,
                }
                for at in self.related
            ],
            "kernel": self.kernel and self.kernel.as_json(),
        }
        if self.fix is not None:
            keys["fix"] = {**self.fix.span._asdict(), "text": self.fix.text}
        if self.hosts:
            keys["hosts"] = list(map(without_surrogates, self.hosts))
            keys["hosts_checked"] = self.hosts_checked
        return keys


def diagnose(
    file: str,
    rule: Rule,
    finding: Finding,
    position: Position,
    others: Iterable[tuple[Position, str]],
) -> Diagnostic:
    """Return `finding` of `rule` about the description `file`; `others` are its related places, in
    the order of the finding. Each place is in the file of its position.

    A value that was reached through an alias is reported where it is written. The related places
    begin with the uses of the alias.
    """
    here = position.file or file
    related = [Related(here, use, "used here through its alias") for use in position.uses]
    related += [Related(other.file or file, other.span, words) for other, words in others]
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
        here,
        position.span,
        position.pointer,
        tuple(related[:RELATED_SHOWN]),
        kernel,
        label=finding.label or rule.title(),
    )


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return `diagnostics` in the order of printing: by file, line, column, and rule."""
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
