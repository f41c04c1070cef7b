"""The features of a vCPU: the bits of KVM_ARM_VCPU_INIT, and the words for them in descriptions."""

from __future__ import annotations

from vmcfg.kernel.version import LINUX_6_1, Version

VCPU_FEATURES = {
    "POWER_OFF": 0,
    "PSCI_0_2": 2,
    "PMU_V3": 3,
    "SVE": 4,
    "PTRAUTH_ADDRESS": 5,
    "PTRAUTH_GENERIC": 6,
    "HAS_EL2": 7,
}
"""The feature bits of KVM_ARM_VCPU_INIT that vmcfg sets, by name without KVM_ARM_VCPU_."""


class Feature:
    """The meaning of one word in `features`.

    `bits` are names of `VCPU_FEATURES`. A host supports the feature if it has all `capabilities`;
    kernels support it since `since`. `finalized` is the bit for KVM_ARM_VCPU_FINALIZE, if any.
    """

    __slots__ = ("bits", "capabilities", "finalized", "since", "word")

    def __init__(
        self,
        word: str,
        *,
        bits: tuple[str, ...],
        capabilities: tuple[str, ...],
        since: Version = LINUX_6_1,
        finalized: str | None = None,
    ) -> None:
        self.word = word
        self.bits = bits
        self.capabilities = capabilities
        self.since = since
        self.finalized = finalized


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
        # KVM_CAP_ARM_EL2 is 0 on 6.12 and 1 on 7.2 (tested).
        Feature(
            "el2",
            bits=("HAS_EL2",),
            capabilities=("KVM_CAP_ARM_EL2",),
            since=(6, 16),
        ),
    )
}
"""By the word in descriptions."""
