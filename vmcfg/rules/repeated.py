"""What is listed twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def repeated(names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Return the index of each name that is listed again, with that of its first place."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        earlier = first.setdefault(name, index)
        if earlier != index:
            yield index, earlier
