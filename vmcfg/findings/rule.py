"""What a rule is, and how KVM answers a description that breaks it."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import Literal, NamedTuple

from vmcfg.kernel.version import Version, version_text

Severity = Literal["error", "warning"]
ERROR: Severity = "error"
WARNING: Severity = "warning"

Phase = Literal["set", "init", "run"]
"""When KVM rejects: at the call that sets a value, at an INIT attribute, or at the first KVM_RUN.
"""


class Answer(NamedTuple):
    """How KVM answers a description that breaks a rule.

    `call` names the ioctl and what it sets. It fails with `errno` in `phase`: ``set`` is that call,
    ``init`` an INIT attribute, ``run`` the first KVM_RUN. Both are None if the call succeeds. On
    kernels before `since`, it succeeds too. `condition` says on which hosts, if not on all, such as
    ``on a host with 64 KiB pages``.
    """

    call: str
    errno: str | None = None
    phase: Phase | None = None
    since: Version | None = None
    condition: str = ""

    def __str__(self) -> str:
        condition = f" {self.condition}" if self.condition else ""
        if self.errno is None:
            return f"{self.call} succeeds{condition}"
        when = " at the first run" if self.phase == "run" else ""
        since = "" if self.since is None else f" since Linux {version_text(self.since)}"
        return f"{self.call} fails with {self.errno}{when}{since}{condition}"

    def on(self, kernel: Version) -> "Answer":
        """Return the answer of a kernel of that version."""
        rejects = self.since is None or kernel >= self.since
        return Answer(self.call, self.errno, self.phase) if rejects else Answer(self.call)

    def as_json(self) -> dict[str, str | None]:
        """Return the answer by the keys of schemas/diagnostics-v1.schema.json."""
        return {"call": self.call, "errno": self.errno, "phase": self.phase}


NEVER_ASKED = Answer("")
"""The answer to a finding that never reaches KVM, although others of its rule do."""


ACRONYMS = {
    word.lower(): word
    for word in (
        *("Aff0", "Aff3", "API", "EL2", "GIC", "GICv2", "GICv3", "IPA", "IRQ", "MPIDR", "PMU"),
        *("PMUs", "PPI", "PPIs", "SMCCC", "SPI", "vCPU", "vCPUs", "VM", "VMM", "YAML"),
    )
}
"""The acronyms in rule names, by their spelling there."""


FoundBy = Literal["validate", "defaults", "run", "host", "emit", "try"]
"""What finds that a rule is broken: every check of a description, a check with defaults, a check of
several files, a check for hosts, the output form of a plan, or a kernel that executes it.
"""


SOURCE = "Source: "
"""How the last paragraph of an explanation begins, if it names the source of the rule."""


class Rule:
    """A rule about descriptions: its id, its name, the severity of a breach, and the answer of KVM.

    `doc` is a summary, details, and possibly a last paragraph that begins with ``Source:``. Rules
    that are checked over a machine or a host have their own classes (`vmcfg.rules.kinds`).
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

    def title(self) -> str:
        """Return the name in words, with acronyms as usual: ``PMU PPI conflict``."""
        words = self.name.split("-")
        return " ".join(ACRONYMS.get(word, word) for word in words)

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
