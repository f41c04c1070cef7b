"""Device tree blobs: nodes, properties, and addresses, read with libfdt.

A node is the offset by which libfdt knows it. Reading ends for every blob, and every problem is a
`NoDraft`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from vmcfg.description.draft import NoDraft
from vmcfg.escape import excerpt

ROOT = 0
"""The node of the root."""

MOST_BYTES_OF_PROPERTY = 1 << 16
"""The maximum size of a property that is read: 16384 cells."""

MOST_STRINGS = 32
"""The maximum number of strings of a property that are read."""

MOST_PHANDLES = 256
"""The maximum number of phandles that are looked up: for each, libfdt searches the whole tree."""

MOST_LEVELS = 16
"""The maximum number of buses or interrupt controllers between two nodes."""

DEFAULT_ADDRESS_CELLS = 2
DEFAULT_SIZE_CELLS = 1


def libfdt() -> ModuleType:
    """Return the Python module of libfdt. Raises `NoDraft` without it."""
    try:
        import libfdt as module
    except ImportError:
        raise NoDraft(
            "device trees require libfdt: install vmcfg[devicetree], or the package"
            " python3-libfdt of Debian"
        ) from None
    found: ModuleType = module
    return found


class Blob:
    """A device tree blob. Raises `NoDraft` if it is incomplete or damaged."""

    def __init__(self, data: bytes) -> None:
        self._libfdt = libfdt()
        _check_size(data)
        try:
            self._tree = self._libfdt.FdtRo(data)
        except self._libfdt.FdtException as error:
            raise damaged(error) from None
        self._data = bytearray(data)
        self._quiet = (self._libfdt.NOTFOUND,)
        self._phandles: dict[int, int | None] = {}
        self.parent = lru_cache(maxsize=256)(self._parent)

    def nodes(self) -> Iterator[int]:
        """Yield every node in the order of the tree."""
        node, depth = ROOT, 0
        while True:
            yield node
            node, depth = self._tree.next_node(node, depth, self._quiet)
            if node == -self._libfdt.NOTFOUND or depth < 0:
                return
            if node < 0:
                raise damaged(self._libfdt.strerror(node))

    def children(self, node: int) -> Iterator[int]:
        """Yield the children of a node in the order of the tree."""
        child = self._call(self._tree.first_subnode, node)
        while child is not None:
            yield child
            child = self._call(self._tree.next_subnode, child)

    def at(self, path: str) -> int | None:
        """Return the node at a path; None if there is none."""
        return self._call(self._tree.path_offset, path)

    def _parent(self, node: int) -> int | None:
        """Return the parent of a node; None for the root."""
        return None if node == ROOT else self._call(self._tree.parent_offset, node)

    def phandle(self, node: int) -> int:
        """Return the phandle of a node; 0 if it has none."""
        found: int = self._tree.get_phandle(node)
        return found

    def with_phandle(self, phandle: int) -> int | None:
        """Return the node that has a phandle; None if there is none."""
        if phandle in self._phandles:
            return self._phandles[phandle]
        if len(self._phandles) == MOST_PHANDLES:
            raise NoDraft(f"interrupts refer to more than {MOST_PHANDLES} nodes")
        is_valid = 0 < phandle < 0xFFFFFFFF
        node = self._call(self._tree.node_offset_by_phandle, phandle) if is_valid else None
        self._phandles[phandle] = node
        return node

    def _call(self, function: Any, argument: Any) -> int | None:
        """Return the node that a function of libfdt finds; None if there is none."""
        try:
            node: int = function(argument, self._quiet)
        except self._libfdt.FdtException as error:
            raise damaged(error) from None
        return None if node < 0 else node

    # Properties

    def name(self, node: int) -> str:
        """Return the name of a node, for messages."""
        try:
            return excerpt(self._tree.get_name(node)) or "/"
        except self._libfdt.FdtException as error:
            raise damaged(error) from None

    def value(self, node: int, name: str) -> bytes | None:
        """Return the bytes of a property; None if the node does not have it."""
        # In libfdt 1.6.1, which Debian 12 has, getprop releases None once too often if there is no
        # such property: after some hundred calls, Python aborts. This function returns a number.
        strings = self._libfdt.fdt_stringlist_count(self._data, node, name)
        if strings == -self._libfdt.NOTFOUND:
            return None
        try:
            found = self._tree.getprop(node, name)
        except self._libfdt.FdtException as error:
            raise damaged(error) from None
        if len(found) > MOST_BYTES_OF_PROPERTY:
            raise NoDraft(
                f"'{name}' of {self.name(node)} has {len(found)} bytes, and the maximum is"
                f" {MOST_BYTES_OF_PROPERTY}"
            )
        return bytes(found)

    def strings(self, node: int, name: str) -> list[str]:
        """Return the first strings of a property; none if the node does not have it."""
        found = self.value(node, name)
        if not found:
            return []
        texts = found.removesuffix(b"\0").split(b"\0", MOST_STRINGS)[:MOST_STRINGS]
        return [text.decode("utf-8", "backslashreplace") for text in texts]

    def cells(self, node: int, name: str) -> tuple[int, ...] | None:
        """Return the 32-bit numbers of a property; None if the node does not have it."""
        found = self.value(node, name)
        if found is None:
            return None
        if len(found) % 4:
            raise NoDraft(
                f"'{name}' of {self.name(node)} has {len(found)} bytes, which is not a multiple"
                " of 4"
            )
        return struct.unpack(f">{len(found) // 4}I", found)

    def cell(self, node: int, name: str) -> int | None:
        """Return the number of a property with one cell; None if the node does not have it."""
        found = self.cells(node, name)
        return found[0] if found else None

    # Addresses

    def frames(self, node: int, bus: int | None = None) -> list[tuple[int, int] | None]:
        """Return the address, as a CPU sees it, and the size of each frame in `reg` of a node.

        None replaces a frame that no CPU can address. `bus` is the parent of the node, if known.
        """
        bus = self.parent(node) if bus is None else bus
        reg = self.cells(node, "reg") or ()
        if bus is None:
            return []
        of_address, of_size = self._cells_on(bus)
        width = of_address + of_size
        if not width or len(reg) % width:
            raise NoDraft(
                f"'reg' of {self.name(node)} has {len(reg)} cells, which is not a multiple of"
                f" {width}"
            )
        frames: list[tuple[int, int] | None] = []
        for start in range(0, len(reg), width):
            address = number(reg[start : start + of_address])
            size = number(reg[start + of_address : start + width])
            seen = self._seen_by_cpus(address, bus)
            frames.append(None if seen is None else (seen, size))
        return frames

    def _cells_on(self, bus: int) -> tuple[int, int]:
        """Return the number of cells of an address and of a size in `reg` of a node on a bus."""
        of_address = self.cell(bus, "#address-cells")
        of_size = self.cell(bus, "#size-cells")
        cells = (
            DEFAULT_ADDRESS_CELLS if of_address is None else of_address,
            DEFAULT_SIZE_CELLS if of_size is None else of_size,
        )
        if max(cells) > 4:
            raise NoDraft(f"{self.name(bus)} has addresses of {max(cells)} cells")
        return cells

    def _seen_by_cpus(self, address: int, bus: int) -> int | None:
        """Return an address on a bus as the CPUs see it, by `ranges` of each bus up to the root."""
        for _ in range(MOST_LEVELS):
            parent = self.parent(bus)
            if parent is None:
                return address if address < 1 << 64 else None
            translated = self._on_parent(address, bus, parent)
            if translated is None:
                return None
            address, bus = translated, parent
        return None

    def _on_parent(self, address: int, bus: int, parent: int) -> int | None:
        """Return an address on a bus as an address on the bus above it; None if it has none."""
        ranges = self.cells(bus, "ranges")
        if ranges is None:
            return None
        if not ranges:
            return address
        of_child, of_size = self._cells_on(bus)
        of_parent, _ = self._cells_on(parent)
        width = of_child + of_parent + of_size
        for start in range(0, len(ranges) - width + 1, width):
            entry = ranges[start : start + width]
            first = number(entry[:of_child])
            size = number(entry[of_child + of_parent :])
            if first <= address < first + size:
                return address - first + number(entry[of_child : of_child + of_parent])
        return None


def number(cells: tuple[int, ...]) -> int:
    """Return the number in cells, of which the first is the highest."""
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def damaged(error: object) -> NoDraft:
    """Return the error for a blob in which libfdt found an error."""
    return NoDraft(f"the device tree blob is damaged: {error}")


def _check_size(data: bytes) -> None:
    """Raise `NoDraft` if the blob is longer than its data: libfdt would read other memory."""
    if len(data) < 40:
        raise NoDraft(f"the device tree blob is incomplete: its header has {len(data)} of 40 bytes")
    total = int.from_bytes(data[4:8], "big")
    if total > len(data):
        raise NoDraft(f"the device tree blob is incomplete: it has {len(data)} of {total} bytes")
