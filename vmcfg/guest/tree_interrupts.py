"""The interrupts of a device in a device tree, by the numbers of its GIC.

Sources: devicetree-specification v0.4, section 2.4; the bindings arm,gic and arm,gic-v3 of Linux
7.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmcfg.arm.interrupts import GREATEST_PPI, GREATEST_SPI, PPI_BASE, SPI_BASE
from vmcfg.description.draft import NoDraft
from vmcfg.guest.blob import MOST_LEVELS, Blob

SPI, PPI = 0, 1
"""The first cell of an interrupt: what kind it is."""

FIRST_OF_KIND = {SPI: SPI_BASE, PPI: PPI_BASE, 2: 4096, 3: 1056}
"""The INTID of number 0, by the first cell of an interrupt: of an SPI, a PPI, an extended SPI, and
an extended PPI.
"""


class Interrupt(NamedTuple):
    """An interrupt of a GIC.

    `irq` is its INTID, or text if its number is too high. A private one is a PPI; if it belongs to
    only some CPUs, `partition` is the phandle of a node that lists them, and otherwise 0.
    """

    irq: int | str
    is_private: bool
    partition: int


class Interrupts:
    """The interrupts of the devices in a tree whose GICs are the nodes `gics`."""

    def __init__(self, blob: Blob, gics: list[int]) -> None:
        self.blob = blob
        self.gics = gics

    def of(self, node: int) -> Iterator[Interrupt | None]:
        """Yield the interrupts of a device; None replaces those that are not of a GIC."""
        extended = self.blob.cells(node, "interrupts-extended")
        if extended is not None:
            yield from self._extended(node, extended)
            return
        cells = self.blob.cells(node, "interrupts") or ()
        controller = self._parent(node)
        if not cells or controller is None:
            return
        width = self.blob.cell(controller, "#interrupt-cells") or 0
        if not width or len(cells) % width:
            raise NoDraft(
                f"'interrupts' of {self.blob.name(node)} has {len(cells)} cells, which is not a"
                f" multiple of {width}"
            )
        is_gic = self._leads_to_gic(controller)
        for start in range(0, len(cells), width):
            yield _interrupt(cells[start : start + width]) if is_gic else None

    def _extended(self, node: int, cells: tuple[int, ...]) -> Iterator[Interrupt | None]:
        """Yield the interrupts of a device with `interrupts-extended`."""
        start = 0
        while start < len(cells):
            controller = self.blob.with_phandle(cells[start])
            width = None if controller is None else self.blob.cell(controller, "#interrupt-cells")
            if controller is None or width is None or start + 1 + width > len(cells):
                raise NoDraft(f"invalid 'interrupts-extended' of {self.blob.name(node)}")
            entry = cells[start + 1 : start + 1 + width]
            yield _interrupt(entry) if self._leads_to_gic(controller) else None
            start += 1 + width

    def _parent(self, node: int) -> int | None:
        """Return the interrupt controller of a device: its own, or that of a node above it."""
        above: int | None = node
        for _ in range(MOST_LEVELS):
            if above is None:
                return None
            phandle = self.blob.cell(above, "interrupt-parent")
            if phandle is not None:
                return self.blob.with_phandle(phandle)
            above = self.blob.parent(above)
        return None

    def _leads_to_gic(self, controller: int) -> bool:
        """Return whether interrupts of a controller have the numbers of a GIC.

        Some controllers only wake up the system and pass on every interrupt with its number.
        """
        for _ in range(MOST_LEVELS):
            if controller in self.gics:
                return True
            following = self._parent(controller)
            if following is None or self.blob.cell(controller, "#interrupt-cells") != 3:
                return False
            controller = following
        return False


def _interrupt(cells: tuple[int, ...]) -> Interrupt | None:
    """Return an interrupt in the cells of a GIC: kind, number, flags, and the CPUs of a PPI."""
    if len(cells) < 3 or cells[0] not in FIRST_OF_KIND:
        return None
    kind, number_ = cells[:2]
    irq: int | str = FIRST_OF_KIND[kind] + number_
    if kind == 0 and number_ > GREATEST_SPI:
        irq = f"spi:{number_}"
    if kind == 1 and number_ > GREATEST_PPI:
        irq = f"ppi:{number_}"
    is_private = kind in (1, 3)
    return Interrupt(irq, is_private, cells[3] if is_private and len(cells) > 3 else 0)
