"""The root file system of a guest of `--image`: /init, its plans, and two devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_FOLDER, _DEVICE, _FILE = 0o040755, 0o020600, 0o100755


class _Entry(NamedTuple):
    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def initrd(program: bytes, plans: str) -> bytes:
    """Return an archive (Linux 7.2, Documentation/driver-api/early-userspace/buffer-format.rst),
    uncompressed.
    """
    entries = (
        _Entry("dev", _FOLDER),
        _Entry("sys", _FOLDER),
        _Entry("dev/console", _DEVICE, device=(5, 1)),
        _Entry("dev/kvm", _DEVICE, device=(10, 232)),
        _Entry("init", _FILE, program),
        _Entry("plans", _FILE, plans.encode("ascii")),
        _Entry("TRAILER!!!", 0),
    )
    return b"".join(
        piece for number, entry in enumerate(entries) for piece in _pieces(number, entry)
    )


def _pieces(number: int, entry: _Entry) -> Iterator[bytes]:
    name = entry.path.encode() + b"\0"
    size = len(entry.content)
    fields = (number, entry.mode, 0, 0, 1, 0, size, 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    yield header + bytes(-len(header) % 4)
    yield entry.content + bytes(-size % 4)
