"""VMC8xx: what an API cannot set.

Only `vmcfg emit --api` finds these: no description breaks them alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Rule
from vmcfg.plans.apis import VCPU
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.machine import Machine

UNSUPPORTED = Rule(
    "VMC801",
    "key-unsupported-by-api",
    """The interface selected with `--api` must have an attribute for everything that the
    description sets.

    The two interfaces that were never merged, pmu-device and pmu-device-mpidr, have a device with
    one attribute per vCPU: its PMU interrupt. The host PMU, the number of counters, and the event
    filter came years later, as attributes of the merged interface only. So the other two have no
    attribute for `pmu.device`, `pmu.counters`, and `pmu.filter`. `vmcfg explain identifiers` lists
    the other limits of each interface.""",
    found_by="emit",
)

RULES = (UNSUPPORTED,)


def unsupported(machine: Machine, api: str) -> Iterator[tuple[Rule, Finding]]:
    """Return a finding for each key that the description sets and that no row of `api` sends."""
    supported = {row.field for row in SEQUENCE if api in row.apis}
    for row in SEQUENCE:
        if row.field not in supported and any(True for _ in row.select(machine)):
            message = f"'{row.field}' has no attribute in '--api {api}', which sets only interrupts"
            hint = f"remove '{row.field}', or use '--api {VCPU}', the merged interface"
            path = tuple(row.field.split("."))
            yield UNSUPPORTED, Finding(path, message, hint, on="key")
