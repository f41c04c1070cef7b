"""Device attributes and registers by their numbers, as a program passes them to KVM."""

from __future__ import annotations

from typing import NamedTuple

from vmcfg.kernel.abi import MPIDR_EL1, SVE_VLS
from vmcfg.kernel.registers import BITMAPS, FIRMWARE, SYSTEM, named_registers
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.state import CTRL_GROUP, STATE_CTRLS, STATE_GROUPS, STATE_SIZES
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.operations import SET_ATTR, SET_REG
from vmcfg.plans.sequence import SEQUENCE

ATTR_ROWS: dict[tuple[str, int, int], Row] = {
    (row.target, row.attr.group_id, row.attr.id): row
    for row in SEQUENCE
    if row.operation is SET_ATTR and row.attr is not None and VCPU in row.apis
}
"""The row that sets an attribute, by the kind of its target, its group, and its number."""

_GROUPS: dict[tuple[str, int], str] = {
    **{(row.target, row.attr.group_id): row.attr.group for row in ATTR_ROWS.values() if row.attr},
    **STATE_GROUPS,
}

_NAMELESS: dict[tuple[str, int], Row] = {
    (row.target, row.attr.group_id): row
    for row in ATTR_ROWS.values()
    if row.attr is not None and row.attr.title != row.attr.name
}
"""The rows of groups with one attribute, whose number KVM ignores."""


class Attribute(NamedTuple):
    """An attribute of a kind of target: its names in a record, and its row, if any.

    `size` is the number of bytes of its value; None if vmcfg does not know it.
    """

    group: str
    attr: str
    row: Row | None
    size: int | None
    is_state: bool


def attribute(kind: str | None, group: int, number: int) -> Attribute:
    """Return the attribute of a kind of target, such as ``vcpu``; None is an unknown target."""
    place = (kind or "", group)
    row = ATTR_ROWS.get((*place, number)) or _NAMELESS.get(place)
    group_name = _GROUPS.get(place, str(group))
    if row is not None and row.attr is not None:
        size = len(row.value.data(_zeros(row)) or b"")
        return Attribute(group_name, row.attr.name, row, size, is_state=False)
    if place in STATE_SIZES:
        return Attribute(group_name, hex(number), None, STATE_SIZES[place], is_state=True)
    if group == CTRL_GROUP[1] and (place[0], number) in STATE_CTRLS:
        return Attribute(group_name, STATE_CTRLS[place[0], number], None, 0, is_state=True)
    return Attribute(group_name, hex(number), None, None, is_state=False)


def _zeros(row: Row) -> tuple[int, ...]:
    """Return a value of a row, of which only the size matters."""
    fields = getattr(row.value, "fields", None)
    if fields is not None:
        return (0,) * len(fields)
    return (0,) if row.value.word != "none" else ()


# Registers ----------------------------------------------------------------------------------------

_IDS = named_registers()

_NAMES = {id: name for name, id in _IDS.items()}

_REGISTER_ROWS = {
    row.register.id: row
    for row in SEQUENCE
    if row.operation is SET_REG and row.register is not None
}

_ANY_REGISTER = next(row for row in SEQUENCE if row.operation is SET_REG and row.register is None)

_IDENTIFYING = {MPIDR_EL1.id, SVE_VLS.id, *(register.id for register in SETTABLE.values())}


def register_name(id: int) -> str:
    """Return the name of a register, or its id."""
    return _NAMES.get(id, hex(id))


def register_size(id: int) -> int:
    """Return the number of bytes of a register: bits [55:52] of its id."""
    return 1 << (id >> 52 & 0xF)


def register_row(id: int) -> Row | None:
    """Return the row that sets a register, if any."""
    if id in _REGISTER_ROWS:
        return _REGISTER_ROWS[id]
    return _ANY_REGISTER if _NAMES.get(id) in SETTABLE else None


def is_of_vm(name: str) -> bool:
    """Return whether a register, by its name in a record, is one for all vCPUs of a VM."""
    if name in SETTABLE:
        return not SETTABLE[name].per_vcpu
    id = int(name, 16) if name.startswith("0x") else _IDS.get(name, 0)
    return id != MPIDR_EL1.id and _is_id_register(id)


def _is_id_register(id: int) -> bool:
    # The ID registers of AArch64 and AArch32 have op0 3, op1 0, and CRn 0.
    return id >> 16 & 0xFFF == SYSTEM and (id & 0xFFFF) >> 7 == 3 << 7


def is_identifying(id: int) -> bool:
    """Return whether a register says what the VM is: its firmware, its CPU, and its vCPU."""
    kind = id >> 16 & 0xFFF
    if id in _IDENTIFYING or kind in (FIRMWARE, BITMAPS):
        return True
    return _is_id_register(id)
