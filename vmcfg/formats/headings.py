"""The sentences about a plan that several formats print before its commands."""

from __future__ import annotations

from vmcfg.plans.apis import API_DOCS, VCPU
from vmcfg.plans.plan import STATE_SCOPE, Plan


def cautions(plan: Plan) -> list[str]:
    """Return what is unusual about a plan, in one or two sentences each."""
    told = []
    if plan.unchecked:
        told.append(
            "It was emitted without checks: KVM might reject it, or accept what guests cannot use."
        )
    if plan.api != VCPU:
        told.append(f"Its API is {plan.api}. {API_DOCS[plan.api]}")
    if plan.unread:
        told.append(f"KVM cannot return {', '.join(plan.unread)}: they are set but not read back.")
    return told


PERFORM = {
    "whole": "executed in one step",
    "after-gic-init": (
        "executed in one step, between CTRL_INIT of the GIC that the VMM sets up and the first"
        " KVM_RUN"
    ),
    "around-gic-init": (
        "executed in two steps: phase `create` first; the rest after CTRL_INIT of the GIC that the"
        " VMM sets up"
    ),
    "save": (
        "executed while no vCPU runs; the memory of the guest and the registers of the vCPUs are"
        " saved after that"
    ),
    "restore": (
        "executed on a VM of the same plan whose memory is restored, before the first KVM_RUN"
    ),
    "get": (
        "executed after the plan whose values they read back, before or after the first KVM_RUN"
    ),
}
"""How a plan is executed, by `perform` of its header; ``get`` is for plans that only read back, and
``save`` and ``restore`` are for the state of a vGIC.
"""


def performed(plan: Plan) -> str:
    """Return how a plan is executed, in words."""
    if plan.scope == STATE_SCOPE:
        return PERFORM["restore" if plan.unread is None else "save"]
    return PERFORM["get" if plan.unread is not None else plan.perform()]
