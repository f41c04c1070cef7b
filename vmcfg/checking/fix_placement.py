"""The positions of fixes: the words themselves, if all uses of them agree on the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vmcfg.description.model import is_users_own
from vmcfg.findings.diagnostic import Fix
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path, Position, Span
from vmcfg.text.nodes import Alias, Content, Mapping, Node, Sequence, lines_of, span_of
from vmcfg.text.tree import Tree

Placed = tuple[Finding, Position]
"""A finding with its position."""

WORD = re.compile(r"""(?:[&!][^ \t]*[ \t]+)*(["']?)([^"'\s]+)\1""")
"""A key or value on one line, with its anchor and tag."""


def certain_fixes(tree: Tree, found: list[Placed]) -> dict[Position, Fix]:
    """Return the fixes of findings in a document and its defaults, by their position without
    aliases.
    """
    fixes: dict[Position, Fix] = {}
    for file in {place.file for _, place in found}:
        here = [each for each in found if each[1].file == file]
        fixes |= _certain_fixes(tree.layer(file), here)
    return fixes


def _certain_fixes(tree: Tree, found: Iterable[Placed]) -> dict[Position, Fix]:
    """Return the fixes of findings in one text by their position without aliases.

    A value that is used through aliases is fixed only if each use of it has a finding with the same
    fix, including the anchor itself if it is read.
    """
    wanted: dict[Position, set[tuple[tuple[Span, ...], str]]] = {}
    paths: dict[Position, tuple[Path, str]] = {}
    for finding, place in found:
        if finding.fix is not None:
            here = place._replace(uses=())
            wanted.setdefault(here, set()).add((place.uses, finding.fix))
            paths[here] = finding.path, finding.on
    contents = {place: _fixed_content(tree, *path) for place, path in paths.items()}
    ways = _ways(tree, {id(content) for content in contents.values()})
    fixes = {}
    for place, by_way in wanted.items():
        texts = {text for _, text in by_way}
        span = _word(tree.text, place.span)
        every_use = ways.get(id(contents[place]), set())
        if len(texts) == 1 and span is not None and every_use == {uses for uses, _ in by_way}:
            fixes[place] = Fix(span, texts.pop())
    return fixes


def _word(text: str, span: Span) -> Span | None:
    """Return the span of the word in `span`, without quotes, anchor, and tag; None if there is no
    single word.
    """
    line = lines_of(text)[span.line - 1]
    match = (
        WORD.fullmatch(line, span.column - 1, span.end_column - 1)
        if span.line == span.end_line
        else None
    )
    return match and Span(span.line, match.start(2) + 1, span.line, match.end(2) + 1)


def _fixed_content(tree: Tree, path: Path, on: str) -> Content:
    """Return the content that a fix changes: the value at `path`, or the mapping of its key."""
    assert tree.root is not None
    return _content(tree.root, path[:-1] if on == "key" else path)


def _ways(tree: Tree, wanted: set[int]) -> dict[int, set[tuple[Span, ...]]]:
    """Return each sequence of aliases that leads to a content, by the Python id of the content;
    an empty sequence without aliases.
    """
    assert tree.root is not None
    ways: dict[int, set[tuple[Span, ...]]] = {}
    waiting: list[tuple[Node, tuple[Span, ...]]] = [(tree.root, ())]
    while waiting:
        node, uses = waiting.pop()
        if isinstance(node, Alias):
            node, uses = node.target, (*uses, span_of(node))
        if id(node) in wanted:
            ways.setdefault(id(node), set()).add(uses)
        if isinstance(node, Mapping):
            for key, inner in node.values.items():
                if not (node is tree.root and is_users_own(key)):
                    waiting.append((inner, uses))
        elif isinstance(node, Sequence):
            waiting += [(inner, uses) for inner in node.items]
    return ways


def _content(root: Mapping, path: Path) -> Content:
    """Return the content at `path`, following aliases."""
    content: Content = root
    for step in path:
        if isinstance(content, Mapping):
            node: Node = content.values[str(step)]
        else:
            assert isinstance(content, Sequence)
            assert isinstance(step, int)
            node = content.items[step]
        content = node.target if isinstance(node, Alias) else node
    return content
