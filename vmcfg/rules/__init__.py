"""What must hold: every rule of vmcfg, a topic a file, the hundreds of their ids naming the files."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg import decode, machine, tree
from vmcfg.machine import Machine
from vmcfg.report import Finding, Rule
from vmcfg.rules import api, gic, host, kernel, memory, pmu, timers, vcpus

MACHINE_RULES: tuple[Rule, ...] = (*memory.RULES, *vcpus.RULES, *gic.RULES, *pmu.RULES, *timers.RULES, *host.RULES)
"""The rules that look at a whole machine, in the order of their ids."""


def every_rule() -> list[Rule]:
    """Every rule that a finding may name, in the order of their ids."""
    from vmcfg.rules import hosts

    rules = (
        *tree.RULES,
        *decode.RULES,
        *machine.RULES,
        *MACHINE_RULES,
        host.VALUES_ARE_KNOWN,
        *hosts.RULES,
        *api.RULES,
        *kernel.RULES,
    )
    return sorted(rules, key=lambda rule: rule.id)


def findings(vm: Machine) -> Iterator[tuple[Rule, Finding]]:
    """Every breach of a rule in `vm`, with the rule that it breaks."""
    for rule in MACHINE_RULES:
        assert rule.check is not None
        for finding in rule.check(vm):
            yield rule, finding
