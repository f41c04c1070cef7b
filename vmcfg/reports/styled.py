"""Text in pieces, each with a style: without colors for a pipe, or with colors from rich for a
terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Piece = tuple[str, str]
"""Text and its style, one of `STYLES`."""

STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "title": "bold",
    "gutter": "blue",
    "primary": "bold red",
    "related": "cyan",
    "label": "bold",
    "plain": "",
}


def plain(lines: Iterable[list[Piece]]) -> str:
    """Return lines of pieces as text without color."""
    return "".join("".join(text for text, _ in line) + "\n" for line in lines)


def colored(lines: Iterable[list[Piece]]) -> str:
    """Return lines of pieces as text with terminal colors, drawn by rich."""
    from rich.text import Text

    pen = _pen()
    with pen.capture() as capture:
        for line in lines:
            pen.print(
                Text.assemble(*((text, STYLES[style]) for text, style in line)), soft_wrap=True
            )
    return capture.get()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with terminal colors, drawn by rich in its full width: no number is cut or
    wrapped.
    """
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        drawn.add_column(Text(heading, style="bold cyan"))
    for row in rows:
        drawn.add_row(*map(Text, row))
    pen = _pen()
    with pen.capture() as captured:
        pen.print(drawn)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@cache
def _pen() -> Console:
    """Return a console that colors all that it prints and changes nothing else."""
    from rich.console import Console

    return Console(
        force_terminal=True,
        color_system="standard",
        no_color=False,
        width=10_000,
        highlight=False,
        markup=False,
        emoji=False,
    )
