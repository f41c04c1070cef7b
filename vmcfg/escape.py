"""TODO."""

from __future__ import annotations


def printable(path: str) -> str:
    """A file's name, fit for one line of any output."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in path
    )


def excerpt(text: str, longest: int = 60) -> str:
    """`text` from the input, fit for one line of any output: unprintable and direction-changing characters escaped."""
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
