"""The VM that a description comes to, as the rules and the plan see it.

It has at least one and at most 512 vCPUs, in ascending order of their ids, which is the order of
their creation.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import NamedTuple

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.description.model import (
    MAINTENANCE,
    Device,
    Gic,
    MemorySlot,
    Pmu,
    RedistributorRegion,
    SmcccEntry,
    StealTime,
    Timers,
)
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.position import Path
from vmcfg.kernel.limits import NR_IRQS_DEFAULT, NR_IRQS_GREATEST
from vmcfg.kernel.version import Version, version_text


class Vcpu(NamedTuple):
    """One vCPU. `mpidr` is compressed, `pmu_irq` an INTID or None.

    `at` and `irq_at` are where the two are written, `irq_written` is how.
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
        """Whether KVM gives this vCPU another MPIDR, so that MPIDR_EL1 has to be set."""
        return mpidr_of_id(self.id) != self.mpidr

    @property
    def name(self) -> str:
        """The vCPU as messages and plans call it: by its MPIDR, dotted."""
        return mpidr_text(self.mpidr)


class ClaimedPpi:
    """A PPI that something other than the PMU claims; `name` says what.

    If it is `written`, it is at `at`; otherwise it is KVM's default.
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


class Machine(NamedTuple):
    """The VM that a description describes.

    `vcpus` are by ascending id; a vCPU's index is its place among them.
    """

    name: str
    host_kernel: Version
    has_default_host_kernel: bool
    ipa_bits: int
    memory: tuple[MemorySlot, ...]
    gic: Gic | None
    pmu: Pmu
    timers: Timers
    vcpus: tuple[Vcpu, ...]
    steal_time: StealTime | None
    smccc_filter: tuple[SmcccEntry, ...]
    features: tuple[str, ...]
    devices: tuple[Device, ...]

    def on_kernel(self, version: Version) -> "Machine":
        """Return the same VM for another oldest host kernel."""
        return self._replace(host_kernel=version, has_default_host_kernel=False)

    def host_kernel_text(self) -> str:
        """Return the oldest host kernel in words: ``6.1 (default)`` if nobody set it."""
        text = version_text(self.host_kernel)
        return f"{text} (default)" if self.has_default_host_kernel else text

    def has_pmu(self) -> bool:
        """Whether any vCPU has a PMU interrupt, and so a PMU."""
        return any(vcpu.pmu_irq is not None for vcpu in self.vcpus)

    def unfiltered_events(self) -> str | None:
        """Whether events in no filter entry are "allowed" or "denied"; None without a filter.

        The first entry decides: KVM takes its opposite for all others
        (pmu-emul.c:kvm_arm_pmu_v3_set_attr, linux 7.2).
        """
        if not self.pmu.filter:
            return None
        return "allowed" if self.pmu.filter[0].action == "deny" else "denied"

    def has_el2(self) -> bool:
        """Whether the vCPUs have EL2, so that a guest can be a hypervisor."""
        return "el2" in self.features

    def claimed_ppis(self) -> list[ClaimedPpi]:
        """The PPIs that KVM claims at a vCPU's first KVM_RUN, but for the PMU's.

        The EL1 timers'; with EL2 also the EL2 timers' and, but for GICv2, the GIC's maintenance
        interrupt.
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
            written = None if self.gic is None else self.gic.maintenance_irq
            intid = MAINTENANCE if written is None else intid_of(written)
            at: Path = ("gic", "maintenance_irq")
            claimed.append(
                ClaimedPpi(at, "the GIC's maintenance interrupt", intid, written is not None)
            )
        return claimed

    def sets_up_gic(self) -> bool:
        """Whether the GIC is the plan's to set up, and not the monitor's."""
        return self.gic is not None and self.gic.set_up_by == "plan"

    def gic_version(self) -> int | None:
        """The GIC architecture's version; None if the description leaves it to the monitor."""
        return self.gic.version if self.gic is not None else None

    def nr_irqs(self) -> int:
        """How many INTIDs there are: as written, or as KVM or the most generous monitor sets it."""
        if self.gic is not None and self.gic.nr_irqs is not None:
            return self.gic.nr_irqs
        return NR_IRQS_DEFAULT if self.sets_up_gic() else NR_IRQS_GREATEST

    def redistributor_counts(self) -> tuple[int, ...]:
        """How many redistributors each region holds.

        A region without a count holds what those before it leave.
        """
        counts: list[int] = []
        for region in redistributor_regions(self.gic):
            left = max(1, len(self.vcpus) - sum(counts))
            counts.append(left if region.count is None else region.count)
        return tuple(counts)


def redistributor_regions(gic: Gic | None) -> tuple[RedistributorRegion, ...]:
    """The redistributor regions as written; none where there is no GIC, or one address alone."""
    if gic is None or not isinstance(gic.redistributors, tuple):
        return ()
    return gic.redistributors
