"""Diagnostics for people: the headline, the source with its marked places, then hint and kernel.

`human` returns lines of styled pieces. The text in a pipe and the colors on a terminal come from
the same pieces, so that color changes no word. Headlines, hints, and labels are never wrapped or
cut: a terminal wraps long lines, and a search finds them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import ERROR
from vmcfg.reports.concise import first_line, hosts_text
from vmcfg.reports.form import Texts
from vmcfg.reports.snippet import Mark, snippet
from vmcfg.reports.styled import Piece, colored, plain
from vmcfg.reports.terminal import PIPE_WIDTH, columns, wants_color
from vmcfg.text.nodes import lines_of

NARROWEST = 20
"""The number of columns of a source line on the narrowest terminal."""


def human(
    found: Diagnostic, texts: Texts, width: int = PIPE_WIDTH, encoding: str = "utf-8"
) -> list[list[Piece]]:
    """Return a diagnostic as lines of pieces: headline, snippets of `texts`, hint, and kernel.

    Source lines have at most `width` columns, including the gutter. Characters that `encoding` does
    not have are escaped. A place in a file without text has no snippet.
    """
    marks = {found.file: [Mark(found.span, "^", "primary", printable(found.label))]}
    for each in found.related:
        mark = Mark(each.span, "-", "related", printable(each.message))
        marks.setdefault(each.file, []).append(mark)
    drawn = [mark for file, in_file in marks.items() if file in texts for mark in in_file]
    margin = len(str(max(mark.span.line for mark in drawn)))
    source_width = max(width - margin - len(" | "), NARROWEST)

    edge: list[Piece] = [(" " * margin + " |", "gutter")]
    lines = [first_line(found), edge]
    for file, in_file in marks.items():
        if file not in texts:
            lines += [_elsewhere(margin, file, mark, mark.label) for mark in in_file]
            continue
        if file != found.file:
            lines.append(_elsewhere(margin, file, in_file[0]))
        lines += snippet(in_file, lines_of(texts[file]), margin, source_width, encoding)
    lines.append(edge)
    for label, words in _notes(found):
        sign = " " * (margin + 1) + "= "
        lines.append([(sign, "gutter"), (f"{label}: ", "label"), (printable(words), "plain")])
    return lines


def _elsewhere(margin: int, file: str, mark: Mark, words: str = "") -> list[Piece]:
    """Return the line that begins a place in another file than that of the finding."""
    place = f"{' ' * margin}::: {printable(file)}:{mark.span.line}:{mark.span.column}"
    return [(f"{place} ", "gutter"), (words, "related")] if words else [(place, "gutter")]


def _notes(found: Diagnostic) -> Iterator[tuple[str, str]]:
    """Return the notes below the snippet, each with its label."""
    if found.hint is not None:
        yield "hint", found.hint
    if found.fix is not None:
        yield "fix", f"vmcfg validate --fix writes {found.fix.text} here"
    if found.kernel is not None:
        yield "kernel", str(found.kernel)
    if found.hosts:
        yield "hosts", hosts_text(found, len(found.hosts))


def drawn(
    diagnostics: Iterable[Diagnostic],
    texts: Texts,
    color: bool,
    width: int = PIPE_WIDTH,
    encoding: str = "utf-8",
) -> str:
    """Return `diagnostics` of one file, as `human` draws them."""
    lines: list[list[Piece]] = []
    for found in diagnostics:
        lines += human(found, texts, width, encoding)
        lines.append([])
    return colored(lines) if color else plain(lines)


def drawn_for(stream: Any, color: str, diagnostics: Iterable[Diagnostic], texts: Texts) -> str:
    """Return `diagnostics` of a file for the colors, the width, and the characters of `stream`."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return drawn(diagnostics, texts, wants_color(color, stream), columns(stream), encoding.lower())


def help_line(rules: Iterable[str], color: bool) -> str:
    """Return the line that tells how to read more about the rules of all findings of a run."""
    first, *others = dict.fromkeys(rules)
    words = f"vmcfg explain {first}"
    if others:
        words += f" (also found: {', '.join(others)})"
    line: list[Piece] = [("help: ", "label"), (words, "plain")]
    return colored([line]) if color else plain([line])


def summary(files: int, errors: int, warnings: int, fixed: int = 0, fixable: int = 0) -> str:
    """Return one line with the numbers of files, findings, fixes, and possible fixes."""
    counts = [(errors, ERROR), (warnings, "warning")]
    found = ", ".join(_counted(count, word) for count, word in counts if count)
    result = found or "no problems"
    if fixed:
        result = f"{fixed} fixed, {found or 'no problems left'}"
    if fixable:
        result += f", {fixable} fixable with --fix"
    return f"{_counted(files, 'file')} checked: {result}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"
