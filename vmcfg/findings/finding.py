"""What a finding is: where a rule is broken, in which words, and what the kernel answers."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import Literal, NamedTuple

from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer, Rule

On = Literal["value", "key", "first key"]
"""What of a path is underlined: its value, its key, or the first key of its mapping."""


class Finding(NamedTuple):
    """One breach of a rule, at a path.

    `on` picks what is underlined: the value, its key, or the first key of the mapping at `path`,
    where something is missing from it. `related` lists the other places with a few words each.
    `kernel` replaces the rule's answer. `fix` is what certainly was meant where the value or key
    stands; quotes around that stay.
    """

    path: Path
    message: str
    hint: str | None = None
    on: On = "value"
    related: tuple[tuple[Path, str], ...] = ()
    kernel: Answer | None = None
    fix: str | None = None


Found = tuple[Rule, Finding]
"""A finding with the rule that it breaks."""
