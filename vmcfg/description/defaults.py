"""Defaults: a description without `name` and `vcpus`, whose keys hold where a description has none.

A mapping of fixed keys is merged with that of the description, key by key. Lists and single values
are never merged.
"""

from __future__ import annotations

from typing import Any

from vmcfg.description.half_read import UNREAD, Unread
from vmcfg.description.model import Description, Either, Field, fields
from vmcfg.description.reading import Walk
from vmcfg.description.rules import VM_KEY_IN_DEFAULTS
from vmcfg.findings.finding import Found
from vmcfg.findings.position import Path
from vmcfg.text.nodes import Alias, Content, Mapping, Merged, Node

OF_ONE_VM = ("name", "vcpus")
"""The keys that only a description has."""

OF_EACH_FILE = ("vmcfg", *OF_ONE_VM)
"""The keys that no description gets from its defaults."""


def read_defaults(root: Mapping) -> list[Found]:
    """Return every VMC1xx finding about the defaults in a document."""
    walk = WalkOfDefaults(root)
    walk.mapping(root, Description, ())
    for key in OF_ONE_VM:
        if key in root.values:
            message = f"'{key}' is not allowed in defaults: every VM has its own"
            hint = f"move '{key}' to each description"
            walk.misfit(VM_KEY_IN_DEFAULTS, (key,), message, hint, "key")
    return walk.found


class WalkOfDefaults(Walk):
    """A walk over a part of a description: a key that is missing can be in the other part."""

    def missing(self, key: str, kind: type[Any], path: Path) -> Unread:
        """Note that a key is missing that no other file can have."""
        is_in_list = any(isinstance(step, int) for step in path)
        return super().missing(key, kind, path) if is_in_list or key == "vmcfg" else UNREAD


class WalkOverUnreadDefaults(WalkOfDefaults):
    """A walk over a description whose defaults have findings, which may explain missing keys."""

    def missing(self, key: str, kind: type[Any], path: Path) -> Unread:
        """Note that a key is missing that defaults cannot have."""
        is_own = kind is Description and key in OF_ONE_VM
        return Walk.missing(self, key, kind, path) if is_own else super().missing(key, kind, path)


def merged(root: Mapping, defaults: Mapping) -> Mapping:
    """Return the root of a description with the keys of `defaults` that it does not have."""
    usable = {key: field for key, field in fields(Description).items() if key not in OF_EACH_FILE}
    return _merged(root, defaults, usable)


def _merged(own: Mapping, defaults: Mapping, known: dict[str, Field]) -> Mapping:
    both = Merged(own)
    for key, node in defaults.values.items():
        if key not in known:
            continue
        if key not in own.values:
            both.keys[key] = defaults.keys[key]
            both.values[key] = node
            continue
        kind = known[key].kind
        full = kind.full if isinstance(kind, Either) else kind
        upper, lower = _content(own.values[key]), _content(node)
        if isinstance(full, type) and isinstance(upper, Mapping) and isinstance(lower, Mapping):
            both.values[key] = _merged(upper, lower, fields(full))
    return both


def _content(node: Node) -> Content:
    return node.target if isinstance(node, Alias) else node
