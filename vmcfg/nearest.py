"""The known word that is most similar to a misspelled one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], closeness: float = 0.6) -> str | None:
    """Return the known word most similar to `word`; None if none reaches `closeness`, up to 1."""
    # Needed only for misspelled words, and slow to import.
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), 1, closeness)
    return close[0] if close else None
