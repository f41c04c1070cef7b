"""Keys in a column where they do not belong, and items that a '-' splits: what the lines show."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Any

from vmcfg.description.model import Description, Either, Field, Kind, ListOf, fields, required
from vmcfg.findings.position import Path
from vmcfg.text.nodes import Alias, Content, Mapping, Node, Sequence, is_empty, span_of

INDENTATION = 2
"""The number of columns by which a key is indented if no line shows another number."""


class Owner:
    """The key of a mapping under which another key of it was meant, and the `column` for it.

    If `begins_item`, the other key is the first one of a new item there.
    """

    __slots__ = ("begins_item", "column", "name")

    def __init__(self, name: str, column: int, begins_item: bool = False) -> None:
        self.name = name
        self.column = column
        self.begins_item = begins_item


def owners(node: Mapping, known: MappingType[str, Field]) -> dict[str, Owner]:
    """Return the unknown keys of `node` that were probably meant under the key above them.

    That is the last known key before, it has the unknown key among its own keys, and its value is
    empty or consists of indented lines without that key.
    """
    found: dict[str, Owner] = {}
    above = previous = None
    for key in node.values:
        if key in known:
            above = key
        elif above is not None:
            owner = _owner(above, key, node, known[above].kind, previous == above)
            if owner is not None:
                found[key] = owner
                previous = above
    return found


def _owner(above: str, key: str, node: Mapping, kind: Kind, begun: bool) -> Owner | None:
    """Return the known key `above` of `node` as the owner of the unknown `key`, if it is that.

    If it is a list without items, the first unknown key begins one, so that the next one is in an
    item that has `begun`.
    """
    full = kind.full if isinstance(kind, Either) else kind
    is_list = isinstance(full, ListOf)
    mapping = full.item if isinstance(full, ListOf) else full
    if not isinstance(mapping, type) or key not in fields(mapping):
        return None
    value = node.values[above]
    if is_empty(value):
        column = span_of(node.keys[above]).column + INDENTATION
        if is_list and begun:
            column += len("- ")
        return Owner(above, column, begins_item=is_list and not begun)
    last = value.items[-1] if isinstance(value, Sequence) and value.items else value
    if not isinstance(last, Mapping) or key in last.values:
        return None
    place = column_of(last)
    return None if place is None else Owner(above, place)


def lacks_its_lines(path: Path, root: Mapping, key: str | None = None) -> bool:
    """Return whether the mapping at `path` lacks `key`, or everything, because that is below it
    without indentation.
    """
    if not path or len(path) > 2:
        return False  # such lines belong to another mapping than the document
    section, *item = path
    items = content_at(root, path[:1])
    if item and isinstance(items, Sequence) and item != [len(items.items) - 1]:
        return False
    found = owners(root, fields(Description))
    return any(owner.name == section for name, owner in found.items() if key in (None, name))


def continued_by(path: Path, root: Mapping, key: str, kind: type[Any]) -> int:
    """Return where the missing `key` of the item at `path` is, if a '-' too many separates the two:
    -1 for the item above, 1 for the item below, or 0.
    """
    if not path or not isinstance(path[-1], int):
        return 0
    here = _keys_in_lines(root, path)
    above = _keys_in_lines(root, (*path[:-1], path[-1] - 1))
    below = _keys_in_lines(root, (*path[:-1], path[-1] + 1))
    if key in above and _continues(here, above, kind):
        return -1
    return 1 if key in below and _continues(below, here, kind) else 0


def _keys_in_lines(root: Mapping, path: Path) -> set[str]:
    """Return the keys of the mapping at `path`; none if it is something else or in braces."""
    item = content_at(root, path)
    return set(item.values) if isinstance(item, Mapping) and _is_block(item) else set()


def _continues(below: set[str], above: set[str], kind: type[Any]) -> bool:
    """Return whether an item with the keys `below` is the rest of the one with the keys `above`."""
    is_complete = set(required(kind)) <= below
    return bool(below and above) and not is_complete and below.isdisjoint(above)


def content_at(root: Mapping, path: Path) -> Content | None:
    """Return the content of the node at `path`; None if there is nothing."""
    node: Node = root
    for step in path:
        here = node.target if isinstance(node, Alias) else node
        if isinstance(here, Mapping) and isinstance(step, str) and step in here.values:
            node = here.values[step]
        elif isinstance(here, Sequence) and isinstance(step, int) and 0 <= step < len(here.items):
            node = here.items[step]
        else:
            return None
    return node.target if isinstance(node, Alias) else node


def column_of(mapping: Mapping) -> int | None:
    """Return the column of the keys of a mapping in lines; None for one in braces."""
    return span_of(mapping).column if _is_block(mapping) else None


def _is_block(mapping: Mapping) -> bool:
    """Return whether a mapping is written in lines, without braces."""
    first = next(iter(mapping.keys.values()), None)
    if first is None:
        return False
    return span_of(first)[:2] == span_of(mapping)[:2]
