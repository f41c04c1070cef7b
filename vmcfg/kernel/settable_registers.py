"""The registers that a description can set with KVM_SET_ONE_REG, and what each of them requires."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.kernel.abi import Register
from vmcfg.kernel.registers import named_registers
from vmcfg.kernel.version import LINUX_6_1, Version


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

_ID_REGISTERS: dict[str, Version] = {
    "ID_PFR0_EL1": _WRITABLE_IDS,
    "ID_PFR1_EL1": _WRITABLE_IDS,
    "ID_DFR0_EL1": _WRITABLE_IDS,
    "ID_MMFR0_EL1": _WRITABLE_IDS,
    "ID_MMFR1_EL1": _WRITABLE_IDS,
    "ID_MMFR2_EL1": _WRITABLE_IDS,
    "ID_MMFR3_EL1": _WRITABLE_IDS,
    "ID_ISAR0_EL1": _WRITABLE_IDS,
    "ID_ISAR1_EL1": _WRITABLE_IDS,
    "ID_ISAR2_EL1": _WRITABLE_IDS,
    "ID_ISAR3_EL1": _WRITABLE_IDS,
    "ID_ISAR4_EL1": _WRITABLE_IDS,
    "ID_ISAR5_EL1": _WRITABLE_IDS,
    "ID_MMFR4_EL1": _WRITABLE_IDS,
    "ID_ISAR6_EL1": _WRITABLE_IDS,
    "MVFR0_EL1": _WRITABLE_IDS,
    "MVFR1_EL1": _WRITABLE_IDS,
    "MVFR2_EL1": _WRITABLE_IDS,
    "ID_PFR2_EL1": _WRITABLE_IDS,
    "ID_MMFR5_EL1": _WRITABLE_IDS,
    "ID_AA64PFR0_EL1": _WRITABLE_IDS,
    "ID_AA64PFR1_EL1": (6, 12),
    "ID_AA64PFR2_EL1": (6, 12),
    "ID_AA64ZFR0_EL1": _WRITABLE_IDS,
    "ID_AA64FPFR0_EL1": (6, 12),
    "ID_AA64DFR0_EL1": _WRITABLE_IDS,
    "ID_AA64ISAR0_EL1": _WRITABLE_IDS,
    "ID_AA64ISAR1_EL1": _WRITABLE_IDS,
    "ID_AA64ISAR2_EL1": _WRITABLE_IDS,
    "ID_AA64ISAR3_EL1": (6, 16),
    "ID_AA64MMFR0_EL1": _WRITABLE_IDS,
    "ID_AA64MMFR1_EL1": _WRITABLE_IDS,
    "ID_AA64MMFR2_EL1": _WRITABLE_IDS,
    "ID_AA64MMFR3_EL1": (6, 12),
    "ID_AA64MMFR4_EL1": (6, 16),
    "CTR_EL0": (6, 12),
}
"""The ID registers of the VM that a VMM can change, with the first kernel that allows it.

KVM_ARM_GET_REG_WRITABLE_MASKS has all of them on 7.3, and those since 6.12 on 6.12 (tested).
"""

_IMPLEMENTATION = dict.fromkeys(("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1"), (6, 15))

_PSCI_VERSIONS: dict[int, Version] = {
    0x2: LINUX_6_1,
    0x10000: LINUX_6_1,
    0x10001: LINUX_6_1,
    0x10002: (6, 13),
    0x10003: (6, 13),
}

_SERVICES = {
    "KVM_REG_ARM_STD_BMAP": 0x1,
    "KVM_REG_ARM_STD_HYP_BMAP": 0x1,
    "KVM_REG_ARM_VENDOR_HYP_BMAP": 0x3,
    "KVM_REG_ARM_VENDOR_HYP_BMAP_2": 0x3,
}
"""The bits of each bitmap of services in the uapi."""


def _settable() -> Iterator[SettableRegister]:
    ids = named_registers()
    for name, since in _ID_REGISTERS.items():
        yield SettableRegister(name, ids[name], since=since)
    yield SettableRegister("CLIDR_EL1", ids["CLIDR_EL1"], since=(6, 3), per_vcpu=True)
    for name, since in _IMPLEMENTATION.items():
        capability = "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"
        yield SettableRegister(name, ids[name], since=since, capability=capability)
    psci = "KVM_REG_ARM_PSCI_VERSION"
    yield SettableRegister(psci, ids[psci], values=_PSCI_VERSIONS)
    for number in (1, 2, 3):
        name = f"KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_{number}"
        yield SettableRegister(name, ids[name])
    for name, bits in _SERVICES.items():
        since = (6, 15) if name == "KVM_REG_ARM_VENDOR_HYP_BMAP_2" else LINUX_6_1
        yield SettableRegister(name, ids[name], since=since, bits=bits)


SETTABLE = {register.name: register for register in _settable()}
"""The registers for the key `registers`, by name.

The firmware registers and their values: hypercalls.c:kvm_arm_set_fw_reg; tested on 6.1 to 7.3.
"""
