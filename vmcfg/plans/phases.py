"""The phases of a plan, in the order in which they are executed."""

from __future__ import annotations

from typing import Literal

PlanPhase = Literal["create", "configure", "gic-init", "pmu-init", "late", "state"]

CREATE: PlanPhase = "create"
CONFIGURE: PlanPhase = "configure"
GIC_INIT: PlanPhase = "gic-init"
PMU_INIT: PlanPhase = "pmu-init"
LATE: PlanPhase = "late"
PHASES: tuple[PlanPhase, ...] = (CREATE, CONFIGURE, GIC_INIT, PMU_INIT, LATE)

STATE: PlanPhase = "state"
"""The only phase of what saves or restores a vGIC; no plan that sets up a VM has it."""

PHASE_DOCS: dict[PlanPhase, str] = {
    CREATE: "Create the VM, its memory slots, its vCPUs, and its devices.",
    CONFIGURE: (
        "Settings made before initialization: number of INTIDs, frame addresses, interrupt numbers."
    ),
    GIC_INIT: (
        "Initialize the vGIC. After this, no vCPU can be added, and the number of INTIDs is fixed."
    ),
    PMU_INIT: (
        "Initialize the PMU of each vCPU. This requires an initialized vGIC and claims the"
        " interrupt."
    ),
    LATE: (
        "Settings that need memory slots and vCPUs, and that nothing needs before the first"
        " KVM_RUN."
    ),
}
