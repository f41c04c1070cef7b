"""Device trees: what they contain of a VM.

Sources: devicetree-specification v0.4, chapters 2 and 3, and the bindings of Linux 7.2 for
arm/cpus, arm/pmu, arch_timer, arm,gic, and arm,gic-v3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmcfg.arm.affinity import AFFINITIES, compressed_of_register, mpidr_text
from vmcfg.description.draft import Draft, NoDraft, valid_name
from vmcfg.description.model import DEFAULT_TIMERS, MAINTENANCE
from vmcfg.guest.blob import ROOT, Blob, number
from vmcfg.guest.dtc import blob_of_source
from vmcfg.guest.intids import NOTE_ABOUT_NR_IRQS, least_nr_irqs
from vmcfg.guest.tree_interrupts import Interrupts
from vmcfg.guest.tree_pmus import PMU, Cpu, pmu_irqs
from vmcfg.vm.frames import V3_REDIST_SIZE

MOST_ENTRIES = 1024
"""The maximum number of CPUs, memory areas, and similar: a description has at most 512 vCPUs."""

MOST_NODES_OF_A_KIND = 16
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
VM = "linux,dummy-virt"
"""The tree of a VM: QEMU, kvmtool, crosvm, Firecracker, Cloud Hypervisor, and libkrun use it."""

TIMERS = ("arm,armv8-timer", "arm,armv7-timer")

TIMER_ORDER = ("sec-phys", "phys", "virt", "hyp-phys", "hyp-virt")
"""The interrupts of a timer without `interrupt-names`."""

TIMER_KEYS = {
    "virtual": "virt",
    "physical": "phys",
    "hyp_virtual": "hyp-virt",
    "hyp_physical": "hyp-phys",
}
"""The keys of `timers`, with the names in device trees."""

NOTES = (
    "A device tree does not contain the ids of the vCPUs: see 'vcpu_ids'.",
    "A device tree does not contain the host kernel, the size of the address space, features other"
    " than 'el2', or settings that only KVM knows: see 'host_kernel', 'ipa_bits', and 'features'.",
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
    return _Reader(Blob(data)).read()


class _Reader:
    """One reading of a device tree, which collects the draft."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.draft = Draft(notes=list(NOTES))
        self.gics: list[int] = []
        self.its: list[int] = []
        self.timers: list[int] = []
        self.pmus: list[int] = []
        self.interrupts = Interrupts(blob, self.gics)

    def read(self) -> Draft:
        """Return the draft."""
        cpus = list(self.cpus())
        if not cpus:
            raise NoDraft("the device tree contains no CPUs: no 'cpu' node with 'reg' in /cpus")
        self.find_nodes()
        model = self.blob.strings(ROOT, "model")
        self.draft.name = valid_name(model[0]) if model else None
        data = self.draft.data
        data["memory"] = list(self.memory())
        data["gic"] = self.gic()
        data["timers"] = self.timer_irqs()
        irqs = pmu_irqs(self.blob, self.interrupts, self.pmus, cpus, self.draft)
        self.add_nr_irqs(irqs.values())
        if self.has_el2():
            data["features"] = ["el2"]
        data["vcpus"] = [
            {"mpidr": mpidr_text(cpu.mpidr), "pmu_irq": irqs.get(index)}
            for index, cpu in enumerate(cpus)
        ]
        return self.draft

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

    def cpus(self) -> Iterator[Cpu]:
        """Yield the CPUs in the order of the tree, except those that failed."""
        container = self.blob.at("/cpus")
        if container is None:
            return
        of_address = self.blob.cell(container, "#address-cells")
        count = 0
        for node in self.blob.children(container):
            if not self.is_cpu(node):
                continue
            count += 1
            if count > MOST_ENTRIES:
                raise NoDraft(f"the device tree contains more than {MOST_ENTRIES} CPUs")
            name = self.blob.name(node)
            status = self.blob.strings(node, "status")[:1]
            if status and status[0].startswith("fail"):
                self.draft.warn(f"{name} failed ('status'), and is not imported.")
                continue
            yield Cpu(node, self.mpidr(node, name, 1 if of_address is None else of_address))

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
            self.draft.warn(
                f"'reg' of {name} is {register:#x}, which has bits outside the affinities."
            )
        return compressed_of_register(register & AFFINITIES)

    # Memory

    def memory(self) -> Iterator[dict[str, Any]]:
        """Yield the memory slots."""
        nodes = areas = 0
        for node in self.blob.children(ROOT):
            if self.blob.strings(node, "device_type")[:1] != ["memory"] or self.is_disabled(node):
                continue
            frames = self.blob.frames(node, ROOT)
            nodes, areas = nodes + 1, areas + len(frames)
            if max(nodes, areas) > MOST_ENTRIES:
                raise NoDraft(f"the device tree contains more than {MOST_ENTRIES} memory areas")
            yield from self.slots(node, frames)

    def slots(self, node: int, frames: list[tuple[int, int] | None]) -> Iterator[dict[str, Any]]:
        """Yield the memory slots of a memory node with these frames."""
        name = self.blob.name(node)
        for frame in frames:
            if frame is None:
                self.draft.warn(f"{name} has memory that CPUs cannot address.")
                continue
            base, size = frame
            if size >= 1 << 64:
                raise NoDraft(f"'reg' of {name} has a size of {size:#x} bytes")
            if size:
                yield {"base": base, "size": size}
            else:
                self.draft.note(f"{name} has no size: the firmware sets it.")

    # GIC

    def gic(self) -> dict[str, Any] | None:
        """Return the key `gic`; None without a GIC that a description can contain."""
        if not self.gics:
            self.draft.warn("The device tree contains no GICv2 or GICv3.")
            return None
        node = self.gics[0]
        name = self.blob.name(node)
        compatible = self.blob.strings(node, "compatible")
        if GICV5 in compatible:
            self.draft.warn(
                f"{name} is a GICv5, and a description can contain only a GICv2 or GICv3."
            )
            return None
        frames = self.blob.frames(node)
        self.draft.note(NOTE_ABOUT_GIC)
        if GICV3 in compatible:
            return self.gicv3(node, name, frames)
        return self.gicv2(name, frames)

    def gicv2(self, name: str, frames: list[tuple[int, int] | None]) -> dict[str, Any] | None:
        """Return the key `gic` of a GICv2."""
        distributor, cpu_interface = (*frames, None, None)[:2]
        if distributor is None or cpu_interface is None:
            self.draft.warn(f"'reg' of {name} must have 2 frames that CPUs can address.")
            return None
        return {"version": 2, "distributor": distributor[0], "cpu_interface": cpu_interface[0]}

    def gicv3(
        self, node: int, name: str, frames: list[tuple[int, int] | None]
    ) -> dict[str, Any] | None:
        """Return the key `gic` of a GICv3."""
        regions = self.blob.cell(node, "#redistributor-regions")
        regions = 1 if regions is None else regions
        wanted = frames[: 1 + regions]
        if not 1 <= regions < len(frames) or None in wanted:
            self.draft.warn(
                f"'reg' of {name} must have {1 + regions} frames that CPUs can address."
            )
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
        interrupts = list(self.interrupts.of(node))
        maintenance = interrupts[0].irq if interrupts and interrupts[0] is not None else None
        if maintenance != MAINTENANCE:
            gic["maintenance_irq"] = maintenance
        return gic

    def its_frame(self, node: int) -> tuple[int, int] | None:
        """Return the frame of an ITS."""
        frames = self.blob.frames(node)
        if not frames or frames[0] is None:
            self.draft.warn(
                f"'reg' of {self.blob.name(node)} must have a frame that CPUs can address."
            )
            return None
        return frames[0]

    def stride(self, node: int, name: str) -> int:
        """Return the distance of two redistributors; warn if it is not that of KVM."""
        stride = number(self.blob.cells(node, "redistributor-stride") or ())
        if stride in (0, V3_REDIST_SIZE):
            return V3_REDIST_SIZE
        self.draft.warn(
            f"The redistributors of {name} are {stride:#x} bytes apart, and those of KVM are"
            f" {V3_REDIST_SIZE:#x} bytes apart."
        )
        return stride

    def redistributors_in(self, name: str, base: int, size: int, stride: int) -> int:
        """Return the number of redistributors in a region."""
        count, rest = divmod(size, stride)
        if rest:
            self.draft.warn(
                f"The redistributor region of {name} at {base:#x} has {size:#x} bytes, which is not"
                f" a multiple of {stride:#x}."
            )
        return count

    def add_nr_irqs(self, irqs: Iterable[int | str]) -> None:
        """Add `gic.nr_irqs` if its default is too low for the PMU interrupts."""
        gic = self.draft.data["gic"]
        least = least_nr_irqs(irqs)
        if gic is not None and least is not None:
            gic["nr_irqs"] = least
            self.draft.note(NOTE_ABOUT_NR_IRQS)

    def has_el2(self) -> bool:
        """Return whether this is the tree of a VM with EL2.

        Its VMM answers PSCI for the hypervisor in the guest, which has HVC for its own guests. On a
        board, firmware at EL3 answers SMC.
        """
        if VM not in self.blob.strings(ROOT, "compatible"):
            return False
        psci = self.blob.at("/psci")
        return psci is not None and self.blob.strings(psci, "method")[:1] == ["smc"]

    def timer_irqs(self) -> dict[str, int | str]:
        """Return the key `timers`: the PPIs that are not the defaults of KVM."""
        if not self.timers:
            self.draft.note("The device tree contains no Arm timer: see 'timers'.")
            return {}
        node = self.timers[0]
        names = self.blob.strings(node, "interrupt-names") or TIMER_ORDER
        by_name = dict(zip(names, self.interrupts.of(node), strict=False))
        irqs: dict[str, int | str] = {}
        for key, name in TIMER_KEYS.items():
            interrupt = by_name.get(name)
            if interrupt is not None and interrupt.irq != DEFAULT_TIMERS[key]:
                irqs[key] = interrupt.irq
        return irqs
