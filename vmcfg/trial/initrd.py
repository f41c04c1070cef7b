"""The root file system of a guest of `--image`: /init, its plans, and two devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

_FOLDER, _DEVICE, _FILE = 0o040755, 0o020600, 0o100755


class Entry(NamedTuple):
    """A file of an archive: its path without leading slash, its mode with the type, its content,
    and the numbers of a device.
    """

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def initrd(program: bytes, plans: str) -> bytes:
    """Return the archive of a guest."""
    entries = (
        Entry("dev", _FOLDER),
        Entry("sys", _FOLDER),
        Entry("dev/console", _DEVICE, device=(5, 1)),
        Entry("dev/kvm", _DEVICE, device=(10, 232)),
        Entry("init", _FILE, program),
        Entry("plans", _FILE, plans.encode("ascii")),
    )
    return archive(entries)


def archive(entries: Iterable[Entry]) -> bytes:
    """Return an archive (Linux 7.2, Documentation/driver-api/early-userspace/buffer-format.rst),
    uncompressed: unpacking is slow in emulation. A directory is before its files.
    """
    every = (*entries, Entry("TRAILER!!!", 0))
    return b"".join(piece for number, entry in enumerate(every) for piece in _pieces(number, entry))


def _pieces(number: int, entry: Entry) -> Iterator[bytes]:
    name = entry.path.encode() + b"\0"
    size = len(entry.content)
    fields = (number, entry.mode, 0, 0, 1, 0, size, 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    yield header + bytes(-len(header) % 4)
    yield entry.content + bytes(-size % 4)
