"""A description that could be read only in part, so that this part is still checked."""

from __future__ import annotations

from typing import Any


class Unread:
    """What stands in the place of a value that could not be read; there is one, `UNREAD`."""

    __slots__ = ()


UNREAD = Unread()


class HalfRead:
    """A mapping of the document in which something could not be read, or was one key too many.

    A whole one is an object of its class in `vmcfg.description.model`.
    """

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __getitem__(self, key: str) -> Any:
        """The value of a key: `UNREAD` if it could not be read, None if the key is not there."""
        return self.values.get(key)
