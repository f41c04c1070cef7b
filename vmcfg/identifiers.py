"""Every name of a vCPU and of its PMU interrupt, and back: what a number may be the name of, and why it can't.

What comes before: `machine`. Next: ``vmcfg show``, ``vmcfg decode`` and ``vmcfg explain identifiers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vmcfg.machine import MOST_VCPUS, Machine, derived_id
from vmcfg.scalars import (
    MPIDR_RES1,
    PPI_BASE,
    SPI_BASE,
    SPI_END,
    interrupt_text,
    is_ppi,
    is_spi,
    mpidr_of_id,
    mpidr_register,
    mpidr_text,
)

DT_SPI, DT_PPI = 0, 1
"""The first of the device tree's three interrupt cells (bindings/interrupt-controller/arm,gic-v3.yaml)."""
LEVEL_HIGH = 4
"""How the PMU interrupts, by the third cell: QEMU's, kvmtool's and crosvm's trees say so."""

IRQ_TYPE_SPI, IRQ_TYPE_PPI = 1, 2
"""Bits 27..24 of a KVM_IRQ_LINE word (Documentation/virt/kvm/api.rst 4.25)."""
LAYOUT_2_SINCE_ID = 256
"""The first vCPU id that the 8 bits of the word's first layout can't hold."""
IRQ_LINE_BY_ID = (6, 7)
"""Since when a KVM_IRQ_LINE word names a vCPU by its id; before, by its index."""
GICV2_MOST_VCPUS = 8


def irq_line(intid: int, vcpu_id: int) -> int | None:
    """The KVM_IRQ_LINE word of an interrupt of a vCPU, or None where it has none: neither PPI nor SPI.

    A PPI's word names the vCPU, in bits 23..16 and, from id 256 on, also 31..28; an SPI's names none.
    """
    if is_spi(intid):
        return IRQ_TYPE_SPI << 24 | intid
    if is_ppi(intid):
        return vcpu_id >> 8 << 28 | IRQ_TYPE_PPI << 24 | (vcpu_id & 0xFF) << 16 | intid
    return None


def reg_cells(compressed: int, cells: int) -> tuple[int, ...]:
    """The device tree's `reg` of a CPU with this compressed MPIDR, in one or two cells (bindings/arm/cpus.yaml)."""
    low = compressed & 0xFFFFFF
    return (low,) if cells == 1 else (compressed >> 24, low)


class Names(NamedTuple):
    """All names of one vCPU. `mpidr` is compressed; `intid` is the PMU interrupt's, None where there is none.

    `cells` is the device tree's #address-cells of all CPUs; `ppi_mask` what a GICv2's PPI has in its third cell.
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
        """The KVM_IRQ_LINE word of the PMU interrupt."""
        return None if self.intid is None else irq_line(self.intid, self.id)

    @property
    def irq_line_layout2(self) -> bool:
        """Whether that word needs KVM_CAP_ARM_IRQ_LINE_LAYOUT_2: it names a vCPU whose id is over 255."""
        return self.intid is not None and is_ppi(self.intid) and self.id >= LAYOUT_2_SINCE_ID

    @property
    def interrupts(self) -> tuple[int, int, int] | None:
        """The device tree's three cells of the PMU interrupt: type, number, flags."""
        if self.intid is None or not (is_ppi(self.intid) or is_spi(self.intid)):
            return None
        if is_ppi(self.intid):
            return DT_PPI, self.intid - PPI_BASE, self.ppi_mask << 8 | LEVEL_HIGH
        return DT_SPI, self.intid - SPI_BASE, LEVEL_HIGH

    def as_json(self) -> dict[str, Any]:
        """The names by the keys of schemas/show-v1.schema.json."""
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
            # The MADT's performance interrupt: on Arm a GSIV is an INTID (ACPI 6.5, 5.2.12.14).
            "gsiv": intid,
            "irq_line": None if word is None else hex(word),
            "irq_line_layout2": self.irq_line_layout2,
            "boot": self.boot,
            "mpidr_by_register": self.mpidr_by_register,
        }


def names(machine: Machine) -> list[Names]:
    """The names of every vCPU, by index."""
    cells = 2 if any(vcpu.mpidr >> 24 for vcpu in machine.vcpus) else 1
    mask = (1 << min(len(machine.vcpus), GICV2_MOST_VCPUS)) - 1 if machine.gic_version() == 2 else 0
    return [
        Names(index, vcpu.id, vcpu.mpidr, vcpu.pmu_irq, vcpu.boot, vcpu.mpidr_by_register, cells, mask)
        for index, vcpu in enumerate(machine.vcpus)
    ]


def notes(machine: Machine) -> list[str]:
    """What holds of some vCPUs' names only with a capability or a kernel, a sentence each."""
    every = names(machine)
    told = []
    layout2 = [each for each in every if each.irq_line_layout2]
    if layout2:
        which = f"vCPU {layout2[0].id}" if len(layout2) == 1 else f"{len(layout2)} vCPUs, from id {layout2[0].id} on,"
        told.append(f"The KVM_IRQ_LINE word of {which} needs KVM_CAP_ARM_IRQ_LINE_LAYOUT_2.")
    ppis = [each for each in every if each.intid is not None and is_ppi(each.intid)]
    if machine.host_kernel < IRQ_LINE_BY_ID and any(each.index != each.id for each in ppis):
        told.append(
            "Kernels before 6.7 read a vCPU's index in a KVM_IRQ_LINE word, where these words have its id, and reach"
            " another vCPU or none: ids and indexes differ here."
        )
    return told


# And back ------------------------------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """What a number is if it is `name`: `meaning`, or None where it can't be; `reason` then says why not."""

    name: str
    meaning: str | None
    reason: str | None = None

    @property
    def possible(self) -> bool:
        """Whether there can be such a one."""
        return self.meaning is not None


class _Impossible(Exception):
    """Why a number can't be read so."""


def _vcpu(compressed: int) -> str:
    """A compressed MPIDR and the vCPU that KVM gives it to."""
    told = f"MPIDR {mpidr_text(compressed)}"
    number = derived_id(compressed)
    if compressed >> 24:
        return f"{told}: no vCPU id gives it, and with Aff3 not 0 a GICv3's guest can't reach it"
    if compressed & 0xFF > 15:
        return f"{told}: no vCPU id gives it, and with Aff0 over 15 a GICv3's SGIs go astray"
    if number is None or number >= MOST_VCPUS:
        return f"{told}: no vCPU id gives it, so it has to be set by register"
    return f"{told}, which KVM gives to vCPU id {number}"


def _attr_mpidr(value: int) -> str:
    return f"MPIDR {mpidr_text(value >> 32)}"


def _below(value: int, bound: int, why: str) -> None:
    if value >= bound:
        raise _Impossible(why)


def _vcpu_id(value: int) -> str:
    _below(value, MOST_VCPUS, "KVM takes ids below 512")
    return f"the id of KVM_CREATE_VCPU, to which KVM gives MPIDR {mpidr_text(mpidr_of_id(value))}"


def _vcpu_index(value: int) -> str:
    _below(value, MOST_VCPUS, "KVM makes 512 vCPUs at most")
    return f"place {value} in the order of creation, from 0"


def _register(value: int) -> str:
    if value >> 40 or value & 0x3E00_0000:
        raise _Impossible("bits 63..40 and 29..25 are zero in the register")
    if not value & MPIDR_RES1:
        raise _Impossible("bit 31 is one in the register")
    told = _vcpu(value >> 32 << 24 | value & 0xFFFFFF)
    flags = [words for bit, words in ((1 << 30, "U: a uniprocessor"), (1 << 24, "MT: Aff0 is a thread")) if value & bit]
    return told + "".join(f"; {words}" for words in flags)


def _compressed(value: int) -> str:
    _below(value, 1 << 32, "it has 32 bits, a byte for each affinity")
    return _vcpu(value)


REDISTRIBUTOR_REGISTERS = {
    0x0: "GICR_CTLR",
    0x4: "GICR_IIDR",
    0x8: "GICR_TYPER",
    0x14: "GICR_WAKER",
    0x70: "GICR_PROPBASER",
    0x78: "GICR_PENDBASER",
    0x10080: "GICR_IGROUPR0",
    0x10100: "GICR_ISENABLER0",
    0x10180: "GICR_ICENABLER0",
    0x10200: "GICR_ISPENDR0",
    0x10280: "GICR_ICPENDR0",
    0x10300: "GICR_ISACTIVER0",
    0x10380: "GICR_ICACTIVER0",
    0x10C00: "GICR_ICFGR0",
    0x10C04: "GICR_ICFGR1",
}
CPU_INTERFACE_REGISTERS = {
    0xC230: "ICC_PMR_EL1",
    0xC643: "ICC_BPR0_EL1",
    **{0xC644 + n: f"ICC_AP0R{n}_EL1" for n in range(4)},
    **{0xC648 + n: f"ICC_AP1R{n}_EL1" for n in range(4)},
    0xC663: "ICC_BPR1_EL1",
    0xC664: "ICC_CTLR_EL1",
    0xC665: "ICC_SRE_EL1",
    0xC666: "ICC_IGRPEN0_EL1",
    0xC667: "ICC_IGRPEN1_EL1",
    **{0xE640 + n: f"ICH_AP0R{n}_EL2" for n in range(4)},
    **{0xE648 + n: f"ICH_AP1R{n}_EL2" for n in range(4)},
    0xE64D: "ICC_SRE_EL2",
    0xE658: "ICH_HCR_EL2",
    0xE659: "ICH_VTR_EL2",
    0xE65F: "ICH_VMCR_EL2",
    **{0xE660 + n: f"ICH_LR{n}_EL2" for n in range(16)},
}
"""The registers that KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS has, by their encodings (linux 7.2, vgic-sys-reg-v3.c)."""


def _redist_regs(value: int) -> str:
    offset = value & 0xFFFFFFFF
    _below(offset, 0x20000, "a redistributor's two frames end at offset 0x20000")
    if offset % 4:
        raise _Impossible("a register's offset is a multiple of 4")
    name = REDISTRIBUTOR_REGISTERS.get(offset)
    return f"{_attr_mpidr(value)}, offset {offset:#x}" + (f", {name}" if name else "")


def _cpu_sysregs(value: int) -> str:
    name = CPU_INTERFACE_REGISTERS.get(value & 0xFFFFFFFF)
    if name is None:
        raise _Impossible("bits 31..0 are no register of the CPU interface")
    return f"{_attr_mpidr(value)}, {name}"


def _level_info(value: int) -> str:
    if value >> 10 & 0x3FFFFF:
        raise _Impossible("bits 31..10 are 0, the only information there is: line levels")
    first = value & 0x3FF
    if first % 32:
        raise _Impossible("bits 9..0 are the first of 32 INTIDs, a multiple of 32")
    return f"{_attr_mpidr(value)}, line levels of INTIDs {first} to {first + 31}"


def _gicv2_regs(value: int) -> str:
    _below(value, 1 << 40, "bits 63..40 are zero")
    _below(value >> 32, GICV2_MOST_VCPUS, "a GICv2 has at most 8 vCPUs")
    offset = value & 0xFFFFFFFF
    _below(offset, 0x2000, "a GICv2's frames end at offset 0x1000 (distributor) and 0x2000 (CPU interface)")
    if offset % 4:
        raise _Impossible("a register's offset is a multiple of 4")
    return f"vCPU id {value >> 32} (in mainline before 6.7 its index), offset {offset:#x}"


def _pmu_by_index(value: int) -> str:
    _below(value, 1 << 32, "bits 63..32 are reserved")
    _below(value, MOST_VCPUS, "KVM makes 512 vCPUs at most")
    return f"the PMU interrupt of vCPU index {value}, by --api pmu-device, which was never merged"


def _pmu_by_mpidr(value: int) -> str:
    if value & 0xFFFFFFFF:
        raise _Impossible("bits 31..0 name nothing there, and are zero")
    return f"the PMU interrupt of {_attr_mpidr(value)}, by --api pmu-device-mpidr, which was never merged"


def _irq_line_word(value: int) -> str:
    _below(value, 1 << 32, "the word has 32 bits")
    kind, number = value >> 24 & 0xF, value & 0xFFFF
    vcpu = (value >> 28) << 8 | value >> 16 & 0xFF
    if kind == 0:
        if number > 1:
            raise _Impossible("type 0 is a CPU's own line, 0 for IRQ or 1 for FIQ")
        return f"the {('IRQ', 'FIQ')[number]} line of vCPU id {vcpu} (before 6.7 its index), without an in-kernel GIC"
    if kind not in (IRQ_TYPE_SPI, IRQ_TYPE_PPI):
        raise _Impossible(f"bits 27..24 are a type, 0 to 2, and not {kind}")
    wanted, known = ("an SPI", is_spi) if kind == IRQ_TYPE_SPI else ("a PPI", is_ppi)
    if not known(number):
        raise _Impossible(f"type {kind} is {wanted}, which {interrupt_text(number)} is not")
    if kind == IRQ_TYPE_SPI:
        return f"{interrupt_text(number)}" + (", with a vCPU that KVM does not look at" if vcpu else "")
    _below(vcpu, MOST_VCPUS, f"vCPU {vcpu} can't be: KVM takes ids below 512")
    layout = ", which needs KVM_CAP_ARM_IRQ_LINE_LAYOUT_2" if vcpu >= LAYOUT_2_SINCE_ID else ""
    return f"{interrupt_text(number)} of vCPU id {vcpu} (before 6.7 its index){layout}"


def _intid(value: int) -> str:
    _below(value, 1 << 24, "an INTID has at most 24 bits")
    told = interrupt_text(value)
    if SPI_END <= value < 8192:
        raise _Impossible(f"{told}: 1020 to 8191 name no interrupt that KVM has")
    if is_ppi(value) or is_spi(value):
        return f"{told}; as a GSIV in ACPI's MADT the same number"
    return f"{told}, which can't be a PMU's: that is a PPI or an SPI"


def _dt_interrupt(value: int) -> str:
    readings = []
    if value < SPI_BASE - PPI_BASE:
        readings.append(f"after 1: {interrupt_text(value + PPI_BASE)}")
    if value < SPI_END - SPI_BASE:
        readings.append(f"after 0: {interrupt_text(value + SPI_BASE)}")
    if not readings:
        raise _Impossible("PPIs are 0 to 15 there, SPIs 0 to 987")
    return "the second of three cells; " + ", ".join(readings)


def _dt_reg(value: int) -> str:
    if value >> 40 or value & 0xFF00_0000:
        raise _Impossible("the affinities are in bits 39..32 and 23..0, all others are zero")
    cells = "two cells" if value >> 32 else "one cell"
    return f"{_vcpu(value >> 32 << 24 | value & 0xFFFFFF)}; in {cells}"


READINGS: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("vCPU id", _vcpu_id),
    ("vCPU index", _vcpu_index),
    ("MPIDR_EL1", _register),
    ("compressed MPIDR", _compressed),
    ("attr of GICv3's REDIST_REGS", _redist_regs),
    ("attr of GICv3's CPU_SYSREGS", _cpu_sysregs),
    ("attr of GICv3's LEVEL_INFO", _level_info),
    ("attr of GICv2's DIST_REGS, CPU_REGS", _gicv2_regs),
    ("attr of the PMU device, by index", _pmu_by_index),
    ("attr of the PMU device, by MPIDR", _pmu_by_mpidr),
    ("KVM_IRQ_LINE word", _irq_line_word),
    ("INTID", _intid),
    ("device tree's interrupts cell", _dt_interrupt),
    ("device tree's reg of a CPU", _dt_reg),
)
"""Everything that a number may be: its name, and what reads it so, or says why it can't be."""


def readings(value: int) -> Iterator[Reading]:
    """Every reading of a number of at most 64 bits, in the order of READINGS."""
    for name, read in READINGS:
        yield _reading(name, read, value)


def _reading(name: str, read: Callable[[int], str], value: int) -> Reading:
    try:
        return Reading(name, read(value))
    except _Impossible as reason:
        return Reading(name, None, str(reason))


# What limits each name -----------------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """What a name of a vCPU can't say, how it shows, and who says so."""

    name: str
    holds: str
    bites: str
    source: str


MEASURED = "measured on 6.1, 6.12 and 7.2"

LIMITS = (
    Limit(
        "vCPU id",
        "32 bits in KVM_CREATE_VCPU, of which KVM takes 0 to 511; with GICv2, on a host that has no more, 0 to 7.",
        "Ids may be sparse, but ids and number of vCPUs have the one limit: id 512 is EINVAL, an id twice EEXIST.",
        MEASURED,
    ),
    Limit(
        "vCPU index",
        "The place in the order of creation. It is nobody's choice, and moves when a vCPU is made earlier.",
        "vmcfg makes vCPUs by ascending id, so that index and id are the same where ids have no gap. With ids 0 and 300"
        " vCPU 300 has index 1.",
        MEASURED,
    ),
    Limit(
        "KVM_IRQ_LINE word",
        "8 bits for the vCPU (23..16), 12 with KVM_CAP_ARM_IRQ_LINE_LAYOUT_2 (31..28 above them), beside 4 bits of type"
        " and 16 of INTID.",
        "256 vCPUs without the capability, 4096 with it. Since 6.7 it is the vCPU's id. Before, it is its index, and"
        " the id that KVM finds there is taken for an index again: with ids 0, 2 and 3, on 6.1 the word of 1 reaches"
        " vCPU 3, and those of 2 and 3 are EINVAL. Where ids have no gap all is one. An SPI's word names no vCPU.",
        MEASURED,
    ),
    Limit(
        "attr of GICv2's DIST_REGS and CPU_REGS",
        "8 bits for the vCPU, in bits 39..32.",
        "Enough for the 8 vCPUs of a GICv2. The document calls it vcpu_index, and mainline before 6.7 reads it so; all"
        " three kernels, 6.1.176 among them, take the id: with ids 1 and 3 they know 1 and 3.",
        MEASURED,
    ),
    Limit(
        "vcpu_index of --api pmu-device",
        "32 bits, 31..0 of the attribute's number; 63..32 are reserved.",
        "Names by the order of creation alone. A plan for it is right only if all vCPUs are made in vmcfg's order.",
        "the patch's document; no kernel has it",
    ),
    Limit(
        "compressed MPIDR: --api pmu-device-mpidr, and GICv3's REDIST_REGS, CPU_SYSREGS and LEVEL_INFO",
        "32 bits, 63..32 of the attribute's number: Aff3.Aff2.Aff1.Aff0, a byte each.",
        "U, MT and bit 31 have no room. The name is the MPIDR that the vCPU has at that time: after it is set by"
        " register the old one is EINVAL. Two vCPUs with one MPIDR have one name. A vCPU that is not initialised has"
        " none yet.",
        MEASURED,
    ),
    Limit(
        "--api vcpu",
        "No field: the file descriptor is the name.",
        "What holds for the whole VM (timers, host PMU, filters) has to be sent through some vCPU: vmcfg takes the one"
        " with the lowest id. A log of it needs the table of descriptors.",
        "Documentation/virt/kvm/devices/vcpu.rst",
    ),
    Limit(
        "MPIDR by its id",
        "Aff0 = id bits 3..0, Aff1 = id bits 11..4, Aff2 the rest; Aff3 = 0.",
        "512 ids give Aff0 0 to 15 and Aff1 0 to 31. Every other MPIDR is an override.",
        MEASURED,
    ),
    Limit(
        "MPIDR by override",
        "KVM_SET_ONE_REG on MPIDR_EL1, after KVM_ARM_VCPU_INIT.",
        "KVM looks at nothing: not at bit 31, not whether another vCPU has the same. Kernels before 6.10 put their own"
        " back at every reset of the vCPU, a second KVM_ARM_VCPU_INIT or the guest's PSCI CPU_ON (VMC701); later ones"
        " keep it.",
        f"linux commit e016333745c7; both resets {MEASURED}",
    ),
    Limit(
        "Aff3",
        "8 bits of MPIDR_EL1 (39..32) and of the compressed form.",
        "KVM keeps it and finds the vCPU by it, but GICR_TYPER's bits 63..56 stay 0 and GICD_IROUTER has no room for"
        " it: a guest with GICv3 can't match the vCPU with its redistributor (VMC307, and VMC309 without `gic`).",
        f"GICR_TYPER {MEASURED}; GICD_IROUTER read in linux 7.2, vgic-mmio-v3.c",
    ),
    Limit(
        "Aff0",
        "8 bits of the MPIDR, but 16 targets in ICC_SGI1R_EL1.",
        "KVM takes an MPIDR with Aff0 over 15, and SGIs of a guest with GICv3 go astray: the range selector is not"
        " looked at. With Aff0 8 and 200 in a VM, those for either reach 8 on 6.12 and 7.2, and 200 on 6.1 (VMC308, and"
        " VMC309 without `gic`).",
        MEASURED,
    ),
    Limit(
        "device tree's reg of a CPU",
        "24 bits in one cell, 32 in two.",
        "One cell has no room for Aff3. Monitors cut further: Firecracker and Cloud Hypervisor keep 23 bits, so that"
        " Aff2 over 127 is lost.",
        "bindings/arm/cpus.yaml, and those monitors' source",
    ),
)
"""What limits each way to name a vCPU, in the order of the page that shows them."""
