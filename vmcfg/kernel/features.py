"""The features of a vCPU: the bits of KVM_ARM_VCPU_INIT, and the words for them in descriptions."""

from __future__ import annotations

from vmcfg.kernel.version import LINUX_6_1, Version

VCPU_FEATURES = {
    "POWER_OFF": 0,
    "EL1_32BIT": 1,
    "PSCI_0_2": 2,
    "PMU_V3": 3,
    "SVE": 4,
    "PTRAUTH_ADDRESS": 5,
    "PTRAUTH_GENERIC": 6,
    "HAS_EL2": 7,
    "HAS_EL2_E2H0": 8,
    "PMU_V3_STRICT": 9,
}
"""The feature bits of KVM_ARM_VCPU_INIT that vmcfg sets, by name without KVM_ARM_VCPU_."""


class Feature:
    """The meaning of one word in `features`.

    `bits` are names of `VCPU_FEATURES`. A host supports the feature if it has all `capabilities`;
    kernels support it since `since`. `finalized` is the bit for KVM_ARM_VCPU_FINALIZE, and
    `enabled` is the capability for KVM_ENABLE_CAP on the VM, if any.
    """

    __slots__ = ("bits", "capabilities", "enabled", "finalized", "since", "word")

    def __init__(
        self,
        word: str,
        *,
        capabilities: tuple[str, ...],
        bits: tuple[str, ...] = (),
        since: Version = LINUX_6_1,
        finalized: str | None = None,
        enabled: str | None = None,
    ) -> None:
        self.word = word
        self.bits = bits
        self.capabilities = capabilities
        self.since = since
        self.finalized = finalized
        self.enabled = enabled


FEATURES = {
    each.word: each
    for each in (
        Feature(
            "sve",
            bits=("SVE",),
            capabilities=("KVM_CAP_ARM_SVE",),
            finalized="SVE",
        ),
        Feature(
            "ptrauth",
            bits=("PTRAUTH_ADDRESS", "PTRAUTH_GENERIC"),
            capabilities=("KVM_CAP_ARM_PTRAUTH_ADDRESS", "KVM_CAP_ARM_PTRAUTH_GENERIC"),
        ),
        # Merge kvmarm-6.16, "KVM: arm64: Allow userspace to request KVM_ARM_VCPU_EL2*";
        # KVM_CAP_ARM_EL2 is 0 on 6.12 and 1 on 7.3 (tested).
        Feature(
            "el2",
            bits=("HAS_EL2",),
            capabilities=("KVM_CAP_ARM_EL2",),
            since=(6, 16),
        ),
        Feature(
            "e2h0",
            bits=("HAS_EL2_E2H0",),
            capabilities=("KVM_CAP_ARM_EL2_E2H0",),
            since=(6, 16),
        ),
        Feature(
            "el1_32bit",
            bits=("EL1_32BIT",),
            capabilities=("KVM_CAP_ARM_EL1_32BIT",),
        ),
        Feature(
            "mte",
            capabilities=("KVM_CAP_ARM_MTE",),
            enabled="KVM_CAP_ARM_MTE",
        ),
    )
}
"""By the word in descriptions."""

STRICT_PMU = Feature(
    "pmu.strict",
    bits=("PMU_V3_STRICT",),
    capabilities=("KVM_CAP_ARM_PMU_V3_STRICT",),
    since=(7, 3),
)
"""The feature of the key `pmu.strict`: KVM chooses no host PMU (arm.c:kvm_setup_vcpu, Linux 7.3;
ENOENT on 7.2, tested).
"""
