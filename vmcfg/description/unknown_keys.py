"""The key that was probably meant by an unknown key, and whether that is certain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from vmcfg.description.model import Field, every_field
from vmcfg.findings.position import Path
from vmcfg.nearest import nearest
from vmcfg.text.nodes import Mapping

VERY_ALIKE = 0.85
"""The similarity, up to 1, at which a key of another mapping is suggested."""
ALIKE = 0.75
"""The similarity at which a key is suggested before those that other tools call so."""
REMOTELY_ALIKE = 0.6
"""The similarity at which a key is suggested if there is no better suggestion."""

TOPOLOGY = ("clusters", "sockets", "cores", "threads", "topology", "smp")
"""Keys of other tools for the number of vCPUs per level. MPIDRs contain it here."""

SHORT = 3
"""In so few letters, one typo can turn any key into another."""


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
