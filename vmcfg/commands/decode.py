"""``vmcfg decode``: every identifier that a number can be, and the attribute that numbers mean."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from vmcfg import files
from vmcfg.arm.affinity import aff3, derived_id, mpidr_register, reg_cells
from vmcfg.arm.interrupts import interrupt_text, is_ppi, is_spi
from vmcfg.commands.options import help_option
from vmcfg.description.kinds import Interrupt, Misfit, Mpidr, Number
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.description.yaml_readings import without_readings
from vmcfg.escape import excerpt
from vmcfg.kernel.limits import MOST_VCPUS
from vmcfg.reports.terminal import columns
from vmcfg.vm.identifiers import irq_line
from vmcfg.vm.readings import NO_SUCH_GSI, Reading, gsi, readings

FORMATS = ("human", "json")


@click.command()
@click.argument("value", required=False)
@click.option(
    "--attr",
    nargs=3,
    metavar="TARGET GROUP ATTR",
    help="Explain the device attribute with these numbers. TARGET is gic, its, vcpu, or vm.",
)
@click.option(
    "--errno",
    metavar="ERRNO",
    help="With --attr: explain only this error, a number (22) or a name (EINVAL).",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="Output format.",
)
@help_option
def decode(
    value: str | None, attr: tuple[str, str, str] | None, errno: str | None, format_: str
) -> int:
    """Show every vCPU or interrupt identifier that VALUE can be.

    VALUE is decimal, or hexadecimal with 0x. It can be a vCPU id or index, MPIDR_EL1, a compressed
    MPIDR, an attribute of the GIC or of the PMU device, a KVM_IRQ_LINE word, an INTID, a cell of a
    device tree, the gsi of KVM_IRQFD, a ONE_REG id, or an SMCCC function id. vmcfg also prints what
    VALUE cannot be, with the reason. For an MPIDR (0.0.1.0) or an interrupt (ppi:7, spi:8), it
    prints the other forms.

    With --attr instead of VALUE, vmcfg prints the names of a device attribute, its key, the type of
    its value, and the meaning of each error.
    """
    if attr is not None:
        if value is not None:
            raise click.UsageError("VALUE cannot be used with --attr.")
        files.print_out(_attribute(attr, errno, format_))
        return 0
    if value is None:
        raise click.UsageError("Missing argument 'VALUE', or option '--attr'.")
    if errno is not None:
        raise click.UsageError("--errno requires --attr.")
    number, found = _read(value)
    if format_ == "json":
        files.print_out(_json(number, found))
    else:
        files.print_out(_human(number, found))
    return 0


def _attribute(attr: tuple[str, str, str], errno: str | None, format_: str) -> str:
    """Return the explanation of the attribute with some numbers. Raises `UsageError`."""
    # A VALUE does not need the sequence.
    from vmcfg.reference.attribute_numbers import TARGETS, Numbers, numbers_json, numbers_lines
    from vmcfg.reference.errno_text import errno_name

    target, group, number = attr
    if target not in TARGETS:
        raise click.UsageError(
            f"TARGET must be {', '.join(TARGETS[:-1])}, or {TARGETS[-1]}, not '{excerpt(target)}'."
        )
    name = None if errno is None else errno_name(errno)
    if errno is not None and name is None:
        raise click.UsageError(
            f"ERRNO must be a number such as 22, or a name such as EINVAL, not '{excerpt(errno)}'."
        )
    read = Numbers(target, _number(group, "GROUP"), _number(number, "ATTR"), name)
    if format_ == "json":
        return _report("attribute", numbers_json(read))
    return "\n".join(numbers_lines(read, columns(sys.stdout))) + "\n"


def _number(text: str, name: str) -> int:
    try:
        return Number(0, (1 << 64) - 1, hex=True).read(text, plain=True)
    except Misfit as misfit:
        raise _usage(misfit, name) from None


def _read(value: str) -> tuple[int, list[Reading]]:
    """Return the number in `value` and its readings. Raises `UsageError`."""
    if ":" in value:
        return _interrupt(value)
    if "." in value:
        return _mpidr(value)
    number = _number(value, "VALUE")
    return number, list(readings(number))


def _usage(misfit: Misfit, name: str = "VALUE") -> click.UsageError:
    hint = f"; {without_readings(misfit.hint)}" if misfit.hint else ""
    return click.UsageError(f"{misfit.message(name)}{hint}.")


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
    return _report("readings", listed, value=hex(number))


def _report(key: str, content: Any, **others: str) -> str:
    report = {"format": "vmcfg.decode", "format_version": "1.0", **others, key: content}
    return json.dumps(report, indent=2) + "\n"
