"""The state of a vGIC in words: its registers in the order of a restore, and the reasons for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmcfg.kernel.version import LINUX_6_1, version_text
from vmcfg.plans.state import (
    SAVED_FIRST,
    StateAction,
    StateLine,
    StateRow,
    has_its,
    state_of,
)
from vmcfg.plans.state_order import STATE_CONSTRAINTS
from vmcfg.reference.layout import WIDEST, wrapped
from vmcfg.vm.machine import Machine

INTRODUCTION = (
    "'vmcfg emit --scope state --get' prints the commands that save the state of a vGIC and of its"
    " ITSs, and 'vmcfg emit --scope state' those that restore it, in this order. The registers of a"
    " vCPU are identified by its compressed MPIDR in bits [63:32] of the attribute, with GICv2 by"
    " its id."
)

LIMITS = (
    "Stop all vCPUs first; save the memory of the guest after the vGIC, and restore it before.",
    "The registers of the vCPUs, including their timers and PMUs, are not part of this state: save"
    " those of KVM_GET_REG_LIST.",
    "A host with more than 32 levels of priority (ICC_CTLR_EL1.PRIbits above 4) has ICC_AP0R1_EL1,"
    " ICC_AP1R1_EL1, and so on, which are not listed, because KVM rejects them on other hosts. The"
    " C code of 'vmcfg emit' fails with ENOTSUP there.",
    "GITS_CBASER reads as 0x1800000000000000 after 0 is restored, which is the value of a guest"
    " that does not use the ITS.",
)
"""What a program that saves and restores must know."""


class ShownRow(NamedTuple):
    """A row in words: its registers, what has them, where they are in attributes, and their width.

    `use` says whether only a save or a restore uses it, and `when` which VMs have it; both can be
    empty.
    """

    register: str
    use: str
    owner: str
    attribute: str
    width: str
    when: str
    source: str


OWNERS = {"distributor": "once", "vcpu": "each vCPU", "its": "each ITS"}


def shown_rows(version: int) -> Iterator[ShownRow]:
    """Yield the rows of a GIC version: what a save executes first, then the order of a restore."""
    first = SAVED_FIRST if version == 3 else ()
    for row in (*first, *state_of(version)):
        yield ShownRow(
            _register(row),
            _use(row),
            OWNERS[row.part],
            _attribute(row),
            _width(row),
            _when(row),
            row.source,
        )


def _register(row: StateLine) -> str:
    """Return the name with the range of its indices."""
    if isinstance(row, StateAction):
        return row.title
    if row.first_index is None:
        return row.register
    first = f"{row.register}{row.first_index}"
    if row.bits:
        return f"{first}, ..."
    return first if row.repeat == 1 else f"{first}-{row.first_index + row.repeat - 1}"


def _use(row: StateLine) -> str:
    if isinstance(row, StateAction):
        return "save only" if row in SAVED_FIRST else "restore only"
    return "" if row.constant is None else f"restore only, {row.constant:#x}"


def _attribute(row: StateLine) -> str:
    if isinstance(row, StateAction):
        return f"KVM_DEV_ARM_VGIC_GRP_CTRL {row.number}"
    return f"{row.group_name} {row.number:#x}"


def _width(row: StateLine) -> str:
    if isinstance(row, StateAction):
        return "none"
    width = f"u{row.size * 8}"
    if row.bits:
        return f"{width}, {row.bits} bit{'s' * (row.bits > 1)} per SPI"
    return f"{width}, two halves" if row.in_halves else width


def _when(row: StateLine) -> str:
    if row.applies is has_its:
        return "with an ITS"
    if row.applies is Machine.has_el2:
        assert isinstance(row, StateRow)
        return f"with EL2, Linux {version_text(row.since)}"
    assert isinstance(row, StateAction) or row.since == LINUX_6_1
    return ""


def state_lines(width: int = WIDEST) -> Iterator[str]:
    """Yield the registers of a GICv3 and of a GICv2, and the reasons for their order."""
    yield from wrapped(INTRODUCTION, width)
    for limit in LIMITS:
        yield ""
        yield from wrapped(limit, width)
    for version in (3, 2):
        yield ""
        yield f"GICv{version}:"
        for row in shown_rows(version):
            words = [row.use, row.owner, row.attribute, row.width, row.when]
            yield from wrapped("; ".join(filter(None, words)), width, f"  {row.register:28} ")
    yield ""
    yield "The reasons for the order of a restore:"
    for constraint in STATE_CONSTRAINTS:
        yield ""
        yield from wrapped(f"{constraint.before}* before {constraint.after}*", width, "  ")
        yield from wrapped(constraint.why, width, "    ")
        yield from wrapped(constraint.source, width, "    source: ")
