"""VMC9xx: what a kernel said to a plan. `vmcfg try` finds these, by asking; no description breaks
them by itself.
"""

from __future__ import annotations

from vmcfg.findings.rule import Rule

COMMANDS_TAKEN = Rule(
    "VMC901",
    "kernel-takes-every-command",
    """The kernel takes every command of the plan.

    The finding has the command, its errno, and what that means there; it stands at the value that the command has.""",
    found_by="try",
)

VCPUS_RUN = Rule(
    "VMC902",
    "every-vcpu-can-run",
    """Every vCPU passes the checks of its first KVM_RUN.

    KVM maps the GIC's frames and deals out the PPIs of timers and PMU only then. No guest instruction is run: the vCPU
    is entered with `immediate_exit`.""",
    found_by="try",
)

VALUES_READ_BACK = Rule(
    "VMC903",
    "values-read-back-as-set",
    """Every attribute and register that can be read has the value that the plan set, every MPIDR the one described.""",
    found_by="try",
)

PREDICTIONS_HOLD = Rule(
    "VMC904",
    "predictions-hold",
    """The kernel does with a description that breaks a rule what the rule says that it does.

    Only `vmcfg try --unchecked` can see this. Where it does not hold, the kernel is right and vmcfg is wrong: please
    report it, with the description and the kernel's version.""",
    found_by="try",
)

RULES = (COMMANDS_TAKEN, VCPUS_RUN, VALUES_READ_BACK, PREDICTIONS_HOLD)

RUN_ERRORS = {
    "ENOEXEC": "the vCPU is not initialised",
    "EPERM": "a feature of the vCPU is not finalised",
    "ENXIO": "the GIC lacks an address, or has no redistributor for a vCPU; the VM is dead",
    "EBUSY": "the vGIC is not initialised; the VM is dead",
    "EAGAIN": "EL2 without an initialised vGIC",
    "EEXIST": "the PMU has the GIC's maintenance interrupt",
    "EINVAL": (
        "frames of the GIC overlap; or timers or the PMU share a PPI; or the PMU is not initialised"
    ),
    "EIO": "the VM is dead since an earlier failure",
}
"""What each errno means at a vCPU's first KVM_RUN (linux 7.2,
arch/arm64/kvm/arm.c:kvm_arch_vcpu_run_pid_change).
"""
