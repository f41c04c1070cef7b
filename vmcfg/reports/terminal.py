"""The properties of an output stream: whether it is a terminal, its width, and its colors."""

from __future__ import annotations

import os
from typing import Any

PIPE_WIDTH = 160
"""The width of snippets if the output is not a terminal."""


def is_terminal(stream: Any) -> bool:
    """Return whether `stream` is open and is a terminal."""
    return stream is not None and bool(stream.isatty())


def wants_color(choice: str, stream: Any) -> bool:
    """Return whether output to `stream` has colors: by --color, NO_COLOR, FORCE_COLOR, and the kind
    of stream.
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def columns(stream: Any) -> int:
    """Return the number of columns of the terminal `stream`, else PIPE_WIDTH."""
    if not is_terminal(stream):
        return PIPE_WIDTH
    # A terminal without a known size has 0 columns.
    return os.get_terminal_size(stream.fileno()).columns or PIPE_WIDTH
