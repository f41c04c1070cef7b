"""A description that could be read only in part. That part is still checked."""

from __future__ import annotations

from typing import Any


class Unread:
    """The type of `UNREAD`, which replaces a value that could not be read."""

    __slots__ = ()


UNREAD = Unread()


class HalfRead:
    """A mapping with a value that could not be read, or with an unknown key.

    Any other mapping is an object of its class in `vmcfg.description.model`.
    """

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __getitem__(self, key: str) -> Any:
        """Return the value of a key: `UNREAD` if it could not be read, None without the key."""
        return self.values.get(key)
