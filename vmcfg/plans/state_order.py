"""The reasons for the order of a restore: what must come before what, each with its source.

The constraints check the tables of `state`; they do not define them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_V3 = "Documentation/virt/kvm/devices/arm-vgic-v3.rst"
_V2 = "Documentation/virt/kvm/devices/arm-vgic.rst"
_ITS = "Documentation/virt/kvm/devices/arm-vgic-its.rst"

_QUEUED = "KVM forwards a pending interrupt only if the distributor is enabled when it is set"
_TARGET = "KVM forwards the interrupt to the vCPU that is its target when it is set"


class StateConstraint(NamedTuple):
    """Every register of `before` comes before every one of `after`.

    Both are beginnings of names. A name that begins with both belongs to the longer one.
    """

    before: str
    after: str
    why: str
    source: str


STATE_CONSTRAINTS = (
    StateConstraint("GICD_IIDR", "GICR_", "it selects how KVM treats the other registers", _V3),
    StateConstraint("GICD_IIDR", "GICD_", "it selects how KVM treats the other registers", _V3),
    StateConstraint("GICD_IIDR", "GICC_", "it selects how KVM treats the other registers", _V2),
    StateConstraint(
        "GICD_IIDR", "GICD_IGROUPR", "without it, KVM ignores the groups of a GICv2", _V2
    ),
    StateConstraint("GICD_CTLR", "GICR_ISPENDR", _QUEUED, "vgic.c:vgic_target_oracle"),
    StateConstraint("GICD_CTLR", "GICD_ISPENDR", _QUEUED, "vgic.c:vgic_target_oracle"),
    StateConstraint("GICD_CTLR", "GICD_SPENDSGIR", _QUEUED, "vgic.c:vgic_target_oracle"),
    StateConstraint("GICD_CTLR", "VGIC_LEVEL_INFO", _QUEUED, "vgic.c:vgic_target_oracle"),
    StateConstraint(
        "GICD_CTLR", "KVM_DEV_ARM_ITS_RESTORE_TABLES", _QUEUED, "vgic.c:vgic_target_oracle"
    ),
    StateConstraint("GICD_IROUTER", "GICD_ISPENDR", _TARGET, "vgic.c:vgic_target_oracle"),
    StateConstraint("GICD_IROUTER", "GICD_ISACTIVER", _TARGET, "vgic.c:vgic_target_oracle"),
    StateConstraint("GICD_ITARGETSR", "GICD_ISPENDR", _TARGET, "vgic.c:vgic_target_oracle"),
    StateConstraint("GICD_ITARGETSR", "GICD_ISACTIVER", _TARGET, "vgic.c:vgic_target_oracle"),
    StateConstraint(
        "GICR_PROPBASER",
        "GICR_CTLR",
        "KVM ignores a write while LPIs are enabled",
        "vgic-mmio-v3.c:vgic_mmio_write_propbase",
    ),
    StateConstraint(
        "GICR_PENDBASER",
        "GICR_CTLR",
        "KVM ignores a write while LPIs are enabled, and reads the table when they are enabled",
        "vgic-mmio-v3.c:vgic_mmio_write_pendbase",
    ),
    StateConstraint(
        "GICR_ICENABLER", "GICR_ISENABLER", "it clears what a write of 0 does not", _V3
    ),
    StateConstraint(
        "GICR_ICACTIVER", "GICR_ISACTIVER", "it clears what a write of 0 does not", _V3
    ),
    StateConstraint(
        "GICD_ICENABLER", "GICD_ISENABLER", "it clears what a write of 0 does not", _V3
    ),
    StateConstraint(
        "GICD_ICACTIVER", "GICD_ISACTIVER", "it clears what a write of 0 does not", _V3
    ),
    StateConstraint(
        "GICD_ICPENDR", "GICD_ISPENDR", "it clears what a write of 0 does not (GICv2)", _V2
    ),
    StateConstraint(
        "GICD_CPENDSGIR", "GICD_SPENDSGIR", "it clears what a write of 0 does not", _V2
    ),
    StateConstraint(
        "GICD_ISPENDR",
        "GICD_CPENDSGIR",
        "a pending SGI of a GICv2 gets its own vCPU as a source, which has to be cleared",
        "vgic-mmio.c:vgic_uaccess_write_spending",
    ),
    StateConstraint(
        "ICC_BPR1_EL1",
        "ICC_CTLR_EL1",
        "KVM ignores a write while CBPR is set",
        "vgic-sys-reg-v3.c:set_gic_bpr1",
    ),
    StateConstraint(
        "GICR_", "KVM_DEV_ARM_ITS_RESTORE_TABLES", "the redistributors come first", _ITS
    ),
    StateConstraint("GICR_", "GITS_", "the redistributors come first", _ITS),
    StateConstraint("GITS_CBASER", "GITS_", "a write to it resets GITS_CREADR", _ITS),
    StateConstraint(
        "GITS_IIDR",
        "KVM_DEV_ARM_ITS_RESTORE_TABLES",
        "its revision is that of the tables",
        _ITS,
    ),
    StateConstraint(
        "GITS_BASER",
        "KVM_DEV_ARM_ITS_RESTORE_TABLES",
        "it has the addresses of the tables",
        _ITS,
    ),
    StateConstraint("GITS_", "GITS_CTLR", "it enables the ITS, and is the last one", _ITS),
    StateConstraint(
        "KVM_DEV_ARM_ITS_RESTORE_TABLES",
        "GITS_CTLR",
        "it enables the ITS, and is the last one",
        _ITS,
    ),
)


def broken_constraints(names: Sequence[str]) -> list[StateConstraint]:
    """Return the constraints that a list of registers in this order breaks."""
    return [each for each in STATE_CONSTRAINTS if _is_broken(each, names)]


def _is_broken(constraint: StateConstraint, names: Sequence[str]) -> bool:
    before, after = constraint.before, constraint.after
    firsts = [place for place, name in enumerate(names) if _belongs(name, before, after)]
    lasts = [place for place, name in enumerate(names) if _belongs(name, after, before)]
    return bool(firsts and lasts) and max(firsts) > min(lasts)


def _belongs(name: str, to: str, other: str) -> bool:
    """Return whether a name begins with `to`, and not with a longer `other`."""
    return name.startswith(to) and not (len(other) > len(to) and name.startswith(other))
