"""What YAML 1.1 and YAML 1.2 make of a plain word, where they differ from what was probably meant."""

from __future__ import annotations

import re


class Reading:
    """What a YAML version makes of a plain word: in words, and the number where it is one."""

    __slots__ = ("number", "words")

    def __init__(self, number: int | float | None, words: str) -> None:
        self.number = number
        self.words = words


_WORDS_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}

_WORDS_BOTH = {"true": "true", "false": "false", "null": "null", "~": "null", "": "null"}


def _number_1_1(text: str) -> int | float | None:
    """The number that YAML 1.1 makes of a plain word."""
    sign = -1 if text[:1] == "-" else 1
    body = text.lstrip("+-").replace("_", "") if len(text) - len(text.lstrip("+-")) <= 1 else ""
    if len(body) > 60 or not body[:1].strip("_"):
        return None
    if re.fullmatch(r"0b[01]+", body):
        return sign * int(body[2:], 2)
    if re.fullmatch(r"0x[0-9a-fA-F]+", body):
        return sign * int(body, 16)
    if re.fullmatch(r"0[0-7]+", body):
        return sign * int(body, 8)
    if re.fullmatch(r"0|[1-9][0-9]*", body):
        return sign * int(body)
    if re.fullmatch(r"[0-9]+(:[0-5]?[0-9])+", body):
        value = 0
        for part in body.split(":"):
            value = value * 60 + int(part)
        return sign * value
    if re.fullmatch(r"[0-9]*\.[0-9]*([eE][-+][0-9]+)?", body) and re.search("[0-9]", body):
        return sign * float(body)
    return None


def _number_1_2(text: str) -> int | float | None:
    """The number that YAML 1.2's core schema makes of a plain word."""
    if len(text) > 60:
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
    """What YAML 1.1 and YAML 1.2 make of the plain word `text`."""
    found = []
    for number, words in (
        (_number_1_1(text), _WORDS_1_1 | _WORDS_BOTH),
        (_number_1_2(text), _WORDS_BOTH),
    ):
        word = words.get(text) or words.get(
            text.lower() if text in (text.upper(), text.title()) else "?"
        )
        if number is not None:
            found.append(Reading(number, f"the number {number}"))
        elif word is not None:
            found.append(Reading(None, word if word == "null" else f"the boolean {word}"))
        elif re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
            found.append(Reading(None, "a number"))
        elif not found and re.fullmatch(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?", text):
            found.append(Reading(None, "a date"))
        else:
            found.append(Reading(None, "text"))
    return found[0], found[1]


def readings_text(text: str) -> str:
    """What YAML makes of the plain word `text`, in a few words; of both versions where they differ."""
    old, new = readings(text)
    if old.words == new.words:
        return f"YAML reads it as {old.words}"
    return f"YAML 1.1 reads it as {old.words}, YAML 1.2 as {new.words}"


def number_hint(text: str) -> str:
    """What to write instead of `text` where a number is wanted."""
    numbers = {each.number for each in readings(text) if each.number is not None}
    wholes = sorted({int(number) for number in numbers if number == int(number)})
    said = readings_text(text)
    if not wholes or wholes[0] < 0:
        return f"write a decimal number, or 0x and hex digits ({said})"
    write = hex if text.startswith("0x") else str
    return f"write {' or '.join(map(write, wholes))} ({said})"


def is_no_text(text: str) -> bool:
    """Whether some YAML version reads the plain word `text` as something other than text."""
    return any(each.words != "text" for each in readings(text))
