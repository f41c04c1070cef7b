"""VMC100 to VMC108: what a file must be before its keys and values are looked at."""

from __future__ import annotations

from vmcfg.findings.rule import Rule

SYNTAX = Rule("VMC100", "text-is-yaml", """The text is YAML.""")

ENCODING = Rule(
    "VMC101",
    "text-is-utf-8",
    """The text is UTF-8 (a byte order mark and CRLF are fine), without control characters.

    The line breaks U+0085, U+2028 and U+2029 are refused too: YAML counts them as line ends, editors don't, and every
    line number after one would be wrong. So is a byte order mark anywhere but at the start: nobody sees it.""",
)

ONE_DOCUMENT = Rule(
    "VMC102", "one-document", """A file holds exactly one document, and that is a mapping."""
)

DUPLICATE_KEY = Rule(
    "VMC103",
    "keys-are-unique",
    """A key stands once in a mapping. YAML readers would silently keep the last.""",
)

PLAIN_KEY = Rule("VMC104", "keys-are-words", """A key is a single word, written where it stands.""")

NO_TAG = Rule(
    "VMC105",
    "no-tags",
    """Nothing is tagged: each field has its own type, which a tag could only contradict.""",
)

ALIAS = Rule(
    "VMC106",
    "aliases-have-anchors",
    """An alias stands for an anchored node that came before it and does not contain it.""",
)

BOUNDED = Rule(
    "VMC107",
    "documents-are-bounded",
    """Nesting goes at most 64 deep, and a document with its aliases written out has at most 100,000 nodes.""",
)

NO_MERGE = Rule(
    "VMC108",
    "no-merge-keys",
    """Nothing is merged with `<<`, which YAML 1.2 does not have. `pmu.irq` gives every vCPU its interrupt, and ranges
    (`mpidr: 0.0.0.0-3`) write many vCPUs at once.""",
)

RULES = (SYNTAX, ENCODING, ONE_DOCUMENT, DUPLICATE_KEY, PLAIN_KEY, NO_TAG, ALIAS, BOUNDED, NO_MERGE)
