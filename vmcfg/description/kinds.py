"""The kinds of scalars: how one word is read, explained, and drawn in the JSON Schema.

A kind is one subclass of `ScalarKind`, which has all that the commands need to know of it. A word
is read by the type of its field, from its own text, never by YAML's guesses. `plain` is true of a
word without quotes. Bounds hold here only for plain integers: those written as text are left to the
rules, because a JSON Schema cannot state them.
"""

from __future__ import annotations

import re
from typing import Any

from vmcfg.arm.affinity import (
    MPIDR_RES1,
    compressed_of_register,
    mpidr_of_id,
    mpidr_text,
)
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
    TYPED_WORDS,
    is_typed,
    number_hint,
    readings,
    readings_text,
)
from vmcfg.escape import excerpt
from vmcfg.findings.rule import Rule
from vmcfg.kernel.limits import EVENT_GREATEST, INTID_GREATEST, MOST_VCPUS
from vmcfg.kernel.version import Version

Schema = dict[str, Any]
"""A JSON Schema, or a part of one, as JSON data."""


class Misfit(ValueError):
    """A word that its field can't hold: the rule it breaks, what is wrong, and what to write."""

    def __init__(self, rule: Rule, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.hint = hint


class ScalarKind:
    """The base of all kinds. Each has the three methods, which tests/test_schema.py checks."""

    def read(self, text: str, plain: bool) -> object:
        """The value of the word `text`. Raises `Misfit` with the rule that the word breaks."""
        raise NotImplementedError

    def words(self) -> str:
        """What may be written, in words."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """The JSON Schema that accepts the same values as `read`."""
        raise NotImplementedError


# Text that is a number ----------------------------------------------------------------------------

TOO_GREAT = 1 << 64
"""The least number that does not fit 64 bits, and the value of all with too many digits."""

DECIMAL_DIGITS = 19
"""As many decimal digits as always fit 64 bits; text with more is no number here."""

HEX_DIGITS = 16

NUMBER_PATTERN = r"(?:0|[1-9][0-9]{0,18}|0x[0-9a-fA-F]{1,16})"
"""A number written as text, as the schema spells it; `_integer` reads the same."""


def _integer(text: str) -> int | None:
    """The value of a decimal or 0x number, or `TOO_GREAT`; None if `text` is neither."""
    if _is_decimal(text):
        if text[0] == "0" and len(text) > 1:
            return None
        return int(text) if len(text) <= DECIMAL_DIGITS else TOO_GREAT
    if text.startswith("0x"):
        digits = text[2:]
        if digits and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            return int(digits, 16) if len(digits) <= HEX_DIGITS else TOO_GREAT
    return None


def _is_decimal(text: str) -> bool:
    """Whether `text` has decimal digits only, and those of ASCII."""
    return text.isdecimal() and text.isascii()


def _ends(text: str) -> tuple[int, int] | None:
    """The ends of a range first-last, twice the same for one number.

    None if they are not numbers of 64 bits.
    """
    first, dash, last = text.partition("-")
    low = _integer(first)
    high = _integer(last) if dash else low
    if low is None or high is None or max(low, high) >= TOO_GREAT:
        return None
    return low, high


def integer(text: str, plain: bool) -> int:
    """The value of a decimal or 0x number of at most 64 bits.

    A plain one may have more digits, and is then `TOO_GREAT`: the bounds of its field refuse it.
    """
    value = _integer(text)
    if value is None:
        raise Misfit(NUMBER, f"{_named(text)} is not a number that vmcfg reads", number_hint(text))
    if value == TOO_GREAT and not plain:
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


def anchored(pattern: str) -> str:
    """`pattern` for a whole text, in every dialect.

    Python's `$` alone would let a line feed follow.
    """
    return rf"^(?:{pattern})$(?!\n)"


def _integer_or_text(least: int, greatest: int, pattern: str) -> Schema:
    """The schema of what is written as a number or as text; the bounds hold for numbers only."""
    return {
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": greatest,
        "pattern": anchored(pattern),
    }


# Text that is text --------------------------------------------------------------------------------


def refuse_unquoted(text: str) -> None:
    """Raise `Misfit` if a YAML reader takes the plain word `text` for something other than text."""
    if text[:1].isalpha() and text.lower() not in TYPED_WORDS:
        # Numbers and dates begin otherwise: for most names, no expression has to be compiled.
        return
    if not is_typed(text):
        return
    wanted = f'write "{excerpt(text)}"' if text else "write it in quotes"
    message = f"{_named(text)} is text here and needs quotes"
    raise Misfit(TEXT, message, f"{wanted} ({readings_text(text)})")


def _text_of(pattern: str) -> Schema:
    """The schema of what is written as text only."""
    return {"type": "string", "pattern": anchored(pattern)}


# The kinds ----------------------------------------------------------------------------------------


class Number(ScalarKind):
    """A whole number from `least` to `greatest`. `hex` says how the field is usually written."""

    def __init__(self, least: int, greatest: int, *, hex: bool = False) -> None:
        self.least = least
        self.greatest = greatest
        self.hex = hex

    def read(self, text: str, plain: bool) -> int:
        value = integer(text, plain)
        if plain and value < self.least:
            raise self._out_of_bounds(text, f"at least {self._spelled(self.least)}")
        if plain and value > self.greatest:
            raise self._out_of_bounds(text, f"at most {self._spelled(self.greatest)}")
        return value

    def words(self) -> str:
        least, greatest = self._spelled(self.least), self._spelled(self.greatest)
        return f"a whole number from {least} to {greatest}, decimal or 0x"

    def schema(self) -> Schema:
        return _integer_or_text(self.least, self.greatest, NUMBER_PATTERN)

    def _spelled(self, value: int) -> str:
        return f"{value:#x}" if self.hex else str(value)

    def _out_of_bounds(self, text: str, bound: str) -> Misfit:
        return Misfit(BOUNDS, f"{_named(text)} is out of bounds: it must be {bound}")


class Choice(ScalarKind):
    """One of a few numbers or words. `others` explains well-known ones that are not among them."""

    def __init__(self, *choices: int | str, others: dict[int | str, str] | None = None) -> None:
        self.choices = choices
        self.others = others or {}
        self.of_numbers = isinstance(choices[0], int)

    def read(self, text: str, plain: bool) -> int | str:
        value = _integer(text) if self.of_numbers else text
        if value in self.choices:
            return value
        raise Misfit(
            CHOICE, f"{_named(text)} is not {self.words()}", self._hint(text, value, plain)
        )

    def words(self) -> str:
        return " or ".join(map(str, self.choices))

    def schema(self) -> Schema:
        as_data = {"enum": list(self.choices)}
        if not self.of_numbers:
            return as_data
        spellings = "|".join(_spellings(int(number)) for number in self.choices)
        return {"anyOf": [as_data, _text_of(spellings)]}

    def _hint(self, text: str, value: int | str | None, plain: bool) -> str | None:
        if value is not None and value in self.others:
            return self.others[value]
        if self.of_numbers and plain and is_typed(text):
            return number_hint(text)
        return None


def _spellings(number: int) -> str:
    """A pattern of all texts that are `number`: decimal, or hexadecimal with zeros before it."""
    in_hex = f"{number:x}"
    either_case = (digit if digit.isdecimal() else f"[{digit}{digit.upper()}]" for digit in in_hex)
    return f"{number}|0x0{{0,{HEX_DIGITS - len(in_hex)}}}{''.join(either_case)}"


class Name(ScalarKind):
    """A name, `what` says of what: text that needs no quoting anywhere."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

    def __init__(self, what: str) -> None:
        self.what = what

    def read(self, text: str, plain: bool) -> str:
        if plain:
            refuse_unquoted(text)
        if re.fullmatch(self.pattern, text):
            return text
        if not text:
            raise Misfit(NAME, f"{self.what} can't be empty")
        raise Misfit(NAME, f"{_named(text)} can't be {self.what}: {self._fault(text)}")

    def words(self) -> str:
        return "1 to 63 letters, digits, '.', '_' or '-'"

    def schema(self) -> Schema:
        return _text_of(self.pattern)

    @staticmethod
    def _fault(text: str) -> str:
        if not (text[0].isalnum() and text[0].isascii()):
            return "it must begin with a letter or a digit"
        if len(text) > 63:
            return "it is longer than 63 characters"
        return "only letters, digits, '.', '_' and '-' may stand in it"


class KernelVersion(ScalarKind):
    """A kernel's version as text: two numbers with a dot."""

    pattern = r"(?:0|[1-9][0-9]{0,4})\.(?:0|[1-9][0-9]{0,4})"

    def read(self, text: str, plain: bool) -> Version:
        if plain:
            refuse_unquoted(text)
        if not re.fullmatch(self.pattern, text):
            raise Misfit(KERNEL, f"{_named(text)} is not a kernel's version", self._hint(text))
        major, minor = text.split(".")
        return int(major), int(minor)

    def words(self) -> str:
        return 'two numbers, in quotes: "6.12"'

    def schema(self) -> Schema:
        return _text_of(self.pattern)

    def _hint(self, text: str) -> str:
        release = re.match(self.pattern, text)
        if release:
            return f'write "{release[0]}": the release alone, as the first two numbers'
        return 'write it as "6.12"'


_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
"""By the first letter of a unit: of 1024 in a binary one, of 1000 in a decimal one."""


class Size(ScalarKind):
    """A number of bytes, with a binary unit or none."""

    least = 0
    greatest = TOO_GREAT - 1
    pattern = rf"(?:{NUMBER_PATTERN}|(?:0|[1-9][0-9]{{0,9}})(?:KiB|MiB|GiB|TiB))"

    def read(self, text: str, plain: bool) -> int:
        number, unit = text[:-3], _UNITS.get(text[-3:])
        if unit is not None and _is_decimal(number) and len(number) <= 10:
            count = _integer(number)
            if count is not None:
                return count * unit
        if _integer(text) is None:
            raise self._misfit(text)
        return Number(self.least, self.greatest).read(text, plain)

    def words(self) -> str:
        return "a number of bytes, or of KiB, MiB, GiB or TiB"

    def schema(self) -> Schema:
        return _integer_or_text(self.least, self.greatest, self.pattern)

    @staticmethod
    def _misfit(text: str) -> Misfit:
        other_unit = re.fullmatch(r"([0-9]{1,10}) *([kKmMgGtT])(?:i?[bB]?)", text)
        if other_unit:
            count, power = int(other_unit[1]), _POWERS[other_unit[2].lower()]
            binary = f"{count}{list(_UNITS)[power - 1]} for {count << 10 * power} bytes"
            return Misfit(
                SIZE,
                f"{_named(text)} has no unit that vmcfg reads",
                f"write {binary}, or {count * 1000**power} for decimal",
            )
        hint = "write bytes, or a whole number of KiB, MiB, GiB or TiB: 64KiB"
        if is_typed(text):
            hint = number_hint(text)
        return Misfit(SIZE, f"{_named(text)} is not a size", hint)


class Events(ScalarKind):
    """A PMU event's number, or a range of them."""

    pattern = f"{NUMBER_PATTERN}(?:-{NUMBER_PATTERN})?"

    def read(self, text: str, plain: bool) -> EventRange:
        if _integer(text) is not None:
            number = Number(0, EVENT_GREATEST, hex=True).read(text, plain)
            return EventRange(number, number)
        ends = _ends(text)
        if ends is None:
            hint = "write a number, or a range: 0x08-0x1b"
            if is_typed(text):
                hint = number_hint(text)
            raise Misfit(EVENTS, f"{_named(text)} is no event and no range of events", hint)
        return EventRange(*ends)

    def words(self) -> str:
        return "a number up to 0xffff, or a range first-last"

    def schema(self) -> Schema:
        return _integer_or_text(0, EVENT_GREATEST, self.pattern)


_AFFINITY = {str(number): number for number in range(256)}


class Mpidr(ScalarKind):
    """An MPIDR, or a range of them.

    One MPIDR reads as its 32-bit compressed form, Aff3 in the top byte.
    """

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

    def words(self) -> str:
        return "four decimal numbers with dots; any of them a range"

    def schema(self) -> Schema:
        return _text_of(self.pattern)

    def _range(self, text: str) -> MpidrRange:
        if not re.fullmatch(self.pattern, text):
            raise Misfit(MPIDR, f"{_named(text)} is not an MPIDR", self._hint(text))
        fields = [field.partition("-") for field in text.split(".")]
        first = [int(low) for low, _, _ in fields]
        last = [int(high or low) for low, _, high in fields]
        return MpidrRange(
            (first[0], first[1], first[2], first[3]), (last[0], last[1], last[2], last[3])
        )

    @staticmethod
    def _hint(text: str) -> str:
        value = _integer(text)
        if value is not None:
            return "write it dotted: " + "; ".join(mpidr_readings(value))
        ends = re.fullmatch(r"([0-9.]+)\.([0-9]+)-([0-9.]+)\.([0-9]+)", text)
        if ends and ends[1] == ends[3] and ends[1].count(".") == 2:
            ranged = f"{ends[1]}.{ends[2]}-{ends[4]}"
            return f"write {ranged}: the range stands in the field that it runs over"
        if re.search(r"[\[\],:*]|\.\.", text):
            return "a range is first-last, in any of the four: 0.0.0.0-3"
        if re.fullmatch(r"[0-9]+(\.[0-9]+){1,2}", text):
            missing = 3 - text.count(".")
            return f"write all four, Aff3 first: {'0.' * missing}{text}"
        return "write Aff3.Aff2.Aff1.Aff0, four decimal numbers without leading zeros: 0.0.1.0"


def mpidr_readings(value: int) -> list[str]:
    """What the integer `value` may mean as an MPIDR, each reading dotted and named."""
    found = []
    if value < MOST_VCPUS:
        found.append(f"{mpidr_text(mpidr_of_id(value))} as KVM's vCPU id {value}")
    if value < 1 << 40 and (value & MPIDR_RES1 or value >> 32):
        found.append(f"{mpidr_text(compressed_of_register(value))} as the register MPIDR_EL1")
    if value < 1 << 32:
        found.append(f"{mpidr_text(value)} as the 32-bit compressed form")
    return found or ["no MPIDR has this value"]


_INTID = Number(0, INTID_GREATEST)


class Interrupt(ScalarKind):
    """An INTID, ppi:N or spi:N; with `ranges`, first-last of them.

    A bare number reads as an int, the INTID.
    """

    def __init__(self, *, ranges: bool) -> None:
        self.ranges = ranges
        numbers = f"{NUMBER_PATTERN}(?:-{NUMBER_PATTERN})?" if ranges else NUMBER_PATTERN
        self.pattern = f"(?:(?:ppi|spi):)?{numbers}"

    def read(self, text: str, plain: bool) -> int | IrqRange:
        intid = _integer(text)
        if intid is not None:
            return intid if intid <= INTID_GREATEST else _INTID.read(text, plain)
        prefix, colon, numbers = text.rpartition(":")
        prefix_is_known = prefix in ("ppi", "spi") or not colon
        ends = _ends(numbers) if prefix_is_known else None
        if ends is None:
            raise Misfit(INTERRUPT, f"{_named(text)} is not an interrupt", self._hint(text))
        if "-" in numbers and not self.ranges:
            raise Misfit(INTERRUPT, f"{_named(text)} is a range, and one interrupt is wanted here")
        return IrqRange(prefix, *ends)

    def words(self) -> str:
        one = "an INTID, ppi:N or spi:N"
        return f"{one}; or a range: 40-43, spi:8-11" if self.ranges else one

    def schema(self) -> Schema:
        return _integer_or_text(0, INTID_GREATEST, self.pattern)

    def _hint(self, text: str) -> str:
        usual = "write an INTID (23), ppi:7 or spi:8"
        if self.ranges:
            usual += ", or a range: spi:8-11"
        return (
            _hint_of_other_prefix(text)
            or _hint_of_cells(text)
            or _hint_of_typed_word(text, usual)
            or (_hint_of_other_range(text) if self.ranges else None)
            or usual
        )


def _hint_of_other_prefix(text: str) -> str | None:
    """The hint for one interrupt as other tools write it: `SPI 8`, `ppi#7`, `irq=40`."""
    named = re.fullmatch(r"(ppi|spi|intid|irq)[_#=:(\[]*([0-9]{1,9})[)\]]*", _compact(text))
    if named is None:
        return None
    prefix, number = named[1], int(named[2])
    return f"write {number}" if prefix in ("intid", "irq") else f"write {prefix}:{number}"


def _hint_of_cells(text: str) -> str | None:
    """The hint for an interrupt as a device tree holds it: `<1 7 4>`."""
    cells = re.fullmatch(r"<?([01]) ([0-9]{1,9})( [0-9x]+)?>?", text)
    if cells is None:
        return None
    prefix = "ppi" if cells[1] == "1" else "spi"
    return f"write {prefix}:{cells[2]}, the second of the device tree's cells"


def _hint_of_typed_word(text: str, usual: str) -> str | None:
    """The hint for a word that some YAML version reads as something other than text."""
    if not is_typed(text):
        return None
    old, new = readings(text)
    if old.number is None and new.number is None:
        return f"{usual} (YAML 1.1 reads it as {old.words}, YAML 1.2 as {new.words})"
    return number_hint(text)


def _hint_of_other_range(text: str) -> str | None:
    """The hint for a range as other tools write it: `[40, 43]`, `spi:8..11`, `40 to 43`."""
    span = re.fullmatch(
        r"\[?((?:ppi:|spi:)?[0-9]{1,9})(?:\.\.\.?|:|to|,|,\.\.\.?,)[a-z:]*([0-9]{1,9})\]?",
        _compact(text),
    )
    return f"write {span[1]}-{span[2]} for a range" if span else None


def _compact(text: str) -> str:
    return text.lower().replace(" ", "")
