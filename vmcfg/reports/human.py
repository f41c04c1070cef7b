"""Diagnostics for people: the place underlined in its line, the related places with it, then hint and kernel.

`human` draws lines of styled pieces; the same pieces make the text in a pipe and the colours on a terminal, so that
colour changes no word. First lines, hints and labels are never wrapped or cut: a terminal folds what is long, and a
search finds it whole. Source lines are cut to the width, around the place that they are shown for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.position import Span
from vmcfg.findings.rule import ERROR
from vmcfg.reports.concise import first_line
from vmcfg.reports.styled import Piece, coloured, plain
from vmcfg.reports.terminal import PIPE_WIDTH, columns, wants_color
from vmcfg.text.nodes import lines_of

TAB = 4

NARROWEST = 20
"""How many columns of a source line are shown on the narrowest terminal."""

NEAR = 2
"""Places this many lines apart are shown with what stands between them."""

DOTS = "..."


def human(
    found: Diagnostic, text: str, width: int = PIPE_WIDTH, encoding: str = "utf-8"
) -> list[list[Piece]]:
    """A diagnostic as lines of pieces: first line, snippet of `text`, hint, and what the kernel would have said.

    Source lines take `width` columns at most, gutter included; what `encoding` does not have is shown escaped.
    """
    here = [each for each in found.related if each.file == found.file]
    margin = len(str(max(found.span.line, *(each.span.line for each in here), 1)))
    marks = [_Mark(found.span, "^", "primary", "")]
    marks += [_Mark(each.span, "-", "related", printable(each.message)) for each in here]
    edge = " " * margin + " |"
    drawn = [first_line(found), [(edge, "gutter")]]
    drawn += _snippet(marks, lines_of(text), margin, max(width - margin - 3, NARROWEST), encoding)
    for each in found.related:
        if each.file != found.file:
            place = f"{' ' * margin}::: {printable(each.file)}:{each.span.line}:{each.span.column} "
            drawn.append([(place, "gutter"), (printable(each.message), "related")])
    drawn.append([(edge, "gutter")])
    notes = []
    if found.hint is not None:
        notes.append(("hint", found.hint))
    if found.kernel is not None:
        notes.append(("kernel", str(found.kernel)))
    if found.hosts:
        notes.append(("hosts", ", ".join(map(printable, found.hosts))))
    notes.append(("help", f"vmcfg explain {found.rule}"))
    drawn += [
        [
            (" " * (margin + 1) + "= ", "gutter"),
            (f"{label}: ", "label"),
            (printable(words), "plain"),
        ]
        for label, words in notes
    ]
    return drawn


def drawn(
    diagnostics: Iterable[Diagnostic],
    text: str,
    color: bool,
    width: int = PIPE_WIDTH,
    encoding: str = "utf-8",
) -> str:
    """`diagnostics` of one file, whose text is `text`, as `human` prints them."""
    lines = [line for found in diagnostics for line in (*human(found, text, width, encoding), [])]
    return coloured(lines) if color else plain(lines)


def summary(files: int, errors: int, warnings: int, fixed: int = 0) -> str:
    """One line that says what was checked and found, and how many findings were fixed."""
    what = f"{_counted(files, 'file')} checked: "
    counts = [
        _counted(count, word) for count, word in ((errors, ERROR), (warnings, "warning")) if count
    ]
    found = " and ".join(counts) or "nothing found"
    return what + (f"{fixed} fixed, {found if counts else 'nothing left'}" if fixed else found)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"


def drawn_for(stream: Any, color: str, diagnostics: Iterable[Diagnostic], text: str) -> str:
    """`diagnostics` of a file, whose text is `text`, as `stream` shows them: its colours, its width, its characters."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return drawn(diagnostics, text, wants_color(color, stream), columns(stream), encoding.lower())


class _Mark(NamedTuple):
    """A place to underline: with which sign, in which style, and the words beside it."""

    span: Span
    sign: str
    style: str
    label: str


def _snippet(
    marks: list[_Mark], lines: list[str], margin: int, width: int, encoding: str
) -> Iterator[list[Piece]]:
    """The lines on which `marks` stand, each with its marks under it; what lies far between is left out."""
    previous = None
    for number in sorted({mark.span.line for mark in marks if mark.span.line <= len(lines)}):
        if previous is not None and number - previous > NEAR + 1:
            yield [(DOTS, "gutter")]
        elif previous is not None:
            for between in range(previous + 1, number):
                line = _Line(lines[between - 1], encoding)
                yield [_gutter(margin, between), (line.part(*line.window(0, 0, width)), "plain")]
        previous = number
        line = _Line(lines[number - 1], encoding)
        waiting = sorted(
            (mark for mark in marks if mark.span.line == number),
            key=lambda mark: (mark.sign != "^", mark),
        )
        while waiting:
            # A line too long to show all of its marks is shown again for those out of sight.
            start, end = line.window(*line.under(waiting[0].span), width)
            yield [_gutter(margin, number), (line.part(start, end), "plain")]
            seen = [
                mark for mark in waiting if mark is waiting[0] or line.shows(mark.span, start, end)
            ]
            waiting = [mark for mark in waiting if mark not in seen]
            for mark in seen:
                for pieces in line.underlined(mark, start, end, width):
                    yield [_gutter(margin), *pieces]


def _gutter(margin: int, number: int | None = None) -> Piece:
    return f"{'' if number is None else number:>{margin}} | ", "gutter"


class _Line:
    """A line of source, character by character: what each is shown as, and at which column of the screen."""

    def __init__(self, text: str, encoding: str) -> None:
        ascii = text.isascii() and text.isprintable()
        self.cells = list(text) if ascii else [_cell(char, encoding) for char in text]
        self.columns = [0]
        """Where each cell begins, and at the end how wide the line is."""
        for cell in self.cells:
            self.columns.append(self.columns[-1] + _width(cell))

    def under(self, span: Span) -> tuple[int, int]:
        """The cells that `span` covers in this line, its first: at least one, though it be past the line's end."""
        first = min(span.column - 1, len(self.cells))
        last = span.end_column - 1 if span.end_line == span.line else len(self.cells)
        last = min(last, len(self.cells))
        while last > first and span.end_line != span.line and self.cells[last - 1].isspace():
            last -= 1
        return first, max(first, last)

    def window(self, first: int, last: int, width: int) -> tuple[int, int]:
        """From which cell to which the line is shown, so that the cells from `first` to `last` begin in sight."""
        # A place past the end of the line takes a column too.
        total = self.columns[-1] + (first == len(self.cells))
        if total <= width:
            return 0, len(self.cells)
        # A third of the width before the place, more where the line ends soon after it.
        room = width - len(DOTS)
        least = min(self.columns[first] - room // 3, total - room)
        if least <= len(DOTS):
            return 0, self._fitting(0, room)
        start = next(
            cell for cell, column in enumerate(self.columns) if column >= least + len(DOTS)
        )
        end = self._fitting(start, room - len(DOTS))
        if total - self.columns[start] <= room:
            end = len(self.cells)
        return start, end

    def _fitting(self, start: int, room: int) -> int:
        """The cell up to which those from `start` take at most `room` columns."""
        end = start
        while end < len(self.cells) and self.columns[end + 1] - self.columns[start] <= room:
            end += 1
        return end

    def shows(self, span: Span, start: int, end: int) -> bool:
        """Whether the cells from `start` to `end` show `span`, or all of them of the line it does."""
        first, last = self.under(span)
        return start <= first and (last <= end or (start, end) == (0, len(self.cells)))

    def part(self, start: int, end: int) -> str:
        """The cells from `start` to `end` as text, with dots where the line was cut."""
        return (
            (DOTS if start else "")
            + "".join(self.cells[start:end])
            + (DOTS if end < len(self.cells) else "")
        )

    def underlined(self, mark: _Mark, start: int, end: int, width: int) -> Iterator[list[Piece]]:
        """`mark` under the cells from `start` to `end`; its label beside it, or below where it would not fit."""
        first, last = self.under(mark.span)
        offset = (len(DOTS) if start else 0) + self.columns[first] - self.columns[start]
        length = max(1, self.columns[min(last, end)] - self.columns[first])
        signs = mark.sign * length
        beside = offset + length + 1 + _text_width(mark.label) <= width
        yield [
            (" " * offset, "plain"),
            (f"{signs} {mark.label}".rstrip() if beside else signs, mark.style),
        ]
        if not beside:
            indent = max(0, min(offset, width - _text_width(mark.label)))
            yield [(" " * indent, "plain"), (mark.label, mark.style)]


def _cell(char: str, encoding: str) -> str:
    """A character as it is shown: a tab as spaces; what can't be printed, or is not in `encoding`, escaped."""
    if char == "\t":
        return " " * TAB
    if char.isprintable():
        if char.isascii() or encoding == "utf-8":
            return char
        return char.encode(encoding, "backslashreplace").decode(encoding)
    return char.encode("unicode_escape").decode()


def _width(cell: str) -> int:
    """How many columns of a terminal a cell takes."""
    if cell.isascii():
        return len(cell)
    import unicodedata

    if unicodedata.category(cell) in ("Mn", "Me") or "\u1160" <= cell <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(cell) in "WF" else 1


def _text_width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_width, text))
