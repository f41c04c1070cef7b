"""VMC8xx: what an API cannot state.

`vmcfg emit --api` finds these: no description breaks them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Rule
from vmcfg.plans.apis import VCPU
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.machine import Machine

SAID = Rule(
    "VMC801",
    "api-says-it-all",
    """The API that the plan is emitted for has an attribute for everything that the description sets.

    The two that were never merged, pmu-device and pmu-device-mpidr, have a device with one attribute for each vCPU: its
    interrupt. Which host PMU counts, how many counters there are and which events are filtered came years later, with
    attributes of the merged API alone: there is nothing in the others to say `pmu.device`, `pmu.counters` and
    `pmu.filter` with. What limits each API has beyond this is in `vmcfg explain identifiers`.""",
    found_by="emit",
)

RULES = (SAID,)


def unsaid(machine: Machine, api: str) -> Iterator[tuple[Rule, Finding]]:
    """What the description of `machine` sets and no row of `api` sends, a finding for each key."""
    said = {row.field for row in SEQUENCE if api in row.apis}
    for row in SEQUENCE:
        if row.field not in said and any(True for _ in row.select(machine)):
            message = (
                f"--api {api} has no attribute for {row.field}: its device sets interrupts alone"
            )
            hint = f"leave {row.field} out, or emit --api {VCPU}, the merged one"
            yield SAID, Finding(tuple(row.field.split(".")), message, hint, on="key")
