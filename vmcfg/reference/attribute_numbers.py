"""An attribute by the numbers in an error log: target, group, attribute, and errno."""

from __future__ import annotations

import errno as numbers
from collections.abc import Iterator
from typing import Any, NamedTuple

from vmcfg.kernel.abi import setting
from vmcfg.kernel.state import CTRL_GROUP, STATE_CTRLS, STATE_ERRORS, STATE_GROUPS
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.answers import prediction_lines, predictions
from vmcfg.reference.attribute_text import row_lines
from vmcfg.reference.errno_text import all_errors
from vmcfg.reference.layout import WIDEST, wrapped
from vmcfg.vm.readings import reading

TARGETS = ("gic", "its", "vcpu", "vm")

READINGS_OF_GROUPS = {
    ("gic", 1): "attr of GICv2 DIST_REGS, CPU_REGS",
    ("gic", 2): "attr of GICv2 DIST_REGS, CPU_REGS",
    ("gic", 5): "attr of GICv3 REDIST_REGS",
    ("gic", 6): "attr of GICv3 CPU_SYSREGS",
    ("gic", 7): "attr of GICv3 LEVEL_INFO",
}
"""How the attribute number of a group of registers is read."""


class Numbers(NamedTuple):
    """An attribute as in a log; `errno` is the name of the error in it, if any."""

    target: str
    group: int
    attr: int
    errno: str | None = None

    def row(self) -> Row | None:
        """Return the row of the sequence that sets the attribute; None if no row does."""
        for row in SEQUENCE:
            known = row.attr
            if known is None or VCPU not in row.apis or row.target != self.target:
                continue
            # KVM ignores the number of an attribute without a name.
            if known.group_id == self.group and (
                known.id == self.attr or known.title != known.name
            ):
                return row
        return None

    def group_name(self) -> str | None:
        """Return the name of the group in the uapi; None if the target has no such group."""
        of_rows: dict[tuple[str, int], str] = {
            (row.target, row.attr.group_id): row.attr.group
            for row in SEQUENCE
            if row.attr is not None and VCPU in row.apis
        }
        place = (self.target, self.group)
        return of_rows.get(place) or STATE_GROUPS.get(place)

    def state_name(self) -> str | None:
        """Return the name of the attribute if it saves, restores, or resets a vGIC."""
        is_ctrl = self.group == CTRL_GROUP[1]
        return STATE_CTRLS.get((self.target, self.attr)) if is_ctrl else None

    def meaning(self) -> str:
        """Return what the attribute does, in words."""
        row = self.row()
        if row is not None:
            return row.doc
        if self.state_name() is not None:
            return f"{self.state_name()}, which saves, restores, or resets state; no key sets it."
        if (self.target, self.group) in STATE_GROUPS:
            return f"{self._register()}. This is state of a vGIC; no key sets it."
        absent = "group" if self.group_name() is None else "attribute in this group"
        return f"Linux 7.2 has no such {absent}."

    def _register(self) -> str:
        """Return the register that the attribute number selects, in words."""
        name = READINGS_OF_GROUPS.get((self.target, self.group))
        if name is None:
            return f"Offset {self.attr:#x}"
        read = reading(name, self.attr)
        return read.meaning or f"An invalid number: {read.reason}"

    def absent(self) -> str:
        """Return what KVM answers if it does not have the attribute."""
        # vgic-its.c:vgic_its_set_attr
        return "ENODEV" if (self.target, self.group) == ("its", 0) else "ENXIO"

    def errors(self) -> dict[str, str]:
        """Return the meaning of each errno, or only of the one in the log."""
        row = self.row()
        if row is not None:
            every = all_errors(row)
        elif (self.target, self.group) in STATE_GROUPS:
            every = STATE_ERRORS
        elif self.state_name() is None:
            every = {self.absent(): "the kernel does not support the attribute"}
        else:
            every = {}
        if self.errno is None:
            return every
        return {self.errno: every.get(self.errno, "vmcfg does not know a reason for this errno")}


def numbers_lines(attr: Numbers, width: int = WIDEST) -> Iterator[str]:
    """Yield an attribute in words: its names, its key, its type, and the meaning of each errno."""
    row = attr.row()
    if attr.errno is not None:
        yield f"errno {getattr(numbers, attr.errno)}: {attr.errno}"
        yield ""
    if row is None or row.attr is None:
        group = attr.group_name() or "unknown group"
        yield from wrapped(f"{group} ({attr.group}), {attr.attr:#x}: {attr.target}", width)
        yield from wrapped(attr.meaning(), width, "  ")
        for errno, words in attr.errors().items():
            yield from wrapped(words, width, f"  {errno:8} ")
        return
    yield from row_lines(row, attr.errors(), width)
    answers = [
        (rule, answer)
        for rule, answer in predictions()
        if answer.call == setting(row.attr) and attr.errno in (None, answer.errno)
    ]
    yield from prediction_lines(row.attr.title, answers, width)


def numbers_json(attr: Numbers) -> dict[str, Any]:
    """Return an attribute by the keys of schemas/decode-v1.schema.json."""
    row = attr.row()
    name = attr.state_name()
    if row is not None and row.attr is not None:
        name = row.attr.name
    return {
        "target": attr.target,
        "group": attr.group,
        "group_name": attr.group_name(),
        "attr": hex(attr.attr),
        "attr_name": name,
        "key": None if row is None else row.field,
        "type": None if row is None else row.value.word,
        "meaning": attr.meaning(),
        "errors": [
            {"errno": errno, "number": getattr(numbers, errno), "meaning": words}
            for errno, words in attr.errors().items()
        ],
    }
