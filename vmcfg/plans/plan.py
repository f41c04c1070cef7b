"""A plan: the commands for one machine, in order, and the header for its reader."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from vmcfg.kernel.version import version_text
from vmcfg.plans.apis import API_DOCS, VCPU, Api
from vmcfg.plans.command import Command
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.vm.machine import Machine

Scope = Literal["attributes", "vm", "state"]

ATTRIBUTES: Scope = "attributes"
WHOLE_VM: Scope = "vm"
STATE_SCOPE: Scope = "state"
"""What saves or restores the state of the vGIC of a VM that exists."""
SCOPES: tuple[Scope, ...] = (ATTRIBUTES, WHOLE_VM, STATE_SCOPE)

Perform = Literal["whole", "after-gic-init", "around-gic-init", "state"]
"""When the VMM sets up its own GIC: never, before the plan, or after its phase `create`; "state" if
the plan saves or restores the state of a GIC.
"""


def limited_to(phases: tuple[PlanPhase, ...]) -> tuple[PlanPhase, ...] | None:
    """Return the phases in the header of a plan that has only these; None if they are all."""
    return None if set(phases) == set(PHASES) else phases


class Plan(NamedTuple):
    """The commands for one machine, in order, with the `scope`, `unchecked`, and `api` they have.

    `phases` are those that the plan is limited to; None if it has all. In a plan that reads back,
    `unread` lists the attributes that KVM cannot return; in a plan that sets, it is None.
    """

    machine: Machine
    commands: tuple[Command, ...]
    scope: Scope
    unchecked: bool
    api: Api = VCPU
    unread: tuple[str, ...] | None = None
    phases: tuple[PlanPhase, ...] | None = None

    def header(self) -> dict[str, Any]:
        """Return the header of the plan by the keys of schemas/plan-v1.schema.json."""
        machine = self.machine
        version = machine.gic_version()
        header: dict[str, Any] = {
            "format": "vmcfg.plan",
            "format_version": "1.0",
            "vm": machine.name,
            "api": self.api,
            "host_kernel": version_text(machine.host_kernel),
            "scope": self.scope,
            "gic": None if version is None else f"v{version}",
            "perform": self.perform(),
        }
        if self.phases is not None:
            header["phases"] = list(self.phases)
        if self.unchecked:
            header["unchecked"] = True
        if self.api != VCPU:
            header |= {"merged": False, "note": API_DOCS[self.api]}
        if self.unread is not None:
            header["not_read_back"] = list(self.unread)
        return header

    def perform(self) -> Perform:
        """Return when the VMM sets up its own GIC: never, before or within the plan."""
        if self.scope == STATE_SCOPE:
            return "state"
        if self.machine.sets_up_gic():
            return "whole"
        return "around-gic-init" if self.scope == WHOLE_VM else "after-gic-init"
