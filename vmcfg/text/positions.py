"""The positions of paths in the text of a document."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import On
from vmcfg.findings.position import WHOLE, Path, Position, Span, pointer
from vmcfg.text.nodes import Alias, Content, Mapping, Node, Sequence, lines_of, span_of


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
        node: Node = self.root
        written: Path = ()
        uses: list[Span] = []
        key = None
        for step in path:
            here, written = self.behind(node, written, uses)
            inner: Node | None = None
            if isinstance(here, Mapping) and isinstance(step, str):
                if step not in here.values and here.keys:
                    key = key or next(iter(here.keys.values()))
                    return Position(span_of(key), pointer(written), tuple(uses))
                inner, key = here.values.get(step), here.keys.get(step)
            elif isinstance(here, Sequence) and isinstance(step, int) and step < len(here.items):
                inner, key = here.items[step], None
            if inner is None:
                # The key remains: vcpus.pmu_irq, without an index, gets the position of key vcpus.
                node = here
                break
            node, written = inner, (*written, step)
        if on == "key" and key is not None:
            return Position(span_of(key), pointer(written), tuple(uses))
        content, written = self.behind(node, written, uses)
        if on == "first key" and isinstance(content, Mapping) and content.keys:
            name, key = next(iter(content.keys.items()))
            return Position(span_of(key), pointer((*written, name)), tuple(uses))
        if not written:
            return Position(WHOLE, "", tuple(uses))
        return Position(self.span_of_value(content), pointer(written), tuple(uses))

    def behind(self, node: Node, written: Path, uses: list[Span]) -> tuple[Content, Path]:
        """Return the content of `node`, which is at `written`, and the path where it is written.

        If `node` is an alias, its span is added to `uses`.
        """
        if not isinstance(node, Alias):
            return node, written
        uses.append(span_of(node))
        if not self.paths:
            self.paths = {id(content): path for path, content in _contents(self.root, ())}
        return node.target, self.paths.get(id(node.target), ())

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
