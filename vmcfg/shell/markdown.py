"""Markdown as GitHub reads it: text that stays as it is, headings with anchors, tables, blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from textwrap import wrap

WIDTH = 100
"""The length of the longest line of a paragraph."""


def escaped(text: str) -> str:
    """Return text that shows as it is; code between backquotes stays code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else _escaped_prose(piece) for piece in pieces if piece
    )


def _escaped_prose(text: str) -> str:
    text = re.sub(r"([\\*<>|\[\]])", r"\\\1", text)
    # An underscore inside a word is never markup.
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def paragraph(text: str) -> Iterator[str]:
    """Yield the lines of a paragraph of plain text, and an empty one."""
    yield from wrap(escaped(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    yield ""


def item(label: str, text: str) -> Iterator[str]:
    """Yield the lines of a list item; `text` is Markdown."""
    yield from wrap(
        f"- {label}: {text}",
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def heading(level: int, text: str) -> Iterator[str]:
    """Yield the lines of a heading; `text` is Markdown."""
    yield f"{'#' * level} {text}"
    yield ""


def anchor(text: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", text.lower())
    return f"#{kept.replace(' ', '-')}"


def link(text: str, to: str | None = None) -> str:
    """Return a link to the heading `to`; None means the heading that reads as `text`."""
    return f"[{text}]({anchor(text if to is None else to)})"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table; its cells are Markdown."""
    titles = list(titles)
    yield _row(titles)
    yield _row("---" for _ in titles)
    for row in rows:
        # In a table, a bar ends a cell even in code.
        yield _row(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def block(language: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a fenced block."""
    yield f"```{language}"
    yield from lines
    yield "```"
    yield ""


def headings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the level and the text of each heading of a page, which blocks do not contain."""
    outside = re.sub(r"(?ms)^```.*?^```$", "", text)
    for marks, words in re.findall(r"(?m)^(#+) (.+)$", outside):
        yield len(marks), words
