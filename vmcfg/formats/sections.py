"""The marked sections of the C files in this directory, and what fills them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vmcfg.escape import ascii_line

SECTION = re.compile(
    r"(?ms)^/\* vmcfg: (?P<name>[a-z -]+) \*/\n(?P<body>.*?)^/\* vmcfg: end of (?P=name) \*/\n"
)
"""A part of a C file that is replaced, removed, or kept. Sections can be nested."""

KEPT = None
"""Replaces no section: it stays as in the file, except the sections inside it."""


def filled(text: str, sections: Mapping[str, str | None]) -> str:
    """Return `text` with its sections replaced by name."""

    def replaced(section: re.Match[str]) -> str:
        replacement = sections[section["name"]]
        return filled(section["body"], sections) if replacement is KEPT else replacement

    return SECTION.sub(replaced, text)


def prefixed(text: str, prefix: str | None) -> str:
    """Return `text` with `prefix` in its names in place of vmcfg; without one, unchanged."""
    if not prefix:
        return text
    text = re.sub(r"\bvmcfg_", f"{prefix}_", text)
    return re.sub(r"\bVMCFG_", f"{prefix.upper()}_", text)


def in_comment(text: str) -> str:
    """Return a name in ASCII without the delimiters of comments."""
    return ascii_line(text).replace("*/", "*\\/").replace("/*", "/\\*")
