"""VMC705: numbers in a plan that only a host knows, which a format that runs as it stands cannot
leave open.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Rule
from vmcfg.plans.command import Command
from vmcfg.plans.plan import Plan

VALUES_ARE_KNOWN = Rule(
    "VMC705",
    "values-are-known",
    """What a program is to perform as it stands has no value that only the host knows.

    A host PMU has a name, and another number on every host (/sys/bus/event_source/devices/NAME/type). A plan that names
    it can be had as text or JSON, for who resolves the name; in numbers, in shell and in C it can't be said.""",
    found_by="emit",
)
"""No rule of a description: `vmcfg emit` holds its plan to it, for the formats that are performed
as they stand.
"""


def unresolved_commands(plan: Plan) -> list[Command]:
    """The commands that have a number which only the host knows, so that no program can perform
    them as they stand.
    """
    return [command for command in plan.commands if not command.is_resolved]


def unresolved_findings(plan: Plan, option: str) -> Iterator[Finding]:
    """A finding for each command that has a number which only the host knows, and which `option`
    can't leave open.
    """
    for command in unresolved_commands(plan):
        if command.host_name is None:
            at: Path = next(vcpu.irq_at for vcpu in plan.machine.vcpus if vcpu.pmu_irq is not None)
            message = (
                f"no kernel has a number for KVM_DEV_TYPE_ARM_PMU_V3, which {option} can't leave"
                " open"
            )
            hint = "give your kernel's with --device-type N"
        else:
            at = command.origin or ()
            message = (
                f"only the host knows the number of its PMU {command.host_name},"
                f" which {option} can't leave open"
            )
            hint = (
                "emit text or jsonl and resolve the name on the host, where `vmcfg try` does it by"
                " itself"
            )
        yield Finding(at, message, hint)
