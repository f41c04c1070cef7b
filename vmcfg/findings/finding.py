"""What a finding is: where a rule is broken, in which words, and how the kernel answers."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

import typing
from typing import Literal, NamedTuple

from vmcfg.findings.position import Path
from vmcfg.findings.rule import Answer, Rule

On = Literal["value", "key", "first key"]
"""What is underlined at a path: its value, its key, or the first key of its mapping."""


class Finding(NamedTuple):
    """One breach of a rule, at a path.

    `message` is the headline: complete without the snippet. `label` is a few words for the
    underlined place, and `related` lists the other places with a few words each. `on` selects what
    is underlined: the value, its key, or the first key of the mapping at `path` if something is
    missing from it. `kernel` replaces the answer of the rule. `fix` is what certainly was meant
    instead of the value or key; its quotes remain.
    """

    path: Path
    message: str
    hint: str | None = None
    on: On = "value"
    related: tuple[tuple[Path, str], ...] = ()
    kernel: Answer | None = None
    fix: str | None = None
    label: str = ""


def not_written(key: str, default: str) -> str:
    """Return the words for the place where a key can be added that has its default."""
    return f"'{key}' is not written; its default is {default}"


# Python 3.7, which executes this in try --script, cannot subscript `tuple`.
Found = typing.Tuple[Rule, Finding]  # noqa: UP006
"""A finding with the rule that it breaks."""
