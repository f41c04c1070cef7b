"""The commands for KVM in their order: one table, read from top to bottom.

Each row selects the values that it sends from a `Machine`, each with the path of its origin. The
order is that of this list. `order` has the reasons, and a test checks every plan against them.
"""

from __future__ import annotations

from vmcfg.kernel import abi
from vmcfg.kernel.version import NEVER
from vmcfg.plans.apis import PMU_DEVICE, PMU_DEVICE_MPIDR, VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.operations import (
    ADD_MEMORY,
    CREATE_DEVICE,
    CREATE_VCPU,
    CREATE_VM,
    ENABLE_CAP,
    FINALIZE_VCPU,
    INIT_VCPU,
    SET_ATTR,
    SET_REG,
)
from vmcfg.plans.phases import CONFIGURE, CREATE, GIC_INIT, LATE, PMU_INIT
from vmcfg.plans.selection import (
    enabled_capabilities,
    enabled_features,
    finalized_features,
    gic_init,
    gic_type,
    gic_value,
    its_addresses,
    its_inits,
    its_types,
    maintenance_irq,
    memory_slots,
    pmu_device,
    pmu_device_type,
    pmu_event_ranges,
    pmu_inits,
    pmu_irqs,
    pmu_irqs_by_index,
    pmu_irqs_by_mpidr,
    pmu_number,
    redistributor_region_words,
    set_mpidrs,
    set_registers,
    smccc_ranges,
    steal_time_bases,
    timer_irq,
    vcpu_features,
    vcpu_ids,
    vector_lengths,
    vm_type,
)
from vmcfg.plans.values import (
    ADDRESS,
    ARGUMENTS,
    COUNT,
    DEVICE_TYPE,
    EVENT_FILTER,
    FEATURE,
    FEATURE_WORD,
    HOST_PMU_TYPE,
    INTID,
    MEMORY_SLOT,
    NO_VALUE,
    REGION,
    SIGNED_INTID,
    SMCCC_RANGE,
    VECTOR_LENGTHS,
    WORD,
)

_FRAME_ERRORS = {
    "EINVAL": "the address is misaligned, or exceeds 64 bits",
    "E2BIG": "the frame exceeds the guest-physical address space (ipa_bits)",
    "EEXIST": "the address is already set",
    "ENXIO": "the vGIC has another version",
}
"""KVM checks for overlaps with the distributor or the CPU interface only at the first KVM_RUN."""

_REDIST_ERRORS = _FRAME_ERRORS | {
    "EINVAL": (
        "the address is misaligned, exceeds 64 bits, or overlaps the distributor; or a region"
        " exists already"
    ),
}

_REGION_ERRORS = {
    "EINVAL": (
        "the base is misaligned, or the region overlaps the distributor or another region; the"
        " count or the flags are invalid; the index is not the next one, or is already set; or"
        " V3_ADDR_TYPE_REDIST was set before index 0"
    ),
    "E2BIG": "the region exceeds the guest-physical address space (ipa_bits)",
    "ENXIO": "the vGIC has another version",
}

_TIMER_ERRORS = {
    "EINVAL": "the INTID is not a PPI, or the VM has no in-kernel GIC yet",
    "EBUSY": "a vCPU has already run; on Linux 6.1, only if it is this vCPU",
    "ENXIO": "the kernel does not support the attribute",
}

_SOURCE = "Linux 7.2, arch/arm64/kvm/"

_DEVICE_APIS = (PMU_DEVICE, PMU_DEVICE_MPIDR)

_V8 = "KVM/ARM64 guest PMU support, version 8, patch 20 of 20 (2015-12-22); not merged"

SEQUENCE = (
    Row(
        name="vm.create",
        phase=CREATE,
        operation=CREATE_VM,
        target="vm",
        value=WORD,
        select=vm_type,
        field="ipa_bits",
        doc="Creates the VM with this number of bits of guest-physical addresses.",
        source=_SOURCE + "mmu.c:kvm_init_ipa_range",
        errors={
            "EINVAL": (
                "the host supports fewer bits, or the number is below 32 (protected KVM ignores it)"
            )
        },
    ),
    Row(
        name="vm.feature",
        phase=CREATE,
        operation=ENABLE_CAP,
        target="vm",
        value=ARGUMENTS,
        select=enabled_features,
        field="features",
        doc="Enables the capability of a feature that belongs to the VM: MTE.",
        source=_SOURCE + "arm.c:kvm_vm_ioctl_enable_cap",
        errors={"EINVAL": "the host does not support it, or a vCPU exists"},
    ),
    Row(
        name="vm.capability",
        phase=CREATE,
        operation=ENABLE_CAP,
        target="vm",
        value=ARGUMENTS,
        select=enabled_capabilities,
        field="capabilities",
        doc="Enables a capability of the VM, in file order.",
        source=_SOURCE
        + "arm.c:kvm_vm_ioctl_enable_cap; virt/kvm/kvm_main.c:kvm_vm_ioctl_enable_cap_generic",
        errors={
            "EINVAL": (
                "the kernel does not support the capability or the argument; or a vCPU or a memory"
                " slot exists that must come after it"
            ),
            "E2BIG": "the dirty ring has more than 1 MiB",
        },
        absent="EINVAL",
    ),
    Row(
        name="memory.slot",
        phase=CREATE,
        operation=ADD_MEMORY,
        target="vm",
        value=MEMORY_SLOT,
        select=memory_slots,
        field="memory",
        doc="Adds a memory slot. The program that executes the plan provides the memory.",
        source="Linux 7.2, virt/kvm/kvm_main.c:kvm_set_memory_region",
        errors={
            "EINVAL": "the slot is not page-aligned, is empty, or exceeds 64 bits",
            "EEXIST": "the slot overlaps another slot",
            "EFAULT": "the slot exceeds the guest-physical address space (ipa_bits)",
        },
    ),
    Row(
        name="vcpu.create",
        phase=CREATE,
        operation=CREATE_VCPU,
        target="vcpu",
        value=WORD,
        select=vcpu_ids,
        field="vcpus",
        doc="Creates a vCPU, in ascending order of ids. KVM derives an MPIDR from the id.",
        source=_SOURCE + "arm.c:kvm_arch_vcpu_precreate",
        errors={
            "EINVAL": "the id or the number of vCPUs exceeds the limit: 512, with GICv2 8",
            "EEXIST": "the id is already used",
            "EBUSY": "the vGIC is already initialized",
        },
    ),
    Row(
        name="gic.create",
        phase=CREATE,
        operation=CREATE_DEVICE,
        target="gic",
        value=DEVICE_TYPE,
        select=gic_type,
        field="gic.version",
        doc="Creates the in-kernel vGIC.",
        source=_SOURCE + "vgic/vgic-init.c:kvm_vgic_create",
        errors={
            "ENODEV": "the host does not support this GIC version",
            "E2BIG": "the VM has more vCPUs than this GIC supports: 8 with GICv2",
            "EEXIST": "the VM already has a vGIC",
            "EBUSY": (
                "a vCPU has already run, is being created, or another thread is in one of its"
                " ioctls"
            ),
        },
    ),
    Row(
        name="its.create",
        phase=CREATE,
        operation=CREATE_DEVICE,
        target="its",
        value=DEVICE_TYPE,
        select=its_types,
        field="gic.its",
        doc="Creates an ITS, which gives a GICv3 message-signaled interrupts (LPIs).",
        source=_SOURCE + "vgic/vgic-its.c:vgic_its_create",
        errors={
            "ENODEV": "the host does not support an ITS",
            "ENOMEM": "the host is out of memory",
        },
    ),
    Row(
        name="pmu_device.create",
        phase=CREATE,
        operation=CREATE_DEVICE,
        target="pmu",
        value=DEVICE_TYPE,
        select=pmu_device_type,
        field="vcpus.pmu_irq",
        doc=(
            "Creates the device that sets the PMU interrupts of all vCPUs. No released kernel"
            " defines a number for its type."
        ),
        since=NEVER,
        source=_V8,
        errors={},
        apis=_DEVICE_APIS,
    ),
    Row(
        name="vcpu.init",
        phase=CREATE,
        operation=INIT_VCPU,
        target="vcpu",
        value=FEATURE_WORD,
        select=vcpu_features,
        field="vcpus",
        doc="Initializes a vCPU with its features, based on the preferred target of the host.",
        source=_SOURCE + "arm.c:kvm_arch_vcpu_ioctl_vcpu_init",
        errors={
            "EINVAL": "the host lacks a feature, or another vCPU has other features",
            "ENOENT": "the kernel does not support a feature",
            "ENODEV": "the host has no PMU that KVM can use",
        },
    ),
    Row(
        name="vcpu.vector_lengths",
        phase=CREATE,
        operation=SET_REG,
        target="vcpu",
        register=abi.SVE_VLS,
        value=VECTOR_LENGTHS,
        select=vector_lengths,
        field="sve.vector_lengths",
        doc="Sets the vector lengths of a vCPU: bit n is 128 * (n + 1) bits.",
        source=_SOURCE + "guest.c:set_sve_vls",
        errors={
            "EINVAL": "the set is empty, or is not that of the host up to its greatest length",
            "ENOENT": "the vCPU has no SVE",
            "EPERM": "SVE is already finalized",
            "ENOEXEC": "the vCPU is not initialized",
        },
        readable=True,
        creates=True,
    ),
    Row(
        name="vcpu.finalize",
        phase=CREATE,
        operation=FINALIZE_VCPU,
        target="vcpu",
        value=FEATURE,
        select=finalized_features,
        field="features",
        doc="Fixes the vector lengths of a vCPU with SVE, which cannot run before this.",
        source=_SOURCE + "reset.c:kvm_arm_vcpu_finalize",
        errors={
            "EINVAL": "the vCPU has no SVE",
            "EPERM": "SVE is already finalized",
            "ENOEXEC": "the vCPU is not initialized",
        },
    ),
    Row(
        name="vcpu.mpidr",
        phase=CREATE,
        operation=SET_REG,
        target="vcpu",
        register=abi.MPIDR_EL1,
        value=WORD,
        select=set_mpidrs,
        field="vcpus.mpidr",
        doc="Sets MPIDR_EL1 of a vCPU if KVM assigns another MPIDR to its id.",
        read_doc="MPIDR_EL1, which identifies the vCPU to the guest and the GIC.",
        source=_SOURCE
        + "sys_regs.c:reset_mpidr; before 6.10 (commit e016333745c7), a reset loses the value",
        errors={
            "ENOEXEC": "the vCPU is not initialized",
            "ENOENT": "the kernel does not support the register",
        },
        readable=True,
    ),
    Row(
        name="vcpu.register",
        phase=CREATE,
        operation=SET_REG,
        target="vcpu",
        value=WORD,
        select=set_registers,
        field="registers",
        doc=(
            "Sets a register, in file order: of the whole VM through the lowest id, or of each"
            " vCPU."
        ),
        source=_SOURCE
        + "sys_regs.c:kvm_sys_reg_set_user, hypercalls.c:kvm_arm_set_fw_reg; tested on 6.1 to 7.3",
        errors={
            "EINVAL": "the kernel or the host does not allow the value",
            "ENOENT": "the kernel does not support the register",
            "ENOEXEC": "the vCPU is not initialized",
            "EBUSY": "a vCPU has already run",
        },
        absent="EINVAL",
        readable=True,
    ),
    Row(
        name="vm.smccc_filter",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vm",
        attr=abi.SMCCC_FILTER,
        value=SMCCC_RANGE,
        select=smccc_ranges,
        field="smccc_filter",
        doc=(
            "Sets how KVM treats a range of SMCCC functions: 0 handles the calls, 1 denies them, 2"
            " forwards them to the VMM."
        ),
        since=(6, 4),
        source=_SOURCE
        + "hypercalls.c:kvm_smccc_set_filter; merge kvmarm-6.4; tested: EINVAL on 6.1, accepted on"
        " 6.12",
        errors={
            "EINVAL": "the range is empty or exceeds 32 bits, or the kernel is older than 6.4",
            "EEXIST": "the range overlaps an earlier or a reserved range",
            "EBUSY": "a vCPU has already run",
        },
        absent="EINVAL",
    ),
    Row(
        name="gic.nr_irqs",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_NR_IRQS,
        value=COUNT,
        select=gic_value("nr_irqs"),
        field="gic.nr_irqs",
        doc="Sets the number of INTIDs, including the 32 private ones; the default is 256.",
        source=_SOURCE + "vgic/vgic-kvm-device.c:vgic_set_common_attr",
        errors={
            "EINVAL": (
                "the number is below 64, above 992 (the kernel documentation allows 1024), or not a"
                " multiple of 32"
            ),
            "EBUSY": "the number is already set, or the vGIC is initialized",
        },
        readable=True,
    ),
    Row(
        name="gic.v3.distributor",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_V3_DIST,
        gic_version=3,
        value=ADDRESS,
        select=gic_value("distributor", 3),
        field="gic.distributor",
        doc=(
            "Sets the address of the GICv3 distributor, 64 KiB. It is set before the other frames,"
            " so that an overlap fails immediately and does not make the VM unusable."
        ),
        source=_SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr",
        errors=_FRAME_ERRORS,
        readable=True,
    ),
    Row(
        name="gic.v3.region",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_V3_REDIST_REGION,
        gic_version=3,
        value=REGION,
        select=redistributor_region_words,
        field="gic.redistributors",
        doc=(
            "Adds a redistributor region, in index order from 0: count in bits [63:52], base in"
            " [51:16], index in [11:0]."
        ),
        source=_SOURCE + "vgic/vgic-mmio-v3.c:vgic_v3_alloc_redist_region",
        errors=_REGION_ERRORS,
        readable=True,
    ),
    Row(
        name="gic.v3.redistributors",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_V3_REDIST,
        gic_version=3,
        value=ADDRESS,
        select=gic_value("redistributors", 3),
        field="gic.redistributors",
        doc=(
            "Sets the address of the redistributors, 128 KiB per vCPU. This older form cannot be"
            " combined with a region 0, but KVM accepts a region 1 after it."
        ),
        source=_SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr",
        errors=_REDIST_ERRORS,
        readable=True,
    ),
    Row(
        name="gic.v2.distributor",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_V2_DIST,
        gic_version=2,
        value=ADDRESS,
        select=gic_value("distributor", 2),
        field="gic.distributor",
        doc="Sets the address of the GICv2 distributor, 4 KiB.",
        source=_SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr",
        errors=_FRAME_ERRORS,
        readable=True,
    ),
    Row(
        name="gic.v2.cpu_interface",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_V2_CPU,
        gic_version=2,
        value=ADDRESS,
        select=gic_value("cpu_interface", 2),
        field="gic.cpu_interface",
        doc="Sets the address of the GICv2 CPU interface, 8 KiB.",
        source=_SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr",
        errors=_FRAME_ERRORS,
        readable=True,
    ),
    Row(
        name="gic.maintenance_irq",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_MAINT_IRQ,
        value=INTID,
        select=maintenance_irq,
        field="gic.maintenance_irq",
        doc="Sets the PPI of the GIC maintenance interrupt, for guests with EL2; by default 25.",
        since=(6, 15),
        source=_SOURCE
        + "vgic/vgic-kvm-device.c:vgic_set_common_attr; merge kvmarm-6.15; tested: ENXIO on 6.12,"
        " accepted on 7.2",
        errors={
            "EINVAL": "the INTID is not a PPI",
            "EBUSY": "the vGIC is initialized",
            "ENXIO": "the kernel does not support the attribute",
        },
        readable=True,
        # Before, KVM_GET_DEVICE_ATTR fails with EBUSY after CTRL_INIT; tested on 6.16 and 6.17.
        read_since=(6, 17),
    ),
    Row(
        name="its.address",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="its",
        attr=abi.ITS_ADDR,
        value=ADDRESS,
        select=its_addresses,
        field="gic.its",
        doc="Sets the address of an ITS, 128 KiB.",
        source=_SOURCE + "vgic/vgic-its.c:vgic_its_set_attr",
        errors={
            "EINVAL": "the address is misaligned, or exceeds 64 bits",
            "E2BIG": "the ITS exceeds the guest-physical address space (ipa_bits)",
            "EEXIST": "the address is already set",
        },
        readable=True,
    ),
    Row(
        name="its.init",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="its",
        attr=abi.ITS_CTRL_INIT,
        value=NO_VALUE,
        select=its_inits,
        field="gic.its",
        doc="Initializes an ITS. KVM ignores this and always succeeds.",
        source=_SOURCE + "vgic/vgic-its.c:vgic_its_set_attr",
        errors={},
    ),
    Row(
        name="timer.virtual",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.TIMER_IRQ_VTIMER,
        value=SIGNED_INTID,
        select=timer_irq("virtual"),
        field="timers.virtual",
        doc="Sets the PPI of the EL1 virtual timer for all vCPUs.",
        source=_SOURCE + "arch_timer.c:kvm_arm_timer_set_attr",
        errors=_TIMER_ERRORS,
        readable=True,
        vm_wide=True,
    ),
    Row(
        name="timer.physical",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.TIMER_IRQ_PTIMER,
        value=SIGNED_INTID,
        select=timer_irq("physical"),
        field="timers.physical",
        doc="Sets the PPI of the EL1 physical timer for all vCPUs.",
        source=_SOURCE + "arch_timer.c:kvm_arm_timer_set_attr",
        errors=_TIMER_ERRORS,
        readable=True,
        vm_wide=True,
    ),
    Row(
        name="timer.hyp_virtual",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.TIMER_IRQ_HVTIMER,
        value=SIGNED_INTID,
        select=timer_irq("hyp_virtual"),
        field="timers.hyp_virtual",
        doc="Sets the PPI of the EL2 virtual timer for all vCPUs; used only with EL2.",
        since=(6, 4),
        source=_SOURCE
        + "arch_timer.c:kvm_arm_timer_set_attr; merge kvmarm-6.4; tested: ENXIO on 6.1,"
        " accepted on 6.12",
        errors=_TIMER_ERRORS,
        readable=True,
        vm_wide=True,
    ),
    Row(
        name="timer.hyp_physical",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.TIMER_IRQ_HPTIMER,
        value=SIGNED_INTID,
        select=timer_irq("hyp_physical"),
        field="timers.hyp_physical",
        doc="Sets the PPI of the EL2 physical timer for all vCPUs; used only with EL2.",
        since=(6, 4),
        source=_SOURCE
        + "arch_timer.c:kvm_arm_timer_set_attr; merge kvmarm-6.4; tested: ENXIO on 6.1,"
        " accepted on 6.12",
        errors=_TIMER_ERRORS,
        readable=True,
        vm_wide=True,
    ),
    Row(
        name="pmu.device",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.PMU_V3_SET_PMU,
        value=HOST_PMU_TYPE,
        select=pmu_device,
        field="pmu.device",
        doc=("Sets the host PMU for all vCPUs, which can then run only on the CPUs of that PMU."),
        source=_SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_pmu",
        errors={
            "ENXIO": "the host has no such PMU",
            "EBUSY": (
                "a vCPU has run, the PMU of this vCPU is initialized, or a filter is set for"
                " another PMU"
            ),
            "ENODEV": "the vCPU has no PMU",
        },
        vm_wide=True,
        apis=(VCPU,),
    ),
    Row(
        name="pmu.counters",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.PMU_V3_SET_NR_COUNTERS,
        value=COUNT,
        select=pmu_number("counters"),
        field="pmu.counters",
        doc=(
            "Sets the number of event counters for all vCPUs. A later SET_PMU resets it to that of"
            " the host PMU."
        ),
        since=(6, 16),
        source=_SOURCE
        + 'pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters; merge kvmarm-6.16 ("Allow userspace to limit'
        ' the number of PMU counters"); tested: ENXIO on 6.12, accepted on 7.2',
        errors={
            "EINVAL": "the host PMU has fewer counters",
            "EBUSY": (
                "the PMU of this vCPU is initialized (the kernel documentation says EBUSY also"
                " after a vCPU has run or a filter is set, where KVM succeeds)"
            ),
            "ENODEV": "the vCPU has no PMU",
            "ENXIO": "the kernel does not support the attribute",
        },
        vm_wide=True,
        apis=(VCPU,),
    ),
    Row(
        name="pmu.filter",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.PMU_V3_FILTER,
        value=EVENT_FILTER,
        select=pmu_event_ranges,
        field="pmu.filter",
        doc=(
            "Sets whether the guest may count a range of events, for all vCPUs: 0 allows, 1 denies."
            " Other events get the opposite of the first entry."
        ),
        source=_SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_attr",
        errors={
            "EINVAL": "an event exceeds 16 bits, with PMUv3.0 10 bits",
            "EBUSY": "a vCPU has run, or the PMU of this vCPU is initialized",
            "ENODEV": "the vCPU has no PMU",
        },
        vm_wide=True,
        apis=(VCPU,),
    ),
    Row(
        name="pmu.irq",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.PMU_V3_IRQ,
        value=SIGNED_INTID,
        select=pmu_irqs,
        field="vcpus.pmu_irq",
        doc="Sets the PMU overflow interrupt of one vCPU.",
        guest=(
            "The guest must configure an SPI as level-triggered (flags 4 in a device tree), because"
            " it is edge-triggered after a reset. On Linux 7.2 and later, the overflow of a PMU"
            " with an edge-triggered SPI stops its vCPU: KVM_RUN does not return, and the guest"
            " executes no instruction."
        ),
        source=_SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_attr",
        errors={
            "EINVAL": (
                "the VM has no in-kernel GIC, the INTID is not a PPI or an SPI, or it conflicts"
                " with that of another vCPU"
            ),
            "EBUSY": (
                "the interrupt is already set, or the PMU of this vCPU is initialized; KVM checks"
                " for conflicts before"
            ),
            "ENODEV": "the vCPU has no PMU",
        },
        readable=True,
        apis=(VCPU,),
    ),
    Row(
        name="pmu_device.irq",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="pmu",
        attr=abi.PMU_DEVICE_IRQ,
        value=SIGNED_INTID,
        select=pmu_irqs_by_index,
        field="vcpus.pmu_irq",
        doc=(
            "Sets the PMU overflow interrupt of the vCPU whose index is in bits [31:0] of the"
            " attribute number."
        ),
        since=NEVER,
        source=_V8,
        errors={},
        readable=True,
        apis=(PMU_DEVICE,),
    ),
    Row(
        name="pmu_device.irq_by_mpidr",
        phase=CONFIGURE,
        operation=SET_ATTR,
        target="pmu",
        attr=abi.PMU_DEVICE_IRQ,
        value=SIGNED_INTID,
        select=pmu_irqs_by_mpidr,
        field="vcpus.pmu_irq",
        doc=(
            "Sets the PMU overflow interrupt of the vCPU whose MPIDR is in bits [63:32] of the"
            " attribute number."
        ),
        since=NEVER,
        source="proposed in the review of version 8, January 2016; not merged",
        errors={},
        readable=True,
        apis=(PMU_DEVICE_MPIDR,),
    ),
    Row(
        name="gic.init",
        phase=GIC_INIT,
        operation=SET_ATTR,
        target="gic",
        attr=abi.VGIC_CTRL_INIT,
        value=NO_VALUE,
        select=gic_init,
        field="gic",
        doc=(
            "Initializes the vGIC, after the last vCPU is created and before a PMU is initialized."
            " Without a vCPU, it succeeds, although the kernel documentation says ENODEV."
        ),
        source=_SOURCE + "vgic/vgic-init.c:vgic_init; without a vCPU: tested on 6.1 to 7.3",
        errors={
            "EBUSY": "a vCPU is being created, or another thread is in one of its ioctls",
            "ENOMEM": "the host is out of memory",
        },
    ),
    Row(
        name="pmu.init",
        phase=PMU_INIT,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.PMU_V3_INIT,
        value=NO_VALUE,
        select=pmu_inits,
        field="vcpus.pmu_irq",
        doc="Initializes the PMU of one vCPU, which claims its interrupt.",
        source=_SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_init",
        errors={
            "ENODEV": "the vCPU has no PMU, or the vGIC is not initialized",
            "ENXIO": "the interrupt is not set",
            "EINVAL": "the SPI is not below the number of INTIDs",
            "EEXIST": "another device in the kernel has claimed the interrupt",
            "EBUSY": "the PMU is already initialized",
        },
        apis=(VCPU,),
    ),
    Row(
        name="vcpu.steal_time",
        phase=LATE,
        operation=SET_ATTR,
        target="vcpu",
        attr=abi.PVTIME_IPA,
        value=ADDRESS,
        select=steal_time_bases,
        field="steal_time.base",
        doc="Sets the address of the steal time of one vCPU, 64 bytes.",
        source=_SOURCE + "pvtime.c:kvm_arm_pvtime_set_attr",
        errors={
            "EINVAL": (
                "the address is not a multiple of 64, or is outside all writable memory slots"
            ),
            "EEXIST": "the address is already set",
            "ENXIO": "the host does not collect scheduler statistics",
        },
        readable=True,
    ),
)
