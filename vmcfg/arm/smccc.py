"""SMCCC function ids (Arm DEN0028): their fields, and their names in <linux/psci.h> and
<linux/arm-smccc.h>.
"""

from __future__ import annotations

FUNCTIONS = {
    # The Arm architecture
    "ARM_SMCCC_VERSION_FUNC_ID": 0x8000_0000,
    "ARM_SMCCC_ARCH_FEATURES_FUNC_ID": 0x8000_0001,
    "ARM_SMCCC_ARCH_SOC_ID": 0x8000_0002,
    "ARM_SMCCC_ARCH_SOC_ID64": 0xC000_0002,
    "ARM_SMCCC_ARCH_WORKAROUND_3": 0x8000_3FFF,
    "ARM_SMCCC_ARCH_WORKAROUND_2": 0x8000_7FFF,
    "ARM_SMCCC_ARCH_WORKAROUND_1": 0x8000_8000,
    # PSCI (DEN0022)
    "PSCI_0_2_FN_PSCI_VERSION": 0x8400_0000,
    "PSCI_0_2_FN_CPU_SUSPEND": 0x8400_0001,
    "PSCI_0_2_FN_CPU_OFF": 0x8400_0002,
    "PSCI_0_2_FN_CPU_ON": 0x8400_0003,
    "PSCI_0_2_FN_AFFINITY_INFO": 0x8400_0004,
    "PSCI_0_2_FN_MIGRATE": 0x8400_0005,
    "PSCI_0_2_FN_MIGRATE_INFO_TYPE": 0x8400_0006,
    "PSCI_0_2_FN_MIGRATE_INFO_UP_CPU": 0x8400_0007,
    "PSCI_0_2_FN_SYSTEM_OFF": 0x8400_0008,
    "PSCI_0_2_FN_SYSTEM_RESET": 0x8400_0009,
    "PSCI_0_2_FN64_CPU_SUSPEND": 0xC400_0001,
    "PSCI_0_2_FN64_CPU_ON": 0xC400_0003,
    "PSCI_0_2_FN64_AFFINITY_INFO": 0xC400_0004,
    "PSCI_0_2_FN64_MIGRATE": 0xC400_0005,
    "PSCI_0_2_FN64_MIGRATE_INFO_UP_CPU": 0xC400_0007,
    "PSCI_1_0_FN_PSCI_FEATURES": 0x8400_000A,
    "PSCI_1_0_FN_CPU_FREEZE": 0x8400_000B,
    "PSCI_1_0_FN_CPU_DEFAULT_SUSPEND": 0x8400_000C,
    "PSCI_1_0_FN_NODE_HW_STATE": 0x8400_000D,
    "PSCI_1_0_FN_SYSTEM_SUSPEND": 0x8400_000E,
    "PSCI_1_0_FN_SET_SUSPEND_MODE": 0x8400_000F,
    "PSCI_1_0_FN_STAT_RESIDENCY": 0x8400_0010,
    "PSCI_1_0_FN_STAT_COUNT": 0x8400_0011,
    "PSCI_1_1_FN_SYSTEM_RESET2": 0x8400_0012,
    "PSCI_1_1_FN_MEM_PROTECT": 0x8400_0013,
    "PSCI_1_1_FN_MEM_PROTECT_CHECK_RANGE": 0x8400_0014,
    "PSCI_1_3_FN_SYSTEM_OFF2": 0x8400_0015,
    "PSCI_1_0_FN64_CPU_DEFAULT_SUSPEND": 0xC400_000C,
    "PSCI_1_0_FN64_NODE_HW_STATE": 0xC400_000D,
    "PSCI_1_0_FN64_SYSTEM_SUSPEND": 0xC400_000E,
    "PSCI_1_0_FN64_STAT_RESIDENCY": 0xC400_0010,
    "PSCI_1_0_FN64_STAT_COUNT": 0xC400_0011,
    "PSCI_1_1_FN64_SYSTEM_RESET2": 0xC400_0012,
    "PSCI_1_1_FN64_MEM_PROTECT_CHECK_RANGE": 0xC400_0014,
    "PSCI_1_3_FN64_SYSTEM_OFF2": 0xC400_0015,
    # Random numbers (DEN0098)
    "ARM_SMCCC_TRNG_VERSION": 0x8400_0050,
    "ARM_SMCCC_TRNG_FEATURES": 0x8400_0051,
    "ARM_SMCCC_TRNG_GET_UUID": 0x8400_0052,
    "ARM_SMCCC_TRNG_RND32": 0x8400_0053,
    "ARM_SMCCC_TRNG_RND64": 0xC400_0053,
    # Steal time (DEN0057)
    "ARM_SMCCC_HV_PV_TIME_FEATURES": 0xC500_0020,
    "ARM_SMCCC_HV_PV_TIME_ST": 0xC500_0021,
    # KVM
    "ARM_SMCCC_VENDOR_HYP_CALL_UID_FUNC_ID": 0x8600_FF01,
    "ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID": 0x8600_0000,
    "ARM_SMCCC_VENDOR_HYP_KVM_PTP_FUNC_ID": 0x8600_0001,
    "ARM_SMCCC_VENDOR_HYP_KVM_HYP_MEMINFO_FUNC_ID": 0xC600_0002,
    "ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID": 0xC600_0003,
    "ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID": 0xC600_0004,
    "ARM_SMCCC_VENDOR_HYP_KVM_MMIO_GUARD_FUNC_ID": 0xC600_0007,
    "ARM_SMCCC_VENDOR_HYP_KVM_DISCOVER_IMPL_VER_FUNC_ID": 0xC600_0040,
    "ARM_SMCCC_VENDOR_HYP_KVM_DISCOVER_IMPL_CPUS_FUNC_ID": 0xC600_0041,
}
"""The id of each function, by its name in Linux 7.2."""

FUNCTION_NAMES = {number: name for name, number in FUNCTIONS.items()}

FAST_CALL = 1 << 31

MUST_BE_ZERO = 0x00FE_0000
"""Bits [23:17] of the id of a fast call; bit 16 is a hint about SVE."""

_SERVICES = {
    0: "the Arm architecture",
    1: "CPUs",
    2: "the silicon provider",
    3: "the manufacturer",
    4: "standard secure services",
    5: "standard hypervisor services",
    6: "the hypervisor",
    **dict.fromkeys((48, 49), "trusted applications"),
    **dict.fromkeys(range(50, 64), "the trusted OS"),
}
"""Whose functions bits [29:24] of an id select."""


def function_text(id: int) -> str:
    """Return the id of a fast call in words: its name in Linux, if it has one, and its fields."""
    name = FUNCTION_NAMES.get(id)
    return fields_text(id) if name is None else f"{name}: {fields_text(id)}"


def fields_text(id: int) -> str:
    """Return the fields of the id of a fast call, in words."""
    service = _SERVICES.get(id >> 24 & 0x3F, "a reserved service")
    convention = "SMC64" if id >> 30 & 1 else "SMC32"
    return f"{convention} function {id & 0xFFFF:#x} of {service}"
