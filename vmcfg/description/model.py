"""What a description may say: the one table of its keys, which decoding, schema, documentation and
hints come from.

Each class is a mapping of the document, each of its attributes a key: the type is what Python sees,
the `Field` beside it what a reader of YAML needs. A key without a default is required.
"""

from functools import cache
from typing import Annotated, Any, NamedTuple

from vmcfg.description.kinds import (
    Choice,
    Events,
    Interrupt,
    KernelVersion,
    Mpidr,
    Name,
    Number,
    ScalarKind,
    Size,
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
)
from vmcfg.kernel.version import LINUX_6_1, Version


class ListOf:
    """A list whose items are all of one kind: mappings of one class, or scalars."""

    __slots__ = ("item", "word")

    def __init__(self, item: "Kind", word: str) -> None:
        self.item = item
        self.word = word

    def words(self) -> str:
        """What may be written, in words."""
        return f"a list of {self.word}"


class Either:
    """One scalar, or a list."""

    __slots__ = ("many", "scalar")

    def __init__(self, scalar: ScalarKind, many: ListOf) -> None:
        self.scalar = scalar
        self.many = many

    def words(self) -> str:
        """What may be written, in words."""
        return f"{self.scalar.words()}; or {self.many.words()}"


Kind = ScalarKind | ListOf | Either | type[Any]
"""How a key's value is read; a class is one of this module's mappings."""


class Field:
    """One key: how its value is read, and what people are told about it.

    `doc` is a sentence with the unit, `examples` are values as JSON data, `also` are other tools'
    words for the key, and `default` says in words what holds if the key is not written.
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
            kind=ADDRESS,
            doc="Guest-physical address of the slot's first byte; a multiple of 64 KiB.",
            examples=("0x40000000",),
            also=("start", "address", "gpa"),
        ),
    ]
    size: Annotated[
        int,
        Field(
            kind=Size(),
            doc="Length of the slot in bytes, or in KiB, MiB, GiB or TiB; a multiple of 64 KiB.",
            examples=("1GiB",),
            also=("length", "len"),
        ),
    ]


class RedistributorRegion(NamedTuple):
    """A stretch of addresses that holds redistributors of a GICv3, 128 KiB each."""

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
            doc="How many redistributors the region holds.",
            examples=(123,),
            also=("num", "n"),
            default="in the last region: as many as the regions before leave, at least 1",
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
                    5: (
                        "KVM's GICv5 takes no addresses and no SPIs, and vmcfg doesn't describe"
                        " it yet"
                    )
                },
            ),
            doc="The GIC architecture's version: 2 or 3.",
            examples=(3,),
            also=("type", "gic_version", "model"),
        ),
    ]
    set_up_by: Annotated[
        str,
        Field(
            kind=Choice("plan", "monitor"),
            doc=(
                "Who sets the GIC up: the plan, or the monitor by itself; the plan then has no GIC"
                " command."
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
            doc="How many INTIDs there are, the 32 private ones included: a multiple of 32.",
            examples=(256,),
            also=("irqs", "num_irqs", "nr_interrupts", "interrupts", "spis"),
            default="256 where the plan sets the GIC up, 992 where the monitor does",
        ),
    ] = None
    distributor: Annotated[
        int | None,
        Field(
            kind=ADDRESS,
            doc=(
                "Guest-physical address of the distributor's frame: 64 KiB with GICv3, 4 KiB with"
                " GICv2."
            ),
            examples=("0x08000000",),
            also=("dist", "gicd", "distributor_base", "dist_base"),
        ),
    ] = None
    redistributors: Annotated[
        int | tuple[RedistributorRegion, ...] | None,
        Field(
            kind=Either(ADDRESS, ListOf(RedistributorRegion, "redistributor regions")),
            doc=(
                "GICv3's redistributor regions in index order; or one address, from which KVM takes"
                " 128 KiB a vCPU."
            ),
            examples=([{"base": "0x080a0000", "count": 123}], "0x080a0000"),
            also=("redist", "gicr", "redistributor", "redist_regions", "redistributor_regions"),
        ),
    ] = None
    cpu_interface: Annotated[
        int | None,
        Field(
            kind=ADDRESS,
            doc="Guest-physical address of GICv2's CPU interface, 8 KiB.",
            examples=("0x08010000",),
            also=("cpu", "gicc", "cpuif", "cpu_interface_base"),
        ),
    ] = None
    its: Annotated[
        tuple[int, ...],
        Field(
            kind=ListOf(ADDRESS, "ITS addresses"),
            doc="Guest-physical address of each GICv3 ITS, 128 KiB; a multiple of 64 KiB.",
            examples=(["0x08080000"],),
            also=("gits", "its_base", "its_address"),
            default="none",
        ),
    ] = ()
    maintenance_irq: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc=(
                "The PPI by which GICv3 tells a guest hypervisor of its own guest's interrupts;"
                " used with the feature el2."
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
                "The vCPU's affinity, Aff3.Aff2.Aff1.Aff0; ranges stand for one vCPU each, the"
                " rightmost running fastest."
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
                "The PMU's overflow interrupt: an INTID, ppi:N or spi:N; a range runs in step with"
                " mpidr's."
            ),
            examples=(23, "ppi:7", "spi:0-511"),
            also=("irq", "pmu", "pmu_interrupt", "interrupt", "pmu_intid"),
            default="pmu.irq",
        ),
    ] = None


class FilterEntry(NamedTuple):
    """PMU events that the guest may count, or may not."""

    action: Annotated[
        str,
        Field(
            kind=Choice("allow", "deny"),
            doc=(
                "Whether the guest may count these events. The opposite of the first entry holds"
                " where no entry does."
            ),
            examples=("deny",),
            also=("type", "rule"),
        ),
    ]
    events: Annotated[
        EventRange,
        Field(
            kind=EVENTS,
            doc="An event's number, or a range first-last; up to 0xffff.",
            examples=("0x11", "0x08-0x1b"),
            also=("event", "range"),
        ),
    ]


class Pmu(NamedTuple):
    """The virtual PMU, as far as it is the same for the whole VM."""

    irq: Annotated[
        int | IrqRange | None,
        Field(
            kind=INTERRUPTS,
            doc=(
                "The PMU interrupt of every vCPU that has none of its own; a range deals out one"
                " each, in order."
            ),
            examples=(23, "spi:8-11"),
            also=("interrupt", "pmu_irq", "intid"),
        ),
    ] = None
    device: Annotated[
        str | None,
        Field(
            kind=Name("a PMU's name"),
            doc="The host's PMU that counts, by its name in /sys/bus/event_source/devices.",
            examples=("armv8_pmuv3_0",),
            also=("host_pmu", "pmu_device", "set_pmu"),
            default="that of the CPU on which the first vCPU is initialised",
        ),
    ] = None
    counters: Annotated[
        int | None,
        Field(
            kind=COUNTERS,
            doc="How many event counters the guest has, the cycle counter not counted.",
            examples=(6,),
            also=("nr_counters", "num_counters", "event_counters"),
            default="as many as the host's PMU has",
        ),
    ] = None
    filter: Annotated[
        tuple[FilterEntry, ...],
        Field(
            kind=ListOf(FilterEntry, "filter entries"),
            doc=(
                "Which events the guest may count, in order; the last entry that names an event"
                " decides."
            ),
            examples=([{"action": "deny", "events": "0x11"}],),
            also=("filters", "event_filter", "events"),
            default="all events are counted",
        ),
    ] = ()


class Timers(NamedTuple):
    """The PPIs of the four timers of each vCPU; the same on all of them."""

    virtual: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="The EL1 virtual timer's PPI.",
            examples=(27, "ppi:11"),
            also=("virt", "vtimer", "el1_virtual"),
            default=str(DEFAULT_TIMERS["virtual"]),
        ),
    ] = None
    physical: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="The EL1 physical timer's PPI.",
            examples=(30, "ppi:14"),
            also=("phys", "ptimer", "el1_physical"),
            default=str(DEFAULT_TIMERS["physical"]),
        ),
    ] = None
    hyp_virtual: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="The EL2 virtual timer's PPI.",
            examples=(28, "ppi:12"),
            also=("hvtimer", "hyp_virt", "el2_virtual"),
            default=str(DEFAULT_TIMERS["hyp_virtual"]),
        ),
    ] = None
    hyp_physical: Annotated[
        int | IrqRange | None,
        Field(
            kind=ONE_INTERRUPT,
            doc="The EL2 physical timer's PPI.",
            examples=(26, "ppi:10"),
            also=("hptimer", "hyp_phys", "el2_physical"),
            default=str(DEFAULT_TIMERS["hyp_physical"]),
        ),
    ] = None

    def intid(self, timer: str) -> int:
        """The INTID of a timer, named by its key: as written, or as KVM sets it
        (arch_timer.c:default_ppi).
        """
        written = getattr(self, timer)
        if written is None:
            return DEFAULT_TIMERS[timer]
        return intid_of(written)


class StealTime(NamedTuple):
    """Where KVM tells each vCPU how long it was kept waiting."""

    base: Annotated[
        int,
        Field(
            kind=ADDRESS,
            doc=(
                "Guest-physical address of the first vCPU's 64 bytes, the others following by"
                " index; a multiple of 64."
            ),
            examples=("0x090a0000",),
            also=("address", "ipa", "start"),
        ),
    ]


class SmcccEntry(NamedTuple):
    """A range of SMCCC function ids, and what becomes of the guest's calls of them."""

    action: Annotated[
        str,
        Field(
            kind=Choice("handle", "deny", "forward"),
            doc="handle: by KVM; deny: answered with NOT_SUPPORTED; forward: to the monitor.",
            examples=("deny",),
            also=("type", "rule"),
        ),
    ]
    base: Annotated[
        int,
        Field(
            kind=Number(0, U32_GREATEST, hex=True),
            doc="The first function id.",
            examples=("0x84000005",),
            also=("function", "start", "first"),
        ),
    ]
    count: Annotated[
        int,
        Field(
            kind=Number(1, U32_GREATEST),
            doc="How many function ids, from the first.",
            examples=(1,),
            also=("nr_functions", "functions"),
        ),
    ]  # type: ignore[assignment]  # it hides tuple.count, which nobody calls here


class Device(NamedTuple):
    """One of the monitor's own devices, as far as the checks need to know it."""

    name: Annotated[
        str,
        Field(
            kind=Name("a device's name"),
            doc="The device's name.",
            examples=("uart",),
            also=("device", "id"),
        ),
    ]
    irq: Annotated[
        int | IrqRange,
        Field(
            kind=ONE_INTERRUPT,
            doc="The SPI by which the device interrupts.",
            examples=("spi:1", 33),
            also=("interrupt", "spi", "intid", "gsi"),
        ),
    ]


class Description(NamedTuple):
    """An arm64 KVM virtual machine, as far as KVM's device attributes set it up."""

    vmcfg: Annotated[
        int,
        Field(
            kind=Choice(1, others={2: "this vmcfg reads version 1 of the format"}),
            doc="The version of this format: 1.",
            examples=(1,),
            also=("version", "api_version", "apiVersion", "format"),
        ),
    ]
    name: Annotated[
        str,
        Field(
            kind=Name("a VM's name"),
            doc=(
                "The VM's name: 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter"
                " or digit."
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
                "The vCPUs by MPIDR; or how many there are, each with the MPIDR that KVM gives it."
                " 512 at most."
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
        Version,
        Field(
            kind=KernelVersion(),
            doc="The oldest host kernel that the plan must work on, in quotes; 6.1 or later.",
            examples=("6.12",),
            also=("kernel", "min_kernel", "linux"),
            default='"6.1"',
        ),
    ] = LINUX_6_1
    ipa_bits: Annotated[
        int,
        Field(
            kind=IPA_BITS,
            doc="Width of guest-physical addresses in bits, the argument of KVM_CREATE_VM.",
            examples=(40,),
            also=("ipa_size", "phys_bits", "address_bits", "pa_bits"),
            default=str(IPA_BITS_DEFAULT),
        ),
    ] = IPA_BITS_DEFAULT
    memory: Annotated[
        tuple[MemorySlot, ...],
        Field(
            kind=ListOf(MemorySlot, "memory slots"),
            doc="The VM's memory slots.",
            examples=([{"base": "0x40000000", "size": "1GiB"}],),
            also=("mem", "ram", "memory_slots", "memslots"),
            default="none",
        ),
    ] = ()
    vcpu_ids: Annotated[
        str,
        Field(
            kind=Choice("derived", "sequential"),
            doc=(
                "How vCPUs get their ids for KVM_CREATE_VCPU: derived from the MPIDRs, or"
                " sequential in file order."
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
            doc="The interrupt controller.",
            also=("irqchip", "interrupt_controller", "vgic"),
            default="the monitor sets up one of its own, in the kernel",
        ),
    ] = None
    pmu: Annotated[
        Pmu,
        Field(
            kind=Pmu,
            doc="The PMU, as far as it is the same for the whole VM.",
            also=("perf", "pmuv3"),
        ),
    ] = Pmu()
    timers: Annotated[
        Timers,
        Field(
            kind=Timers,
            doc="The timers' PPIs.",
            also=("timer", "arch_timer", "arch_timers"),
        ),
    ] = Timers()
    steal_time: Annotated[
        StealTime | None,
        Field(
            kind=StealTime,
            doc="Steal time: 64 bytes for each vCPU.",
            also=("pvtime", "pv_time", "stolen_time"),
            default="none",
        ),
    ] = None
    smccc_filter: Annotated[
        tuple[SmcccEntry, ...],
        Field(
            kind=ListOf(SmcccEntry, "SMCCC filter entries"),
            doc="What becomes of the guest's SMCCC calls, by ranges of function ids.",
            examples=([{"action": "deny", "base": "0x84000005", "count": 1}],),
            also=("smccc", "hypercalls", "smccc_filters"),
            default="all are KVM's to handle",
        ),
    ] = ()
    features: Annotated[
        tuple[str, ...],
        Field(
            kind=ListOf(Choice(*FEATURES), "features"),
            doc=(
                "What every vCPU has beyond PSCI and PMU: sve, ptrauth (pointer authentication),"
                " el2 (for hypervisors)."
            ),
            examples=(["sve", "ptrauth"],),
            also=("cpu_features", "vcpu_features", "extensions"),
            default="none",
        ),
    ] = ()
    devices: Annotated[
        tuple[Device, ...],
        Field(
            kind=ListOf(Device, "devices"),
            doc=(
                "The monitor's own devices that interrupt by SPIs: for the checks, no command is"
                " emitted for them."
            ),
            examples=([{"name": "uart", "irq": "spi:1"}],),
            also=("device_irqs",),
            default="none",
        ),
    ] = ()


def is_users_own(key: str) -> bool:
    """Whether a key at the top of a description belongs to the user: vmcfg does not read it."""
    return key.startswith("x-") or key == "$schema"


def kind_words(kind: Kind) -> str:
    """What may be written for a key of some kind, in words."""
    if isinstance(kind, type):
        return f"a mapping of {', '.join(fields(kind))}"
    return kind.words()


_FIELDS: dict[Any, dict[str, Field]] = {}
_REQUIRED: dict[Any, tuple[str, ...]] = {}


def fields(mapping: type[Any]) -> dict[str, Field]:
    """The keys of one of this module's mappings, in the order in which they are documented."""
    known = _FIELDS.get(mapping)
    if known is None:
        hints = mapping.__annotations__
        known = {name: hint.__metadata__[0] for name, hint in hints.items()}
        _FIELDS[mapping] = known
    return known


def required(mapping: type[Any]) -> tuple[str, ...]:
    """The keys that a mapping can't do without, whatever else it says."""
    known = _REQUIRED.get(mapping)
    if known is None:
        # The two that every class of this module has, being a named tuple.
        names, defaults = mapping._fields, mapping._field_defaults
        known = tuple(name for name in names if name not in defaults)
        _REQUIRED[mapping] = known
    return known


@cache
def every_field() -> dict[str, Field]:
    """Every key of the format by its dotted path: ``gic.redistributors.base``."""
    return _fields_below(Description, "")


def _fields_below(mapping: type[Any], prefix: str) -> dict[str, Field]:
    found = {}
    for name, field in fields(mapping).items():
        found[prefix + name] = field
        kind = field.kind.many if isinstance(field.kind, Either) else field.kind
        inner = kind.item if isinstance(kind, ListOf) else kind
        if isinstance(inner, type):
            found |= _fields_below(inner, f"{prefix}{name}.")
    return found
