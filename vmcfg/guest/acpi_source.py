"""The ACPI tables of a VM that name its vCPUs and interrupts, as data table sources for iasl.

A source has one table: iasl fills in the lengths, the checksum, and its own name. Source: ACPI
Specification 6.3, sections 5.2.12 and 5.2.24. All numbers in a source are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.affinity import AFFINITIES, mpidr_register
from vmcfg.description.model import Gic
from vmcfg.guest.acpi import GICC, GICD, GICR, ITS
from vmcfg.vm.frames import Frame, frames
from vmcfg.vm.machine import Machine, Vcpu

MADT_REVISION = 4
GTDT_REVISION = 3

ALWAYS_ON = 1 << 2
"""A flag of a timer."""

Field = tuple[int, str, int | str]
"""A field of a table: its size in bytes, its name for iasl, and its value.

The bits of flags follow as fields of 0 bytes.
"""


def madt(machine: Machine) -> str:
    """Return the source of the MADT (APIC): the GIC, and each vCPU with its PMU interrupt.

    `vmcfg.guest.rules` finds what is missing.
    """
    return _text([_header("APIC", MADT_REVISION), *_madt(machine)])


def gtdt(machine: Machine) -> str:
    """Return the source of the GTDT: the interrupts of the timers."""
    return _text([_header("GTDT", GTDT_REVISION), list(_gtdt(machine))])


# The text -----------------------------------------------------------------------------------------


def _text(parts: list[list[Field]]) -> str:
    """Return the parts of a table as text, separated by empty lines."""
    return "\n".join("".join(map(_line, part)) for part in parts)


def _line(field: Field) -> str:
    size, name, value = field
    text = f'"{value}"' if isinstance(value, str) else f"{value:0{max(1, 2 * size)}X}"
    width = f"[{size:04}]" if size else " " * 6
    return f"{width} {name:>34} : {text}\n"


def _header(signature: str, revision: int) -> list[Field]:
    return [
        (4, "Signature", signature),
        (4, "Table Length", 0),
        (1, "Revision", revision),
        (1, "Checksum", 0),
        (6, "Oem ID", "VMCFG "),
        (8, "Oem Table ID", "VMCFG   "),
        (4, "Oem Revision", 1),
        (4, "Asl Compiler ID", "INTL"),
        (4, "Asl Compiler Revision", 0),
    ]


# MADT ---------------------------------------------------------------------------------------------


def _madt(machine: Machine) -> Iterator[list[Field]]:
    """Yield the fields before the structures, and each structure."""
    yield [
        (4, "Local Apic Address", 0),
        (4, "Flags (decoded below)", 0),
        (0, "PC-AT Compatibility", 0),
    ]
    gic = machine.gic
    if gic is not None and gic.distributor is not None:
        yield _distributor(gic.distributor, gic.version)
    for index, vcpu in enumerate(machine.vcpus):
        yield _cpu(machine, index, vcpu)
    of_its = []
    for frame in frames(machine):
        if frame.at[1] == "redistributors":
            yield _redistributors(frame)
        if frame.at[1] == "its":
            of_its.append(frame)
    for number, frame in enumerate(of_its):
        yield _its(number, frame)


def _distributor(base: int, version: int) -> list[Field]:
    return [
        (1, "Subtable Type", GICD),
        (1, "Length", 24),
        (2, "Reserved", 0),
        (4, "Local GIC Hardware ID", 0),
        (8, "Base Address", base),
        (4, "Interrupt Base", 0),
        (1, "Version", version),
        (3, "Reserved", 0),
    ]


def _cpu(machine: Machine, index: int, vcpu: Vcpu) -> list[Field]:
    """Return the GICC structure of a vCPU: its UID is its index.

    The number of its CPU interface is the bit of the vCPU in GICD_ITARGETSR of a GICv2: its id.
    """
    gic = machine.gic
    interface = vcpu.id if machine.gic_version() == 2 else index
    base = 0 if gic is None else gic.cpu_interface or 0
    return [
        (1, "Subtable Type", GICC),
        (1, "Length", 80),
        (2, "Reserved", 0),
        (4, "CPU Interface Number", interface),
        (4, "Processor UID", index),
        (4, "Flags (decoded below)", 1),
        (0, "Processor Enabled", 1),
        (0, "Performance Interrupt Trigger Mode", 0),
        (0, "Virtual GIC Interrupt Trigger Mode", 0),
        (4, "Parking Protocol Version", 0),
        (4, "Performance Interrupt", vcpu.pmu_irq or 0),
        (8, "Parked Address", 0),
        (8, "Base Address", base),
        (8, "Virtual GIC Base Address", 0),
        (8, "Hypervisor GIC Base Address", 0),
        (4, "Virtual GIC Interrupt", _maintenance_irq(machine, gic)),
        (8, "Redistributor Base Address", 0),
        (8, "ARM MPIDR", mpidr_register(vcpu.mpidr) & AFFINITIES),
        (1, "Efficiency Class", 0),
        (1, "Reserved", 0),
        (2, "SPE Overflow Interrupt", 0),
    ]


def _maintenance_irq(machine: Machine, gic: Gic | None) -> int:
    """Return the GSIV of the maintenance interrupt; 0 if the guest does not have it."""
    if gic is None or gic.version == 2:
        return 0
    is_there = machine.has_el2() or gic.maintenance_irq is not None
    return machine.maintenance_irq() if is_there else 0


def _redistributors(frame: Frame) -> list[Field]:
    return [
        (1, "Subtable Type", GICR),
        (1, "Length", 16),
        (2, "Reserved", 0),
        (8, "Base Address", frame.base),
        (4, "Length", frame.size),
    ]


def _its(number: int, frame: Frame) -> list[Field]:
    return [
        (1, "Subtable Type", ITS),
        (1, "Length", 20),
        (2, "Reserved", 0),
        (4, "Translation ID", number),
        (8, "Base Address", frame.base),
        (4, "Reserved", 0),
    ]


# GTDT ---------------------------------------------------------------------------------------------


def _gtdt(machine: Machine) -> Iterator[Field]:
    """Yield the fields after the header. No counter is mapped in memory: that address is -1."""
    not_mapped = (1 << 64) - 1
    yield 8, "Counter Block Address", not_mapped
    yield 4, "Reserved", 0
    yield from _timer("Secure EL1 Interrupt", "EL1 Flags", 0)
    timers, has_el2 = machine.timers, machine.has_el2()
    yield from _timer("Non-Secure EL1 Interrupt", "NEL1 Flags", timers.intid("physical"))
    yield from _timer("Virtual Timer Interrupt", "VT Flags", timers.intid("virtual"))
    hyp_physical = timers.intid("hyp_physical") if has_el2 else 0
    yield from _timer("Non-Secure EL2 Interrupt", "NEL2 Flags", hyp_physical)
    yield 8, "Counter Read Block Address", not_mapped
    yield 4, "Platform Timer Count", 0
    yield 4, "Platform Timer Offset", 0
    hyp_virtual = timers.intid("hyp_virtual") if has_el2 else 0
    yield 4, "Virtual EL2 Timer GSIV", hyp_virtual
    yield 4, "Virtual EL2 Timer Flags", ALWAYS_ON if hyp_virtual else 0


def _timer(name: str, name_of_flags: str, gsiv: int) -> Iterator[Field]:
    """Yield the interrupt of a timer and its flags; without a timer, both are 0.

    The interrupt is level-triggered, and the timer runs while a CPU sleeps.
    """
    yield 4, name, gsiv
    yield 4, f"{name_of_flags} (decoded below)", ALWAYS_ON if gsiv else 0
    yield 0, "Trigger Mode", 0
    yield 0, "Polarity", 0
    yield 0, "Always On", int(gsiv > 0)
