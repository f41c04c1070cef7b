"""The lines of plans and records in JSON Lines, and the first one, by which both are recognized."""

from __future__ import annotations

import re
from typing import Any


def begins_with(head: bytes, op: str) -> bool:
    """Return whether a file that begins with `head` has JSON Lines whose first one is this one.

    The keys of that line are in any order, and it can be longer than `head`.
    """
    return re.match(rb'\{(?:[^\n]*,)?\s*"op"\s*:\s*"%s"' % op.encode(), head) is not None


def object_in(line: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line; None if it contains anything else."""
    # A description needs no JSON.
    import json

    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
