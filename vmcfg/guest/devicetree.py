"""Device trees: what they contain of a VM.

Sources: devicetree-specification v0.4, chapters 2 and 3, and the bindings of Linux 7.2 for
arm/cpus, arm/pmu, arch_timer, arm,gic, and arm,gic-v3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from vmcfg.arm.affinity import AFFINITIES, compressed_of_register, mpidr_text
from vmcfg.arm.interrupts import GREATEST_PPI, GREATEST_SPI, PPI_BASE, SPI_BASE
from vmcfg.description.draft import Draft, NoDraft, valid_name
from vmcfg.description.model import DEFAULT_TIMERS, MAINTENANCE
from vmcfg.guest.blob import MOST_LEVELS, ROOT, Blob, number
from vmcfg.guest.dtc import blob_of_source
from vmcfg.vm.frames import V3_REDIST_SIZE

MOST_ENTRIES = 4096
"""The maximum number of CPUs, memory nodes, and similar: a description has at most 512 vCPUs."""

MOST_NODES_OF_A_KIND = 64
"""The maximum number of GICs, ITSs, timers, and PMUs."""

GICV2 = frozenset(
    (
        "arm,cortex-a15-gic",
        "arm,cortex-a7-gic",
        "arm,cortex-a9-gic",
        "arm,gic-400",
        "arm,pl390",
        "qcom,msm-qgic2",
    )
)
GICV3 = "arm,gic-v3"
GICV5 = "arm,gic-v5"
ITS = "arm,gic-v3-its"
TIMERS = ("arm,armv8-timer", "arm,armv7-timer")

PMU = re.compile(
    r"arm,armv8-pmuv3|arm,(?:cortex|neoverse|c1|rainier)(?:-[a-z0-9]+)*-pmu|apm,potenza-pmu"
    r"|brcm,vulcan-pmu|cavium,thunder-pmu|nvidia,(?:carmel|denver|olympus)-pmu"
    r"|qcom,(?:kryo|oryon)-pmu|samsung,mongoose-pmu"
)
"""The PMUs of CPUs; other nodes that end in -pmu are PMUs of buses, or manage power."""

TIMER_ORDER = ("sec-phys", "phys", "virt", "hyp-phys", "hyp-virt")
"""The interrupts of a timer without `interrupt-names`."""

TIMER_KEYS = {
    "virtual": "virt",
    "physical": "phys",
    "hyp_virtual": "hyp-virt",
    "hyp_physical": "hyp-phys",
}
"""The keys of `timers`, with the names in device trees."""

FIRST_OF_KIND = {0: SPI_BASE, 1: PPI_BASE, 2: 4096, 3: 1056}
"""The INTID of number 0, by the first cell of an interrupt: of an SPI, a PPI, an extended SPI, and
an extended PPI.
"""

NOTES = (
    "A device tree does not contain the ids of the vCPUs: see 'vcpu_ids'.",
    "A device tree does not contain the host kernel, the size of the address space, features, or"
    " settings that only KVM knows: see 'host_kernel', 'ipa_bits', and 'features'.",
)

NOTE_ABOUT_GIC = (
    "A device tree does not contain the number of INTIDs, or whether the VMM sets up the GIC: see"
    " 'gic.nr_irqs' and 'gic.set_up_by'."
)


def draft_of_source(data: bytes) -> Draft:
    """Return the draft of a device tree source, which dtc compiles. Raises `NoDraft`."""
    return draft_of_blob(blob_of_source(data))


def draft_of_blob(data: bytes) -> Draft:
    """Return the draft of a device tree blob. Raises `NoDraft`."""
    return _Reader(Blob(data)).draft()


class _Cpu(NamedTuple):
    node: int
    mpidr: int


class _Interrupt(NamedTuple):
    """An interrupt of a GIC.

    `irq` is its INTID, or text if its number is too high. `partition` is the phandle of the CPUs
    that it belongs to, if it is a PPI of only some; otherwise 0.
    """

    irq: int | str
    private: bool
    partition: int


class _Reader:
    """One reading of a device tree, which collects the draft."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.result = Draft(notes=list(NOTES))
        self.gics: list[int] = []
        self.its: list[int] = []
        self.timers: list[int] = []
        self.pmus: list[int] = []

    def draft(self) -> Draft:
        """Return the draft."""
        cpus = list(self.cpus())
        if not cpus:
            raise NoDraft("the device tree contains no CPUs: no 'cpu' node with 'reg' in /cpus")
        self.find_nodes()
        model = self.blob.strings(ROOT, "model")
        self.result.name = valid_name(model[0]) if model else None
        data = self.result.data
        data["memory"] = list(self.memory())
        data["gic"] = self.gic()
        data["timers"] = self.timer_irqs()
        irqs = self.pmu_irqs(cpus)
        data["vcpus"] = [
            {"mpidr": mpidr_text(cpu.mpidr), "pmu_irq": irqs.get(index)}
            for index, cpu in enumerate(cpus)
        ]
        return self.result

    def warn(self, sentence: str) -> None:
        """Add a warning, once."""
        if sentence not in self.result.warnings:
            self.result.warnings.append(sentence)

    def find_nodes(self) -> None:
        """Find the GICs, ITSs, timers, and PMUs."""
        for node in self.blob.nodes():
            for compatible in self.blob.strings(node, "compatible"):
                found = self.nodes_like(compatible)
                if found is not None and not self.is_disabled(node):
                    found.append(node)
                    if len(found) > MOST_NODES_OF_A_KIND:
                        raise NoDraft(
                            f"the device tree contains more than {MOST_NODES_OF_A_KIND} nodes"
                            f" that are compatible with {compatible}"
                        )
                    break

    def nodes_like(self, compatible: str) -> list[int] | None:
        """Return the list of the nodes that are compatible with a word; None if of no interest."""
        if compatible in GICV2 or compatible in (GICV3, GICV5):
            return self.gics
        if compatible == ITS:
            return self.its
        if compatible in TIMERS:
            return self.timers
        return self.pmus if PMU.fullmatch(compatible) else None

    def is_disabled(self, node: int) -> bool:
        """Return whether a device is not there, or not usable."""
        return self.blob.strings(node, "status")[:1] not in ([], ["okay"], ["ok"])

    # CPUs

    def cpus(self) -> Iterator[_Cpu]:
        """Yield the CPUs in the order of the tree, except those that failed."""
        container = self.blob.at("/cpus")
        if container is None:
            return
        of_address = self.blob.cell(container, "#address-cells")
        count = 0
        for node in self.blob.children(container):
            if not self.is_cpu(node):
                continue
            name = self.blob.name(node)
            status = self.blob.strings(node, "status")[:1]
            if status and status[0].startswith("fail"):
                self.warn(f"{name} failed ('status'), and is not imported.")
                continue
            count += 1
            if count > MOST_ENTRIES:
                raise NoDraft(f"the device tree contains more than {MOST_ENTRIES} CPUs")
            yield _Cpu(node, self.mpidr(node, name, 1 if of_address is None else of_address))

    def is_cpu(self, node: int) -> bool:
        """Return whether a child of /cpus is a CPU; others are cpu-map and caches."""
        if self.blob.strings(node, "device_type")[:1] == ["cpu"]:
            return True
        return self.blob.name(node).startswith("cpu@")

    def mpidr(self, node: int, name: str, of_address: int) -> int:
        """Return the compressed MPIDR of a CPU."""
        reg = self.blob.cells(node, "reg")
        if not reg or of_address not in (1, 2) or len(reg) < of_address:
            raise NoDraft(f"'reg' of {name} must be an MPIDR in one or two cells")
        register = number(reg[:of_address])
        if register & ~AFFINITIES:
            self.warn(f"'reg' of {name} is {register:#x}, which has bits outside the affinities.")
        return compressed_of_register(register & AFFINITIES)

    # Memory

    def memory(self) -> Iterator[dict[str, Any]]:
        """Yield the memory slots."""
        count = 0
        for node in self.blob.children(ROOT):
            if self.blob.strings(node, "device_type")[:1] != ["memory"] or self.is_disabled(node):
                continue
            for frame in self.blob.frames(node):
                count += 1
                if count > MOST_ENTRIES:
                    raise NoDraft(f"the device tree contains more than {MOST_ENTRIES} memory areas")
                if frame is None or not frame[1]:
                    self.result.notes.append(
                        f"{self.blob.name(node)} has no size: the firmware fills it in."
                    )
                    continue
                base, size = frame
                if size >= 1 << 64:
                    raise NoDraft(f"'reg' of {self.blob.name(node)} has a size of {size:#x} bytes")
                yield {"base": base, "size": size}

    # GIC

    def gic(self) -> dict[str, Any] | None:
        """Return the key `gic`; None without a GIC that a description can contain."""
        if not self.gics:
            self.warn("The device tree contains no GICv2 or GICv3.")
            return None
        node = self.gics[0]
        name = self.blob.name(node)
        compatible = self.blob.strings(node, "compatible")
        if GICV5 in compatible:
            self.warn(f"{name} is a GICv5, and a description can contain only a GICv2 or GICv3.")
            return None
        frames = self.blob.frames(node)
        self.result.notes.append(NOTE_ABOUT_GIC)
        if GICV3 in compatible:
            return self.gicv3(node, name, frames)
        return self.gicv2(name, frames)

    def gicv2(self, name: str, frames: list[tuple[int, int] | None]) -> dict[str, Any] | None:
        """Return the key `gic` of a GICv2."""
        distributor, cpu_interface = (*frames, None, None)[:2]
        if distributor is None or cpu_interface is None:
            self.warn(f"'reg' of {name} must have two frames that CPUs can address.")
            return None
        return {"version": 2, "distributor": distributor[0], "cpu_interface": cpu_interface[0]}

    def gicv3(
        self, node: int, name: str, frames: list[tuple[int, int] | None]
    ) -> dict[str, Any] | None:
        """Return the key `gic` of a GICv3."""
        regions = self.blob.cell(node, "#redistributor-regions")
        regions = 1 if regions is None else regions
        wanted = frames[: 1 + regions]
        if regions > len(frames) or None in wanted or len(wanted) < 2:
            self.warn(f"'reg' of {name} must have {1 + regions} frames that CPUs can address.")
            return None
        distributor, *redistributors = [frame for frame in wanted if frame is not None]
        stride = self.stride(node, name)
        gic: dict[str, Any] = {"version": 3, "distributor": distributor[0]}
        if len(redistributors) > MOST_ENTRIES:
            raise NoDraft(f"{name} has more than {MOST_ENTRIES} redistributor regions")
        gic["redistributors"] = [
            {"base": base, "count": self.redistributors_in(name, base, size, stride)}
            for base, size in redistributors
        ]
        gic["its"] = [frame[0] for its in self.its if (frame := self.its_frame(its)) is not None]
        interrupts = list(self.interrupts(node))
        maintenance = interrupts[0].irq if interrupts and interrupts[0] is not None else None
        if maintenance != MAINTENANCE:
            gic["maintenance_irq"] = maintenance
        return gic

    def its_frame(self, node: int) -> tuple[int, int] | None:
        """Return the frame of an ITS."""
        frames = self.blob.frames(node)
        if not frames or frames[0] is None:
            self.warn(f"'reg' of {self.blob.name(node)} must have a frame that CPUs can address.")
            return None
        return frames[0]

    def stride(self, node: int, name: str) -> int:
        """Return the distance of two redistributors; warn if it is not that of KVM."""
        stride = number(self.blob.cells(node, "redistributor-stride") or ())
        if stride in (0, V3_REDIST_SIZE):
            return V3_REDIST_SIZE
        self.warn(
            f"The redistributors of {name} are {stride:#x} bytes apart, and those of KVM are"
            f" {V3_REDIST_SIZE:#x} bytes apart."
        )
        return stride

    def redistributors_in(self, name: str, base: int, size: int, stride: int) -> int:
        """Return the number of redistributors in a region."""
        count, rest = divmod(size, stride)
        if rest:
            self.warn(
                f"The redistributor region of {name} at {base:#x} has {size:#x} bytes, which is not"
                f" a multiple of {stride:#x}."
            )
        return count

    # Interrupts

    def interrupts(self, node: int) -> Iterator[_Interrupt | None]:
        """Yield the interrupts of a device; None replaces those that are not of a GIC."""
        extended = self.blob.cells(node, "interrupts-extended")
        if extended is not None:
            yield from self.extended_interrupts(node, extended)
            return
        cells = self.blob.cells(node, "interrupts") or ()
        controller = self.interrupt_parent(node)
        if not cells or controller is None:
            return
        width = self.blob.cell(controller, "#interrupt-cells") or 0
        if not width or len(cells) % width:
            raise NoDraft(
                f"'interrupts' of {self.blob.name(node)} has {len(cells)} cells, which is not a"
                f" multiple of {width}"
            )
        is_gic = self.leads_to_gic(controller)
        for start in range(0, len(cells), width):
            yield _interrupt(cells[start : start + width]) if is_gic else None

    def extended_interrupts(self, node: int, cells: tuple[int, ...]) -> Iterator[_Interrupt | None]:
        """Yield the interrupts of a device with `interrupts-extended`."""
        start = 0
        while start < len(cells):
            controller = self.blob.with_phandle(cells[start])
            width = None if controller is None else self.blob.cell(controller, "#interrupt-cells")
            if controller is None or width is None or start + 1 + width > len(cells):
                raise NoDraft(f"invalid 'interrupts-extended' of {self.blob.name(node)}")
            entry = cells[start + 1 : start + 1 + width]
            yield _interrupt(entry) if self.leads_to_gic(controller) else None
            start += 1 + width

    def interrupt_parent(self, node: int) -> int | None:
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

    def leads_to_gic(self, controller: int) -> bool:
        """Return whether interrupts of a controller have the numbers of a GIC.

        Some controllers only wake up the system and pass on every interrupt with its number.
        """
        for _ in range(MOST_LEVELS):
            if controller in self.gics:
                return True
            following = self.interrupt_parent(controller)
            if following is None or self.blob.cell(controller, "#interrupt-cells") != 3:
                return False
            controller = following
        return False

    def timer_irqs(self) -> dict[str, int | str]:
        """Return the key `timers`: the PPIs that are not the defaults of KVM."""
        if not self.timers:
            self.warn("The device tree contains no Arm timer.")
            return {}
        node = self.timers[0]
        names = self.blob.strings(node, "interrupt-names") or TIMER_ORDER
        by_name = dict(zip(names, self.interrupts(node), strict=False))
        irqs: dict[str, int | str] = {}
        for key, name in TIMER_KEYS.items():
            interrupt = by_name.get(name)
            if interrupt is not None and interrupt.irq != DEFAULT_TIMERS[key]:
                irqs[key] = interrupt.irq
        return irqs

    # PMUs

    def pmu_irqs(self, cpus: list[_Cpu]) -> dict[int, int | str]:
        """Return the PMU interrupt of each CPU, by its index; without those that have none."""
        index_of = {self.blob.phandle(cpu.node): index for index, cpu in enumerate(cpus)}
        index_of.pop(0, None)
        found: dict[int, int | str] = {}
        for node in self.pmus:
            name = self.blob.name(node)
            interrupts = list(self.interrupts(node))
            if not interrupts:
                self.warn(f"{name} has no interrupts.")
            if None in interrupts:
                self.warn(f"{name} has an interrupt that does not belong to a GIC.")
            for number_, interrupt in enumerate(interrupts):
                if interrupt is None:
                    continue
                for index in self.cpus_of(node, interrupt, number_, index_of, len(cpus)):
                    if found.setdefault(index, interrupt.irq) != interrupt.irq:
                        mpidr = mpidr_text(cpus[index].mpidr)
                        self.warn(f"CPU {mpidr} has another PMU interrupt in {name}.")
        return found

    def cpus_of(
        self,
        node: int,
        interrupt: _Interrupt,
        place: int,
        index_of: dict[int, int],
        count: int,
    ) -> list[int]:
        """Return the indexes of the CPUs to which an interrupt of a PMU belongs.

        `place` is its position in `interrupts`, and `index_of` has the index of each CPU by its
        phandle. An SPI belongs to one CPU: that at the same position in `interrupt-affinity`.
        """
        name = self.blob.name(node)
        affinity = self.blob.cells(node, "interrupt-affinity")
        if interrupt.partition:
            affinity = self.partition(node, interrupt.partition)
        elif not interrupt.private:
            if affinity is None and place < count:
                if count > 1:
                    self.result.notes.append(
                        f"{name} has no 'interrupt-affinity': its SPIs are in the order of the"
                        " CPUs, as in Linux."
                    )
                return [place]
            affinity = () if affinity is None else affinity[place : place + 1]
            if not affinity:
                self.warn(f"{name} has an SPI that belongs to no CPU.")
        if affinity is None:
            return list(range(count))
        if not all(phandle in index_of for phandle in affinity):
            self.warn(f"{name} has an interrupt of a CPU that is not in /cpus.")
        return [index_of[phandle] for phandle in affinity if phandle in index_of]

    def partition(self, node: int, phandle: int) -> tuple[int, ...]:
        """Return the phandles of the CPUs that share a PPI."""
        partition = self.blob.with_phandle(phandle)
        affinity = None if partition is None else self.blob.cells(partition, "affinity")
        if affinity is None:
            self.warn(f"{self.blob.name(node)} has a PPI of CPUs that are not listed.")
        return affinity or ()


def _interrupt(cells: tuple[int, ...]) -> _Interrupt | None:
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
    return _Interrupt(irq, is_private, cells[3] if is_private and len(cells) > 3 else 0)
