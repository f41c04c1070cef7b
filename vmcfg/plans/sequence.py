"""What KVM is told, in which order: the one table of commands, read top to bottom.

Each row selects from a `Machine` the values that it sends, each with the path that it comes from. The order is this
list; why it may not be another is in `order`, whose constraints a test replays against every plan.
"""

from __future__ import annotations

from vmcfg.kernel import abi
from vmcfg.kernel.version import LINUX_6_1, NEVER
from vmcfg.plans.apis import PMU_DEVICE, PMU_DEVICE_MPIDR, VCPU
from vmcfg.plans.phases import CONFIGURE, CREATE, GIC_INIT, LATE, PMU_INIT
from vmcfg.plans.rows import Row
from vmcfg.plans.selection import (
    _features,
    _finalized,
    _gic,
    _gic_init,
    _gic_value,
    _its,
    _its_created,
    _maintenance_irq,
    _memory,
    _mpidr,
    _pmu_device,
    _pmu_filter,
    _pmu_init,
    _pmu_irq,
    _pmu_irq_by_index,
    _pmu_irq_by_mpidr,
    _pmu_value,
    _regions,
    _smccc_filter,
    _steal_time,
    _timer,
    _vcpus,
    _vm,
)
from vmcfg.plans.values import (
    _memory_shown,
    decimal,
    device_type,
    event_filter,
    hexadecimal,
    host_pmu,
    intid,
    nothing,
    region_index,
    smccc_range,
    unasked,
)

_FRAME_ERRORS = {
    "EINVAL": "not aligned, wraps around, or overlaps another frame",
    "E2BIG": "beyond the guest's address space (ipa_bits)",
    "EEXIST": "this address is set already",
}

_TIMER_ERRORS = {
    "EINVAL": "not a PPI, or there is no in-kernel GIC yet",
    "EBUSY": "a vCPU has run already",
    "ENXIO": "this kernel does not know the attribute",
}

_SOURCE = "linux 7.2, arch/arm64/kvm/"

_DEVICE_APIS = (PMU_DEVICE, PMU_DEVICE_MPIDR)

_V8 = "KVM/ARM64 guest PMU support, version 8, patch 20 of 20 (2015-12-22); not merged"

SEQUENCE = (
    Row(
        "vm.create", CREATE, "create-vm", "vm", None, "u64", hexadecimal, _vm,
        "Makes the VM, with guest-physical addresses of so many bits.",
        "ipa_bits", LINUX_6_1, _SOURCE + "mmu.c:kvm_init_ipa_range",
        {"EINVAL": "the host has fewer bits, or fewer than 32 were asked for"},
    ),
    Row(
        "memory.slot", CREATE, "add-memory", "vm", None, "memory", _memory_shown, _memory,
        "Adds a memory slot; who performs the plan brings the pages.",
        "memory", LINUX_6_1, "linux 7.2, virt/kvm/kvm_main.c:kvm_set_memory_region",
        {
            "EINVAL": "not page-aligned, empty, or wraps around",
            "EEXIST": "overlaps another slot",
            "EFAULT": "beyond the guest's address space (ipa_bits)",
        },
    ),
    Row(
        "vcpu.create", CREATE, "create-vcpu", "vcpu", None, "u64", hexadecimal, _vcpus,
        "Makes a vCPU, in ascending order of ids. KVM derives an MPIDR from the id.",
        "vcpus", LINUX_6_1, _SOURCE + "arm.c:kvm_arch_vcpu_precreate",
        {
            "EINVAL": "the id or the number of vCPUs is over the limit: 512, with GICv2 8",
            "EEXIST": "this id is taken",
            "EBUSY": "the vGIC is initialised already",
        },
    ),
    Row(
        "gic.create", CREATE, "create-device", "gic", None, "u32", decimal, _gic,
        "Makes the in-kernel vGIC.",
        "gic.version", LINUX_6_1, _SOURCE + "vgic/vgic-init.c:kvm_vgic_create",
        {
            "ENODEV": "this host can't emulate this GIC",
            "E2BIG": "there are more vCPUs than this GIC can serve: 8 with GICv2",
            "EEXIST": "there is a vGIC already",
            "EBUSY": "a vCPU has run already",
        },
    ),
    Row(
        "its.create", CREATE, "create-device", "its", None, "u32", decimal, _its_created,
        "Makes an ITS, by which a GICv3 gets message-signalled interrupts (LPIs).",
        "gic.its", LINUX_6_1, _SOURCE + "vgic/vgic-its.c:vgic_its_create",
        {"ENODEV": "this host can't emulate an ITS", "ENOMEM": "the host is out of memory"},
    ),
    Row(
        "pmu_device.create", CREATE, "create-device", "pmu", None, "u32", device_type, _pmu_device,
        "Makes the device by which the PMU interrupts of all vCPUs are set; its type has no number in any kernel.",
        "vcpus.pmu_irq", NEVER, _V8, {}, apis=_DEVICE_APIS,
    ),
    Row(
        "vcpu.init", CREATE, "init-vcpu", "vcpu", None, "features", ",".join, _features,
        "Initialises a vCPU with its features, starting from the host's preferred target.",
        "vcpus", LINUX_6_1, _SOURCE + "arm.c:kvm_arch_vcpu_ioctl_vcpu_init",
        {
            "EINVAL": "the host lacks a feature, or another vCPU has other features",
            "ENOENT": "this kernel does not know a feature",
            "ENODEV": "the host has no PMU that KVM can use",
        },
    ),
    Row(
        "vcpu.finalize", CREATE, "finalize-vcpu", "vcpu", None, "s32", decimal, _finalized,
        "Fixes the vector lengths of a vCPU with SVE, which can't run before.",
        "features", LINUX_6_1, _SOURCE + "reset.c:kvm_arm_vcpu_finalize",
        {"EINVAL": "the vCPU has no SVE", "EPERM": "finalised already"},
    ),
    Row(
        "vcpu.mpidr", CREATE, "set-reg", "vcpu", None, "u64", hexadecimal, _mpidr,
        "Sets MPIDR_EL1 of a vCPU whose MPIDR is not the one that KVM gives to its id.",
        "vcpus.mpidr", LINUX_6_1, _SOURCE + "sys_regs.c:reset_mpidr; before 6.10 (commit e016333745c7) a reset loses the value",
        {"ENOEXEC": "the vCPU is not initialised", "ENOENT": "this kernel does not know the register"},
        unasked,
    ),
    Row(
        "vm.smccc_filter", CONFIGURE, "set-attr", "vm", abi.SMCCC_FILTER, "kvm_smccc_filter", smccc_range, _smccc_filter,
        "What becomes of the guest's calls of a range of SMCCC functions: 0 KVM handles them, 1 denies, 2 forwards.",
        "smccc_filter", (6, 4), _SOURCE + "hypercalls.c:kvm_smccc_set_filter; merge kvmarm-6.4; refused by 6.1, taken by 6.12 (measured)",
        {
            "EINVAL": "an empty range, one that wraps around, or a kernel before 6.4",
            "EEXIST": "overlaps an earlier range, or one that KVM reserves",
            "EBUSY": "a vCPU has run already",
        },
        absent="EINVAL",
    ),
    Row(
        "gic.nr_irqs", CONFIGURE, "set-attr", "gic", abi.VGIC_NR_IRQS, "u32", decimal, _gic_value("nr_irqs"),
        "How many INTIDs the GIC has, the 32 private ones included; 256 where it is not set.",
        "gic.nr_irqs", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:vgic_set_common_attr",
        {
            "EINVAL": "less than 64, more than 992 (whatever the documents say of 1024), or not a multiple of 32",
            "EBUSY": "set already, or the vGIC is initialised",
        },
        unasked,
    ),
    Row(
        "gic.v3.distributor", CONFIGURE, "set-attr", "gic", abi.VGIC_V3_DIST, "u64", hexadecimal,
        _gic_value("distributor", 3),
        "Where the GICv3 distributor's 64 KiB lie. First of the frames, so that an overlap is an errno and not a dead VM.",
        "gic.distributor", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.v3.region", CONFIGURE, "set-attr", "gic", abi.VGIC_V3_REDIST_REGION, "u64", hexadecimal, _regions,
        "A redistributor region: count in bits 63..52, base in 51..16, index in 11..0. In index order from 0.",
        "gic.redistributors", LINUX_6_1, _SOURCE + "vgic/vgic-mmio-v3.c:vgic_v3_alloc_redist_region", _FRAME_ERRORS, region_index,
    ),
    Row(
        "gic.v3.redistributors", CONFIGURE, "set-attr", "gic", abi.VGIC_V3_REDIST, "u64", hexadecimal,
        _gic_value("redistributors", 3),
        "Where the redistributors lie, 128 KiB a vCPU; the older form, which can't be mixed with regions.",
        "gic.redistributors", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.v2.distributor", CONFIGURE, "set-attr", "gic", abi.VGIC_V2_DIST, "u64", hexadecimal,
        _gic_value("distributor", 2),
        "Where the GICv2 distributor's 4 KiB lie.",
        "gic.distributor", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.v2.cpu_interface", CONFIGURE, "set-attr", "gic", abi.VGIC_V2_CPU, "u64", hexadecimal,
        _gic_value("cpu_interface", 2),
        "Where the GICv2 CPU interface's 8 KiB lie.",
        "gic.cpu_interface", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.maintenance_irq", CONFIGURE, "set-attr", "gic", abi.VGIC_MAINT_IRQ, "u32", intid, _maintenance_irq,
        "The GIC's maintenance PPI, for guests with EL2; 25 where it is not set.",
        "gic.maintenance_irq", (6, 15), _SOURCE + "vgic/vgic-kvm-device.c:vgic_set_common_attr; merge kvmarm-6.15; ENXIO on 6.12, taken by 7.2"
        " (measured)",
        {"EINVAL": "not a PPI", "EBUSY": "the vGIC is initialised", "ENXIO": "this kernel does not know the attribute"},
        unasked,
    ),
    Row(
        "its.address", CONFIGURE, "set-attr", "its", abi.ITS_ADDR, "u64", hexadecimal, _its(int),
        "Where an ITS's 128 KiB lie.",
        "gic.its", LINUX_6_1, _SOURCE + "vgic/vgic-its.c:vgic_its_set_attr",
        {
            "EINVAL": "not aligned, or wraps around",
            "E2BIG": "beyond the guest's address space (ipa_bits)",
            "EEXIST": "this address is set already",
        },
        unasked,
    ),
    Row(
        "its.init", CONFIGURE, "set-attr", "its", abi.ITS_CTRL_INIT, "none", nothing, _its(lambda address: None),
        "Initialises an ITS.",
        "gic.its", LINUX_6_1, _SOURCE + "vgic/vgic-its.c:vgic_its_set_attr",
        {},
    ),
    Row(
        "timer.virtual", CONFIGURE, "set-attr", "vcpu", abi.TIMER_IRQ_VTIMER, "s32", intid, _timer("virtual"),
        "The PPI of the EL1 virtual timer, on all vCPUs.",
        "timers.virtual", LINUX_6_1, _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "timer.physical", CONFIGURE, "set-attr", "vcpu", abi.TIMER_IRQ_PTIMER, "s32", intid, _timer("physical"),
        "The PPI of the EL1 physical timer, on all vCPUs.",
        "timers.physical", LINUX_6_1, _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "timer.hyp_virtual", CONFIGURE, "set-attr", "vcpu", abi.TIMER_IRQ_HVTIMER, "s32", intid, _timer("hyp_virtual"),
        "The PPI of the EL2 virtual timer, on all vCPUs; unused without EL2.",
        "timers.hyp_virtual", (6, 4), _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr; merge kvmarm-6.4; ENXIO on 6.1, taken by 6.12 (measured)", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "timer.hyp_physical", CONFIGURE, "set-attr", "vcpu", abi.TIMER_IRQ_HPTIMER, "s32", intid, _timer("hyp_physical"),
        "The PPI of the EL2 physical timer, on all vCPUs; unused without EL2.",
        "timers.hyp_physical", (6, 4), _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr; merge kvmarm-6.4; ENXIO on 6.1, taken by 6.12 (measured)", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "pmu.device", CONFIGURE, "set-attr", "vcpu", abi.PMU_V3_SET_PMU, "s32", host_pmu, _pmu_value("device"),
        "Which of the host's PMUs counts, for all vCPUs; they can then run on that PMU's CPUs only.",
        "pmu.device", LINUX_6_1, _SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_pmu",
        {
            "ENXIO": "the host has no such PMU",
            "EBUSY": "a vCPU has run, this one's PMU is initialised, or a filter is set for another PMU",
            "ENODEV": "the vCPU has no PMU",
        },
        vm_wide=True, apis=(VCPU,),
    ),
    Row(
        "pmu.counters", CONFIGURE, "set-attr", "vcpu", abi.PMU_V3_SET_NR_COUNTERS, "u32", decimal, _pmu_value("counters"),
        "How many event counters all vCPUs have. A later SET_PMU would put it back to the PMU's own.",
        "pmu.counters", (6, 16), _SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters; merge kvmarm-6.16 (\"Allow userspace to limit the number of PMU counters\"); ENXIO on 6.12, taken by 7.2 (measured)",
        {
            "EINVAL": "the PMU has fewer counters",
            "EBUSY": "this vCPU's PMU is initialised",
            "ENODEV": "the vCPU has no PMU",
            "ENXIO": "this kernel does not know the attribute",
        },
        vm_wide=True, apis=(VCPU,),
    ),
    Row(
        "pmu.filter", CONFIGURE, "set-attr", "vcpu", abi.PMU_V3_FILTER, "kvm_pmu_event_filter", event_filter, _pmu_filter,
        "Which events the guest may count, for all vCPUs: 0 allows, 1 denies; the first one's opposite is the default.",
        "pmu.filter", LINUX_6_1, _SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_attr",
        {
            "EINVAL": "beyond the PMU's events: 16 bits, with PMUv3.0 10",
            "EBUSY": "a vCPU has run, or this one's PMU is initialised",
            "ENODEV": "the vCPU has no PMU",
        },
        vm_wide=True, apis=(VCPU,),
    ),
    Row(
        "pmu.irq", CONFIGURE, "set-attr", "vcpu", abi.PMU_V3_IRQ, "s32", intid, _pmu_irq,
        "The overflow interrupt of one vCPU's PMU.",
        "vcpus.pmu_irq", LINUX_6_1, _SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_set_attr",
        {
            "EINVAL": "no in-kernel GIC, neither PPI nor SPI, or at odds with another vCPU's",
            "EBUSY": "set already, or this vCPU's PMU is initialised",
            "ENODEV": "the vCPU has no PMU",
        },
        unasked, apis=(VCPU,),
    ),
    Row(
        "pmu_device.irq", CONFIGURE, "set-attr", "pmu", abi.PMU_DEVICE_IRQ, "s32", intid, _pmu_irq_by_index,
        "The overflow interrupt of the vCPU whose index is bits 31..0 of the attribute's number.",
        "vcpus.pmu_irq", NEVER, _V8,
        {}, unasked, apis=(PMU_DEVICE,),
    ),
    Row(
        "pmu_device.irq_by_mpidr", CONFIGURE, "set-attr", "pmu", abi.PMU_DEVICE_IRQ, "s32", intid, _pmu_irq_by_mpidr,
        "The overflow interrupt of the vCPU whose MPIDR is bits 63..32 of the attribute's number.",
        "vcpus.pmu_irq", NEVER, "proposed in the review of version 8, January 2016; not merged",
        {}, unasked, apis=(PMU_DEVICE_MPIDR,),
    ),
    Row(
        "gic.init", GIC_INIT, "set-attr", "gic", abi.VGIC_CTRL_INIT, "none", nothing, _gic_init,
        "Initialises the vGIC, after the last vCPU and before the first PMU.",
        "gic", LINUX_6_1, _SOURCE + "vgic/vgic-init.c:vgic_init",
        {"EBUSY": "a vCPU is half created", "ENOMEM": "the host is out of memory"},
    ),
    Row(
        "pmu.init", PMU_INIT, "set-attr", "vcpu", abi.PMU_V3_INIT, "none", nothing, _pmu_init,
        "Initialises one vCPU's PMU, which claims its interrupt.",
        "vcpus.pmu_irq", LINUX_6_1, _SOURCE + "pmu-emul.c:kvm_arm_pmu_v3_init",
        {
            "ENODEV": "the vCPU has no PMU, or the vGIC is not initialised",
            "ENXIO": "the interrupt is not set",
            "EINVAL": "the SPI is not below the number of INTIDs",
            "EEXIST": "another device in the kernel has claimed the interrupt",
            "EBUSY": "initialised already",
        },
        apis=(VCPU,),
    ),
    Row(
        "vcpu.steal_time", LATE, "set-attr", "vcpu", abi.PVTIME_IPA, "u64", hexadecimal, _steal_time,
        "Where one vCPU's 64 bytes of steal time lie.",
        "steal_time.base", LINUX_6_1, _SOURCE + "pvtime.c:kvm_arm_pvtime_set_attr",
        {
            "EINVAL": "not a multiple of 64, or there is no memory slot",
            "EEXIST": "set already",
            "ENXIO": "the host keeps no scheduler statistics",
        },
        unasked,
    ),
)  # fmt: skip
