"""From nodes to a `Description`: one walk over the model that collects everything invalid.

In: the nodes of `text`, which are bounded and have unique keys. Without a finding, every value has
the type of its key. Rules check several values together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yaml.events import ScalarEvent

from vmcfg.description.half_read import UNREAD, HalfRead, Unread
from vmcfg.description.kinds import Misfit, ScalarKind
from vmcfg.description.model import (
    Description,
    Either,
    Field,
    Kind,
    ListOf,
    fields,
    is_users_own,
    required,
)
from vmcfg.description.rules import KIND, MISSING_KEY, TEXT, UNKNOWN_KEY
from vmcfg.escape import excerpt
from vmcfg.findings.finding import Finding, Found, On
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Rule
from vmcfg.text.nodes import Alias, Mapping, Node, Sequence, as_written, is_empty, word


def read_description(
    root: Mapping, walk_of: Callable[[Mapping], Walk] | None = None
) -> tuple[Description | HalfRead, list[Found]]:
    """Return the description in a document, and every VMC1xx finding about it.

    `walk_of` replaces `Walk`, for another opinion about missing keys.
    """
    walk = (walk_of or Walk)(as_written(root))
    description = walk.mapping(root, Description, ())
    assert not isinstance(description, Unread)
    return description, walk.found


class Walk:
    """One walk over a document whose mapping, as written, is `root`: `found` are its findings."""

    def __init__(self, root: Mapping) -> None:
        self.root = root
        self.found: list[Found] = []

    def named(self, path: Path) -> str:
        """Return the words for the value at `path`; a value of a vCPU is named with its MPIDR."""
        last = path[-1]
        dotted = ".".join(step for step in path if isinstance(step, str))
        mpidr = _mpidr_of(self.root, path) if path[0] == "vcpus" and len(path) > 1 else None
        if isinstance(last, int):
            return f"vCPU {mpidr}" if mpidr else f"an item of '{dotted}'"
        if mpidr and last != "mpidr":
            return f"'{last}' of vCPU {mpidr}"
        return f"'{dotted}'"

    def misfit(
        self,
        rule: Rule,
        path: Path,
        message: str,
        hint: str | None = None,
        on: On = "value",
        fix: str | None = None,
    ) -> Unread:
        """Note a finding. Return `UNREAD`, which replaces the value that it is about."""
        self.found.append((rule, Finding(path, message, hint, on, fix=fix)))
        return UNREAD

    def value(self, node: Node, kind: Kind, path: Path) -> Any:
        """Return the value of `node`, read as `kind`."""
        if isinstance(node, Alias):
            node = node.target
        if isinstance(kind, ScalarKind):
            if isinstance(node, ScalarEvent):
                return self.scalar(node, kind, path)
            return self.no_scalar(node, path)
        if isinstance(kind, Either):
            if isinstance(node, ScalarEvent):
                return self.short(node, kind, path)
            kind = kind.full
        if isinstance(kind, ListOf):
            return self.items(node, kind, path)
        return self.mapping(node, kind, path)

    def no_scalar(self, node: Mapping | Sequence, path: Path) -> Unread:
        """Note that a value is a list or a mapping instead of a single value."""
        hint = _one_of(node) if isinstance(node, Sequence) else "write a single value"
        message = f"{self.named(path)} must be a single value, not {_kind(node)}"
        return self.misfit(KIND, path, message, hint)

    def empty(self, path: Path) -> Unread:
        """Note that a key has no value, unless that is below it and noted there."""
        from vmcfg.description.misplaced import lacks_its_lines

        if lacks_its_lines(path, self.root):
            return UNREAD
        return self.misfit(
            KIND, path, f"{self.named(path)} has no value", "write a value, or remove the key"
        )

    def scalar(
        self, node: ScalarEvent, kind: ScalarKind, path: Path, is_short: bool = False
    ) -> Any:
        """Return the value of a scalar; `is_short` if its key also has a full form."""
        if not node.value and not node.style:
            return self.empty(path)
        try:
            return kind.read(node.value, not node.style)
        except Misfit as misfit:
            fix = _quoted(node.value, kind) if misfit.rule is TEXT else None
            message = misfit.message(self.named(path))
            hint = _shape_hint(path, node) if is_short else None
            return self.misfit(misfit.rule, path, message, hint or misfit.hint, fix=fix)

    def short(self, node: ScalarEvent, kind: Either, path: Path) -> Any:
        """Return the value of a scalar that can also be written in full form."""
        value = self.scalar(node, kind.scalar, path, is_short=True)
        if isinstance(value, Unread) or kind.in_full is None:
            return value
        return kind.in_full(value)

    def items(self, node: Node, kind: ListOf, path: Path) -> tuple[Any, ...] | Unread:
        """Return the items of a list; an item that cannot be read is `UNREAD` or half read."""
        if is_empty(node):
            return self.empty(path)
        if not isinstance(node, Sequence):
            hint = (
                _shape_hint(path, node) or f"write a list of {kind.word}: start each item with '- '"
            )
            return self.misfit(
                KIND,
                path,
                f"{self.named(path)} must be a list of {kind.word}, not {_kind(node)}",
                hint,
            )
        return tuple(
            [self.value(item, kind.item, (*path, index)) for index, item in enumerate(node.items)]
        )

    def mapping(self, node: Node, kind: type[Any], path: Path) -> Any:
        """Return an object of the class of a mapping; half read if anything in it is invalid."""
        if is_empty(node):
            return self.empty(path)
        if not isinstance(node, Mapping):
            keys = ", ".join(fields(kind))
            message = f"{self.named(path)} must be a mapping, not {_kind(node)}"
            hint = _glued(node, kind) or _shape_hint(path, node)
            hint = hint or f"write keys and values; allowed: {keys}"
            return self.misfit(KIND, path, message, hint)
        before = len(self.found)
        values = self.entries(node, kind, path)
        if len(self.found) > before or UNREAD in [values[key] for key in required(kind)]:
            return HalfRead(values)
        return kind(**values)

    def entries(self, node: Mapping, kind: type[Any], path: Path) -> dict[str, Any]:
        """Return the values of a mapping by key, including those of missing required keys."""
        known = fields(kind)
        if node.values.keys().isdisjoint(known) and self.is_shorthand(node, kind, path):
            return {}
        values = {}
        unknown = []
        for key, value in node.values.items():
            field = known.get(key)
            if field is not None:
                kind_of_value = field.kind
                # Most values are scalars: for these a call less.
                if isinstance(value, ScalarEvent) and isinstance(kind_of_value, ScalarKind):
                    values[key] = self.scalar(value, kind_of_value, (*path, key))
                else:
                    values[key] = self.value(value, kind_of_value, (*path, key))
            elif not (kind is Description and is_users_own(key)):
                unknown.append(key)
        meant = self.unknown(unknown, node, known, path) if unknown else set()
        for key in required(kind):
            if key in values:
                continue
            # If an unknown key probably is the missing one, one finding is enough.
            values[key] = UNREAD if key in meant else self.missing(key, kind, path)
        return values

    def is_shorthand(self, node: Mapping, kind: type[Any], path: Path) -> bool:
        """Note that an entry is a shorthand of other tools, if it is one."""
        from vmcfg.description.other_shapes import shorthand

        short = shorthand(node, fields(kind), kind)
        if short is None:
            return False
        message = f"unknown key '{short.key}' in {self.named(path)}"
        self.misfit(UNKNOWN_KEY, (*path, short.key), message, short.hint, "key")
        return True

    def missing(self, key: str, kind: type[Any], path: Path) -> Unread:
        """Note that a key is missing, unless it is there in the wrong place and noted."""
        from vmcfg.description.misplaced import continued_by, lacks_its_lines

        neighbor = continued_by(path, self.root, key, kind)
        if neighbor > 0 or lacks_its_lines(path, self.root, key):
            return UNREAD
        example = fields(kind)[key].examples[0]
        hint = f"add '{key}'"
        if isinstance(example, (int, str)):
            hint += f", for example '{key}: {example}'"
        if neighbor < 0:
            hint = f"write a space instead of the '-': that begins a new item, without '{key}'"
        where = f" in {self.named(path)}" if path else ""
        message = f"missing key '{key}'{where}"
        return self.misfit(MISSING_KEY, path, message, hint, "first key")

    def unknown(
        self, keys: list[str], node: Mapping, known: dict[str, Field], path: Path
    ) -> set[str | None]:
        """Note unknown keys. Return the dotted paths of the keys that are probably meant."""
        # Few descriptions have an unknown key.
        from vmcfg.description.unknown_keys import UnknownKeys

        where = f" in {self.named(path)}" if path else ""
        explained = UnknownKeys(self.root, as_written(node), known, path)
        meant = set()
        for key in keys:
            likely, hint, fix = explained.explain(key)
            message = f"unknown key '{excerpt(key)}'{where}"
            self.misfit(UNKNOWN_KEY, (*path, key), message, hint, "key", fix)
            meant.add(likely)
        return meant


def _shape_hint(path: Path, node: Node) -> str | None:
    """Return the hint for a value at `path` that should be a list or a mapping."""
    from vmcfg.description.other_shapes import shape_hint

    return shape_hint(".".join([step for step in path if isinstance(step, str)]), node)


def _glued(node: Node, kind: type[Any]) -> str | None:
    """Return the hint for the keys of a mapping without spaces after their colons."""
    key, colon, value = word(node).partition(":")
    if not colon or key not in fields(kind):
        return None
    several = " " in value
    after = "each colon, as in" if several else "the colon:"
    return f"add a space after {after} '{key}: {excerpt(value.partition(' ')[0])}'"


def _mpidr_of(root: Mapping, path: Path) -> str | None:
    """Return the written MPIDR of the entry of `vcpus` at `path`; None without one."""
    from vmcfg.description.misplaced import content_at

    content = content_at(root, (*path[:2], "mpidr"))
    return excerpt(word(content)) or None if content is not None else None


def _one_of(node: Sequence) -> str | None:
    """Return the hint for a list instead of a single value."""
    words = [excerpt(item.value) for item in node.items if isinstance(item, ScalarEvent)]
    if len(words) != len(node.items) or not words:
        return None
    if len(words) == 1:
        return f"write {words[0]} without brackets"
    return "write one value; if you mean a range, write it as 40-43 or 0.0.0.0-3"


def _kind(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    return "a list" if isinstance(node, Sequence) else "a single value"


def _quoted(text: str, kind: ScalarKind) -> str | None:
    """Return the plain word `text` in quotes if its key accepts that, else None."""
    try:
        kind.read(text, plain=False)
    except Misfit:
        return None
    return f'"{text}"'
