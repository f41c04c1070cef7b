"""The order of the commands in words, with the reasons for it."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.plans.command import Row
from vmcfg.plans.order import CHOICE, CONSTRAINTS, Constraint
from vmcfg.plans.phases import PHASE_DOCS
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.attribute_text import apis_note
from vmcfg.reference.layout import WIDEST, wrapped


def order_lines(width: int = WIDEST) -> Iterator[str]:
    """Yield every row in its order, then each constraint with its reason and its source."""
    yield "The commands of a plan, in their order:"
    phase = None
    for row in SEQUENCE:
        if row.phase != phase:
            phase = row.phase
            yield ""
            yield from wrapped(f"{phase}: {PHASE_DOCS[phase]}", width)
        yield from wrapped(sent_text(row), width, f"  {row.name:24} ")
    yield ""
    yield "The reasons:"
    for constraint in CONSTRAINTS:
        yield ""
        yield from wrapped(rows_text(constraint), width, "  ")
        yield from wrapped(reason_text(constraint), width, "    ")
        yield from wrapped(constraint.source, width, "    source: ")


def reason_text(constraint: Constraint) -> str:
    """Return the reason for a constraint, and whether it is only a choice of vmcfg."""
    is_choice = constraint.kind == CHOICE
    return f"{constraint.why} (KVM accepts another order)" if is_choice else constraint.why


def sent_text(row: Row) -> str:
    """Return the command of a row, with the title of its attribute and its --api, if any."""
    what = row.operation.word
    if row.attr is not None:
        what = f"{what} {row.attr.title}"
    return f"{what}{apis_note(row)}"


def rows_text(constraint: Constraint) -> str:
    """Return which rows a constraint puts in order; NAME.* means all rows whose names begin so."""
    before, after = [
        f"{name}*" if name.endswith(".") else name for name in (constraint.before, constraint.after)
    ]
    if constraint.by is not None:
        return f"{before} among themselves"
    same = " of the same vCPU" if constraint.per_vcpu else ""
    return f"{before} before {after}{same}"
