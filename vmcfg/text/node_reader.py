"""Events to nodes: the events of a PyYAML parser as a tree, and the problems in it.

Every key and value keeps its event, and with it its position and its own text. Aliases are
resolved, and their expansion is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from vmcfg.escape import excerpt
from vmcfg.findings.diagnostic import Diagnostic, diagnose
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path, Position, Span, pointer
from vmcfg.findings.rule import Rule
from vmcfg.text.nodes import Alias, Content, Mapping, Node, Sequence, span_of
from vmcfg.text.rules import ALIAS, BOUNDED, DUPLICATE_KEY, NO_MERGE, NO_TAG, PLAIN_KEY

DEEPEST = 64
"""The maximum nesting of mappings and lists."""

MOST_NODES = 100_000
"""The maximum number of nodes of a document after alias expansion."""

NodeEvent = AliasEvent | ScalarEvent | MappingStartEvent | SequenceStartEvent
"""An event that begins a node."""


class Stop(Exception):
    """Reading cannot continue: the finding about it has been noted."""


class Notes:
    """The VMC10x findings of one file, as diagnostics."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.diagnostics: list[Diagnostic] = []

    def note(
        self, rule: Rule, finding: Finding, span: Span, related: tuple[tuple[Span, str], ...] = ()
    ) -> None:
        """Note a finding at `span` and at the pointer of its path."""
        place = Position(span, pointer(finding.path))
        others = [(Position(other, ""), words) for other, words in related]
        self.diagnostics.append(diagnose(self.file, rule, finding, place, others))

    def stop(self, rule: Rule, finding: Finding, span: Span) -> Stop:
        """Note a finding after which reading cannot continue. Return the exception to raise."""
        self.note(rule, finding, span)
        return Stop()


class NodeReader:
    """Reads nodes from `get`, which returns the next event.

    Recursion is as deep as the document, at most `DEEPEST`.
    """

    def __init__(self, get: Callable[[], Any], notes: Notes) -> None:
        self.get = get
        self.notes = notes
        self.anchors: dict[str, Content | None] = {}
        """By name; None while the anchored node is still being read."""
        self.sizes: dict[int, int] = {}
        """The number of nodes in a mapping or list after alias expansion, by its Python id."""
        self.aliased = 0
        """The number of nodes that all aliases so far refer to."""

    def node(self, event: NodeEvent, path: Path, depth: int) -> Node:
        """Return the node that begins with `event`."""
        if isinstance(event, AliasEvent):
            return self.alias(event, path)
        if event.tag is not None:
            message = f"the tag '{excerpt(event.tag)}' is not allowed"
            self.notes.note(NO_TAG, Finding(path, message, "remove the tag"), span_of(event))
        anchor: str | None = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        content = self.content(event, path, depth)
        if anchor is not None:
            self.anchors[anchor] = content
        return content

    def content(
        self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent, path: Path, depth: int
    ) -> Content:
        """Return the scalar, mapping, or list that begins with `event`."""
        if isinstance(event, ScalarEvent):
            return event
        if depth == DEEPEST:
            message = f"the document is nested more than {DEEPEST} levels deep"
            finding = Finding(path, message, "remove the extra levels of lists or mappings")
            raise self.notes.stop(BOUNDED, finding, span_of(event))
        if isinstance(event, MappingStartEvent):
            return self.mapping(event, path, depth + 1)
        return self.sequence(event, path, depth + 1)

    def mapping(self, event: MappingStartEvent, path: Path, depth: int) -> Mapping:
        """Return the mapping that begins with `event`, read to its end."""
        get = self.get
        mapping = Mapping(event.start_mark)
        keys, values = mapping.keys, mapping.values
        while True:
            key = get()
            if not isinstance(key, ScalarEvent):
                if isinstance(key, MappingEndEvent):
                    break
                raise self.complex_key(key, path)
            if key.tag is not None or key.anchor is not None:
                self.node(key, path, depth)
            name = key.value
            value = get()
            # Most values are scalars without tag and anchor: for these a call would cost too much.
            if (
                not isinstance(value, ScalarEvent)
                or value.anchor is not None
                or value.tag is not None
            ):
                value = self.node(value, (*path, name), depth)
            if name == "<<" and not key.style:
                self.note_merge(key, path)
                continue
            if name in keys:
                self.note_duplicate(key, keys[name], path)
            else:
                keys[name] = key
            values[name] = value
        mapping.end_mark = key.end_mark
        return mapping

    def sequence(self, event: SequenceStartEvent, path: Path, depth: int) -> Sequence:
        """Return the list that begins with `event`, read to its end."""
        get = self.get
        sequence = Sequence(event.start_mark)
        items = sequence.items
        while True:
            item = get()
            if isinstance(item, SequenceEndEvent):
                break
            if not isinstance(item, ScalarEvent) or item.anchor is not None or item.tag is not None:
                item = self.node(item, (*path, len(items)), depth)
            items.append(item)
        sequence.end_mark = item.end_mark
        return sequence

    def alias(self, event: AliasEvent, path: Path) -> Alias:
        """Return the alias of `event`. Its target is before it and does not contain it."""
        name: str = event.anchor  # type: ignore[assignment]  # an alias always has one
        target = self.anchors.get(name)
        if target is None:
            message, hint = self.why_not(name)
            raise self.notes.stop(ALIAS, Finding(path, message, hint), span_of(event))
        self.aliased += self.size(target)
        if self.aliased > MOST_NODES:
            message = f"the document has more than {MOST_NODES} nodes after alias expansion"
            finding = Finding(path, message, "remove aliases of values that contain aliases")
            raise self.notes.stop(BOUNDED, finding, span_of(event))
        return Alias(event, target)

    def why_not(self, name: str) -> tuple[str, str | None]:
        """Return why an alias of this name has no target, and a hint."""
        if name in self.anchors:
            message = f"alias '*{excerpt(name)}' refers to the value that contains it"
            return message, "remove the alias"
        message = f"no anchor '&{excerpt(name)}' is defined before alias '*{excerpt(name)}'"
        known = sorted(each for each, content in self.anchors.items() if content is not None)
        if not known:
            return message, "write the value here instead of the alias"
        defined = excerpt(", ".join(f"*{each}" for each in known))
        return message, f"use an alias whose anchor is defined: {defined}"

    def size(self, node: Node) -> int:
        """Return the number of nodes in `node` after alias expansion."""
        content = node.target if isinstance(node, Alias) else node
        if isinstance(content, ScalarEvent):
            return 1
        known = self.sizes.get(id(content))
        if known is None:
            inner = content.values.values() if isinstance(content, Mapping) else content.items
            known = self.sizes[id(content)] = 1 + sum(map(self.size, inner))
        return known

    def complex_key(self, key: NodeEvent, path: Path) -> Stop:
        """Note that a key is not a scalar."""
        what = "a list"
        if isinstance(key, AliasEvent):
            what = "an alias"
        elif isinstance(key, MappingStartEvent):
            what = "a mapping"
        hint = "write the name of a key"
        if what == "a mapping":
            hint += "; if '{{ ... }}' is from a template, check the file that the template produces"
        finding = Finding(path, f"{what} cannot be a key", hint)
        return self.notes.stop(PLAIN_KEY, finding, span_of(key))

    def note_merge(self, key: ScalarEvent, path: Path) -> None:
        """Note a merge key."""
        message = "the merge key '<<' is not allowed: YAML 1.2 does not define it"
        hint = "write the keys here; 'pmu: {irq: ...}' sets the interrupt of every vCPU"
        self.notes.note(NO_MERGE, Finding((*path, key.value), message, hint), span_of(key))

    def note_duplicate(self, key: ScalarEvent, first: ScalarEvent, path: Path) -> None:
        """Note that `key` is in the same mapping as `first`."""
        message = f"duplicate key '{excerpt(key.value)}'"
        finding = Finding((*path, key.value), message, "remove one of the two")
        related = ((span_of(first), "first use"),)
        self.notes.note(DUPLICATE_KEY, finding, span_of(key), related)
