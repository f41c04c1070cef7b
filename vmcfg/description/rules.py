"""VMC109 to VMC129: which keys there are, and what each value alone must be."""

from __future__ import annotations

from vmcfg.findings.rule import Rule

KIND = Rule(
    "VMC109",
    "wrong-type",
    """A key must have a value of the right type: a mapping, a list, or a single value.""",
)

UNKNOWN_KEY = Rule(
    "VMC110",
    "unknown-key",
    """Every key must be defined by the format.

    Top-level keys that begin with `x-` are for your own use; `$schema` is ignored. Otherwise a
    misspelled key would silently have no effect.""",
)

MISSING_KEY = Rule("VMC111", "missing-key", """All required keys must be present.""")

VM_KEY_IN_DEFAULTS = Rule(
    "VMC112",
    "vm-key-in-defaults",
    """The file of `--defaults` must not contain `name` or `vcpus`: every VM has its own.""",
    found_by="defaults",
)

NUMBER = Rule(
    "VMC120",
    "invalid-number",
    """A number must be decimal without leading zeros, or hexadecimal with 0x. Quotes make no
    difference.

    YAML 1.1 and 1.2 read many other spellings differently: 010 is 8 in YAML 1.1 and 10 in YAML 1.2;
    1:30 is 90 or a text. vmcfg therefore rejects all of them and prints both readings.""",
)

BOUNDS = Rule(
    "VMC121",
    "number-out-of-range",
    """A number must fit in 64 bits.

    The ranges of single keys are checked by the rules that know the answer of the kernel.""",
)

TEXT = Rule(
    "VMC122",
    "unquoted-text",
    """Text must be quoted if YAML 1.1 or 1.2 reads it as a number, a boolean, null, or a date.

    YAML reads `host_kernel: 6.10` as the number 6.1, and `name: no` as the boolean false.""",
)

CHOICE = Rule(
    "VMC123",
    "invalid-choice",
    """A key with a fixed set of values must have one of them.""",
)

NAME = Rule(
    "VMC124",
    "invalid-name",
    """A name must have 1 to 63 characters: letters, digits, dots, underscores, and hyphens. It must
    begin with a letter or a digit.

    In a shell, a path, or a comment, such a name does not need quotes.""",
)

MPIDR = Rule(
    "VMC125",
    "invalid-mpidr",
    """An MPIDR must be written as Aff3.Aff2.Aff1.Aff0: four decimal numbers, each possibly a range
    such as 0-15.

    An integer is rejected because it is ambiguous: it could be a vCPU id, the value of the
    register, or the 32-bit compressed form.""",
)

INTERRUPT = Rule(
    "VMC126",
    "invalid-interrupt",
    """An interrupt must be an INTID (23), a PPI number (ppi:7, which is INTID 23), or an SPI number
    (spi:8, which is INTID 40).

    Ranges (40-43, spi:8-11) are allowed only for PMU interrupts, which can differ between vCPUs.
    """,
)

SIZE = Rule(
    "VMC127",
    "invalid-size",
    """A size must be a number of bytes, or a whole number of KiB, MiB, GiB, or TiB without a space.
    """,
)

KERNEL = Rule(
    "VMC128",
    "invalid-kernel-version",
    """A host kernel must be written as two numbers in quotes: "6.12".""",
)

EVENTS = Rule(
    "VMC129",
    "invalid-event",
    """PMU events must be a number, or a range of numbers with inclusive ends: 0x11, 0x08-0x1b.""",
)

RULES = (
    KIND,
    UNKNOWN_KEY,
    MISSING_KEY,
    VM_KEY_IN_DEFAULTS,
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
