"""VMC4xx: the GIC, its frames, and its maintenance interrupt. `devices` has the same hundred.

Rules about what the plan sends apply only if the plan sets up the GIC.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import GREATEST_PPI, PPI_BASE, interrupt_text, is_ppi
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import NEVER_ASKED, WARNING, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import (
    INTID_GREATEST,
    IPA_BITS_GREATEST,
    MOST_REGIONS,
    NR_IRQS_GREATEST,
    NR_IRQS_LEAST,
    NR_IRQS_STEP,
    REGION_COUNT_GREATEST,
    REGION_COUNT_LEAST,
)
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import ITS_ADDR, V3_DIST, V3_REDIST_REGION, Frame, address_bits, frames
from vmcfg.vm.machine import Machine, redistributor_regions

SET_MAINT_IRQ = abi.setting(abi.VGIC_MAINT_IRQ)
SET_NR_IRQS = abi.setting(abi.VGIC_NR_IRQS)

V2_KEYS = ("cpu_interface",)
V3_KEYS = ("redistributors", "its", "maintenance_irq")


# Redistributor regions and INTIDs -------------------------------------------------------------


@machine_rule("VMC401", Answer("KVM_RUN", "ENXIO", "run"))
def redistributors_hold_every_vcpu(machine: Machine) -> Iterator[Finding]:
    """The redistributor regions have room for every vCPU's redistributor.

    KVM fills them in index order, in the order of creation, and counts only when a vCPU first runs; the VM is then
    dead. (vgic-mmio-v3.c:vgic_register_redist_iodev; measured on 6.1, 6.12, 7.2)"""
    regions = redistributor_regions(machine.gic)
    if machine.gic_version() != 3 or not regions:
        return
    room = sum(machine.redistributor_counts())
    vcpus = len(machine.vcpus)
    if room < vcpus:
        at = ("gic", "redistributors", len(regions) - 1, "count")
        message = f"the regions hold {room} redistributors, but the VM has {vcpus} vCPUs"
        hint = f"raise a count by {vcpus - room}, or leave out the count of the last region"
        related = ((("vcpus",), f"{vcpus} vCPUs"),)
        yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC402", Answer(V3_REDIST_REGION, "EINVAL", "set"))
def region_counts_in_range(machine: Machine) -> Iterator[Finding]:
    """A redistributor region holds 1 to 4,095 redistributors, and all but the last say how many.

    (vgic-mmio-v3.c:vgic_v3_alloc_redist_region, linux 7.2; measured: 0 is EINVAL)"""
    regions = redistributor_regions(machine.gic)
    last = len(regions) - 1
    for index, (base, count) in enumerate(regions):
        if count is not None:
            if not REGION_COUNT_LEAST <= count <= REGION_COUNT_GREATEST:
                yield _wrong_count(index, base, count)
        elif index < last:
            at = ("gic", "redistributors", index)
            message = (
                f"redistributor region {index} at {base:#x}"
                " does not say how many redistributors it holds"
            )
            hint = "only the last region's count may be left out"
            yield Finding(at, message, hint=hint, on="first key", kernel=NEVER_ASKED)


def _wrong_count(index: int, base: int, count: int) -> Finding:
    """The finding about a count that is too small or too great."""
    message = (
        f"redistributor region {index} at {base:#x} has a count of {count},"
        f" but it is {REGION_COUNT_LEAST} to {REGION_COUNT_GREATEST}"
    )
    # The attribute keeps 12 bits of the count. If those are zero, KVM refuses it.
    kept = count & REGION_COUNT_GREATEST
    kernel = Answer(V3_REDIST_REGION) if kept else None
    return Finding(("gic", "redistributors", index, "count"), message, kernel=kernel)


@machine_rule("VMC403", Answer(V3_REDIST_REGION, "EINVAL", "set"))
def regions_at_most_256(machine: Machine) -> Iterator[Finding]:
    """There are 1 to 256 redistributor regions.

    The index has 12 bits in the attribute and 8 in KVM: region 256 is taken for region 0.
    (vgic-kvm-device.c:kvm_vgic_addr, linux 7.2)"""
    at = ("gic", "redistributors")
    count = len(redistributor_regions(machine.gic))
    if count > MOST_REGIONS:
        message = f"there are {count} redistributor regions, but KVM takes {MOST_REGIONS} at most"
        yield Finding((*at, MOST_REGIONS), message, hint="make some of them larger")
    gic = machine.gic
    if gic is not None and gic.version == 3 and gic.redistributors == ():
        message = "there is no redistributor region"
        kernel = Answer("KVM_RUN", "ENXIO", "run")
        yield Finding(at, message, hint="list one: {base: ADDRESS}", kernel=kernel)


@machine_rule("VMC404", Answer(SET_NR_IRQS, "EINVAL", "set"))
def nr_irqs_taken_by_kvm(machine: Machine) -> Iterator[Finding]:
    """`gic.nr_irqs` is a multiple of 32 from 64 to 992.

    KVM's documents say up to 1024, but the code refuses it. (vgic-kvm-device.c:vgic_set_common_attr; measured on 6.1,
    6.12, 7.2)"""
    if machine.gic is None or machine.gic.nr_irqs is None:
        return
    number = machine.gic.nr_irqs
    if NR_IRQS_LEAST <= number <= NR_IRQS_GREATEST and number % NR_IRQS_STEP == 0:
        return
    message = (
        f"nr_irqs is {number}, but KVM takes multiples of {NR_IRQS_STEP}"
        f" from {NR_IRQS_LEAST} to {NR_IRQS_GREATEST}"
    )
    yield Finding(("gic", "nr_irqs"), message, hint=f"write {_nearest_nr_irqs(number)}")


def _nearest_nr_irqs(number: int) -> str:
    """The nearest number that KVM takes, or the nearest two."""
    if number < NR_IRQS_LEAST:
        return f"{NR_IRQS_LEAST}"
    if number > NR_IRQS_GREATEST:
        return f"{NR_IRQS_GREATEST}"
    down = number - number % NR_IRQS_STEP
    return f"{down} or {down + NR_IRQS_STEP}"


# Frames ---------------------------------------------------------------------------------------


@machine_rule("VMC405", Answer(V3_DIST, "EINVAL", "set"))
def frames_aligned(machine: Machine) -> Iterator[Finding]:
    """A GICv3's frames lie at multiples of 64 KiB, a GICv2's at multiples of 4 KiB.

    (vgic-kvm-device.c:vgic_check_iorange; measured on 6.1, 6.12, 7.2)"""
    for frame in frames(machine):
        beyond = frame.base % frame.alignment
        if beyond:
            down = frame.base - beyond
            up = down + frame.alignment
            kib = frame.alignment >> 10
            message = f"{frame.name} is at {frame.base:#x}, which is not a multiple of {kib} KiB"
            hint = f"the nearest: {down:#x} and {up:#x}"
            yield Finding(frame.at, message, hint=hint, kernel=_answer_to_unaligned(frame))


def _answer_to_unaligned(frame: Frame) -> Answer:
    """What KVM makes of an unaligned frame.

    A region's base shares its word with flags (bits 15..12) and the index (11..0, of which KVM
    looks at 7..0): bits that are the same in both go unseen.
    """
    refused = Answer(frame.attr, "EINVAL", "set")
    if frame.region is None:
        return refused
    has_flags = frame.base & 0xF000 != 0
    is_other_index = (frame.base | frame.region) & 0xFF != frame.region
    return refused if has_flags or is_other_index else Answer(frame.attr)


@machine_rule("VMC406", Answer(V3_DIST, "E2BIG", "set"))
def frames_addressable(machine: Machine) -> Iterator[Finding]:
    """Every frame ends within the guest-physical address space, 2^ipa_bits bytes.

    (vgic-kvm-device.c:vgic_check_iorange; measured on 6.1, 6.12, 7.2)"""
    bits = address_bits(machine)
    for frame in frames(machine):
        if frame.end <= 1 << bits:
            continue
        needed = (frame.end - 1).bit_length()
        message = f"{frame.name}, {frame.extent}, ends beyond the {bits}-bit address space"
        hint = "place it lower"
        if needed <= IPA_BITS_GREATEST:
            hint = f"write 'ipa_bits: {needed}', or place it lower"
        yield Finding(frame.at, message, hint=hint, kernel=_answer_to_unaddressable(frame))


def _answer_to_unaddressable(frame: Frame) -> Answer:
    """What KVM makes of a frame that ends beyond the address space."""
    if frame.region is not None and frame.base >= 1 << IPA_BITS_GREATEST:
        return NEVER_ASKED  # the attribute keeps 52 bits of a region's base
    # The sum of base and size overflows its 64 bits, which KVM looks at first.
    overflows = frame.end >= 1 << 64
    return Answer(frame.attr, "EINVAL" if overflows else "E2BIG", "set")


@machine_rule("VMC407", Answer("KVM_RUN", "EINVAL", "run"))
def frames_disjoint(machine: Machine) -> Iterator[Finding]:
    """No two frames of the GIC share an address.

    In the order of the plan a redistributor over the distributor or over another region is refused at once; GICv2's two
    frames only at the first KVM_RUN; an ITS over any of them never. (vgic-mmio-v3.c:vgic_v3_alloc_redist_region,
    vgic-v2.c:vgic_v2_map_resources; measured on 6.1, 6.12, 7.2)"""
    written = frames(machine)
    for place, frame in enumerate(written):
        for earlier in written[:place]:
            if frame.overlaps(earlier.base, earlier.end):
                message = f"{frame.name}, {frame.extent}, overlaps {earlier.name}, {earlier.extent}"
                yield Finding(
                    frame.at,
                    message,
                    hint="move one of the two",
                    related=((earlier.at, f"{earlier.name} ends at {earlier.end - 1:#x}"),),
                    kernel=_answer_to_overlapping(frame, machine),
                )
                break  # one finding a frame is enough


def _answer_to_overlapping(frame: Frame, machine: Machine) -> Answer | None:
    """What KVM makes of a frame over an earlier one, where that is not what the rule says."""
    if frame.attr == ITS_ADDR:
        return Answer(frame.attr)
    if machine.gic_version() == 3:
        return Answer(frame.attr, "EINVAL", "set")
    return None


@machine_rule("VMC408", Answer(V3_DIST))
def frames_outside_memory(machine: Machine) -> Iterator[Finding]:
    """No frame of the GIC lies in a memory slot.

    KVM checks neither against the other; the guest's accesses then reach memory, and never the GIC.
    (measured on 6.1, 6.12, 7.2)"""
    for frame in frames(machine):
        for index, (base, size) in enumerate(machine.memory):
            if frame.overlaps(base, base + size):
                slot = f"{base:#x}..{base + size - 1:#x}"
                message = f"{frame.name}, {frame.extent}, lies in the memory slot {slot}"
                yield Finding(
                    frame.at,
                    message,
                    hint="move one of the two",
                    related=((("memory", index, "base"), "the memory slot"),),
                    kernel=Answer(frame.attr),
                )
                break  # one finding a frame is enough


# Keys -----------------------------------------------------------------------------------------


@machine_rule("VMC409", Answer("KVM_RUN", "ENXIO", "run"))
def gic_has_its_frames(machine: Machine) -> Iterator[Finding]:
    """A GIC that the plan sets up has a distributor, and with GICv3 redistributors, with GICv2 a CPU interface.

    KVM asks for the addresses when a vCPU first runs. (vgic-v3.c:vgic_v3_map_resources,
    vgic-v2.c:vgic_v2_map_resources; measured on 6.1, 6.12, 7.2)"""
    gic = machine.gic
    if gic is None or not machine.sets_up_gic():
        return
    needed = ("distributor", "redistributors" if gic.version == 3 else "cpu_interface")
    for key in needed:
        if getattr(gic, key) is None:
            message = f"the GICv{gic.version} that the plan sets up has no '{key}'"
            hint = "add it; or write 'set_up_by: monitor' if the monitor sets up the GIC"
            yield Finding(("gic",), message, hint=hint, on="first key")


@machine_rule("VMC410", None)
def gic_keys_are_its_versions(machine: Machine) -> Iterator[Finding]:
    """`redistributors`, `its` and `maintenance_irq` belong to GICv3, `cpu_interface` to GICv2."""
    gic = machine.gic
    if gic is None:
        return
    other, keys = (2, V2_KEYS) if gic.version == 3 else (3, V3_KEYS)
    for key in keys:
        if getattr(gic, key) not in (None, ()):
            message = f"'{key}' is GICv{other}'s, but this is a GICv{gic.version}"
            related = ((("gic", "version"), f"GICv{gic.version}"),)
            yield Finding(("gic", key), message, hint="remove it", on="key", related=related)


# The maintenance interrupt --------------------------------------------------------------------


@machine_rule("VMC411", Answer(SET_MAINT_IRQ, "EINVAL", "set", since=(6, 15)))
def maintenance_irq_is_a_ppi(machine: Machine) -> Iterator[Finding]:
    """The GIC's maintenance interrupt is a PPI, INTID 16 to 31.

    (vgic-kvm-device.c:vgic_set_common_attr; measured on 7.2)"""
    if machine.gic is None or machine.gic.maintenance_irq is None:
        return
    finding = not_a_ppi(
        machine.gic.maintenance_irq,
        at=("gic", "maintenance_irq"),
        name="gic.maintenance_irq",
        kernel=Answer(SET_MAINT_IRQ, "EINVAL", "set"),
    )
    if finding is not None:
        yield finding


def not_a_ppi(written: int | IrqRange, *, at: Path, name: str, kernel: Answer) -> Finding | None:
    """The finding that one interrupt as written, which must be a PPI, is none."""
    intid = intid_of(written)
    if is_ppi(intid):
        return None
    number = written.first if isinstance(written, IrqRange) else written
    hint: str | None = None
    fix: str | None = None
    if isinstance(written, IrqRange) and written.prefix == "ppi":
        message = f"{name} is ppi:{number}, but a PPI's number is 0 to {GREATEST_PPI}"
        if is_ppi(number):
            hint = f"PPI {number - PPI_BASE} is INTID {number}: write {number}"
            fix = str(number)
    else:
        message = f"{name} is {interrupt_text(intid)}, but it must be a PPI"
        hint = "write an INTID from 16 to 31"
        if number <= GREATEST_PPI:
            hint = f"PPI {number} is INTID {number + PPI_BASE}, or ppi:{number}"
    if intid > INTID_GREATEST:
        kernel = NEVER_ASKED  # what 32 bits have no room for is cut, and then is another number
    return Finding(at, message, hint=hint, kernel=kernel, fix=fix)


@machine_rule("VMC412", Answer(SET_MAINT_IRQ), WARNING)
def maintenance_irq_has_el2(machine: Machine) -> Iterator[Finding]:
    """The maintenance interrupt is set for vCPUs with the feature el2; others never use it.

    (vgic-init.c:kvm_vgic_map_resources, linux 7.2)"""
    gic = machine.gic
    if gic is not None and gic.maintenance_irq is not None and not machine.has_el2():
        message = "gic.maintenance_irq is set, but the vCPUs have no EL2: nothing uses it"
        hint = "remove it, or write 'features: [el2]'"
        yield Finding(("gic", "maintenance_irq"), message, hint=hint, on="key")


RULES = (
    redistributors_hold_every_vcpu,
    region_counts_in_range,
    regions_at_most_256,
    nr_irqs_taken_by_kvm,
    frames_aligned,
    frames_addressable,
    frames_disjoint,
    frames_outside_memory,
    gic_has_its_frames,
    gic_keys_are_its_versions,
    maintenance_irq_is_a_ppi,
    maintenance_irq_has_el2,
)
