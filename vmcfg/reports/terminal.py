"""What a stream is that a person may read: a terminal, how wide, with colours or without."""

from __future__ import annotations

import os
from typing import Any

PIPE_WIDTH = 160
"""How wide a snippet is where no terminal says it."""


def is_terminal(stream: Any) -> bool:
    """Whether `stream` is there and is a terminal."""
    return stream is not None and bool(stream.isatty())


def wants_color(choice: str, stream: Any) -> bool:
    """Whether what goes to `stream` is coloured: by --color, NO_COLOR, FORCE_COLOR, and whether it
    is a terminal.
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def columns(stream: Any) -> int:
    """How many columns the terminal has that shows `stream`; elsewhere as many as are usual
    there.
    """
    if not is_terminal(stream):
        return PIPE_WIDTH
    # A terminal that does not know its size has 0.
    return os.get_terminal_size(stream.fileno()).columns or PIPE_WIDTH
