"""VMC84x: options of QEMU for which libvirt has no element.

Only `vmcfg emit --format libvirt` finds these, in addition to what QEMU itself decides otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding, Found
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Rule
from vmcfg.monitors.libvirt import RAM_STEP
from vmcfg.monitors.qemu import options_for, ram_slots
from vmcfg.monitors.rules import findings_for_qemu
from vmcfg.vm.machine import Machine

OPTION_UNSUPPORTED = Rule(
    "VMC840",
    "option-unsupported-by-libvirt",
    """Every option of QEMU that the description requires must have an element in libvirt.

    A domain cannot contain `its=off`, `kvm-steal-time=off`, `highmem=off`, or `aarch64=off`. QEMU
    then creates an ITS with every GICv3, and steal time if the host supports it. The size of the
    RAM is a multiple of 1 MiB: libvirt rounds it up.

    libvirt can add any option with `qemu:commandline`, but does not support the result. vmcfg does
    not write it.

    Source: domaincommon.rng; tested with `virsh domxml-to-native`, both of libvirt 9.0.""",
    found_by="emit",
)

RULES = (OPTION_UNSUPPORTED,)


def findings_for_libvirt(machine: Machine) -> Iterator[Found]:
    """Return what QEMU decides otherwise than `machine`, and what libvirt cannot express."""
    yield from findings_for_qemu(machine)
    for finding in _unsupported(machine):
        yield OPTION_UNSUPPORTED, finding


_QEMU_CAN = "or use '--format qemu'"


def _unsupported(machine: Machine) -> Iterator[Finding]:
    """Return a finding for each option of QEMU that a domain cannot contain."""
    options = options_for(machine)
    if options.its is False:
        message = "libvirt has no element that omits the ITS of a GICv3"
        yield Finding(("gic",), message, f"add 'its: 0x08080000' to 'gic', {_QEMU_CAN}", on="key")
    if options.steal_time is False and options.aarch64 is not False:
        message = "libvirt has no element that disables steal time, which QEMU enables"
        hint = (
            "add 'steal_time: 0x090a0000', and '{base: 0x090a0000, size: 64KiB}' to 'memory',"
            f" {_QEMU_CAN}"
        )
        yield Finding(("steal_time",), message, hint, label="'steal_time' is not written")
    if options.aarch64 is False:
        at: Path = ("features", machine.features.index("el1_32bit"))
        message = "libvirt has no element for a 32-bit EL1"
        yield Finding(at, message, f"remove 'el1_32bit', {_QEMU_CAN}")
    if not options.high.is_used:
        message = f"libvirt has no element for {machine.ipa_bits} address bits"
        yield Finding(("ipa_bits",), message, f"remove 'ipa_bits', {_QEMU_CAN}")
    if (options.memory or 0) % RAM_STEP:
        last = ram_slots(machine)[-1]
        message = f"libvirt rounds up the size of the RAM, {options.memory:#x} bytes, to 1 MiB"
        yield Finding(("memory", last, "size"), message, f"use a multiple of {RAM_STEP:#x}")
