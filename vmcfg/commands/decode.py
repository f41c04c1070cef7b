"""``vmcfg decode``: every identifier that a number can be."""

from __future__ import annotations

import json

import click

from vmcfg import files
from vmcfg.arm.affinity import aff3, derived_id, mpidr_register, reg_cells
from vmcfg.arm.interrupts import interrupt_text, is_ppi, is_spi
from vmcfg.commands.options import help_option
from vmcfg.description.kinds import Interrupt, Misfit, Mpidr, Number
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.escape import excerpt
from vmcfg.kernel.limits import MOST_VCPUS
from vmcfg.vm.identifiers import irq_line
from vmcfg.vm.readings import NO_SUCH_GSI, Reading, gsi, readings

FORMATS = ("human", "json")


@click.command()
@click.argument("value")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="Output format.",
)
@help_option
def decode(value: str, format_: str) -> int:
    """Show every vCPU or interrupt identifier that VALUE can be.

    VALUE is decimal, or hexadecimal with 0x. It can be a vCPU id or index, MPIDR_EL1, a compressed
    MPIDR, an attribute of the GIC or of the PMU device, a KVM_IRQ_LINE word, an INTID, a cell of a
    device tree, the gsi of KVM_IRQFD, a ONE_REG id, or an SMCCC function id. vmcfg also prints what
    VALUE cannot be, with the reason. For an MPIDR (0.0.1.0) or an interrupt (ppi:7, spi:8), it
    prints the other forms.
    """
    number, found = _read(value)
    if format_ == "json":
        files.print_out(_json(number, found))
    else:
        files.print_out(_human(number, found))
    return 0


def _read(value: str) -> tuple[int, list[Reading]]:
    """Return the number in `value` and its readings. Raises `UsageError`."""
    if ":" in value:
        return _interrupt(value)
    if "." in value:
        return _mpidr(value)
    try:
        number = Number(0, (1 << 64) - 1, hex=True).read(value, plain=True)
    except Misfit as misfit:
        raise _usage(misfit) from None
    return number, list(readings(number))


def _usage(misfit: Misfit) -> click.UsageError:
    hint = f"; {misfit.hint}" if misfit.hint else ""
    return click.UsageError(f"{misfit.message('VALUE')}{hint}.")


def _mpidr(value: str) -> tuple[int, list[Reading]]:
    try:
        compressed = Mpidr().read(value, plain=True)
    except Misfit as misfit:
        raise _usage(misfit) from None
    if not isinstance(compressed, int):
        raise click.UsageError(
            f"VALUE must be one MPIDR of four numbers from 0 to 255, not '{excerpt(value)}'."
        )
    number = derived_id(compressed)
    has_id = number is not None and number < MOST_VCPUS
    return compressed, [
        (
            Reading("vCPU id", str(number))
            if has_id
            else Reading("vCPU id", None, "KVM assigns it to no id below 512")
        ),
        Reading("MPIDR_EL1", hex(mpidr_register(compressed))),
        Reading("compressed MPIDR", hex(compressed)),
        Reading("attr of GICv3 REDIST_REGS", f"{compressed << 32:#x} plus the register offset"),
        Reading("attr of the PMU device, by MPIDR", hex(compressed << 32)),
        Reading(
            "device tree reg of a CPU",
            " ".join(hex(cell) for cell in reg_cells(compressed, 2)) + ", in two cells",
        ),
        (
            Reading("device tree reg of a CPU", None, "one cell does not contain Aff3")
            if aff3(compressed)
            else Reading("device tree reg of a CPU", f"{compressed:#x}, in one cell")
        ),
    ]


def _interrupt(value: str) -> tuple[int, list[Reading]]:
    try:
        read = Interrupt(ranges=False).read(value, plain=True)
    except Misfit as misfit:
        raise _usage(misfit) from None
    intid = intid_of(read)
    wanted = is_ppi if isinstance(read, IrqRange) and read.prefix == "ppi" else is_spi
    if not wanted(intid):
        raise click.UsageError(
            f"VALUE must be ppi:0 to ppi:15 or spi:0 to spi:987, not '{excerpt(value)}'."
        )
    word = irq_line(intid, 0)
    assert word is not None
    cells = f"1 {intid - 16}" if is_ppi(intid) else f"0 {intid - 32}"
    return intid, [
        Reading("INTID", interrupt_text(intid)),
        Reading("GSIV in the ACPI MADT", str(intid)),
        Reading("device tree interrupts cells", f"{cells} and the flags"),
        Reading(
            "KVM_IRQ_LINE word",
            hex(word) + (" plus the vCPU id in bits [31:28] and [23:16]" if is_ppi(intid) else ""),
        ),
        (
            Reading("gsi of KVM_IRQFD", f"{gsi(intid)}, with the default routing; {NO_SUCH_GSI}")
            if is_spi(intid)
            else Reading("gsi of KVM_IRQFD", None, "a gsi is the number of an SPI")
        ),
    ]


def _human(number: int, found: list[Reading]) -> str:
    """Return one line per reading; possible readings come first."""
    width = max(len(reading.name) for reading in found)
    lines = [f"{number:#x} ({number})"]
    for possible in (True, False):
        mark = "can be" if possible else "cannot be"
        lines += [
            f"{mark:9}  {reading.name:{width}}  {reading.meaning or reading.reason}"
            for reading in found
            if reading.possible == possible
        ]
    return "".join(f"{line}\n" for line in lines)


def _json(number: int, found: list[Reading]) -> str:
    listed = [
        {
            "name": each.name,
            "possible": each.possible,
            "meaning": each.meaning,
            "reason": each.reason,
        }
        for each in found
    ]
    report = {
        "format": "vmcfg.decode",
        "format_version": "1.0",
        "value": hex(number),
        "readings": listed,
    }
    return json.dumps(report, indent=2) + "\n"
