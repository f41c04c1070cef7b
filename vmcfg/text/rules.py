"""VMC100 to VMC108: requirements on a file before its keys and values are read."""

from __future__ import annotations

from vmcfg.findings.rule import Rule

SYNTAX = Rule("VMC100", "invalid-yaml", """The text must be valid YAML.""")

ENCODING = Rule(
    "VMC101",
    "invalid-character",
    """The text must be UTF-8 without control characters. A byte order mark at the start and CRLF
    line ends are allowed.

    The characters U+0085, U+2028, and U+2029 are not allowed: YAML treats them as line breaks, but
    editors do not, so that every line number after one would be wrong. U+FEFF is allowed only at
    the start, because it is invisible.""",
)

ONE_DOCUMENT = Rule(
    "VMC102",
    "invalid-document",
    """A file must contain exactly one document, which must be a mapping.""",
)

DUPLICATE_KEY = Rule(
    "VMC103",
    "duplicate-key",
    """A mapping must not contain a key twice: YAML readers would silently use the last one.""",
)

PLAIN_KEY = Rule(
    "VMC104",
    "complex-key",
    """A key must be a scalar, not an alias, a list, or a mapping.""",
)

NO_TAG = Rule(
    "VMC105",
    "yaml-tag",
    """YAML tags are not allowed: every key has a fixed type, which a tag could only contradict.""",
)

ALIAS = Rule(
    "VMC106",
    "invalid-alias",
    """An alias must refer to an anchor before it, and must not be inside the anchored value.""",
)

BOUNDED = Rule(
    "VMC107",
    "oversized-document",
    """A document must be nested at most 64 levels deep, and must have at most 100000 nodes after
    alias expansion.""",
)

NO_MERGE = Rule(
    "VMC108",
    "merge-key",
    """The merge key `<<` is not allowed: YAML 1.2 does not define it.

    `pmu.irq` sets the interrupt of every vCPU, and a range (`mpidr: 0.0.0.0-3`) describes many
    vCPUs in one entry.""",
)

RULES = (SYNTAX, ENCODING, ONE_DOCUMENT, DUPLICATE_KEY, PLAIN_KEY, NO_TAG, ALIAS, BOUNDED, NO_MERGE)
