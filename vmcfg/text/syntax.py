"""What is wrong with text that is not YAML, in terms of its lines.

A parser reports where it could not go on, in terms of its grammar. Here that becomes the line to
change, from the lines around it. In: the error and the lines. Out: a finding and its span.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from vmcfg.escape import excerpt
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Span

CONFLICT = re.compile(r"(?:<{7}|={7}|>{7})(?: |$)")
"""A line that Git writes around the two versions of a conflict."""

CLOSING = {"[": "]", "{": "}"}

Cause = tuple[str, str, Span]
"""The message, the hint, and the span of a problem."""


def syntax_finding(
    error: yaml.MarkedYAMLError, lines: Sequence[str], span: Span
) -> tuple[Finding, Span]:
    """Return the finding for the `error` of a parser that stopped at `span`, and its span."""
    began = error.context_mark.line + 1 if error.context_mark else span.line
    problem = error.problem or ""
    cause = (
        _conflict(lines)
        or _tab(lines, span)
        or _missing_colon(problem, lines, began)
        or _misplaced_colon(problem, lines, span)
        or _open_bracket(error, lines)
        or _open_quote(error, lines)
        or _forbidden_start(problem, lines, span)
        or _extra_bracket(problem, lines, span)
        or _other_column(problem, lines, span)
    )
    if cause is None:
        hint = f"correct line {began}" if began != span.line else None
        return Finding((), f"invalid YAML: {excerpt(problem or 'unreadable', 90)}", hint), span
    message, hint, place = cause
    return Finding((), f"invalid YAML: {message}", hint), place


def _text_span(lines: Sequence[str], number: int) -> Span:
    """Return the span of the text of a line, without its indentation."""
    line = lines[number - 1]
    start = _indent(line) + 1
    return Span(number, start, number, max(start, len(line.rstrip())) + 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _conflict(lines: Sequence[str]) -> Cause | None:
    """Return the cause if the text contains a conflict of Git."""
    for number, line in enumerate(lines, 1):
        if CONFLICT.match(line):
            hint = "remove the markers, and one of the two versions between them"
            return f"line {number} is a Git conflict marker", hint, _text_span(lines, number)
    return None


def _tab(lines: Sequence[str], span: Span) -> Cause | None:
    if "\t" not in lines[span.line - 1][: span.column]:
        return None
    hint = "use spaces for indentation: YAML does not allow tabs"
    return f"line {span.line} is indented with a tab", hint, span


def _missing_colon(problem: str, lines: Sequence[str], began: int) -> Cause | None:
    """Return the cause if a line has no colon with a space after it."""
    if "expected ':'" not in problem:
        return None
    text = lines[began - 1].strip()
    place = _text_span(lines, began)
    item = re.fullmatch(r"-([^\s-].*)", text)
    if item:
        hint = f"add a space after '-': '- {excerpt(item[1], 40)}'"
        return f"line {began} has no space after '-'", hint, place
    glued = re.fullmatch(r"(- )?(\w+):(\S.*)", text)
    if glued:
        hint = f"add a space after the colon: '{glued[2]}: {excerpt(glued[3], 40)}'"
        return f"line {began} has no space after the colon", hint, place
    return f"line {began} is not a key with a value", "write 'key: value'", place


def _misplaced_colon(problem: str, lines: Sequence[str], span: Span) -> Cause | None:
    """Return the cause if a key is where only the rest of a value can be."""
    if "mapping values" not in problem:
        return None
    line = lines[span.line - 1]
    spaced = re.search(r"\b(ppi|spi): +([0-9]+)", line)
    if spaced:
        hint = f"remove the space after the colon: {spaced[1]}:{spaced[2]}"
        return f"line {span.line} has a space after '{spaced[1]}:'", hint, span
    two = re.fullmatch(r"(?:- )?(\w+): +(\w+): *(.*)", line.strip())
    if two:
        first, second, value = two.groups()
        hint = f"write '{first}: {{{second}: {excerpt(value, 40)}}}'"
        return f"line {span.line} has two keys", hint, span
    above = _line_above(lines, span.line)
    if above is None:
        return None
    before = lines[above - 1]
    if ":" not in before:
        word, _, rest = before.strip().partition(" ")
        hint = f"add a colon: '{excerpt(word, 40)}: {excerpt(rest, 40)}'"
        return f"line {above} has no colon", hint, _text_span(lines, above)
    column = _key_column(before)
    message = f"line {span.line} is indented under line {above}, which already has a value"
    hint = f"start line {span.line} in column {column}, as the key of line {above} does"
    return message, hint, _text_span(lines, span.line)


def _line_above(lines: Sequence[str], number: int) -> int | None:
    """Return the number of the last line above a line that is not empty and not a comment."""
    for above in range(number - 1, 0, -1):
        text = lines[above - 1].strip()
        if text and not text.startswith("#"):
            return above
    return None


def _key_column(line: str) -> int:
    """Return the column in which the key of a line starts, after the '- ' of an item."""
    start = re.match(r" *(?:- +)*", line)
    return (start.end() if start else 0) + 1


def _open_bracket(error: yaml.MarkedYAMLError, lines: Sequence[str]) -> Cause | None:
    """Return the cause if a bracket is not closed."""
    mark = error.context_mark
    if mark is None or not re.search(r"flow (?:sequence|mapping)", error.context or ""):
        return None
    bracket = lines[mark.line][mark.column : mark.column + 1]
    if bracket not in CLOSING:
        return None
    number, column = mark.line + 1, mark.column + 1
    missing = CLOSING[bracket]
    hint = f"add '{missing}', or a ',' between two of its entries"
    place = Span(number, column, number, column + 1)
    return f"'{bracket}' in line {number} has no matching '{missing}'", hint, place


def _open_quote(error: yaml.MarkedYAMLError, lines: Sequence[str]) -> Cause | None:
    """Return the cause if a quote is not closed."""
    mark = error.context_mark
    if mark is None or "quoted scalar" not in (error.context or ""):
        return None
    if "end of stream" not in (error.problem or ""):
        return None
    number, column = mark.line + 1, mark.column + 1
    quote = lines[mark.line][mark.column : mark.column + 1]
    hint = f"add the closing {quote}"
    place = Span(number, column, number, column + 1)
    return f"the quote in line {number} is not closed", hint, place


def _forbidden_start(problem: str, lines: Sequence[str], span: Span) -> Cause | None:
    """Return the cause if a value starts with a character that only quotes allow there."""
    if "cannot start any token" not in problem:
        return None
    char = excerpt(lines[span.line - 1][span.column - 1 : span.column])
    return f"a value cannot start with '{char}'", "write the value in quotes", span


def _extra_bracket(problem: str, lines: Sequence[str], span: Span) -> Cause | None:
    """Return the cause if a bracket is closed that was not opened."""
    char = lines[span.line - 1][span.column - 1 : span.column]
    if char not in CLOSING.values() or "expected" not in problem:
        return None
    return f"'{char}' closes nothing", f"remove '{char}'", span


def _other_column(problem: str, lines: Sequence[str], span: Span) -> Cause | None:
    """Return the cause if a line starts in another column than the lines that it belongs to."""
    if not re.search(r"expected (?:key|'-' indicator|<block end>)", problem):
        return None
    open_columns: list[int] = []
    for line in lines[: span.line - 1]:
        if line.strip() and not line.lstrip().startswith("#"):
            start = _indent(line) + 1
            open_columns = [column for column in open_columns if column < start]
            open_columns += sorted({start, _key_column(line)})
    start = _indent(lines[span.line - 1]) + 1
    if start in open_columns or not open_columns:
        return None
    columns = " or ".join(map(str, open_columns[-2:]))
    message = f"line {span.line} starts in column {start}, but the lines above do not"
    hint = f"start line {span.line} in column {columns}"
    return message, hint, _text_span(lines, span.line)
