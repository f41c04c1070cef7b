"""How one word of a description is read: by the type of its field, from its own text, never by YAML's guesses.

Each kind has `read(text, plain)`: the value, or `Misfit` with the VMC1xx rule that the word breaks. `plain` is true of
a word without quotes. Bounds hold here for plain integers alone: those written as text are left to the rules, because
a JSON Schema can't state them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vmcfg.report import Rule, shown

NUMBER = Rule(
    "VMC120",
    "numbers-are-plain",
    """A number is written in decimal without leading zeros, or in hexadecimal with 0x; quotes make no difference.

    YAML 1.1 and 1.2 read many other spellings differently (010 is 8 in one and 10 in the other; 1:30 is 90 or a
    text), so vmcfg takes none of them and shows both readings.""",
)
BOUNDS = Rule(
    "VMC121",
    "numbers-in-bounds",
    """A number lies between the least and the greatest that its field can ever hold.""",
)
TEXT = Rule(
    "VMC122",
    "texts-are-quoted",
    """Where text is wanted, a word that YAML 1.1 or 1.2 reads as a number, boolean, null or date is quoted.

    `host_kernel: 6.10` is the number 6.1 to a YAML reader, and `name: no` is the boolean false.""",
)
CHOICE = Rule("VMC123", "words-are-known", """A field with a fixed set of words holds one of them.""")
NAME = Rule(
    "VMC124",
    "names-are-safe",
    """A name has 1 to 63 letters, digits, dots, underscores and hyphens, the first a letter or digit.

    Such a name needs no quoting in a shell, a path or a comment.""",
)
MPIDR = Rule(
    "VMC125",
    "mpidrs-are-dotted",
    """An MPIDR is written Aff3.Aff2.Aff1.Aff0, always four decimal numbers; any of them may be a range as in 0-15.

    An integer is refused: it could be KVM's vCPU id, the register's value, or the 32-bit compressed form.""",
)
INTERRUPT = Rule(
    "VMC126",
    "interrupts-are-intids",
    """An interrupt is an INTID (23), a PPI's number (ppi:7, which is INTID 23) or an SPI's (spi:8, which is INTID 40).

    Ranges (40-43, spi:8-11) are for PMU interrupts, which can differ from vCPU to vCPU.""",
)
SIZE = Rule(
    "VMC127",
    "sizes-have-binary-units",
    """A size is a number of bytes, or a whole number of KiB, MiB, GiB or TiB without a space.""",
)
KERNEL = Rule("VMC128", "kernels-are-versions", """A host kernel is written as two numbers in quotes: "6.12".""")


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
        raise Misfit(NUMBER, f"{_named(text)} has too many digits", "a number has at most 19 decimal or 16 hex digits")
    if len(text) == DECIMAL_DIGITS + 1 and text.isdecimal():
        # Some of these still fit 64 bits: the greatest address is one.
        return min(int(text), value)
    return value


def _named(text: str) -> str:
    return f"'{shown(text)}'" if text else "nothing"


class Reading(NamedTuple):
    """What a YAML version makes of a plain word: a number, or the words for what else it is."""

    number: int | float | None
    words: str


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
    for number, words in ((_number_1_1(text), _WORDS_1_1 | _WORDS_BOTH), (_number_1_2(text), _WORDS_BOTH)):
        word = words.get(text) or words.get(text.lower() if text in (text.upper(), text.title()) else "?")
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


def number_hint(text: str) -> str:
    """What to write instead of `text` where a number is wanted."""
    old, new = readings(text)
    wholes = sorted(
        {int(each.number) for each in (old, new) if each.number is not None and each.number == int(each.number)}
    )
    said = (
        f"YAML 1.1 reads it as {old.words}, YAML 1.2 as {new.words}" if old != new else f"YAML reads it as {old.words}"
    )
    if not wholes or wholes[0] < 0:
        return f"write a decimal number, or 0x and hex digits ({said})"
    write = hex if text.startswith("0x") else str
    return f"write {' or '.join(map(write, wholes))} ({said})"


def refuse_unquoted(text: str) -> None:
    """Raise `Misfit` where a YAML reader takes the plain word `text` for something other than text."""
    if text[:1].isalpha() and text.lower() not in _WORDS_1_1 | _WORDS_BOTH:
        # Numbers and dates begin otherwise: most names need none of the expressions that know them compiled.
        return
    old, new = readings(text)
    if old.words == new.words == "text":
        return
    said = (
        f"YAML 1.1 reads it as {old.words}, YAML 1.2 as {new.words}"
        if old.words != new.words
        else f"YAML reads it as {old.words}"
    )
    wanted = f'write "{shown(text)}"' if text else "write it in quotes"
    raise Misfit(TEXT, f"{_named(text)} is text here and needs quotes", f"{wanted} ({said})")


class Number:
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
                BOUNDS, f"{_named(text)} is out of bounds: it must be at {word} {bound:{'#x' if self.hex else 'd'}}"
            )
        return value


class Choice:
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
        if hint is None and isinstance(self.choices[0], int) and plain and old_number(text):
            hint = number_hint(text)
        raise Misfit(CHOICE, f"{_named(text)} is not {known}", hint)


class Name:
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
            raise Misfit(NAME, f"{_named(text)} can't be {self.what}: {why}" if text else f"{self.what} can't be empty")
        return text


Version = tuple[int, int]
"""A kernel's version, compared as numbers: 6.10 is later than 6.9."""


LINUX_6_1: Version = (6, 1)
"""The oldest kernel that vmcfg plans for."""


class KernelVersion:
    """A kernel's version as text: two numbers with a dot."""

    pattern = r"(?:0|[1-9][0-9]{0,4})\.(?:0|[1-9][0-9]{0,4})"

    def read(self, text: str, plain: bool) -> Version:
        if plain:
            refuse_unquoted(text)
        if not re.fullmatch(self.pattern, text):
            start = re.match(self.pattern, text)
            hint = f'write "{start[0]}": the release alone, as the first two numbers' if start else 'write it as "6.12"'
            raise Misfit(KERNEL, f"{_named(text)} is not a kernel's version", hint)
        major, minor = text.split(".")
        return int(major), int(minor)


_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DECIMAL_UNITS = {"k": 1, "m": 2, "g": 3, "t": 4}


class Size:
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
            raise Misfit(SIZE, f"{_named(text)} is not a size", number_hint(text) if old_number(text) else hint)
        return Number(self.least, self.greatest).read(text, plain)


EVENTS = Rule(
    "VMC129",
    "events-are-numbers",
    """PMU events are a number, or a range first-last of them, both ends included: 0x11, 0x08-0x1b.""",
)


class EventRange(NamedTuple):
    """PMU events from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first:#x}" if self.first == self.last else f"{self.first:#x}-{self.last:#x}"


class Events:
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
            hint = number_hint(text) if old_number(text) else "write a number, or a range: 0x08-0x1b"
            raise Misfit(EVENTS, f"{_named(text)} is no event and no range of events", hint)
        return EventRange(low, high)


class MpidrRange(NamedTuple):
    """MPIDRs as written with ranges: the first and the last of each affinity field, Aff3 first."""

    first: tuple[int, int, int, int]
    last: tuple[int, int, int, int]

    def __str__(self) -> str:
        fields = zip(self.first, self.last, strict=True)
        return ".".join(str(first) if first == last else f"{first}-{last}" for first, last in fields)

    def forward(self) -> str:
        """The MPIDRs as written, each range from its lesser end to its greater."""
        ends = [sorted(ends) for ends in zip(self.first, self.last, strict=True)]
        return ".".join(str(low) if low == high else f"{low}-{high}" for low, high in ends)

    def total(self) -> int:
        """How many MPIDRs the ranges stand for; 0 where one runs backwards."""
        count = 1
        for first, last in zip(self.first, self.last, strict=True):
            count *= max(0, last - first + 1)
        return count


_AFFINITY = {str(number): number for number in range(256)}


class Mpidr:
    """An MPIDR, or a range of them. One MPIDR reads as its 32-bit compressed form, Aff3 in the top byte."""

    pattern = r"\.".join([r"(?:0|[1-9][0-9]{0,4})(?:-(?:0|[1-9][0-9]{0,4}))?"] * 4)

    def read(self, text: str, plain: bool) -> int | MpidrRange:
        try:
            aff3, aff2, aff1, aff0 = text.split(".")
            return _AFFINITY[aff3] << 24 | _AFFINITY[aff2] << 16 | _AFFINITY[aff1] << 8 | _AFFINITY[aff0]
        except (ValueError, KeyError):
            return self._range(text)

    def _range(self, text: str) -> MpidrRange:
        if not re.fullmatch(self.pattern, text):
            raise Misfit(MPIDR, f"{_named(text)} is not an MPIDR", self._hint(text))
        fields = [field.partition("-") for field in text.split(".")]
        first = [int(low) for low, _, _ in fields]
        last = [int(high or low) for low, _, high in fields]
        return MpidrRange((first[0], first[1], first[2], first[3]), (last[0], last[1], last[2], last[3]))

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


def mpidr_text(compressed: int) -> str:
    """A compressed MPIDR dotted: 0x100 is 0.0.1.0."""
    return f"{compressed >> 24}.{compressed >> 16 & 255}.{compressed >> 8 & 255}.{compressed & 255}"


def mpidr_of_id(vcpu_id: int) -> int:
    """The compressed MPIDR that KVM gives to a vCPU id (arch/arm64/kvm/sys_regs.c:reset_mpidr, v7.2)."""
    return (vcpu_id & 0xF) | (vcpu_id >> 4 & 0xFF) << 8 | (vcpu_id >> 12 & 0xFF) << 16


MPIDR_RES1 = 1 << 31
"""Bit 31 of MPIDR_EL1, which reads as one."""


def mpidr_register(compressed: int) -> int:
    """MPIDR_EL1 of a compressed MPIDR: Aff3 in bits 39..32, bit 31 set, U and MT zero."""
    return (compressed >> 24) << 32 | MPIDR_RES1 | compressed & 0xFFFFFF


def mpidr_readings(value: int) -> list[str]:
    """What the integer `value` may mean as an MPIDR, each reading dotted and named."""
    found = []
    if value < 512:
        found.append(f"{mpidr_text(mpidr_of_id(value))} as KVM's vCPU id {value}")
    if value < 1 << 40 and (value & MPIDR_RES1 or value >> 32):
        found.append(f"{mpidr_text((value >> 32) << 24 | value & 0xFFFFFF)} as the register MPIDR_EL1")
    if value < 1 << 32:
        found.append(f"{mpidr_text(value)} as the 32-bit compressed form")
    return found or ["no MPIDR has this value"]


PPI_BASE = 16
SPI_BASE = 32
SPI_END = 1020
"""One more than the last SPI: 1020..1023 are reserved."""


def is_ppi(intid: int) -> bool:
    """Whether `intid` is a private peripheral interrupt: 16..31."""
    return PPI_BASE <= intid < SPI_BASE


def is_spi(intid: int) -> bool:
    """Whether `intid` is a shared peripheral interrupt: 32..1019."""
    return SPI_BASE <= intid < SPI_END


def interrupt_text(intid: int) -> str:
    """An interrupt by both of its numbers: INTID 40 (SPI 8)."""
    if intid < PPI_BASE:
        kind = f"SGI {intid}"
    elif intid < SPI_BASE:
        kind = f"PPI {intid - PPI_BASE}"
    elif intid < SPI_END:
        kind = f"SPI {intid - SPI_BASE}"
    else:
        kind = "reserved" if intid < 8192 else "LPI"
    return f"INTID {intid} ({kind})"


class IrqRange(NamedTuple):
    """An interrupt as written with a prefix or a range: ``ppi``, ``spi`` or no prefix; first and last number."""

    prefix: str
    first: int
    last: int

    @property
    def base(self) -> int:
        """The INTID of number 0."""
        return {"": 0, "ppi": PPI_BASE, "spi": SPI_BASE}[self.prefix]

    @property
    def intid(self) -> int:
        """The INTID of the first."""
        return self.base + self.first

    def total(self) -> int:
        """How many interrupts the range stands for; 0 where it runs backwards."""
        return max(0, self.last - self.first + 1)


def intid_of(written: int | IrqRange) -> int:
    """The INTID of one interrupt as written."""
    return written if isinstance(written, int) else written.intid


U32_GREATEST = (1 << 32) - 1
INTID_GREATEST = (1 << 31) - 1
"""KVM takes a PMU's or timer's INTID as a C int."""
_INTID = Number(0, INTID_GREATEST)


class Interrupt:
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
                    raise Misfit(INTERRUPT, f"{_named(text)} is a range, and one interrupt is wanted here")
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
        span = re.fullmatch(r"\[?((?:ppi:|spi:)?[0-9]{1,9})(?:\.\.\.?|:|to|,|,\.\.\.?,)[a-z:]*([0-9]{1,9})\]?", lowered)
        usual = "write an INTID (23), ppi:7 or spi:8" + (", or a range: spi:8-11" if self.ranges else "")
        if old_number(text):
            old, new = readings(text)
            if old.number is None and new.number is None:
                return f"{usual} (YAML 1.1 reads it as {old.words}, YAML 1.2 as {new.words})"
            return number_hint(text)
        return f"write {span[1]}-{span[2]} for a range" if span and self.ranges else usual


def old_number(text: str) -> bool:
    """Whether some YAML version reads the plain word `text` as something other than text."""
    return any(each.words != "text" for each in readings(text))
