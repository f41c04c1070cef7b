"""Diagnostics for people: the place underlined in its line, the related places with it, then hint and kernel.

`snippet` draws plain text in styled pieces; the same pieces make the text in a pipe and the colours on a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmcfg.files import printable
from vmcfg.places import Span
from vmcfg.report import ERROR, Diagnostic
from vmcfg.tree import lines_of

Piece = tuple[str, str]
"""Text, and its style: one of `STYLES` or none."""

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

TAB = 4
WIDEST = 160
"""Longer source lines are cut around the place that they are shown for."""
NEAR = 2
"""Places this many lines apart are shown with what stands between them."""


def first_line(found: Diagnostic) -> list[Piece]:
    """``path:line:column: severity[rule] message``, complete by itself."""
    place = f"{printable(found.file)}:{found.span.line}:{found.span.column}: "
    return [(place, "title"), (f"{found.severity}[{found.rule}]", found.severity), (f" {found.message}", "title")]


def concise(found: Diagnostic) -> str:
    """A diagnostic on one line, its first related place included."""
    line = "".join(text for text, _ in first_line(found))
    if found.related:
        first = found.related[0]
        line += f" ({first.message}: {printable(first.file)}:{first.span.line}:{first.span.column})"
    return line


def human(found: Diagnostic, text: str) -> list[list[Piece]]:
    """A diagnostic as lines of pieces: first line, snippet of `text`, hint, and what the kernel would have said."""
    drawn = [first_line(found), *_snippet(found, text)]
    notes = []
    if found.hint is not None:
        notes.append(("hint", found.hint))
    if found.kernel is not None:
        notes.append(("kernel", str(found.kernel)))
    notes.append(("help", f"vmcfg explain {found.rule}"))
    margin = " " * (_margin(found) + 1)
    drawn += [[(f"{margin}= ", "gutter"), (f"{label}: ", "label"), (words, "plain")] for label, words in notes]
    return drawn


def plain(lines: Iterable[list[Piece]]) -> str:
    """Lines of pieces as text without colour."""
    return "".join("".join(text for text, _ in line) + "\n" for line in lines)


def coloured(lines: Iterable[list[Piece]]) -> str:
    """Lines of pieces as text with terminal colours, drawn by rich."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    out = StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        color_system="standard",
        no_color=False,
        width=10_000,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for line in lines:
        console.print(Text.assemble(*((text, STYLES[style]) for text, style in line)), soft_wrap=True)
    return out.getvalue()


def _margin(found: Diagnostic) -> int:
    return len(str(max(found.span.line, *(each.span.line for each in found.related), 1)))


def _snippet(found: Diagnostic, text: str) -> list[list[Piece]]:
    lines = lines_of(text)
    marks = [(found.span, "^", "primary", "")]
    marks += [(each.span, "-", "related", each.message) for each in found.related if each.file == found.file]
    margin = _margin(found)

    def gutter(number: str = "") -> Piece:
        return f"{number:>{margin}} | ", "gutter"

    drawn: list[list[Piece]] = [[(" " * margin + " |", "gutter")]]
    shown = sorted({mark[0].line for mark in marks if mark[0].line <= len(lines)})
    previous = None
    for number in shown:
        if previous is not None and number - previous > NEAR + 1:
            drawn.append([("...", "gutter")])
        elif previous is not None:
            drawn += [
                [gutter(str(between)), (_cell(lines[between - 1])[:WIDEST], "plain")]
                for between in range(previous + 1, number)
            ]
        previous = number
        here = sorted(
            (mark for mark in marks if mark[0].line == number), key=lambda mark: (mark[1] != "^", mark[0].column)
        )
        line = lines[number - 1]
        start = _cut(line, here[0][0])
        cut = line[start:]
        before = "..." if start else ""
        source = before + _cell(cut)
        drawn.append([gutter(str(number)), (_clip(source), "plain")])
        for span, sign, style, label in here:
            first = max(span.column - 1 - start, 0)
            last = span.end_column - 1 - start if span.end_line == span.line else len(cut.rstrip())
            offset = len(before) + _width(_cell(cut[:first]))
            length = max(1, _width(_cell(cut[first:last])))
            under = sign * max(1, min(length, WIDEST - offset))
            drawn.append([gutter(), (" " * offset, "plain"), (f"{under} {label}".rstrip(), style)])
    drawn.append([(" " * margin + " |", "gutter")])
    return drawn


def _cut(line: str, span: Span) -> int:
    """From which column a long line is shown, so that `span` is in sight."""
    return max(0, span.column - 1 - WIDEST // 3) if len(line) > WIDEST and span.column > WIDEST // 2 else 0


def _clip(source: str) -> str:
    return source if len(source) <= WIDEST else source[: WIDEST - 3] + "..."


def _cell(text: str) -> str:
    """A stretch of a line as it is shown: tabs as spaces, what can't be printed escaped."""
    if text.isprintable():
        return text
    shown = []
    for char in text:
        if char == "\t":
            shown.append(" " * TAB)
        elif char.isprintable() or char == " ":
            shown.append(char)
        else:
            shown.append(char.encode("unicode_escape").decode())
    return "".join(shown)


def _width(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def summary(files: int, errors: int, warnings: int) -> str:
    """One line that says what was checked and found."""
    what = f"{files} file{'s' if files != 1 else ''} checked: "
    if not errors and not warnings:
        return what + "nothing found"
    counts = [
        f"{count} {word}{'s' if count != 1 else ''}"
        for count, word in ((errors, ERROR), (warnings, "warning"))
        if count
    ]
    return what + " and ".join(counts)


def drawn(diagnostics: Iterable[Diagnostic], text: str, color: bool) -> str:
    """`diagnostics` of one file, whose text is `text`, as `human` prints them."""
    lines = [line for found in diagnostics for line in (*human(found, text), [])]
    return coloured(lines) if color else plain(lines)
