"""The limits of KVM/arm64 that are in no header file of its uapi."""

from __future__ import annotations

# vCPUs ---------------------------------------------------------------------------------------

MOST_VCPUS = 512
"""KVM_MAX_VCPUS of arm64, the limit of ids and of their number (6.1, 6.12, 7.2)."""

GICV2_MOST_VCPUS = 8
"""VGIC_V2_MAX_CPUS: the registers of a GICv2 have one byte of CPU targets."""

# Memory --------------------------------------------------------------------------------------

IPA_BITS_LEAST = 32
IPA_BITS_GREATEST = 52
IPA_BITS_DEFAULT = 40
"""The number of bits of guest-physical addresses (mmu.c:kvm_init_ipa_range); the default is that of
KVM_CREATE_VM with 0 (KVM_PHYS_SHIFT).
"""

PAGE_SIZES = (0x1000, 0x4000, 0x10000)
"""The page sizes of arm64 hosts. Memory slots must be multiples of the page size
(kvm_main.c:kvm_set_memory_region).
"""

LEAST_PAGE_SIZE, _, GREATEST_PAGE_SIZE = PAGE_SIZES

MOST_MEMORY_SLOTS = 32767
"""KVM_USER_MEM_SLOTS, which KVM_CAP_NR_MEMSLOTS returns (6.1, 6.12, 7.2)."""

MOST_PAGES_OF_SLOT = (1 << 31) - 1
"""KVM_MEM_MAX_NR_PAGES: the maximum number of pages of a slot (kvm_main.c:kvm_set_memory_region).
"""

# The GIC -------------------------------------------------------------------------------------

NR_IRQS_LEAST = 64
NR_IRQS_GREATEST = 992
NR_IRQS_STEP = 32
"""The range of KVM; the kernel documentation allows up to 1024 (vgic-kvm-device.c:
vgic_set_common_attr; tested on 6.1 to 7.3).
"""

NR_IRQS_DEFAULT = 256
"""The default number of INTIDs of a vGIC (VGIC_NR_IRQS_LEGACY)."""

MOST_REGIONS = 256
"""The index of a redistributor region has 12 bits in the attribute and 8 in KVM
(vgic-kvm-device.c:kvm_vgic_addr).
"""

REGION_COUNT_LEAST = 1
REGION_COUNT_GREATEST = 4095
"""The number of redistributors in a region: 12 bits of the attribute
(vgic-mmio-v3.c:vgic_v3_alloc_redist_region).
"""

MMIO_RANGES = 1000
"""NR_IOBUS_DEVS: the maximum number of MMIO ranges of a VM. Each redistributor, each ITS, and the
distributor of a GICv3 is one (kvm_main.c:kvm_io_bus_register_dev; tested on 7.2).
"""

# The PMU -------------------------------------------------------------------------------------

COUNTERS_GREATEST = 31
"""The maximum of PMCR_EL0.N (pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters)."""

EVENT_GREATEST = 0xFFFF
"""The last event of PMUv3; with PMUv3.0 it is 0x3ff (pmu-emul.c:kvm_arm_pmu_v3_set_attr)."""

NEVER_FILTERED = {0x0: "SW_INCR", 0x1E: "CHAIN"}
"""The events that KVM emulates itself, so that the event filter does not apply to them
(pmu-emul.c:kvm_pmu_set_counter_event_type).
"""

# SVE -----------------------------------------------------------------------------------------

VECTOR_LENGTH_STEP = 128
VECTOR_LENGTH_GREATEST = 128 * 512
"""Vector lengths are multiples of 128 bits; KVM_REG_ARM64_SVE_VLS has 512 of them."""


def is_vector_length(bits: int) -> bool:
    """Return whether KVM_REG_ARM64_SVE_VLS has a bit for a vector length."""
    return bits % VECTOR_LENGTH_STEP == 0 and 0 < bits <= VECTOR_LENGTH_GREATEST


# The SMCCC filter ----------------------------------------------------------------------------

SMCCC_RESERVED = (
    range(0x8000_0000, 0x8001_0000),
    range(0xC000_0000, 0xC001_0000),
)
"""The Arm architecture calls, SMC32 and SMC64, which are reserved for KVM
(hypercalls.c:init_smccc_filter).
"""

STEAL_TIME_CALLS = {0xC500_0020: "PV_TIME_FEATURES", 0xC500_0021: "PV_TIME_ST"}
"""The SMCCC calls with which a guest finds its steal time (DEN0057)."""

CPU_ON = 0xC400_0003
"""PSCI CPU_ON of a 64-bit guest (DEN0022)."""

# Widths --------------------------------------------------------------------------------------

U32_GREATEST = (1 << 32) - 1

INTID_GREATEST = (1 << 31) - 1
"""KVM reads the INTID of a PMU or a timer as a C int."""
