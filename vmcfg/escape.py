"""Text from the input for one line of any output, without characters that control a terminal.

Characters that are not printable, or that change the direction of text, are escaped as in Python.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` on one line, uncut: for file names and messages."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escaped(char) for char in text])


def excerpt(text: str, longest: int = 60) -> str:
    """Return `text` on one line, cut to `longest` characters: for text from a description."""
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return printable(text)


def ascii_line(text: str) -> str:
    """Return `text` on one line in ASCII: for comments in files that other programs read."""
    return printable(text).encode("ascii", "backslashreplace").decode()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode()
