"""What a finding is: the rule it breaks, where, in which words, and what the kernel would have said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from vmcfg.places import Path, Place, Span

if TYPE_CHECKING:
    from vmcfg.machine import Machine

ERROR = "error"
WARNING = "warning"

RELATED_SHOWN = 6
"""How many other places a diagnostic lists; the rest are counted in its message."""


class Answer(NamedTuple):
    """What KVM does with a description that breaks a rule.

    `call` names the ioctl and what it sets. `errno` and `phase` say how it refuses: ``set`` at that call,
    ``init`` at an INIT attribute, ``run`` at the first KVM_RUN. Both are None where KVM accepts. Kernels before `since`
    accept, too.
    """

    call: str
    errno: str | None = None
    phase: str | None = None
    since: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.errno is None:
            return f"{self.call} accepts it"
        since = "" if self.since is None else ", since Linux {}.{}".format(*self.since)
        return f"{self.call} fails with {self.errno} ({PHASE_WORDS[self.phase]}{since})"

    def on(self, kernel: tuple[int, int]) -> Answer:
        """What a kernel of that version does."""
        refuses = self.since is None or kernel >= self.since
        return Answer(self.call, self.errno, self.phase) if refuses else Answer(self.call)

    def as_json(self) -> dict[str, str | None]:
        """The answer by the keys of schemas/diagnostics-v1.schema.json."""
        return {"call": self.call, "errno": self.errno, "phase": self.phase}


NEVER_ASKED = Answer("")
"""The answer to a finding of which, other than its rule's, the kernel never hears."""

PHASE_WORDS = {"set": "when it is set", "init": "at initialisation", "run": "at the first run", None: ""}


class Finding(NamedTuple):
    """One breach of a rule, placed by path.

    `on` picks what is underlined: the value, its key, or the first key of the mapping at `path`, where something
    is missing from it. `related` lists the other places with a few words each. `kernel` replaces the rule's answer.
    `fix` is what certainly was meant where the value or key stands; quotes around that stay.
    """

    path: Path
    message: str
    hint: str | None = None
    on: str = "value"
    related: tuple[tuple[Path, str], ...] = ()
    kernel: Answer | None = None
    fix: str | None = None


Check = Callable[["Machine"], Iterator[Finding]]


class Rule:
    """A truth about descriptions: its id, its name, how grave a breach is, and what KVM makes of one."""

    __slots__ = ("check", "doc", "id", "kernel", "name", "severity")

    def __init__(
        self,
        id: str,
        name: str,
        doc: str,
        severity: str = ERROR,
        kernel: Answer | None = None,
        check: Check | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.doc = doc
        self.severity = severity
        self.kernel = kernel
        self.check = check

    def __repr__(self) -> str:
        return f"{self.id} {self.name}"


def rule(id: str, kernel: Answer | None, severity: str = ERROR) -> Callable[[Check], Rule]:
    """The `Rule` that the decorated check asserts: named after the function, explained by its docstring."""

    def named(check: Check) -> Rule:
        return Rule(id, check.__name__.replace("_", "-"), check.__doc__ or "", severity, kernel, check)

    return named


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
    severity: str
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
        """The diagnostic by the keys of schemas/diagnostics-v1.schema.json; `fix` and `hosts` where there are any."""
        hosts = {"hosts": list(self.hosts)} if self.hosts else {}
        fix = {} if self.fix is None else {"fix": {**self.fix.span._asdict(), "text": self.fix.text}}
        return {
            "rule": self.rule,
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            **self.span._asdict(),
            "pointer": self.pointer,
            "related": [{"file": at.file, **at.span._asdict(), "message": at.message} for at in self.related],
            "kernel": self.kernel and self.kernel.as_json(),
            **fix,
            **hosts,
        }


def diagnose(file: str, rule: Rule, finding: Finding, place: Place, others: Iterable[tuple[Place, str]]) -> Diagnostic:
    """`finding` of `rule` as a diagnostic of `file`; `others` are its related places, in the finding's order.

    What was reached through an alias is reported where it is written; the places of use come first among the related.
    """
    related = [Related(file, use, "used here, through its alias") for use in place.uses]
    related += [Related(file, other.span, words) for other, words in others]
    message = finding.message
    if len(related) > RELATED_SHOWN:
        message += f" (and {len(related) - RELATED_SHOWN} more places)"
    return Diagnostic(
        rule.id,
        rule.name,
        rule.severity,
        message,
        finding.hint,
        file,
        place.span,
        place.pointer,
        tuple(related[:RELATED_SHOWN]),
        None if finding.kernel is NEVER_ASKED else finding.kernel or rule.kernel,
    )


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """`diagnostics` in the order in which they are printed: by file, line, column, rule."""
    return sorted(
        diagnostics, key=lambda found: (found.file, found.span.line, found.span.column, found.rule, found.message)
    )


def shown(text: str, longest: int = 60) -> str:
    """`text` from the input, fit for one line of any output: unprintable and direction-changing characters escaped."""
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
