"""Words and phrases that no text for people contains: they are hard to understand at first reading.

Checked are docstrings, comments, and strings of vmcfg, the pages, the schemas, and the samples.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vmcfg.checking.check import check
from vmcfg.reference.every_rule import every_rule

ROOT = Path(__file__).parent.parent

WORDS = {
    r"(?:is|are) no(?! longer)(?= \w)": "negate the verb: 'is not a PPI'",
    r"none of|no two": "negate the verb",
    r"stands?(?!-in)|stood": "use 'is', 'means', or the verb of the field",
    r"can be had": "say how to get it",
    r"\w+n't": "write 'cannot', 'does not': apostrophes collide with quotes",
    r"KVM's": "no possessive for things: 'of KVM', 'the kernel documentation'",
    r"measured": "use 'tested'",
    r"by itself": "use 'alone', or leave it out",
    r"of (?:its|their|one's) own": "use 'its own'",
    r"but for": "use 'except'",
    r"beside": "use 'next to' or 'with'",
    r"deal(?:s|t)? out": "use 'assign'",
    r"puts? back": "use 'reset to'",
    r"at once": "use 'immediately'",
    r"at odds": "use 'conflicts with'",
    r"in step": "use 'one per, in the same order'",
    r"refus(?:e|es|ed|al|als|ing)": "use 'reject'",
    r"mistakes?": "use 'problem'",
    r"monitors?": "use 'VMM', except as the value of set_up_by",
    r"initialis\w+|finalis\w+|colour\w*|behaviour|misspelt|recognis\w+|virtualis\w+": "American",
    r"\w+\.\.(?=[0-9x])\w*": "write ranges with a hyphen, and bits as [63:32]",
    r"whatever": "use 'regardless of'",
    r"did you mean": "write 'if you mean X, write Y'",
    r"runs? backwards": "use 'is reversed'",
    r"must list": "use 'must have'",
    r"says that|speaks": "use the verb of the field",
    r"thousands": "no separators in numbers",
}
"""What is ruled out, as regular expressions of whole words, with what to write instead."""

EXCEPTIONS = {
    "there is no": "the plain negation of 'there is'",
    "There is no": "the same",
    "if there is no": "the same",
    "there are no": "the same",
    "'monitor'": "the value of set_up_by",
    "set_up_by: monitor": "the same",
    "plan or monitor": "the same",
    "`monitor`": "the same",
    "virtual machine monitor": "what VMM means",
    "| `monitors` |": "the name of a room",
    "vmcfg/monitors/": "the directory of this room",
    "mon monitor msg": "options of QEMU",
    "monitors-gic": "the name of a sample",
    "`monitors`": "the name of a room",
    "`[40, 43]`, `spi:8..11`": "an interrupt as other tools write it",
}
"""Texts that contain such words for a reason."""


class Text(NamedTuple):
    """A line of text for people, and where it is."""

    file: str
    line: int
    words: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def of_python(path: Path) -> Iterator[Text]:
    """The docstrings, comments, and strings with several words in a module."""
    name = str(path.relative_to(ROOT))
    source = io.StringIO(path.read_text(encoding="utf-8"))
    for token in tokenize.generate_tokens(source.readline):
        is_text = token.type == tokenize.STRING and " " in token.string
        if token.type == tokenize.COMMENT or is_text or _is_f_string(token):
            for number, words in enumerate(token.string.split("\n")):
                # Inside braces is code.
                yield Text(name, token.start[0] + number, re.sub(r"\{[^{}]*\}", "{}", words))


def _is_f_string(token: tokenize.TokenInfo) -> bool:
    """Whether a token is a part of an f-string, in the tokens of Python 3.12 and later."""
    return token.type == getattr(tokenize, "FSTRING_MIDDLE", -1)


def of_page(path: Path) -> Iterator[Text]:
    """The lines of a page, or of a file with comments."""
    name = str(path.relative_to(ROOT))
    for number, words in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        yield Text(name, number, words)


def of_comments(path: Path) -> Iterator[Text]:
    """The comments of a YAML file or a shell script."""
    for text in of_page(path):
        _, sign, comment = text.words.partition("#")
        if sign:
            yield text._replace(words=comment)


def of_json(path: Path) -> Iterator[Text]:
    """The titles and descriptions of a schema."""

    def below(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("title", "description") and isinstance(inner, str):
                    yield inner
                else:
                    yield from below(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from below(inner)

    name = str(path.relative_to(ROOT))
    for words in below(json.loads(path.read_text(encoding="utf-8"))):
        yield Text(name, 1, words)


def texts() -> Iterator[Text]:
    """Every text for people."""
    for path in sorted((ROOT / "vmcfg").rglob("*.py")):
        yield from of_python(path)
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "vmcfg").rglob("*.md"))):
        yield from of_page(path)
    for path in sorted((ROOT / "vmcfg" / "shell" / "share").rglob("*")):
        if path.is_file():
            yield from of_page(path)
    for path in sorted((ROOT / "sample-configs").iterdir()):
        yield from of_comments(path)
    for path in sorted((ROOT / "schemas").iterdir()):
        yield from of_json(path)


EVERY = list(texts())


def without_exceptions(words: str) -> str:
    for exception in EXCEPTIONS:
        words = words.replace(exception, "")
    return words


@pytest.mark.parametrize("pattern", WORDS)
def test_no_text_contains(pattern: str) -> None:
    expression = re.compile(rf"(?i)(?<![\w-])(?:{pattern})(?![\w-])")
    found = [
        f"{text}: '{match[0]}' in: {text.words.strip()}"
        for text in EVERY
        if (match := expression.search(without_exceptions(text.words)))
    ]
    assert not found, f"{WORDS[pattern]}; or add a reason to EXCEPTIONS\n" + "\n".join(found)


def test_every_exception_is_used() -> None:
    whole = "\n".join(text.words for text in EVERY)
    unused = [each for each in EXCEPTIONS if each not in whole]
    assert not unused


# Findings -----------------------------------------------------------------------------------------

LONGEST = 110
"""The number of characters of a headline after the id of its rule."""

LONGER = {
    "VMC121": "it quotes a number of many digits",
    "VMC407": "it has two frames with their addresses",
    "VMC503": "the number of other places is added to it",
    "VMC701": "it has the vCPU, its id, and two versions",
    "VMC706": "it has the vCPU, its id, its index, and two versions",
}
"""Rules whose headlines can be longer, with the reason."""

VERBS = (
    "write",
    "set",
    "use",
    "add",
    "remove",
    "move",
    "increase",
    "start",
    "run",
    "if",
    "save",
    "make",
)
"""How a hint begins."""

CASES = sorted((ROOT / "tests" / "cases").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_finding_is_short_and_a_hint_can_be_followed(case: Path) -> None:
    for found in check(case.read_bytes(), case.name).diagnostics:
        assert len(found.message) <= LONGEST or found.rule in LONGER, found.message
        assert not found.message.endswith(".") or found.message.endswith("...")
        assert found.label
        first = (found.hint or "write").split()[0].rstrip(":,")
        assert first in VERBS, found.hint


def test_rules_are_named_after_the_problem() -> None:
    for rule in every_rule():
        assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", rule.name), rule
        assert not re.search(r"\b(?:is|are|has|have|not|no|must)\b", rule.name.replace("-", " "))


def test_a_summary_is_a_requirement() -> None:
    for rule in every_rule():
        summary = " ".join(rule.paragraphs[0].split())
        wanted = r"\b(?:must|can|allowed|requires?|valid)\b"
        if rule.severity == "warning":
            wanted = r"\bshould\b"
        assert re.search(wanted, summary), f"{rule}: {summary}"
