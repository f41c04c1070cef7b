"""VMC9xx: the answers of a kernel to a plan. Only `vmcfg try` finds these."""

from __future__ import annotations

from vmcfg.findings.rule import Rule

REJECTED_COMMAND = Rule(
    "VMC901",
    "rejected-command",
    """The kernel must accept every command of the plan.

    The finding contains the command, its errno, and the meaning of the errno. It is reported at the
    value of the command.""",
    found_by="try",
)

FAILED_VCPU_RUN = Rule(
    "VMC902",
    "failed-vcpu-run",
    """Every vCPU must pass the checks of its first KVM_RUN.

    Only then KVM maps the frames of the GIC and claims the PPIs of timers and PMU. No guest
    instruction is executed: the vCPU is entered with `immediate_exit`.""",
    found_by="try",
)

READ_BACK_MISMATCH = Rule(
    "VMC903",
    "read-back-mismatch",
    """Every attribute and register that KVM can return must have the value that the plan set, and
    every vCPU must have its MPIDR.""",
    found_by="try",
)

WRONG_PREDICTION = Rule(
    "VMC904",
    "wrong-prediction",
    """If a description breaks a rule, the kernel must do what the rule predicts.

    Only `vmcfg try --unchecked` checks this. If the kernel does not, the kernel is right and vmcfg
    is wrong: please report it, with the description and the kernel version.""",
    found_by="try",
)

RULES = (REJECTED_COMMAND, FAILED_VCPU_RUN, READ_BACK_MISMATCH, WRONG_PREDICTION)

RUN_ERRORS = {
    "ENOEXEC": "the vCPU is not initialized",
    "EPERM": "a feature of the vCPU is not finalized",
    "ENXIO": "an address of the GIC or a redistributor for a vCPU is missing; the VM is unusable",
    "EBUSY": "the vGIC is not initialized; the VM is unusable",
    "EAGAIN": "the vCPU has EL2, but the vGIC is not initialized",
    "EEXIST": "the PMU uses the PPI of the GIC maintenance interrupt",
    "EINVAL": (
        "frames of the GIC overlap, timers or the PMU share a PPI, or the PMU is not initialized"
    ),
    "EIO": "the VM is unusable since an earlier failure",
}
"""The meaning of each errno at the first KVM_RUN of a vCPU (Linux 7.2,
arch/arm64/kvm/arm.c:kvm_arch_vcpu_run_pid_change).
"""
