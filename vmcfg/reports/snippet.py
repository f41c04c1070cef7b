"""The source lines of a diagnostic, with every place underlined.

Source lines are cut to a width around the marked place. Labels are never cut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from vmcfg.findings.position import Span
from vmcfg.reports.styled import Piece

TAB = 4

NEAR = 2
"""The distance in lines up to which the lines between two places are shown."""

DOTS = "..."
"""The text for omitted cells or lines."""

Sign = Literal["^", "-"]
"""The sign under a place: the place of the finding, or a related one."""


class Mark(NamedTuple):
    """A place to underline, with its sign, its style, and its label."""

    span: Span
    sign: Sign
    style: str
    label: str


def snippet(
    marks: list[Mark], lines: list[str], margin: int, width: int, encoding: str
) -> Iterator[list[Piece]]:
    """Return the lines with `marks`, each followed by its marks. Distant lines between are omitted.

    Line numbers take `margin` columns, and what is shown of a line at most `width`.
    """
    numbers = sorted({mark.span.line for mark in marks if mark.span.line <= len(lines)})
    previous = None
    for number in numbers:
        if previous is not None:
            yield from _between(lines, previous, number, margin, width, encoding)
        previous = number
        line = _line(lines[number - 1], encoding)
        here = [mark for mark in marks if mark.span.line == number]
        yield from _marked_line(line, number, here, margin, width)


def _between(
    lines: list[str], above: int, below: int, margin: int, width: int, encoding: str
) -> Iterator[list[Piece]]:
    """Return what is between two lines with marks: the lines there, or dots for many lines."""
    if below - above > NEAR + 1:
        yield [(DOTS, "gutter")]
        return
    for number in range(above + 1, below):
        line = _line(lines[number - 1], encoding)
        start, end = line.window(0, 0, width)
        yield [_gutter(margin, number), (line.part(start, end), "plain")]


def _marked_line(
    line: _Line, number: int, marks: list[Mark], margin: int, width: int
) -> Iterator[list[Piece]]:
    """Return a line with its marks under it, the primary mark first.

    A line too long to show all of its marks is shown again for those out of sight.
    """
    waiting = sorted(marks, key=lambda mark: (mark.sign != "^", mark))
    while waiting:
        first = waiting[0]
        start, end = line.window(*line.under(first.span), width)
        yield [_gutter(margin, number), (line.part(start, end), "plain")]
        seen = [mark for mark in waiting if mark is first or line.shows(mark.span, start, end)]
        waiting = [mark for mark in waiting if mark not in seen]
        for mark in seen:
            for pieces in line.underlined(mark, start, end, width):
                yield [_gutter(margin), *pieces]


def _gutter(margin: int, number: int | None = None) -> Piece:
    written = "" if number is None else str(number)
    return f"{written:>{margin}} | ", "gutter"


class _Line:
    """A source line, character by character: its cells as shown, and their columns on the
    screen.
    """

    def __init__(self, text: str, encoding: str) -> None:
        as_it_is = text.isascii() and text.isprintable()
        self.cells = list(text) if as_it_is else [_cell(char, encoding) for char in text]
        self.columns = [0]
        """The column of each cell, and at the end the width of the line."""
        for cell in self.cells:
            self.columns.append(self.columns[-1] + _width(cell))

    def under(self, span: Span) -> tuple[int, int]:
        """Return the cells of this line in `span`, which begins here: from the first to the one
        after the last.

        None are covered past the end of the line.
        """
        length = len(self.cells)
        first = min(span.column - 1, length)
        if span.end_line == span.line:
            return first, max(first, min(span.end_column - 1, length))
        # A place that continues in the next line is underlined to the last word of this one.
        last = length
        while last > first and self.cells[last - 1].isspace():
            last -= 1
        return first, last

    def window(self, first: int, last: int, width: int) -> tuple[int, int]:
        """Return the first and the last shown cell, so that the cells from `first` to `last`
        begin in sight.
        """
        # A place past the end of the line takes a column too.
        total = self.columns[-1] + (first == len(self.cells))
        if total <= width:
            return 0, len(self.cells)
        # A third of the width before the place, more where the line ends soon after it.
        room = width - len(DOTS)
        least = min(self.columns[first] - room // 3, total - room)
        if least <= len(DOTS):
            return 0, self._fitting(0, room)
        start = bisect_left(self.columns, least + len(DOTS))
        if total - self.columns[start] <= room:
            return start, len(self.cells)
        return start, self._fitting(start, room - len(DOTS))

    def _fitting(self, start: int, room: int) -> int:
        """Return the last cell so that those from `start` have at most `room` columns."""
        end = start
        while end < len(self.cells) and self.columns[end + 1] - self.columns[start] <= room:
            end += 1
        return end

    def shows(self, span: Span, start: int, end: int) -> bool:
        """Return whether the cells from `start` to `end` show all of `span` in this line."""
        first, last = self.under(span)
        return start <= first and last <= end

    def part(self, start: int, end: int) -> str:
        """Return the cells from `start` to `end` as text, with dots if the line was cut."""
        before = DOTS if start else ""
        after = DOTS if end < len(self.cells) else ""
        return before + "".join(self.cells[start:end]) + after

    def underlined(self, mark: Mark, start: int, end: int, width: int) -> Iterator[list[Piece]]:
        """Return the lines with `mark` under the cells from `start` to `end`, and its label.

        The label is next to the mark, or below it if it does not fit there.
        """
        first, last = self.under(mark.span)
        dots = len(DOTS) if start else 0
        offset = dots + self.columns[first] - self.columns[start]
        # Of a place past the end of the line, one column is underlined.
        length = max(1, self.columns[min(last, end)] - self.columns[first])
        signs = mark.sign * length
        indent: Piece = " " * offset, "plain"
        label_width = _text_width(mark.label)
        if offset + length + 1 + label_width <= width:
            yield [indent, (f"{signs} {mark.label}".rstrip(), mark.style)]
            return
        yield [indent, (signs, mark.style)]
        label_offset = max(0, min(offset, width - label_width))
        yield [(" " * label_offset, "plain"), (mark.label, mark.style)]


@lru_cache(maxsize=8)
def _line(text: str, encoding: str) -> _Line:
    """Return a source line. The cache serves long lines with many findings."""
    return _Line(text, encoding)


def _cell(char: str, encoding: str) -> str:
    """Return a character as shown: a tab as spaces; not printable ones, or those not in `encoding`,
    escaped.
    """
    if char == "\t":
        return " " * TAB
    if not char.isprintable():
        return char.encode("unicode_escape").decode()
    if char.isascii() or encoding == "utf-8":
        return char
    return char.encode(encoding, "backslashreplace").decode(encoding)


def _width(cell: str) -> int:
    """Return the number of columns of a cell on a terminal."""
    if cell.isascii():
        return len(cell)
    import unicodedata

    is_combining = unicodedata.category(cell) in ("Mn", "Me")
    if is_combining or "\u1160" <= cell <= "\u11ff":  # vowels and finals of Hangul combine, too
        return 0
    return 2 if unicodedata.east_asian_width(cell) in "WF" else 1


def _text_width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_width, text))
