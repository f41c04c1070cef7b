"""VMC6xx: the timers' PPIs."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.machine import Machine
from vmcfg.report import Answer, Finding, rule
from vmcfg.scalars import PPI_BASE, IrqRange, interrupt_text, is_ppi

SET = "KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_TIMER_IRQ_{})"
ATTRS = {"virtual": "VTIMER", "physical": "PTIMER", "hyp_virtual": "HVTIMER", "hyp_physical": "HPTIMER"}


@rule("VMC601", Answer(SET.format("VTIMER"), "EINVAL", "set"))
def timer_irqs_are_ppis(machine: Machine) -> Iterator[Finding]:
    """A timer's interrupt is a PPI, INTID 16 to 31.

    (arch_timer.c:kvm_arm_timer_set_attr; measured on 6.1, 6.12, 7.2)"""
    for key, attr in ATTRS.items():
        written = getattr(machine.timers, key)
        if written is None:
            continue
        number = written.first if isinstance(written, IrqRange) else written
        kernel = Answer(SET.format(attr), "EINVAL", "set")
        if isinstance(written, IrqRange) and written.prefix == "ppi":
            if number > 15:
                hint = f"PPI {number - PPI_BASE} is INTID {number}: write {number}" if is_ppi(number) else None
                message = f"timers.{key} is ppi:{number}, but a PPI's number is 0 to 15"
                yield Finding(("timers", key), message, hint, kernel=kernel)
        elif isinstance(written, IrqRange) or not is_ppi(number):
            intid = written.intid if isinstance(written, IrqRange) else number
            message = f"timers.{key} is {interrupt_text(intid)}, but a timer's interrupt is a PPI"
            hint = (
                f"PPI {number} is INTID {number + PPI_BASE}, or ppi:{number}"
                if number <= 15
                else "write an INTID from 16 to 31"
            )
            yield Finding(("timers", key), message, hint, kernel=kernel)


@rule("VMC602", Answer("KVM_RUN", "EINVAL", "run"))
def timer_ppis_distinct(machine: Machine) -> Iterator[Finding]:
    """The EL1 timers have different PPIs, also where one of them is not written: virtual 27, physical 30.

    KVM takes both numbers; the second timer finds its PPI taken at the first KVM_RUN. Without EL2 the EL2 timers are
    unused and may have any. (arch_timer.c:timer_irqs_are_valid; measured on 6.1, 6.12, 7.2)"""
    timers = machine.timers
    if timers.intid("virtual") != timers.intid("physical"):
        return
    key, other = ("physical", "virtual") if timers.physical is not None else ("virtual", "physical")
    implied = getattr(timers, other) is None
    default = " by default" if implied else ""
    message = f"timers.{key} is {interrupt_text(timers.intid(key))}, which is the EL1 {other} timer's{default}"
    related = () if implied else ((("timers", other), f"the EL1 {other} timer"),)
    yield Finding(("timers", key), message, "the usual ones: virtual 27, physical 30", related=related)


RULES = (timer_irqs_are_ppis, timer_ppis_distinct)
