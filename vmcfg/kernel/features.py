"""TODO."""

from __future__ import annotations

VCPU_FEATURES = {
    "POWER_OFF": 0,
    "PSCI_0_2": 2,
    "PMU_V3": 3,
    "SVE": 4,
    "PTRAUTH_ADDRESS": 5,
    "PTRAUTH_GENERIC": 6,
    "HAS_EL2": 7,
}
"""The feature bits of KVM_ARM_VCPU_INIT that vmcfg sets, by their names without KVM_ARM_VCPU_."""
