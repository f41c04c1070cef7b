"""Reading and writing files: descriptions are read as bytes, and plans are written completely or
not at all.
"""

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


STDIN = "<stdin>"


class NoFile(Exception):
    """A file that cannot be read or written; the text is one line with the reason.

    `file` is its name in findings, if it is known.
    """

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file


def read(path: str) -> bytes:
    """Return the bytes of the file at `path`, or of standard input for ``-``. Raises `NoFile`."""
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NoFile(f"cannot read {printable(name_of(path))}: {error.strerror}") from None
    except AttributeError:
        raise NoFile("cannot read standard input: it is closed") from None


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
        elif not any(map(left_out, _with_parents(path))):
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
    """Return whether it is a file or a link to one, and not a pipe or a device, which can block."""
    return entry.is_file() or (entry.is_symlink() and not entry.is_dir())


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


def write(path: str, data: bytes) -> None:
    """Write `data` to the file at `path` completely, or leave it unchanged. Raises `NoFile`.

    A regular file is replaced in one step and keeps its mode. Devices and pipes are written to.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | 0o666 & ~_umask()
    except OSError as error:
        raise NoFile(f"cannot write {printable(name_of(path))}: {error.strerror}") from None
    try:
        if stat.S_ISREG(mode):
            _replace(os.path.realpath(path), data, stat.S_IMODE(mode))
        else:
            with open(path, "wb") as file:
                file.write(data)
    except OSError as error:
        raise NoFile(f"cannot write {printable(name_of(path))}: {error.strerror}") from None


def _replace(target: str, data: bytes, mode: int) -> None:
    import tempfile

    folder = os.path.dirname(target)
    descriptor, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(target)[:100]}.", dir=folder
    )
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def same(path: str, other: str) -> bool:
    """Return whether two paths lead to the same existing file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


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
    """Return a path of the command line as text for findings: UTF-8, regardless of the locale."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def packed(folder: str) -> Path:
    """Return a directory that belongs to vmcfg: in the package, or next to it in a checkout."""
    from pathlib import Path

    here = Path(__file__).parent
    inside = here / folder
    return inside if inside.is_dir() else here.parent / folder
