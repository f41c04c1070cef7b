"""VMC4xx: the monitor's own devices. The hundred is that of `gic`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import GREATEST_SPI, SPI_BASE, interrupt_text, is_spi
from vmcfg.description.model import Device
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine


@machine_rule("VMC413", None)
def device_irqs_are_spis(machine: Machine) -> Iterator[Finding]:
    """A device of the monitor interrupts by an SPI that the GIC has."""
    limit = machine.nr_irqs()
    for index, device in enumerate(machine.devices):
        at = ("devices", index, "irq")
        intid = intid_of(device.irq)
        if not is_spi(intid):
            yield _not_an_spi(device, at)
        elif intid >= limit:
            message = (
                f"the device {device.name} has {interrupt_text(intid)},"
                f" but the GIC has {limit} INTIDs"
            )
            yield Finding(at, message, hint=f"the last SPI is {interrupt_text(limit - 1)}")


def _not_an_spi(device: Device, at: Path) -> Finding:
    """The finding that the interrupt of a device is no SPI."""
    written = device.irq
    intid = intid_of(written)
    number = written.first if isinstance(written, IrqRange) else written
    hint: str | None = None
    if isinstance(written, IrqRange) and written.prefix == "spi":
        message = (
            f"the device {device.name} has spi:{number}, but an SPI's number is 0 to {GREATEST_SPI}"
        )
        if is_spi(number):
            spi = number - SPI_BASE
            hint = f"SPI {spi} is INTID {number}: write spi:{spi}"
    else:
        message = f"the device {device.name} has {interrupt_text(intid)}, but it must be an SPI"
        if intid < SPI_BASE:
            hint = f"SPI {number} is INTID {number + SPI_BASE}, or spi:{number}"
    return Finding(at, message, hint=hint)


@machine_rule("VMC414", None, WARNING)
def device_names_distinct(machine: Machine) -> Iterator[Finding]:
    """Each device of the monitor has a name of its own. Two of them may share an SPI, as PCI's lines do."""
    first: dict[str, int] = {}
    for index, device in enumerate(machine.devices):
        other = first.setdefault(device.name, index)
        if other != index:
            message = f"{device.name} is the name of two devices"
            related = ((("devices", other, "name"), "the other device"),)
            yield Finding(("devices", index, "name"), message, related=related)


RULES = (device_irqs_are_spis, device_names_distinct)
