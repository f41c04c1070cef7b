"""Text in lines that are not too long to read."""

from __future__ import annotations

from textwrap import wrap

WIDEST = 100
"""The length of the longest line of text, regardless of the width of the terminal."""

_NARROWEST = 40
"""The width below which the text is no longer wrapped to the terminal."""


def wrapped(text: str, width: int = WIDEST, first: str = "", rest: str | None = None) -> list[str]:
    """Return `text` in lines of at most `width` characters; words are never cut.

    `first` is in front of the first line and `rest` in front of the others; if `rest` is None, the
    others are indented as far as `first` is long.
    """
    if rest is None:
        rest = " " * len(first)
    return wrap(
        text,
        max(min(width, WIDEST), _NARROWEST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
