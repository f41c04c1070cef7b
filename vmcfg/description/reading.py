"""Nodes to a `Description`: one walk over the model, collecting everything that doesn't fit it.

What comes before: `tree`, whose nodes are bounded and have unique keys. What this stage guarantees: with no finding,
every value has its field's type; what two values say together is left to the rules. Next: `machine`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from yaml.events import ScalarEvent

from vmcfg.description.kinds import Misfit
from vmcfg.description.model import (
    Description,
    Either,
    Field,
    ListOf,
    fields,
    required,
)
from vmcfg.description.rules import KIND, MISSING_KEY, TEXT, UNKNOWN_KEY
from vmcfg.description.unknown_keys import certain_key, likely_key
from vmcfg.escape import excerpt
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Rule
from vmcfg.text.nodes import Alias, Mapping, Node, Sequence

Misfits = list[tuple[Rule, Finding]]

MISSING = object()
"""What stands in the place of a value that could not be read. A description that holds one is never planned."""


def decode(root: Mapping) -> tuple[dict[str, Any], Misfits]:
    """The values of the description by key, and every VMC1xx finding that reading them gave."""
    walk = _Walk(root)
    return walk.entries(root, Description, ()), walk.misfits


COMPOSED = (Either, ListOf, type)
"""The kinds that a single value may not be enough for."""

_fields = cache(fields)

_required = cache(required)


class _Walk:
    def __init__(self, root: Mapping) -> None:
        self.root = root
        self.misfits: Misfits = []

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
        on: str = "value",
        fix: str | None = None,
    ) -> Any:
        self.misfits.append((rule, Finding(path, message, hint, on, fix=fix)))
        return MISSING

    def value(self, node: Node, kind: Any, path: Path) -> Any:
        """What `node` says, read as `kind`."""
        if isinstance(node, Alias):
            node = node.target
        if isinstance(node, ScalarEvent) and not isinstance(kind, COMPOSED):
            return self.scalar(node, kind, path)
        if isinstance(kind, Either):
            kind = kind.scalar if isinstance(node, ScalarEvent) else kind.many
        if isinstance(kind, ListOf):
            return self.items(node, kind, path)
        if isinstance(kind, type):
            return self.mapping(node, kind, path)
        if isinstance(node, ScalarEvent):
            return self.scalar(node, kind, path)
        hint = _one_of(node) if isinstance(node, Sequence) else None
        return self.misfit(
            KIND, path, f"{self.named(path)} is {_kind(node)}, but a single value is wanted", hint
        )

    def empty(self, path: Path) -> Any:
        """Note that a key has no value."""
        return self.misfit(
            KIND, path, f"{self.named(path)} has no value", "write one, or remove the key"
        )

    def scalar(self, node: ScalarEvent, kind: Any, path: Path) -> Any:
        if not node.value and not node.style:
            return self.empty(path)
        try:
            return kind.read(node.value, not node.style)
        except Misfit as misfit:
            fix = _quoted(node.value, kind) if misfit.rule is TEXT else None
            return self.misfit(
                misfit.rule, path, f"{self.named(path)}: {misfit.message}", misfit.hint, fix=fix
            )

    def items(self, node: Node, kind: ListOf, path: Path) -> Any:
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

    def mapping(self, node: Node, kind: Any, path: Path) -> Any:
        if _is_empty(node):
            return self.empty(path)
        if not isinstance(node, Mapping):
            keys = ", ".join(_fields(kind))
            return self.misfit(
                KIND,
                path,
                f"{self.named(path)} is {_kind(node)}, but a mapping is wanted",
                f"its keys: {keys}",
            )
        return kind(**self.entries(node, kind, path))

    def entries(self, node: Mapping, kind: Any, path: Path) -> dict[str, Any]:
        known = _fields(kind)
        found = {}
        meant = set()
        for key, value in node.values.items():
            field = known.get(key)
            if field is None:
                if not (kind is Description and (key.startswith("x-") or key == "$schema")):
                    meant.add(self.unknown(key, node, known, path))
            else:
                found[key] = self.value(value, field.kind, (*path, key))
        for key in _required(kind):
            if key not in found:
                found[key] = MISSING if key in meant else self.missing(key, known[key], path)
        return found

    def missing(self, key: str, field: Field, path: Path) -> Any:
        example = (
            f"write '{key}: {field.examples[0]}'"
            if isinstance(field.examples[0], (int, str))
            else None
        )
        return self.misfit(
            MISSING_KEY,
            path,
            f"{self.named(path)} has no '{key}': {field.doc}",
            example,
            "first key",
        )

    def unknown(self, key: str, node: Mapping, known: Iterable[str], path: Path) -> str | None:
        """Note an unknown key; the dotted path that its writer probably meant."""
        message = f"{self.named(path)} has no key '{excerpt(key)}'"
        expected = f"its keys: {', '.join(sorted(known))}"
        name, colon, value = key.partition(":")
        if colon and name in known:
            hint = f"a space belongs after the colon: '{name}: {excerpt(value)}'"
            self.misfit(UNKNOWN_KEY, (*path, key), message, hint, "key")
            return name
        likely = likely_key(key, path)
        where = "" if likely is None or likely in known else ", which has its own place"
        hint = expected if likely is None else f"did you mean '{likely}'{where}? {expected}"
        self.misfit(
            UNKNOWN_KEY,
            (*path, key),
            message,
            hint,
            "key",
            certain_key(key, likely, node, known, path),
        )
        return likely


def _mpidr_of(root: Mapping, path: Path) -> str | None:
    """The MPIDR as written of the entry of `vcpus` that `path` leads into, or None where there is none to read."""
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
    return "write one value; where a range is meant, its first and last with '-' between them: 40-43, 0.0.0.0-3"


def _kind(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    return "a list" if isinstance(node, Sequence) else "a single value"


def _quoted(text: str, kind: Any) -> str | None:
    """The plain word `text` in quotes, where that is what its field takes."""
    try:
        kind.read(text, plain=False)
    except Misfit:
        return None
    return f'"{text}"'
