"""What an unknown key was probably meant to be, and when that is certain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from vmcfg.description.model import every_field
from vmcfg.findings.position import Path
from vmcfg.text.nodes import Mapping

_every_field = cache(every_field)

CLOSE = 0.6
"""How alike two keys are, of 1, that one is named where the other is written."""


def certain_key(
    key: str, likely: str | None, node: Mapping, known: Iterable[str], path: Path
) -> str | None:
    """`likely` where an unknown key of `node` certainly is it: a slip away from that alone, which stands nowhere."""
    if (
        likely is None
        or likely in node.values
        or [name for name in known if _a_slip(_normal(key), name)] != [likely]
    ):
        return None
    others = (other for other in node.values if other != key and other not in known)
    return None if any(likely_key(other, path) == likely for other in others) else likely


def _a_slip(word: str, key: str) -> bool:
    """Whether one slip at most makes `word` of `key`: two letters swapped; in four or more letters, one wrong."""
    if len(word) == len(key):
        wrong = [place for place, letter in enumerate(key) if word[place] != letter]
        swapped = (
            len(wrong) == 2
            and wrong[1] - wrong[0] == 1
            and word[wrong[0]] + word[wrong[1]] == (key[wrong[1]] + key[wrong[0]])
        )
        return not wrong or swapped or (len(wrong) == 1 and len(key) > 3)
    shorter, longer = sorted((word, key), key=len)
    one = any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
    return len(key) > 3 and one


def _normal(key: str) -> str:
    return key.lower().replace("-", "_")


def likely_key(key: str, path: Path) -> str | None:
    """What an unknown key was probably meant to be: a key here by spelling or other tools' words, or one elsewhere."""
    from difflib import get_close_matches

    here = ".".join(step for step in path if isinstance(step, str))
    everything = _every_field()
    prefix = f"{here}." if here else ""
    siblings = {
        name.removeprefix(prefix): field
        for name, field in everything.items()
        if name.startswith(prefix)
    }
    siblings = {name: field for name, field in siblings.items() if "." not in name}
    word = _normal(key)
    here_by_word = [
        name
        for name, field in siblings.items()
        if word == name.lower() or {word, key} & {*field.also}
    ]
    elsewhere = [name for name in everything if word == name.rpartition(".")[2]]
    elsewhere_by_word = [name for name, field in everything.items() if word in field.also]
    alike = get_close_matches(word, siblings, 1, 0.75)
    alike_elsewhere = get_close_matches(
        word, [name.rpartition(".")[2] for name in everything], 1, 0.85
    )
    near = [name for name in everything if name.rpartition(".")[2] in alike_elsewhere]
    remotely = get_close_matches(word, siblings, 1, CLOSE)
    candidates = [*here_by_word, *alike, *elsewhere, *elsewhere_by_word, *near, *remotely]
    return str(candidates[0]) if candidates else None
