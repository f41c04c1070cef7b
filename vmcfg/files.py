"""The one place that reads and writes files: descriptions in as bytes, plans out whole or not at
all.
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
    """A file that can't be read or written; its text is one clear line."""


def read(path: str) -> bytes:
    """The bytes of the file at `path`, or of standard input for ``-``. Raises `NoFile`."""
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
    """The files that `paths` stand for, in the order of their names, each once.

    A directory stands for all *.yaml and *.yml below it, hidden files and directories left out,
    links to directories not followed. A path that matches one of the patterns `excluded` is left
    out, and so is all below it; one without a slash is matched against the name of a file or
    directory, one with a slash against its path. A directory that can't be read is passed to
    `unreadable`.
    """
    left_out = _matcher(excluded)
    found: list[str] = []
    for path in paths:
        if path == "-":
            found.append(path)
        elif not any(map(left_out, _with_parents(path))):
            found.extend(_below(path, left_out, unreadable) if os.path.isdir(path) else [path])
    if len(paths) > 1:
        # The same file by several names is called as it first was.
        found = list({os.path.normpath(each): each for each in reversed(found)}.values())
    return sorted(found)


def _below(
    folder: str, left_out: Callable[[str], bool], unreadable: Callable[[NoFile], None] | None
) -> Iterator[str]:
    """The descriptions below a directory."""
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
                unreadable(
                    NoFile(
                        f"cannot read {printable(name_of(str(error.filename)))}: {error.strerror}"
                    )
                )


def _can_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link that should lead to one: no pipe, that would be waited for,
    and no device.
    """
    return entry.is_file() or (entry.is_symlink() and not entry.is_dir())


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path matches one of `patterns`, by its name or whole."""
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
    """`path` and the directories that it goes through."""
    path = os.path.normpath(path)
    while path and os.path.basename(path):
        yield path
        path = os.path.dirname(path)


def write(path: str, data: bytes) -> None:
    """Make `data` the whole content of the file at `path`, or leave it as it was. Raises `NoFile`.

    A regular file is replaced in one step by a finished one, which keeps its mode. Devices and
    pipes are written to.
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
    """Whether two paths name one existing file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def print_out(text: str) -> None:
    """Write `text` to standard output, whole, and flush it. Raises `NoFile`."""
    _print(sys.stdout, text, "standard output")


def put_out(data: bytes) -> None:
    """Write `data` to standard output as it is, and flush it. Raises `NoFile`."""
    _put(sys.stdout, data, "standard output")


def print_error(text: str) -> None:
    """Write `text` to standard error where there is one."""
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
    """A path of the command line as findings call it: as UTF-8, whatever the locale took its bytes
    for.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def packed(folder: str) -> Path:
    """The folder of that name that ships with vmcfg: inside the package in a wheel, beside it in a
    checkout.
    """
    from pathlib import Path

    here = Path(__file__).parent
    inside = here / folder
    return inside if inside.is_dir() else here.parent / folder
