"""The device tree of a VM, as a source for dtc: what the description says about the hardware.

The guest needs more than that: the VMM adds /chosen, the nodes of its devices, and the memory if
none is described. Sources:
devicetree-specification v0.4, chapters 3 and 6, and the bindings of Linux 7.2 for arm/cpus,
arm/psci, arm/pmu, arch_timer, arm,gic, and arm,gic-v3.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.affinity import AFFINITIES, mpidr_register
from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, is_ppi
from vmcfg.description.model import Gic
from vmcfg.guest.tree_interrupts import PPI, SPI
from vmcfg.kernel.limits import GREATEST_PAGE_SIZE
from vmcfg.vm.frames import V3_ITS_SIZE, Frame, frames, steal_time_addresses
from vmcfg.vm.machine import Extent, Machine, Vcpu

LEVEL_HIGH = 4
"""The flags of an interrupt that stays active until the guest has handled its cause, as all of KVM
do. If a guest treats the SPI of a PMU as edge-triggered, its vCPU can wait for ever on Linux 7.2.
"""

SECURE_TIMER = 29
"""The PPI of the secure timer, which KVM does not have: without `interrupt-names`, its place in the
list cannot stay empty.
"""


def source(machine: Machine) -> str:
    """Return the device tree source of `machine`.

    CPUs are in ascending order of their MPIDRs. `vmcfg.guest.rules` finds what is missing.
    """
    return "/dts-v1/;\n\n" + _text(_node("/", _root(machine))) + "\n"


# The text: each node is a list of lines, indented once per level ----------------------------------

Lines = list[str]


def _node(name: str, body: Iterator[str] | Lines) -> Lines:
    """Return the lines of a node with these properties and inner nodes."""
    return [f"{name} {{", *(f"\t{line}" if line else "" for line in body), "};"]


def _text(lines: Lines) -> str:
    return "\n".join(lines)


def _cells(*numbers: int) -> str:
    return f"<{' '.join(map(hex, numbers))}>"


def _frame(base: int, size: int) -> str:
    """Return an address and a size, of two cells each."""
    return _cells(base >> 32, base & 0xFFFFFFFF, size >> 32, size & 0xFFFFFFFF)


def _listed(name: str, entries: Lines) -> Lines:
    """Return a property with one entry per line."""
    first, *rest = entries
    lines = [f"{name} = {first}", *(f"\t{entry}" for entry in rest)]
    return [f"{line}," for line in lines[:-1]] + [f"{lines[-1]};"]


# The nodes ----------------------------------------------------------------------------------------


def _root(machine: Machine) -> Iterator[str]:
    yield f'model = "{machine.name}";'
    yield 'compatible = "linux,dummy-virt";'
    yield "#address-cells = <2>;"
    yield "#size-cells = <2>;"
    if machine.gic is not None:
        yield "interrupt-parent = <&gic>;"
    vcpus = sorted(machine.vcpus, key=lambda vcpu: vcpu.mpidr)
    yield ""
    yield from _node("cpus", _cpus(vcpus))
    yield ""
    yield from _node("psci", _psci(machine))
    yield ""
    yield from _node("timer", _timer(machine))
    if machine.has_pmu():
        yield ""
        yield from _node("pmu", _pmu(machine, vcpus))
    if machine.gic is not None:
        yield ""
        yield from _gic(machine, machine.gic)
    for first, end in _memory(machine):
        yield ""
        body = ['device_type = "memory";', f"reg = {_frame(first, end - first)};"]
        yield from _node(f"memory@{first:x}", body)


def _cpus(vcpus: list[Vcpu]) -> Iterator[str]:
    """Yield the CPUs; their MPIDRs have two cells if one of them has an Aff3."""
    registers = [mpidr_register(vcpu.mpidr) & AFFINITIES for vcpu in vcpus]
    has_two_cells = max(registers) >> 32 > 0
    yield f"#address-cells = <{1 + has_two_cells}>;"
    yield "#size-cells = <0>;"
    for number, register in enumerate(registers):
        high, low = register >> 32, register & 0xFFFFFFFF
        yield ""
        yield from _node(
            f"{_label(number)}: cpu@{register:x}",
            [
                'device_type = "cpu";',
                'compatible = "arm,armv8";',
                f"reg = {_cells(high, low) if has_two_cells else _cells(low)};",
                'enable-method = "psci";',
            ],
        )


def _label(number: int) -> str:
    return f"cpu{number}"


def _psci(machine: Machine) -> Iterator[str]:
    """Yield PSCI, which KVM answers: with EL2, an HVC belongs to the hypervisor in the guest."""
    yield 'compatible = "arm,psci-1.0", "arm,psci-0.2";'
    yield f'method = "{"smc" if machine.has_el2() else "hvc"}";'


def _timer(machine: Machine) -> Iterator[str]:
    """Yield the timers in the order of the binding, which firmware expects without names.

    They run while a CPU sleeps: without `always-on`, Linux uses no high-resolution timers.
    """
    keys = ("physical", "virtual", "hyp_physical", "hyp_virtual")
    intids = [SECURE_TIMER, *(machine.timers.intid(key) for key in keys)]
    if not machine.has_el2():
        # The interrupt of the EL2 virtual timer was added later: older guests expect four.
        intids = intids[:-1]
    yield 'compatible = "arm,armv8-timer";'
    yield from _listed("interrupts", [_interrupt(machine, intid) for intid in intids])
    yield "always-on;"


def _interrupt(machine: Machine, intid: int) -> str:
    """Return the cells of an interrupt. PPIs of a GICv2 have a mask of the CPUs that have them."""
    if not is_ppi(intid):
        return f"<{SPI} {intid - SPI_BASE} {LEVEL_HIGH}>"
    flags = LEVEL_HIGH
    if machine.gic_version() == 2:
        flags |= (1 << len(machine.vcpus)) - 1 << 8
    return f"<{PPI} {intid - PPI_BASE} {flags if flags == LEVEL_HIGH else hex(flags)}>"


def _pmu(machine: Machine, vcpus: list[Vcpu]) -> Iterator[str]:
    """Yield the PMU: one PPI for all CPUs, or one interrupt for each of the CPUs in its list."""
    users = [
        (_label(number), vcpu.pmu_irq)
        for number, vcpu in enumerate(vcpus)
        if vcpu.pmu_irq is not None
    ]
    intids = [intid for _, intid in users]
    is_one_ppi = len(set(intids)) == 1 and is_ppi(intids[0])
    yield 'compatible = "arm,armv8-pmuv3";'
    used = intids[:1] if is_one_ppi else intids
    yield from _listed("interrupts", [_interrupt(machine, intid) for intid in used])
    if not is_one_ppi or len(users) < len(vcpus):
        yield from _listed("interrupt-affinity", [f"<&{label}>" for label, _ in users])


def _gic(machine: Machine, gic: Gic) -> Lines:
    address = "" if gic.distributor is None else f"@{gic.distributor:x}"
    body = _gicv2(machine) if gic.version == 2 else _gicv3(machine, gic)
    return _node(f"gic: interrupt-controller{address}", body)


def _reg(used: list[Frame]) -> Lines:
    """Return the addresses of a GIC; nothing if none is known."""
    return _listed("reg", [_frame(frame.base, frame.size) for frame in used]) if used else []


def _gicv2(machine: Machine) -> Iterator[str]:
    yield 'compatible = "arm,cortex-a15-gic";'
    yield from _reg(frames(machine))
    yield "interrupt-controller;"
    yield "#interrupt-cells = <3>;"
    yield "#address-cells = <0>;"


def _gicv3(machine: Machine, gic: Gic) -> Iterator[str]:
    of_its = [frame for frame in frames(machine) if frame.at[:2] == ("gic", "its")]
    others = [frame for frame in frames(machine) if frame.at[:2] != ("gic", "its")]
    regions = sum(frame.at[:2] == ("gic", "redistributors") for frame in others)
    yield 'compatible = "arm,gic-v3";'
    yield from _reg(others)
    if regions > 1:
        yield f"#redistributor-regions = <{regions}>;"
    yield "interrupt-controller;"
    yield "#interrupt-cells = <3>;"
    if machine.has_el2() or gic.maintenance_irq is not None:
        yield f"interrupts = {_interrupt(machine, machine.maintenance_irq())};"
    if not of_its:
        yield "#address-cells = <0>;"
        return
    yield "#address-cells = <2>;"
    yield "#size-cells = <2>;"
    yield "ranges;"
    for frame in of_its:
        yield ""
        yield from _node(f"msi-controller@{frame.base:x}", _its(frame.base))


def _its(base: int) -> Lines:
    return [
        'compatible = "arm,gic-v3-its";',
        f"reg = {_frame(base, V3_ITS_SIZE)};",
        "msi-controller;",
        "#msi-cells = <1>;",
    ]


def _memory(machine: Machine) -> Iterator[Extent]:
    """Yield the addresses of writable memory, without the pages that hold steal time.

    A guest with pages of 64 KiB must not use a page of which KVM writes a part.
    """
    steal_time = steal_time_addresses(machine)
    first_of_hole = end_of_hole = 0
    if steal_time is not None:
        first_of_hole = steal_time.start // GREATEST_PAGE_SIZE * GREATEST_PAGE_SIZE
        end_of_hole = -(-steal_time.stop // GREATEST_PAGE_SIZE) * GREATEST_PAGE_SIZE
    for slot in machine.memory:
        if slot.readonly:
            continue
        first, end = slot.addresses
        for part in ((first, min(end, first_of_hole)), (max(first, end_of_hole), end)):
            if part[0] < part[1]:
                yield part
