"""VMC6xx: the timers' PPIs. `steal_time` and `smccc` have the same hundred."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import dotted
from vmcfg.findings.rule import Answer
from vmcfg.kernel import abi
from vmcfg.rules.gic import not_a_ppi
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import ClaimedPpi, Machine

SET = {
    "virtual": abi.setting(abi.TIMER_IRQ_VTIMER),
    "physical": abi.setting(abi.TIMER_IRQ_PTIMER),
    "hyp_virtual": abi.setting(abi.TIMER_IRQ_HVTIMER),
    "hyp_physical": abi.setting(abi.TIMER_IRQ_HPTIMER),
}
"""The call that sets a timer's PPI, by the key of `timers`."""


@machine_rule("VMC601", Answer(SET["virtual"], "EINVAL", "set"))
def timer_irqs_are_ppis(machine: Machine) -> Iterator[Finding]:
    """A timer's interrupt is a PPI, INTID 16 to 31.

    (arch_timer.c:kvm_arm_timer_set_attr; measured on 6.1, 6.12, 7.2)"""
    for key, call in SET.items():
        written = getattr(machine.timers, key)
        if written is None:
            continue
        kernel = Answer(call, "EINVAL", "set")
        finding = not_a_ppi(written, at=("timers", key), name=f"timers.{key}", kernel=kernel)
        if finding is not None:
            yield finding


@machine_rule("VMC602", Answer("KVM_RUN", "EINVAL", "run"))
def timer_ppis_distinct(machine: Machine) -> Iterator[Finding]:
    """The timers in use have different PPIs, also where they are not written.

    Those are the EL1 timers, 27 (virtual) and 30 (physical) by default; with `el2` also the EL2 timers, 28 and 26, and
    the GIC's maintenance interrupt, 25. KVM takes all numbers; the second one finds its PPI taken at the first KVM_RUN.
    Without EL2 the EL2 timers are unused and may have any. (arch_timer.c:timer_irqs_are_valid; measured on 6.1, 6.12,
    7.2, with EL2 on 7.2)"""
    # What is written is at fault, and not a default that it meets: defaults come first.
    claims = sorted(machine.claimed_ppis(), key=lambda claimed: claimed.written)
    owners: dict[int, ClaimedPpi] = {}
    for claimed in claims:
        owner = owners.setdefault(claimed.intid, claimed)
        if owner is not claimed:
            yield _taken_ppi(claimed, owner, machine)


def _taken_ppi(claimed: ClaimedPpi, owner: ClaimedPpi, machine: Machine) -> Finding:
    """The finding that a PPI has an owner already."""
    default = "" if owner.written else " by default"
    message = (
        f"{dotted(claimed.at)} is {interrupt_text(claimed.intid)},"
        f" but that is taken{default} by {owner.name}"
    )
    usual = "virtual 27, physical 30"
    if machine.has_el2():
        usual += ", hyp_virtual 28, hyp_physical 26, maintenance_irq 25"
    related = ((owner.at, owner.name),) if owner.written else ()
    return Finding(claimed.at, message, hint=f"the usual ones: {usual}", related=related)


RULES = (timer_irqs_are_ppis, timer_ppis_distinct)
