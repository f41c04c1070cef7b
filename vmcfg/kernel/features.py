"""The features of a vCPU: KVM's bits for KVM_ARM_VCPU_INIT, and the words by which a description
asks for them.
"""

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
"""The feature bits of KVM_ARM_VCPU_INIT that vmcfg sets, by their names without KVM_ARM_VCPU_."""


class Feature:
    """What one word of `features` stands for.

    `bits` are names of `VCPU_FEATURES`, `capabilities` those that say that a host has it, `since`
    the first release that does. `finalized` is the bit that KVM_ARM_VCPU_FINALIZE must be told,
    where there is one.
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
        # KVM_CAP_ARM_EL2 is 0 on 6.12 and 1 on 7.2 (measured).
        Feature(
            "el2",
            bits=("HAS_EL2",),
            capabilities=("KVM_CAP_ARM_EL2",),
            since=(6, 16),
        ),
    )
}
"""By the word that a description uses."""
