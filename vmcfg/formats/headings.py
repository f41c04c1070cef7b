"""A plan written down, a module a format. A format is a function of the plan, and of the tree that
has its places.
"""

from __future__ import annotations

from vmcfg.plans.apis import API_DOCS, VCPU
from vmcfg.plans.plan import Plan


def cautions(plan: Plan) -> list[str]:
    """What a reader must know of a plan that is not what one takes a plan for, a sentence or two
    each.
    """
    told = []
    if plan.unchecked:
        told.append(
            "It was not held to the rules: KVM may refuse it, or take what a guest can't use."
        )
    if plan.api != VCPU:
        told.append(f"Its API is {plan.api}. {API_DOCS[plan.api]}")
    if plan.unread:
        told.append(
            f"KVM has no GET for {', '.join(plan.unread)}, so these are set but not read back."
        )
    return told


PERFORM = {
    "whole": "performed as a whole",
    "after-gic-init": (
        "performed as one block, between CTRL_INIT of the monitor's own GIC and the first KVM_RUN"
    ),
    "around-gic-init": (
        "performed in two: `create`; then, after CTRL_INIT of the GIC that the monitor makes, the"
        " rest"
    ),
    "get": (
        "performed after the plan whose values they read back, before or after the first KVM_RUN"
    ),
}
"""How a plan is performed, by its header's `perform`; or, where it sets nothing, by the name of
what it does.
"""


def performed(plan: Plan) -> str:
    """How a plan is performed, in words."""
    return PERFORM["get" if plan.unread is not None else plan.perform()]
