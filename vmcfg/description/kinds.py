"""The kinds of scalars: how each is read, explained, and written in the JSON Schema.

A kind is a subclass of `ScalarKind`, which has everything that the commands need to know about it.
A word is read from its own text, by the type of its key, never by the type that YAML resolves.
`plain` is true for a word without quotes. Rules check the bounds of numbers, because they know the
answer of the kernel: a kind has them only for its words and its schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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
from vmcfg.kernel.limits import EVENT_GREATEST, INTID_GREATEST, MOST_VCPUS, U32_GREATEST
from vmcfg.kernel.version import Version

Schema = dict[str, Any]
"""A JSON Schema, or a part of one, as JSON data."""


class Misfit(ValueError):
    """A word that its key cannot have: the rule that it breaks, the problem, and a hint.

    `problem` is a predicate ("must be 2 or 3, not 4") or a noun phrase ("invalid number 'yes'").
    """

    def __init__(self, rule: Rule, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.rule = rule
        self.problem = problem
        self.hint = hint

    def message(self, key: str) -> str:
        """Return the headline of the finding; `key` names the key in quotes."""
        is_predicate = self.problem.startswith("must ")
        return f"{key} {self.problem}" if is_predicate else f"{self.problem} for {key}"


class ScalarKind:
    """The base of all kinds. tests/test_schema.py checks that each has the three methods."""

    def read(self, text: str, plain: bool) -> object:
        """Return the value of the word `text`. Raises `Misfit` if a rule rejects it."""
        raise NotImplementedError

    def words(self) -> str:
        """Return the allowed values, in words."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """Return the JSON Schema that accepts the same values as `read`."""
        raise NotImplementedError


# Text that is a number ----------------------------------------------------------------------------

TOO_GREAT = 1 << 64
"""The smallest number that exceeds 64 bits, and the value of all with too many digits."""

DECIMAL_DIGITS = 19
"""The number of decimal digits that always fit in 64 bits; text with more is not a number here."""

HEX_DIGITS = 16

ADDRESS_DIGITS = 5
"""The number of digits from which a number with a leading zero is an address without its 0x."""

NUMBER_PATTERN = r"(?:0|[1-9][0-9]{0,18}|0x[0-9a-fA-F]{1,16})"
"""A number as text, as in the schema; `_integer` accepts the same."""


_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
"""By the first letter of a unit: the power of 1024 (binary) or of 1000 (decimal)."""

_WITH_UNIT = re.compile(r"([0-9]{1,10}) *([kKmMgGtT])([iI]?)[bB]?")
"""A number with a unit, as any tool writes it; the last group tells binary units."""


def _integer(text: str) -> int | None:
    """Return the value of a decimal or 0x number, or `TOO_GREAT`; None for any other text."""
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
    """Return whether `text` consists of ASCII decimal digits."""
    return text.isdecimal() and text.isascii()


def _ends(text: str) -> tuple[int, int] | None:
    """Return the ends of a range first-last; for one number, both ends are equal.

    None if they are not numbers of 64 bits.
    """
    first, dash, last = text.partition("-")
    low = _integer(first)
    high = _integer(last) if dash else low
    if low is None or high is None or max(low, high) >= TOO_GREAT:
        return None
    return low, high


def integer(text: str, plain: bool) -> int:
    """Return the value of a decimal or 0x number of at most 64 bits."""
    value = _integer(text)
    if value is None:
        raise Misfit(NUMBER, f"invalid number {_quoted(text)}", number_hint(text))
    if plain and len(text) == DECIMAL_DIGITS + 1 and text.isdecimal():
        # Some of these still fit in 64 bits, such as the highest address.
        value = min(int(text), value)
    if value < TOO_GREAT:
        return value
    digits = "use at most 19 decimal or 16 hexadecimal digits"
    if plain:
        raise Misfit(BOUNDS, f"must be at most {TOO_GREAT - 1:#x}, not {excerpt(text)}", digits)
    raise Misfit(NUMBER, f"too many digits in {_quoted(text)}", digits)


def _quoted(text: str) -> str:
    """Return a word as messages quote it."""
    return f"'{excerpt(text)}'"


def _bare(text: str) -> str:
    """Return a word as messages contain it: numbers without quotes."""
    return excerpt(text) if _integer(text) is not None else _quoted(text)


def anchored(pattern: str) -> str:
    """Return `pattern` for a whole text, in every dialect.

    In Python, `$` alone would allow a line feed after the text.
    """
    return rf"^(?:{pattern})$(?!\n)"


def _integer_or_text(least: int, greatest: int, pattern: str) -> Schema:
    """Return the schema of a number that can be written as text; only numbers have bounds."""
    return {
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": greatest,
        "pattern": anchored(pattern),
    }


# Text that is text --------------------------------------------------------------------------------


def refuse_unquoted(text: str) -> None:
    """Raise `Misfit` if a YAML reader does not read the plain word `text` as text."""
    if text[:1].isalpha() and text.lower() not in TYPED_WORDS:
        # Numbers and dates do not begin with a letter: most names need no regular expression.
        return
    if not is_typed(text):
        return
    raise Misfit(TEXT, f"must be quoted: {readings_text(text)}", f'write "{excerpt(text)}"')


def _text_of(pattern: str) -> Schema:
    """Return the schema of text that is never written as a number."""
    return {"type": "string", "pattern": anchored(pattern)}


# The kinds ----------------------------------------------------------------------------------------


class Number(ScalarKind):
    """A whole number from `least` to `greatest`, in messages hexadecimal if `hex`."""

    def __init__(self, least: int, greatest: int, *, hex: bool = False) -> None:
        self.least = least
        self.greatest = greatest
        self.hex = hex

    def read(self, text: str, plain: bool) -> int:
        if self.hex and _integer(text) is None:
            hint = _hint_of_address(text)
            if hint is not None:
                raise Misfit(NUMBER, f"invalid number {_quoted(text)}", hint)
        return integer(text, plain)

    def words(self) -> str:
        least, greatest = self._spelled(self.least), self._spelled(self.greatest)
        return f"a whole number from {least} to {greatest}, decimal or 0x"

    def schema(self) -> Schema:
        return _integer_or_text(self.least, self.greatest, NUMBER_PATTERN)

    def _spelled(self, value: int) -> str:
        return f"{value:#x}" if self.hex else str(value)


class FunctionId(ScalarKind):
    """The id of an SMCCC function: a number, or its name in the headers of Linux."""

    least = 0
    greatest = U32_GREATEST

    def read(self, text: str, plain: bool) -> int:
        if not text[:1].isalpha():
            return Number(self.least, self.greatest, hex=True).read(text, plain)
        # Most descriptions have no filter, and most filters have numbers.
        from vmcfg.arm.smccc import FUNCTIONS

        id = FUNCTIONS.get(text)
        if id is None:
            raise Misfit(NUMBER, f"invalid function id {_quoted(text)}", _hint_of_function(text))
        return id

    def words(self) -> str:
        return (
            f"a number up to {self.greatest:#x}, or the name of a function in <linux/psci.h> or"
            " <linux/arm-smccc.h>"
        )

    def schema(self) -> Schema:
        from vmcfg.arm.smccc import FUNCTIONS

        names = "|".join(FUNCTIONS)
        return _integer_or_text(self.least, self.greatest, f"{NUMBER_PATTERN}|{names}")


def _hint_of_function(text: str) -> str:
    """Return the hint for a word that is not the name of an SMCCC function."""
    from vmcfg.arm.smccc import FUNCTIONS
    from vmcfg.nearest import nearest

    if re.fullmatch(r"[0-9a-fA-F]{8}", text):
        return f"write 0x{text}"
    word = text.upper()
    # Last are those of SMC64, which a 64-bit guest calls.
    same = [name for name in FUNCTIONS if name == word or name.endswith(f"_{word}")]
    if same:
        return f"write {same[-1]}"
    likely = nearest(word, FUNCTIONS)
    if likely is not None:
        return f"if you mean {likely}, write that"
    return "write a number, such as 0xc4000003, or its name, such as PSCI_0_2_FN64_CPU_ON"


class Choice(ScalarKind):
    """One of a few numbers or words. `others` has hints for well-known other values."""

    def __init__(self, *choices: int | str, others: dict[int | str, str] | None = None) -> None:
        self.choices = choices
        self.others = others or {}
        self.of_numbers = isinstance(choices[0], int)

    def read(self, text: str, plain: bool) -> int | str:
        value = _integer(text) if self.of_numbers else text
        if value in self.choices:
            return value
        choices = [str(each) if self.of_numbers else f"'{each}'" for each in self.choices]
        problem = f"must be {_alternatives(choices)}, not {_bare(text)}"
        raise Misfit(CHOICE, problem, self._hint(text, value, plain))

    def words(self) -> str:
        return _alternatives([str(each) for each in self.choices])

    def schema(self) -> Schema:
        as_data = {"enum": list(self.choices)}
        if not self.of_numbers:
            return as_data
        spellings = "|".join(_spellings(int(number)) for number in self.choices)
        return {"anyOf": [as_data, _text_of(spellings)]}

    def _hint(self, text: str, value: int | str | None, plain: bool) -> str | None:
        word = text.lower().replace("-", "_").removeprefix("kvm_arm_vcpu_")
        other = self.others.get(word if value is None or not self.of_numbers else value)
        if other is not None:
            return other
        if word in self.choices:
            return f"write {word}"
        if self.of_numbers and plain and value is None and is_typed(text):
            return number_hint(text)
        return None


def _hint_of_address(text: str) -> str | None:
    """Return the hint for an address without its 0x, or with the unit of a size."""
    if _is_decimal(text) and len(text) >= ADDRESS_DIGITS:
        return f"if the digits are hexadecimal, write 0x{text}"
    unit = _WITH_UNIT.fullmatch(text)
    if unit is None:
        return None
    address = int(unit[1]) * 1024 ** _POWERS[unit[2].lower()]
    return f"write {address:#x}" if address < TOO_GREAT else None


def _alternatives(words: list[str]) -> str:
    """Return words as a list: ``a``, ``a or b``, ``a, b, or c``."""
    if len(words) < 3:
        return " or ".join(words)
    return f"{', '.join(words[:-1])}, or {words[-1]}"


def _spellings(number: int) -> str:
    """Return a pattern for all texts of `number`: decimal, or hexadecimal with leading zeros."""
    in_hex = f"{number:x}"
    either_case = (digit if digit.isdecimal() else f"[{digit}{digit.upper()}]" for digit in in_hex)
    return f"{number}|0x0{{0,{HEX_DIGITS - len(in_hex)}}}{''.join(either_case)}"


class Flag(ScalarKind):
    """True or false."""

    def read(self, text: str, plain: bool) -> bool:
        if plain and text in ("true", "false"):
            return text == "true"
        raise Misfit(CHOICE, f"must be true or false, not {_quoted(text)}", self._hint(text))

    def words(self) -> str:
        return "true or false"

    def schema(self) -> Schema:
        return {"type": "boolean"}

    @staticmethod
    def _hint(text: str) -> str | None:
        word = text.lower()
        if word in ("true", "yes", "on", "1", "y"):
            return "write true, without quotes"
        if word in ("false", "no", "off", "0", "n"):
            return "write false, without quotes"
        return None


class UapiName(ScalarKind):
    """A name of a table: `names` returns the table. `others` has hints for other known names.

    The table is not needed until a description has such a name.
    """

    def __init__(
        self, word: str, names: Callable[[], Iterable[str]], others: dict[str, str] | None = None
    ) -> None:
        self.word = word
        self.names = names
        self.others = others or {}

    def read(self, text: str, plain: bool) -> str:
        names = list(self.names())
        if text in names:
            return text
        raise Misfit(CHOICE, f"unknown {self.word} {_quoted(text)}", self._hint(text, names))

    def words(self) -> str:
        return f"the name of a {self.word}"

    def schema(self) -> Schema:
        return {"enum": list(self.names())}

    def _hint(self, text: str, names: list[str]) -> str:
        word = text.upper()
        for each in (word, f"KVM_CAP_{word}", f"KVM_CAP_ARM_{word}", f"KVM_REG_ARM_{word}"):
            if each in self.others:
                return self.others[each]
            if each in names:
                return f"write {each}"
        from vmcfg.nearest import nearest

        likely = nearest(word, names, 0.75)
        if likely is not None:
            return f"if you mean {likely}, write that"
        return f"use one of {', '.join(names)}"


class Name(ScalarKind):
    """A name: text that does not need quotes in a shell, a path, or a comment."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

    def read(self, text: str, plain: bool) -> str:
        if plain:
            refuse_unquoted(text)
        if re.fullmatch(self.pattern, text):
            return text
        if not text:
            raise Misfit(NAME, "must not be empty", "write a name")
        raise Misfit(NAME, f"invalid name {_quoted(text)}", self._hint(text))

    def words(self) -> str:
        return "1 to 63 letters, digits, '.', '_', or '-'"

    def schema(self) -> Schema:
        return _text_of(self.pattern)

    @staticmethod
    def _hint(text: str) -> str:
        if not (text[0].isalnum() and text[0].isascii()):
            return "start the name with a letter or a digit"
        if len(text) > 63:
            return "use at most 63 characters"
        return "use only letters, digits, '.', '_', and '-'"


class KernelVersion(ScalarKind):
    """A kernel version as text: two numbers with a dot."""

    pattern = r"(?:0|[1-9][0-9]{0,4})\.(?:0|[1-9][0-9]{0,4})"

    def read(self, text: str, plain: bool) -> Version:
        if plain:
            refuse_unquoted(text)
        if not re.fullmatch(self.pattern, text):
            raise Misfit(KERNEL, f"invalid kernel version {_quoted(text)}", self._hint(text))
        major, minor = text.split(".")
        return int(major), int(minor)

    def words(self) -> str:
        return 'two numbers in quotes, such as "6.12"'

    def schema(self) -> Schema:
        return _text_of(self.pattern)

    def _hint(self, text: str) -> str:
        release = re.match(self.pattern, text)
        if release:
            return f'write "{release[0]}": only the first two numbers'
        return 'write two numbers in quotes, such as "6.12"'


class Size(ScalarKind):
    """A number of bytes, possibly with a binary unit."""

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
        return integer(text, plain)

    def words(self) -> str:
        return "a number of bytes, or of KiB, MiB, GiB, or TiB"

    def schema(self) -> Schema:
        return _integer_or_text(self.least, self.greatest, self.pattern)

    @staticmethod
    def _misfit(text: str) -> Misfit:
        other_unit = _WITH_UNIT.fullmatch(text)
        if other_unit:
            count, power = int(other_unit[1]), _POWERS[other_unit[2].lower()]
            hint = f"write {count}{list(_UNITS)[power - 1]}"
            if not other_unit[3]:
                hint += f"; if you mean a decimal unit, write {count * 1000**power}"
            return Misfit(SIZE, f"unknown unit in {_quoted(text)}", hint)
        hint = "write a number of bytes, or of KiB, MiB, GiB, or TiB, such as 64KiB"
        if is_typed(text):
            hint = number_hint(text)
        return Misfit(SIZE, f"invalid size {_quoted(text)}", hint)


_EVENTS_OF_PERF = {
    "sw_incr": 0x00,
    "l1i_cache_refill": 0x01,
    "l1d_cache_refill": 0x03,
    "l1d_cache": 0x04,
    "inst_retired": 0x08,
    "instructions": 0x08,
    "exc_taken": 0x09,
    "br_mis_pred": 0x10,
    "branch-misses": 0x10,
    "cpu_cycles": 0x11,
    "cycles": 0x11,
    "cpu-cycles": 0x11,
    "br_pred": 0x12,
    "mem_access": 0x13,
    "l1i_cache": 0x14,
    "l2d_cache": 0x16,
    "l2d_cache_refill": 0x17,
    "bus_access": 0x19,
    "bus_cycles": 0x1D,
    "br_retired": 0x21,
    "br_mis_pred_retired": 0x22,
    "stall_frontend": 0x23,
    "stall_backend": 0x24,
}
"""The names of perf for common events of PMUv3 (armv8_pmuv3 of the kernel)."""


class Events(ScalarKind):
    """The number of a PMU event, or a range of them."""

    pattern = f"{NUMBER_PATTERN}(?:-{NUMBER_PATTERN})?"

    def read(self, text: str, plain: bool) -> EventRange:
        if _integer(text) is not None:
            number = integer(text, plain)
            return EventRange(number, number)
        ends = _ends(text)
        if ends is None:
            hint = "write a number or a range, such as 0x08-0x1b"
            raw = re.fullmatch(r"r([0-9a-fA-F]{1,4})", text)
            if text.lower() in _EVENTS_OF_PERF:
                hint = f"write {_EVENTS_OF_PERF[text.lower()]:#x}"
            elif raw:
                hint = f"write 0x{raw[1]}"
            elif is_typed(text):
                hint = number_hint(text)
            raise Misfit(EVENTS, f"invalid events {_quoted(text)}", hint)
        return EventRange(*ends)

    def words(self) -> str:
        return "a number up to 0xffff, or a range first-last"

    def schema(self) -> Schema:
        return _integer_or_text(0, EVENT_GREATEST, self.pattern)


_AFFINITY = {str(number): number for number in range(256)}


class Mpidr(ScalarKind):
    """An MPIDR, or a range of them.

    One MPIDR is read as its 32-bit compressed form, with Aff3 in the top byte.
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
        return "four decimal numbers separated by dots, each possibly a range"

    def schema(self) -> Schema:
        return _text_of(self.pattern)

    def _range(self, text: str) -> MpidrRange:
        if not re.fullmatch(self.pattern, text):
            raise Misfit(MPIDR, f"invalid MPIDR {_quoted(text)}", self._hint(text))
        fields = [field.partition("-") for field in text.split(".")]
        first = [int(low) for low, _, _ in fields]
        last = [int(high or low) for low, _, high in fields]
        return MpidrRange(
            (first[0], first[1], first[2], first[3]), (last[0], last[1], last[2], last[3])
        )

    @staticmethod
    def _hint(text: str) -> str:
        value = _integer(text)
        meanings = [] if value is None else mpidr_readings(value)
        if meanings and value is not None:
            if value < 1 << 24:
                meanings[-1] = (meanings[-1][0], f"{text} as 'reg' in a device tree")
            return "write " + ", or ".join(
                f"{mpidr} if you mean {meaning}" for mpidr, meaning in meanings
            )
        separated = re.fullmatch(
            r"([0-9]{1,3})([:,/-])([0-9]{1,3})\2([0-9]{1,3})\2([0-9]{1,3})", text
        )
        if separated:
            return f"write {'.'.join(separated.group(1, 3, 4, 5))}"
        ends = re.fullmatch(r"([0-9.]+)\.([0-9]+)-([0-9.]+)\.([0-9]+)", text)
        if ends and ends[1] == ends[3] and ends[1].count(".") == 2:
            ranged = f"{ends[1]}.{ends[2]}-{ends[4]}"
            return f"write the range inside its field: {ranged}"
        if re.search(r"[\[\],:*]|\.\.", text):
            return "write a range inside a field, such as 0.0.0.0-3"
        if re.fullmatch(r"[0-9]+-[0-9]+|[0-9]+(-[0-9]+)?(\.[0-9]+(-[0-9]+)?){1,2}", text):
            missing = 3 - text.count(".")
            return f"write all four fields, Aff3 first: {'0.' * missing}{text}"
        return "write four decimal numbers without leading zeros, Aff3 first, such as 0.0.1.0"


def mpidr_readings(value: int) -> list[tuple[str, str]]:
    """Return the MPIDRs that the integer `value` can mean: each dotted, with the meaning."""
    found = []
    if value < MOST_VCPUS:
        found.append((mpidr_text(mpidr_of_id(value)), f"vCPU id {value}"))
    if value < 1 << 40 and (value & MPIDR_RES1 or value >> 32):
        found.append((mpidr_text(compressed_of_register(value)), "the register MPIDR_EL1"))
    if value < 1 << 32:
        found.append((mpidr_text(value), "the 32-bit compressed form"))
    return found


class Interrupt(ScalarKind):
    """An INTID, ppi:N, or spi:N; with `ranges`, also first-last of them.

    A bare number is read as an int, the INTID.
    """

    def __init__(self, *, ranges: bool) -> None:
        self.ranges = ranges
        numbers = f"{NUMBER_PATTERN}(?:-{NUMBER_PATTERN})?" if ranges else NUMBER_PATTERN
        self.pattern = f"(?:(?:ppi|spi):)?{numbers}"

    def read(self, text: str, plain: bool) -> int | IrqRange:
        intid = _integer(text)
        if intid is not None:
            return intid if intid < TOO_GREAT else integer(text, plain)
        prefix, colon, numbers = text.rpartition(":")
        prefix_is_known = prefix in ("ppi", "spi") or not colon
        ends = _ends(numbers) if prefix_is_known else None
        if ends is None:
            raise Misfit(INTERRUPT, f"invalid interrupt {_quoted(text)}", self._hint(text))
        if "-" in numbers and not self.ranges:
            raise Misfit(INTERRUPT, "must be one interrupt, not a range")
        return IrqRange(prefix, *ends)

    def words(self) -> str:
        one = "an INTID, ppi:N, or spi:N"
        return f"{one}; or a range, such as 40-43 or spi:8-11" if self.ranges else one

    def schema(self) -> Schema:
        return _integer_or_text(0, INTID_GREATEST, self.pattern)

    def _hint(self, text: str) -> str:
        usual = "write an INTID, ppi:N, or spi:N, such as 23, ppi:7, or spi:8"
        return (
            _hint_of_other_prefix(text)
            or _hint_of_cells(text)
            or _hint_of_typed_word(text, usual)
            or (_hint_of_other_range(text) if self.ranges else None)
            or usual
        )


def _hint_of_other_prefix(text: str) -> str | None:
    """Return the hint for an interrupt as other tools write it: `SPI 8`, `ppi#7`, `irq=40`."""
    named = re.fullmatch(
        r"(?:gic_)?(ppi|spi|intid|irq)[_#=:(\[]*([0-9]{1,9})(-[0-9]{1,9})?[)\]]*", _compact(text)
    )
    if named is None:
        return None
    prefix, number, rest = named[1], int(named[2]), named[3] or ""
    written = f"{number}{rest}"
    return f"write {written}" if prefix in ("intid", "irq") else f"write {prefix}:{written}"


def _hint_of_cells(text: str) -> str | None:
    """Return the hint for an interrupt as in a device tree: `<1 7 4>`."""
    cells = re.fullmatch(r"<?([01]) ([0-9]{1,9})( [0-9x]+)?>?", text)
    if cells is None:
        return None
    prefix = "ppi" if cells[1] == "1" else "spi"
    return f"write {prefix}:{cells[2]}: the second cell in a device tree is the number"


def _hint_of_typed_word(text: str, usual: str) -> str | None:
    """Return the hint for a word that some YAML version does not read as text."""
    if not is_typed(text):
        return None
    old, new = readings(text)
    if old.number is None and new.number is None:
        return f"{usual}: {readings_text(text)}"
    return number_hint(text)


def _hint_of_other_range(text: str) -> str | None:
    """Return the hint for a range as other tools write it: `[40, 43]`, `spi:8..11`, `40 to 43`."""
    span = re.fullmatch(
        r"\[?((?:ppi:|spi:)?[0-9]{1,9})(?:\.\.\.?|:|to|,|,\.\.\.?,)[a-z:]*([0-9]{1,9})\]?",
        _compact(text),
    )
    return f"write the range {span[1]}-{span[2]}" if span else None


def _compact(text: str) -> str:
    return text.lower().replace(" ", "")
