"""The first line of JSON Lines, by which a plan and a record are recognized."""

from __future__ import annotations

import re


def begins_with(head: bytes, op: str) -> bool:
    """Return whether a file that begins with `head` has JSON Lines whose first one is this one.

    The keys of that line are in any order, and it can be longer than `head`.
    """
    return re.match(rb'\{(?:[^\n]*,)?\s*"op"\s*:\s*"%s"' % op.encode(), head) is not None
