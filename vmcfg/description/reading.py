"""Nodes to a `Description`: one walk over the model, collecting everything that doesn't fit it.

What comes before: `tree`, whose nodes are bounded and have unique keys. With no finding every value
has the type of its key; what two values say together is left to the rules.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from vmcfg.text.nodes import Alias, Mapping, Node, Sequence


def read_description(root: Mapping) -> tuple[Description | HalfRead, list[Found]]:
    """The description that a document says, and every VMC1xx finding that reading it gave."""
    walk = _Walk(root)
    description = walk.mapping(root, Description, ())
    assert not isinstance(description, Unread)
    return description, walk.found


class _Walk:
    def __init__(self, root: Mapping) -> None:
        self.root = root
        self.found: list[Found] = []

    def named(self, path: Path) -> str:
        """The value at `path`, as a message speaks of it: one of a vCPU's by its MPIDR."""
        if not path:
            return "the description"
        last = path[-1]
        if path[0] == "vcpus" and len(path) > 1:
            mpidr = _mpidr_of(self.root, path)
            vcpu = f"vCPU {mpidr}" if mpidr else "this vCPU"
            if isinstance(last, int):
                return vcpu
            return "'mpidr'" if last == "mpidr" else f"'{last}' of {vcpu}"
        return f"this item of {path[-2]}" if isinstance(last, int) else f"'{last}'"

    def misfit(
        self,
        rule: Rule,
        path: Path,
        message: str,
        hint: str | None = None,
        on: On = "value",
        fix: str | None = None,
    ) -> Unread:
        """Note a finding; what stands in the place of the value that it is about."""
        self.found.append((rule, Finding(path, message, hint, on, fix=fix)))
        return UNREAD

    def value(self, node: Node, kind: Kind, path: Path) -> Any:
        """What `node` says, read as `kind`."""
        if isinstance(node, Alias):
            node = node.target
        if isinstance(kind, ScalarKind):
            if isinstance(node, ScalarEvent):
                return self.scalar(node, kind, path)
            return self.no_scalar(node, path)
        if isinstance(kind, Either):
            if isinstance(node, ScalarEvent):
                return self.scalar(node, kind.scalar, path)
            kind = kind.many
        if isinstance(kind, ListOf):
            return self.items(node, kind, path)
        return self.mapping(node, kind, path)

    def no_scalar(self, node: Mapping | Sequence, path: Path) -> Unread:
        """Note that a list or a mapping stands where a single value is wanted."""
        hint = _one_of(node) if isinstance(node, Sequence) else None
        message = f"{self.named(path)} is {_kind(node)}, but a single value is wanted"
        return self.misfit(KIND, path, message, hint)

    def empty(self, path: Path) -> Unread:
        """Note that a key has no value."""
        return self.misfit(
            KIND, path, f"{self.named(path)} has no value", "write one, or remove the key"
        )

    def scalar(self, node: ScalarEvent, kind: ScalarKind, path: Path) -> Any:
        """What a single value says."""
        if not node.value and not node.style:
            return self.empty(path)
        try:
            return kind.read(node.value, not node.style)
        except Misfit as misfit:
            fix = _quoted(node.value, kind) if misfit.rule is TEXT else None
            return self.misfit(
                misfit.rule, path, f"{self.named(path)}: {misfit.message}", misfit.hint, fix=fix
            )

    def items(self, node: Node, kind: ListOf, path: Path) -> tuple[Any, ...] | Unread:
        """What a list says; an item that can't be read is `UNREAD` in it, or half read."""
        if _is_empty(node):
            return self.empty(path)
        if not isinstance(node, Sequence):
            hint = f"begin each of the {kind.word} with '- '"
            if isinstance(node, ScalarEvent) and not isinstance(kind.item, type):
                hint = f"write [{excerpt(node.value)}]"
            return self.misfit(
                KIND,
                path,
                f"{self.named(path)} is {_kind(node)}, but a list of {kind.word} is wanted",
                hint,
            )
        return tuple(
            [self.value(item, kind.item, (*path, index)) for index, item in enumerate(node.items)]
        )

    def mapping(self, node: Node, kind: type[Any], path: Path) -> Any:
        """What a mapping says: an object of its class, or half read if anything in it is wrong."""
        if _is_empty(node):
            return self.empty(path)
        if not isinstance(node, Mapping):
            keys = ", ".join(fields(kind))
            message = f"{self.named(path)} is {_kind(node)}, but a mapping is wanted"
            return self.misfit(KIND, path, message, f"its keys: {keys}")
        before = len(self.found)
        values = self.entries(node, kind, path)
        return kind(**values) if len(self.found) == before else HalfRead(values)

    def entries(self, node: Mapping, kind: type[Any], path: Path) -> dict[str, Any]:
        """The values of a mapping by key: of the keys that are there, and of those that must be."""
        known = fields(kind)
        values = {}
        meant = set()
        for key, value in node.values.items():
            field = known.get(key)
            if field is not None:
                values[key] = self.value(value, field.kind, (*path, key))
            elif not (kind is Description and is_users_own(key)):
                meant.add(self.unknown(key, node, known, path))
        for key in required(kind):
            if key in values:
                continue
            # Where an unknown key probably is the one that is missing, one finding is enough.
            values[key] = UNREAD if key in meant else self.missing(key, known[key], path)
        return values

    def missing(self, key: str, field: Field, path: Path) -> Unread:
        """Note that a key is missing."""
        example = field.examples[0]
        hint = f"write '{key}: {example}'" if isinstance(example, (int, str)) else None
        message = f"{self.named(path)} has no '{key}': {field.doc}"
        return self.misfit(MISSING_KEY, path, message, hint, "first key")

    def unknown(self, key: str, node: Mapping, known: Iterable[str], path: Path) -> str | None:
        """Note an unknown key; the dotted path that its writer probably meant."""
        message = f"{self.named(path)} has no key '{excerpt(key)}'"
        expected = f"its keys: {', '.join(sorted(known))}"
        name, colon, value = key.partition(":")
        if colon and name in known:
            hint = f"a space belongs after the colon: '{name}: {excerpt(value)}'"
            self.misfit(UNKNOWN_KEY, (*path, key), message, hint, "key")
            return name
        # Few descriptions have an unknown key.
        from vmcfg.description.unknown_keys import certain_key, likely_key

        likely = likely_key(key, path)
        where = "" if likely is None or likely in known else ", which has its own place"
        hint = expected if likely is None else f"did you mean '{likely}'{where}? {expected}"
        fix = certain_key(key, likely, node, known, path)
        self.misfit(UNKNOWN_KEY, (*path, key), message, hint, "key", fix)
        return likely


def _mpidr_of(root: Mapping, path: Path) -> str | None:
    """The MPIDR as written of the entry of `vcpus` that `path` leads into; None without one."""
    node: Node = root
    for step in (*path[:2], "mpidr"):
        content = node.target if isinstance(node, Alias) else node
        if isinstance(content, Mapping) and step in content.values:
            node = content.values[str(step)]
        elif isinstance(content, Sequence) and isinstance(step, int):
            node = content.items[step]
        else:
            return None
    content = node.target if isinstance(node, Alias) else node
    text: str = content.value if isinstance(content, ScalarEvent) else ""
    return excerpt(text) or None


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarEvent) and not node.value and not node.style


def _one_of(node: Sequence) -> str | None:
    """What to write in the place of a list, where one value is wanted."""
    words = [excerpt(item.value) for item in node.items if isinstance(item, ScalarEvent)]
    if len(words) != len(node.items) or not words:
        return None
    if len(words) == 1:
        return f"write {words[0]}, without brackets"
    return (
        "write one value; where a range is meant, its first and last with '-' between them: 40-43,"
        " 0.0.0.0-3"
    )


def _kind(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    return "a list" if isinstance(node, Sequence) else "a single value"


def _quoted(text: str, kind: ScalarKind) -> str | None:
    """The plain word `text` in quotes, where that is what its field takes."""
    try:
        kind.read(text, plain=False)
    except Misfit:
        return None
    return f'"{text}"'
