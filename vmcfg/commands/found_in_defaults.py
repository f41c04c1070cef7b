"""The findings of a run that are wholly in the defaults: each is reported once."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

import pickle
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vmcfg.checking.check import Checked, Defaults
from vmcfg.checking.defaults import is_in_defaults
from vmcfg.findings.diagnostic import Diagnostic, Related, in_order
from vmcfg.findings.position import Span

FIRST = "found with this description"
"""The words for the first description with a finding in its defaults."""


FoundThere = tuple[Diagnostic, Related]
"""A finding in the defaults, with the description that shows it."""


class Split(NamedTuple):
    """The findings of a check: those wholly in the defaults, with the description, and the
    others.
    """

    in_defaults: list[FoundThere]
    others: list[Diagnostic]


def split(checked: Checked, defaults: Defaults) -> Split:
    """Return the findings of `checked` in two parts, without those about `defaults` alone."""
    alone = set(defaults.diagnostics)
    found = [each for each in checked.diagnostics if each not in alone]
    in_defaults = [each for each in found if is_in_defaults(each, defaults)]
    if not in_defaults:
        return Split([], found)
    here = Related(checked.tree.file, checked.tree.position(("name",)).span, FIRST)
    others = [each for each in found if not is_in_defaults(each, defaults)]
    return Split([(each, here) for each in in_defaults], others)


def packed(found: Sequence[FoundThere]) -> bytes:
    """Return findings as a worker process sends them: bytes, empty if there are none."""
    return pickle.dumps(found) if found else b""


def unpacked(data: bytes) -> list[FoundThere]:
    """Return the findings in bytes from `packed`."""
    found: list[FoundThere] = pickle.loads(data)  # from a worker
    return found


class FoundInDefaults:
    """The findings in `defaults` so far. One is the same for all descriptions, even if its words
    name a vCPU: it has the same rule and the same place.
    """

    __slots__ = ("_alone", "_seen", "defaults", "every")

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        self.every = list(defaults.diagnostics)
        self._seen: set[tuple[str, Span, int]] = set()
        self._alone = defaults.diagnostics

    def new(self, found: Iterable[FoundThere]) -> list[Diagnostic]:
        """Return those findings of a description that no description before had."""
        counts: Counter[tuple[str, Span]] = Counter()
        new = []
        for each, description in found:
            place = each.rule, each.span
            counts[place] += 1
            key = *place, counts[place]
            if key not in self._seen:
                self._seen.add(key)
                new.append(each._replace(related=(*each.related, description)))
        self.every += new
        return new

    def remaining(self, checked: Checked) -> list[Diagnostic]:
        """Return all findings of `checked`, with those about the defaults alone, but without those
        that this function has already returned.
        """
        in_defaults, others = split(checked, self.defaults)
        alone, self._alone = self._alone, []
        return in_order([*alone, *self.new(in_defaults), *others])
