"""The order of the commands in words, and why it is this one."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.plans.order import CONSTRAINTS, Constraint
from vmcfg.plans.phases import PHASE_DOCS
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.attribute_text import apis_note


def order_lines() -> Iterator[str]:
    """Every row in its order, and each constraint with its reason."""
    yield "What KVM is told, in this order:"
    phase = None
    for row in SEQUENCE:
        if row.phase != phase:
            phase = row.phase
            yield ""
            yield f"{phase}: {PHASE_DOCS[phase]}"
        what = row.operation.word
        if row.attr is not None:
            what = f"{what} {row.attr.title}"
        yield f"  {row.name:24} {what}{apis_note(row)}"
    yield ""
    yield "Why:"
    for constraint in CONSTRAINTS:
        yield f"  {_rows_of(constraint)}: {constraint.why}"
        yield f"    ({constraint.source})"


def _rows_of(constraint: Constraint) -> str:
    """The rows that a constraint is about; a name with a dot at its end means all that begin so."""
    before, after = [
        f"{name}*" if name.endswith(".") else name for name in (constraint.before, constraint.after)
    ]
    if constraint.by is not None:
        return before
    same = " of the same vCPU" if constraint.per_vcpu else ""
    return f"{before} before {after}{same}"
