"""The limits of KVM/arm64 that no header file names."""

from __future__ import annotations

MOST_VCPUS = 512
"""KVM_MAX_VCPUS of arm64, which bounds ids and count alike (6.1, 6.12, 7.2)."""

GICV2_MOST_VCPUS = 8
"""VGIC_V2_MAX_CPUS: a GICv2's registers have a byte of CPU targets."""

NR_IRQS_LEAST = 64
NR_IRQS_GREATEST = 992
NR_IRQS_STEP = 32
"""What KVM takes, whatever its documents say of 1024 (measured on 6.1, 6.12, 7.2)."""

NR_IRQS_DEFAULT = 256
"""How many INTIDs a vGIC has that is not told (VGIC_NR_IRQS_LEGACY)."""

MOST_REGIONS = 256
"""The index of a redistributor region has 12 bits in the attribute and 8 in KVM
(vgic-kvm-device.c:kvm_vgic_addr).
"""

U32_GREATEST = (1 << 32) - 1

INTID_GREATEST = (1 << 31) - 1
"""KVM takes a PMU's or timer's INTID as a C int."""
