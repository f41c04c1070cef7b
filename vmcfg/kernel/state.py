"""The attributes of <asm/kvm.h> with the state of a vGIC, which VMMs save and restore.

vmcfg does not set them, but logs contain their numbers.
"""

from __future__ import annotations

STATE_GROUPS = {
    ("gic", 1): "KVM_DEV_ARM_VGIC_GRP_DIST_REGS",
    ("gic", 2): "KVM_DEV_ARM_VGIC_GRP_CPU_REGS",
    ("gic", 5): "KVM_DEV_ARM_VGIC_GRP_REDIST_REGS",
    ("gic", 6): "KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS",
    ("gic", 7): "KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO",
    ("its", 8): "KVM_DEV_ARM_VGIC_GRP_ITS_REGS",
}
"""The groups of registers, by target and number."""

STATE_SIZES = {
    ("gic", 1): 4,
    ("gic", 2): 4,
    ("gic", 5): 4,
    ("gic", 6): 8,
    ("gic", 7): 4,
    ("its", 8): 8,
}
"""The number of bytes that KVM reads and writes at the address of a register of these groups
(vgic-kvm-device.c, vgic-its.c, Linux 7.3).
"""

STATE_ERRORS = {
    "EINVAL": "no vCPU has this MPIDR or id, the offset is misaligned, or the value is invalid",
    "ENOENT": "there is no such system register",
    "ENXIO": "there is no such register; of an ITS, also if its address is not set",
    "EBUSY": "a vCPU is in an ioctl; with GICv3, also if the vGIC is not initialized",
}
"""The errors of registers of these groups (vgic-kvm-device.c:vgic_v3_attr_regs_access,
vgic-its.c:vgic_its_attr_regs_access, Linux 7.2).
"""

CTRL_GROUP = ("KVM_DEV_ARM_VGIC_GRP_CTRL", 4)

STATE_CTRLS = {
    ("its", 1): "KVM_DEV_ARM_ITS_SAVE_TABLES",
    ("its", 2): "KVM_DEV_ARM_ITS_RESTORE_TABLES",
    ("gic", 3): "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES",
    ("its", 4): "KVM_DEV_ARM_ITS_CTRL_RESET",
}
"""The attributes of the group CTRL except INIT, by target and number."""
