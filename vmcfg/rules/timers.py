"""VMC6xx: the PPIs of the timers. VMC603-608 are in `steal_time` and `smccc`."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.description.model import DEFAULT_TIMERS, MAINTENANCE
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
"""The call that sets the PPI of a timer, by the key of `timers`."""


@machine_rule("VMC601", Answer(SET["virtual"], "EINVAL", "set"))
def invalid_timer_irq(machine: Machine) -> Iterator[Finding]:
    """The interrupt of a timer must be a PPI: INTID 16 to 31.

    Source: arch_timer.c:kvm_arm_timer_set_attr; tested on 6.1 to 7.3."""
    for key, call in SET.items():
        written = getattr(machine.timers, key)
        if written is None:
            continue
        kernel = Answer(call, "EINVAL", "set")
        finding = not_a_ppi(written, at=("timers", key), name=f"'timers.{key}'", kernel=kernel)
        if finding is not None:
            yield finding


@machine_rule("VMC602", Answer("KVM_RUN", "EINVAL", "run"))
def timer_ppi_conflict(machine: Machine) -> Iterator[Finding]:
    """Timers that are in use must have different PPIs, including those with default PPIs.

    The EL1 timers are in use on every vCPU; their defaults are INTID 27 (virtual) and 30
    (physical). With the feature `el2`, the EL2 timers (28 and 26) and the GIC maintenance interrupt
    (25) are also in use. KVM accepts every number at first; the first KVM_RUN fails if a PPI is
    already claimed. Without EL2, the EL2 timers are not in use and can have any PPI.

    Source: arch_timer.c:timer_irqs_are_valid; tested on 6.1 to 7.3, with EL2 on 6.16 and 7.3."""
    # The finding is about what is written, not about the default that it meets: defaults come
    # first.
    claims = sorted(machine.claimed_ppis(), key=lambda claimed: claimed.written)
    owners: dict[int, ClaimedPpi] = {}
    for claimed in claims:
        owner = owners.setdefault(claimed.intid, claimed)
        if owner is not claimed:
            yield _claimed_ppi(claimed, owner)


def _claimed_ppi(claimed: ClaimedPpi, owner: ClaimedPpi) -> Finding:
    """Return the finding that `owner` already claims a PPI."""
    default = "" if owner.written else " by default"
    message = (
        f"'{dotted(claimed.at)}' is {interrupt_text(claimed.intid)},"
        f" which {owner.name} uses{default}"
    )
    # Removed, a key gets its default; if that is what the other one has, both must go.
    key = claimed.at[-1]
    usual = MAINTENANCE if key == "maintenance_irq" else DEFAULT_TIMERS[str(key)]
    hint = f"remove '{key}': the default is {interrupt_text(usual)}"
    if claimed.intid == usual:
        hint = f"remove '{owner.at[-1]}' and use its default"
    related = ((owner.at, owner.name),) if owner.written else ()
    return Finding(claimed.at, message, hint=hint, related=related)


RULES = (invalid_timer_irq, timer_ppi_conflict)
