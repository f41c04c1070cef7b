"""The VM of a description, as rules and plans see it.

It has 1 to 512 vCPUs in ascending order of their ids, which is the order of their creation.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import Literal, NamedTuple

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.arm.interrupts import SPI_BASE, SPI_END
from vmcfg.description.model import (
    MAINTENANCE,
    Capability,
    Device,
    Gic,
    MemorySlot,
    Pmu,
    RedistributorRegion,
    RegisterEntry,
    SmcccEntry,
    StealTime,
    Sve,
    Timers,
)
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.position import Path
from vmcfg.kernel.limits import NR_IRQS_DEFAULT, NR_IRQS_GREATEST
from vmcfg.kernel.version import Version, version_text

Extent = tuple[int, int]
"""A range of numbers, such as addresses: the first one, and the one after the last."""


class Vcpu(NamedTuple):
    """One vCPU. `mpidr` is compressed; `pmu_irq` is an INTID or None.

    `at` and `irq_at` are the paths of the two, and `irq_written` is the interrupt as written.
    """

    id: int
    mpidr: int
    boot: bool
    pmu_irq: int | None
    at: Path
    irq_at: Path
    irq_written: int | IrqRange | None

    @property
    def mpidr_by_register(self) -> bool:
        """Return whether KVM assigns another MPIDR, so that MPIDR_EL1 must be set."""
        return mpidr_of_id(self.id) != self.mpidr

    @property
    def name(self) -> str:
        """Return the name of the vCPU in messages and plans: its dotted MPIDR."""
        return mpidr_text(self.mpidr)


class ClaimedPpi:
    """A PPI that something other than the PMU claims, with its `name`.

    If it is `written`, its path is `at`; otherwise it is the default of KVM.
    """

    __slots__ = ("at", "intid", "name", "written")

    def __init__(self, at: Path, name: str, intid: int, written: bool) -> None:
        self.at = at
        self.name = name
        self.intid = intid
        self.written = written


TIMERS = {
    "virtual": "the EL1 virtual timer",
    "physical": "the EL1 physical timer",
    "hyp_virtual": "the EL2 virtual timer",
    "hyp_physical": "the EL2 physical timer",
}


KernelFrom = Literal["default", "description", "elsewhere"]
"""Where the oldest host kernel is from; "elsewhere" is an option, a host, or the running kernel."""


class Machine(NamedTuple):
    """The VM of a description.

    `vcpus` are in ascending order of ids; the index of a vCPU is its position there. With
    `has_mpidrs_as_ids`, each id is the compressed MPIDR, and can exceed what KVM accepts.
    """

    name: str
    host_kernel: Version
    host_kernel_from: KernelFrom
    ipa_bits: int
    has_default_ipa_bits: bool
    memory: tuple[MemorySlot, ...]
    gic: Gic | None
    pmu: Pmu
    timers: Timers
    vcpus: tuple[Vcpu, ...]
    has_mpidrs_as_ids: bool
    steal_time: StealTime | None
    smccc_filter: tuple[SmcccEntry, ...]
    features: tuple[str, ...]
    sve: Sve
    capabilities: tuple[Capability, ...]
    registers: tuple[RegisterEntry, ...]
    devices: tuple[Device, ...]

    def on_kernel(self, version: Version) -> "Machine":
        """Return the same VM for another oldest host kernel."""
        return self._replace(host_kernel=version, host_kernel_from="elsewhere")

    @property
    def has_default_host_kernel(self) -> bool:
        """Return whether nobody set the oldest host kernel."""
        return self.host_kernel_from == "default"

    def host_kernel_text(self) -> str:
        """Return the oldest host kernel in words: ``6.1 (default)`` if nobody set it."""
        text = version_text(self.host_kernel)
        return f"{text} (default)" if self.has_default_host_kernel else text

    def has_pmu(self) -> bool:
        """Return whether any vCPU has a PMU interrupt and therefore a PMU."""
        return any(vcpu.pmu_irq is not None for vcpu in self.vcpus)

    def unfiltered_events(self) -> str:
        """Return whether events in no entry of the filter are "allowed" or "denied".

        They get the opposite of the first entry (pmu-emul.c:kvm_arm_pmu_v3_set_attr, Linux 7.2).
        """
        return "allowed" if self.pmu.filter[0].action == "deny" else "denied"

    def has_el2(self) -> bool:
        """Return whether the vCPUs have EL2, so that a guest can be a hypervisor."""
        return "el2" in self.features

    def claimed_ppis(self) -> list[ClaimedPpi]:
        """Return the PPIs that KVM claims at the first KVM_RUN of a vCPU, except that of the PMU.

        They belong to the EL1 timers; with EL2, also to the EL2 timers and to the maintenance
        interrupt of a GICv3.
        """
        keys = TIMERS if self.has_el2() else ("virtual", "physical")
        claimed = [
            ClaimedPpi(
                ("timers", key),
                TIMERS[key],
                self.timers.intid(key),
                getattr(self.timers, key) is not None,
            )
            for key in keys
        ]
        if self.has_el2() and self.gic_version() != 2:
            written = self.gic is not None and self.gic.maintenance_irq is not None
            at: Path = ("gic", "maintenance_irq")
            claimed.append(
                ClaimedPpi(at, "the GIC maintenance interrupt", self.maintenance_irq(), written)
            )
        return claimed

    def maintenance_irq(self) -> int:
        """Return the INTID of the maintenance interrupt: as written, or the default of KVM."""
        written = None if self.gic is None else self.gic.maintenance_irq
        return MAINTENANCE if written is None else intid_of(written)

    def sets_up_gic(self) -> bool:
        """Return whether the plan sets up the GIC, and not the VMM."""
        return self.gic is not None and self.gic.set_up_by == "plan"

    def gic_version(self) -> int | None:
        """Return the version of the GIC architecture; None if the description has no GIC."""
        return self.gic.version if self.gic is not None else None

    def nr_irqs(self) -> int:
        """Return the number of INTIDs: as written, or the default of KVM or maximum of a VMM."""
        if self.gic is not None and self.gic.nr_irqs is not None:
            return self.gic.nr_irqs
        return NR_IRQS_DEFAULT if self.sets_up_gic() else NR_IRQS_GREATEST

    def device_spis(self) -> set[int]:
        """Return the INTIDs of the SPIs that the devices of the VMM use."""
        # One bit per INTID: many devices with long ranges need little time.
        used = 0
        for device in self.devices:
            first, end = device.spis
            used |= (1 << end) - (1 << first)
        return {intid for intid in range(SPI_BASE, SPI_END) if used >> intid & 1}

    def free_spis(self) -> list[int]:
        """Return the INTIDs of the SPIs that no device and no PMU uses."""
        used = self.device_spis() | {vcpu.pmu_irq for vcpu in self.vcpus}
        return [
            intid for intid in range(SPI_BASE, min(self.nr_irqs(), SPI_END)) if intid not in used
        ]

    def redistributor_counts(self) -> tuple[int, ...]:
        """Return the number of redistributors in each region.

        A region without a count has as many as the regions before it leave.
        """
        counts = []
        left = len(self.vcpus)
        for region in redistributor_regions(self.gic):
            count = max(1, left) if region.count is None else region.count
            counts.append(count)
            left -= count
        return tuple(counts)


def redistributor_regions(gic: Gic | None) -> tuple[RedistributorRegion, ...]:
    """Return the redistributor regions as written; none without a GIC or with only one address."""
    if gic is None or not isinstance(gic.redistributors, tuple):
        return ()
    return gic.redistributors
