"""A bar that says how far a long run is."""

from __future__ import annotations

from time import monotonic

from vmcfg.files import print_error

QUIET = 1.0
"""Seconds without a word after which a bar says how far it is."""

LONGEST = 40
"""How many columns the bar itself has at most."""

REDRAWN = 0.1
"""Seconds between two drawings of the bar."""

ERASED = "\x1b[K"
"""What makes a terminal forget the rest of a line."""


class Progress:
    """A bar on standard error, a terminal, that says how far a run of `total` steps is, once that
    is quiet a second.
    """

    def __init__(self, total: int, color: bool) -> None:
        self.total = total
        self.color = color
        self.done = 0
        self.shown = False
        self.due = monotonic() + QUIET
        """When the bar is next drawn."""

    def advance(self) -> None:
        """A step is done."""
        self.done += 1
        now = monotonic()
        if now >= self.due:
            self.due = now + REDRAWN
            self.shown = True
            print_error(f"\r{self._drawn()}{ERASED}")

    def clear(self) -> None:
        """Take the bar away, to make room; it comes back when it has been quiet again."""
        self.due = monotonic() + QUIET
        if self.shown:
            self.shown = False
            print_error(f"\r{ERASED}")

    def _drawn(self) -> str:
        from rich.console import Console
        from rich.progress_bar import ProgressBar

        pen = Console(stderr=True, no_color=not self.color)
        words = f" {self.done}/{self.total} files checked"
        room = pen.width - len(words) - 1
        bar = ProgressBar(self.total, self.done, width=max(1, min(LONGEST, room)))
        with pen.capture() as captured:
            pen.print(bar, end="")
        return captured.get() + words
