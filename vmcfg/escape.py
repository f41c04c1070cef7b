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


def without_surrogates(text: str) -> str:
    """Return `text` as JSON can contain it: lone surrogates, as in some file names, are escaped."""
    if text.isascii():
        return text
    return "".join([_escaped(char) if "\ud800" <= char <= "\udfff" else char for char in text])


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        # A byte of a file name that is not UTF-8 (PEP 383).
        return f"\\x{ord(char) & 0xFF:02x}"
    return char.encode("unicode_escape", "backslashreplace").decode()
