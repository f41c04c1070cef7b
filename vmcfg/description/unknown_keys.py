"""The key that was probably meant by an unknown key, what to write, and whether it is certain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from vmcfg.description.kinds import Misfit, ScalarKind
from vmcfg.description.misplaced import column_of, content_at, owners
from vmcfg.description.model import Either, Field, every_field
from vmcfg.description.other_shapes import other_entry
from vmcfg.escape import excerpt
from vmcfg.findings.position import Path
from vmcfg.nearest import nearest
from vmcfg.text.nodes import Mapping, Node, word

VERY_ALIKE = 0.85
"""The similarity, up to 1, at which a key of another mapping is suggested."""
ALIKE = 0.75
"""The similarity at which a key is suggested before those that other tools call so."""
REMOTELY_ALIKE = 0.6
"""The similarity at which a key is suggested if there is no better suggestion."""

TOPOLOGY = ("clusters", "sockets", "cores", "threads", "topology", "smp")
"""Keys of other tools for the number of vCPUs per level. MPIDRs contain it here."""

COUNTS = ("smp", "cores")
"""Those of them that are also keys for the number of all vCPUs."""

RIGHT_FORM = re.compile(r"write ([^\s;]+?)(?:[;:,] .*)?")
"""A hint that is one text to write instead of a value."""

SHORT = 3
"""In so few letters, one typo can turn any key into another."""


class Unknown(NamedTuple):
    """An unknown key: the dotted path of the key that is probably meant, a hint, and a fix."""

    likely: str | None
    hint: str
    fix: str | None = None


class UnknownKeys:
    """The unknown keys of one mapping `node` at `path`, whose keys are `known`."""

    def __init__(self, root: Mapping, node: Mapping, known: dict[str, Field], path: Path) -> None:
        self.root = root
        self.node = node
        self.known = known
        self.path = path
        self.here = ".".join([step for step in path if isinstance(step, str)])
        self.owners = owners(node, known)
        self.allowed = f"allowed here: {', '.join(sorted(known))}"

    def explain(self, key: str) -> Unknown:
        """Return what an unknown key means, and what to write instead."""
        return (
            self._glued(key)
            or self._under_owner(key)
            or self._of_other_tools(key)
            or self._by_likeness(key)
        )

    def _glued(self, key: str) -> Unknown | None:
        """Return that a key is glued to its value."""
        name, colon, value = key.partition(":")
        if not colon or name not in self.known:
            return None
        return Unknown(name, f"add a space after the colon: '{name}: {excerpt(value)}'")

    def _under_owner(self, key: str) -> Unknown | None:
        """Return that a key belongs under the key above it."""
        owner = self.owners.get(key)
        if owner is None:
            return None
        dash = ", with '- ' before it" if owner.begins_item else ""
        hint = f"start it in column {owner.column}{dash}: it belongs under '{owner.name}'"
        return Unknown(f"{owner.name}.{key}", hint)

    def _of_other_tools(self, key: str) -> Unknown | None:
        """Return what a key of other tools means here, whose value has another form."""
        is_number = word(self.node.values[key]).isdecimal() and key.lower() in COUNTS
        if not self.path and key.lower() in TOPOLOGY and not is_number:
            hint = "write the topology as MPIDRs: 'mpidr: 0.0.0-7.0-7' is 8 clusters of 8 vCPUs"
            return Unknown("vcpus", hint)
        entry = other_entry(self.here, key, self.node.values[key])
        return None if entry is None else Unknown(None, entry)

    def _by_likeness(self, key: str) -> Unknown:
        """Return the key that is most like an unknown one."""
        likely = likely_key(key, self.path)
        if likely is None:
            return Unknown(None, f"remove it, or use a key that is {self.allowed}")
        fix = certain_key(key, likely, self.node, self.known, self.path)
        if likely in self.known and likely in self.node.values:
            hint = f"remove it: '{likely}' is already there; {self.allowed}"
        elif likely in self.known:
            what = self._right_entry(likely, self.node.values[key])
            hint = f"if you mean '{likely}', {what}; {self.allowed}"
        else:
            hint = f"if you mean '{likely}', {self._where(key, likely)}; {self.allowed}"
        return Unknown(likely, hint, fix)

    def _right_entry(self, likely: str, value: Node) -> str:
        """Return what to write for a value of the key `likely` of this mapping."""
        kind = self.known[likely].kind
        kind = kind.scalar if isinstance(kind, Either) else kind
        if not isinstance(kind, ScalarKind) or not word(value):
            return "write that"
        try:
            kind.read(word(value), plain=False)
        except Misfit as misfit:
            right = RIGHT_FORM.fullmatch(misfit.hint or "")
            if right:
                return f"write '{likely}: {right[1]}'"
        return "write that"

    def _where(self, key: str, likely: str) -> str:
        """Return where to write the key with the dotted path `likely`, which is not here."""
        if content_at(self.root, tuple(likely.split("."))) is not None:
            return f"remove it: '{likely}' is already there"
        parent, _, _ = likely.rpartition(".")
        outer = content_at(self.root, self._around().get(parent, ("",)))
        column = column_of(outer) if isinstance(outer, Mapping) else None
        if column is None or column_of(self.node) is None:
            return f"write it under '{parent}'" if parent else "write it at the top level"
        if next(reversed(self.node.values)) == key:
            return f"start it in column {column}"
        return f"move it below '{self.here}', to column {column}"

    def _around(self) -> dict[str, Path]:
        """Return the paths of the mappings around this one, by their dotted path."""
        paths = [self.path[:length] for length in range(len(self.path))]
        return {
            ".".join([step for step in path if isinstance(step, str)]): path
            for path in paths
            if not path or isinstance(path[-1], str)
        }


def likely_key(key: str, path: Path) -> str | None:
    """Return the key that was probably meant by an unknown key of the mapping at `path`.

    It is a key of this mapping, by its spelling or by the words of other tools, or the dotted path
    of a key of another mapping.
    """
    return _likely(key, ".".join([step for step in path if isinstance(step, str)]))


@lru_cache(maxsize=1024)
def _likely(key: str, here: str) -> str | None:
    """Return the likely key in the mapping with the dotted path `here`. The cache serves lists in
    which each item has the same unknown key.
    """
    return next(_guesses(key, here), None)


def _guesses(key: str, here: str) -> Iterator[str]:
    """Return the keys that might be meant, the likeliest first."""
    everything = every_field()
    siblings = _keys_of(here, everything)
    word = _normal(key)
    for name, field in siblings.items():
        if word == name.lower() or word in field.also or key in field.also:
            yield name
    alike = nearest(word, siblings, ALIKE)
    if alike is not None:
        yield alike
    last_words = {name: name.rpartition(".")[2] for name in everything}
    yield from (name for name, last in last_words.items() if last == word)
    yield from (name for name, field in everything.items() if word in field.also)
    alike_elsewhere = nearest(word, last_words.values(), VERY_ALIKE)
    yield from (name for name, last in last_words.items() if last == alike_elsewhere)
    remotely_alike = nearest(word, siblings, REMOTELY_ALIKE)
    if remotely_alike is not None:
        yield remotely_alike


def _keys_of(mapping: str, everything: dict[str, Field]) -> dict[str, Field]:
    """Return the keys of the mapping with that dotted path."""
    prefix = f"{mapping}." if mapping else ""
    keys = {}
    for name, field in everything.items():
        key = name.removeprefix(prefix)
        if name.startswith(prefix) and "." not in key:
            keys[key] = field
    return keys


def certain_key(
    key: str, likely: str | None, node: Mapping, known: Iterable[str], path: Path
) -> str | None:
    """Return `likely` if it certainly is what an unknown key of `node` means, else None.

    It is certain if the unknown key is one typo away from exactly that key, which is not in `node`.
    """
    if likely is None or likely in node.values:
        return None
    word = _normal(key)
    if [name for name in known if _is_a_slip(word, name)] != [likely]:
        return None
    return likely if _wishes(node, frozenset(known), path)[likely] == 1 else None


@lru_cache(maxsize=1)
def _wishes(node: Mapping, known: frozenset[str], path: Path) -> Counter[str | None]:
    """Return how many unknown keys of `node` probably mean the same key. The cache serves mappings
    with many of them.
    """
    return Counter(likely_key(key, path) for key in node.values if key not in known)


def _is_a_slip(word: str, key: str) -> bool:
    """Return whether `word` is `key` with at most one typo.

    A typo is two adjacent letters swapped. In four or more letters, it is also one wrong, missing,
    or extra letter.
    """
    if len(word) != len(key):
        return len(key) > SHORT and _is_one_letter_more(*sorted((word, key), key=len))
    wrong = [place for place, letter in enumerate(key) if word[place] != letter]
    if len(wrong) == 2:
        first, second = wrong
        are_neighbours = second - first == 1
        return are_neighbours and word[first] == key[second] and word[second] == key[first]
    return not wrong or (len(wrong) == 1 and len(key) > SHORT)


def _is_one_letter_more(shorter: str, longer: str) -> bool:
    """Return whether `longer` is `shorter` with one letter inserted."""
    return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))


def _normal(key: str) -> str:
    return key.lower().replace("-", "_")
