"""The phases of a plan, in the order in which they are performed."""

from __future__ import annotations

from typing import Literal

PlanPhase = Literal["create", "configure", "gic-init", "pmu-init", "late"]

CREATE: PlanPhase = "create"
CONFIGURE: PlanPhase = "configure"
GIC_INIT: PlanPhase = "gic-init"
PMU_INIT: PlanPhase = "pmu-init"
LATE: PlanPhase = "late"
PHASES: tuple[PlanPhase, ...] = (CREATE, CONFIGURE, GIC_INIT, PMU_INIT, LATE)

PHASE_DOCS: dict[PlanPhase, str] = {
    CREATE: "The VM, its memory, its vCPUs and its devices come into being.",
    CONFIGURE: (
        "Everything that an initialisation freezes: how many interrupts, where the frames lie,"
        " who interrupts with what."
    ),
    GIC_INIT: (
        "The vGIC is initialised: no vCPU can be added, and the number of interrupts is fixed."
    ),
    PMU_INIT: (
        "Each vCPU's PMU is initialised, which takes an initialised vGIC and claims the interrupt."
    ),
    LATE: "What needs memory and vCPUs, and nothing before the first KVM_RUN needs.",
}
