"""Bytes to nodes: YAML read event by event, so that every key and value keeps its place and its own text.

What comes before: a file's bytes. What this stage guarantees: one mapping at the root, UTF-8, no duplicate keys, no
tags, no merge keys, every alias resolved and their multiplication bounded; or findings that say what is in the way.
Next: `decode`.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from vmcfg.escape import excerpt
from vmcfg.findings.diagnostic import Diagnostic, diagnose
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import WHOLE, Path, Position, Span, pointer
from vmcfg.findings.rule import Rule
from vmcfg.text.nodes import Alias, Content, Mapping, Node, Sequence, _contents, lines_of, span_of
from vmcfg.text.rules import (
    ALIAS,
    BOUNDED,
    DUPLICATE_KEY,
    ENCODING,
    NO_MERGE,
    NO_TAG,
    ONE_DOCUMENT,
    PLAIN_KEY,
    SYNTAX,
)

DEEPEST = 64

MOST_NODES = 100_000


class _Stop(Exception):
    """Reading can't go on: the finding about it has been noted."""


def _fastest_parser() -> type[Any]:
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return CParser
    from vmcfg.text.pure_parser import PurePythonParser

    return PurePythonParser


FASTEST_PARSER = _fastest_parser()


class Tree:
    """A document read: `root` is its mapping, or None where there is none; `diagnostics` are all VMC10x findings."""

    def __init__(self, file: str, data: bytes, parser: type[Any] = FASTEST_PARSER) -> None:
        self.file = file
        self.text = ""
        self.root: Mapping | None = None
        self.diagnostics: list[Diagnostic] = []
        self._written: dict[int, Path] | None = None
        try:
            self._decode(data)
            self.root = self._document(parser)
        except _Stop:
            pass

    # Reading ---------------------------------------------------------------------------------------------------------

    def note(
        self, rule: Rule, finding: Finding, span: Span, related: tuple[tuple[Span, str], ...] = ()
    ) -> None:
        place = Position(span, pointer(finding.path))
        others = [(Position(other, ""), words) for other, words in related]
        self.diagnostics.append(diagnose(self.file, rule, finding, place, others))

    def stop(self, rule: Rule, finding: Finding, span: Span) -> _Stop:
        self.note(rule, finding, span)
        return _Stop()

    def _decode(self, data: bytes) -> None:
        data = data.removeprefix(BOM_UTF8)
        try:
            self.text = text = data.decode()
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8", "replace")
            hint = "save the file as UTF-8"
            if data.startswith((b"\xff\xfe", b"\xfe\xff")):
                hint += "; this looks like UTF-16"
            else:
                # What can be read is shown around the place.
                self.text = data.decode("utf-8", "replace")
            message = f"byte 0x{data[error.start]:02x} is not UTF-8"
            raise self.stop(ENCODING, Finding((), message, hint), _at_end_of(before)) from None
        if not text.isascii():
            self._refuse_characters(
                text,
                "[\x85\u2028\u2029]",
                "editors don't count this as the end of a line, but YAML does",
            )
            self._refuse_characters(
                text,
                "\ufeff",
                "a byte order mark stands at the start of a file or nowhere",
                "delete it",
            )

    def _refuse_characters(
        self, text: str, characters: str, why: str, hint: str | None = None
    ) -> None:
        found = re.search(characters, text)
        if found:
            message = f"U+{ord(found[0]):04X} may not stand in a description: {why}"
            hint = hint or f'between double quotes, write it as an escape: "\\u{ord(found[0]):04x}"'
            raise self.stop(ENCODING, Finding((), message, hint), _at_end_of(text[: found.start()]))

    def _document(self, parser: type[Any]) -> Mapping | None:
        root: Mapping | None = None
        try:
            # Each parser reads its stream when it is made, so this too may find that the text is not YAML.
            get: Callable[[], Event] = parser(self.text).get_event
            get()
            start = get()
            if isinstance(start, StreamEndEvent):
                hint = "vmcfg example prints one to begin with"
                raise self.stop(
                    ONE_DOCUMENT,
                    Finding((), "there is no description here: the file is empty", hint),
                    WHOLE,
                )
            node = _Reader(self, get).node(get(), (), 0)
            get()
            more = get()
            if isinstance(more, DocumentStartEvent):
                message = "a second document begins here: a file describes one VM"
                hint = "remove this line, or write the second VM to a file of its own"
                self.note(ONE_DOCUMENT, Finding((), message, hint), span_of(more))
            if isinstance(node, Mapping):
                root = node
            elif isinstance(node, ScalarEvent) and not node.value and not node.style:
                hint = "vmcfg example prints one to begin with"
                self.note(
                    ONE_DOCUMENT,
                    Finding((), "there is no description here: the document is empty", hint),
                    WHOLE,
                )
            else:
                kind = "a list" if isinstance(node, Sequence) else "a single value"
                message = f"the document is {kind}; a description is a mapping that begins with 'vmcfg: 1'"
                unspaced = (
                    isinstance(node, ScalarEvent)
                    and not node.style
                    and re.match(r"\w+:\S", node.value)
                )
                advice = "a space belongs after each colon: 'vmcfg: 1'" if unspaced else None
                self.note(ONE_DOCUMENT, Finding((), message, advice), WHOLE)
        except yaml.reader.ReaderError:
            self._refuse_characters(
                self.text,
                "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]",
                "it is a control character",
            )
            raise self.stop(SYNTAX, Finding((), "the text is not YAML"), WHOLE) from None
        except yaml.MarkedYAMLError as error:
            raise self.stop(*_syntax_error(error, self.text)) from None
        return root

    # Where things stand ----------------------------------------------------------------------------------------------

    def position(self, path: Path, on: str = "value") -> Position:
        """Where `path` stands. What lies behind an alias is placed where it is written.

        A path that goes on beyond what is written comes down to the last node that exists. `on` is "value", "key",
        or "first key" of the mapping at `path`.
        """
        node: Node = self.root if self.root is not None else Mapping(None)
        written: Path = ()
        uses: list[Span] = []
        key: ScalarEvent | None = None
        for step in path:
            if isinstance(node, Alias):
                node, written = self._behind(node, uses)
            inner: Node | None = None
            if isinstance(node, Mapping) and isinstance(step, str):
                inner, key = node.values.get(step), node.keys.get(step)
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                inner, key = node.items[step], None
            if inner is None:
                break
            node, written = inner, (*written, step)
        if on == "key" and key is not None:
            return Position(span_of(key), pointer(written), tuple(uses))
        if isinstance(node, Alias):
            node, written = self._behind(node, uses)
        if on == "first key" and isinstance(node, Mapping) and node.keys:
            name, key = next(iter(node.keys.items()))
            return Position(span_of(key), pointer((*written, name)), tuple(uses))
        if not written:
            return Position(WHOLE, "", tuple(uses))
        return Position(self._clipped(node), pointer(written), tuple(uses))

    def _behind(self, alias: Alias, uses: list[Span]) -> tuple[Content, Path]:
        """What an alias stands for, and where that is written; its use is noted."""
        uses.append(span_of(alias))
        return alias.target, self._path_of(alias.target)

    def _path_of(self, content: Content) -> Path:
        """The path at which an anchored node is written."""
        if self._written is None:
            self._written = {}
            if self.root is not None:
                self._written.update((id(node), path) for path, node in _contents(self.root, ()))
        return self._written.get(id(content), ())

    def _clipped(self, node: Content) -> Span:
        """The span of a value; of a collection in block style, up to the end of its last value."""
        span = span_of(node)
        last: Node = node
        while not isinstance(last, (ScalarEvent, Alias)):
            inner = list(last.values.values()) if isinstance(last, Mapping) else last.items
            if not inner or (last.end_mark.column != 0 and span_of(last).end_line == span.line):
                break
            last = inner[-1]
        end = span if last is node else span_of(last)
        if end.end_column == 1 and end.end_line > end.line:
            # A block scalar ends where the next line begins.
            lines = lines_of(self.text)
            return span._replace(
                end_line=end.end_line - 1, end_column=len(lines[end.end_line - 2]) + 1
            )
        return (
            span
            if last is node
            else span._replace(end_line=end.end_line, end_column=end.end_column)
        )


class _Reader:
    """One document's events, made into nodes. Recursion is as deep as the document, so at most `DEEPEST`."""

    def __init__(self, tree: Tree, get: Callable[[], Event]) -> None:
        self.tree = tree
        self.get = get
        self.anchors: dict[str, Content | None] = {}
        self.sizes: dict[int, int] = {}
        self.aliased = 0

    def node(self, event: Event, path: Path, depth: int) -> Node:
        """The node that begins with `event`."""
        if isinstance(event, AliasEvent):
            return self.alias(event, path)
        if event.tag is not None:  # type: ignore[attr-defined]  # the remaining three events have tags and anchors
            message = (
                f"the tag '{excerpt(event.tag)}' is not wanted: fields have types of their own"  # type: ignore[attr-defined]
            )
            self.tree.note(NO_TAG, Finding(path, message, "remove the tag"), span_of(event))
        anchor = event.anchor  # type: ignore[attr-defined]
        if anchor is not None:
            self.anchors[anchor] = None
        content: Content
        if isinstance(event, ScalarEvent):
            content = event
        elif depth == DEEPEST:
            message = f"nesting goes more than {DEEPEST} deep"
            raise self.tree.stop(BOUNDED, Finding(path, message), span_of(event))
        elif isinstance(event, MappingStartEvent):
            content = self.mapping(event, path, depth + 1)
        else:
            content = self.sequence(event, path, depth + 1)
        if anchor is not None:
            self.anchors[anchor] = content
        return content

    def mapping(self, event: Event, path: Path, depth: int) -> Mapping:
        get = self.get
        mapping = Mapping(event.start_mark)
        keys, values = mapping.keys, mapping.values
        while True:
            key = get()
            if not isinstance(key, ScalarEvent):
                if isinstance(key, MappingEndEvent):
                    break
                what = (
                    "an alias"
                    if isinstance(key, AliasEvent)
                    else "a mapping"
                    if isinstance(key, MappingStartEvent)
                    else "a list"
                )
                raise self.tree.stop(
                    PLAIN_KEY, Finding(path, f"{what} can't be a key: write a word"), span_of(key)
                )
            elif key.tag is not None or key.anchor is not None:
                self.node(key, path, depth)
            name = key.value
            value: Any = get()
            if (
                not isinstance(value, ScalarEvent)
                or value.anchor is not None
                or value.tag is not None
            ):
                value = self.node(value, (*path, name), depth)
            if name == "<<" and not key.style:
                message = "'<<' is not read: YAML 1.2 has no merge keys"
                hint = "pmu.irq gives every vCPU its interrupt; a range (mpidr: 0.0.0.0-3) writes many vCPUs at once"
                self.tree.note(NO_MERGE, Finding((*path, name), message, hint), span_of(key))
                continue
            if name in keys:
                message = f"the key '{excerpt(name)}' stands twice in this mapping"
                first = ((span_of(keys[name]), "first written here"),)
                finding = Finding((*path, name), message, "keep one of the two")
                self.tree.note(DUPLICATE_KEY, finding, span_of(key), first)
            else:
                keys[name] = key
            values[name] = value
        mapping.end_mark = key.end_mark
        return mapping

    def sequence(self, event: Event, path: Path, depth: int) -> Sequence:
        get = self.get
        sequence = Sequence(event.start_mark)
        items = sequence.items
        while True:
            item: Any = get()
            if isinstance(item, SequenceEndEvent):
                break
            if not isinstance(item, ScalarEvent) or item.anchor is not None or item.tag is not None:
                item = self.node(item, (*path, len(items)), depth)
            items.append(item)
        sequence.end_mark = item.end_mark
        return sequence

    def alias(self, event: AliasEvent, path: Path) -> Node:
        name: str = event.anchor  # type: ignore[assignment]  # an alias always has one
        target = self.anchors.get(name)
        if target is None:
            message = (
                f"the alias *{excerpt(name)} stands inside its own anchor"
                if name in self.anchors
                else f"no anchor &{excerpt(name)} comes before the alias *{excerpt(name)}"
            )
            known = sorted(each for each, content in self.anchors.items() if content is not None)
            hint = (
                f"anchors so far: {excerpt(', '.join(known))}"
                if known and name not in self.anchors
                else None
            )
            raise self.tree.stop(ALIAS, Finding(path, message, hint), span_of(event))
        self.aliased += self.size(target)
        if self.aliased > MOST_NODES:
            message = (
                f"aliases multiply: written out, the document has more than {MOST_NODES:,} nodes"
            )
            raise self.tree.stop(BOUNDED, Finding(path, message), span_of(event))
        return Alias(event, target)

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


def _at_end_of(text: str) -> Span:
    lines = lines_of(text)
    line, column = len(lines), len(lines[-1]) + 1
    return Span(line, column, line, column + 1)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> tuple[Rule, Finding, Span]:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    # libyaml counts a line more where a text ends without a line break.
    span = min(Span(line, column, line, column + 1), _at_end_of(text))
    problem = excerpt(error.problem or "unreadable", 120)
    hint = None
    here = lines_of(text)[span.line - 1]
    spaced = re.search(r"\b(ppi|spi): +([0-9]+)", here)
    if spaced and "mapping values" in (error.problem or ""):
        hint = f"no space belongs after the colon: {spaced[1]}:{spaced[2]}"
    elif "\t" in here[: span.column]:
        hint = "YAML is indented with spaces, not tabs"
    elif error.context and error.context_mark and error.context_mark.line + 1 != span.line:
        hint = f"{excerpt(error.context, 120)} that begins in line {error.context_mark.line + 1}"
    return SYNTAX, Finding((), f"the text is not YAML: {problem}", hint), span
