"""VMC85x: what the guest's side needs and a description leaves out.

Only `vmcfg emit` with a format for the guest finds these: for KVM the descriptions are complete.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding, Found
from vmcfg.findings.rule import Rule
from vmcfg.vm.machine import Machine

ADDRESS_UNKNOWN_TO_GUEST = Rule(
    "VMC850",
    "gic-address-unknown-to-guest",
    """The guest must know the addresses of its interrupt controller.

    A device tree and an ACPI table contain the addresses of the distributor, and of the
    redistributors (GICv3) or of the CPU interface (GICv2). If the VMM sets up the GIC, the plan
    does not need these, but the guest does: write those of the VMM.

    Source: the bindings arm,gic and arm,gic-v3 of Linux 7.2; ACPI 6.5, section 5.2.12.""",
    found_by="emit",
)

RULES = (ADDRESS_UNKNOWN_TO_GUEST,)

_QEMU_V2 = {"distributor": "0x08000000", "cpu_interface": "0x08010000"}
_QEMU_V3 = {"distributor": "0x08000000", "redistributors": "0x080a0000"}
"""The required addresses by key, each with that of QEMU as an example."""


def findings_for_guest(machine: Machine) -> Iterator[Found]:
    """Return what prevents a device tree or ACPI tables of `machine`."""
    for finding in _unknown_addresses(machine):
        yield ADDRESS_UNKNOWN_TO_GUEST, finding


def _unknown_addresses(machine: Machine) -> Iterator[Finding]:
    gic = machine.gic
    if gic is None:
        message = "a guest must know its interrupt controller, and the description has no 'gic'"
        keys = ", ".join(f"{key}: {example}" for key, example in _QEMU_V3.items())
        hint = (
            "add the GIC of the VMM, for example"
            f" 'gic: {{version: 3, set_up_by: monitor, {keys}}}', which is that of QEMU"
        )
        yield Finding(("gic",), message, hint, label="'gic' is not written")
        return
    of_qemu = _QEMU_V2 if gic.version == 2 else _QEMU_V3
    missing = [key for key in of_qemu if getattr(gic, key) in (None, ())]
    if missing:
        what = " and ".join(_NAMES[key] for key in missing)
        verb = "is" if missing in (["distributor"], ["cpu_interface"]) else "are"
        message = f"a guest must know where {what} {verb}, and 'gic' does not contain that"
        keys = " and ".join(f"'{key}: {of_qemu[key]}'" for key in missing)
        hint = f"add the addresses that the VMM uses; those of QEMU are {keys}"
        label = f"no '{missing[0]}'" if len(missing) == 1 else "no addresses"
        yield Finding(("gic", missing[0]), message, hint, label=label)


_NAMES = {
    "distributor": "the distributor",
    "redistributors": "the redistributors",
    "cpu_interface": "the CPU interface",
}
