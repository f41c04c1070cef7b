"""A progress bar for long runs."""

from __future__ import annotations

from time import monotonic

from vmcfg.files import print_error

QUIET = 1.0
"""The number of seconds without output before the bar is drawn."""

LONGEST = 40
"""The maximum number of columns of the bar itself."""

REDRAWN = 0.1
"""The number of seconds between two drawings of the bar."""

ERASED = "\x1b[K"
"""The control sequence that erases the rest of a line on a terminal."""


class Progress:
    """A progress bar for `total` steps on a terminal at standard error, after a second without
    output.
    """

    def __init__(self, total: int, color: bool) -> None:
        self.total = total
        self.color = color
        self.done = 0
        self.shown = False
        self.due = monotonic() + QUIET
        """The time at which the bar is drawn next."""

    def advance(self) -> None:
        """Count one completed step."""
        self.done += 1
        now = monotonic()
        if now >= self.due:
            self.due = now + REDRAWN
            self.shown = True
            print_error(f"\r{self._drawn()}{ERASED}")

    def clear(self) -> None:
        """Remove the bar before other output; it returns after a second without output."""
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
