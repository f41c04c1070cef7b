"""VMC4xx: the devices of the VMM. VMC401-412 and 415 are in `gic`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import GREATEST_SPI, SPI_BASE, SPI_END, interrupt_text, is_spi
from vmcfg.description.model import Device
from vmcfg.description.written import IrqRange
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING
from vmcfg.rules.gic import last_intid, more_intids_hint
from vmcfg.rules.kinds import machine_rule
from vmcfg.rules.repeated import repeated
from vmcfg.vm.frames import device_frames, frames, free_addresses, overlaps
from vmcfg.vm.machine import Machine

# Interrupts -----------------------------------------------------------------------------------


@machine_rule("VMC413", None, about="devices")
def invalid_device_irq(machine: Machine) -> Iterator[Finding]:
    """The interrupts of a VMM device must be SPIs that the GIC has."""
    limit = machine.nr_irqs()
    for index, device in enumerate(machine.devices):
        if device.intids is None:
            continue
        at = ("devices", index, "irq")
        first, last = device.intids
        if not (is_spi(first) and is_spi(last)):
            yield _not_an_spi(device, at, last if is_spi(first) else first)
        elif last >= limit:
            bound, related = last_intid(machine)
            message = (
                f"device '{device.name}' uses {interrupt_text(max(first, limit))}, but {bound}"
            )
            yield Finding(at, message, hint=more_intids_hint(machine, last), related=related)


def _not_an_spi(device: Device, at: Path, intid: int) -> Finding:
    """Return the finding that an interrupt of a device is not an SPI."""
    written = device.irq
    is_single = not isinstance(written, IrqRange) or written.first == written.last
    number = intid - written.base if isinstance(written, IrqRange) else intid
    if isinstance(written, IrqRange) and written.prefix == "spi":
        message = f"SPI number of device '{device.name}' must be 0 to {GREATEST_SPI}, not {number}"
        hint = f"use spi:0 to spi:{GREATEST_SPI}"
        if is_single and is_spi(number):
            spi = number - SPI_BASE
            hint = f"if you mean INTID {number} (SPI {spi}), write {number} or 'spi:{spi}'"
    else:
        message = f"device '{device.name}' uses {interrupt_text(intid)}, which is not an SPI"
        hint = f"use an INTID from {SPI_BASE} to {SPI_END - 1}, which are the SPIs"
        if is_single and intid < SPI_BASE:
            as_spi = interrupt_text(number + SPI_BASE)
            hint = f"if you mean {as_spi}, write {number + SPI_BASE} or 'spi:{number}'"
    return Finding(at, message, hint=hint)


@machine_rule("VMC417", None, WARNING, about="devices")
def shared_device_spi(machine: Machine) -> Iterator[Finding]:
    """Each SPI should belong to one VMM device. A device can have several, such as an MSI frame or
    the four lines of a PCI host bridge.

    KVM keeps one level per SPI. If one of two devices lowers it, KVM drops the interrupt of the
    other.

    Source: vgic.c:kvm_vgic_inject_irq, Linux 7.2."""
    spis = [device.spis for device in machine.devices]
    clashes = overlaps(spis)
    if not clashes:
        return
    free = machine.free_spis()
    for index, earlier in clashes:
        device, other = machine.devices[index], machine.devices[earlier]
        first, end = spis[index]
        shared = max(first, spis[earlier][0])
        message = f"devices '{other.name}' and '{device.name}' both use {interrupt_text(shared)}"
        suggested, free = _first_run(free, end - first)
        hint = f"use other SPIs for '{device.name}'"
        if suggested is not None:
            hint += f", such as {suggested}"
        hint += "; if they share a line, write one device for both"
        related = ((("devices", earlier, "irq"), f"device '{other.name}'"),)
        yield Finding(("devices", index, "irq"), message, hint=hint, related=related)


def _first_run(free: list[int], count: int) -> tuple[str | None, list[int]]:
    """Return the first `count` successive SPIs of `free` as text, and those after them; or None and
    no SPI, so that many devices are not searched again and again.
    """
    for place in range(len(free) - count + 1):
        first, last = free[place], free[place + count - 1]
        if last - first == count - 1:
            numbers = IrqRange("spi", 0, 0).text(first - SPI_BASE, last - SPI_BASE)
            return numbers, free[place + count :]
    return None, []


# Names and frames -----------------------------------------------------------------------------


@machine_rule("VMC414", None, WARNING, about="devices")
def duplicate_device_name(machine: Machine) -> Iterator[Finding]:
    """Each VMM device should have its own name."""
    for index, other in repeated(each.name for each in machine.devices):
        message = f"two devices are named '{machine.devices[index].name}'"
        related = ((("devices", other, "name"), "the first device"),)
        hint = "use another name for one of them"
        yield Finding(("devices", index, "name"), message, hint=hint, related=related)


@machine_rule("VMC416", None, about="devices")
def overlapping_device_frame(machine: Machine) -> Iterator[Finding]:
    """The frame of a VMM device must not overlap a memory slot, a frame of the GIC, or the frame of
    another device.

    KVM does not know the devices. The guest's accesses reach the memory or the GIC, and never the
    device.

    Source: kvm_main.c:gfn_to_memslot, kvm_main.c:kvm_io_bus_write, Linux 7.2."""
    places = [(frame.addresses, frame.name, frame.at) for frame in frames(machine)]
    for index, slot in enumerate(machine.memory):
        places.append((slot.addresses, "memory slot", ("memory", index, "base")))
    before = len(places)
    of_devices = device_frames(machine)
    places += [(frame.addresses, frame.name, frame.at) for frame in of_devices]
    if not of_devices:
        return
    clashes = overlaps([addresses for addresses, _, _ in places])
    clashing = [(index - before, earlier) for index, earlier in clashes if index >= before]
    if not clashing:
        return
    free = free_addresses(machine)
    for index, earlier in clashing:
        frame = of_devices[index]
        (base, end), name, at = places[earlier]
        extent = f"{base:#x}-{end - 1:#x}"
        other = f"{name} {extent}" if name == "memory slot" else f"{name} ({extent})"
        yield Finding(
            frame.at,
            f"{frame.name} ({frame.extent}) overlaps {other}",
            hint=free.suggestion(frame.name, frame.addresses, frame.alignment),
            related=((at, f"{name} ends at {end - 1:#x}"),),
        )


@machine_rule("VMC418", None, about="devices")
def incomplete_device(machine: Machine) -> Iterator[Finding]:
    """A VMM device must have an interrupt, a frame, or both. A frame has a base and a size."""
    for index, device in enumerate(machine.devices):
        at = ("devices", index)
        if device.irq is None and device.base is None and device.size is None:
            message = f"device '{device.name}' has no interrupt and no frame"
            hint = "add 'irq', or 'base' and 'size'"
            yield Finding(at, message, hint=hint, on="first key")
        elif (device.base is None) != (device.size is None):
            key, other = ("base", "size") if device.size is None else ("size", "base")
            message = f"device '{device.name}' has '{key}', but no '{other}'"
            yield Finding((*at, key), message, hint=f"add '{other}', or remove '{key}'", on="key")
        elif device.size == 0:
            message = f"the frame of device '{device.name}' is empty"
            hint = "set 'size' to the size of its registers, or remove 'base' and 'size'"
            yield Finding((*at, "size"), message, hint=hint)


RULES = (
    invalid_device_irq,
    duplicate_device_name,
    overlapping_device_frame,
    shared_device_spi,
    incomplete_device,
)
