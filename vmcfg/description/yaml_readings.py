"""How YAML 1.1 and YAML 1.2 read a word without quotes.

vmcfg reads each word by the type of its key. If the YAML versions read a word differently, another
tool could read another value from the same file. vmcfg therefore rejects it, and the message has
both readings.
"""

from __future__ import annotations

import re

from vmcfg.escape import excerpt


class Reading:
    """How a YAML version reads a plain word: in words, and as a number if it is one."""

    __slots__ = ("number", "words")

    def __init__(self, number: int | float | None, words: str) -> None:
        self.number = number
        self.words = words


_WORDS_BOTH = {"true": "true", "false": "false", "null": "null", "~": "null", "": "null"}

_WORDS_1_1 = {
    "yes": "true",
    "on": "true",
    "y": "true",
    "no": "false",
    "off": "false",
    "n": "false",
    **_WORDS_BOTH,
}

TYPED_WORDS = frozenset(_WORDS_1_1)
"""The words, in lower case, that some YAML version reads as a boolean or as null."""

_LONGEST_NUMBER = 60
"""A longer word is text here, so that messages need not repeat its value."""


def _number_1_1(text: str) -> int | float | None:
    """Return the number that YAML 1.1 reads in a plain word."""
    unsigned = text.lstrip("+-")
    if len(text) - len(unsigned) > 1:
        return None
    digits = unsigned.replace("_", "")
    if not digits or len(digits) > _LONGEST_NUMBER:
        return None
    value = _unsigned_1_1(digits)
    if value is not None and text.startswith("-"):
        return -value
    return value


def _unsigned_1_1(digits: str) -> int | float | None:
    if re.fullmatch(r"0b[01]+", digits):
        return int(digits[2:], 2)
    if re.fullmatch(r"0x[0-9a-fA-F]+", digits):
        return int(digits, 16)
    if re.fullmatch(r"0[0-7]+", digits):
        return int(digits, 8)
    if re.fullmatch(r"0|[1-9][0-9]*", digits):
        return int(digits)
    if re.fullmatch(r"[0-9]+(:[0-5]?[0-9])+", digits):
        return _sexagesimal(digits)
    if re.fullmatch(r"[0-9]*\.[0-9]*([eE][-+][0-9]+)?", digits) and re.search("[0-9]", digits):
        return float(digits)
    return None


def _sexagesimal(digits: str) -> int:
    """Return the value of digits to base 60: 1:30 is 90."""
    value = 0
    for part in digits.split(":"):
        value = value * 60 + int(part)
    return value


def _number_1_2(text: str) -> int | float | None:
    """Return the number that the core schema of YAML 1.2 reads in a plain word."""
    if len(text) > _LONGEST_NUMBER:
        return None
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]+", text):
        return int(text[2:], 8)
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return None


def readings(text: str) -> tuple[Reading, Reading]:
    """Return how YAML 1.1 and YAML 1.2 read the plain word `text`."""
    old = _reading(text, _number_1_1(text), _WORDS_1_1)
    new = _reading(text, _number_1_2(text), _WORDS_BOTH)
    if old.words == "text" and re.fullmatch(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?", text):
        # Only YAML 1.1 has dates.
        old = Reading(None, "a date")
    return old, new


def _reading(text: str, number: int | float | None, words: dict[str, str]) -> Reading:
    """Return how a YAML version reads `text`: as `number`, or as one of its `words`."""
    if number is not None:
        return Reading(number, f"the number {number}")
    word = words.get(text)
    if word is None and text in (text.upper(), text.title()):
        word = words.get(text.lower())
    if word == "null":
        return Reading(None, "null")
    if word is not None:
        return Reading(None, f"the boolean {word}")
    if re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
        return Reading(None, "a number")
    return Reading(None, "text")


def is_typed(text: str) -> bool:
    """Return whether some YAML version does not read the plain word `text` as text."""
    return any(reading.words != "text" for reading in readings(text))


def readings_text(text: str) -> str:
    """Return how YAML reads the plain word `text`, with both versions if they differ."""
    old, new = readings(text)
    is_number = old.number is not None or new.number is not None
    word = excerpt(text) if is_number else f"'{excerpt(text)}'"
    if old.words == new.words:
        return f"YAML reads {word} as {old.words}"
    return f"YAML 1.1 reads {word} as {old.words}, YAML 1.2 as {new.words}"


def without_readings(hint: str) -> str:
    """Return a hint of `number_hint` without what YAML reads: for text that is not YAML."""
    return hint.partition(": YAML ")[0]


def number_hint(text: str) -> str:
    """Return the hint for `text` if a number is required."""
    said = readings_text(text)
    # The numbers that vmcfg accepts: no fractions, and not 1e400, which is infinite.
    meant = {
        int(reading.number)
        for reading in readings(text)
        if reading.number is not None and float(reading.number).is_integer()
    }
    if not meant or min(meant) < 0:
        return f"write a decimal number, or 0x and hexadecimal digits: {said}"
    spell = hex if text.startswith("0x") else str
    return f"write {' or '.join(map(spell, sorted(meant)))}: {said}"
