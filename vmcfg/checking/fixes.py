"""Applying fixes to the text of a description: all other bytes stay unchanged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from vmcfg.checking.check import Checked
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Fix
from vmcfg.findings.position import Span

LINE_BREAK = "\r\n|[\r\n]"
"""The line breaks for the positions of findings, as in `nodes.lines_of`."""

ROUNDS = 10
"""The maximum number of rounds: a fix can reveal another finding with a fix."""


def fixed(
    data: bytes, checked: Checked, again: Callable[[bytes], Checked]
) -> tuple[bytes, Checked, int]:
    """Return `data` with all fixes, including those of new findings; its check; their number.

    `again` checks a text. Fixes after which the text could not be read are not applied, nor those
    in the defaults.
    """
    count = 0
    for _ in range(ROUNDS):
        here = [found for found in checked.diagnostics if found.file == checked.tree.file]
        edits = apart(found.fix for found in here if found.fix is not None)
        if not edits:
            break
        text = edited(data, edits)
        after = again(text)
        if after.tree.root is None:
            break
        data, checked, count = text, after, count + len(edits)
    return data, checked, count


def apart(fixes: Iterable[Fix]) -> list[Fix]:
    """Return the fixes in the order of the text, without different fixes at the same position."""
    once = sorted(set(fixes))
    counts = Counter(fix.span for fix in once)
    return [fix for fix in once if counts[fix.span] == 1]


def edited(data: bytes, fixes: Iterable[Fix]) -> bytes:
    """Return `data` with `fixes`, which are in the order of the text."""
    text = data.decode()
    starts = [
        1 if text.startswith("\ufeff") else 0,
        *(match.end() for match in re.finditer(LINE_BREAK, text)),
    ]
    pieces = []
    done = 0
    for fix in fixes:
        first, last = _offsets(fix.span, starts)
        pieces += [text[done:first], fix.text]
        done = last
    return "".join([*pieces, text[done:]]).encode()


def _offsets(span: Span, starts: list[int]) -> tuple[int, int]:
    return starts[span.line - 1] + span.column - 1, starts[span.end_line - 1] + span.end_column - 1


def difference(file: str, before: bytes, after: bytes, terminal: bool) -> bytes:
    """Return a unified diff for ``git apply`` or ``patch -p1``; empty if nothing differs.

    For a terminal, control characters are escaped.
    """
    if before == after:
        return b""
    from difflib import unified_diff

    old, new = (re.findall("[^\n]*\n|[^\n]+", each.decode()) for each in (before, after))
    name = file.lstrip("/")
    lines = unified_diff(old, new, _quoted(f"a/{name}"), _quoted(f"b/{name}"))
    return "".join(_lines(lines, terminal)).encode()


def _lines(lines: Iterable[str], terminal: bool) -> Iterator[str]:
    for line in lines:
        body = line.removesuffix("\n")
        if terminal:
            body = "\t".join(map(printable, body.removesuffix("\r").split("\t")))
        yield body + "\n"
        if body and not line.endswith("\n"):
            yield "\\ No newline at end of file\n"


def _quoted(name: str) -> str:
    """Return a file name as in a diff of git: quoted if it contains special characters."""
    if name.isprintable() and '"' not in name and "\\" not in name:
        return name + ("\t" if " " in name else "")
    plain = (
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}"
        for byte in name.encode("utf-8", "surrogateescape")
    )
    return f'"{"".join(plain)}"'
