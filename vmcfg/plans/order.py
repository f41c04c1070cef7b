"""The reasons for the order of the sequence: what must come before what, each with its source.

The constraints check the table; they do not define it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.plans.values import Payload, region_index

ConstraintKind = Literal["kvm", "choice"]

KVM: ConstraintKind = "kvm"
"""Without this order, KVM rejects a command, or a value is lost."""
CHOICE: ConstraintKind = "choice"
"""KVM accepts another order; this one reports problems earlier, or follows the documentation."""


class Constraint(NamedTuple):
    """Every command of `before` must come before every command of `after`; with `per_vcpu`, only
    commands of the same vCPU are compared.

    Both are names of rows; a name that ends with a dot means all rows that begin with it. With
    `by`, both are one row, whose commands are ordered by ascending `by` of their values.

    The `kind` is "kvm" if KVM itself requires the order. It then requires it only of commands with
    values that are `related`, if that is not None.
    """

    before: str
    after: str
    why: str
    source: str
    per_vcpu: bool = False
    by: Callable[[Payload], int] | None = None
    kind: ConstraintKind = KVM
    related: Callable[[Payload, Payload], bool] | None = None


def _id(payload: Payload) -> int:
    return payload[0]


_BEFORE_VCPUS = ("KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", "KVM_CAP_DIRTY_LOG_RING_ACQ_REL")
_BEFORE_MEMORY = ("KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE", "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP")


def _is_before_vcpus(capability: Payload, _: Payload) -> bool:
    return capability[0] in [CAPABILITIES[name] for name in _BEFORE_VCPUS]


def _is_before_memory(capability: Payload, _: Payload) -> bool:
    return capability[0] in [CAPABILITIES[name] for name in _BEFORE_MEMORY]


def _contains(slot: Payload, address: Payload) -> bool:
    """Return whether a memory slot contains an address."""
    _, base, size, _ = slot
    return base <= address[0] < base + size


CONSTRAINTS = (
    Constraint(
        before="vm.create",
        after="vm.feature",
        why="the capability is enabled on the VM",
        source="Documentation/virt/kvm/api.rst 4.37",
    ),
    Constraint(
        before="vm.create",
        after="vm.capability",
        why="the capability is enabled on the VM",
        source="Documentation/virt/kvm/api.rst 4.37",
    ),
    Constraint(
        before="vm.feature",
        after="vcpu.create",
        why="enabling KVM_CAP_ARM_MTE after CREATE_VCPU fails with EINVAL",
        source="arm.c:kvm_vm_ioctl_enable_cap (7.3); tested on 6.1 to 7.3",
    ),
    Constraint(
        before="vm.capability",
        after="vcpu.create",
        why=(
            "enabling KVM_CAP_ARM_WRITABLE_IMP_ID_REGS or KVM_CAP_DIRTY_LOG_RING_ACQ_REL after"
            " CREATE_VCPU fails with EINVAL"
        ),
        source="arm.c:kvm_vm_ioctl_enable_cap (7.3); tested on 6.1 to 7.3",
        related=_is_before_vcpus,
    ),
    Constraint(
        before="vm.capability",
        after="memory.slot",
        why=(
            "enabling KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE or KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP"
            " after a memory slot fails with EINVAL"
        ),
        source="arm.c:kvm_vm_ioctl_enable_cap (7.3); tested on 6.12 to 7.3",
        related=_is_before_memory,
    ),
    Constraint(
        before="vm.create",
        after="memory.slot",
        why="a slot belongs to a VM",
        source="Documentation/virt/kvm/api.rst 4.35",
    ),
    Constraint(
        before="vm.create",
        after="vcpu.create",
        why="a vCPU belongs to a VM",
        source="Documentation/virt/kvm/api.rst 4.7",
    ),
    Constraint(
        before="vm.create",
        after="gic.",
        why="the number of address bits limits every frame (E2BIG)",
        source="mmu.c:kvm_init_ipa_range; vgic-kvm-device.c:vgic_check_iorange (7.2)",
    ),
    Constraint(
        before="vcpu.create",
        after="vcpu.init",
        why=(
            "a vCPU must exist before it is initialized; the kernel documentation asks for all"
            " vCPUs first, so that registers reflect the topology"
        ),
        source="Documentation/virt/kvm/api.rst 4.82",
        kind=CHOICE,
    ),
    Constraint(
        before="vcpu.create",
        after="gic.init",
        why="CREATE_VCPU after CTRL_INIT fails with EBUSY",
        source="arm.c:kvm_arch_vcpu_precreate (7.2); tested on 6.1 to 7.3",
    ),
    Constraint(
        before="vcpu.create",
        after="vcpu.create",
        why=(
            "in ascending order of ids: KVM assigns redistributors in creation order, which is then"
            " the order of ids"
        ),
        source="vgic-mmio-v3.c:vgic_register_redist_iodev (7.2); tested on 6.1 to 7.3",
        by=_id,
        kind=CHOICE,
    ),
    Constraint(
        before="vcpu.create",
        after="gic.v3.region",
        why=(
            "if the vCPUs exist, a region that overlaps the distributor fails immediately with"
            " EINVAL; otherwise KVM accepts it, and CREATE_VCPU fails with EINVAL"
        ),
        source="tested on 6.1 to 7.3",
        kind=CHOICE,
    ),
    Constraint(
        before="vcpu.create",
        after="gic.v3.redistributors",
        why=(
            "if the vCPUs exist, redistributors that overlap the distributor fail immediately with"
            " EINVAL; otherwise the first KVM_RUN fails with EINVAL"
        ),
        source="tested on 6.1 to 7.3",
        kind=CHOICE,
    ),
    Constraint(
        before="vcpu.create",
        after="timer.",
        why="Linux 6.1 sets the PPI of a timer only on the vCPUs that already exist",
        source="tested on 6.1",
    ),
    Constraint(
        before="vcpu.init",
        after="vcpu.mpidr",
        why=(
            "SET_ONE_REG before VCPU_INIT fails with ENOEXEC, and Linux 6.1 restores the default"
            " MPIDR at every VCPU_INIT"
        ),
        source="tested on 6.1 to 7.3",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.init",
        after="pmu.",
        why="setting a PMU attribute before VCPU_INIT fails with ENODEV",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); tested",
        per_vcpu=True,
    ),
    Constraint(
        before="gic.create",
        after="gic.nr_irqs",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.v2.",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.v3.",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.init",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.create",
        after="timer.",
        why="setting the PPI of a timer without a vGIC fails with EINVAL",
        source="arch_timer.c:kvm_arm_timer_set_attr (7.2); tested on 6.1 to 7.3",
    ),
    Constraint(
        before="gic.create",
        after="pmu.irq",
        why="setting a PMU interrupt without a vGIC fails with EINVAL",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); tested on 6.1 to 7.3",
    ),
    Constraint(
        before="gic.nr_irqs",
        after="gic.init",
        why="setting NR_IRQS after CTRL_INIT fails with EBUSY; if it is never set, it is 256",
        source="vgic-kvm-device.c:vgic_set_common_attr (7.2); tested",
    ),
    Constraint(
        before="gic.v3.distributor",
        after="gic.v3.region",
        why=(
            "in this order, an overlap fails immediately with EINVAL; in the reverse order, the"
            " first KVM_RUN fails and leaves the VM unusable"
        ),
        source="tested on 6.1 to 7.3",
        kind=CHOICE,
    ),
    Constraint(
        before="gic.v3.distributor",
        after="gic.v3.redistributors",
        why=(
            "in this order, an overlap fails immediately with EINVAL; in the reverse order, the"
            " first KVM_RUN fails and leaves the VM unusable"
        ),
        source="tested on 6.1 to 7.3",
        kind=CHOICE,
    ),
    Constraint(
        before="gic.v3.region",
        after="gic.v3.region",
        why="in index order from 0: skipping an index, or not starting at 0, fails with EINVAL",
        source="vgic-mmio-v3.c:vgic_v3_alloc_redist_region (7.2); tested on 6.1 to 7.3",
        by=region_index,
    ),
    Constraint(
        before="vm.create",
        after="its.create",
        why="an ITS belongs to a VM",
        source="Documentation/virt/kvm/devices/arm-vgic-its.rst",
    ),
    Constraint(
        before="its.create",
        after="its.address",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic-its.rst",
    ),
    Constraint(
        before="its.create",
        after="its.init",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic-its.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.maintenance_irq",
        why="the attribute belongs to the device",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.maintenance_irq",
        after="gic.init",
        why="setting MAINT_IRQ after CTRL_INIT fails with EBUSY",
        source="vgic-kvm-device.c:vgic_set_common_attr (7.2); tested on 7.2",
    ),
    Constraint(
        before="vm.create",
        after="vm.smccc_filter",
        why="the filter belongs to the VM",
        source="Documentation/virt/kvm/devices/vm.rst",
    ),
    Constraint(
        before="vcpu.init",
        after="vcpu.finalize",
        why="FINALIZE before VCPU_INIT fails with ENOEXEC",
        source="Documentation/virt/kvm/api.rst 4.119",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.init",
        after="vcpu.vector_lengths",
        why="setting the vector lengths before VCPU_INIT fails with ENOENT",
        source="guest.c:set_sve_vls (7.3)",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.vector_lengths",
        after="vcpu.finalize",
        why="setting the vector lengths after FINALIZE fails with EPERM",
        source="guest.c:set_sve_vls (7.3); tested on 6.1 to 7.3",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.init",
        after="vcpu.register",
        why="SET_ONE_REG before VCPU_INIT fails with ENOEXEC",
        source="arm.c:kvm_arch_vcpu_ioctl (7.3); tested on 6.1 to 7.3",
        per_vcpu=True,
    ),
    Constraint(
        before="pmu.device",
        after="pmu.counters",
        why=(
            "SET_PMU resets the number of counters to that of the host PMU; with PMU_V3_STRICT,"
            " SET_NR_COUNTERS before SET_PMU fails with EINVAL"
        ),
        source="pmu-emul.c:kvm_arm_set_pmu (7.3); tested on 7.3",
    ),
    Constraint(
        before="pmu.device",
        after="pmu.filter",
        why=(
            "SET_PMU for another PMU fails with EBUSY if a filter is set; with PMU_V3_STRICT, a"
            " filter before SET_PMU fails with ENXIO"
        ),
        source="pmu-emul.c:kvm_arm_pmu_v3_set_pmu (7.3); tested on 7.3",
    ),
    Constraint(
        before="pmu.device",
        after="pmu.init",
        why=(
            "SET_PMU after PMU INIT fails with EBUSY; with PMU_V3_STRICT, PMU INIT before SET_PMU"
            " fails with ENXIO"
        ),
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.3); tested on 6.1 to 7.3",
        per_vcpu=True,
    ),
    Constraint(
        before="pmu.counters",
        after="pmu.init",
        why="SET_NR_COUNTERS after PMU INIT fails with EBUSY",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); tested on 7.2",
        per_vcpu=True,
    ),
    Constraint(
        before="pmu.filter",
        after="pmu.init",
        why="setting a filter after PMU INIT fails with EBUSY",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); tested on 6.1 to 7.3",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.create",
        after="vcpu.steal_time",
        why="the attribute belongs to the vCPU",
        source="Documentation/virt/kvm/devices/vcpu.rst 3",
        per_vcpu=True,
    ),
    Constraint(
        before="memory.slot",
        after="vcpu.steal_time",
        why="setting steal time outside all memory slots fails with EINVAL",
        source="pvtime.c:kvm_arm_pvtime_set_attr (7.2); tested on 6.1 to 7.3",
        related=_contains,
    ),
    Constraint(
        before="vm.create",
        after="pmu_device.create",
        why="a device belongs to a VM",
        source="Documentation/virt/kvm/api.rst 4.79",
    ),
    Constraint(
        before="vcpu.create",
        after="pmu_device.irq",
        why="the attribute identifies a vCPU by its position in the order of creation",
        source="KVM/ARM64 guest PMU support, version 8, patch 20 of 20",
    ),
    Constraint(
        before="vcpu.mpidr",
        after="pmu_device.irq_by_mpidr",
        why="the attribute identifies a vCPU by its MPIDR",
        source="as in the GICv3 API: vgic-kvm-device.c:vgic_v3_parse_attr (7.2)",
    ),
    Constraint(
        before="pmu_device.create",
        after="pmu_device.irq",
        why="the attribute belongs to the device",
        source="KVM/ARM64 guest PMU support, version 8, patch 20 of 20",
    ),
    Constraint(
        before="pmu_device.create",
        after="pmu_device.irq_by_mpidr",
        why="the attribute belongs to the device",
        source="as in the GICv3 API",
    ),
    Constraint(
        before="gic.init",
        after="pmu.init",
        why="PMU INIT before CTRL_INIT fails with ENODEV",
        source="pmu-emul.c:kvm_arm_pmu_v3_init (7.2); tested on 6.1 to 7.3",
    ),
    Constraint(
        before="pmu.irq",
        after="pmu.init",
        why=(
            "PMU INIT without an interrupt fails with ENXIO; setting the interrupt after PMU INIT"
            " fails with EBUSY"
        ),
        source="pmu-emul.c:kvm_arm_pmu_v3_init (7.2); tested on 6.1 to 7.3",
        per_vcpu=True,
    ),
)
