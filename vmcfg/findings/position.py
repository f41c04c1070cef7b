"""Positions in a description: a path, and the lines and columns of that path."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and list indices from the root of the document as written: ``("vcpus", 3, "pmu_irq")``."""


class Span(NamedTuple):
    """A range of text. Lines and columns count from 1, columns in code points; the end is
    exclusive.
    """

    line: int
    column: int
    end_line: int
    end_column: int


WHOLE = Span(1, 1, 1, 1)
"""The span of a finding about the whole document."""


class Position(NamedTuple):
    """The position of a path in the text: its span, and its RFC 6901 pointer.

    `uses` are the aliases on the path. `file` is empty in the description itself; it is the file of
    the defaults if the value is from there.
    """

    span: Span
    pointer: str
    uses: tuple[Span, ...] = ()
    file: str = ""


class Start(NamedTuple):
    """Where a path begins in the text: its RFC 6901 pointer, its line, and its column, from 1.

    `file` is that of a `Position`.
    """

    pointer: str
    line: int
    column: int
    file: str = ""


def pointer(path: Path) -> str:
    """Return the RFC 6901 JSON pointer of `path`; ``""`` is the whole document."""
    steps = "/".join(map(str, path))
    if "~" in steps or steps.count("/") >= len(path):
        steps = "/".join([str(step).replace("~", "~0").replace("/", "~1") for step in path])
    return f"/{steps}" if path else ""


def dotted(path: Path) -> str:
    """Return `path` as people write it: ``vcpus[3].pmu_irq``."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return words.removeprefix(".")
