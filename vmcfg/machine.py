"""A description come down to one VM: ranges dealt out, each vCPU with its id, its MPIDR and its interrupt.

What comes before: `decode`, whose values have the right types. What this stage guarantees: at least one and at most 512
vCPUs, in ascending order of their ids, which is the order of their creation. Next: the rules, and `lowering`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product, repeat
from typing import Any, NamedTuple

from vmcfg.decode import MISSING, Misfits
from vmcfg.model import (
    MAINTENANCE,
    Description,
    Device,
    Gic,
    MemorySlot,
    Pmu,
    RedistributorRegion,
    SmcccEntry,
    StealTime,
    Timers,
    VcpuEntry,
)
from vmcfg.places import Path
from vmcfg.report import Answer, Finding, Rule
from vmcfg.scalars import EventRange, IrqRange, MpidrRange, Version, intid_of, mpidr_of_id, mpidr_text

MOST_VCPUS = 512
"""KVM_MAX_VCPUS of arm64, which bounds ids and count alike (6.1, 6.12, 7.2)."""

COUNTS = Rule(
    "VMC302",
    "ranges-run-in-step",
    """A range of interrupts holds as many as the vCPUs that it is dealt out to.

    A value without a range is the same for all.""",
)
FORWARD = Rule("VMC303", "ranges-run-forward", """A range goes from its lesser to its greater end.""")
AT_MOST_512 = Rule(
    "VMC304",
    "vcpus-at-most-512",
    """A VM has at most 512 vCPUs: KVM's limit on arm64 for their number and for their ids.

    Ranges are counted before anything is expanded. (KVM_CAP_MAX_VCPUS on Linux 6.1, 6.12 and 7.2)""",
    kernel=Answer("KVM_CREATE_VCPU", "EINVAL", "set"),
)
AT_LEAST_ONE = Rule("VMC305", "vcpus-at-least-one", """A VM has at least one vCPU.""")
AFFINITIES = Rule(
    "VMC306",
    "affinities-are-bytes",
    """Each of an MPIDR's four affinity fields is 0 to 255: it has 8 bits in the register.""",
)
RULES = (COUNTS, FORWARD, AT_MOST_512, AT_LEAST_ONE, AFFINITIES)
"""The rules that leave no machine to plan where they are broken."""


class Vcpu(NamedTuple):
    """One vCPU. `mpidr` is compressed, `pmu_irq` an INTID or None; `at` and `irq_at` are where they are written."""

    id: int
    mpidr: int
    boot: bool
    pmu_irq: int | None
    at: Path
    irq_at: Path
    irq_written: int | IrqRange | None

    @property
    def mpidr_by_register(self) -> bool:
        """Whether KVM gives this vCPU another MPIDR than it is to have, so that MPIDR_EL1 has to be set."""
        return mpidr_of_id(self.id) != self.mpidr

    @property
    def name(self) -> str:
        """The vCPU as messages and plans call it: by its MPIDR, dotted."""
        return mpidr_text(self.mpidr)


class ClaimedPpi(NamedTuple):
    """A PPI that something other than the PMU takes: whose it is, and whether it is written at `at` or a default."""

    at: Path
    name: str
    intid: int
    written: bool


TIMERS = {
    "virtual": "the EL1 virtual timer",
    "physical": "the EL1 physical timer",
    "hyp_virtual": "the EL2 virtual timer",
    "hyp_physical": "the EL2 physical timer",
}


class Machine(NamedTuple):
    """The VM that a description describes. `vcpus` are by ascending id; a vCPU's index is its place among them."""

    name: str
    host_kernel: Version
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

    def has_pmu(self) -> bool:
        """Whether any vCPU has a PMU interrupt, and so a PMU."""
        return any(vcpu.pmu_irq is not None for vcpu in self.vcpus)

    def unfiltered_events(self) -> str | None:
        """Whether events that no filter entry names are "allowed" or "denied"; None without a filter.

        The first entry decides: KVM takes its opposite for all others (pmu-emul.c:kvm_arm_pmu_v3_set_attr, linux 7.2).
        """
        if not self.pmu.filter:
            return None
        return "allowed" if self.pmu.filter[0].action == "deny" else "denied"

    def has_el2(self) -> bool:
        """Whether the vCPUs have EL2, so that a guest can be a hypervisor."""
        return "el2" in self.features

    def claimed_ppis(self) -> list[ClaimedPpi]:
        """The PPIs that KVM claims at a vCPU's first KVM_RUN, but for the PMU's.

        The EL1 timers'; with EL2 also the EL2 timers' and, but for GICv2, the GIC's maintenance interrupt.
        """
        keys = TIMERS if self.has_el2() else ("virtual", "physical")
        claimed = [
            ClaimedPpi(("timers", key), TIMERS[key], self.timers.intid(key), getattr(self.timers, key) is not None)
            for key in keys
        ]
        if self.has_el2() and self.gic_version() != 2:
            written = None if self.gic is None else self.gic.maintenance_irq
            intid = MAINTENANCE if written is None else intid_of(written)
            at: Path = ("gic", "maintenance_irq")
            claimed.append(ClaimedPpi(at, "the GIC's maintenance interrupt", intid, written is not None))
        return claimed

    def sets_up_gic(self) -> bool:
        """Whether the GIC is the plan's to set up, and not the monitor's."""
        return self.gic is not None and self.gic.set_up_by == "plan"

    def gic_version(self) -> int | None:
        """The GIC architecture's version, or None where the description leaves it to the monitor."""
        return self.gic.version if self.gic is not None else None

    def nr_irqs(self) -> int:
        """How many INTIDs there are: as written, or as KVM (256) or the most generous monitor (992) sets it."""
        if self.gic is not None and self.gic.nr_irqs is not None:
            return self.gic.nr_irqs
        return 256 if self.sets_up_gic() else 992

    def redistributor_counts(self) -> tuple[int, ...]:
        """How many redistributors each region holds; a region without a count, what those before it leave."""
        counts: list[int] = []
        for region in redistributor_regions(self.gic):
            left = max(1, len(self.vcpus) - sum(counts))
            counts.append(left if region.count is None else region.count)
        return tuple(counts)


def redistributor_regions(gic: Gic | None) -> tuple[RedistributorRegion, ...]:
    """The redistributor regions as written; none where there is no GIC, or one address alone."""
    return gic.redistributors if gic is not None and isinstance(gic.redistributors, tuple) else ()


def range_misfits(values: dict[str, Any]) -> Misfits:
    """The findings that leave no machine: of ranges, of too many or too few vCPUs. Unread values are passed over."""
    written = values.get("vcpus")
    shared = getattr(values.get("pmu"), "irq", None)
    found = _filter_misfits(values.get("pmu"))
    if shared is not MISSING and shared is not None:
        found += _backwards(shared, ("pmu", "irq"), "pmu.irq")
    if isinstance(written, tuple):
        for index, entry in enumerate(written):
            if isinstance(entry, VcpuEntry):
                found += _entry_misfits(entry, ("vcpus", index))
        count = sum(_count(entry) for entry in written)
        without = sum(_count(entry) for entry in written if getattr(entry, "pmu_irq", MISSING) is None)
        readable = not found and all(isinstance(entry, VcpuEntry) and MISSING not in entry for entry in written)
    elif isinstance(written, int):
        count = without = written
        readable = True
    else:
        return found
    if count == 0 and readable:
        found.append(
            (AT_LEAST_ONE, Finding(("vcpus",), "the VM has no vCPU", "write a number of them, or list them by MPIDR"))
        )
    elif count > MOST_VCPUS:
        message = f"the VM has {count} vCPUs, but KVM takes {MOST_VCPUS} at most"
        found.append((AT_MOST_512, Finding(("vcpus",), message, f"leave {count - MOST_VCPUS} of them out")))
    elif readable and isinstance(shared, IrqRange) and shared.total() > 1 and shared.total() != without:
        message = f"pmu.irq holds {shared.total()} interrupts, but {without} vCPUs have none of their own"
        hint = (
            f"end the range at {shared.first + without - 1}" if without else "remove it: every vCPU has one of its own"
        )
        found.append((COUNTS, Finding(("pmu", "irq"), message, hint, related=((("vcpus",), "the vCPUs"),))))
    return found


def _filter_misfits(pmu: Any) -> Misfits:
    """The ranges of events that run backwards."""
    found = []
    entries = getattr(pmu, "filter", ())
    for index, entry in enumerate(entries if isinstance(entries, tuple) else ()):
        events = getattr(entry, "events", None)
        if isinstance(events, EventRange) and events.first > events.last:
            message = f"the range of events {events} runs backwards"
            at = ("pmu", "filter", index, "events")
            found.append((FORWARD, Finding(at, message, f"write {events.last:#x}-{events.first:#x}")))
    return found


def _entry_misfits(entry: VcpuEntry, path: Path) -> Misfits:
    """The range findings of one entry of `vcpus`."""
    mpidr, irq = entry
    if type(mpidr) is int and (irq is None or type(irq) is int):
        return []
    found = []
    if isinstance(mpidr, MpidrRange):
        at = (*path, "mpidr")
        for level, first, last in zip((3, 2, 1, 0), mpidr.first, mpidr.last, strict=True):
            if max(first, last) > 255:
                message = f"vCPU {mpidr}: Aff{level} is {max(first, last)}, but an affinity field has 8 bits: 0 to 255"
                hint = None
                if level == 0 and first < last < MOST_VCPUS and mpidr.first[:3] == mpidr.last[:3] == (0, 0, 0):
                    hint = f"in KVM's numbering Aff0 goes to 15, and then Aff1: 0.0.0-{last // 16}.0-15"
                elif level == 0 and first == last < MOST_VCPUS:
                    hint = f"vCPU {first} of KVM is {mpidr_text(mpidr_of_id(first))}"
                found.append((AFFINITIES, Finding(at, message, hint)))
            elif first > last:
                message = f"vCPU {mpidr}: the range of Aff{level} runs backwards"
                found.append((FORWARD, Finding(at, message, f"write {mpidr.forward()}")))
    if irq is not None and irq is not MISSING:
        found += _backwards(irq, (*path, "pmu_irq"), f"the range of interrupts of {_whose(mpidr)}")
    if (
        not found
        and isinstance(irq, IrqRange)
        and irq.total() > 1
        and mpidr is not MISSING
        and irq.total() != _count(entry)
    ):
        count = _count(entry)
        name = mpidr if isinstance(mpidr, MpidrRange) else mpidr_text(mpidr)
        vcpus = f"{count} vCPUs, {name}" if count > 1 else f"one vCPU, {name}"
        message = f"{irq.total()} interrupts are dealt out to {vcpus}"
        prefix = f"{irq.prefix}:" if irq.prefix else ""
        end = f"-{irq.first + count - 1}" if count > 1 else ""
        related = (((*path, "mpidr"), f"{vcpus} here"),)
        found.append((COUNTS, Finding((*path, "pmu_irq"), message, f"write {prefix}{irq.first}{end}", related=related)))
    return found


def _whose(mpidr: Any) -> str:
    """Whose an entry of `vcpus` is, by its MPIDR as written."""
    if mpidr is MISSING:
        return "this vCPU"
    return f"vCPU {mpidr if isinstance(mpidr, MpidrRange) else mpidr_text(mpidr)}"


def _backwards(irq: int | IrqRange, path: Path, name: str) -> Misfits:
    if isinstance(irq, IrqRange) and irq.total() == 0:
        prefix = f"{irq.prefix}:" if irq.prefix else ""
        message = f"{name} runs backwards: {prefix}{irq.first}-{irq.last}"
        return [(FORWARD, Finding(path, message, f"write {prefix}{irq.last}-{irq.first}"))]
    return []


def _count(entry: Any) -> int:
    """How many vCPUs an entry of `vcpus` stands for; an unreadable one for one."""
    mpidr = getattr(entry, "mpidr", None)
    return mpidr.total() if isinstance(mpidr, MpidrRange) else 1


def machine(values: dict[str, Any]) -> Machine:
    """The VM of a description without VMC1xx or range findings."""
    description = Description(**values)
    return Machine(
        description.name,
        description.host_kernel,
        description.ipa_bits,
        description.memory,
        description.gic,
        description.pmu,
        description.timers,
        _with_ids(_written_vcpus(description), description),
        description.steal_time,
        description.smccc_filter,
        description.features,
        description.devices,
    )


class _Written(NamedTuple):
    """A vCPU in file order, still without an id."""

    mpidr: int
    boot: bool
    pmu_irq: int | None
    at: Path
    irq_at: Path
    irq_written: int | IrqRange | None


def _written_vcpus(description: Description) -> list[_Written]:
    """The vCPUs in file order."""
    shared = description.pmu.irq
    shared_at: Path = ("pmu", "irq")
    dealt = _dealt(shared)
    vcpus: list[_Written] = []
    if isinstance(description.vcpus, int):
        at: Path = ("vcpus",)
        for number in range(description.vcpus):
            irq = next(dealt, None)
            vcpus.append(_Written(mpidr_of_id(number), not vcpus, irq, at, shared_at, shared))
        return vcpus
    for index, (mpidr, written) in enumerate(description.vcpus):
        at = ("vcpus", index, "mpidr")
        irq_at: Path = ("vcpus", index, "pmu_irq")
        if type(mpidr) is int and type(written) is int:
            vcpus.append(_Written(mpidr, not vcpus, written, at, irq_at, written))
            continue
        irqs = _dealt(written)
        if written is None:
            written, irqs, irq_at = shared, dealt, shared_at
        for each in _mpidrs(mpidr):
            vcpus.append(_Written(each, not vcpus, next(irqs, None), at, irq_at, written))
    return vcpus


def _dealt(irq: int | IrqRange | None) -> Iterator[int]:
    """The INTIDs that a written interrupt deals out: a range one by one, a single one for ever, None none at all."""
    if irq is None:
        return iter(())
    if isinstance(irq, int):
        return repeat(irq)
    if irq.total() == 1:
        return repeat(irq.intid)
    return iter(range(irq.intid, irq.base + irq.last + 1))


def _mpidrs(mpidr: int | MpidrRange) -> Iterator[int]:
    """The compressed MPIDRs that a written one stands for, the rightmost field running fastest."""
    if isinstance(mpidr, int):
        yield mpidr
        return
    ranges = [range(first, last + 1) for first, last in zip(mpidr.first, mpidr.last, strict=True)]
    for aff3, aff2, aff1, aff0 in product(*ranges):
        yield aff3 << 24 | aff2 << 16 | aff1 << 8 | aff0


def derived_id(mpidr: int) -> int | None:
    """The vCPU id to which KVM gives this compressed MPIDR, or None where there is none (sys_regs.c:reset_mpidr)."""
    if mpidr >> 24 or mpidr & 0xFF > 15:
        return None
    return (mpidr & 0xF) + 16 * (mpidr >> 8 & 0xFF) + 4096 * (mpidr >> 16 & 0xFF)


def _with_ids(vcpus: list[_Written], description: Description) -> tuple[Vcpu, ...]:
    """`vcpus`, given in file order, with their ids by the description's policy; in ascending order of id."""
    if description.vcpu_ids == "sequential":
        return tuple([Vcpu(number, *vcpu) for number, vcpu in enumerate(vcpus)])
    gicv2 = description.gic is not None and description.gic.version == 2
    limit = len(vcpus) if gicv2 else MOST_VCPUS
    ids: dict[int, _Written] = {}
    remaining = []
    for vcpu in vcpus:
        derived = derived_id(vcpu.mpidr)
        if derived is not None and derived < limit and derived not in ids:
            ids[derived] = vcpu
        else:
            remaining.append(vcpu)
    free = (number for number in range(MOST_VCPUS) if number not in ids)
    ids |= dict(zip(list(islice(free, len(remaining))), remaining, strict=True))
    return tuple([Vcpu(number, *ids[number]) for number in sorted(ids)])
