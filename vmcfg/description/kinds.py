"""How one word of a description is read: by the type of its field, from its own text, never by YAML's guesses.

Each kind has `read(text, plain)`: the value, or `Misfit` with the VMC1xx rule that the word breaks. `plain` is true of
a word without quotes. Bounds hold here for plain integers alone: those written as text are left to the rules, because
a JSON Schema can't state them.
"""

from __future__ import annotations

import re
from typing import Any

from vmcfg.arm.affinity import MPIDR_RES1, mpidr_of_id, mpidr_text
from vmcfg.description.rules import (
    BOUNDS,
    CHOICE,
    EVENTS,
    INTERRUPT,
    KERNEL,
    MPIDR,
    NAME,
    NUMBER,
    SIZE,
    TEXT,
)
from vmcfg.description.written import EventRange, IrqRange, MpidrRange
from vmcfg.description.yaml_readings import (
    _WORDS_1_1,
    _WORDS_BOTH,
    is_no_text,
    number_hint,
    readings,
    readings_text,
)
from vmcfg.escape import excerpt
from vmcfg.findings.rule import Rule
from vmcfg.kernel.limits import INTID_GREATEST
from vmcfg.kernel.version import Version


class Misfit(ValueError):
    """A word that its field can't hold: the rule it breaks, what is wrong, and what to write instead."""

    def __init__(self, rule: Rule, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.hint = hint


DECIMAL_DIGITS = 19
"""As many decimal digits as always fit 64 bits; text with more is no number here."""

HEX_DIGITS = 16

NUMBER_PATTERN = r"(?:0|[1-9][0-9]{0,18}|0x[0-9a-fA-F]{1,16})"
"""A number written as text, as the schema spells it; `_integer` reads the same."""


def _integer(text: str) -> int | None:
    """The value of a decimal or 0x number, 2^64 where it has too many digits; None where `text` is neither."""
    if text.isdecimal() and text.isascii():
        if text[0] == "0" and len(text) > 1:
            return None
        return int(text) if len(text) <= DECIMAL_DIGITS else 1 << 64
    if text.startswith("0x"):
        digits = text[2:]
        if digits and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            return int(digits, 16) if len(digits) <= HEX_DIGITS else 1 << 64
    return None


def integer(text: str, plain: bool) -> int:
    """The value of a decimal or 0x number of at most 64 bits; a plain one may have more digits, and is then 2^64."""
    value = _integer(text)
    if value is None:
        raise Misfit(NUMBER, f"{_named(text)} is not a number that vmcfg reads", number_hint(text))
    if value == 1 << 64 and not plain:
        raise Misfit(
            NUMBER,
            f"{_named(text)} has too many digits",
            "a number has at most 19 decimal or 16 hex digits",
        )
    if len(text) == DECIMAL_DIGITS + 1 and text.isdecimal():
        # Some of these still fit 64 bits: the greatest address is one.
        return min(int(text), value)
    return value


def _named(text: str) -> str:
    return f"'{excerpt(text)}'" if text else "nothing"


def refuse_unquoted(text: str) -> None:
    """Raise `Misfit` where a YAML reader takes the plain word `text` for something other than text."""
    if text[:1].isalpha() and text.lower() not in _WORDS_1_1 | _WORDS_BOTH:
        # Numbers and dates begin otherwise: most names need none of the expressions that know them compiled.
        return
    if not is_no_text(text):
        return
    wanted = f'write "{excerpt(text)}"' if text else "write it in quotes"
    message = f"{_named(text)} is text here and needs quotes"
    raise Misfit(TEXT, message, f"{wanted} ({readings_text(text)})")


class ScalarKind:
    """How one word is read, what a JSON Schema says of it, and what a person reads of it: the base of all kinds."""

    __slots__ = ()

    def read(self, text: str, plain: bool) -> Any:
        """The value of a word; `plain` is true of one without quotes. Raises `Misfit`."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the words that `read` takes."""
        raise NotImplementedError

    def words(self) -> str:
        """What may be written, in words."""
        raise NotImplementedError


def anchored(pattern: str) -> str:
    """`pattern` for a whole text, in every dialect: Python's `$` alone would let a line feed follow."""
    return rf"^(?:{pattern})$(?!\n)"


def _integer_or_text(least: int, greatest: int, pattern: str) -> dict[str, Any]:
    return {
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": greatest,
        "pattern": anchored(pattern),
    }


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": anchored(pattern)}


class Number(ScalarKind):
    """A whole number between `least` and `greatest`. `hex` says how the field is usually written."""

    def __init__(self, least: int, greatest: int, *, hex: bool = False) -> None:
        self.least = least
        self.greatest = greatest
        self.hex = hex

    def read(self, text: str, plain: bool) -> int:
        value = integer(text, plain)
        if plain and not self.least <= value <= self.greatest:
            word, bound = ("least", self.least) if value < self.least else ("most", self.greatest)
            raise Misfit(
                BOUNDS,
                f"{_named(text)} is out of bounds: it must be at {word} {bound:{'#x' if self.hex else 'd'}}",
            )
        return value

    def schema(self) -> dict[str, Any]:
        return _integer_or_text(self.least, self.greatest, NUMBER_PATTERN)

    def words(self) -> str:
        write = hex if self.hex else str
        return f"a whole number from {write(self.least)} to {write(self.greatest)}, decimal or 0x"


class Choice(ScalarKind):
    """One of a few numbers or words. `others` explains well-known ones that are not among them."""

    def __init__(self, *choices: int | str, others: dict[int | str, str] | None = None) -> None:
        self.choices = choices
        self.others = others or {}

    def read(self, text: str, plain: bool) -> int | str:
        value = _integer(text) if isinstance(self.choices[0], int) else text
        if value in self.choices:
            return value
        known = " or ".join(map(str, self.choices))
        hint = self.others.get(value or 0)
        if hint is None and isinstance(self.choices[0], int) and plain and is_no_text(text):
            hint = number_hint(text)
        raise Misfit(CHOICE, f"{_named(text)} is not {known}", hint)

    def schema(self) -> dict[str, Any]:
        choices = list(self.choices)
        if isinstance(self.choices[0], str):
            return {"enum": choices}
        spellings = "|".join([_spellings(int(number)) for number in self.choices])
        return {"anyOf": [{"enum": choices}, _text(spellings)]}

    def words(self) -> str:
        return " or ".join(map(str, self.choices))


class Name(ScalarKind):
    """A name, `what` says of what: text that needs no quoting anywhere."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

    def __init__(self, what: str) -> None:
        self.what = what

    def read(self, text: str, plain: bool) -> str:
        if plain:
            refuse_unquoted(text)
        if not re.fullmatch(self.pattern, text):
            why = (
                "it is longer than 63 characters"
                if len(text) > 63
                else "only letters, digits, '.', '_' and '-' may stand in it"
            )
            if text and not (text[0].isalnum() and text[0].isascii()):
                why = "it must begin with a letter or a digit"
            raise Misfit(
                NAME,
                f"{_named(text)} can't be {self.what}: {why}"
                if text
                else f"{self.what} can't be empty",
            )
        return text

    def schema(self) -> dict[str, Any]:
        return _text(self.pattern)

    def words(self) -> str:
        return "1 to 63 letters, digits, '.', '_' or '-'"


class KernelVersion(ScalarKind):
    """A kernel's version as text: two numbers with a dot."""

    pattern = r"(?:0|[1-9][0-9]{0,4})\.(?:0|[1-9][0-9]{0,4})"

    def read(self, text: str, plain: bool) -> Version:
        if plain:
            refuse_unquoted(text)
        if not re.fullmatch(self.pattern, text):
            start = re.match(self.pattern, text)
            hint = (
                f'write "{start[0]}": the release alone, as the first two numbers'
                if start
                else 'write it as "6.12"'
            )
            raise Misfit(KERNEL, f"{_named(text)} is not a kernel's version", hint)
        major, minor = text.split(".")
        return int(major), int(minor)

    def schema(self) -> dict[str, Any]:
        return _text(self.pattern)

    def words(self) -> str:
        return 'two numbers, in quotes: "6.12"'


_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

_DECIMAL_UNITS = {"k": 1, "m": 2, "g": 3, "t": 4}


class Size(ScalarKind):
    """A number of bytes, with a binary unit or none."""

    least = 0
    greatest = (1 << 64) - 1
    pattern = rf"(?:{NUMBER_PATTERN}|(?:0|[1-9][0-9]{{0,9}})(?:KiB|MiB|GiB|TiB))"

    def read(self, text: str, plain: bool) -> int:
        unit = _UNITS.get(text[-3:])
        number = text[:-3]
        if (
            unit
            and number.isdecimal()
            and number.isascii()
            and len(number) <= 10
            and (number[0] != "0" or number == "0")
        ):
            return int(number) * unit
        other = re.fullmatch(r"([0-9]{1,10}) *([kKmMgGtT])(?:i?[bB]?)", text)
        if other:
            count, power = int(other[1]), _DECIMAL_UNITS[other[2].lower()]
            unit_name = list(_UNITS)[power - 1]
            raise Misfit(
                SIZE,
                f"{_named(text)} has no unit that vmcfg reads",
                f"write {count}{unit_name} for {count << 10 * power} bytes, or {count * 1000**power} for decimal",
            )
        value = _integer(text)
        if value is None:
            hint = "write bytes, or a whole number of KiB, MiB, GiB or TiB: 64KiB"
            raise Misfit(
                SIZE,
                f"{_named(text)} is not a size",
                number_hint(text) if is_no_text(text) else hint,
            )
        return Number(self.least, self.greatest).read(text, plain)

    def schema(self) -> dict[str, Any]:
        return _integer_or_text(self.least, self.greatest, self.pattern)

    def words(self) -> str:
        return "a number of bytes, or of KiB, MiB, GiB or TiB"


class Events(ScalarKind):
    """A PMU event's number, or a range of them."""

    greatest = 0xFFFF
    pattern = f"{NUMBER_PATTERN}(?:-{NUMBER_PATTERN})?"

    def read(self, text: str, plain: bool) -> EventRange:
        if _integer(text) is not None:
            number = Number(0, self.greatest, hex=True).read(text, plain)
            return EventRange(number, number)
        first, _, last = text.partition("-")
        low, high = _integer(first), _integer(last)
        if low is None or high is None or max(low, high) >= 1 << 64:
            hint = (
                number_hint(text) if is_no_text(text) else "write a number, or a range: 0x08-0x1b"
            )
            raise Misfit(EVENTS, f"{_named(text)} is no event and no range of events", hint)
        return EventRange(low, high)

    def schema(self) -> dict[str, Any]:
        return _integer_or_text(0, self.greatest, self.pattern)

    def words(self) -> str:
        return "a number up to 0xffff, or a range first-last"


_AFFINITY = {str(number): number for number in range(256)}


class Mpidr(ScalarKind):
    """An MPIDR, or a range of them. One MPIDR reads as its 32-bit compressed form, Aff3 in the top byte."""

    pattern = r"\.".join([r"(?:0|[1-9][0-9]{0,4})(?:-(?:0|[1-9][0-9]{0,4}))?"] * 4)

    def read(self, text: str, plain: bool) -> int | MpidrRange:
        try:
            aff3, aff2, aff1, aff0 = text.split(".")
            return (
                _AFFINITY[aff3] << 24
                | _AFFINITY[aff2] << 16
                | _AFFINITY[aff1] << 8
                | _AFFINITY[aff0]
            )
        except (ValueError, KeyError):
            return self._range(text)

    def _range(self, text: str) -> MpidrRange:
        if not re.fullmatch(self.pattern, text):
            raise Misfit(MPIDR, f"{_named(text)} is not an MPIDR", self._hint(text))
        fields = [field.partition("-") for field in text.split(".")]
        first = [int(low) for low, _, _ in fields]
        last = [int(high or low) for low, _, high in fields]
        return MpidrRange(
            (first[0], first[1], first[2], first[3]), (last[0], last[1], last[2], last[3])
        )

    def _hint(self, text: str) -> str:
        value = _integer(text)
        if value is not None:
            return "write it dotted: " + "; ".join(mpidr_readings(value))
        ends = re.fullmatch(r"([0-9.]+)\.([0-9]+)-([0-9.]+)\.([0-9]+)", text)
        if ends and ends[1] == ends[3] and ends[1].count(".") == 2:
            return f"write {ends[1]}.{ends[2]}-{ends[4]}: the range stands in the field that it runs over"
        if re.search(r"[\[\],:*]|\.\.", text):
            return "a range is first-last, in any of the four: 0.0.0.0-3"
        if re.fullmatch(r"[0-9]+(\.[0-9]+){1,2}", text):
            return f"write all four, Aff3 first: {'0.' * (3 - text.count('.'))}{text}"
        return "write Aff3.Aff2.Aff1.Aff0, four decimal numbers without leading zeros: 0.0.1.0"

    def schema(self) -> dict[str, Any]:
        return _text(self.pattern)

    def words(self) -> str:
        return "four decimal numbers with dots; any of them a range"


def mpidr_readings(value: int) -> list[str]:
    """What the integer `value` may mean as an MPIDR, each reading dotted and named."""
    found = []
    if value < 512:
        found.append(f"{mpidr_text(mpidr_of_id(value))} as KVM's vCPU id {value}")
    if value < 1 << 40 and (value & MPIDR_RES1 or value >> 32):
        found.append(
            f"{mpidr_text((value >> 32) << 24 | value & 0xFFFFFF)} as the register MPIDR_EL1"
        )
    if value < 1 << 32:
        found.append(f"{mpidr_text(value)} as the 32-bit compressed form")
    return found or ["no MPIDR has this value"]


_INTID = Number(0, INTID_GREATEST)


class Interrupt(ScalarKind):
    """An INTID, ppi:N or spi:N; with `ranges`, first-last of them. A bare number reads as an int, the INTID."""

    def __init__(self, *, ranges: bool) -> None:
        self.ranges = ranges
        numbers = f"{NUMBER_PATTERN}(?:-{NUMBER_PATTERN})?" if ranges else NUMBER_PATTERN
        self.pattern = f"(?:(?:ppi|spi):)?{numbers}"

    def read(self, text: str, plain: bool) -> int | IrqRange:
        value = _integer(text)
        if value is not None:
            return value if value <= INTID_GREATEST else _INTID.read(text, plain)
        prefix, colon, numbers = text.rpartition(":")
        if (prefix in ("ppi", "spi") and colon) or not colon:
            first, dash, last = numbers.partition("-")
            low, high = _integer(first), _integer(last) if dash else _integer(first)
            if low is not None and high is not None and max(low, high) < 1 << 64:
                if dash and not self.ranges:
                    raise Misfit(
                        INTERRUPT, f"{_named(text)} is a range, and one interrupt is wanted here"
                    )
                return IrqRange(prefix, low, high)
        raise Misfit(INTERRUPT, f"{_named(text)} is not an interrupt", self._hint(text))

    def _hint(self, text: str) -> str:
        lowered = text.lower().replace(" ", "")
        named = re.fullmatch(r"(ppi|spi|intid|irq)[_#=:(\[]*([0-9]{1,9})[)\]]*", lowered)
        if named:
            number = int(named[2])
            return f"write {number if named[1] in ('intid', 'irq') else f'{named[1]}:{number}'}"
        cell = re.fullmatch(r"<?([01]) ([0-9]{1,9})( [0-9x]+)?>?", text)
        if cell:
            return f"write {'ppi' if cell[1] == '1' else 'spi'}:{cell[2]}, the second of the device tree's cells"
        span = re.fullmatch(
            r"\[?((?:ppi:|spi:)?[0-9]{1,9})(?:\.\.\.?|:|to|,|,\.\.\.?,)[a-z:]*([0-9]{1,9})\]?",
            lowered,
        )
        usual = "write an INTID (23), ppi:7 or spi:8" + (
            ", or a range: spi:8-11" if self.ranges else ""
        )
        if is_no_text(text):
            old, new = readings(text)
            if old.number is None and new.number is None:
                return f"{usual} (YAML 1.1 reads it as {old.words}, YAML 1.2 as {new.words})"
            return number_hint(text)
        return f"write {span[1]}-{span[2]} for a range" if span and self.ranges else usual

    def schema(self) -> dict[str, Any]:
        return _integer_or_text(0, INTID_GREATEST, self.pattern)

    def words(self) -> str:
        one = "an INTID, ppi:N or spi:N"
        return f"{one}; or a range: 40-43, spi:8-11" if self.ranges else one


def _spellings(number: int) -> str:
    """A pattern of all texts that are `number`: decimal, or hexadecimal with zeros before it."""
    digits = f"{number:x}"
    either_case = [digit if digit.isdecimal() else f"[{digit}{digit.upper()}]" for digit in digits]
    zeros = HEX_DIGITS - len(digits)
    return f"{number}|0x0{{0,{zeros}}}{''.join(either_case)}"
