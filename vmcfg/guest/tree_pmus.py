"""The PMU interrupts of the CPUs in a device tree.

Sources: the bindings arm/pmu and arm,gic-v3 of Linux 7.2; without `interrupt-affinity`, as in
arm_pmu_platform.c:pmu_parse_irq_affinity.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vmcfg.arm.affinity import mpidr_text
from vmcfg.description.draft import Draft
from vmcfg.guest.blob import Blob
from vmcfg.guest.tree_interrupts import Interrupt, Interrupts

PMU = re.compile(
    r"arm,armv8-pmuv3|arm,(?:cortex|neoverse|c1|rainier)(?:-[a-z0-9]+)*-pmu|apm,potenza-pmu"
    r"|brcm,vulcan-pmu|cavium,thunder-pmu|nvidia,(?:carmel|denver|olympus)-pmu"
    r"|qcom,(?:kryo|oryon)-pmu|samsung,mongoose-pmu"
)
"""The PMUs of CPUs; other nodes that end in -pmu are PMUs of buses, or manage power."""


class Cpu(NamedTuple):
    """A CPU of a device tree: its node, and its compressed MPIDR."""

    node: int
    mpidr: int


def pmu_irqs(
    blob: Blob, interrupts: Interrupts, pmus: list[int], cpus: list[Cpu], draft: Draft
) -> dict[int, int | str]:
    """Return the PMU interrupt of each CPU, by its index; without those that have none.

    `pmus` are the nodes of the PMUs; what cannot be read is a warning of `draft`.
    """
    pmu_reader = _Pmus(blob, interrupts, cpus, draft)
    for node in pmus:
        pmu_reader.read(node)
    return pmu_reader.found


class _Pmus:
    """One reading of the PMUs, which collects the interrupt of each CPU."""

    def __init__(self, blob: Blob, interrupts: Interrupts, cpus: list[Cpu], draft: Draft) -> None:
        self.blob = blob
        self.interrupts = interrupts
        self.cpus = cpus
        self.draft = draft
        self.found: dict[int, int | str] = {}
        self.index_of = {blob.phandle(cpu.node): index for index, cpu in enumerate(cpus)}
        # CPUs without a phandle.
        self.index_of.pop(0, None)

    def read(self, node: int) -> None:
        """Add the interrupts of a PMU."""
        name = self.blob.name(node)
        interrupts = list(self.interrupts.of(node))
        if not interrupts:
            self.draft.warn(f"{name} has no interrupts.")
        if None in interrupts:
            self.draft.warn(f"{name} has an interrupt that does not belong to a GIC.")
        if len(interrupts) > len(self.cpus):
            self.draft.warn(f"{name} has more interrupts than there are CPUs.")
        affinity = self.blob.cells(node, "interrupt-affinity")
        for place, interrupt in enumerate(interrupts[: len(self.cpus)]):
            if interrupt is not None:
                phandles = self.phandles_of(name, interrupt, place, affinity)
                for index in self.indexes(name, interrupt, place, phandles):
                    self.add(name, index, interrupt.irq)

    def add(self, name: str, index: int, irq: int | str) -> None:
        """Add the interrupt of a CPU."""
        if self.found.setdefault(index, irq) != irq:
            mpidr = mpidr_text(self.cpus[index].mpidr)
            self.draft.warn(f"CPU {mpidr} has another PMU interrupt in {name}.")

    def phandles_of(
        self, name: str, interrupt: Interrupt, place: int, affinity: tuple[int, ...] | None
    ) -> tuple[int, ...] | None:
        """Return the phandles of the CPUs to which an interrupt belongs; None without any.

        `place` is its position in `interrupts`. An SPI belongs to the CPU at the same position in
        `interrupt-affinity`.
        """
        if interrupt.partition:
            return self.partition(name, interrupt.partition)
        if affinity is None or interrupt.is_private:
            return affinity
        if not affinity[place : place + 1]:
            self.draft.warn(f"{name} has an SPI that belongs to no CPU.")
        return affinity[place : place + 1]

    def partition(self, name: str, phandle: int) -> tuple[int, ...]:
        """Return the phandles of the CPUs that share a PPI."""
        node = self.blob.with_phandle(phandle)
        affinity = None if node is None else self.blob.cells(node, "affinity")
        if affinity is None:
            self.draft.warn(f"{name} has a PPI of CPUs that are not listed.")
        return affinity or ()

    def indexes(
        self, name: str, interrupt: Interrupt, place: int, phandles: tuple[int, ...] | None
    ) -> list[int]:
        """Return the indexes of the CPUs to which an interrupt belongs."""
        every = range(len(self.cpus))
        if phandles is not None:
            phandles = phandles[: len(every)]
            if not self.index_of.keys() >= set(phandles):
                self.draft.warn(f"{name} has an interrupt of a CPU that is not in /cpus.")
            return [self.index_of[each] for each in phandles if each in self.index_of]
        if interrupt.is_private:
            return list(every)
        if len(every) > 1:
            self.draft.note(
                f"{name} has no 'interrupt-affinity': its SPIs are in the order of the CPUs, as in"
                " Linux."
            )
        return [place]
