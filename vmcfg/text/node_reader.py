"""Events to nodes: what PyYAML's parsers give, made into a tree, and what is wrong with it.

Every key and value keeps its event, and with it its place and its own text. Aliases are resolved
and their multiplication is bounded.
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
"""How many mappings and lists may stand inside each other."""

MOST_NODES = 100_000
"""How many nodes a document may have with its aliases written out."""

NodeEvent = AliasEvent | ScalarEvent | MappingStartEvent | SequenceStartEvent
"""An event with which a node begins."""


class Stop(Exception):
    """Reading can't go on: the finding about it has been noted."""


class Notes:
    """The VMC10x findings of one file, as diagnostics."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.diagnostics: list[Diagnostic] = []

    def note(
        self, rule: Rule, finding: Finding, span: Span, related: tuple[tuple[Span, str], ...] = ()
    ) -> None:
        """Note a finding, placed at `span` and at the pointer of its path."""
        place = Position(span, pointer(finding.path))
        others = [(Position(other, ""), words) for other, words in related]
        self.diagnostics.append(diagnose(self.file, rule, finding, place, others))

    def stop(self, rule: Rule, finding: Finding, span: Span) -> Stop:
        """Note a finding after which reading can't go on; the exception to raise."""
        self.note(rule, finding, span)
        return Stop()


class NodeReader:
    """Reads nodes from `get`, which gives the next event.

    Recursion is as deep as the document, so at most `DEEPEST`.
    """

    def __init__(self, get: Callable[[], Any], notes: Notes) -> None:
        self.get = get
        self.notes = notes
        self.anchors: dict[str, Content | None] = {}
        """By name; None while the anchored node is still being read."""
        self.sizes: dict[int, int] = {}
        """How many nodes a mapping or list stands for, by its Python id."""
        self.aliased = 0
        """How many nodes all aliases so far stand for."""

    def node(self, event: NodeEvent, path: Path, depth: int) -> Node:
        """The node that begins with `event`."""
        if isinstance(event, AliasEvent):
            return self.alias(event, path)
        if event.tag is not None:
            message = (
                f"the tag '{excerpt(event.tag)}' is not wanted: fields have types of their own"
            )
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
        """The scalar, mapping or list that begins with `event`."""
        if isinstance(event, ScalarEvent):
            return event
        if depth == DEEPEST:
            message = f"nesting goes more than {DEEPEST} deep"
            raise self.notes.stop(BOUNDED, Finding(path, message), span_of(event))
        if isinstance(event, MappingStartEvent):
            return self.mapping(event, path, depth + 1)
        return self.sequence(event, path, depth + 1)

    def mapping(self, event: MappingStartEvent, path: Path, depth: int) -> Mapping:
        """The mapping that begins with `event`, read to its end."""
        get = self.get
        mapping = Mapping(event.start_mark)
        keys, values = mapping.keys, mapping.values
        while True:
            key = get()
            if not isinstance(key, ScalarEvent):
                if isinstance(key, MappingEndEvent):
                    break
                raise self.not_a_word(key, path)
            if key.tag is not None or key.anchor is not None:
                self.node(key, path, depth)
            name = key.value
            value = get()
            # Most values are scalars without tag and anchor, and need no call.
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
        """The list that begins with `event`, read to its end."""
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
        """The alias that `event` is; its target came before it and does not contain it."""
        name: str = event.anchor  # type: ignore[assignment]  # an alias always has one
        target = self.anchors.get(name)
        if target is None:
            message, hint = self.why_not(name)
            raise self.notes.stop(ALIAS, Finding(path, message, hint), span_of(event))
        self.aliased += self.size(target)
        if self.aliased > MOST_NODES:
            message = (
                f"aliases multiply: written out, the document has more than {MOST_NODES:,} nodes"
            )
            raise self.notes.stop(BOUNDED, Finding(path, message), span_of(event))
        return Alias(event, target)

    def why_not(self, name: str) -> tuple[str, str | None]:
        """Why an alias of this name stands for nothing, and a hint."""
        if name in self.anchors:
            return f"the alias *{excerpt(name)} stands inside its own anchor", None
        known = sorted(each for each, content in self.anchors.items() if content is not None)
        hint = f"anchors so far: {excerpt(', '.join(known))}" if known else None
        return f"no anchor &{excerpt(name)} comes before the alias *{excerpt(name)}", hint

    def size(self, node: Node) -> int:
        """How many nodes `node` stands for, aliases written out."""
        content = node.target if isinstance(node, Alias) else node
        if isinstance(content, ScalarEvent):
            return 1
        known = self.sizes.get(id(content))
        if known is None:
            inner = content.values.values() if isinstance(content, Mapping) else content.items
            known = self.sizes[id(content)] = 1 + sum(map(self.size, inner))
        return known

    def not_a_word(self, key: NodeEvent, path: Path) -> Stop:
        """Note that something other than a scalar is a key."""
        what = "a list"
        if isinstance(key, AliasEvent):
            what = "an alias"
        elif isinstance(key, MappingStartEvent):
            what = "a mapping"
        message = f"{what} can't be a key: write a word"
        return self.notes.stop(PLAIN_KEY, Finding(path, message), span_of(key))

    def note_merge(self, key: ScalarEvent, path: Path) -> None:
        """Note a merge key."""
        message = "'<<' is not read: YAML 1.2 has no merge keys"
        hint = (
            "pmu.irq gives every vCPU its interrupt; a range (mpidr: 0.0.0.0-3) writes many vCPUs"
            " at once"
        )
        self.notes.note(NO_MERGE, Finding((*path, key.value), message, hint), span_of(key))

    def note_duplicate(self, key: ScalarEvent, first: ScalarEvent, path: Path) -> None:
        """Note that `key` stands in the same mapping as `first`."""
        message = f"the key '{excerpt(key.value)}' stands twice in this mapping"
        finding = Finding((*path, key.value), message, "keep one of the two")
        related = ((span_of(first), "first written here"),)
        self.notes.note(DUPLICATE_KEY, finding, span_of(key), related)
