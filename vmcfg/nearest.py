"""The nearest of some known words to one that is none of them."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], closeness: float = 0.6) -> str | None:
    """The known word that is most like `word`; None where none is alike to `closeness`, of 1."""
    # Needed only where something is misspelled, and not free to load.
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), 1, closeness)
    return close[0] if close else None
