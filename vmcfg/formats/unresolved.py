"""VMC705: numbers in a plan that only a host knows, and that an executable format needs."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.diagnostic import Diagnostic, diagnose
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import Rule
from vmcfg.plans.command import Command
from vmcfg.plans.plan import Plan
from vmcfg.text.tree import Tree

UNRESOLVED_VALUE = Rule(
    "VMC705",
    "unresolved-value",
    """An executable plan must not have values that only the host knows.

    A host PMU has a name, and a number that differs between hosts
    (/sys/bus/event_source/devices/NAME/type). With one `--host`, or with several hosts that have
    the same number, `vmcfg emit` writes the number. Without, `--numbers`, `sh`, and `c` cannot be
    emitted; `text`, `json`, and `jsonl` contain the name, for a program that resolves it.""",
    found_by="emit",
)
"""Not a rule about descriptions: `vmcfg emit` checks plans for executable formats with it."""


def unresolved_commands(plan: Plan) -> list[Command]:
    """Return the commands with a number that only the host knows."""
    return [command for command in plan.commands if not command.is_resolved]


def unresolved_findings(plan: Plan, option: str) -> Iterator[Finding]:
    """Return a finding for each command whose number `option` needs and only the host knows."""
    for command in unresolved_commands(plan):
        if command.host_name is None:
            at: Path = next(vcpu.irq_at for vcpu in plan.machine.vcpus if vcpu.pmu_irq is not None)
            message = (
                f"{option} requires the number of KVM_DEV_TYPE_ARM_PMU_V3, which no released"
                " kernel defines"
            )
            hint = "add '--device-type N' with the number in your kernel"
        else:
            at = command.origin or ()
            message = (
                f"{option} requires the number of PMU '{command.host_name}',"
                " which only the host knows"
            )
            hint = "add '--host' with the host file of the host, or use '--format jsonl'"
        yield Finding(at, message, hint)


def unresolved_diagnostics(plan: Plan, tree: Tree, option: str) -> list[Diagnostic]:
    """Return the findings of `unresolved_findings` as diagnostics of the description."""
    return [
        diagnose(tree.file, UNRESOLVED_VALUE, finding, tree.position(finding.path, finding.on), ())
        for finding in unresolved_findings(plan, option)
    ]
