"""Every rule over a machine, and the breaches of them."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Rule
from vmcfg.rules import (
    capabilities,
    devices,
    features,
    gic,
    host_kernel,
    memory,
    pmu,
    registers,
    smccc,
    steal_time,
    timers,
    vcpus,
)
from vmcfg.rules.kinds import MachineRule
from vmcfg.vm.machine import Machine

MACHINE_RULES: tuple[MachineRule, ...] = (
    *memory.RULES,
    *vcpus.RULES,
    *features.RULES,
    *capabilities.RULES,
    *registers.RULES,
    *gic.RULES,
    *devices.RULES,
    *pmu.RULES,
    *timers.RULES,
    *steal_time.RULES,
    *smccc.RULES,
    *host_kernel.RULES,
)
"""In the order of their ids."""


PARTS = {rule.about: attrgetter(rule.about) for rule in MACHINE_RULES if rule.about is not None}
"""What rules are about. Most descriptions have few of these."""


def findings(vm: Machine) -> Iterator[tuple[Rule, Finding]]:
    """Return every breach of a rule in `vm`, with the rule."""
    there = {about for about, part in PARTS.items() if part(vm)}
    for rule in MACHINE_RULES:
        if rule.about is None or rule.about in there:
            yield from rule.findings(vm)
