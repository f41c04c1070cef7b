"""TODO."""

from __future__ import annotations

GICV2_MOST_VCPUS = 8

MOST_VCPUS = 512
"""KVM_MAX_VCPUS of arm64, which bounds ids and count alike (6.1, 6.12, 7.2)."""

MOST_REGIONS = 256

U32_GREATEST = (1 << 32) - 1

INTID_GREATEST = (1 << 31) - 1
"""KVM takes a PMU's or timer's INTID as a C int."""
