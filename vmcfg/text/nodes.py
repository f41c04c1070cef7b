"""The nodes of a document, each with its position and its own text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from yaml.events import AliasEvent, ScalarEvent

from vmcfg.findings.position import Span


class Mapping:
    """The keys and values of a mapping, by the text of the key.

    A duplicate key keeps its first position and its last value.
    """

    __slots__ = ("end_mark", "keys", "start_mark", "values")

    def __init__(self, start_mark: Any) -> None:
        self.start_mark = start_mark
        self.end_mark: Any
        """Set when everything in it is read."""
        self.keys: dict[str, ScalarEvent] = {}
        self.values: dict[str, Node] = {}


class Merged(Mapping):
    """The mapping `own` of a description, with keys from its defaults after its own."""

    __slots__ = ("own",)

    def __init__(self, own: Mapping) -> None:
        super().__init__(own.start_mark)
        self.own = own
        self.end_mark = own.end_mark
        self.keys.update(own.keys)
        self.values.update(own.values)


def as_written(mapping: Mapping) -> Mapping:
    """Return a mapping as its file contains it, without keys from defaults."""
    return mapping.own if isinstance(mapping, Merged) else mapping


class Sequence:
    """The items of a list."""

    __slots__ = ("end_mark", "items", "start_mark")

    def __init__(self, start_mark: Any) -> None:
        self.start_mark = start_mark
        self.end_mark: Any
        """Set when everything in it is read."""
        self.items: list[Node] = []


def word(node: Node) -> str:
    """Return the text of a scalar; an empty text for a list, a mapping, or an alias."""
    return node.value if isinstance(node, ScalarEvent) else ""


def is_empty(node: Node) -> bool:
    """Return whether nothing is written: a key without a value has such a scalar."""
    return isinstance(node, ScalarEvent) and not node.value and not node.style


class Alias:
    """A reference to an anchored node; `target` is never itself an alias."""

    __slots__ = ("end_mark", "start_mark", "target")

    def __init__(self, event: AliasEvent, target: Content) -> None:
        self.start_mark = event.start_mark
        self.end_mark = event.end_mark
        self.target = target


Content = ScalarEvent | Mapping | Sequence
"""A node as written.

A scalar is its event: nothing is copied, and its marks are read only if they are needed.
"""

Node = Content | Alias


def span_of(marked: Any) -> Span:
    """Return the span of an event or a node."""
    start, end = marked.start_mark, marked.end_mark
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


@lru_cache(maxsize=2)
def lines_of(text: str) -> list[str]:
    """Return the lines of `text` as YAML counts them. The cache serves files with many findings."""
    return re.split("\r\n|[\r\n]", text)
