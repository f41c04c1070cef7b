"""Why the sequence is in its order: what must come before what, with the authority. It checks the
table, and never drives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vmcfg.plans.values import Payload, region_index


class Constraint(NamedTuple):
    """Every command of `before` comes before every command of `after`; with `per_vcpu`, only those
    of the same vCPU.

    Both are names of rows; a name that ends with a dot stands for all rows that begin with it. With
    `by` both are one row, whose commands go by ascending `by` of their values.
    """

    before: str
    after: str
    why: str
    source: str
    per_vcpu: bool = False
    by: Callable[[Payload], int] | None = None


def _id(payload: Payload) -> int:
    return payload[0]


CONSTRAINTS = (
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
        why="the address width bounds every frame (E2BIG)",
        source="mmu.c:kvm_init_ipa_range; vgic-kvm-device.c:vgic_check_iorange (7.2)",
    ),
    Constraint(
        before="vcpu.create",
        after="vcpu.init",
        why=(
            "there is no vCPU to initialise before; KVM asks for all of them first, so that"
            " registers reflect the topology"
        ),
        source="Documentation/virt/kvm/api.rst 4.82",
    ),
    Constraint(
        before="vcpu.create",
        after="gic.init",
        why="CREATE_VCPU after CTRL_INIT is EBUSY",
        source="arm.c:kvm_arch_vcpu_precreate (7.2); measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="vcpu.create",
        after="vcpu.create",
        why=(
            "by ascending id: redistributors follow the order of creation, and so are in the order"
            " of the ids"
        ),
        source="vgic-mmio-v3.c:vgic_register_redist_iodev (7.2); measured on 6.1, 6.12, 7.2",
        by=_id,
    ),
    Constraint(
        before="vcpu.create",
        after="gic.v3.region",
        why=(
            "with the vCPUs there, a region over the distributor is EINVAL at once; without them it"
            " is taken, and CREATE_VCPU is EINVAL"
        ),
        source="measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="vcpu.create",
        after="gic.v3.redistributors",
        why=(
            "with the vCPUs there, redistributors over the distributor are EINVAL at once; without"
            " them the first KVM_RUN is"
        ),
        source="measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="vcpu.create",
        after="timer.",
        why="6.1 gives a timer's PPI only to the vCPUs that exist then",
        source="measured on 6.1",
    ),
    Constraint(
        before="vcpu.init",
        after="vcpu.mpidr",
        why=(
            "SET_ONE_REG before VCPU_INIT is ENOEXEC, and 6.1 puts the default back at every"
            " VCPU_INIT"
        ),
        source="measured on 6.1, 6.12, 7.2",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.init",
        after="pmu.",
        why="PMU attributes before VCPU_INIT are ENODEV",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured",
        per_vcpu=True,
    ),
    Constraint(
        before="gic.create",
        after="gic.nr_irqs",
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.v2.",
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.v3.",
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.init",
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.create",
        after="timer.",
        why="a timer's PPI without a vGIC is EINVAL",
        source="arch_timer.c:kvm_arm_timer_set_attr (7.2); measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="gic.create",
        after="pmu.irq",
        why="a PMU interrupt without a vGIC is EINVAL",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="gic.nr_irqs",
        after="gic.init",
        why="NR_IRQS after CTRL_INIT is EBUSY, and 256 without it",
        source="vgic-kvm-device.c:vgic_set_common_attr (7.2); measured",
    ),
    Constraint(
        before="gic.v3.distributor",
        after="gic.v3.region",
        why=(
            "in this order an overlap is EINVAL at once; in the other it kills the VM at the first"
            " KVM_RUN"
        ),
        source="measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="gic.v3.distributor",
        after="gic.v3.redistributors",
        why=(
            "in this order an overlap is EINVAL at once; in the other it kills the VM at the first"
            " KVM_RUN"
        ),
        source="measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="gic.v3.region",
        after="gic.v3.region",
        why="by index: one that is skipped, or a first that is not 0, is EINVAL",
        source="vgic-mmio-v3.c:vgic_v3_alloc_redist_region (7.2); measured on 6.1, 6.12, 7.2",
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
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic-its.rst",
    ),
    Constraint(
        before="its.create",
        after="its.init",
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic-its.rst",
    ),
    Constraint(
        before="gic.create",
        after="gic.maintenance_irq",
        why="the attribute is the device's",
        source="Documentation/virt/kvm/devices/arm-vgic-v3.rst",
    ),
    Constraint(
        before="gic.maintenance_irq",
        after="gic.init",
        why="MAINT_IRQ after CTRL_INIT is EBUSY",
        source="vgic-kvm-device.c:vgic_set_common_attr (7.2); measured on 7.2",
    ),
    Constraint(
        before="vm.create",
        after="vm.smccc_filter",
        why="the filter is the VM's",
        source="Documentation/virt/kvm/devices/vm.rst",
    ),
    Constraint(
        before="vcpu.init",
        after="vcpu.finalize",
        why="FINALIZE before VCPU_INIT is ENOEXEC",
        source="Documentation/virt/kvm/api.rst 4.119",
        per_vcpu=True,
    ),
    Constraint(
        before="pmu.device",
        after="pmu.counters",
        why="SET_PMU puts the number of counters back to the PMU's own",
        source="pmu-emul.c:kvm_arm_set_pmu (7.2); measured on 7.2",
    ),
    Constraint(
        before="pmu.device",
        after="pmu.filter",
        why="SET_PMU with a filter in place is EBUSY for another PMU",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_pmu (7.2)",
    ),
    Constraint(
        before="pmu.device",
        after="pmu.init",
        why="SET_PMU after PMU INIT is EBUSY",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 6.1, 6.12, 7.2",
        per_vcpu=True,
    ),
    Constraint(
        before="pmu.counters",
        after="pmu.init",
        why="SET_NR_COUNTERS after PMU INIT is EBUSY",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 7.2",
        per_vcpu=True,
    ),
    Constraint(
        before="pmu.filter",
        after="pmu.init",
        why="a filter after PMU INIT is EBUSY",
        source="pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 6.1, 6.12, 7.2",
        per_vcpu=True,
    ),
    Constraint(
        before="vcpu.create",
        after="vcpu.steal_time",
        why="the attribute is the vCPU's",
        source="Documentation/virt/kvm/devices/vcpu.rst 3",
    ),
    Constraint(
        before="memory.slot",
        after="vcpu.steal_time",
        why="steal time where there is no memory slot is EINVAL",
        source="pvtime.c:kvm_arm_pvtime_set_attr (7.2); measured on 6.1, 6.12, 7.2",
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
        why="the attribute names a vCPU by its place in the order of creation",
        source="KVM/ARM64 guest PMU support, version 8, patch 20 of 20",
    ),
    Constraint(
        before="vcpu.mpidr",
        after="pmu_device.irq_by_mpidr",
        why="the attribute names a vCPU by the MPIDR that it has",
        source="as the GICv3 API does: vgic-kvm-device.c:vgic_v3_parse_attr (7.2)",
    ),
    Constraint(
        before="pmu_device.create",
        after="pmu_device.irq",
        why="the attribute is the device's",
        source="KVM/ARM64 guest PMU support, version 8, patch 20 of 20",
    ),
    Constraint(
        before="pmu_device.create",
        after="pmu_device.irq_by_mpidr",
        why="the attribute is the device's",
        source="as the GICv3 API's are",
    ),
    Constraint(
        before="gic.init",
        after="pmu.init",
        why="PMU INIT before CTRL_INIT is ENODEV",
        source="pmu-emul.c:kvm_arm_pmu_v3_init (7.2); measured on 6.1, 6.12, 7.2",
    ),
    Constraint(
        before="pmu.irq",
        after="pmu.init",
        why=(
            "PMU INIT without an interrupt is ENXIO, and after it the interrupt can't be set"
            " (EBUSY)"
        ),
        source="pmu-emul.c:kvm_arm_pmu_v3_init (7.2); measured on 6.1, 6.12, 7.2",
        per_vcpu=True,
    ),
)
