"""The registers with the state of a vGIC and its ITSs, in the order of a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from vmcfg.arm.interrupts import SPI_BASE
from vmcfg.kernel.state import CTRL_GROUP, STATE_GROUPS, STATE_SIZES
from vmcfg.kernel.version import LINUX_6_1, Version
from vmcfg.vm.machine import Machine

Part = Literal["distributor", "vcpu", "its"]
"""What has the register: the distributor, once; each vCPU; or each ITS."""

ALL_BITS = 0xFFFF_FFFF

_V3 = "vgic-mmio-v3.c:vgic_v3_dist_registers"
_REDIST = "vgic-mmio-v3.c:vgic_v3_rd_registers"
_SYSREG = "vgic-sys-reg-v3.c:gic_v3_icc_reg_descs"
_LEVEL = "vgic-v3.c:vgic_v3_line_level_info_uaccess"
_ITS = "vgic-its.c:its_registers"
_V2_DIST = "vgic-mmio-v2.c:vgic_v2_dist_registers"
_V2_CPU = "vgic-mmio-v2.c:vgic_v2_cpu_registers"
_CTRL = "Documentation/virt/kvm/devices/"

DIST, CPU, REDIST, SYSREG, LEVEL, ITS = 1, 2, 5, 6, 7, 8
CTRL_NAME, CTRL = CTRL_GROUP


def _always(machine: Machine) -> bool:
    return True


def has_its(machine: Machine) -> bool:
    """Return whether the VM has an ITS and therefore LPIs."""
    return machine.gic is not None and len(machine.gic.its) > 0


class Access(NamedTuple):
    """One access to a register: its number in the attribute, and the name of the register.

    A half of a register of 64 bits is named with its bits: ``GICD_IROUTER32[63:32]``.
    """

    number: int
    register: str


class StateRow(NamedTuple):
    """A register, or several with consecutive numbers: an offset, an encoding, or an INTID.

    `group` and `number` are those of the attribute. `repeat` is the number of accesses, `step`
    the distance of their numbers, and `first_index` that of the first register, or None.
    With `bits`, there are that many bits per SPI, and the count follows from the number of INTIDs.
    A register `in_halves` has 64 bits in two accesses. A row with a `constant` is only restored,
    with that value. `applies` returns whether a VM has the register, since the kernel `since`.
    """

    register: str
    part: Part
    group: int
    number: int
    source: str
    repeat: int = 1
    step: int = 4
    first_index: int | None = None
    bits: int = 0
    in_halves: bool = False
    constant: int | None = None
    applies: Callable[[Machine], bool] = _always
    since: Version = LINUX_6_1

    @property
    def size(self) -> int:
        """Return the number of bytes that KVM reads and writes at the address."""
        return STATE_SIZES["its" if self.part == "its" else "gic", self.group]

    @property
    def group_name(self) -> str:
        """Return the name of the group in the uapi."""
        return STATE_GROUPS["its" if self.part == "its" else "gic", self.group]

    def accesses(self, nr_irqs: int) -> Iterator[Access]:
        """Yield each access of a vGIC with `nr_irqs` INTIDs."""
        for place in range(self.access_count(nr_irqs)):
            yield Access(self.number + place * self.step, self._name(place))

    def access_count(self, nr_irqs: int) -> int:
        """Return the number of accesses of a vGIC with `nr_irqs` INTIDs."""
        return (nr_irqs - SPI_BASE) * self.bits // 32 if self.bits else self.repeat

    def _name(self, place: int) -> str:
        half = ""
        if self.in_halves:
            half = "[63:32]" if place % 2 else "[31:0]"
            place //= 2
        index = "" if self.first_index is None else str(self.first_index + place)
        return f"{self.register}{index}{half}"


class StateAction(NamedTuple):
    """A command of the group CTRL: `number` is that of its attribute, `title` its name."""

    title: str
    part: Part
    number: int
    doc: str
    source: str
    applies: Callable[[Machine], bool] = has_its


StateLine = StateRow | StateAction


def _dist(register: str, base: int, bits: int, constant: int | None = None) -> StateRow:
    """Return the registers of all SPIs, of which `base` is the one of INTID 0."""
    in_halves = bits == 64
    return StateRow(
        register,
        "distributor",
        DIST,
        base + SPI_BASE * bits // 8,
        _V3,
        first_index=SPI_BASE if in_halves else bits,
        bits=bits,
        in_halves=in_halves,
        constant=constant,
    )


def _redist(register: str, offset: int, count: int = 0, constant: int | None = None) -> StateRow:
    """Return a register of each redistributor; with `count`, that many, with names from 0."""
    index = 0 if count else None
    return StateRow(
        register, "vcpu", REDIST, offset, _REDIST, count or 1, first_index=index, constant=constant
    )


def _lpi(register: str, offset: int) -> StateRow:
    return StateRow(register, "vcpu", REDIST, offset, _REDIST, 2, in_halves=True, applies=has_its)


def _sysreg(register: str, encoding: int) -> StateRow:
    return StateRow(register, "vcpu", SYSREG, encoding, _SYSREG)


def _el2(register: str, encoding: int, count: int = 0) -> StateRow:
    return StateRow(
        register,
        "vcpu",
        SYSREG,
        encoding,
        _SYSREG,
        count or 1,
        step=1,
        first_index=0 if count else None,
        applies=Machine.has_el2,
        since=(6, 17),
    )


def _its(register: str, offset: int) -> StateRow:
    return StateRow(register, "its", ITS, offset, _ITS, applies=has_its)


def _v2_dist(register: str, base: int, bits: int, constant: int | None = None) -> StateRow:
    """Return the registers of all SPIs of a GICv2."""
    return _dist(register, base, bits, constant)._replace(source=_V2_DIST)


def _v2_private(
    register: str, offset: int, count: int = 1, constant: int | None = None
) -> StateRow:
    """Return the registers of SGIs and PPIs, which each vCPU of a GICv2 has."""
    return StateRow(
        register, "vcpu", DIST, offset, _V2_DIST, count, first_index=0, constant=constant
    )


def _v2_cpu(register: str, offset: int, count: int = 0) -> StateRow:
    index = 0 if count else None
    return StateRow(register, "vcpu", CPU, offset, _V2_CPU, count or 1, first_index=index)


_SGI = 0x10000
"""The offset of the frame for SGIs and PPIs in a redistributor."""

STATE_V3: tuple[StateLine, ...] = (
    StateRow("GICD_IIDR", "distributor", DIST, 0x8, _V3),
    StateRow("GICD_CTLR", "distributor", DIST, 0x0, _V3),
    _lpi("GICR_PROPBASER", 0x70),
    _lpi("GICR_PENDBASER", 0x78),
    _redist("GICR_CTLR", 0x0),
    _redist("GICR_IGROUPR0", _SGI + 0x80),
    _redist("GICR_ICENABLER0", _SGI + 0x180, constant=ALL_BITS),
    _redist("GICR_ISENABLER0", _SGI + 0x100),
    _redist("GICR_ICFGR", _SGI + 0xC00, 2),
    _redist("GICR_IPRIORITYR", _SGI + 0x400, 8),
    _redist("GICR_ISPENDR0", _SGI + 0x200),
    _redist("GICR_ICACTIVER0", _SGI + 0x380, constant=ALL_BITS),
    _redist("GICR_ISACTIVER0", _SGI + 0x300),
    StateRow("VGIC_LEVEL_INFO_LINE_LEVEL", "vcpu", LEVEL, 0, _LEVEL),
    _dist("GICD_IROUTER", 0x6000, 64),
    _dist("GICD_IGROUPR", 0x80, 1),
    _dist("GICD_ICENABLER", 0x180, 1, ALL_BITS),
    _dist("GICD_ISENABLER", 0x100, 1),
    _dist("GICD_ICFGR", 0xC00, 2),
    _dist("GICD_IPRIORITYR", 0x400, 8),
    _dist("GICD_ISPENDR", 0x200, 1),
    _dist("GICD_ICACTIVER", 0x380, 1, ALL_BITS),
    _dist("GICD_ISACTIVER", 0x300, 1),
    StateRow("VGIC_LEVEL_INFO_LINE_LEVEL", "distributor", LEVEL, 32, _LEVEL, step=32, bits=1),
    _sysreg("ICC_SRE_EL1", 0xC665),
    _sysreg("ICC_PMR_EL1", 0xC230),
    _sysreg("ICC_BPR0_EL1", 0xC643),
    _sysreg("ICC_BPR1_EL1", 0xC663),
    _sysreg("ICC_CTLR_EL1", 0xC664),
    _sysreg("ICC_AP0R0_EL1", 0xC644),
    _sysreg("ICC_AP1R0_EL1", 0xC648),
    _sysreg("ICC_IGRPEN0_EL1", 0xC666),
    _sysreg("ICC_IGRPEN1_EL1", 0xC667),
    _el2("ICH_AP0R0_EL2", 0xE640),
    _el2("ICH_AP1R0_EL2", 0xE648),
    _el2("ICH_HCR_EL2", 0xE658),
    _el2("ICH_VMCR_EL2", 0xE65F),
    *(_el2(f"ICH_LR{number}_EL2", 0xE660 + number) for number in range(16)),
    _its("GITS_CBASER", 0x80),
    _its("GITS_IIDR", 0x4),
    _its("GITS_CWRITER", 0x88),
    _its("GITS_CREADR", 0x90),
    _its("GITS_BASER0", 0x100),
    _its("GITS_BASER1", 0x108),
    StateAction(
        "KVM_DEV_ARM_ITS_RESTORE_TABLES",
        "its",
        2,
        "Reads the tables of the ITS from the memory of the guest, which must be restored before.",
        _CTRL + "arm-vgic-its.rst",
    ),
    _its("GITS_CTLR", 0x0),
)
"""The state of a GICv3 in the order of a restore.

A register that the guest cannot change is not among them, nor is ICC_AP0R1_EL1 and the like: KVM
has these only on a host with more than five bits of priority, and no known host has.
"""

STATE_V2: tuple[StateLine, ...] = (
    StateRow("GICD_IIDR", "distributor", DIST, 0x8, _V2_DIST),
    StateRow("GICD_CTLR", "distributor", DIST, 0x0, _V2_DIST),
    _v2_private("GICD_IGROUPR", 0x80),
    _v2_dist("GICD_IGROUPR", 0x80, 1),
    _v2_private("GICD_ICENABLER", 0x180, constant=ALL_BITS),
    _v2_dist("GICD_ICENABLER", 0x180, 1, ALL_BITS),
    _v2_private("GICD_ISENABLER", 0x100),
    _v2_dist("GICD_ISENABLER", 0x100, 1),
    _v2_private("GICD_ICFGR", 0xC00, 2),
    _v2_dist("GICD_ICFGR", 0xC00, 2),
    _v2_private("GICD_IPRIORITYR", 0x400, 8),
    _v2_dist("GICD_IPRIORITYR", 0x400, 8),
    _v2_dist("GICD_ITARGETSR", 0x800, 8),
    _v2_private("GICD_ICPENDR", 0x280, constant=ALL_BITS),
    _v2_dist("GICD_ICPENDR", 0x280, 1, ALL_BITS),
    _v2_private("GICD_ISPENDR", 0x200),
    _v2_dist("GICD_ISPENDR", 0x200, 1),
    _v2_private("GICD_CPENDSGIR", 0xF10, 4, ALL_BITS),
    _v2_private("GICD_SPENDSGIR", 0xF20, 4),
    _v2_private("GICD_ICACTIVER", 0x380, constant=ALL_BITS),
    _v2_dist("GICD_ICACTIVER", 0x380, 1, ALL_BITS),
    _v2_private("GICD_ISACTIVER", 0x300),
    _v2_dist("GICD_ISACTIVER", 0x300, 1),
    _v2_cpu("GICC_CTLR", 0x0),
    _v2_cpu("GICC_PMR", 0x4),
    _v2_cpu("GICC_BPR", 0x8),
    _v2_cpu("GICC_ABPR", 0x1C),
    _v2_cpu("GICC_APR", 0xD0, 4),
)
"""The state of a GICv2 in the order of a restore."""

SAVED_FIRST = (
    StateAction(
        "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES",
        "distributor",
        3,
        "Writes the pending LPIs to the memory of the guest, which is saved after this.",
        _CTRL + "arm-vgic-v3.rst",
    ),
    StateAction(
        "KVM_DEV_ARM_ITS_SAVE_TABLES",
        "its",
        1,
        "Writes the tables of the ITS to the memory of the guest, which is saved after this.",
        _CTRL + "arm-vgic-its.rst",
    ),
)
"""What writes state to the memory of the guest, before that is saved too."""


def state_of(version: int) -> tuple[StateLine, ...]:
    """Return the rows of a GIC version in the order of a restore."""
    return STATE_V2 if version == 2 else STATE_V3


def saved_state_of(version: int) -> tuple[StateLine, ...]:
    """Return the rows of a GIC version in the order of a save."""
    registers = [row for row in registers_of(version) if row.constant is None]
    return (*SAVED_FIRST, *registers) if version == 3 else tuple(registers)


def registers_of(version: int) -> tuple[StateRow, ...]:
    """Return the registers of a GIC version in the order of a restore."""
    return tuple(row for row in state_of(version) if isinstance(row, StateRow))


def demands_vcpu(row: StateRow, machine: Machine) -> bool:
    """Return whether KVM demands an existing vCPU in an attribute of a register that no vCPU owns:
    those of a GICv2, and the levels of SPIs.
    """
    return row.group == LEVEL or machine.gic_version() == 2
