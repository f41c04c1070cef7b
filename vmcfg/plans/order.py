"""Why the sequence is in its order: what must come before what, with the authority. It checks the table, and never drives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Constraint(NamedTuple):
    """Every command of `before` comes before every command of `after`; with `per_vcpu`, only those of the same vCPU.

    Both are names of rows; a name that ends with a dot stands for all rows that begin with it. With `by` both are one
    row, whose commands go by ascending `by` of their values.
    """

    before: str
    after: str
    why: str
    source: str
    per_vcpu: bool = False
    by: Callable[[Any], int] | None = None


def _id(value: int) -> int:
    return value


def _region_index(value: int) -> int:
    return value & 0xFFF


CONSTRAINTS = (
    Constraint("vm.create", "memory.slot", "a slot belongs to a VM", "Documentation/virt/kvm/api.rst 4.35"),
    Constraint("vm.create", "vcpu.create", "a vCPU belongs to a VM", "Documentation/virt/kvm/api.rst 4.7"),
    Constraint("vm.create", "gic.", "the address width bounds every frame (E2BIG)", "mmu.c:kvm_init_ipa_range; vgic-kvm-device.c:vgic_check_iorange (7.2)"),
    Constraint("vcpu.create", "vcpu.init", "there is no vCPU to initialise before; KVM asks for all of them first, so that registers reflect the topology", "Documentation/virt/kvm/api.rst 4.82"),
    Constraint("vcpu.create", "gic.init", "CREATE_VCPU after CTRL_INIT is EBUSY", "arm.c:kvm_arch_vcpu_precreate (7.2); measured on 6.1, 6.12, 7.2"),
    Constraint("vcpu.create", "vcpu.create", "by ascending id: redistributors follow the order of creation, and so are in the order of the ids", "vgic-mmio-v3.c:vgic_register_redist_iodev (7.2); measured on 6.1, 6.12, 7.2", by=_id),
    Constraint("vcpu.create", "gic.v3.region", "with the vCPUs there, a region over the distributor is EINVAL at once; without them it is taken, and CREATE_VCPU is EINVAL", "measured on 6.1, 6.12, 7.2"),
    Constraint("vcpu.create", "gic.v3.redistributors", "with the vCPUs there, redistributors over the distributor are EINVAL at once; without them the first KVM_RUN is", "measured on 6.1, 6.12, 7.2"),
    Constraint("vcpu.create", "timer.", "6.1 gives a timer's PPI only to the vCPUs that exist then", "measured on 6.1"),
    Constraint("vcpu.init", "vcpu.mpidr", "SET_ONE_REG before VCPU_INIT is ENOEXEC, and 6.1 puts the default back at every VCPU_INIT", "measured on 6.1, 6.12, 7.2", per_vcpu=True),
    Constraint("vcpu.init", "pmu.", "PMU attributes before VCPU_INIT are ENODEV", "pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured", per_vcpu=True),
    Constraint("gic.create", "gic.nr_irqs", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic-v3.rst"),
    Constraint("gic.create", "gic.v2.", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic.rst"),
    Constraint("gic.create", "gic.v3.", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic-v3.rst"),
    Constraint("gic.create", "gic.init", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic-v3.rst"),
    Constraint("gic.create", "timer.", "a timer's PPI without a vGIC is EINVAL", "arch_timer.c:kvm_arm_timer_set_attr (7.2); measured on 6.1, 6.12, 7.2"),
    Constraint("gic.create", "pmu.irq", "a PMU interrupt without a vGIC is EINVAL", "pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 6.1, 6.12, 7.2"),
    Constraint("gic.nr_irqs", "gic.init", "NR_IRQS after CTRL_INIT is EBUSY, and 256 without it", "vgic-kvm-device.c:vgic_set_common_attr (7.2); measured"),
    Constraint("gic.v3.distributor", "gic.v3.region", "in this order an overlap is EINVAL at once; in the other it kills the VM at the first KVM_RUN", "measured on 6.1, 6.12, 7.2"),
    Constraint("gic.v3.distributor", "gic.v3.redistributors", "in this order an overlap is EINVAL at once; in the other it kills the VM at the first KVM_RUN", "measured on 6.1, 6.12, 7.2"),
    Constraint("gic.v3.region", "gic.v3.region", "by index: one that is skipped, or a first that is not 0, is EINVAL", "vgic-mmio-v3.c:vgic_v3_alloc_redist_region (7.2); measured on 6.1, 6.12, 7.2", by=_region_index),
    Constraint("vm.create", "its.create", "an ITS belongs to a VM", "Documentation/virt/kvm/devices/arm-vgic-its.rst"),
    Constraint("its.create", "its.address", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic-its.rst"),
    Constraint("its.create", "its.init", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic-its.rst"),
    Constraint("gic.create", "gic.maintenance_irq", "the attribute is the device's", "Documentation/virt/kvm/devices/arm-vgic-v3.rst"),
    Constraint("gic.maintenance_irq", "gic.init", "MAINT_IRQ after CTRL_INIT is EBUSY", "vgic-kvm-device.c:vgic_set_common_attr (7.2); measured on 7.2"),
    Constraint("vm.create", "vm.smccc_filter", "the filter is the VM's", "Documentation/virt/kvm/devices/vm.rst"),
    Constraint("vcpu.init", "vcpu.finalize", "FINALIZE before VCPU_INIT is ENOEXEC", "Documentation/virt/kvm/api.rst 4.119", per_vcpu=True),
    Constraint("pmu.device", "pmu.counters", "SET_PMU puts the number of counters back to the PMU's own", "pmu-emul.c:kvm_arm_set_pmu (7.2); measured on 7.2"),
    Constraint("pmu.device", "pmu.filter", "SET_PMU with a filter in place is EBUSY for another PMU", "pmu-emul.c:kvm_arm_pmu_v3_set_pmu (7.2)"),
    Constraint("pmu.device", "pmu.init", "SET_PMU after PMU INIT is EBUSY", "pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 6.1, 6.12, 7.2", per_vcpu=True),
    Constraint("pmu.counters", "pmu.init", "SET_NR_COUNTERS after PMU INIT is EBUSY", "pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 7.2", per_vcpu=True),
    Constraint("pmu.filter", "pmu.init", "a filter after PMU INIT is EBUSY", "pmu-emul.c:kvm_arm_pmu_v3_set_attr (7.2); measured on 6.1, 6.12, 7.2", per_vcpu=True),
    Constraint("vcpu.create", "vcpu.steal_time", "the attribute is the vCPU's", "Documentation/virt/kvm/devices/vcpu.rst 3"),
    Constraint("memory.slot", "vcpu.steal_time", "steal time where there is no memory slot is EINVAL", "pvtime.c:kvm_arm_pvtime_set_attr (7.2); measured on 6.1, 6.12, 7.2"),
    Constraint("vm.create", "pmu_device.create", "a device belongs to a VM", "Documentation/virt/kvm/api.rst 4.79"),
    Constraint("vcpu.create", "pmu_device.irq", "the attribute names a vCPU by its place in the order of creation", "KVM/ARM64 guest PMU support, version 8, patch 20 of 20"),
    Constraint("vcpu.mpidr", "pmu_device.irq_by_mpidr", "the attribute names a vCPU by the MPIDR that it has", "as the GICv3 API does: vgic-kvm-device.c:vgic_v3_parse_attr (7.2)"),
    Constraint("pmu_device.create", "pmu_device.irq", "the attribute is the device's", "KVM/ARM64 guest PMU support, version 8, patch 20 of 20"),
    Constraint("pmu_device.create", "pmu_device.irq_by_mpidr", "the attribute is the device's", "as the GICv3 API's are"),
    Constraint("gic.init", "pmu.init", "PMU INIT before CTRL_INIT is ENODEV", "pmu-emul.c:kvm_arm_pmu_v3_init (7.2); measured on 6.1, 6.12, 7.2"),
    Constraint("pmu.irq", "pmu.init", "PMU INIT without an interrupt is ENXIO, and after it the interrupt can't be set (EBUSY)", "pmu-emul.c:kvm_arm_pmu_v3_init (7.2); measured on 6.1, 6.12, 7.2", per_vcpu=True),
)  # fmt: skip
