"""The registers of a vGICv3 and its ITS in the order in which they are restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from vmcfg.kernel.version import LINUX_6_1, Version

Part = Literal["distributor", "vcpu", "its"]

FIRST_SPI = 32
_WORD_BITS = 32

_V3 = "Documentation/virt/kvm/devices/arm-vgic-v3.rst"
_MMIO = "vgic-mmio-v3.c:vgic_v3_dist_registers"
_REDIST = "vgic-mmio-v3.c:vgic_v3_rd_registers"
_SYSREGS = "vgic-sys-reg-v3.c:gic_v3_icc_reg_descs"
_ITS = "Documentation/virt/kvm/devices/arm-vgic-its.rst"
_V6_17 = (6, 17)


class StateRow(NamedTuple):
    """One register, or one command without a value (`size` 0).

    `number` is the offset or the encoding in `group`, `size` the bytes that KVM reads and writes,
    and `words` the number of 32-bit words from `number` on. With `bits`, the register has that many
    bits per INTID, and its words are those of the SPIs. A row that is not `saved` is only restored,
    and vice versa.
    """

    register: str
    part: Part
    group: int
    number: int
    size: int
    source: str
    words: int = 1
    bits: int = 0
    saved: bool = True
    restored: bool = True
    needs_its: bool = False
    needs_el2: bool = False
    since: Version = LINUX_6_1

    def numbers(self, nr_irqs: int) -> Iterator[int]:
        """Yield the offset of each access of a GIC with `nr_irqs` INTIDs."""
        first, words = self.number, self.words
        if self.bits:
            first += FIRST_SPI * self.bits // 8
            words = (nr_irqs - FIRST_SPI) * self.bits // _WORD_BITS
        yield from range(first, first + words * 4, 4)


def _dist(register: str, offset: int, bits: int = 0) -> StateRow:
    return StateRow(register, "distributor", 1, offset, 4, _MMIO, bits=bits)


def _redist(register: str, offset: int, words: int = 1, lpi: bool = False) -> StateRow:
    return StateRow(register, "vcpu", 5, offset, 4, _REDIST, words=words, needs_its=lpi)


def _sysreg(register: str, encoding: int) -> StateRow:
    return StateRow(register, "vcpu", 6, encoding, 8, _SYSREGS)


def _el2(register: str, encoding: int) -> StateRow:
    return StateRow(register, "vcpu", 6, encoding, 8, _SYSREGS, needs_el2=True, since=_V6_17)


def _its(register: str, offset: int) -> StateRow:
    return StateRow(register, "its", 8, offset, 8, _ITS, needs_its=True)


_SGI = 0x10000

STATE_V3 = (
    _dist("GICD_IIDR", 0x8),
    _redist("GICR_PROPBASER", 0x70, 2, lpi=True),
    _redist("GICR_PENDBASER", 0x78, 2, lpi=True),
    _redist("GICR_CTLR", 0x0),
    _redist("GICR_IGROUPR0", _SGI + 0x80),
    _redist("GICR_ISENABLER0", _SGI + 0x100),
    _redist("GICR_ICFGR0", _SGI + 0xC00, 2),
    _redist("GICR_IPRIORITYR0", _SGI + 0x400, 8),
    _redist("GICR_ISPENDR0", _SGI + 0x200),
    _redist("GICR_ISACTIVER0", _SGI + 0x300),
    _dist("GICD_IROUTER", 0x6000, 64),
    _dist("GICD_IGROUPR", 0x80, 1),
    _dist("GICD_ISENABLER", 0x100, 1),
    _dist("GICD_ICFGR", 0xC00, 2),
    _dist("GICD_IPRIORITYR", 0x400, 8),
    _dist("GICD_ISPENDR", 0x200, 1),
    _dist("GICD_ISACTIVER", 0x300, 1),
    _sysreg("ICC_SRE_EL1", 0xC665),
    _sysreg("ICC_PMR_EL1", 0xC230),
    _sysreg("ICC_BPR0_EL1", 0xC643),
    _sysreg("ICC_BPR1_EL1", 0xC663),
    _sysreg("ICC_CTLR_EL1", 0xC664),
    _sysreg("ICC_AP0R0_EL1", 0xC644),
    _sysreg("ICC_AP1R0_EL1", 0xC648),
    _sysreg("ICC_IGRPEN0_EL1", 0xC666),
    _sysreg("ICC_IGRPEN1_EL1", 0xC667),
    _el2("ICH_HCR_EL2", 0xE658),
    _el2("ICH_VMCR_EL2", 0xE65F),
    _dist("GICD_CTLR", 0x0),
    _its("GITS_CBASER", 0x80),
    _its("GITS_IIDR", 0x4),
    _its("GITS_CWRITER", 0x88),
    _its("GITS_CREADR", 0x90),
    _its("GITS_BASER0", 0x100),
    _its("GITS_BASER1", 0x108),
    StateRow("RESTORE_TABLES", "its", 4, 2, 0, _ITS, saved=False, needs_its=True),
    _its("GITS_CTLR", 0x0),
)
"""The rows in the order of a restore. LEVEL_INFO, SAVE_TABLES, and SAVE_PENDING_TABLES are not
among them.
"""

BEFORE = (
    ("GICD_IIDR", "", f"it selects the behavior of every other register: {_V3}"),
    ("GICR_PROPBASER", "GICR_CTLR", "a write with LPIs enabled is ignored: vgic-mmio-v3.c"),
    ("GICR_PENDBASER", "GICR_CTLR", "a write with LPIs enabled is ignored: vgic-mmio-v3.c"),
    ("ICC_BPR1_EL1", "ICC_CTLR_EL1", "a write with CBPR set is ignored: vgic-sys-reg-v3.c"),
    ("ICC_CTLR_EL1", "ICC_AP0R0_EL1", "its priority bits limit AP0R: vgic-sys-reg-v3.c"),
    ("ICC_CTLR_EL1", "ICC_AP1R0_EL1", "its priority bits limit AP1R: vgic-sys-reg-v3.c"),
    ("GITS_CBASER", "GITS_", f"a write to it resets GITS_CREADR: {_ITS}"),
    ("GICR_", "RESTORE_TABLES", f"redistributors first: {_ITS}"),
    ("GITS_IIDR", "RESTORE_TABLES", f"its revision is that of the tables: {_ITS}"),
    ("GITS_BASER", "RESTORE_TABLES", f"it has the address of the tables: {_ITS}"),
    ("GITS_CREADR", "GITS_CTLR", f"GITS_CTLR may enable the ITS: {_ITS}"),
    ("RESTORE_TABLES", "GITS_CTLR", f"GITS_CTLR is the last one: {_ITS}"),
)
"""What must come before what, each with its reason: registers, by the beginning of their names."""


def broken(names: list[str]) -> list[tuple[str, str, str]]:
    """Return the entries of `BEFORE` that registers in this order break."""
    found = []
    for before, after, why in BEFORE:
        firsts = [at for at, name in enumerate(names) if name.startswith(before)]
        lasts = [
            at
            for at, name in enumerate(names)
            if name.startswith(after) and not name.startswith(before)
        ]
        if firsts and lasts and max(firsts) > min(lasts):
            found.append((before, after, why))
    return found
