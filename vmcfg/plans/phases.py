"""TODO."""

from __future__ import annotations

CREATE, CONFIGURE, GIC_INIT, PMU_INIT, LATE = PHASES = (
    "create",
    "configure",
    "gic-init",
    "pmu-init",
    "late",
)

PHASE_DOCS = {
    CREATE: "The VM, its memory, its vCPUs and its devices come into being.",
    CONFIGURE: "Everything that an initialisation freezes: how many interrupts, where the frames lie, who interrupts with what.",
    GIC_INIT: "The vGIC is initialised: no vCPU can be added, and the number of interrupts is fixed.",
    PMU_INIT: "Each vCPU's PMU is initialised, which takes an initialised vGIC and claims the interrupt.",
    LATE: "What needs memory and vCPUs, and nothing before the first KVM_RUN needs.",
}
