"""Device tree blobs for tests, written without libfdt: devicetree-specification v0.4, chapter 5."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

BEGIN_NODE, END_NODE, PROP, END = 1, 2, 3, 9
HEADER = 40

Tree = dict[str, Any]
"""A node: nodes in it are mappings. A property is bytes, a text, a list of texts, a number or a
list of numbers, which are cells; None is a property without value.
"""


def value_of(written: Any) -> bytes:
    """Return the bytes of a property."""
    if written is None:
        return b""
    if isinstance(written, bytes):
        return written
    values: Sequence[Any] = written if isinstance(written, (list, tuple)) else [written]
    return b"".join(
        each.encode() + b"\0" if isinstance(each, str) else struct.pack(">I", each)
        for each in values
    )


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class _Writer:
    def __init__(self) -> None:
        self.structure: list[bytes] = []
        self.strings = b""
        self.offsets: dict[str, int] = {}

    def name(self, text: str) -> int:
        if text not in self.offsets:
            self.offsets[text] = len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.offsets[text]

    def node(self, name: str, tree: Tree) -> None:
        self.structure.append(struct.pack(">I", BEGIN_NODE) + padded(name.encode() + b"\0"))
        for key, written in tree.items():
            if not isinstance(written, dict):
                value = value_of(written)
                head = struct.pack(">III", PROP, len(value), self.name(key))
                self.structure.append(head + padded(value))
        for key, child in tree.items():
            if isinstance(child, dict):
                self.node(key, child)
        self.structure.append(struct.pack(">I", END_NODE))


def blob_around(structure: bytes, strings: bytes) -> bytes:
    """Return a blob with these two blocks."""
    reserved = bytes(16)
    of_structure = HEADER + len(reserved)
    of_strings = of_structure + len(structure)
    total = of_strings + len(strings)
    header = struct.pack(
        ">10I",
        0xD00DFEED,
        total,
        of_structure,
        of_strings,
        HEADER,
        17,
        16,
        0,
        len(strings),
        len(structure),
    )
    return header + reserved + structure + strings


def blob(tree: Tree) -> bytes:
    """Return the blob of a device tree."""
    writer = _Writer()
    writer.node("", tree)
    return blob_around(b"".join(writer.structure) + struct.pack(">I", END), writer.strings)
