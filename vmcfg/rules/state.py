"""VMC858 and VMC859: what prevents a list of the state of a vGIC.

Only `vmcfg emit --scope state` finds these: for the VM itself the descriptions are complete.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding, Found
from vmcfg.findings.rule import Rule
from vmcfg.kernel.version import version_text
from vmcfg.plans.state import registers_of
from vmcfg.rules.host_kernel import newer_kernel_hint
from vmcfg.vm.machine import Machine

STATE_UNKNOWN = Rule(
    "VMC858",
    "gic-state-unknown",
    """The state of a vGIC has registers for each INTID, so their number must be known.

    Without `gic`, neither the version of the GIC nor its number of INTIDs is known. If the VMM sets
    up the GIC, it also sets this number, and every VMM sets another one: write that of yours. If
    the plan sets up the GIC, the number is `gic.nr_irqs`, or the default of KVM.

    Source: Documentation/virt/kvm/devices/arm-vgic-v3.rst, KVM_DEV_ARM_VGIC_GRP_NR_IRQS.""",
    found_by="emit",
)

STATE_INACCESSIBLE = Rule(
    "VMC859",
    "gic-state-needs-newer-kernel",
    """The oldest host kernel must have an attribute for every register of the vGIC.

    The registers of a vGIC for a hypervisor in the guest (`features: [el2]`) have attributes since
    Linux 6.17: on an older kernel, the state of the VM cannot be saved completely.

    Source: vgic-sys-reg-v3.c:gic_v3_icc_reg_descs, Linux 6.17.""",
    found_by="emit",
)

RULES = (STATE_UNKNOWN, STATE_INACCESSIBLE)


def findings_for_state(machine: Machine) -> Iterator[Found]:
    """Return what prevents saving and restoring the vGIC of `machine`."""
    gic = machine.gic
    if gic is None:
        message = "the state of a GIC depends on its version, and the description has no 'gic'"
        hint = (
            "add the GIC of the VMM, for example"
            " 'gic: {version: 3, set_up_by: monitor, nr_irqs: 288}', which is that of QEMU"
        )
        yield STATE_UNKNOWN, Finding(("gic",), message, hint, label="'gic' is not written")
        return
    if gic.nr_irqs is None and not machine.sets_up_gic():
        message = "the VMM sets up the GIC, and its number of INTIDs is unknown"
        hint = "add 'nr_irqs: N' to 'gic', with the number that the VMM sets"
        at = ("gic", "nr_irqs")
        yield STATE_UNKNOWN, Finding(at, message, hint, label="'nr_irqs' is not written")
    yield from _inaccessible(machine)


def _inaccessible(machine: Machine) -> Iterator[Found]:
    assert machine.gic is not None
    needed = max(row.since for row in registers_of(machine.gic.version) if row.applies(machine))
    if machine.host_kernel >= needed:
        return
    message = (
        "the registers of the GIC for a hypervisor in the guest have attributes since Linux"
        f" {version_text(needed)}, but the oldest host kernel is {machine.host_kernel_text()}"
    )
    hint = newer_kernel_hint(machine, needed)
    label = "gives the vCPUs EL2"
    at = ("features", machine.features.index("el2"))
    yield STATE_INACCESSIBLE, Finding(at, message, hint, label=label)
