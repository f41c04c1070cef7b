"""What KVM is told, in which order: the one table of commands, read top to bottom.

Each row selects from a `Machine` the values that it sends, each with the path that it comes from. The order is this
list; why it may not be another is in `order`, whose constraints a test replays against every plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vmcfg import kvm
from vmcfg.kvm import Attr
from vmcfg.machine import Machine, Vcpu, redistributor_regions
from vmcfg.places import Path
from vmcfg.scalars import LINUX_6_1, Version, intid_of, mpidr_register

CREATE, CONFIGURE, GIC_INIT, PMU_INIT, LATE = PHASES = ("create", "configure", "gic-init", "pmu-init", "late")

PHASE_DOCS = {
    CREATE: "The VM, its memory, its vCPUs and its devices come into being.",
    CONFIGURE: "Everything that an initialisation freezes: how many interrupts, where the frames lie, who interrupts with what.",
    GIC_INIT: "The vGIC is initialised: no vCPU can be added, and the number of interrupts is fixed.",
    PMU_INIT: "Each vCPU's PMU is initialised, which takes an initialised vGIC and claims the interrupt.",
    LATE: "What needs memory and vCPUs, and nothing before the first KVM_RUN needs.",
}


VCPU, PMU_DEVICE, PMU_DEVICE_MPIDR = APIS = ("vcpu", "pmu-device", "pmu-device-mpidr")

API_DOCS = {
    VCPU: "The PMU interrupt is an attribute of each vCPU's own file descriptor: the merged API, since Linux 4.6.",
    PMU_DEVICE: "The PMU interrupt is an attribute of one device, and bits 31..0 of the attribute's number are the"
    " vCPU's index, its place in the order of creation: version 8 of the patch, December 2015. Never merged: no"
    " kernel takes it. The device's type has no number: 8, the patch's next free one, is the ITS today.",
    PMU_DEVICE_MPIDR: "The PMU interrupt is an attribute of one device, and bits 63..32 of the attribute's number are"
    " the vCPU's MPIDR, Aff3.Aff2.Aff1.Aff0 a byte each, as in the GICv3 API: proposed in January 2016 in place of"
    " pmu-device. Never merged: no kernel takes it. The device's type has no number: 8, the patch's next free one, is"
    " the ITS today.",
}
"""What each API is: how user space says of which vCPU a PMU interrupt is."""

NEVER = (1 << 16, 0)
"""The release that has what was never merged: later than every kernel's version."""


class Selected(NamedTuple):
    """One value that a row sends.

    `origin` is where it is written, or what called for it. `vcpu` is whom it is for, `its` the number of the ITS.
    `attr_id` is the attribute's number, where that names the vCPU.
    """

    value: Any
    origin: Path | None = None
    vcpu: Vcpu | None = None
    its: int | None = None
    attr_id: int | None = None


def decimal(value: Any) -> str:
    """Counts and small numbers as a plan shows them."""
    return str(value)


def intid(value: Any) -> str:
    """An interrupt as a plan shows it: its INTID in decimal."""
    return str(value)


def hexadecimal(value: Any) -> str:
    """Addresses, registers and packed words as a plan shows them."""
    return hex(value)


def nothing(value: Any) -> str:
    """What stands where a command carries no value."""
    return "-"


def event_filter(value: Any) -> str:
    """A PMU event filter by its struct's fields."""
    return "base_event={:#x},nevents={},action={}".format(*value)


def smccc_range(value: Any) -> str:
    """A range of the SMCCC filter by its struct's fields."""
    return "base={:#x},nr_functions={},action={}".format(*value)


def device_type(value: Any) -> str:
    """A device type by its number, where it has one."""
    return "-" if value is None else str(value)


def host_pmu(value: Any) -> str:
    """A host PMU: by the number of its type, or by its name where only the host knows the number."""
    return f"pmu:{value}" if isinstance(value, str) else str(value)


def unasked(value: Any) -> int:
    """What a GET starts from where KVM fills in the whole value: a pattern that no plan sets."""
    return 0x5A5A_5A5A_5A5A_5A5A


def region_index(value: Any) -> int:
    """What a GET of a redistributor region starts from: the index of the region that is asked for."""
    return int(value) & 0xFFF


class Row(NamedTuple):
    """One kind of command.

    `target` is ``vm``, ``gic``, ``its``, ``vcpu`` or ``pmu``; `attr` is None but for set-attr. `field` is the key of the
    description that it carries, by its dotted path. `since` is the first mainline release that has it and `source` says
    who says so; `errors` what each errno means there, `absent` what older kernels say. `read` gives what a GET of it
    starts from, and is None where it can't be read back; `vm_wide` is true of what is set once and read back on every
    vCPU. It is sent under `apis`.
    """

    name: str
    phase: str
    op: str
    target: str
    attr: Attr | None
    type: str
    show: Callable[[Any], str]
    select: Callable[[Machine], Iterator[Selected]]
    doc: str
    field: str
    since: Version
    source: str
    errors: dict[str, str]
    read: Callable[[Any], int] | None = None
    vm_wide: bool = False
    absent: str = "ENXIO"
    apis: tuple[str, ...] = APIS


# What the rows select ------------------------------------------------------------------------------------------------


def _vm(machine: Machine) -> Iterator[Selected]:
    yield Selected(machine.ipa_bits)


def _memory(machine: Machine) -> Iterator[Selected]:
    for slot, (base, size) in enumerate(machine.memory):
        yield Selected((slot, base, size), ("memory", slot))


def _memory_shown(value: Any) -> str:
    return "slot={},base={:#x},size={:#x}".format(*value)


def _vcpus(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        yield Selected(vcpu.id, None, vcpu)


def _gic(machine: Machine) -> Iterator[Selected]:
    if machine.gic is not None and machine.sets_up_gic():
        yield Selected(kvm.DEVICE_TYPES[machine.gic.version][1])


def _its_created(machine: Machine) -> Iterator[Selected]:
    for selected in _its(int)(machine):
        yield Selected(kvm.ITS_TYPE[1], its=selected.its)


_FEATURE_BITS = {"sve": ("SVE",), "ptrauth": ("PTRAUTH_ADDRESS", "PTRAUTH_GENERIC"), "el2": ("HAS_EL2",)}


def _features(machine: Machine) -> Iterator[Selected]:
    more = [bit for feature, bits in _FEATURE_BITS.items() if feature in machine.features for bit in bits]
    for vcpu in machine.vcpus:
        power = () if vcpu.boot else ("POWER_OFF",)
        pmu = () if vcpu.pmu_irq is None else ("PMU_V3",)
        yield Selected((*power, "PSCI_0_2", *pmu, *more), None, vcpu)


def _finalized(machine: Machine) -> Iterator[Selected]:
    if "sve" in machine.features:
        for vcpu in machine.vcpus:
            yield Selected(kvm.VCPU_FEATURES["SVE"], None, vcpu)


def _mpidr(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.mpidr_by_register:
            yield Selected(mpidr_register(vcpu.mpidr), vcpu.at, vcpu)


def _gic_value(key: str, version: int | None = None) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of one number of `gic`, of one GIC version or of any."""

    def select(machine: Machine) -> Iterator[Selected]:
        gic = machine.gic
        if gic is not None and machine.sets_up_gic() and version in (None, gic.version):
            value = getattr(gic, key)
            if isinstance(value, int):
                yield Selected(value, ("gic", key))

    return select


def _regions(machine: Machine) -> Iterator[Selected]:
    if machine.sets_up_gic() and machine.gic_version() == 3:
        regions = redistributor_regions(machine.gic)
        for index, (region, count) in enumerate(zip(regions, machine.redistributor_counts(), strict=True)):
            yield Selected(count << 52 | region.base | index, ("gic", "redistributors", index))


def _maintenance_irq(machine: Machine) -> Iterator[Selected]:
    gic = machine.gic
    if gic is not None and machine.sets_up_gic() and gic.version == 3 and gic.maintenance_irq is not None:
        yield Selected(intid_of(gic.maintenance_irq), ("gic", "maintenance_irq"))


def _its(value: Callable[[int], Any]) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of what each ITS is told: `value` of its address."""

    def select(machine: Machine) -> Iterator[Selected]:
        gic = machine.gic
        if gic is not None and machine.sets_up_gic() and gic.version == 3:
            for number, address in enumerate(gic.its):
                yield Selected(value(address), ("gic", "its", number), None, number)

    return select


def _smccc_filter(machine: Machine) -> Iterator[Selected]:
    for index, (action, base, count) in enumerate(machine.smccc_filter):
        yield Selected((base, count, kvm.SMCCC_ACTIONS[action]), ("smccc_filter", index))


def _timer(key: str) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of one timer's PPI: VM-wide, sent once, through the vCPU with the lowest id."""

    def select(machine: Machine) -> Iterator[Selected]:
        if getattr(machine.timers, key) is not None:
            yield Selected(machine.timers.intid(key), ("timers", key), machine.vcpus[0])

    return select


def _pmu_value(key: str) -> Callable[[Machine], Iterator[Selected]]:
    """A selector of one value of `pmu`: VM-wide, sent once, through the vCPU with the lowest id."""

    def select(machine: Machine) -> Iterator[Selected]:
        value = getattr(machine.pmu, key)
        if value is not None:
            yield Selected(value, ("pmu", key), machine.vcpus[0])

    return select


def _pmu_filter(machine: Machine) -> Iterator[Selected]:
    for index, (action, events) in enumerate(machine.pmu.filter):
        # nevents has 16 bits: all 65,536 events are two commands.
        halves = [(0, 0x7FFF), (0x8000, 0xFFFF)] if events == (0, 0xFFFF) else [events]
        for first, last in halves:
            value = first, last - first + 1, kvm.PMU_EVENT_ACTIONS[action]
            yield Selected(value, ("pmu", "filter", index), machine.vcpus[0])


def _steal_time(machine: Machine) -> Iterator[Selected]:
    if machine.steal_time is not None:
        for index, vcpu in enumerate(machine.vcpus):
            yield Selected(machine.steal_time.base + STEAL_TIME_SIZE * index, ("steal_time", "base"), vcpu)


def _pmu_irq(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected(vcpu.pmu_irq, vcpu.irq_at, vcpu)


def _pmu_device(machine: Machine) -> Iterator[Selected]:
    if machine.has_pmu():
        yield Selected(None)


def _pmu_irq_by_index(machine: Machine) -> Iterator[Selected]:
    for index, vcpu in enumerate(machine.vcpus):
        if vcpu.pmu_irq is not None:
            yield Selected(vcpu.pmu_irq, vcpu.irq_at, vcpu, attr_id=index)


def _pmu_irq_by_mpidr(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected(vcpu.pmu_irq, vcpu.irq_at, vcpu, attr_id=vcpu.mpidr << 32)


def _gic_init(machine: Machine) -> Iterator[Selected]:
    if machine.sets_up_gic():
        yield Selected(None, ("gic",))


def _pmu_init(machine: Machine) -> Iterator[Selected]:
    for vcpu in machine.vcpus:
        if vcpu.pmu_irq is not None:
            yield Selected(None, vcpu.irq_at, vcpu)


# The table -----------------------------------------------------------------------------------------------------------

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
STEAL_TIME_SIZE = 64

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
        "vm.smccc_filter", CONFIGURE, "set-attr", "vm", kvm.SMCCC_FILTER, "kvm_smccc_filter", smccc_range, _smccc_filter,
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
        "gic.nr_irqs", CONFIGURE, "set-attr", "gic", kvm.VGIC_NR_IRQS, "u32", decimal, _gic_value("nr_irqs"),
        "How many INTIDs the GIC has, the 32 private ones included; 256 where it is not set.",
        "gic.nr_irqs", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:vgic_set_common_attr",
        {
            "EINVAL": "less than 64, more than 992 (whatever the documents say of 1024), or not a multiple of 32",
            "EBUSY": "set already, or the vGIC is initialised",
        },
        unasked,
    ),
    Row(
        "gic.v3.distributor", CONFIGURE, "set-attr", "gic", kvm.VGIC_V3_DIST, "u64", hexadecimal,
        _gic_value("distributor", 3),
        "Where the GICv3 distributor's 64 KiB lie. First of the frames, so that an overlap is an errno and not a dead VM.",
        "gic.distributor", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.v3.region", CONFIGURE, "set-attr", "gic", kvm.VGIC_V3_REDIST_REGION, "u64", hexadecimal, _regions,
        "A redistributor region: count in bits 63..52, base in 51..16, index in 11..0. In index order from 0.",
        "gic.redistributors", LINUX_6_1, _SOURCE + "vgic/vgic-mmio-v3.c:vgic_v3_alloc_redist_region", _FRAME_ERRORS, region_index,
    ),
    Row(
        "gic.v3.redistributors", CONFIGURE, "set-attr", "gic", kvm.VGIC_V3_REDIST, "u64", hexadecimal,
        _gic_value("redistributors", 3),
        "Where the redistributors lie, 128 KiB a vCPU; the older form, which can't be mixed with regions.",
        "gic.redistributors", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.v2.distributor", CONFIGURE, "set-attr", "gic", kvm.VGIC_V2_DIST, "u64", hexadecimal,
        _gic_value("distributor", 2),
        "Where the GICv2 distributor's 4 KiB lie.",
        "gic.distributor", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.v2.cpu_interface", CONFIGURE, "set-attr", "gic", kvm.VGIC_V2_CPU, "u64", hexadecimal,
        _gic_value("cpu_interface", 2),
        "Where the GICv2 CPU interface's 8 KiB lie.",
        "gic.cpu_interface", LINUX_6_1, _SOURCE + "vgic/vgic-kvm-device.c:kvm_vgic_addr", _FRAME_ERRORS, unasked,
    ),
    Row(
        "gic.maintenance_irq", CONFIGURE, "set-attr", "gic", kvm.VGIC_MAINT_IRQ, "u32", intid, _maintenance_irq,
        "The GIC's maintenance PPI, for guests with EL2; 25 where it is not set.",
        "gic.maintenance_irq", (6, 15), _SOURCE + "vgic/vgic-kvm-device.c:vgic_set_common_attr; merge kvmarm-6.15; ENXIO on 6.12, taken by 7.2"
        " (measured)",
        {"EINVAL": "not a PPI", "EBUSY": "the vGIC is initialised", "ENXIO": "this kernel does not know the attribute"},
        unasked,
    ),
    Row(
        "its.address", CONFIGURE, "set-attr", "its", kvm.ITS_ADDR, "u64", hexadecimal, _its(int),
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
        "its.init", CONFIGURE, "set-attr", "its", kvm.ITS_CTRL_INIT, "none", nothing, _its(lambda address: None),
        "Initialises an ITS.",
        "gic.its", LINUX_6_1, _SOURCE + "vgic/vgic-its.c:vgic_its_set_attr",
        {},
    ),
    Row(
        "timer.virtual", CONFIGURE, "set-attr", "vcpu", kvm.TIMER_IRQ_VTIMER, "s32", intid, _timer("virtual"),
        "The PPI of the EL1 virtual timer, on all vCPUs.",
        "timers.virtual", LINUX_6_1, _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "timer.physical", CONFIGURE, "set-attr", "vcpu", kvm.TIMER_IRQ_PTIMER, "s32", intid, _timer("physical"),
        "The PPI of the EL1 physical timer, on all vCPUs.",
        "timers.physical", LINUX_6_1, _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "timer.hyp_virtual", CONFIGURE, "set-attr", "vcpu", kvm.TIMER_IRQ_HVTIMER, "s32", intid, _timer("hyp_virtual"),
        "The PPI of the EL2 virtual timer, on all vCPUs; unused without EL2.",
        "timers.hyp_virtual", (6, 4), _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr; merge kvmarm-6.4; ENXIO on 6.1, taken by 6.12 (measured)", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "timer.hyp_physical", CONFIGURE, "set-attr", "vcpu", kvm.TIMER_IRQ_HPTIMER, "s32", intid, _timer("hyp_physical"),
        "The PPI of the EL2 physical timer, on all vCPUs; unused without EL2.",
        "timers.hyp_physical", (6, 4), _SOURCE + "arch_timer.c:kvm_arm_timer_set_attr; merge kvmarm-6.4; ENXIO on 6.1, taken by 6.12 (measured)", _TIMER_ERRORS, unasked, True,
    ),
    Row(
        "pmu.device", CONFIGURE, "set-attr", "vcpu", kvm.PMU_V3_SET_PMU, "s32", host_pmu, _pmu_value("device"),
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
        "pmu.counters", CONFIGURE, "set-attr", "vcpu", kvm.PMU_V3_SET_NR_COUNTERS, "u32", decimal, _pmu_value("counters"),
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
        "pmu.filter", CONFIGURE, "set-attr", "vcpu", kvm.PMU_V3_FILTER, "kvm_pmu_event_filter", event_filter, _pmu_filter,
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
        "pmu.irq", CONFIGURE, "set-attr", "vcpu", kvm.PMU_V3_IRQ, "s32", intid, _pmu_irq,
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
        "pmu_device.irq", CONFIGURE, "set-attr", "pmu", kvm.PMU_DEVICE_IRQ, "s32", intid, _pmu_irq_by_index,
        "The overflow interrupt of the vCPU whose index is bits 31..0 of the attribute's number.",
        "vcpus.pmu_irq", NEVER, _V8,
        {}, unasked, apis=(PMU_DEVICE,),
    ),
    Row(
        "pmu_device.irq_by_mpidr", CONFIGURE, "set-attr", "pmu", kvm.PMU_DEVICE_IRQ, "s32", intid, _pmu_irq_by_mpidr,
        "The overflow interrupt of the vCPU whose MPIDR is bits 63..32 of the attribute's number.",
        "vcpus.pmu_irq", NEVER, "proposed in the review of version 8, January 2016; not merged",
        {}, unasked, apis=(PMU_DEVICE_MPIDR,),
    ),
    Row(
        "gic.init", GIC_INIT, "set-attr", "gic", kvm.VGIC_CTRL_INIT, "none", nothing, _gic_init,
        "Initialises the vGIC, after the last vCPU and before the first PMU.",
        "gic", LINUX_6_1, _SOURCE + "vgic/vgic-init.c:vgic_init",
        {"EBUSY": "a vCPU is half created", "ENOMEM": "the host is out of memory"},
    ),
    Row(
        "pmu.init", PMU_INIT, "set-attr", "vcpu", kvm.PMU_V3_INIT, "none", nothing, _pmu_init,
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
        "vcpu.steal_time", LATE, "set-attr", "vcpu", kvm.PVTIME_IPA, "u64", hexadecimal, _steal_time,
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

RUN_ERRORS = {
    "ENOEXEC": "the vCPU is not initialised",
    "EPERM": "a feature of the vCPU is not finalised",
    "ENXIO": "the GIC lacks an address, or has no redistributor for a vCPU; the VM is dead",
    "EBUSY": "the vGIC is not initialised; the VM is dead",
    "EAGAIN": "EL2 without an initialised vGIC",
    "EEXIST": "the PMU has the GIC's maintenance interrupt",
    "EINVAL": "frames of the GIC overlap; or timers or the PMU share a PPI; or the PMU is not initialised",
    "EIO": "the VM is dead since an earlier failure",
}
"""What each errno means at a vCPU's first KVM_RUN (linux 7.2, arch/arm64/kvm/arm.c:kvm_arch_vcpu_run_pid_change)."""
