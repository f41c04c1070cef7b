"""The register ids of KVM_GET_ONE_REG and KVM_SET_ONE_REG on arm64, read by their fields.

Sources: Documentation/virt/kvm/api.rst 4.68 and <asm/kvm.h> of Linux 7.3; the names of system
registers are those of arch/arm64/tools/sysreg and <asm/sysreg.h>.
"""

from __future__ import annotations


class NotARegister(ValueError):
    """The reason why a number cannot be the id of a register."""


CORE, DEMUX, SYSTEM, FIRMWARE, SVE, BITMAPS = 0x10, 0x11, 0x13, 0x14, 0x15, 0x16
"""Bits [27:16] of an id: the kind of register."""

KINDS = {
    CORE: "core register",
    DEMUX: "cache size register",
    SYSTEM: "system register",
    FIRMWARE: "firmware pseudo-register",
    SVE: "SVE register",
    BITMAPS: "firmware pseudo-register with a bitmap of services",
}

CORE_REGISTERS = {
    **{2 * n: (f"X{n}", 64) for n in range(31)},
    0x3E: ("SP", 64),
    0x40: ("PC", 64),
    0x42: ("PSTATE", 64),
    0x44: ("SP_EL1", 64),
    0x46: ("ELR_EL1", 64),
    0x48: ("SPSR_EL1", 64),
    0x4A: ("SPSR_ABT", 64),
    0x4C: ("SPSR_UND", 64),
    0x4E: ("SPSR_IRQ", 64),
    0x50: ("SPSR_FIQ", 64),
    **{0x54 + 4 * n: (f"V{n}", 128) for n in range(32)},
    0xD4: ("FPSR", 32),
    0xD5: ("FPCR", 32),
}
"""The name and the number of bits of each core register, by its index in struct kvm_regs."""

FIRMWARE_REGISTERS = {
    0: "KVM_REG_ARM_PSCI_VERSION",
    1: "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1",
    2: "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2",
    3: "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3",
}

BITMAP_REGISTERS = {
    0: "KVM_REG_ARM_STD_BMAP",
    1: "KVM_REG_ARM_STD_HYP_BMAP",
    2: "KVM_REG_ARM_VENDOR_HYP_BMAP",
    3: "KVM_REG_ARM_VENDOR_HYP_BMAP_2",
}

SVE_VLS = 0xFFFF
"""Bits [15:0] of KVM_REG_ARM64_SVE_VLS, the vector lengths of a vCPU, of 512 bits."""

_FEATURE_IDS = {
    1: "ID_PFR0 ID_PFR1 ID_DFR0 ID_AFR0 ID_MMFR0 ID_MMFR1 ID_MMFR2 ID_MMFR3",
    2: "ID_ISAR0 ID_ISAR1 ID_ISAR2 ID_ISAR3 ID_ISAR4 ID_ISAR5 ID_MMFR4 ID_ISAR6",
    3: "MVFR0 MVFR1 MVFR2 - ID_PFR2 ID_DFR1 ID_MMFR5",
    4: "ID_AA64PFR0 ID_AA64PFR1 ID_AA64PFR2 - ID_AA64ZFR0 ID_AA64SMFR0 - ID_AA64FPFR0",
    5: "ID_AA64DFR0 ID_AA64DFR1 ID_AA64DFR2 - ID_AA64AFR0 ID_AA64AFR1",
    6: "ID_AA64ISAR0 ID_AA64ISAR1 ID_AA64ISAR2 ID_AA64ISAR3",
    7: "ID_AA64MMFR0 ID_AA64MMFR1 ID_AA64MMFR2 ID_AA64MMFR3 ID_AA64MMFR4",
}
"""The feature ID registers without _EL1, in the order of op2, by CRm; op0 is 3, op1 and CRn are 0.
"""

SYSTEM_REGISTERS = {
    (3, 0, 0, 0, 0): "MIDR_EL1",
    (3, 0, 0, 0, 5): "MPIDR_EL1",
    (3, 0, 0, 0, 6): "REVIDR_EL1",
    **{
        (3, 0, 0, crm, op2): f"{name}_EL1"
        for crm, names in _FEATURE_IDS.items()
        for op2, name in enumerate(names.split())
        if name != "-"
    },
    (3, 0, 1, 2, 0): "ZCR_EL1",
    (3, 1, 0, 0, 1): "CLIDR_EL1",
    (3, 1, 0, 0, 7): "AIDR_EL1",
    (3, 2, 0, 0, 0): "CSSELR_EL1",
    (3, 3, 0, 0, 1): "CTR_EL0",
    (3, 3, 9, 12, 0): "PMCR_EL0",
    (3, 0, 14, 1, 0): "CNTKCTL_EL1",
    (3, 3, 14, 0, 1): "KVM_REG_ARM_PTIMER_CNT (CNTPCT_EL0)",
    (3, 3, 14, 2, 1): "KVM_REG_ARM_PTIMER_CTL (CNTP_CTL_EL0)",
    (3, 3, 14, 2, 2): "KVM_REG_ARM_PTIMER_CVAL (CNTP_CVAL_EL0)",
    (3, 3, 14, 3, 1): "KVM_REG_ARM_TIMER_CTL (CNTV_CTL_EL0)",
    # The uapi has these two the wrong way around, and keeps them so.
    (3, 3, 14, 0, 2): "KVM_REG_ARM_TIMER_CVAL (CNTV_CVAL_EL0, with the encoding of CNTVCT_EL0)",
    (3, 3, 14, 3, 2): "KVM_REG_ARM_TIMER_CNT (CNTVCT_EL0, with the encoding of CNTV_CVAL_EL0)",
}
"""The system registers that VMMs use most, by op0, op1, CRn, CRm, and op2."""

_SIZES = {SYSTEM: 64, FIRMWARE: 64, BITMAPS: 64, DEMUX: 32}
"""The number of bits of all registers of a kind."""


def register_text(id: int) -> str:
    """Return the register with an id, in words. Raises `NotARegister`."""
    architecture = id >> 56
    if architecture != 0x60:
        raise NotARegister(f"bits [63:56] are 0x60 for arm64, not {architecture:#x}")
    if id >> 28 & 0xFFFFFF:
        raise NotARegister("bits [51:28] are 0")
    kind, number = id >> 16 & 0xFFF, id & 0xFFFF
    if kind not in KINDS:
        raise NotARegister(f"bits [27:16] are not a kind of register: {kind:#x}")
    bits = 8 << (id >> 52 & 0xF)
    name, size = _READ[kind](number)
    if size != bits:
        raise NotARegister(f"this {KINDS[kind]} has {size} bits, but bits [55:52] mean {bits}")
    return f"arm64 {KINDS[kind]}, {bits} bits: {name}"


def named_registers() -> dict[str, int]:
    """Return the id of every register that has a name here."""
    found = {name: _id(CORE, bits, number) for number, (name, bits) in CORE_REGISTERS.items()}
    for encoding, name in SYSTEM_REGISTERS.items():
        op0, op1, crn, crm, op2 = encoding
        number = op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
        # A name of the uapi is followed by that of the architecture.
        found[name.partition(" ")[0]] = _id(SYSTEM, 64, number)
    for kind, names in ((FIRMWARE, FIRMWARE_REGISTERS), (BITMAPS, BITMAP_REGISTERS)):
        found.update({name: _id(kind, 64, number) for number, name in names.items()})
    found["KVM_REG_ARM64_SVE_VLS"] = _id(SVE, 512, SVE_VLS)
    return found


def feature_id_index(id: int) -> int | None:
    """Return the index of a register in `Vm.writable_masks`; None if it has no mask there.

    Source: KVM_ARM_FEATURE_ID_RANGE_IDX in <asm/kvm.h>.
    """
    if id >> 16 & 0xFFF != SYSTEM:
        return None
    op0, op1, crn, crm, op2 = _encoding(id & 0xFFFF)
    if op0 != 3 or crn != 0 or crm > 7 or op1 not in (0, 1, 3):
        return None
    return min(op1, 2) << 6 | crm << 3 | op2


def _encoding(number: int) -> tuple[int, int, int, int, int]:
    """Return op0, op1, CRn, CRm, and op2 of a system register, from bits [15:0] of its id."""
    return number >> 14, number >> 11 & 7, number >> 7 & 15, number >> 3 & 15, number & 7


def _id(kind: int, bits: int, number: int) -> int:
    size = (bits // 8).bit_length() - 1
    return 0x60 << 56 | size << 52 | kind << 16 | number


def _core(number: int) -> tuple[str, int]:
    if number not in CORE_REGISTERS:
        raise NotARegister(f"no core register begins at word {number:#x} of struct kvm_regs")
    return CORE_REGISTERS[number]


def _demux(number: int) -> tuple[str, int]:
    if number >> 8:
        raise NotARegister("bits [15:8] are 0, which means CCSIDR_EL1")
    return f"CCSIDR_EL1 for CSSELR_EL1 {number:#x}", _SIZES[DEMUX]


def _system(number: int) -> tuple[str, int]:
    encoding = op0, op1, crn, crm, op2 = _encoding(number)
    words = f"op0 {op0}, op1 {op1}, CRn {crn}, CRm {crm}, op2 {op2}"
    name = SYSTEM_REGISTERS.get(encoding)
    return (words if name is None else f"{name}; {words}"), _SIZES[SYSTEM]


def _firmware(number: int) -> tuple[str, int]:
    name = FIRMWARE_REGISTERS.get(number, f"number {number:#x}, unknown to Linux 7.3")
    return name, _SIZES[FIRMWARE]


def _bitmaps(number: int) -> tuple[str, int]:
    name = BITMAP_REGISTERS.get(number, f"number {number:#x}, unknown to Linux 7.3")
    return name, _SIZES[BITMAPS]


def _sve(number: int) -> tuple[str, int]:
    if number == SVE_VLS:
        return "KVM_REG_ARM64_SVE_VLS, the vector lengths", 512
    part = f", part {number & 31}" if number & 31 else ""
    if number < 0x400:
        return f"Z{number >> 5}{part}", 2048
    if number < 0x600:
        return f"P{number >> 5 & 15}{part}", 256
    if number < 0x620:
        return f"FFR{part}", 256
    raise NotARegister(f"no SVE register has number {number:#x}")


_READ = {
    CORE: _core,
    DEMUX: _demux,
    SYSTEM: _system,
    FIRMWARE: _firmware,
    BITMAPS: _bitmaps,
    SVE: _sve,
}
"""How bits [15:0] of an id are read, by the kind of register: the name and the number of bits."""
