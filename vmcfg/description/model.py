"""What a description may say: the one table of its keys, which decoding, schema, documentation and hints come from.

Each class is a mapping of the document, each of its attributes a key: the type is what Python sees, the `Field` beside
it what a reader of YAML needs. A key without a default is required.
"""

from typing import Annotated, Any, NamedTuple

from vmcfg.description.kinds import (
    Choice,
    Events,
    Interrupt,
    KernelVersion,
    Mpidr,
    Name,
    Number,
    Size,
)
from vmcfg.description.written import EventRange, IrqRange, MpidrRange, intid_of
from vmcfg.kernel.version import LINUX_6_1, Version

Scalar = Number | Choice | Name | KernelVersion | Size | Mpidr | Interrupt | Events


class ListOf(NamedTuple):
    """A list whose items are all of one kind: mappings of one class, or scalars."""

    item: "Kind"
    word: str


class Either(NamedTuple):
    """One scalar, or a list."""

    scalar: Scalar
    many: ListOf


Kind = Any
"""How a key's value is read: a `Scalar`, a `ListOf`, an `Either`, or one of this module's mappings."""


class Field(NamedTuple):
    """One key: how its value is read, a sentence with its unit, values that show it, and other tools' words for it."""

    kind: Kind
    doc: str
    examples: tuple[Any, ...] = ()
    also: tuple[str, ...] = ()
    default: str | None = None


IPA_BITS = Number(32, 52)

NR_IRQS = Number(64, 992)
"""What KVM takes, whatever its documents say of 1024 (measured on 6.1, 6.12, 7.2)."""

REGION_COUNT = Number(1, 4095)

COUNTERS = Number(0, 31)

EVENTS = Events()

ADDRESS = Number(0, (1 << 64) - 1, hex=True)

ONE_INTERRUPT = Interrupt(ranges=False)

INTERRUPTS = Interrupt(ranges=True)

DEFAULT_TIMERS = {"virtual": 27, "physical": 30, "hyp_virtual": 28, "hyp_physical": 26}
"""The INTIDs that KVM gives the timers by itself."""

MAINTENANCE = 25
"""The INTID of the GIC's maintenance interrupt where none is set."""


class MemorySlot(NamedTuple):
    """One memory slot: guest-physical addresses that are backed by the host's memory."""

    base: Annotated[
        int,
        Field(
            ADDRESS,
            "Guest-physical address of the slot's first byte; a multiple of 64 KiB.",
            ("0x40000000",),
            ("start", "address", "gpa"),
        ),
    ]
    size: Annotated[
        int,
        Field(
            Size(),
            "Length of the slot in bytes, or in KiB, MiB, GiB or TiB; a multiple of 64 KiB.",
            ("1GiB",),
            ("length", "len"),
        ),
    ]


class RedistributorRegion(NamedTuple):
    """A stretch of addresses that holds redistributors of a GICv3, 128 KiB each."""

    base: Annotated[
        int,
        Field(
            ADDRESS,
            "Guest-physical address of the region; a multiple of 64 KiB.",
            ("0x080a0000",),
            ("start", "address"),
        ),
    ]
    count: Annotated[
        int | None,
        Field(
            REGION_COUNT,
            "How many redistributors the region holds.",
            (123,),
            ("num", "n"),
            "in the last region: as many as the regions before leave, at least 1",
        ),
    ] = None  # type: ignore[assignment]  # it hides tuple.count, which nobody calls here


class Gic(NamedTuple):
    """The interrupt controller that KVM emulates for the VM."""

    version: Annotated[
        int,
        Field(
            Choice(
                2,
                3,
                others={
                    5: "KVM's GICv5 takes no addresses and no SPIs, and vmcfg doesn't describe it yet"
                },
            ),
            "The GIC architecture's version: 2 or 3.",
            (3,),
            ("type", "gic_version", "model"),
        ),
    ]
    set_up_by: Annotated[
        str,
        Field(
            Choice("plan", "monitor"),
            "Who sets the GIC up: the plan, or the monitor by itself; the plan then has no GIC command.",
            ("monitor",),
            ("managed_by", "owner"),
            "plan",
        ),
    ] = "plan"
    nr_irqs: Annotated[
        int | None,
        Field(
            NR_IRQS,
            "How many INTIDs there are, the 32 private ones included: a multiple of 32.",
            (256,),
            ("irqs", "num_irqs", "nr_interrupts", "interrupts", "spis"),
            "256 where the plan sets the GIC up, 992 where the monitor does",
        ),
    ] = None
    distributor: Annotated[
        int | None,
        Field(
            ADDRESS,
            "Guest-physical address of the distributor's frame: 64 KiB with GICv3, 4 KiB with GICv2.",
            ("0x08000000",),
            ("dist", "gicd", "distributor_base", "dist_base"),
        ),
    ] = None
    redistributors: Annotated[
        int | tuple[RedistributorRegion, ...] | None,
        Field(
            Either(ADDRESS, ListOf(RedistributorRegion, "redistributor regions")),
            "GICv3's redistributor regions in index order; or one address, from which KVM takes 128 KiB a vCPU.",
            ([{"base": "0x080a0000", "count": 123}], "0x080a0000"),
            ("redist", "gicr", "redistributor", "redist_regions", "redistributor_regions"),
        ),
    ] = None
    cpu_interface: Annotated[
        int | None,
        Field(
            ADDRESS,
            "Guest-physical address of GICv2's CPU interface, 8 KiB.",
            ("0x08010000",),
            ("cpu", "gicc", "cpuif", "cpu_interface_base"),
        ),
    ] = None
    its: Annotated[
        tuple[int, ...],
        Field(
            ListOf(ADDRESS, "ITS addresses"),
            "Guest-physical address of each GICv3 ITS, 128 KiB; a multiple of 64 KiB.",
            (["0x08080000"],),
            ("gits", "its_base", "its_address"),
            "none",
        ),
    ] = ()
    maintenance_irq: Annotated[
        int | IrqRange | None,
        Field(
            ONE_INTERRUPT,
            "The PPI by which GICv3 tells a guest hypervisor of its own guest's interrupts; used with the feature el2.",
            (25, "ppi:9"),
            ("maint_irq", "maintenance", "maintenance_interrupt"),
            "25",
        ),
    ] = None


class VcpuEntry(NamedTuple):
    """One vCPU, or a range of them."""

    mpidr: Annotated[
        int | MpidrRange,
        Field(
            Mpidr(),
            "The vCPU's affinity, Aff3.Aff2.Aff1.Aff0; ranges stand for one vCPU each, the rightmost running fastest.",
            ("0.0.1.0", "0.0.0-31.0-15"),
            ("affinity", "id", "reg", "cpu"),
        ),
    ]
    pmu_irq: Annotated[
        int | IrqRange | None,
        Field(
            INTERRUPTS,
            "The PMU's overflow interrupt: an INTID, ppi:N or spi:N; a range runs in step with mpidr's.",
            (23, "ppi:7", "spi:0-511"),
            ("irq", "pmu", "pmu_interrupt", "interrupt", "pmu_intid"),
            "pmu.irq",
        ),
    ] = None


class FilterEntry(NamedTuple):
    """PMU events that the guest may count, or may not."""

    action: Annotated[
        str,
        Field(
            Choice("allow", "deny"),
            "Whether the guest may count these events. The opposite of the first entry holds where no entry does.",
            ("deny",),
            ("type", "rule"),
        ),
    ]
    events: Annotated[
        EventRange,
        Field(
            EVENTS,
            "An event's number, or a range first-last; up to 0xffff.",
            ("0x11", "0x08-0x1b"),
            ("event", "range"),
        ),
    ]


class Pmu(NamedTuple):
    """The virtual PMU, as far as it is the same for the whole VM."""

    irq: Annotated[
        int | IrqRange | None,
        Field(
            INTERRUPTS,
            "The PMU interrupt of every vCPU that has none of its own; a range deals out one each, in order.",
            (23, "spi:8-11"),
            ("interrupt", "pmu_irq", "intid"),
        ),
    ] = None
    device: Annotated[
        str | None,
        Field(
            Name("a PMU's name"),
            "The host's PMU that counts, by its name in /sys/bus/event_source/devices.",
            ("armv8_pmuv3_0",),
            ("host_pmu", "pmu_device", "set_pmu"),
            "that of the CPU on which the first vCPU is initialised",
        ),
    ] = None
    counters: Annotated[
        int | None,
        Field(
            COUNTERS,
            "How many event counters the guest has, the cycle counter not counted.",
            (6,),
            ("nr_counters", "num_counters", "event_counters"),
            "as many as the host's PMU has",
        ),
    ] = None
    filter: Annotated[
        tuple[FilterEntry, ...],
        Field(
            ListOf(FilterEntry, "filter entries"),
            "Which events the guest may count, in order; the last entry that names an event decides.",
            ([{"action": "deny", "events": "0x11"}],),
            ("filters", "event_filter", "events"),
            "all events are counted",
        ),
    ] = ()


class Timers(NamedTuple):
    """The PPIs of the four timers of each vCPU; the same on all of them."""

    virtual: Annotated[
        int | IrqRange | None,
        Field(
            ONE_INTERRUPT,
            "The EL1 virtual timer's PPI.",
            (27, "ppi:11"),
            ("virt", "vtimer", "el1_virtual"),
            str(DEFAULT_TIMERS["virtual"]),
        ),
    ] = None
    physical: Annotated[
        int | IrqRange | None,
        Field(
            ONE_INTERRUPT,
            "The EL1 physical timer's PPI.",
            (30, "ppi:14"),
            ("phys", "ptimer", "el1_physical"),
            str(DEFAULT_TIMERS["physical"]),
        ),
    ] = None
    hyp_virtual: Annotated[
        int | IrqRange | None,
        Field(
            ONE_INTERRUPT,
            "The EL2 virtual timer's PPI.",
            (28, "ppi:12"),
            ("hvtimer", "hyp_virt", "el2_virtual"),
            str(DEFAULT_TIMERS["hyp_virtual"]),
        ),
    ] = None
    hyp_physical: Annotated[
        int | IrqRange | None,
        Field(
            ONE_INTERRUPT,
            "The EL2 physical timer's PPI.",
            (26, "ppi:10"),
            ("hptimer", "hyp_phys", "el2_physical"),
            str(DEFAULT_TIMERS["hyp_physical"]),
        ),
    ] = None

    def intid(self, timer: str) -> int:
        """The INTID of a timer, named by its key: as written, or as KVM sets it (arch_timer.c:default_ppi)."""
        written = getattr(self, timer)
        if written is None:
            return DEFAULT_TIMERS[timer]
        return intid_of(written)


class StealTime(NamedTuple):
    """Where KVM tells each vCPU how long it was kept waiting."""

    base: Annotated[
        int,
        Field(
            ADDRESS,
            "Guest-physical address of the first vCPU's 64 bytes, the others following by index; a multiple of 64.",
            ("0x090a0000",),
            ("address", "ipa", "start"),
        ),
    ]


class SmcccEntry(NamedTuple):
    """A range of SMCCC function ids, and what becomes of the guest's calls of them."""

    action: Annotated[
        str,
        Field(
            Choice("handle", "deny", "forward"),
            "handle: by KVM; deny: answered with NOT_SUPPORTED; forward: to the monitor.",
            ("deny",),
            ("type", "rule"),
        ),
    ]
    base: Annotated[
        int,
        Field(
            Number(0, 0xFFFFFFFF, hex=True),
            "The first function id.",
            ("0x84000005",),
            ("function", "start", "first"),
        ),
    ]
    count: Annotated[
        int,
        Field(
            Number(1, 0xFFFFFFFF),
            "How many function ids, from the first.",
            (1,),
            ("nr_functions", "functions"),
        ),
    ]  # type: ignore[assignment]  # it hides tuple.count, which nobody calls here


class Device(NamedTuple):
    """One of the monitor's own devices, as far as the checks need to know it."""

    name: Annotated[
        str, Field(Name("a device's name"), "The device's name.", ("uart",), ("device", "id"))
    ]
    irq: Annotated[
        int | IrqRange,
        Field(
            ONE_INTERRUPT,
            "The SPI by which the device interrupts.",
            ("spi:1", 33),
            ("interrupt", "spi", "intid", "gsi"),
        ),
    ]


FEATURES = ("sve", "ptrauth", "el2")


class Description(NamedTuple):
    """An arm64 KVM virtual machine, as far as KVM's device attributes set it up."""

    vmcfg: Annotated[
        int,
        Field(
            Choice(1, others={2: "this vmcfg reads version 1 of the format"}),
            "The version of this format: 1.",
            (1,),
            ("version", "api_version", "apiVersion", "format"),
        ),
    ]
    name: Annotated[
        str,
        Field(
            Name("a VM's name"),
            "The VM's name: 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit.",
            ("edge-gateway",),
            ("vm", "vm_name", "hostname"),
        ),
    ]
    vcpus: Annotated[
        int | tuple[VcpuEntry, ...],
        Field(
            Either(Number(1, (1 << 31) - 1), ListOf(VcpuEntry, "vCPUs")),
            "The vCPUs by MPIDR; or how many there are, each with the MPIDR that KVM gives it. 512 at most.",
            (4, [{"mpidr": "0.0.0.0", "pmu_irq": 23}]),
            (
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
        Version,
        Field(
            KernelVersion(),
            "The oldest host kernel that the plan must work on, in quotes; 6.1 or later.",
            ("6.12",),
            ("kernel", "min_kernel", "linux"),
            '"6.1"',
        ),
    ] = LINUX_6_1
    ipa_bits: Annotated[
        int,
        Field(
            IPA_BITS,
            "Width of guest-physical addresses in bits, the argument of KVM_CREATE_VM.",
            (40,),
            ("ipa_size", "phys_bits", "address_bits", "pa_bits"),
            "40",
        ),
    ] = 40
    memory: Annotated[
        tuple[MemorySlot, ...],
        Field(
            ListOf(MemorySlot, "memory slots"),
            "The VM's memory slots.",
            ([{"base": "0x40000000", "size": "1GiB"}],),
            ("mem", "ram", "memory_slots", "memslots"),
            "none",
        ),
    ] = ()
    vcpu_ids: Annotated[
        str,
        Field(
            Choice("derived", "sequential"),
            "How vCPUs get their ids for KVM_CREATE_VCPU: derived from the MPIDRs, or sequential in file order.",
            ("sequential",),
            ("ids", "id_policy", "numbering"),
            "derived",
        ),
    ] = "derived"
    gic: Annotated[
        Gic | None,
        Field(
            Gic,
            "The interrupt controller.",
            (),
            ("irqchip", "interrupt_controller", "vgic"),
            "the monitor sets up one of its own, in the kernel",
        ),
    ] = None
    pmu: Annotated[
        Pmu,
        Field(Pmu, "The PMU, as far as it is the same for the whole VM.", (), ("perf", "pmuv3")),
    ] = Pmu()
    timers: Annotated[
        Timers, Field(Timers, "The timers' PPIs.", (), ("timer", "arch_timer", "arch_timers"))
    ] = Timers()
    steal_time: Annotated[
        StealTime | None,
        Field(
            StealTime,
            "Steal time: 64 bytes for each vCPU.",
            (),
            ("pvtime", "pv_time", "stolen_time"),
            "none",
        ),
    ] = None
    smccc_filter: Annotated[
        tuple[SmcccEntry, ...],
        Field(
            ListOf(SmcccEntry, "SMCCC filter entries"),
            "What becomes of the guest's SMCCC calls, by ranges of function ids.",
            ([{"action": "deny", "base": "0x84000005", "count": 1}],),
            ("smccc", "hypercalls", "smccc_filters"),
            "all are KVM's to handle",
        ),
    ] = ()
    features: Annotated[
        tuple[str, ...],
        Field(
            ListOf(Choice(*FEATURES), "features"),
            "What every vCPU has beyond PSCI and PMU: sve, ptrauth (pointer authentication), el2 (for hypervisors).",
            (["sve", "ptrauth"],),
            ("cpu_features", "vcpu_features", "extensions"),
            "none",
        ),
    ] = ()
    devices: Annotated[
        tuple[Device, ...],
        Field(
            ListOf(Device, "devices"),
            "The monitor's own devices that interrupt by SPIs: for the checks, no command is emitted for them.",
            ([{"name": "uart", "irq": "spi:1"}],),
            ("device_irqs",),
            "none",
        ),
    ] = ()


def fields(mapping: Any) -> dict[str, Field]:
    """The keys of one of this module's mappings, in the order in which they are documented."""
    return {name: hint.__metadata__[0] for name, hint in mapping.__annotations__.items()}


def required(mapping: Any) -> tuple[str, ...]:
    """The keys that a mapping can't do without, whatever else it says."""
    return tuple(name for name in mapping._fields if name not in mapping._field_defaults)


def every_field(mapping: Any = Description, prefix: str = "") -> dict[str, Field]:
    """Every key of the format by its dotted path, list indices left out: ``gic.redistributors.base``."""
    found = {}
    for name, field in fields(mapping).items():
        found[prefix + name] = field
        kind = field.kind.many if isinstance(field.kind, Either) else field.kind
        inner = kind.item if isinstance(kind, ListOf) else kind
        if isinstance(inner, type):
            found |= every_field(inner, f"{prefix}{name}.")
    return found
