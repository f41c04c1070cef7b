"""The positions of paths in the text of a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from vmcfg.findings.finding import On
from vmcfg.findings.position import WHOLE, Path, Position, Span, Start, pointer
from vmcfg.text.nodes import Alias, Content, Mapping, Node, Sequence, lines_of, span_of


class _Found(NamedTuple):
    """What is at a path: a key, a value, or None for the whole document, with the path where it is
    written, and the aliases on the way.
    """

    marked: Content | None
    written: Path
    uses: tuple[Span, ...]
    is_value: bool


class Positions:
    """The positions in one document: `root` is its mapping, read from `text`."""

    def __init__(self, root: Mapping, text: str) -> None:
        self.root = root
        self.text = text
        self.paths: dict[int, Path] = {}
        """The path where each node is written, by its Python id; filled at the first alias."""

    def position(self, path: Path, on: On) -> Position:
        """Return the position of `path`. The target of an alias has the position of its anchor.

        If `path` leads to nothing, the position is that of the last node on it that exists. Of a
        mapping without the next key, it is its own key, under which that key can be added; of a
        mapping without a key, such as the whole document, the first key in it.
        """
        found = self._found(path, on)
        if found.marked is None:
            return Position(WHOLE, "", found.uses)
        span = self.span_of_value(found.marked) if found.is_value else span_of(found.marked)
        return Position(span, pointer(found.written), found.uses)

    def start(self, path: Path) -> Start:
        """Return where the value of `path` begins, as `position` does."""
        node = self._without_alias(path)
        if node is None:
            place = self.position(path, "value")
            return Start(place.pointer, place.span.line, place.span.column)
        mark = node.start_mark
        return Start(pointer(path), mark.line + 1, mark.column + 1)

    def _without_alias(self, path: Path) -> Any:
        """Return the node at `path`; None if there is none, or an alias on the way."""
        node: Any = self.root
        try:
            for step in path:
                node = node.values[step] if isinstance(step, str) else node.items[step]
        except (AttributeError, LookupError):
            return None
        return None if isinstance(node, Alias) or not path else node

    def _found(self, path: Path, on: On) -> _Found:
        node: Node = self.root
        written: Path = ()
        uses: list[Span] = []
        key: Content | None = None
        for step in path:
            here: Content
            if isinstance(node, Alias):
                here, written = self.behind(node, uses)
            else:
                here = node
            inner: Node | None = None
            if isinstance(here, Mapping) and isinstance(step, str):
                if step not in here.values and here.keys:
                    key = key or next(iter(here.keys.values()))
                    return _Found(key, written, tuple(uses), is_value=False)
                inner, key = here.values.get(step), here.keys.get(step)
            elif isinstance(here, Sequence) and isinstance(step, int) and step < len(here.items):
                inner, key = here.items[step], None
            if inner is None:
                # The key remains: vcpus.pmu_irq, without an index, gets the position of key vcpus.
                node = here
                break
            node, written = inner, (*written, step)
        if on == "key" and key is not None:
            return _Found(key, written, tuple(uses), is_value=False)
        content: Content
        if isinstance(node, Alias):
            content, written = self.behind(node, uses)
        else:
            content = node
        if on == "first key" and isinstance(content, Mapping) and content.keys:
            name, key = next(iter(content.keys.items()))
            return _Found(key, (*written, name), tuple(uses), is_value=False)
        if not written:
            return _Found(None, (), tuple(uses), is_value=True)
        return _Found(content, written, tuple(uses), is_value=True)

    def behind(self, alias: Alias, uses: list[Span]) -> tuple[Content, Path]:
        """Return the content behind `alias` and the path where that is written.

        The span of the alias is added to `uses`.
        """
        uses.append(span_of(alias))
        if not self.paths:
            self.paths = {id(content): path for path, content in _contents(self.root, ())}
        return alias.target, self.paths.get(id(alias.target), ())

    def span_of_value(self, node: Content) -> Span:
        """Return the span of a value; a collection in block style ends with its last value.

        For the parser, such a collection ends where the next key begins, some lines below.
        """
        span = span_of(node)
        end = span_of(_last_value(node, span.line))
        end_line, end_column = end.end_line, end.end_column
        if end_column == 1 and end_line > end.line:
            # A block scalar also ends where the next line begins.
            end_line -= 1
            end_column = len(lines_of(self.text)[end_line - 1]) + 1
        elif isinstance(node, (Mapping, Sequence)):
            # At the end of a text without line feed, parsers differ about spaces after the last
            # value.
            before = lines_of(self.text)[end_line - 1][: end_column - 1]
            end_column = len(before.rstrip(" \t")) + 1
        return span._replace(end_line=end_line, end_column=end_column)


def _last_value(node: Node, first_line: int) -> Node:
    """Return the last value in `node`; `node` itself if it is empty or ends on that line."""
    while isinstance(node, (Mapping, Sequence)):
        is_on_first_line = node.end_mark.column != 0 and span_of(node).end_line == first_line
        inner = node.values.values() if isinstance(node, Mapping) else node.items
        if is_on_first_line or not inner:
            break
        node = next(reversed(inner))
    return node


def _contents(node: Node, path: Path) -> Iterator[tuple[Path, Content]]:
    """Every node under `node` where it is written, each with its path."""
    if isinstance(node, Alias):
        return
    yield path, node
    if isinstance(node, Mapping):
        for name, inner in node.values.items():
            yield from _contents(inner, (*path, name))
    elif isinstance(node, Sequence):
        for index, inner in enumerate(node.items):
            yield from _contents(inner, (*path, index))
