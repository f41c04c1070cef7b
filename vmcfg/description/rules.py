"""VMC109 to VMC129: what one value by itself must be, and which keys there are."""

from __future__ import annotations

from vmcfg.findings.rule import Rule

KIND = Rule(
    "VMC109",
    "values-have-their-kind",
    """A mapping, a list or a single value stands where one is wanted.""",
)

UNKNOWN_KEY = Rule(
    "VMC110",
    "keys-are-known",
    """Every key is one that vmcfg knows; keys at the top that begin with `x-` are the user's own, `$schema` is ignored.

    A misspelt key would otherwise be a setting that silently never takes effect.""",
)

MISSING_KEY = Rule(
    "VMC111", "required-keys-stand", """The keys that a mapping can't do without are there."""
)


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

CHOICE = Rule(
    "VMC123", "words-are-known", """A field with a fixed set of words holds one of them."""
)

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

KERNEL = Rule(
    "VMC128",
    "kernels-are-versions",
    """A host kernel is written as two numbers in quotes: "6.12".""",
)

EVENTS = Rule(
    "VMC129",
    "events-are-numbers",
    """PMU events are a number, or a range first-last of them, both ends included: 0x11, 0x08-0x1b.""",
)

RULES = (
    KIND,
    UNKNOWN_KEY,
    MISSING_KEY,
    NUMBER,
    BOUNDS,
    TEXT,
    CHOICE,
    NAME,
    MPIDR,
    INTERRUPT,
    SIZE,
    KERNEL,
    EVENTS,
)
