"""Text from the input, fit for one line of any output: what would drive a terminal is escaped.

Every character that is not printable is written as Python writes it in a string, and so are those
that change the direction of text.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, whole: for the names of files, and for messages."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escaped(char) for char in text])


def excerpt(text: str, longest: int = 60) -> str:
    """`text` on one line, cut to `longest` characters: for what a description says."""
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return printable(text)


def ascii_line(text: str) -> str:
    """`text` on one line in ASCII: for comments in files that other programs read."""
    return printable(text).encode("ascii", "backslashreplace").decode()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode()
