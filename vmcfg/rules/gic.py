"""VMC4xx: the GIC, its frames and its interrupts. Rules about what the plan sends apply where the plan sets it up."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, SPI_END, interrupt_text, is_ppi, is_spi
from vmcfg.description.model import NR_IRQS, REGION_COUNT
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import NEVER_ASKED, WARNING, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import INTID_GREATEST, MOST_REGIONS
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.frames import ITS_ADDR, V3_DIST, V3_REDIST_REGION, Frame, frames
from vmcfg.vm.machine import Machine, redistributor_regions

SET_MAINT_IRQ = abi.setting(abi.VGIC_MAINT_IRQ)

SET_NR_IRQS = abi.setting(abi.VGIC_NR_IRQS)

V2_KEYS = ("cpu_interface",)

V3_KEYS = ("redistributors", "its", "maintenance_irq")


@machine_rule("VMC401", Answer("KVM_RUN", "ENXIO", "run"))
def redistributors_hold_every_vcpu(machine: Machine) -> Iterator[Finding]:
    """The redistributor regions have room for every vCPU's redistributor.

    KVM fills them in index order, in the order of creation, and counts only when a vCPU first runs; the VM is then
    dead. (vgic-mmio-v3.c:vgic_register_redist_iodev; measured on 6.1, 6.12, 7.2)"""
    regions = redistributor_regions(machine.gic)
    if machine.gic_version() != 3 or not regions:
        return
    room, vcpus = sum(machine.redistributor_counts()), len(machine.vcpus)
    if room < vcpus:
        last = len(regions) - 1
        message = f"the regions hold {room} redistributors, but the VM has {vcpus} vCPUs"
        hint = f"raise a count by {vcpus - room}, or leave out the count of the last region"
        at = ("gic", "redistributors", last, "count")
        yield Finding(at, message, hint, related=((("vcpus",), f"{vcpus} vCPUs"),))


@machine_rule("VMC402", Answer(V3_REDIST_REGION, "EINVAL", "set"))
def region_counts_in_range(machine: Machine) -> Iterator[Finding]:
    """A redistributor region holds 1 to 4,095 redistributors, and all but the last say how many.

    (vgic-mmio-v3.c:vgic_v3_alloc_redist_region, linux 7.2; measured: 0 is EINVAL)"""
    regions = redistributor_regions(machine.gic)
    for index, (base, count) in enumerate(regions):
        at = ("gic", "redistributors", index)
        if count is None:
            if index < len(regions) - 1:
                message = f"redistributor region {index} at {base:#x} does not say how many redistributors it holds"
                hint = "only the last region's count may be left out"
                yield Finding(at, message, hint, "first key", kernel=NEVER_ASKED)
        elif not REGION_COUNT.least <= count <= REGION_COUNT.greatest:
            most = REGION_COUNT.greatest
            message = f"redistributor region {index} at {base:#x} has a count of {count}, but it is 1 to {most}"
            # The attribute keeps 12 bits of the count.
            kernel = Answer(V3_REDIST_REGION) if count % (most + 1) else None
            yield Finding((*at, "count"), message, kernel=kernel)


@machine_rule("VMC403", Answer(V3_REDIST_REGION, "EINVAL", "set"))
def regions_at_most_256(machine: Machine) -> Iterator[Finding]:
    """There are 1 to 256 redistributor regions.

    The index has 12 bits in the attribute and 8 in KVM: region 256 is taken for region 0.
    (vgic-kvm-device.c:kvm_vgic_addr, linux 7.2)"""
    regions = redistributor_regions(machine.gic)
    if len(regions) > MOST_REGIONS:
        message = (
            f"there are {len(regions)} redistributor regions, but KVM takes {MOST_REGIONS} at most"
        )
        yield Finding(("gic", "redistributors", MOST_REGIONS), message, "make some of them larger")
    elif (
        machine.gic is not None and machine.gic.redistributors == () and machine.gic_version() == 3
    ):
        kernel = Answer("KVM_RUN", "ENXIO", "run")
        yield Finding(
            ("gic", "redistributors"),
            "there is no redistributor region",
            "list one: {base: ADDRESS}",
            kernel=kernel,
        )


@machine_rule("VMC404", Answer(SET_NR_IRQS, "EINVAL", "set"))
def nr_irqs_taken_by_kvm(machine: Machine) -> Iterator[Finding]:
    """`gic.nr_irqs` is a multiple of 32 from 64 to 992.

    KVM's documents say up to 1024, but the code refuses it. (vgic-kvm-device.c:vgic_set_common_attr; measured on 6.1,
    6.12, 7.2)"""
    if machine.gic is None or machine.gic.nr_irqs is None:
        return
    number = machine.gic.nr_irqs
    least, most = NR_IRQS.least, NR_IRQS.greatest
    if not least <= number <= most or number % 32:
        down, up = (max(least, min(most, near * 32)) for near in (number // 32, -(-number // 32)))
        nearest = f"{down} or {up}" if down != up else f"{down}"
        yield Finding(
            ("gic", "nr_irqs"),
            f"nr_irqs is {number}, but KVM takes multiples of 32 from {least} to {most}",
            f"write {nearest}",
        )


@machine_rule("VMC405", Answer(V3_DIST, "EINVAL", "set"))
def frames_aligned(machine: Machine) -> Iterator[Finding]:
    """A GICv3's frames lie at multiples of 64 KiB, a GICv2's at multiples of 4 KiB.

    (vgic-kvm-device.c:vgic_check_iorange; measured on 6.1, 6.12, 7.2)"""
    for frame in frames(machine):
        if frame.base % frame.alignment:
            down = frame.base // frame.alignment * frame.alignment
            message = f"{frame.name} is at {frame.base:#x}, which is not a multiple of {frame.alignment >> 10} KiB"
            hint = f"the nearest: {down:#x} and {down + frame.alignment:#x}"
            yield Finding(frame.at, message, hint, kernel=_unaligned(frame))


def _unaligned(frame: Frame) -> Answer:
    """What KVM makes of an unaligned frame: a region's low bits are flags (15..12) and an index (7..0)."""
    if (
        frame.region is None
        or frame.base & 0xF000
        or (frame.base | frame.region) & 0xFF != frame.region
    ):
        return Answer(frame.attr, "EINVAL", "set")
    return Answer(frame.attr)


@machine_rule("VMC406", Answer(V3_DIST, "E2BIG", "set"))
def frames_addressable(machine: Machine) -> Iterator[Finding]:
    """Every frame ends within the guest-physical address space, 2^ipa_bits bytes.

    (vgic-kvm-device.c:vgic_check_iorange; measured on 6.1, 6.12, 7.2)"""
    space = 1 << max(32, min(machine.ipa_bits, 52))
    for frame in frames(machine):
        if frame.end > space:
            bits = (frame.end - 1).bit_length()
            message = f"{frame.name}, {frame.extent}, ends beyond the {space.bit_length() - 1}-bit address space"
            hint = (
                f"write 'ipa_bits: {bits}', or place it lower" if bits <= 52 else "place it lower"
            )
            kernel = Answer(frame.attr, "EINVAL" if frame.end >= 1 << 64 else "E2BIG", "set")
            if frame.region is not None and frame.base >= 1 << 52:
                kernel = NEVER_ASKED  # the attribute keeps 52 bits of a region's base
            yield Finding(frame.at, message, hint, kernel=kernel)


@machine_rule("VMC407", Answer("KVM_RUN", "EINVAL", "run"))
def frames_disjoint(machine: Machine) -> Iterator[Finding]:
    """No two frames of the GIC share an address.

    In the order of the plan a redistributor over the distributor or over another region is refused at once; GICv2's two
    frames only at the first KVM_RUN; an ITS over any of them never. (vgic-mmio-v3.c:vgic_v3_alloc_redist_region,
    vgic-v2.c:vgic_v2_map_resources; measured on 6.1, 6.12, 7.2)"""
    written = frames(machine)
    for place, frame in enumerate(written):
        for earlier in written[:place]:
            if frame.base < earlier.end and earlier.base < frame.end:
                message = f"{frame.name}, {frame.extent}, overlaps {earlier.name}, {earlier.extent}"
                related = ((earlier.at, f"{earlier.name} ends at {earlier.end - 1:#x}"),)
                kernel = Answer(frame.attr, "EINVAL", "set") if machine.gic_version() == 3 else None
                if frame.attr == ITS_ADDR:
                    kernel = Answer(frame.attr)
                yield Finding(
                    frame.at, message, "move one of the two", related=related, kernel=kernel
                )
                break


@machine_rule("VMC408", Answer(V3_DIST))
def frames_outside_memory(machine: Machine) -> Iterator[Finding]:
    """No frame of the GIC lies in a memory slot.

    KVM checks neither against the other; the guest's accesses then reach memory, and never the GIC.
    (measured on 6.1, 6.12, 7.2)"""
    for frame in frames(machine):
        for index, (base, size) in enumerate(machine.memory):
            if frame.base < base + size and base < frame.end:
                message = f"{frame.name}, {frame.extent}, lies in the memory slot {base:#x}..{base + size - 1:#x}"
                related = ((("memory", index, "base"), "the memory slot"),)
                yield Finding(
                    frame.at,
                    message,
                    "move one of the two",
                    related=related,
                    kernel=Answer(frame.attr),
                )
                break


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
            yield Finding(
                ("gic",),
                message,
                "add it; or write 'set_up_by: monitor' if the monitor sets up the GIC",
                "first key",
            )


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
            yield Finding(
                ("gic", key),
                message,
                "remove it",
                "key",
                ((("gic", "version"), f"GICv{gic.version}"),),
            )


@machine_rule("VMC411", Answer(SET_MAINT_IRQ, "EINVAL", "set", since=(6, 15)))
def maintenance_irq_is_a_ppi(machine: Machine) -> Iterator[Finding]:
    """The GIC's maintenance interrupt is a PPI, INTID 16 to 31.

    (vgic-kvm-device.c:vgic_set_common_attr; measured on 7.2)"""
    written = machine.gic.maintenance_irq if machine.gic is not None else None
    if written is not None:
        yield from no_ppi(
            written,
            ("gic", "maintenance_irq"),
            "gic.maintenance_irq",
            Answer(SET_MAINT_IRQ, "EINVAL", "set"),
        )


def no_ppi(written: int | IrqRange, at: Path, name: str, kernel: Answer) -> Iterator[Finding]:
    """The finding that one interrupt as written, which must be a PPI, is none."""
    number = written.first if isinstance(written, IrqRange) else written
    if intid_of(written) > INTID_GREATEST:
        kernel = NEVER_ASKED  # what 32 bits have no room for is cut, and then is another number
    if isinstance(written, IrqRange) and written.prefix == "ppi":
        if number > 15:
            hint = (
                f"PPI {number - PPI_BASE} is INTID {number}: write {number}"
                if is_ppi(number)
                else None
            )
            fix = str(number) if is_ppi(number) else None
            yield Finding(
                at,
                f"{name} is ppi:{number}, but a PPI's number is 0 to 15",
                hint,
                kernel=kernel,
                fix=fix,
            )
    elif not is_ppi(intid_of(written)):
        message = f"{name} is {interrupt_text(intid_of(written))}, but it must be a PPI"
        hint = (
            f"PPI {number} is INTID {number + PPI_BASE}, or ppi:{number}"
            if number <= 15
            else "write an INTID from 16 to 31"
        )
        yield Finding(at, message, hint, kernel=kernel)


@machine_rule("VMC412", Answer(SET_MAINT_IRQ), WARNING)
def maintenance_irq_has_el2(machine: Machine) -> Iterator[Finding]:
    """The maintenance interrupt is set for vCPUs with the feature el2; others never use it.

    (vgic-init.c:kvm_vgic_map_resources, linux 7.2)"""
    if (
        machine.gic is not None
        and machine.gic.maintenance_irq is not None
        and not machine.has_el2()
    ):
        message = "gic.maintenance_irq is set, but the vCPUs have no EL2: nothing uses it"
        yield Finding(
            ("gic", "maintenance_irq"), message, "remove it, or write 'features: [el2]'", "key"
        )


@machine_rule("VMC413", None)
def device_irqs_are_spis(machine: Machine) -> Iterator[Finding]:
    """A device of the monitor interrupts by an SPI that the GIC has."""
    for index, device in enumerate(machine.devices):
        at = ("devices", index, "irq")
        number = device.irq.first if isinstance(device.irq, IrqRange) else device.irq
        intid = intid_of(device.irq)
        if (
            isinstance(device.irq, IrqRange)
            and device.irq.prefix == "spi"
            and number > SPI_END - SPI_BASE - 1
        ):
            hint = (
                f"SPI {number - SPI_BASE} is INTID {number}: write spi:{number - SPI_BASE}"
                if is_spi(number)
                else None
            )
            yield Finding(
                at,
                f"the device {device.name} has spi:{number}, but an SPI's number is 0 to 987",
                hint,
            )
        elif not is_spi(intid):
            hint = (
                f"SPI {number} is INTID {number + SPI_BASE}, or spi:{number}"
                if intid < SPI_BASE
                else None
            )
            yield Finding(
                at,
                f"the device {device.name} has {interrupt_text(intid)}, but it must be an SPI",
                hint,
            )
        elif intid >= machine.nr_irqs():
            limit = machine.nr_irqs()
            message = f"the device {device.name} has {interrupt_text(intid)}, but the GIC has {limit} INTIDs"
            yield Finding(at, message, f"the last SPI is {interrupt_text(limit - 1)}")


@machine_rule("VMC414", None, WARNING)
def device_names_distinct(machine: Machine) -> Iterator[Finding]:
    """Each device of the monitor has a name of its own. Two of them may share an SPI, as PCI's lines do."""
    first: dict[str, int] = {}
    for index, device in enumerate(machine.devices):
        other = first.setdefault(device.name, index)
        if other != index:
            related = ((("devices", other, "name"), "the other device"),)
            yield Finding(
                ("devices", index, "name"),
                f"{device.name} is the name of two devices",
                related=related,
            )


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
    device_irqs_are_spis,
    device_names_distinct,
)
