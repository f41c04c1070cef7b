"""The keys of a description: the table from which reading, schema, documentation, and hints come.

Each class is a mapping of the document, and each of its attributes is a key. The type is for
Python, and the `Field` next to it is for people who write YAML. A key without default is required.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, NamedTuple

from vmcfg.arm.interrupts import SPI_BASE, SPI_END
from vmcfg.description.kinds import (
    Choice,
    Events,
    Flag,
    FunctionId,
    Interrupt,
    KernelVersion,
    Mpidr,
    Name,
    Number,
    ScalarKind,
    Size,
    UapiName,
)
from vmcfg.description.written import EventRange, IrqRange, MpidrRange, intid_of
from vmcfg.kernel.features import FEATURES
from vmcfg.kernel.limits import (
    COUNTERS_GREATEST,
    IPA_BITS_DEFAULT,
    IPA_BITS_GREATEST,
    IPA_BITS_LEAST,
    NR_IRQS_GREATEST,
    NR_IRQS_LEAST,
    REGION_COUNT_GREATEST,
    REGION_COUNT_LEAST,
    U32_GREATEST,
    VECTOR_LENGTH_GREATEST,
    VECTOR_LENGTH_STEP,
)
from vmcfg.kernel.version import Version


class ListOf:
    """A list whose items all have one kind: mappings of one class, or scalars."""

    __slots__ = ("item", "word")

    def __init__(self, item: "Kind", word: str) -> None:
        self.item = item
        self.word = word

    def words(self) -> str:
        """Return the allowed values, in words."""
        return f"a list of {self.word}"


class Either:
    """One scalar, or a list or a mapping, which is the full form.

    If the scalar is short for a value in full form, `in_full` returns that value.
    """

    __slots__ = ("full", "in_full", "scalar")

    def __init__(
        self,
        scalar: ScalarKind,
        full: "ListOf | type[Any]",
        in_full: Callable[[Any], Any] | None = None,
    ) -> None:
        self.scalar = scalar
        self.full = full
        self.in_full = in_full

    def words(self) -> str:
        """Return the allowed values, in words."""
        return f"{self.scalar.words()}; or {kind_words(self.full)}"


Kind = ScalarKind | ListOf | Either | type[Any]
"""How the value of a key is read; a class is one of the mappings in this module."""


class Field:
    """One key: how its value is read, and its documentation.

    `doc` has the unit, `examples` are values as JSON data, `also` are names of the key in other
    tools, and `default` is the behavior without the key, in words.
    """

    __slots__ = ("also", "default", "doc", "examples", "kind")

    def __init__(
        self,
        *,
        kind: Kind,
        doc: str,
        examples: tuple[Any, ...] = (),
        also: tuple[str, ...] = (),
        default: str | None = None,
    ) -> None:
        self.kind = kind
        self.doc = doc
        self.examples = examples
        self.also = also
        self.default = default


IPA_BITS = Number(IPA_BITS_LEAST, IPA_BITS_GREATEST)
NR_IRQS = Number(NR_IRQS_LEAST, NR_IRQS_GREATEST)
REGION_COUNT = Number(REGION_COUNT_LEAST, REGION_COUNT_GREATEST)
COUNTERS = Number(0, COUNTERS_GREATEST)
EVENTS = Events()
VECTOR_LENGTH = Number(VECTOR_LENGTH_STEP, VECTOR_LENGTH_GREATEST)
ADDRESS = Number(0, (1 << 64) - 1, hex=True)
ONE_INTERRUPT = Interrupt(ranges=False)
INTERRUPTS = Interrupt(ranges=True)

OTHER_ACTIONS: dict[int | str, str] = {
    **dict.fromkeys(("permit", "accept", "pass"), "write 'allow'"),
    **dict.fromkeys(("block", "drop", "reject", "forbid"), "write 'deny'"),
}
"""Words of other tools for the actions of filters."""

OTHER_FEATURES: dict[int | str, str] = {
    **dict.fromkeys(("pmu", "pmu_v3", "pmuv3"), "remove it: a vCPU with a PMU interrupt has a PMU"),
    **dict.fromkeys(("psci", "psci_0_2"), "remove it: every vCPU has PSCI"),
    "power_off": "remove it: all vCPUs except the first one start powered off",
    **dict.fromkeys(
        ("pauth", "ptrauth_address", "ptrauth_generic", "pac"), "write ptrauth, which has both keys"
    ),
    **dict.fromkeys(
        ("sve128", "sve256", "sve512"), "write sve, and the lengths in 'sve.vector_lengths'"
    ),
    "sve2": "write sve, which includes SVE2 if the host has it",
    **dict.fromkeys(("has_el2", "nested", "nv", "virtualization"), "write el2"),
    **dict.fromkeys(("aarch32", "el1_aarch32", "32bit"), "write el1_32bit"),
    "has_el2_e2h0": "write e2h0",
    **dict.fromkeys(("pmu_v3_strict", "strict_pmu"), "write 'strict: true' in 'pmu'"),
    "memory_tagging": "write mte",
}
"""Words of the uapi and of other tools for the features of vCPUs."""

OTHER_CAPABILITIES = {
    "KVM_CAP_ARM_MTE": "remove it and write 'features: [mte]'",
    "KVM_CAP_DIRTY_LOG_RING": "write KVM_CAP_DIRTY_LOG_RING_ACQ_REL, as on arm64",
}
"""Capabilities of KVM that are written in another way."""

OTHER_REGISTERS = {
    "MPIDR_EL1": "remove it and write the MPIDR in 'vcpus'",
    "KVM_REG_ARM64_SVE_VLS": "remove it and write the lengths in 'sve.vector_lengths'",
    "PMCR_EL0": "remove it and write the number of counters in 'pmu.counters'",
}
"""Registers that have their own key."""


def _capability_names() -> Iterable[str]:
    from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES

    return VM_CAPABILITIES


def _register_names() -> Iterable[str]:
    from vmcfg.kernel.settable_registers import SETTABLE

    return SETTABLE


DEFAULT_TIMERS = {"virtual": 27, "physical": 30, "hyp_virtual": 28, "hyp_physical": 26}
"""The default INTIDs of the timers in KVM."""

GICV5_HINT = (
    "use 3: vmcfg does not support GICv5, of which Linux 7.2 emulates only PPIs, and only on a host"
    " with GICv5"
)
"""The hint for a version of the GIC that KVM can have (arch/arm64/kvm/vgic/vgic-v5.c)."""

MAINTENANCE = 25
"""The default INTID of the GIC maintenance interrupt."""


class MemorySlot(NamedTuple):
    """One memory slot: guest-physical addresses with memory of the host."""

    base: Annotated[
        int,
        Field(
            kind=ADDRESS,
            doc="Guest-physical address of the first byte; a multiple of the host's page size.",
            examples=("0x40000000",),
            also=("start", "address", "gpa"),
        ),
    ]
    size: Annotated[
        int,
        Field(
            kind=Size(),
            doc="Size in bytes, or in KiB, MiB, GiB, or TiB; a multiple of the host's page size.",
            examples=("1GiB",),
            also=("length", "len"),
        ),
    ]
    readonly: Annotated[
        bool,
        Field(
            kind=Flag(),
            doc="Whether the guest can only read the slot, as flash; KVM_MEM_READONLY.",
            examples=(True,),
            also=("ro", "read_only", "rom"),
            default="false",
        ),
    ] = False

    @property
    def addresses(self) -> tuple[int, int]:
        """Return its first address, and the one after its last."""
        return self.base, self.base + self.size


class RedistributorRegion(NamedTuple):
    """A range of addresses for redistributors of a GICv3, 128 KiB each."""

    base: Annotated[
        int,
        Field(
            kind=ADDRESS,
            doc="Guest-physical address of the region; a multiple of 64 KiB.",
            examples=("0x080a0000",),
            also=("start", "address"),
        ),
    ]
    count: Annotated[
        int | None,
        Field(
            kind=REGION_COUNT,
            doc="Number of redistributors in the region.",
            examples=(123,),
            also=("num", "n"),
            default="in the last region: as many as the other regions leave, at least 1",
        ),
    ] = None  # type: ignore[assignment]  # it hides tuple.count, which nobody calls here


class Gic(NamedTuple):
    """The interrupt controller that KVM emulates for the VM."""

    version: Annotated[
        int,
        Field(
            kind=Choice(
                2,
                3,
                others={
                    "gicv2": "write 2",
                    "gicv3": "write 3",
                    4: "use 3: KVM emulates GICv2 and GICv3; a GICv4 of the host does not matter",
                    "gicv5": GICV5_HINT,
                    5: GICV5_HINT,
                },
            ),
            doc="Version of the GIC architecture: 2 or 3.",
            examples=(3,),
            also=("type", "gic_version", "model"),
        ),
    ]
    set_up_by: Annotated[
        str,
        Field(
            kind=Choice("plan", "monitor"),
            doc=(
                "Who sets up the GIC: 'plan', or 'monitor' (the VMM). With 'monitor', the plan"
                " contains no GIC commands."
            ),
            examples=("monitor",),
            also=("managed_by", "owner"),
            default="plan",
        ),
    ] = "plan"
    nr_irqs: Annotated[
        int | None,
        Field(
            kind=NR_IRQS,
            doc="Number of INTIDs, including the 32 private ones; a multiple of 32.",
            examples=(256,),
            also=("irqs", "num_irqs", "nr_interrupts", "interrupts", "spis"),
            default="256 if the plan sets up the GIC, 992 if the VMM does",
        ),
    ] = None
    distributor: Annotated[
        int | None,
        Field(
            kind=ADDRESS,
            doc=("Guest-physical address of the distributor: 64 KiB with GICv3, 4 KiB with GICv2."),
            examples=("0x08000000",),
            also=("dist", "gicd", "distributor_base", "dist_base"),
        ),
    ] = None
    redistributors: Annotated[
        int | tuple[RedistributorRegion, ...] | None,
        Field(
            kind=Either(ADDRESS, ListOf(RedistributorRegion, "redistributor regions")),
            doc=(
                "GICv3 redistributor regions in index order; or one base address, where KVM uses"
                " 128 KiB per vCPU."
            ),
            examples=([{"base": "0x080a0000", "count": 123}], "0x080a0000"),
            also=("redist", "gicr", "redistributor", "redist_regions", "redistributor_regions"),
        ),
    ] = None
    cpu_interface: Annotated[
        int | None,
        Field(
            kind=ADDRESS,
            doc="Guest-physical address of the GICv2 CPU interface: 8 KiB.",
            examples=("0x08010000",),
            also=("cpu", "gicc", "cpuif", "cpu_interface_base"),
        ),
    ] = None
    its: Annotated[
        tuple[int, ...],
        Field(
            kind=Either(ADDRESS, ListOf(ADDRESS, "ITS addresses"), lambda address: (address,)),
            doc=(
                "Guest-physical address of each GICv3 ITS, or of the only one: 128 KiB; a multiple"
                " of 64 KiB."
            ),
            examples=(["0x08080000"], "0x08080000"),
            also=("gits", "its_base", "its_address"),
            default="none",
        ),
    ] = ()
    maintenance_irq: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc=(
                "PPI of the GICv3 maintenance interrupt, which notifies a guest hypervisor about"
                " its guest's interrupts; used only with the feature 'el2'."
            ),
            examples=(25, "ppi:9"),
            also=("maint_irq", "maintenance", "maintenance_interrupt"),
            default="25",
        ),
    ] = None


class VcpuEntry(NamedTuple):
    """One vCPU, or a range of them."""

    mpidr: Annotated[
        int | MpidrRange,
        Field(
            kind=Mpidr(),
            doc=(
                "Affinity of the vCPU: Aff3.Aff2.Aff1.Aff0. A range describes one vCPU per value;"
                " the rightmost field changes fastest."
            ),
            examples=("0.0.1.0", "0.0.0-31.0-15"),
            also=("affinity", "id", "reg", "cpu"),
        ),
    ]
    pmu_irq: Annotated[
        int | IrqRange | None,
        Field(
            kind=INTERRUPTS,
            doc=(
                "PMU overflow interrupt: an INTID, ppi:N, or spi:N. A range must have one interrupt"
                " per vCPU of 'mpidr', in the same order."
            ),
            examples=(23, "ppi:7", "spi:0-511"),
            also=("irq", "pmu", "pmu_interrupt", "interrupt", "interrupts", "pmu_intid"),
            default="'pmu.irq'",
        ),
    ] = None


class FilterEntry(NamedTuple):
    """A range of PMU events, and whether the guest may count them."""

    action: Annotated[
        str,
        Field(
            kind=Choice("allow", "deny", others=OTHER_ACTIONS),
            doc=(
                "Whether the guest may count these events. Events in no entry get the opposite of"
                " the first entry's action."
            ),
            examples=("deny",),
            also=("type", "rule"),
        ),
    ]
    events: Annotated[
        EventRange,
        Field(
            kind=EVENTS,
            doc="Number of an event, or a range first-last; at most 0xffff.",
            examples=("0x11", "0x08-0x1b"),
            also=("event", "range"),
        ),
    ]


class Pmu(NamedTuple):
    """The settings of the PMU that are the same for the whole VM."""

    irq: Annotated[
        int | IrqRange | None,
        Field(
            kind=INTERRUPTS,
            doc=(
                "PMU interrupt of every vCPU without 'pmu_irq'. A range assigns one interrupt to"
                " each of them, in order."
            ),
            examples=(23, "spi:8-11"),
            also=("interrupt", "interrupts", "pmu_irq", "intid"),
        ),
    ] = None
    device: Annotated[
        str | None,
        Field(
            kind=Name(),
            doc="Name of the host PMU to use, as in /sys/bus/event_source/devices.",
            examples=("armv8_pmuv3_0",),
            also=("host_pmu", "pmu_device", "set_pmu"),
            default="the PMU of the CPU on which the first vCPU is initialized",
        ),
    ] = None
    strict: Annotated[
        bool,
        Field(
            kind=Flag(),
            doc=(
                "Whether KVM must not choose a host PMU, so that 'device' is required;"
                " the vCPU feature PMU_V3_STRICT."
            ),
            examples=(True,),
            also=("pmu_v3_strict",),
            default="false",
        ),
    ] = False
    counters: Annotated[
        int | None,
        Field(
            kind=COUNTERS,
            doc="Number of event counters for the guest, not including the cycle counter.",
            examples=(6,),
            also=("nr_counters", "num_counters", "event_counters"),
            default="the number of the host PMU",
        ),
    ] = None
    filter: Annotated[
        tuple[FilterEntry, ...],
        Field(
            kind=ListOf(FilterEntry, "filter entries"),
            doc=("Events that the guest may count; the last entry that contains an event decides."),
            examples=([{"action": "deny", "events": "0x11"}],),
            also=("filters", "event_filter", "events"),
            default="all events are allowed",
        ),
    ] = ()


class Timers(NamedTuple):
    """The PPIs of the four timers; they are the same on every vCPU."""

    virtual: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="PPI of the EL1 virtual timer.",
            examples=(27, "ppi:11"),
            also=("virt", "vtimer", "el1_virtual"),
            default=str(DEFAULT_TIMERS["virtual"]),
        ),
    ] = None
    physical: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="PPI of the EL1 physical timer.",
            examples=(30, "ppi:14"),
            also=("phys", "ptimer", "el1_physical"),
            default=str(DEFAULT_TIMERS["physical"]),
        ),
    ] = None
    hyp_virtual: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="PPI of the EL2 virtual timer; used only with the feature 'el2'.",
            examples=(28, "ppi:12"),
            also=("hvtimer", "hyp_virt", "el2_virtual"),
            default=str(DEFAULT_TIMERS["hyp_virtual"]),
        ),
    ] = None
    hyp_physical: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="PPI of the EL2 physical timer; used only with the feature 'el2'.",
            examples=(26, "ppi:10"),
            also=("hptimer", "hyp_phys", "el2_physical"),
            default=str(DEFAULT_TIMERS["hyp_physical"]),
        ),
    ] = None

    def intid(self, timer: str) -> int:
        """Return the INTID of a timer, by its key: as written, or the default of KVM
        (arch_timer.c:default_ppi).
        """
        written = getattr(self, timer)
        if written is None:
            return DEFAULT_TIMERS[timer]
        return intid_of(written)


class StealTime(NamedTuple):
    """The memory to which KVM writes how long each vCPU waited for a CPU of the host."""

    base: Annotated[
        int,
        Field(
            kind=ADDRESS,
            doc=(
                "Guest-physical address of the steal time of vCPU index 0; the other vCPUs follow"
                " in index order, 64 bytes each. A multiple of 64."
            ),
            examples=("0x090a0000",),
            also=("address", "ipa", "start"),
        ),
    ]


class SmcccEntry(NamedTuple):
    """A range of SMCCC function ids, and how KVM treats calls to them."""

    action: Annotated[
        str,
        Field(
            kind=Choice("handle", "deny", "forward"),
            doc=(
                "handle: KVM handles the call; deny: the guest gets NOT_SUPPORTED; forward: the VMM"
                " gets the call."
            ),
            examples=("deny",),
            also=("type", "rule"),
        ),
    ]
    base: Annotated[
        int,
        Field(
            kind=FunctionId(),
            doc="First function id of the range: a number, or its name in the headers of Linux.",
            examples=("0x84000005", "PSCI_0_2_FN_MIGRATE"),
            also=("function", "start", "first"),
        ),
    ]
    count: Annotated[
        int,
        Field(
            kind=Number(1, U32_GREATEST),
            doc="Number of function ids in the range.",
            examples=(1,),
            also=("nr_functions", "functions"),
        ),
    ]  # type: ignore[assignment]  # it hides tuple.count, which nobody calls here


class Sve(NamedTuple):
    """The settings of SVE, which the feature `sve` gives to every vCPU."""

    vector_lengths: Annotated[
        tuple[int, ...],
        Field(
            kind=ListOf(VECTOR_LENGTH, "vector lengths"),
            doc=(
                "Vector lengths in bits that the guest can use: those of the host, up to a maximum"
                " of your choice."
            ),
            examples=([128, 256, 512],),
            also=("lengths", "vls", "vector_length", "vl"),
            default="all lengths of the host",
        ),
    ] = ()


class Capability(NamedTuple):
    """A capability of KVM_ENABLE_CAP, with its arguments."""

    name: Annotated[
        str,
        Field(
            kind=UapiName("capability", _capability_names, OTHER_CAPABILITIES),
            doc="Name of the capability in the uapi; `vmcfg explain capabilities` lists them.",
            examples=("KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE",),
            also=("cap", "capability"),
        ),
    ]
    args: Annotated[
        tuple[int, ...],
        Field(
            kind=ListOf(Number(0, (1 << 64) - 1, hex=True), "arguments"),
            doc="Arguments of the capability.",
            examples=(["0x200000"],),
            also=("arguments", "arg"),
            default="none",
        ),
    ] = ()


class RegisterEntry(NamedTuple):
    """A register of the vCPUs, with its value at the start of the VM."""

    name: Annotated[
        str,
        Field(
            kind=UapiName("register", _register_names, OTHER_REGISTERS),
            doc=(
                "Name of the register in the architecture, or of the firmware register in the uapi;"
                " `vmcfg explain registers` lists them."
            ),
            examples=("KVM_REG_ARM_PSCI_VERSION",),
            also=("register", "reg"),
        ),
    ]
    value: Annotated[
        int,
        Field(
            kind=Number(0, (1 << 64) - 1, hex=True),
            doc="Value of the register: 64 bits.",
            examples=("0x10001",),
            also=("val",),
        ),
    ]


class Device(NamedTuple):
    """A device of the VMM, with what the checks need: its SPIs, its frame, or both."""

    name: Annotated[
        str,
        Field(
            kind=Name(),
            doc="Name of the device.",
            examples=("uart",),
            also=("device", "id"),
        ),
    ]
    irq: Annotated[
        int | IrqRange | None,
        Field(
            kind=INTERRUPTS,
            doc="SPI of the device, or a range of SPIs.",
            examples=("spi:1", 33, "spi:64-127"),
            also=("interrupt", "interrupts", "spi", "intid", "gsi"),
            default="none",
        ),
    ] = None
    base: Annotated[
        int | None,
        Field(
            kind=ADDRESS,
            doc="Guest-physical address of the frame of the device: its registers.",
            examples=("0x09000000",),
            also=("start", "address", "reg", "mmio"),
            default="none",
        ),
    ] = None
    size: Annotated[
        int | None,
        Field(
            kind=Size(),
            doc="Size of the frame in bytes, or in KiB, MiB, GiB, or TiB.",
            examples=("64KiB",),
            also=("length", "len"),
            default="none",
        ),
    ] = None

    @property
    def addresses(self) -> tuple[int, int] | None:
        """Return the first address of its frame, and the one after its last; None without one."""
        if self.base is None or self.size is None:
            return None
        return self.base, self.base + self.size

    @property
    def intids(self) -> tuple[int, int] | None:
        """Return its first and its last INTID as written; None without an interrupt."""
        if self.irq is None or isinstance(self.irq, int):
            return None if self.irq is None else (self.irq, self.irq)
        return self.irq.intid, self.irq.base + self.irq.last

    @property
    def spis(self) -> tuple[int, int]:
        """Return the INTIDs of its SPIs: the first, and the one after the last; (0, 0) for none."""
        first, last = self.intids or (0, 0)
        spis = max(first, SPI_BASE), min(last + 1, SPI_END)
        return spis if spis[0] < spis[1] else (0, 0)


class Description(NamedTuple):
    """An arm64 KVM virtual machine, described by what the device attributes of KVM set."""

    vmcfg: Annotated[
        int,
        Field(
            kind=Choice(1, others={2: "set 'vmcfg: 1': this is the only version of the format"}),
            doc="Version of this format: 1.",
            examples=(1,),
            also=("version", "api_version", "apiVersion", "format"),
        ),
    ]
    name: Annotated[
        str,
        Field(
            kind=Name(),
            doc=(
                "Name of the VM: 1 to 63 letters, digits, '.', '_', or '-', of which the first is a"
                " letter or a digit."
            ),
            examples=("edge-gateway",),
            also=("vm", "vm_name", "hostname"),
        ),
    ]
    vcpus: Annotated[
        int | tuple[VcpuEntry, ...],
        Field(
            kind=Either(Number(1, (1 << 31) - 1), ListOf(VcpuEntry, "vCPUs")),
            doc=(
                "List of vCPUs by MPIDR, or their number; KVM then assigns the MPIDRs. At most 512."
            ),
            examples=(4, [{"mpidr": "0.0.0.0", "pmu_irq": 23}]),
            also=(
                "cpus",
                "smp",
                "vcpu_count",
                "num_cpus",
                "cpu_count",
                "vcpu",
                "cpu",
                "nr_cpus",
                "cores",
            ),
        ),
    ]
    host_kernel: Annotated[
        Version | None,
        Field(
            kind=KernelVersion(),
            doc="Oldest host kernel to support, in quotes; 6.1 or later.",
            examples=("6.12",),
            also=("kernel", "min_kernel", "linux"),
            default='"6.1"',
        ),
    ] = None
    ipa_bits: Annotated[
        int | None,
        Field(
            kind=IPA_BITS,
            doc="Number of bits of guest-physical addresses, the argument of KVM_CREATE_VM.",
            examples=(40,),
            also=("ipa_size", "phys_bits", "address_bits", "pa_bits"),
            default=str(IPA_BITS_DEFAULT),
        ),
    ] = None
    memory: Annotated[
        tuple[MemorySlot, ...],
        Field(
            kind=ListOf(MemorySlot, "memory slots"),
            doc="Memory slots of the VM.",
            examples=([{"base": "0x40000000", "size": "1GiB"}],),
            also=("mem", "ram", "memory_slots", "memslots"),
            default="none",
        ),
    ] = ()
    vcpu_ids: Annotated[
        str,
        Field(
            kind=Choice("derived", "sequential", "mpidr"),
            doc=(
                "Ids of the vCPUs for KVM_CREATE_VCPU: 'derived' from the MPIDRs, 'sequential' in"
                " file order, or 'mpidr': the compressed MPIDR itself."
            ),
            examples=("sequential",),
            also=("ids", "id_policy", "numbering"),
            default="derived",
        ),
    ] = "derived"
    gic: Annotated[
        Gic | None,
        Field(
            kind=Gic,
            doc="Interrupt controller (GIC) of the VM.",
            also=("irqchip", "interrupt_controller", "vgic"),
            default="the VMM sets up a GIC of the kernel",
        ),
    ] = None
    pmu: Annotated[
        Pmu,
        Field(
            kind=Pmu,
            doc="Settings of the PMU that are the same for the whole VM.",
            also=("perf", "pmuv3"),
        ),
    ] = Pmu()
    timers: Annotated[
        Timers,
        Field(
            kind=Timers,
            doc="PPIs of the timers.",
            also=("timer", "arch_timer", "arch_timers"),
        ),
    ] = Timers()
    steal_time: Annotated[
        StealTime | None,
        Field(
            kind=Either(ADDRESS, StealTime, StealTime),
            doc="Steal time: 64 bytes per vCPU; or its address.",
            examples=({"base": "0x090a0000"}, "0x090a0000"),
            also=("pvtime", "pv_time", "stolen_time"),
            default="none",
        ),
    ] = None
    smccc_filter: Annotated[
        tuple[SmcccEntry, ...],
        Field(
            kind=ListOf(SmcccEntry, "SMCCC filter entries"),
            doc="How KVM treats SMCCC calls of the guest, by range of function ids.",
            examples=([{"action": "deny", "base": "0x84000005", "count": 1}],),
            also=("smccc", "hypercalls", "smccc_filters"),
            default="KVM handles all calls",
        ),
    ] = ()
    features: Annotated[
        tuple[str, ...],
        Field(
            kind=ListOf(Choice(*FEATURES, others=OTHER_FEATURES), "features"),
            doc=(
                "Features of every vCPU in addition to PSCI and PMU: sve, ptrauth (pointer"
                " authentication), el2 (for guest hypervisors), e2h0 (EL2 without VHE), el1_32bit"
                " (AArch32), mte (memory tagging)."
            ),
            examples=(["sve", "ptrauth"],),
            also=("cpu_features", "vcpu_features", "extensions"),
            default="none",
        ),
    ] = ()
    sve: Annotated[
        Sve,
        Field(
            kind=Sve,
            doc="Settings of SVE; they require the feature 'sve'.",
            also=("sve_vls",),
        ),
    ] = Sve()
    capabilities: Annotated[
        tuple[Capability, ...],
        Field(
            kind=ListOf(Capability, "capabilities"),
            doc="Capabilities that KVM_ENABLE_CAP enables on the VM, in this order.",
            examples=([{"name": "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE", "args": ["0x200000"]}],),
            also=("caps", "enable_cap", "kvm_capabilities"),
            default="none",
        ),
    ] = ()
    registers: Annotated[
        tuple[RegisterEntry, ...],
        Field(
            kind=ListOf(RegisterEntry, "registers"),
            doc=(
                "Registers that are set before the VM runs, in this order: ID registers and the"
                " firmware registers of KVM."
            ),
            examples=([{"name": "KVM_REG_ARM_PSCI_VERSION", "value": "0x10001"}],),
            also=("regs", "id_registers", "reg_modifiers"),
            default="the values of the host",
        ),
    ] = ()
    devices: Annotated[
        tuple[Device, ...],
        Field(
            kind=ListOf(Device, "devices"),
            doc=(
                "Devices of the VMM, each with its SPIs, its frame, or both. Only for the checks;"
                " the plan contains no commands for them."
            ),
            examples=(
                [{"name": "uart", "irq": "spi:1", "base": "0x09000000", "size": "64KiB"}],
                [{"name": "msi", "irq": "spi:64-127"}],
            ),
            also=("device_irqs",),
            default="none",
        ),
    ] = ()


def is_users_own(key: str) -> bool:
    """Return whether a top-level key is for the user: vmcfg ignores it."""
    return key.startswith("x-") or key == "$schema"


def kind_words(kind: Kind) -> str:
    """Return the allowed values of a key of some kind, in words."""
    if isinstance(kind, type):
        return f"a mapping with the keys {', '.join(fields(kind))}"
    return kind.words()


_FIELDS: dict[Any, dict[str, Field]] = {}
_REQUIRED: dict[Any, tuple[str, ...]] = {}


def fields(mapping: type[Any]) -> dict[str, Field]:
    """Return the keys of a mapping class of this module, in the order of the documentation."""
    known = _FIELDS.get(mapping)
    if known is None:
        hints = mapping.__annotations__
        known = {name: hint.__metadata__[0] for name, hint in hints.items()}
        _FIELDS[mapping] = known
    return known


def required(mapping: type[Any]) -> tuple[str, ...]:
    """Return the keys that a mapping always requires."""
    known = _REQUIRED.get(mapping)
    if known is None:
        # Every class of this module is a named tuple, which has both.
        names, defaults = mapping._fields, mapping._field_defaults
        known = tuple(name for name in names if name not in defaults)
        _REQUIRED[mapping] = known
    return known


@cache
def every_field() -> dict[str, Field]:
    """Return every key of the format by its dotted path: ``gic.redistributors.base``."""
    return _fields_below(Description, "")


def _fields_below(mapping: type[Any], prefix: str) -> dict[str, Field]:
    found = {}
    for name, field in fields(mapping).items():
        found[prefix + name] = field
        kind = field.kind.full if isinstance(field.kind, Either) else field.kind
        inner = kind.item if isinstance(kind, ListOf) else kind
        if isinstance(inner, type):
            found |= _fields_below(inner, f"{prefix}{name}.")
    return found
