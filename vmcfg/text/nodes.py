"""The nodes of a document, each with its place and its own text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from yaml.events import AliasEvent, ScalarEvent

from vmcfg.findings.position import Span


class Mapping:
    """A mapping's keys and values, each by the key's text.

    A duplicate key keeps its first place and last value.
    """

    __slots__ = ("end_mark", "keys", "start_mark", "values")

    def __init__(self, start_mark: Any) -> None:
        self.start_mark = start_mark
        self.end_mark = start_mark
        self.keys: dict[str, ScalarEvent] = {}
        self.values: dict[str, Node] = {}


class Sequence:
    """A list's items."""

    __slots__ = ("end_mark", "items", "start_mark")

    def __init__(self, start_mark: Any) -> None:
        self.start_mark = start_mark
        self.end_mark = start_mark
        self.items: list[Node] = []


class Alias:
    """The use of an anchored node somewhere else; `target` is never itself an alias."""

    __slots__ = ("end_mark", "start_mark", "target")

    def __init__(self, event: AliasEvent, target: Content) -> None:
        self.start_mark = event.start_mark
        self.end_mark = event.end_mark
        self.target = target


Content = ScalarEvent | Mapping | Sequence
"""A node as it is written.

A scalar is its event: nothing has to be copied, and its marks wait until they are asked.
"""

Node = Content | Alias


def span_of(marked: Any) -> Span:
    """The span of an event or a node."""
    start, end = marked.start_mark, marked.end_mark
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


@lru_cache(maxsize=2)
def lines_of(text: str) -> list[str]:
    """The lines of `text` as YAML counts them; the same list for each of many findings."""
    return re.split("\r\n|[\r\n]", text)
