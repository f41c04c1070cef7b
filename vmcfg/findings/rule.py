"""What a rule is, whoever finds that it is broken, and what KVM does with what breaks it."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import Literal, NamedTuple

from vmcfg.kernel.version import Version, version_text

Severity = Literal["error", "warning"]
ERROR: Severity = "error"
WARNING: Severity = "warning"

Phase = Literal["set", "init", "run"]
"""When KVM refuses: at the call that sets a value, at an INIT attribute, or at the first KVM_RUN.
"""


class Answer(NamedTuple):
    """What KVM does with a description that breaks a rule.

    `call` names the ioctl and what it sets. `errno` and `phase` say how it refuses: ``set`` at that
    call, ``init`` at an INIT attribute, ``run`` at the first KVM_RUN. Both are None where KVM
    accepts. Kernels before `since` accept, too.
    """

    call: str
    errno: str | None = None
    phase: Phase | None = None
    since: Version | None = None

    def __str__(self) -> str:
        if self.errno is None:
            return f"{self.call} accepts it"
        since = "" if self.since is None else f", since Linux {version_text(self.since)}"
        return f"{self.call} fails with {self.errno} ({PHASE_WORDS[self.phase]}{since})"

    def on(self, kernel: Version) -> "Answer":
        """What a kernel of that version does."""
        refuses = self.since is None or kernel >= self.since
        return Answer(self.call, self.errno, self.phase) if refuses else Answer(self.call)

    def as_json(self) -> dict[str, str | None]:
        """The answer by the keys of schemas/diagnostics-v1.schema.json."""
        return {"call": self.call, "errno": self.errno, "phase": self.phase}


NEVER_ASKED = Answer("")
"""The answer to a finding of which, other than its rule's, the kernel never hears."""

PHASE_WORDS = {
    "set": "when it is set",
    "init": "at initialisation",
    "run": "at the first run",
    None: "",
}


FoundBy = Literal["validate", "host", "emit", "try"]
"""What finds that a rule is broken: every check of a description; a check for hosts; what a plan is
to be written as; or a kernel that performs it.
"""


SOURCE = "Source: "
"""How the last paragraph of an explanation begins, if it names the source of the rule."""


class Rule:
    """A truth about descriptions: its id, its name, how grave a breach is, and what KVM makes of
    one.

    A kind of rule that is checked by itself, over a machine or over a host, is a class of its own
    (`vmcfg.rules.kinds`).
    """

    __slots__ = ("doc", "found_by", "id", "kernel", "name", "severity")

    def __init__(
        self,
        id: str,
        name: str,
        doc: str,
        severity: Severity = ERROR,
        kernel: Answer | None = None,
        found_by: FoundBy = "validate",
    ) -> None:
        self.id = id
        self.name = name
        self.doc = doc
        self.severity = severity
        self.kernel = kernel
        self.found_by = found_by

    @property
    def paragraphs(self) -> list[str]:
        """Return the paragraphs of the explanation, each on one line; the first is the summary.

        The paragraph that names the source is not among them.
        """
        return [each for each in self._all_paragraphs() if not each.startswith(SOURCE)]

    @property
    def source(self) -> str | None:
        """Return what the rule is based on; None if its explanation names no source."""
        last = self._all_paragraphs()[-1]
        return last.removeprefix(SOURCE) if last.startswith(SOURCE) else None

    def _all_paragraphs(self) -> list[str]:
        """Return all paragraphs of `doc`, in their order, each on one line."""
        return [" ".join(each.split()) for each in self.doc.strip().split("\n\n")]

    def __repr__(self) -> str:
        return f"{self.id} {self.name}"
