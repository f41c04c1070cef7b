"""The registers of vCPUs that a description can set with KVM_SET_ONE_REG, by name.

Ids are encoded as in Documentation/virt/kvm/api.rst 4.68.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.kernel.abi import Register
from vmcfg.kernel.version import LINUX_6_1, Version

SYSTEM_REGISTER = 0x6030_0000_0013_0000
"""KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG."""

FIRMWARE_REGISTER = 0x6030_0000_0014_0000
"""KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_FW."""

FIRMWARE_BITMAP = 0x6030_0000_0016_0000
"""KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_FW_FEAT_BMAP."""


def system_register(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """Return the id of a system register (ARM64_SYS_REG)."""
    return SYSTEM_REGISTER | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


class SettableRegister(Register):
    """A register for the key `registers`.

    Kernels accept another value than that of the host since `since`. The register belongs to the
    whole VM, except with `per_vcpu`. `capability` must be enabled on the VM, if it is not None.
    `values` has the kernels by allowed value if there are only a few, and `bits` are the only bits
    that can be set; None if the host decides.
    """

    __slots__ = ("bits", "capability", "per_vcpu", "since", "values")

    def __init__(
        self,
        name: str,
        id: int,
        *,
        since: Version = LINUX_6_1,
        per_vcpu: bool = False,
        capability: str | None = None,
        values: dict[int, Version] | None = None,
        bits: int | None = None,
    ) -> None:
        super().__init__(name, id)
        self.since = since
        self.per_vcpu = per_vcpu
        self.capability = capability
        self.values = values
        self.bits = bits

    @property
    def is_firmware(self) -> bool:
        """Return whether it is a register of the firmware that KVM emulates (PSCI, SMCCC)."""
        return self.name.startswith("KVM_REG_")

    @property
    def is_kept(self) -> bool:
        # KVM only compares the value of a workaround with what the host needs.
        return "WORKAROUND" not in self.name


_WRITABLE_IDS = (6, 7)
"""Merge kvmarm-6.7, "KVM: arm64: Allow userspace to change ID registers"."""

_ID_REGISTERS: tuple[tuple[str, int, int, Version], ...] = (
    ("ID_PFR0_EL1", 1, 0, _WRITABLE_IDS),
    ("ID_PFR1_EL1", 1, 1, _WRITABLE_IDS),
    ("ID_DFR0_EL1", 1, 2, _WRITABLE_IDS),
    ("ID_MMFR0_EL1", 1, 4, _WRITABLE_IDS),
    ("ID_MMFR1_EL1", 1, 5, _WRITABLE_IDS),
    ("ID_MMFR2_EL1", 1, 6, _WRITABLE_IDS),
    ("ID_MMFR3_EL1", 1, 7, _WRITABLE_IDS),
    ("ID_ISAR0_EL1", 2, 0, _WRITABLE_IDS),
    ("ID_ISAR1_EL1", 2, 1, _WRITABLE_IDS),
    ("ID_ISAR2_EL1", 2, 2, _WRITABLE_IDS),
    ("ID_ISAR3_EL1", 2, 3, _WRITABLE_IDS),
    ("ID_ISAR4_EL1", 2, 4, _WRITABLE_IDS),
    ("ID_ISAR5_EL1", 2, 5, _WRITABLE_IDS),
    ("ID_MMFR4_EL1", 2, 6, _WRITABLE_IDS),
    ("ID_ISAR6_EL1", 2, 7, _WRITABLE_IDS),
    ("MVFR0_EL1", 3, 0, _WRITABLE_IDS),
    ("MVFR1_EL1", 3, 1, _WRITABLE_IDS),
    ("MVFR2_EL1", 3, 2, _WRITABLE_IDS),
    ("ID_PFR2_EL1", 3, 4, _WRITABLE_IDS),
    ("ID_MMFR5_EL1", 3, 6, _WRITABLE_IDS),
    ("ID_AA64PFR0_EL1", 4, 0, _WRITABLE_IDS),
    ("ID_AA64PFR1_EL1", 4, 1, (6, 12)),
    ("ID_AA64PFR2_EL1", 4, 2, (6, 12)),
    ("ID_AA64ZFR0_EL1", 4, 4, _WRITABLE_IDS),
    ("ID_AA64FPFR0_EL1", 4, 7, (6, 12)),
    ("ID_AA64DFR0_EL1", 5, 0, _WRITABLE_IDS),
    ("ID_AA64ISAR0_EL1", 6, 0, _WRITABLE_IDS),
    ("ID_AA64ISAR1_EL1", 6, 1, _WRITABLE_IDS),
    ("ID_AA64ISAR2_EL1", 6, 2, _WRITABLE_IDS),
    ("ID_AA64ISAR3_EL1", 6, 3, (6, 16)),
    ("ID_AA64MMFR0_EL1", 7, 0, _WRITABLE_IDS),
    ("ID_AA64MMFR1_EL1", 7, 1, _WRITABLE_IDS),
    ("ID_AA64MMFR2_EL1", 7, 2, _WRITABLE_IDS),
    ("ID_AA64MMFR3_EL1", 7, 3, (6, 12)),
    ("ID_AA64MMFR4_EL1", 7, 4, (6, 16)),
)
"""The ID registers S3_0_C0_C<crm>_<op2> that KVM lets a VMM change: name, crm, op2, since.

KVM_ARM_GET_REG_WRITABLE_MASKS has them on 6.12 (35 registers with the next table) and 7.3 (tested).
"""

_IMPLEMENTATION = "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"


def _settable() -> Iterator[SettableRegister]:
    for name, crm, op2, since in _ID_REGISTERS:
        yield SettableRegister(name, system_register(3, 0, 0, crm, op2), since=since)
    yield SettableRegister("CTR_EL0", system_register(3, 3, 0, 0, 1), since=(6, 12))
    yield SettableRegister("CLIDR_EL1", system_register(3, 1, 0, 0, 1), since=(6, 3), per_vcpu=True)
    for name, op1, op2 in (("MIDR_EL1", 0, 0), ("REVIDR_EL1", 0, 6), ("AIDR_EL1", 1, 7)):
        yield SettableRegister(
            name,
            system_register(3, op1, 0, 0, op2),
            since=(6, 15),
            capability=_IMPLEMENTATION,
        )
    yield SettableRegister(
        "KVM_REG_ARM_PSCI_VERSION",
        FIRMWARE_REGISTER,
        values={
            0x2: LINUX_6_1,
            0x10000: LINUX_6_1,
            0x10001: LINUX_6_1,
            0x10002: (6, 13),
            0x10003: (6, 13),
        },
    )
    for number in (1, 2, 3):
        name = f"KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_{number}"
        yield SettableRegister(name, FIRMWARE_REGISTER + number)
    yield SettableRegister("KVM_REG_ARM_STD_BMAP", FIRMWARE_BITMAP, bits=0x1)
    yield SettableRegister("KVM_REG_ARM_STD_HYP_BMAP", FIRMWARE_BITMAP + 1, bits=0x1)
    yield SettableRegister("KVM_REG_ARM_VENDOR_HYP_BMAP", FIRMWARE_BITMAP + 2, bits=0x3)
    yield SettableRegister(
        "KVM_REG_ARM_VENDOR_HYP_BMAP_2", FIRMWARE_BITMAP + 3, bits=0x3, since=(6, 15)
    )


SETTABLE = {register.name: register for register in _settable()}
"""The registers for the key `registers`, by name.

The firmware registers and their values: hypercalls.c:kvm_arm_set_fw_reg; tested on 6.1 to 7.3.
"""
