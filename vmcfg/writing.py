"""Writing files: each completely, or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from vmcfg.escape import printable
from vmcfg.files import NoFile, name_of

AT_ONCE = 100
"""The maximum number of files that are replaced after one flush of the disk."""


def write(path: str, data: bytes) -> None:
    """Write `data` to the file at `path` completely, or leave it unchanged. Raises `NoFile`.

    A regular file is replaced in one step. It keeps its mode and, where this process may set them,
    its owner, its group, and its extended attributes. Devices and pipes are written to.
    """
    try:
        if os.path.lexists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "wb") as file:
                file.write(data)
        else:
            _replace(os.path.realpath(path), data)
    except OSError as error:
        raise _not_written(path, error) from None


def _replace(target: str, data: bytes) -> None:
    """Replace the regular file `target`, or create it. Raises `OSError`."""
    temporary = _temporary_name(target)
    try:
        _create(temporary, target, data, is_synced=True)
        os.replace(temporary, target)
    except BaseException:
        _remove(temporary)
        raise


def _temporary_name(target: str) -> str:
    """Return the path of a new file next to `target`: a file can be moved only within a file
    system.
    """
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}")


def _create(temporary: str, target: str, data: bytes, is_synced: bool) -> None:
    """Create a file that can replace `target`. Unless `is_synced`, it can still be lost at a power
    failure. Raises `OSError`.
    """
    exists = os.path.exists(target)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        descriptor = os.open(temporary, flags, 0o600 if exists else 0o666)
    except PermissionError:
        raise PermissionError(0, "its directory is not writable") from None
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if exists:
            _copy_properties(target, file.fileno())
        if is_synced:
            os.fsync(file.fileno())


def _remove(temporary: str) -> None:
    # An interrupt can come before the file exists.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)


def _copy_properties(source: str, descriptor: int) -> None:
    """Give an open file the mode of `source`, and as much of its other properties as possible."""
    properties = os.stat(source)
    # Only root can change the owner; others can set a group of which they are a member.
    for owner, group in ((properties.st_uid, -1), (-1, properties.st_gid)):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, owner, group)
    for name in _extended_attributes(source):
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, name, os.getxattr(source, name))
    # After the owner, because a change of the owner clears the set-user-id bit.
    os.fchmod(descriptor, stat.S_IMODE(properties.st_mode))


def _extended_attributes(path: str) -> list[str]:
    """Return the names of the extended attributes; none where there are no such attributes."""
    if not hasattr(os, "listxattr"):
        return []
    try:
        return os.listxattr(path)
    except OSError:
        return []


def _not_written(path: str, error: OSError) -> NoFile:
    return NoFile(f"cannot write {printable(name_of(path))}: {error.strerror}")


def write_many(contents: Iterable[tuple[str, bytes]]) -> Iterator[NoFile]:
    """Write each of `contents`, a path and its data, as `write` does. Yield why some could not be
    written: the others are.

    The disk is flushed once per AT_ONCE files, which takes a tenth of the time of a flush per file.
    """
    remaining = iter(contents)
    while batch := list(itertools.islice(remaining, AT_ONCE)):
        yield from _write_batch(batch)


def _write_batch(batch: Sequence[tuple[str, bytes]]) -> Iterator[NoFile]:
    created: dict[str, tuple[str, str]] = {}
    """The path and the target of each file that has been created, by its temporary name."""
    try:
        for path, data in batch:
            target = os.path.realpath(path)
            temporary = _temporary_name(target)
            created[temporary] = (path, target)
            try:
                if os.path.lexists(path) and not os.path.isfile(path):
                    del created[temporary]
                    write(path, data)
                else:
                    _create(temporary, target, data, is_synced=False)
            except (OSError, NoFile) as error:
                created.pop(temporary, None)
                _remove(temporary)
                yield error if isinstance(error, NoFile) else _not_written(path, error)
        _flush([os.path.dirname(target) for _, target in created.values()])
        while created:
            temporary, (path, target) = next(iter(created.items()))
            try:
                os.replace(temporary, target)
            except OSError as error:
                _remove(temporary)
                yield _not_written(path, error)
            del created[temporary]
    finally:
        for temporary in created:
            _remove(temporary)


def _flush(folders: Iterable[str]) -> None:
    """Write everything in the file systems of these directories to their disks. Raises `NoFile`."""
    import ctypes

    flush = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if flush is None:
        os.sync()
        return
    # One directory of each file system.
    for folder in {os.stat(folder).st_dev: folder for folder in set(folders)}.values():
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if flush(descriptor) != 0:
                reason = os.strerror(ctypes.get_errno())
                raise NoFile(f"cannot write to the disk of {printable(name_of(folder))}: {reason}")
        finally:
            os.close(descriptor)


class Growing:
    """A new file that gets line after line, each of which is in it immediately.

    Opening it and adding to it raise `NoFile`.
    """

    def __init__(self, path: str) -> None:
        self._name = printable(name_of(path))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise NoFile(f"cannot write {self._name}: {error.strerror}") from None

    def add(self, data: bytes) -> None:
        """Add bytes at the end."""
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise NoFile(f"cannot write {self._name}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
