"""VMC4xx: the GIC, its frames, and its maintenance interrupt.

VMC413, 414, and 416-418 are in `devices`. Rules about what the plan sends apply only if the plan
sets up the GIC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmcfg.arm.interrupts import GREATEST_PPI, PPI_BASE, gicv5_ppi, interrupt_text, is_ppi
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.diagnostic import RELATED_SHOWN
from vmcfg.findings.finding import Finding, not_written
from vmcfg.findings.position import Path
from vmcfg.findings.rule import NEVER_ASKED, WARNING, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import (
    GREATEST_PAGE_SIZE,
    INTID_GREATEST,
    IPA_BITS_GREATEST,
    MMIO_RANGES,
    MOST_REGIONS,
    NR_IRQS_GREATEST,
    NR_IRQS_LEAST,
    NR_IRQS_STEP,
    REGION_COUNT_GREATEST,
    REGION_COUNT_LEAST,
)
from vmcfg.rules.kinds import machine_rule
from vmcfg.rules.memory import SLOT, alignment_hint
from vmcfg.vm.frames import (
    ITS_ADDR,
    V3_DIST,
    V3_REDIST_REGION,
    Frame,
    address_bits,
    address_space_text,
    device_frames,
    frames,
    free_addresses,
    overlaps,
)
from vmcfg.vm.machine import Machine, redistributor_regions

if TYPE_CHECKING:
    from vmcfg.vm.overlaps import Sorted

SET_MAINT_IRQ = abi.setting(abi.VGIC_MAINT_IRQ)
SET_NR_IRQS = abi.setting(abi.VGIC_NR_IRQS)

V2_KEYS = ("cpu_interface",)
V3_KEYS = ("redistributors", "its", "maintenance_irq")


# Redistributor regions and INTIDs -------------------------------------------------------------


@machine_rule("VMC401", Answer("KVM_RUN", "ENXIO", "run"), about="gic")
def too_few_redistributors(machine: Machine) -> Iterator[Finding]:
    """The redistributor regions must have room for the redistributor of every vCPU.

    KVM fills the regions in index order, in the order in which the vCPUs are created. It checks the
    room only when a vCPU first runs, and then the VM is unusable.

    Source: vgic-mmio-v3.c:vgic_register_redist_iodev; tested on 6.1 to 7.3."""
    regions = redistributor_regions(machine.gic)
    if machine.gic_version() != 3 or not regions:
        return
    room = sum(machine.redistributor_counts())
    vcpus = len(machine.vcpus)
    if room < vcpus:
        at = ("gic", "redistributors", len(regions) - 1, "count")
        message = f"the regions hold only {room} redistributors for {vcpus} vCPUs"
        hint = f"increase a 'count' by {vcpus - room}, or remove the 'count' of the last region"
        related = ((("vcpus",), f"{vcpus} vCPUs"),)
        yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC402", Answer(V3_REDIST_REGION, "EINVAL", "set"), about="gic")
def invalid_redistributor_count(machine: Machine) -> Iterator[Finding]:
    """The count of a redistributor region must be 1 to 4095, and only the last region can omit it.

    Source: vgic-mmio-v3.c:vgic_v3_alloc_redist_region, Linux 7.2; 0 tested on 6.1 to 7.3.
    """
    regions = redistributor_regions(machine.gic)
    last = len(regions) - 1
    for index, (base, count) in enumerate(regions):
        if count is not None:
            if not REGION_COUNT_LEAST <= count <= REGION_COUNT_GREATEST:
                yield _wrong_count(index, base, count)
        elif index < last:
            at = ("gic", "redistributors", index)
            message = f"missing key 'count' in redistributor region {index} ({base:#x})"
            hint = "add 'count': only the last region can omit it"
            yield Finding(at, message, hint=hint, on="first key", kernel=NEVER_ASKED)


def _wrong_count(index: int, base: int, count: int) -> Finding:
    """Return the finding about a count that is out of range."""
    message = (
        f"'count' of redistributor region {index} ({base:#x}) must be"
        f" {REGION_COUNT_LEAST} to {REGION_COUNT_GREATEST}, not {count}"
    )
    # The attribute keeps 12 bits of the count. If those are zero, KVM rejects it.
    kept = count & REGION_COUNT_GREATEST
    kernel = Answer(V3_REDIST_REGION) if kept else None
    hint = "use the number of vCPUs whose redistributors are in this region"
    return Finding(("gic", "redistributors", index, "count"), message, hint=hint, kernel=kernel)


@machine_rule("VMC403", Answer(V3_REDIST_REGION, "EINVAL", "set"), about="gic")
def wrong_number_of_regions(machine: Machine) -> Iterator[Finding]:
    """There must be 1 to 256 redistributor regions.

    The index of a region has 12 bits in the attribute and 8 bits in KVM: KVM treats region 256 as
    region 0.

    Source: vgic-kvm-device.c:kvm_vgic_addr, Linux 7.2."""
    at = ("gic", "redistributors")
    count = len(redistributor_regions(machine.gic))
    if count > MOST_REGIONS:
        message = f"the GIC has {count} redistributor regions; KVM allows at most {MOST_REGIONS}"
        yield Finding((*at, MOST_REGIONS), message, hint="write fewer and larger regions")
    gic = machine.gic
    if gic is not None and gic.version == 3 and gic.redistributors == ():
        message = "'gic.redistributors' has no region"
        kernel = Answer("KVM_RUN", "ENXIO", "run")
        hint = "write one address, or a list of regions: {base: ADDRESS, count: NUMBER}"
        yield Finding(at, message, hint=hint, kernel=kernel)


@machine_rule("VMC404", Answer(SET_NR_IRQS, "EINVAL", "set"), about="gic")
def invalid_nr_irqs(machine: Machine) -> Iterator[Finding]:
    """`gic.nr_irqs` must be a multiple of 32 from 64 to 992.

    The kernel documentation allows up to 1024, but KVM rejects 1024.

    Source: vgic-kvm-device.c:vgic_set_common_attr; tested on 6.1 to 7.3."""
    if machine.gic is None or machine.gic.nr_irqs is None:
        return
    number = machine.gic.nr_irqs
    if NR_IRQS_LEAST <= number <= NR_IRQS_GREATEST and number % NR_IRQS_STEP == 0:
        return
    message = (
        f"'nr_irqs' must be a multiple of {NR_IRQS_STEP}"
        f" from {NR_IRQS_LEAST} to {NR_IRQS_GREATEST}, not {number}"
    )
    hint = f"use {_nearest_nr_irqs(number)}"
    yield Finding(("gic", "nr_irqs"), message, hint=hint, label="invalid number of INTIDs")


def _nearest_nr_irqs(number: int) -> str:
    """Return the nearest number that KVM accepts, or the nearest two."""
    if number < NR_IRQS_LEAST:
        return f"{NR_IRQS_LEAST}"
    if number > NR_IRQS_GREATEST:
        return f"{NR_IRQS_GREATEST}"
    down = number - number % NR_IRQS_STEP
    return f"{down} or {down + NR_IRQS_STEP}"


def last_intid(machine: Machine) -> tuple[str, tuple[tuple[Path, str], ...]]:
    """Return the last INTID of the GIC in words, and the place of the key that decides it."""
    number = machine.nr_irqs()
    at = ("gic", "nr_irqs")
    if machine.gic is not None and machine.gic.nr_irqs is not None:
        place = (at, f"last SPI: {interrupt_text(number - 1)}")
        return f"the last INTID is {number - 1}: 'nr_irqs' is {number}", (place,)
    if machine.sets_up_gic():
        place = (at, not_written("nr_irqs", str(number)))
        return f"the last INTID is {number - 1}: 'nr_irqs' is {number} (default)", (place,)
    return f"the last INTID of KVM is {number - 1}", ()


def more_intids_hint(machine: Machine, intid: int) -> str:
    """Return the hint for an SPI that the GIC does not have."""
    hint = f"use {interrupt_text(machine.nr_irqs() - 1)} or lower"
    needed = nr_irqs_for(intid)
    if needed is None or machine.gic is None:
        return hint
    return f"set 'nr_irqs: {needed}' in 'gic', or {hint}"


def nr_irqs_for(intid: int) -> int | None:
    """Return the smallest `nr_irqs` of a GIC with that INTID; None if KVM has no such GIC."""
    # The end of the 32 INTIDs that contain it.
    needed = intid - intid % NR_IRQS_STEP + NR_IRQS_STEP
    return needed if needed <= NR_IRQS_GREATEST else None


# Frames ---------------------------------------------------------------------------------------


@machine_rule("VMC405", Answer(V3_DIST, "EINVAL", "set"), about="gic")
def misaligned_frame(machine: Machine) -> Iterator[Finding]:
    """GICv3 frames must start at multiples of 64 KiB, and GICv2 frames at multiples of 4 KiB.

    Source: vgic-kvm-device.c:vgic_check_iorange; tested on 6.1 to 7.3."""
    for frame in frames(machine):
        if frame.base % frame.alignment:
            kib = frame.alignment >> 10
            message = f"{frame.name} must start at a multiple of {kib} KiB, not {frame.base:#x}"
            hint = alignment_hint(frame.base, frame.alignment)
            yield Finding(frame.at, message, hint=hint, kernel=_answer_to_misaligned(frame))


def _answer_to_misaligned(frame: Frame) -> Answer:
    """Return the answer of KVM to a misaligned frame.

    The base of a region shares its word with flags ([15:12]) and the index ([11:0], of which KVM
    checks [7:0]): KVM does not see bits that are equal in both.
    """
    rejects = Answer(frame.attr, "EINVAL", "set")
    if frame.region is None:
        return rejects
    has_flags = frame.base & 0xF000 != 0
    is_other_index = (frame.base | frame.region) & 0xFF != frame.region
    return rejects if has_flags or is_other_index else Answer(frame.attr)


@machine_rule("VMC406", Answer(V3_DIST, "E2BIG", "set"))
def frame_out_of_range(machine: Machine) -> Iterator[Finding]:
    """Every frame must end within the guest-physical address space, which has 2^ipa_bits bytes.

    This includes the frames of VMM devices, which KVM does not know.

    Source: vgic-kvm-device.c:vgic_check_iorange; tested on 6.1 to 7.3."""
    bits = address_bits(machine)
    for frame in (*frames(machine), *device_frames(machine)):
        if frame.end <= 1 << bits:
            continue
        needed = (frame.end - 1).bit_length()
        message = f"{frame.name} ({frame.extent}) exceeds {address_space_text(machine)}"
        hint = f"move it so that it ends at {(1 << bits) - 1:#x} or below"
        if needed <= IPA_BITS_GREATEST:
            hint = f"set 'ipa_bits: {needed}', or {hint}"
        yield Finding(frame.at, message, hint=hint, kernel=_answer_to_out_of_range(frame))


def _answer_to_out_of_range(frame: Frame) -> Answer:
    """Return the answer of KVM to a frame that ends above the address space."""
    if not frame.attr:
        return NEVER_ASKED  # KVM does not know the devices of the VMM
    if frame.region is not None and frame.base >= 1 << IPA_BITS_GREATEST:
        return NEVER_ASKED  # the attribute keeps 52 bits of the base of a region
    # The sum of base and size overflows its 64 bits, which KVM checks first.
    overflows = frame.end >= 1 << 64
    return Answer(frame.attr, "EINVAL" if overflows else "E2BIG", "set")


@machine_rule("VMC407", Answer("KVM_RUN", "EINVAL", "run"), about="gic")
def overlapping_frames(machine: Machine) -> Iterator[Finding]:
    """Frames of the GIC must not overlap.

    In plan order, KVM immediately rejects redistributors that overlap the distributor or another
    region. It rejects overlapping GICv2 frames only at the first KVM_RUN, and never an overlapping
    ITS.

    Source: vgic-mmio-v3.c:vgic_v3_alloc_redist_region, vgic-v2.c:vgic_v2_map_resources; tested on
    6.1 to 7.3."""
    written = frames(machine)
    clashes = overlaps([frame.addresses for frame in written])
    if not clashes:
        return
    free = free_addresses(machine)
    # Frames that KVM rejects are not there for the frames after them.
    rejected = {index for index, frame in enumerate(written) if _is_rejected(frame, machine)}
    for index, earlier in clashes:
        frame, other = written[index], written[earlier]
        answer: Answer | None = NEVER_ASKED
        if earlier not in rejected:
            answer = _answer_to_overlapping(frame, machine)
        if answer is not None and answer.errno is not None:
            rejected.add(index)
        yield Finding(
            frame.at,
            f"{frame.name} ({frame.extent}) overlaps {other.name} ({other.extent})",
            hint=free.suggestion(frame.name, frame.addresses, frame.alignment),
            related=((other.at, f"{other.name} ends at {other.end - 1:#x}"),),
            kernel=answer,
        )


def _is_rejected(frame: Frame, machine: Machine) -> bool:
    """Return whether KVM rejects the frame alone."""
    return frame.base % frame.alignment != 0 or frame.end > 1 << address_bits(machine)


def _answer_to_overlapping(frame: Frame, machine: Machine) -> Answer | None:
    """Return the answer of KVM to a frame that overlaps an earlier one, if the rule has another."""
    if frame.attr == ITS_ADDR:
        return Answer(frame.attr)
    if machine.gic_version() == 3:
        return Answer(frame.attr, "EINVAL", "set")
    return None


@machine_rule("VMC408", Answer(SLOT), about="memory")
def frame_in_memory_slot(machine: Machine) -> Iterator[Finding]:
    """A frame of the GIC must not overlap a memory slot.

    KVM does not compare them. If they overlap, the guest's accesses reach memory and never the GIC.

    Source: tested on 6.1 to 7.3."""
    written = [frame for frame in frames(machine) if frame.size]
    slots = [slot.addresses for slot in machine.memory]
    if not overlaps([*(frame.addresses for frame in written), *slots]):
        return
    from vmcfg.vm.overlaps import Sorted

    by_address = Sorted([frame.addresses for frame in written])
    for index, (base, end) in enumerate(slots):
        highest = by_address.highest_end(end)
        if base < min(highest, end):
            yield _covering_slot(index, machine, written, by_address)


def _covering_slot(index: int, machine: Machine, written: list[Frame], found: Sorted) -> Finding:
    """Return the finding that a memory slot overlaps frames, of which `found` has the order."""
    base, end = machine.memory[index].addresses
    lowest = written[found.lowest(base)]
    places = dict.fromkeys([found.lowest(base), *found.starting_in(base, end, RELATED_SHOWN)])
    shown = [written[place] for place in places][:RELATED_SHOWN]
    others = found.count(base, end) - 1
    more = f" and {others} more frames" if others > 1 else ""
    if others == 1:
        more = f" and {shown[1].name}" if len(shown) == 2 else " and another frame"
    ways = []
    if base < lowest.base:
        ways.append(f"make the slot end below {lowest.base:#x}, where {lowest.name} starts")
    highest = found.highest_end(end)
    if end > highest:
        start = highest + -highest % GREATEST_PAGE_SIZE
        ways.append(f"start the slot at {start:#x} or above")
    return Finding(
        ("memory", index, "base"),
        f"memory slot {base:#x}-{end - 1:#x} overlaps {lowest.name}{more}",
        hint=", or ".join(ways) or "move the slot to addresses outside the GIC",
        related=tuple((frame.at, f"{frame.name}, {frame.extent}") for frame in shown),
    )


# Keys -----------------------------------------------------------------------------------------


@machine_rule("VMC409", Answer("KVM_RUN", "ENXIO", "run"), about="gic")
def missing_gic_frame(machine: Machine) -> Iterator[Finding]:
    """A GIC that the plan sets up must have a distributor; in addition, a GICv3 must have
    redistributors, and a GICv2 must have a CPU interface.

    KVM requires the addresses when a vCPU first runs.

    Source: vgic-v3.c:vgic_v3_map_resources, vgic-v2.c:vgic_v2_map_resources; tested on 6.1, 6.12,
    and 7.2."""
    gic = machine.gic
    if gic is None or not machine.sets_up_gic():
        return
    needed = ("distributor", "redistributors" if gic.version == 3 else "cpu_interface")
    missing = [f"'{key}'" for key in needed if getattr(gic, key) is None]
    if missing:
        keys = f"key{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        message = f"missing {keys} in 'gic': required for a GICv{gic.version} that the plan sets up"
        hint = f"add {' and '.join(missing)}; if the VMM sets up the GIC, add 'set_up_by: monitor'"
        yield Finding(("gic",), message, hint=hint, on="first key")


@machine_rule("VMC410", None, about="gic")
def gic_version_mismatch(machine: Machine) -> Iterator[Finding]:
    """`redistributors`, `its`, and `maintenance_irq` are valid only for GICv3, and `cpu_interface`
    only for GICv2."""
    gic = machine.gic
    if gic is None:
        return
    other, keys = (2, V2_KEYS) if gic.version == 3 else (3, V3_KEYS)
    for key in keys:
        if getattr(gic, key) not in (None, ()):
            message = f"'gic.{key}' is valid only for GICv{other}, but 'version' is {gic.version}"
            related = ((("gic", "version"), f"GICv{gic.version}"),)
            hint = f"remove '{key}'; if you mean GICv{other}, set 'version: {other}'"
            yield Finding(("gic", key), message, hint=hint, on="key", related=related)


# The maintenance interrupt --------------------------------------------------------------------


@machine_rule("VMC411", Answer(SET_MAINT_IRQ, "EINVAL", "set", since=(6, 15)), about="gic")
def invalid_maintenance_irq(machine: Machine) -> Iterator[Finding]:
    """The GIC maintenance interrupt must be a PPI: INTID 16 to 31.

    Source: vgic-kvm-device.c:vgic_set_common_attr; tested on 7.2."""
    if machine.gic is None or machine.gic.maintenance_irq is None:
        return
    finding = not_a_ppi(
        machine.gic.maintenance_irq,
        at=("gic", "maintenance_irq"),
        name="'gic.maintenance_irq'",
        kernel=Answer(SET_MAINT_IRQ, "EINVAL", "set", since=(6, 15)),
    )
    if finding is not None:
        yield finding


def not_a_ppi(written: int | IrqRange, *, at: Path, name: str, kernel: Answer) -> Finding | None:
    """Return the finding that an interrupt is not a PPI, or None if it is one."""
    intid = intid_of(written)
    if is_ppi(intid):
        return None
    number = written.first if isinstance(written, IrqRange) else written
    hint = "use an INTID from 16 to 31, or ppi:0 to ppi:15"
    fix: str | None = None
    if isinstance(written, IrqRange) and written.prefix == "ppi":
        message = f"PPI number of {name} must be 0 to {GREATEST_PPI}, not {number}"
        if is_ppi(number):
            ppi = number - PPI_BASE
            hint = f"if you mean INTID {number} (PPI {ppi}), write {number} or 'ppi:{ppi}'"
            fix = str(number)
    else:
        message = f"{name} must be a PPI, not {interrupt_text(intid)}"
        if number <= GREATEST_PPI:
            as_ppi = interrupt_text(number + PPI_BASE)
            hint = f"if you mean {as_ppi}, write {number + PPI_BASE} or 'ppi:{number}'"
        hint = gicv5_hint(intid, hint)
    if intid > INTID_GREATEST:
        kernel = NEVER_ASKED  # KVM sees only 32 bits, which are then another number
    return Finding(at, message, hint=hint, kernel=kernel, fix=fix)


def gicv5_hint(intid: int, hint: str) -> str:
    """Return `hint`; if `intid` is a PPI of a GICv5, with what that is, and its INTID here."""
    ppi = gicv5_ppi(intid)
    if ppi is None:
        return hint
    if is_ppi(ppi):
        hint = f"use {interrupt_text(ppi)}"
    return (
        f"{hint}: {intid:#x} is PPI {ppi} of a GICv5, which Linux 7.2 can emulate, but vmcfg does"
        " not support"
    )


@machine_rule("VMC412", Answer(SET_MAINT_IRQ), WARNING, about="gic")
def unused_maintenance_irq(machine: Machine) -> Iterator[Finding]:
    """`gic.maintenance_irq` should be set only with the feature `el2`: without EL2, nothing uses
    it.

    Source: vgic-init.c:kvm_vgic_vcpu_nv_init, Linux 7.2."""
    gic = machine.gic
    if gic is not None and gic.maintenance_irq is not None and not machine.has_el2():
        message = "'gic.maintenance_irq' is not used without the feature 'el2'"
        hint = "remove it; if the guest is a hypervisor, add 'features: [el2]'"
        yield Finding(("gic", "maintenance_irq"), message, hint=hint, on="key")


# MMIO ranges ----------------------------------------------------------------------------------


@machine_rule("VMC415", Answer("KVM_RUN", "ENOSPC", "run"), about="gic")
def too_many_mmio_ranges(machine: Machine) -> Iterator[Finding]:
    """A VM with a GICv3 can have at most 999 vCPUs and ITSs together.

    KVM has room for 1000 MMIO ranges: each redistributor, each ITS, and the distributor is one. If
    only the distributor does not fit, KVM_RUN fails; if an ITS does not fit, setting its address.

    Source: kvm_main.c:kvm_io_bus_register_dev, NR_IOBUS_DEVS; tested on 7.2."""
    if machine.gic is None or machine.gic.version != 3:
        return
    vcpus = len(machine.vcpus)
    itss = len(machine.gic.its)
    most = MMIO_RANGES - 1
    if vcpus + itss > most:
        message = f"the VM has {vcpus} vCPUs and {itss} ITSs; KVM allows at most {most} together"
        hint = f"remove {vcpus + itss - most} ITSs"
        kernel = Answer(ITS_ADDR, "ENOSPC", "set") if vcpus + itss > MMIO_RANGES else None
        at = ("gic", "its", most - vcpus)
        yield Finding(at, message, hint=hint, kernel=kernel)


RULES = (
    too_few_redistributors,
    invalid_redistributor_count,
    wrong_number_of_regions,
    invalid_nr_irqs,
    misaligned_frame,
    frame_out_of_range,
    overlapping_frames,
    frame_in_memory_slot,
    missing_gic_frame,
    gic_version_mismatch,
    invalid_maintenance_irq,
    unused_maintenance_irq,
    too_many_mmio_ranges,
)
