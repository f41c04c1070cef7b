"""Files that are read, which are bytes, and the standard streams."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vmcfg.escape import printable

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


STDIN = "<stdin>"

MOST_BYTES = 16 << 20
"""The maximum size of a file. A description of 512 vCPUs has less than 100 KiB; a device such as
/dev/zero would never end.
"""

MOST_BYTES_OF_LINE = 1 << 20
"""The maximum size of a line of a file that is read line by line. A command of a plan has less than
1 KiB.
"""


BYTES_OF_HEAD = 1 << 16
"""The size of the first part of a source, by which its kind is recognized."""


class NoFile(Exception):
    """A file that cannot be read or written; the text is one line with the reason.

    `file` is its name in findings, if it is known.
    """

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file


def read(path: str) -> bytes:
    """Return the bytes of the file at `path`, or of standard input for ``-``.

    Raises `NoFile` if it cannot be read, or has more than MOST_BYTES.
    """
    with _opened(path) as file:
        # Most files are small. Python allocates the greatest size that a read may return.
        data = file.read(BYTES_OF_HEAD)
        if len(data) == BYTES_OF_HEAD:
            data += file.read(MOST_BYTES + 1 - BYTES_OF_HEAD)
    if len(data) > MOST_BYTES:
        raise NoFile(f"cannot read {_source(path)}: it is larger than {MOST_BYTES >> 20} MiB")
    return data


def lines(path: str) -> Iterator[bytes]:
    """Return the lines of the file at `path`, or of standard input for ``-``, one after the other.

    Raises `NoFile` if it cannot be read, or has a line of more than MOST_BYTES_OF_LINE. There is no
    limit to their number: whoever reads them ends at the first line that is wrong.
    """
    with _opened(path) as file:
        yield from _lines(file, _source(path))


def _lines(file: BinaryIO | _Chained, source: str) -> Iterator[bytes]:
    """Yield the lines of a file that messages call `source`."""
    number = 1
    while line := file.readline(MOST_BYTES_OF_LINE + 1):
        if len(line) > MOST_BYTES_OF_LINE:
            greatest = f"{MOST_BYTES_OF_LINE >> 20} MiB"
            raise NoFile(f"cannot read {source}: line {number} exceeds {greatest}")
        yield line
        number += 1


class Input:
    """A source that is open for reading: its first bytes, and then, once, all of it.

    `name` is its name in messages. The first bytes are enough to recognize its kind.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self.head = file.read(BYTES_OF_HEAD)
        self._file = file

    def read(self) -> bytes:
        """Return all bytes. Raises `NoFile` if there are more than MOST_BYTES."""
        data = self.head + self._file.read(MOST_BYTES + 1 - len(self.head))
        if len(data) > MOST_BYTES:
            name = printable(self.name)
            raise NoFile(f"cannot read {name}: it is larger than {MOST_BYTES >> 20} MiB")
        return data

    def lines(self) -> Iterator[bytes]:
        """Return the lines, one after the other, without a limit to their number.

        Raises `NoFile` if a line has more than MOST_BYTES_OF_LINE.
        """
        first, self.head = self.head, b""
        yield from _lines(_Chained(first, self._file), printable(self.name))


class _Chained:
    """Some bytes that were already read, and then the rest of their file."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self._first = first
        self._file = file

    def readline(self, longest: int) -> bytes:
        """Return the next line, or its first `longest` bytes; nothing at the end."""
        end = self._first.find(b"\n", 0, longest) + 1 or min(longest, len(self._first))
        line, self._first = self._first[:end], self._first[end:]
        if self._first or line.endswith(b"\n") or len(line) == longest:
            return line
        return line + self._file.readline(longest - len(line))


@contextlib.contextmanager
def opened(path: str) -> Iterator[Input]:
    """Open the file at `path`, or standard input for ``-``. Raises `NoFile` if reading fails."""
    with _opened(path) as file:
        yield Input(STDIN if path == "-" else name_of(path), file)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open the file at `path`, or standard input for ``-``. Raises `NoFile` if reading fails."""
    if path == "-" and sys.stdin is None:
        raise NoFile("cannot read standard input: it is closed")
    try:
        if path == "-":
            yield sys.stdin.buffer
        else:
            with open(path, "rb") as file:
                yield file
    except OSError as error:
        raise NoFile(f"cannot read {_source(path)}: {error.strerror}") from None


def _source(path: str) -> str:
    return "standard input" if path == "-" else printable(name_of(path))


def descriptions(
    paths: Sequence[str],
    excluded: Sequence[str] = (),
    unreadable: Callable[[NoFile], None] | None = None,
) -> list[str]:
    """Return the files of `paths` in the order of their names, each once.

    A directory means all *.yaml and *.yml in it, except hidden files and directories; links to
    directories are not followed. A path that matches one of the patterns `excluded` is skipped, and
    everything in it. A pattern without a slash is compared with names, a pattern with a slash with
    paths. `unreadable` is called for each directory that cannot be read.
    """
    left_out = _matcher(excluded)
    found: list[str] = []
    for path in paths:
        if path == "-":
            found.append(path)
        elif not (excluded and any(map(left_out, _with_parents(path)))):
            found.extend(_below(path, left_out, unreadable) if os.path.isdir(path) else [path])
    if len(paths) > 1:
        # A file that is named several times keeps its first name.
        found = list({os.path.normpath(each): each for each in reversed(found)}.values())
    return sorted(found)


def _below(
    folder: str, left_out: Callable[[str], bool], unreadable: Callable[[NoFile], None] | None
) -> Iterator[str]:
    """Return the descriptions in a directory and its subdirectories."""
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or left_out(entry.path):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.name.endswith((".yaml", ".yml")) and _can_be_read(entry):
                        yield entry.path
        except OSError as error:
            if unreadable is not None:
                name = name_of(str(error.filename))
                unreadable(NoFile(f"cannot read {printable(name)}: {error.strerror}", name))


def _can_be_read(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file or a link to one, and not a pipe or a device, which can block.

    A link that leads nowhere, or in a circle, is returned, too: reading it reports the error.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:
        return True


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path matches one of `patterns`."""
    if not patterns:
        return lambda path: False
    import fnmatch
    import re

    stripped = [pattern.removeprefix("./").rstrip("/") for pattern in patterns]
    names = re.compile(
        "|".join(fnmatch.translate(each) for each in stripped if "/" not in each) or r"(?!)"
    )
    whole = re.compile(
        "|".join(fnmatch.translate(each) for each in stripped if "/" in each) or r"(?!)"
    )

    def matches(path: str) -> bool:
        return bool(names.match(os.path.basename(path)) or whole.match(path.removeprefix("./")))

    return matches


def _with_parents(path: str) -> Iterator[str]:
    """Return `path` and its parent directories."""
    path = os.path.normpath(path)
    while path and os.path.basename(path):
        yield path
        path = os.path.dirname(path)


def contains(path: str, data: bytes) -> bool:
    """Return whether `path` is a regular file with exactly these bytes. It need not be readable."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size != len(data):
            return False
        with open(path, "rb") as file:
            return file.read(len(data) + 1) == data
    except OSError:
        return False


def changed_text(changed: int, total: int) -> str:
    """Return the words for how many of the files of a run were changed."""
    return f"{changed} of {total} {'file' if total == 1 else 'files'} changed"


def same(path: str, other: str) -> bool:
    """Return whether two paths lead to the same existing file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def without(paths: Sequence[str], path: str | None) -> list[str]:
    """Return those of `paths` that do not lead to the file at `path`; all of them for None."""
    if path is None:
        return list(paths)
    return [each for each in paths if not same(each, path)]


def print_out(text: str) -> None:
    """Write `text` to standard output and flush it. Raises `NoFile`."""
    _print(sys.stdout, text, "standard output")


def put_out(data: bytes) -> None:
    """Write the bytes `data` to standard output and flush it. Raises `NoFile`."""
    _put(sys.stdout, data, "standard output")


def print_error(text: str) -> None:
    """Write `text` to standard error, if it is open."""
    with contextlib.suppress(NoFile):
        _print(sys.stderr, text, "standard error")


def discard_unwritten() -> None:
    """Discard what standard output and standard error did not accept, for example on a full disk.

    Otherwise, Python tries again when it exits, reports the error again, and exits with 120.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _print(stream: object, text: str, name: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    _put(stream, text.encode(encoding, "backslashreplace"), name)


def _put(stream: object, data: bytes, name: str) -> None:
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        raise NoFile(f"cannot write to {name}: it is closed")
    try:
        buffer.write(data)
        buffer.flush()
    except OSError as error:
        raise NoFile(f"cannot write to {name}: {error.strerror}") from None


def name_of(path: str) -> str:
    """Return a path of the command line as text for findings: UTF-8, regardless of the locale.

    A byte that is not UTF-8 is a lone surrogate, which every output escapes (`vmcfg.escape`).
    """
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def packed(folder: str) -> Path:
    """Return a directory that belongs to vmcfg: in the package, or next to it in a checkout."""
    from pathlib import Path

    here = Path(__file__).parent
    inside = here / folder
    return inside if inside.is_dir() else here.parent / folder
