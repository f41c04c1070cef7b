"""VMC4xx: the devices of the VMM. VMC401-412 are in `gic`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import GREATEST_SPI, SPI_BASE, interrupt_text, is_spi
from vmcfg.description.model import Device
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING
from vmcfg.rules.gic import last_intid, more_intids_hint
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine


@machine_rule("VMC413", None)
def invalid_device_irq(machine: Machine) -> Iterator[Finding]:
    """The interrupt of a VMM device must be an SPI that the GIC has."""
    limit = machine.nr_irqs()
    for index, device in enumerate(machine.devices):
        at = ("devices", index, "irq")
        intid = intid_of(device.irq)
        if not is_spi(intid):
            yield _not_an_spi(device, at)
        elif intid >= limit:
            bound, related = last_intid(machine)
            message = f"device '{device.name}' uses {interrupt_text(intid)}, but {bound}"
            yield Finding(at, message, hint=more_intids_hint(machine, intid), related=related)


def _not_an_spi(device: Device, at: Path) -> Finding:
    """Return the finding that the interrupt of a device is not an SPI."""
    written = device.irq
    intid = intid_of(written)
    number = written.first if isinstance(written, IrqRange) else written
    hint: str | None = None
    if isinstance(written, IrqRange) and written.prefix == "spi":
        message = f"SPI number of device '{device.name}' must be 0 to {GREATEST_SPI}, not {number}"
        if is_spi(number):
            spi = number - SPI_BASE
            hint = f"if you mean INTID {number} (SPI {spi}), write {number} or 'spi:{spi}'"
    else:
        message = f"device '{device.name}' uses {interrupt_text(intid)}, which is not an SPI"
        hint = f"use INTID {SPI_BASE} (SPI 0) or above"
        if intid < SPI_BASE:
            as_spi = interrupt_text(number + SPI_BASE)
            hint = f"if you mean {as_spi}, write {number + SPI_BASE} or 'spi:{number}'"
    return Finding(at, message, hint=hint)


@machine_rule("VMC414", None, WARNING)
def duplicate_device_name(machine: Machine) -> Iterator[Finding]:
    """Each VMM device should have its own name. Two devices can share an SPI, as PCI interrupt
    lines do."""
    first: dict[str, int] = {}
    for index, device in enumerate(machine.devices):
        other = first.setdefault(device.name, index)
        if other != index:
            message = f"two devices are named '{device.name}'"
            related = ((("devices", other, "name"), "the first device"),)
            hint = "use another name for one of them"
            yield Finding(("devices", index, "name"), message, hint=hint, related=related)


RULES = (invalid_device_irq, duplicate_device_name)
