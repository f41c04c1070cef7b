"""The arm64 ABI of KVM: numbers and names of <linux/kvm.h> and <asm/kvm.h>, as of Linux 7.3."""

from __future__ import annotations


class Attr:
    """A device attribute with the names and numbers of the uapi.

    The name of an attribute without a name is its number in hexadecimal.
    """

    __slots__ = ("group", "group_id", "id", "name")

    def __init__(self, group: str, group_id: int, name: str, id: int) -> None:
        self.group = group
        self.group_id = group_id
        self.name = name
        self.id = id

    @property
    def title(self) -> str:
        """Return the name for messages: that of the attribute, or of its group if it has none."""
        return self.group if self.name.startswith("0x") else self.name


class Register:
    """A vCPU register for KVM_SET_ONE_REG, with its name and its id."""

    __slots__ = ("id", "name")

    def __init__(self, name: str, id: int) -> None:
        self.name = name
        self.id = id

    @property
    def is_kept(self) -> bool:
        """Return whether KVM returns the value that was set."""
        return True


def setting(attr: Attr) -> str:
    """Return the call that sets an attribute: KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)."""
    return f"KVM_SET_DEVICE_ATTR({attr.title})"


PMU_V3_IRQ = Attr("KVM_ARM_VCPU_PMU_V3_CTRL", 0, "KVM_ARM_VCPU_PMU_V3_IRQ", 0)
PMU_V3_INIT = Attr("KVM_ARM_VCPU_PMU_V3_CTRL", 0, "KVM_ARM_VCPU_PMU_V3_INIT", 1)
PMU_V3_FILTER = Attr("KVM_ARM_VCPU_PMU_V3_CTRL", 0, "KVM_ARM_VCPU_PMU_V3_FILTER", 2)
PMU_V3_SET_PMU = Attr("KVM_ARM_VCPU_PMU_V3_CTRL", 0, "KVM_ARM_VCPU_PMU_V3_SET_PMU", 3)
PMU_V3_SET_NR_COUNTERS = Attr(
    "KVM_ARM_VCPU_PMU_V3_CTRL", 0, "KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS", 4
)
PMU_DEVICE_IRQ = Attr("KVM_DEV_ARM_PMU_GRP_IRQ", 0, "0x0", 0)
"""The group of the PMU device that was never merged; the attribute number identifies the vCPU."""
PVTIME_IPA = Attr("KVM_ARM_VCPU_PVTIME_CTRL", 2, "KVM_ARM_VCPU_PVTIME_IPA", 0)
SMCCC_FILTER = Attr("KVM_ARM_VM_SMCCC_CTRL", 0, "KVM_ARM_VM_SMCCC_FILTER", 0)
TIMER_IRQ_VTIMER = Attr("KVM_ARM_VCPU_TIMER_CTRL", 1, "KVM_ARM_VCPU_TIMER_IRQ_VTIMER", 0)
TIMER_IRQ_PTIMER = Attr("KVM_ARM_VCPU_TIMER_CTRL", 1, "KVM_ARM_VCPU_TIMER_IRQ_PTIMER", 1)
TIMER_IRQ_HVTIMER = Attr("KVM_ARM_VCPU_TIMER_CTRL", 1, "KVM_ARM_VCPU_TIMER_IRQ_HVTIMER", 2)
TIMER_IRQ_HPTIMER = Attr("KVM_ARM_VCPU_TIMER_CTRL", 1, "KVM_ARM_VCPU_TIMER_IRQ_HPTIMER", 3)
VGIC_V2_DIST = Attr("KVM_DEV_ARM_VGIC_GRP_ADDR", 0, "KVM_VGIC_V2_ADDR_TYPE_DIST", 0)
VGIC_V2_CPU = Attr("KVM_DEV_ARM_VGIC_GRP_ADDR", 0, "KVM_VGIC_V2_ADDR_TYPE_CPU", 1)
VGIC_V3_DIST = Attr("KVM_DEV_ARM_VGIC_GRP_ADDR", 0, "KVM_VGIC_V3_ADDR_TYPE_DIST", 2)
VGIC_V3_REDIST = Attr("KVM_DEV_ARM_VGIC_GRP_ADDR", 0, "KVM_VGIC_V3_ADDR_TYPE_REDIST", 3)
VGIC_V3_REDIST_REGION = Attr(
    "KVM_DEV_ARM_VGIC_GRP_ADDR", 0, "KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION", 5
)
VGIC_NR_IRQS = Attr("KVM_DEV_ARM_VGIC_GRP_NR_IRQS", 3, "0x0", 0)
VGIC_CTRL_INIT = Attr("KVM_DEV_ARM_VGIC_GRP_CTRL", 4, "KVM_DEV_ARM_VGIC_CTRL_INIT", 0)
VGIC_MAINT_IRQ = Attr("KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ", 9, "0x0", 0)
ITS_ADDR = Attr("KVM_DEV_ARM_VGIC_GRP_ADDR", 0, "KVM_VGIC_ITS_ADDR_TYPE", 4)
ITS_CTRL_INIT = Attr("KVM_DEV_ARM_VGIC_GRP_CTRL", 4, "KVM_DEV_ARM_VGIC_CTRL_INIT", 0)

PMU_EVENT_ACTIONS = {"allow": 0, "deny": 1}

SMCCC_ACTIONS = {"handle": 0, "deny": 1, "forward": 2}

DEVICE_TYPES = {2: ("KVM_DEV_TYPE_ARM_VGIC_V2", 5), 3: ("KVM_DEV_TYPE_ARM_VGIC_V3", 7)}
"""The device type of the vGIC, by the version of the GIC."""

ITS_TYPE = ("KVM_DEV_TYPE_ARM_VGIC_ITS", 8)

PMU_TYPE = "KVM_DEV_TYPE_ARM_PMU_V3"
"""The type of the PMU device, for which no released kernel defines a number."""

INTERRUPT_DEVICES = {
    "KVM_DEV_TYPE_ARM_VGIC_V2": 5,
    "KVM_DEV_TYPE_ARM_VGIC_V3": 7,
    "KVM_DEV_TYPE_ARM_VGIC_ITS": 8,
    "KVM_DEV_TYPE_ARM_VGIC_V5": 16,
}
"""The device types of interrupt controllers on arm64, which a host might support."""

DEVICE_NAMES = {number: name for name, number in INTERRUPT_DEVICES.items()}

MADE_DEVICES = (*(number for _, number in DEVICE_TYPES.values()), ITS_TYPE[1])
"""The types of the devices that a plan creates."""

MEM_READONLY = 2
"""KVM_MEM_READONLY: the guest can read the slot, and its writes are exits to the VMM."""

CAPABILITY_ARGUMENTS = 4
"""The number of arguments in struct kvm_enable_cap."""

CREATE_DEVICE_TEST = 1
"""The flag with which KVM_CREATE_DEVICE only checks whether the host supports the type."""

FEATURE_ID_MASKS = 3 * 8 * 8
"""The number of masks from KVM_ARM_GET_REG_WRITABLE_MASKS: by op1 (0, 1, 3), CRm, and op2."""

GET_API_VERSION = 0xAE00
CHECK_EXTENSION = 0xAE03
GET_VCPU_MMAP_SIZE = 0xAE04
CREATE_VM = 0xAE01
SET_USER_MEMORY_REGION = 0x4020AE46
SET_USER_MEMORY_REGION2 = 0x40A0AE49
SET_GSI_ROUTING = 0x4008AE6A
SET_MP_STATE = 0x4004AE99
CREATE_VCPU = 0xAE41
CREATE_DEVICE = 0xC00CAEE0
ENABLE_CAP = 0x4068AEA3
ARM_VCPU_INIT = 0x4020AEAE
ARM_VCPU_FINALIZE = 0x4004AEC2
RUN = 0xAE80
GET_ONE_REG = 0x4010AEAB
SET_ONE_REG = 0x4010AEAC
ARM_PREFERRED_TARGET = 0x8020AEAF
ARM_GET_REG_WRITABLE_MASKS = 0x8040AEB6
SET_DEVICE_ATTR = 0x4018AEE1
GET_DEVICE_ATTR = 0x4018AEE2
HAS_DEVICE_ATTR = 0x4018AEE3

MPIDR_EL1 = Register("MPIDR_EL1", 0x603000000013C005)
PMCR_EL0 = Register("PMCR_EL0", 0x603000000013DCE0)
SVE_VLS = Register("KVM_REG_ARM64_SVE_VLS", 0x606000000015FFFF)
"""512 bits: bit n is set if the guest can use vectors of 128 * (n + 1) bits."""
