"""Every identifier of a vCPU and of its PMU interrupt.

In: a `Machine`. Out: the contents of ``vmcfg show``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vmcfg.arm.affinity import aff3, mpidr_register, mpidr_text, reg_cells
from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, is_ppi, is_spi
from vmcfg.kernel.limits import GICV2_MOST_VCPUS
from vmcfg.kernel.version import unknown_release
from vmcfg.vm.machine import Machine

DT_SPI, DT_PPI = 0, 1
"""The first of the three interrupt cells in a device tree
(bindings/interrupt-controller/arm,gic-v3.yaml).
"""

LEVEL_HIGH = 4
"""The trigger type in the third cell, as in the device trees of QEMU, kvmtool, and crosvm."""

IRQ_TYPE_SPI, IRQ_TYPE_PPI = 1, 2
"""Bits [27:24] of a KVM_IRQ_LINE word (Documentation/virt/kvm/api.rst 4.25)."""

LAYOUT_2_SINCE_ID = 256
"""The first vCPU id that exceeds the 8 bits in the first layout of the word."""

IRQ_LINE_BY_ID = (6, 7)
"""The first release in which a KVM_IRQ_LINE word contains the vCPU id; before, its index."""


def irq_line(intid: int, vcpu_id: int) -> int | None:
    """Return the KVM_IRQ_LINE word of a PPI or SPI of a vCPU; None for other interrupts.

    The word of a PPI contains the vCPU id in bits [23:16] and, from id 256, also in [31:28]. The
    word of an SPI does not contain a vCPU.
    """
    if is_spi(intid):
        return IRQ_TYPE_SPI << 24 | intid
    if is_ppi(intid):
        return vcpu_id >> 8 << 28 | IRQ_TYPE_PPI << 24 | (vcpu_id & 0xFF) << 16 | intid
    return None


class Names(NamedTuple):
    """All identifiers of one vCPU. `mpidr` is compressed; `intid` is its PMU interrupt, or None.

    `cells` is #address-cells of all CPUs in a device tree, and `ppi_mask` is the CPU mask of a
    GICv2 PPI in the third cell.
    """

    index: int  # type: ignore[assignment]  # it hides tuple.index, which nobody calls here
    id: int
    mpidr: int
    intid: int | None
    boot: bool
    mpidr_by_register: bool
    cells: int
    ppi_mask: int

    @property
    def irq_line(self) -> int | None:
        """Return the KVM_IRQ_LINE word of the PMU interrupt."""
        return None if self.intid is None else irq_line(self.intid, self.id)

    @property
    def irq_line_layout2(self) -> bool:
        """Return whether that word requires KVM_CAP_ARM_IRQ_LINE_LAYOUT_2: the id exceeds 255."""
        return self.intid is not None and is_ppi(self.intid) and self.id >= LAYOUT_2_SINCE_ID

    @property
    def interrupts(self) -> tuple[int, int, int] | None:
        """Return the three device tree cells of the PMU interrupt: type, number, flags."""
        if self.intid is None or not (is_ppi(self.intid) or is_spi(self.intid)):
            return None
        if is_ppi(self.intid):
            return DT_PPI, self.intid - PPI_BASE, self.ppi_mask << 8 | LEVEL_HIGH
        return DT_SPI, self.intid - SPI_BASE, LEVEL_HIGH

    def as_json(self) -> dict[str, Any]:
        """Return the identifiers by the keys of schemas/show-v1.schema.json."""
        intid, word, cells = self.intid, self.irq_line, self.interrupts
        return {
            "index": self.index,
            "id": self.id,
            "mpidr": mpidr_text(self.mpidr),
            "mpidr_el1": hex(mpidr_register(self.mpidr)),
            "compressed": hex(self.mpidr),
            "reg": [hex(cell) for cell in reg_cells(self.mpidr, self.cells)],
            "intid": intid,
            "ppi": intid - PPI_BASE if intid is not None and is_ppi(intid) else None,
            "spi": intid - SPI_BASE if intid is not None and is_spi(intid) else None,
            "interrupts": None if cells is None else list(cells),
            # Performance interrupt in the MADT: on Arm, a GSIV is an INTID (ACPI 6.5, 5.2.12.14).
            "gsiv": intid,
            "irq_line": None if word is None else hex(word),
            "irq_line_layout2": self.irq_line_layout2,
            "boot": self.boot,
            "mpidr_by_register": self.mpidr_by_register,
        }


def names(machine: Machine) -> list[Names]:
    """Return the identifiers of every vCPU, in index order."""
    cells = 2 if any(aff3(vcpu.mpidr) for vcpu in machine.vcpus) else 1
    mask = (1 << min(len(machine.vcpus), GICV2_MOST_VCPUS)) - 1 if machine.gic_version() == 2 else 0
    return [
        Names(
            index, vcpu.id, vcpu.mpidr, vcpu.pmu_irq, vcpu.boot, vcpu.mpidr_by_register, cells, mask
        )
        for index, vcpu in enumerate(machine.vcpus)
    ]


def notes(machine: Machine) -> list[str]:
    """Return what requires a capability or a kernel, and what is odd about the host kernel, in one
    sentence each.
    """
    every = names(machine)
    told = []
    layout2 = [each for each in every if each.irq_line_layout2]
    if layout2:
        which = (
            f"vCPU {layout2[0].id}"
            if len(layout2) == 1
            else f"{len(layout2)} vCPUs (id {layout2[0].id} and above)"
        )
        told.append(f"The KVM_IRQ_LINE word of {which} requires KVM_CAP_ARM_IRQ_LINE_LAYOUT_2.")
    ppis = [each for each in every if each.intid is not None and is_ppi(each.intid)]
    if machine.host_kernel < IRQ_LINE_BY_ID and any(each.index != each.id for each in ppis):
        told.append(
            "Here, ids and indexes differ: Linux before 6.7 reads an index in a KVM_IRQ_LINE word,"
            " but these words contain the id, so that they reach another vCPU or none."
        )
    unknown = unknown_release(machine.host_kernel)
    if unknown is not None:
        told.append(unknown)
    return told
