"""The order of the commands as data: every row with what it requires, and every constraint."""

from __future__ import annotations

import json
from typing import Any

from vmcfg.kernel.version import NEVER, version_text
from vmcfg.plans.command import Row
from vmcfg.plans.order import CONSTRAINTS, Constraint
from vmcfg.plans.sequence import SEQUENCE


def order_json() -> str:
    """Return one JSON object by schemas/order-v1.schema.json: rows in the order of a plan."""
    order = {
        "format": "vmcfg.order",
        "format_version": "1.0",
        "rows": [_row(row) for row in SEQUENCE],
        "constraints": [_constraint(constraint) for constraint in CONSTRAINTS],
    }
    return json.dumps(order, indent=2) + "\n"


def _row(row: Row) -> dict[str, Any]:
    attr = row.attr
    return {
        "row": row.name,
        "phase": row.phase,
        "op": row.operation.word,
        "ioctl": row.operation.ioctl,
        "target": row.target,
        "group": None if attr is None else attr.group,
        "attr": None if attr is None else attr.name,
        "key": row.field,
        "since": None if row.since == NEVER else version_text(row.since),
        "gic_version": row.gic_version,
        "apis": list(row.apis),
        "vm_wide": row.vm_wide,
        "creates": row.creates,
        "errors": dict(row.errors),
        "source": row.source,
    }


def _constraint(constraint: Constraint) -> dict[str, Any]:
    return {
        "before": _rows(constraint.before),
        "after": _rows(constraint.after),
        "kind": constraint.kind,
        "per_vcpu": constraint.per_vcpu,
        "ascending": constraint.by is not None,
        "why": constraint.why,
        "source": constraint.source,
    }


def _rows(name: str) -> list[str]:
    """Return the names of the rows that a constraint means: one, or all that begin with `name`."""
    return [
        row.name
        for row in SEQUENCE
        if row.name == name or (name.endswith(".") and row.name.startswith(name))
    ]
