"""Every identifier of a vCPU or its interrupt that a number can be, and why it cannot be others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vmcfg.arm.affinity import (
    GREATEST_AFF0,
    MPIDR_RES1,
    aff0,
    aff3,
    compressed_of_register,
    derived_id,
    mpidr_of_id,
    mpidr_text,
)
from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, SPI_END, interrupt_text, is_ppi, is_spi
from vmcfg.arm.smccc import FAST_CALL, MUST_BE_ZERO, function_text
from vmcfg.kernel.limits import GICV2_MOST_VCPUS, MOST_VCPUS
from vmcfg.kernel.registers import NotARegister, register_text
from vmcfg.vm.frames import V2_CPU_SIZE, V3_REDIST_SIZE
from vmcfg.vm.identifiers import IRQ_TYPE_PPI, IRQ_TYPE_SPI, LAYOUT_2_SINCE_ID, irq_line


class Reading(NamedTuple):
    """The `meaning` of a number as identifier `name`, or None with the `reason`."""

    name: str
    meaning: str | None
    reason: str | None = None

    @property
    def possible(self) -> bool:
        """Return whether the number can be this identifier."""
        return self.meaning is not None


class _Impossible(Exception):
    """The reason why a number cannot be an identifier."""


def _vcpu(compressed: int) -> str:
    """Return a compressed MPIDR in words, with the vCPU to which KVM assigns it."""
    told = f"MPIDR {mpidr_text(compressed)}"
    number = derived_id(compressed)
    if aff3(compressed):
        return (
            f"{told}: KVM assigns it to no id, and a guest with GICv3 cannot reach a vCPU with Aff3"
            f" {aff3(compressed)}"
        )
    if aff0(compressed) > GREATEST_AFF0:
        return (
            f"{told}: KVM assigns it to no id, and with GICv3, SGIs do not reach a vCPU with Aff0"
            f" above {GREATEST_AFF0}"
        )
    if number is None or number >= MOST_VCPUS:
        return f"{told}: KVM assigns it to no id, so it must be set by register"
    return f"{told}, which KVM assigns to vCPU id {number}"


def _attr_mpidr(value: int) -> str:
    return f"MPIDR {mpidr_text(value >> 32)}"


def _below(value: int, bound: int, why: str) -> None:
    if value >= bound:
        raise _Impossible(why)


def _vcpu_id(value: int) -> str:
    _below(value, MOST_VCPUS, "an id is at most 511")
    return f"the id of KVM_CREATE_VCPU, to which KVM assigns MPIDR {mpidr_text(mpidr_of_id(value))}"


def _vcpu_index(value: int) -> str:
    _below(value, MOST_VCPUS, "a VM has at most 512 vCPUs")
    return f"position {value} in the order of creation, from 0"


def _register(value: int) -> str:
    if value >> 40 or value & 0x3E00_0000:
        raise _Impossible("bits [63:40] and [29:25] are 0 in the register")
    if not value & MPIDR_RES1:
        raise _Impossible("bit 31 is 1 in the register")
    told = _vcpu(compressed_of_register(value))
    flags = [
        words
        for bit, words in ((1 << 30, "U: uniprocessor"), (1 << 24, "MT: Aff0 is a thread"))
        if value & bit
    ]
    return told + "".join(f"; {words}" for words in flags)


def _compressed(value: int) -> str:
    _below(value, 1 << 32, "it has 32 bits, one byte per affinity")
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
    **{0x10400 + 4 * n: f"GICR_IPRIORITYR{n}" for n in range(8)},
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
"""The registers of KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, by their encodings (Linux 7.2,
vgic-sys-reg-v3.c).
"""


def _redist_regs(value: int) -> str:
    offset = value & 0xFFFFFFFF
    _below(offset, V3_REDIST_SIZE, "the two frames of a redistributor end at offset 0x20000")
    if offset % 4:
        raise _Impossible("a register's offset is a multiple of 4")
    name = REDISTRIBUTOR_REGISTERS.get(offset)
    return f"{_attr_mpidr(value)}, offset {offset:#x}" + (f", {name}" if name else "")


def _cpu_sysregs(value: int) -> str:
    name = CPU_INTERFACE_REGISTERS.get(value & 0xFFFFFFFF)
    if name is None:
        raise _Impossible("bits [31:0] are not a register of the CPU interface")
    return f"{_attr_mpidr(value)}, {name}"


def _level_info(value: int) -> str:
    if value >> 10 & 0x3FFFFF:
        raise _Impossible("bits [31:10] are 0, which means line levels")
    first = value & 0x3FF
    if first % 32:
        raise _Impossible("bits [9:0] are the first of 32 INTIDs, a multiple of 32")
    return f"{_attr_mpidr(value)}, line levels of INTIDs {first} to {first + 31}"


def _gicv2_regs(value: int) -> str:
    _below(value, 1 << 40, "bits [63:40] are 0")
    _below(value >> 32, GICV2_MOST_VCPUS, "a GICv2 has at most 8 vCPUs")
    offset = value & 0xFFFFFFFF
    _below(
        offset,
        V2_CPU_SIZE,
        "the frames of a GICv2 end at offset 0x1000 (distributor) and 0x2000 (CPU interface)",
    )
    if offset % 4:
        raise _Impossible("a register's offset is a multiple of 4")
    return f"vCPU id {value >> 32} (in mainline before 6.7 its index), offset {offset:#x}"


def _pmu_by_index(value: int) -> str:
    _below(value, 1 << 32, "bits [63:32] are reserved")
    _below(value, MOST_VCPUS, "a VM has at most 512 vCPUs")
    return f"the PMU interrupt of vCPU index {value}, by --api pmu-device, which was never merged"


def _pmu_by_mpidr(value: int) -> str:
    if value & 0xFFFFFFFF:
        raise _Impossible("bits [31:0] are 0")
    return (
        f"the PMU interrupt of {_attr_mpidr(value)}, by --api pmu-device-mpidr, which was never"
        " merged"
    )


def _irq_line_word(value: int) -> str:
    _below(value, 1 << 32, "the word has 32 bits")
    kind, number = value >> 24 & 0xF, value & 0xFFFF
    vcpu = (value >> 28) << 8 | value >> 16 & 0xFF
    if kind == 0:
        if number > 1:
            raise _Impossible("type 0 is the line of a CPU: 0 for IRQ or 1 for FIQ")
        return (
            f"the {('IRQ', 'FIQ')[number]} line of vCPU id {vcpu} (before 6.7 its index), without"
            " an in-kernel GIC"
        )
    if kind not in (IRQ_TYPE_SPI, IRQ_TYPE_PPI):
        raise _Impossible(f"bits [27:24] are a type from 0 to 2, not {kind}")
    wanted, known = ("an SPI", is_spi) if kind == IRQ_TYPE_SPI else ("a PPI", is_ppi)
    if not known(number):
        raise _Impossible(f"type {kind} is {wanted}, which {interrupt_text(number)} is not")
    if kind == IRQ_TYPE_SPI:
        return f"{interrupt_text(number)}" + (", with a vCPU that KVM ignores" if vcpu else "")
    _below(vcpu, MOST_VCPUS, f"vCPU {vcpu} does not exist: an id is at most 511")
    layout = ", which requires KVM_CAP_ARM_IRQ_LINE_LAYOUT_2" if vcpu >= LAYOUT_2_SINCE_ID else ""
    return f"{interrupt_text(number)} of vCPU id {vcpu} (before 6.7 its index){layout}"


def _intid(value: int) -> str:
    _below(value, 1 << 24, "an INTID has at most 24 bits")
    told = interrupt_text(value)
    if SPI_END <= value < 8192:
        raise _Impossible(f"{told}: KVM has no interrupts from 1020 to 8191")
    if is_spi(value):
        return f"{told}; also its GSIV in the ACPI MADT; the gsi of KVM_IRQFD is {gsi(value)}"
    if is_ppi(value):
        return f"{told}; also its GSIV in the ACPI MADT"
    return f"{told}, which cannot be a PMU interrupt: that is a PPI or an SPI"


def _dt_interrupt(value: int) -> str:
    readings = []
    if value < SPI_BASE - PPI_BASE:
        readings.append(f"after 1: {interrupt_text(value + PPI_BASE)}")
    if value < SPI_END - SPI_BASE:
        readings.append(f"after 0: {interrupt_text(value + SPI_BASE)}")
    if not readings:
        raise _Impossible("PPIs are 0 to 15, SPIs are 0 to 987")
    return "the second of three cells: " + ", ".join(readings)


def _dt_reg(value: int) -> str:
    if value >> 40 or value & 0xFF00_0000:
        raise _Impossible("the affinities are in bits [39:32] and [23:0]; all others are 0")
    cells = "two cells" if value >> 32 else "one cell"
    return f"{_vcpu(compressed_of_register(value))}; in {cells}"


def gsi(spi: int) -> int:
    """Return the gsi of KVM_IRQFD for the INTID of an SPI, with the default routing of KVM."""
    return spi - SPI_BASE


NO_SUCH_GSI = "KVM_IRQFD reports no error if the VM has no such interrupt"
"""What KVM does with a gsi that the VM does not have. The irqfd then injects nothing
(eventfd.c:irqfd_update).
"""


def _gsi(value: int) -> str:
    _below(value, SPI_END - SPI_BASE, "a gsi is the number of an SPI, 0 to 987")
    intid = value + SPI_BASE
    return (
        f"{interrupt_text(intid)}, with the default routing; {NO_SUCH_GSI}; KVM_IRQ_LINE takes"
        f" {irq_line(intid, 0):#x}"
    )


def _one_reg(value: int) -> str:
    try:
        return register_text(value)
    except NotARegister as reason:
        raise _Impossible(str(reason)) from None


def _function_id(value: int) -> str:
    _below(value, 1 << 32, "an id has 32 bits")
    if not value & FAST_CALL or value & MUST_BE_ZERO:
        raise _Impossible("in the id of a fast call, bit 31 is 1 and bits [23:17] are 0")
    return function_text(value)


READINGS: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("vCPU id", _vcpu_id),
    ("vCPU index", _vcpu_index),
    ("MPIDR_EL1", _register),
    ("compressed MPIDR", _compressed),
    ("attr of GICv3 REDIST_REGS", _redist_regs),
    ("attr of GICv3 CPU_SYSREGS", _cpu_sysregs),
    ("attr of GICv3 LEVEL_INFO", _level_info),
    ("attr of GICv2 DIST_REGS, CPU_REGS", _gicv2_regs),
    ("attr of the PMU device, by index", _pmu_by_index),
    ("attr of the PMU device, by MPIDR", _pmu_by_mpidr),
    ("KVM_IRQ_LINE word", _irq_line_word),
    ("INTID", _intid),
    ("device tree interrupts cell", _dt_interrupt),
    ("device tree reg of a CPU", _dt_reg),
    ("gsi of KVM_IRQFD", _gsi),
    ("ONE_REG id", _one_reg),
    ("SMCCC function id", _function_id),
)
"""Every identifier that a number can be, with the function that reads it or says why it cannot."""


def reading(name: str, value: int) -> Reading:
    """Return the reading of a number as one identifier, by its name in READINGS."""
    return _reading(name, dict(READINGS)[name], value)


def readings(value: int) -> Iterator[Reading]:
    """Return every reading of a number of at most 64 bits, in the order of READINGS."""
    for name, read in READINGS:
        yield _reading(name, read, value)


def _reading(name: str, read: Callable[[int], str], value: int) -> Reading:
    try:
        return Reading(name, read(value))
    except _Impossible as reason:
        return Reading(name, None, str(reason))
