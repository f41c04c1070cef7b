"""Diagnostics for people: the place underlined in its line, the related places with it, then hint
and kernel.

`human` draws lines of styled pieces; the same pieces make the text in a pipe and the colours on a
terminal, so that colour changes no word. First lines, hints and labels are never wrapped or cut: a
terminal folds what is long, and a search finds it whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import ERROR
from vmcfg.reports.concise import first_line
from vmcfg.reports.snippet import Mark, snippet
from vmcfg.reports.styled import Piece, coloured, plain
from vmcfg.reports.terminal import PIPE_WIDTH, columns, wants_color
from vmcfg.text.nodes import lines_of

NARROWEST = 20
"""How many columns of a source line are shown on the narrowest terminal."""


def human(
    found: Diagnostic, text: str, width: int = PIPE_WIDTH, encoding: str = "utf-8"
) -> list[list[Piece]]:
    """A diagnostic as lines of pieces: first line, snippet of `text`, hint, and what the kernel
    would have said.

    Source lines take `width` columns at most, gutter included; what `encoding` does not have is
    shown escaped.
    """
    here = [each for each in found.related if each.file == found.file]
    elsewhere = [each for each in found.related if each.file != found.file]
    marks = [Mark(found.span, "^", "primary", "")]
    marks += [Mark(each.span, "-", "related", printable(each.message)) for each in here]
    margin = len(str(max(mark.span.line for mark in marks)))
    source_width = max(width - margin - len(" | "), NARROWEST)

    edge: list[Piece] = [(" " * margin + " |", "gutter")]
    lines = [first_line(found), edge]
    lines += snippet(marks, lines_of(text), margin, source_width, encoding)
    for each in elsewhere:
        place = f"{' ' * margin}::: {printable(each.file)}:{each.span.line}:{each.span.column} "
        lines.append([(place, "gutter"), (printable(each.message), "related")])
    lines.append(edge)
    for label, words in _notes(found):
        sign = " " * (margin + 1) + "= "
        lines.append([(sign, "gutter"), (f"{label}: ", "label"), (printable(words), "plain")])
    return lines


def _notes(found: Diagnostic) -> Iterator[tuple[str, str]]:
    """What is said below the snippet, each with its label."""
    if found.hint is not None:
        yield "hint", found.hint
    if found.kernel is not None:
        yield "kernel", str(found.kernel)
    if found.hosts:
        yield "hosts", ", ".join(map(printable, found.hosts))
    yield "help", f"vmcfg explain {found.rule}"


def drawn(
    diagnostics: Iterable[Diagnostic],
    text: str,
    color: bool,
    width: int = PIPE_WIDTH,
    encoding: str = "utf-8",
) -> str:
    """`diagnostics` of one file, whose text is `text`, as `human` prints them."""
    lines: list[list[Piece]] = []
    for found in diagnostics:
        lines += human(found, text, width, encoding)
        lines.append([])
    return coloured(lines) if color else plain(lines)


def drawn_for(stream: Any, color: str, diagnostics: Iterable[Diagnostic], text: str) -> str:
    """`diagnostics` of a file, whose text is `text`, as `stream` shows them: its colours, its
    width, its characters.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return drawn(diagnostics, text, wants_color(color, stream), columns(stream), encoding.lower())


def summary(files: int, errors: int, warnings: int, fixed: int = 0) -> str:
    """One line that says what was checked and found, and how many findings were fixed."""
    counts = [(errors, ERROR), (warnings, "warning")]
    found = " and ".join(_counted(count, word) for count, word in counts if count)
    if fixed:
        result = f"{fixed} fixed, {found or 'nothing left'}"
    else:
        result = found or "nothing found"
    return f"{_counted(files, 'file')} checked: {result}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"
