"""Interrupts by INTID: SGIs, PPIs, SPIs, and LPIs."""

from __future__ import annotations

PPI_BASE = 16

SPI_BASE = 32

SPI_END = 1020
"""One more than the last SPI: 1020-1023 are reserved."""
GREATEST_PPI = SPI_BASE - PPI_BASE - 1
GREATEST_SPI = SPI_END - SPI_BASE - 1
LPI_BASE = 8192
"""The first LPI. KVM has no interrupts between SPIs and LPIs."""
INTID_END = 1 << 24
"""One more than the last INTID: a GICv3 has at most 24 bits."""

GICV5_PPI_BASE = 1 << 29
"""The first PPI of a GICv5, whose INTIDs have a type in bits [31:29]: 1 is a PPI
(include/linux/irqchip/arm-gic-v5.h).
"""
GICV5_PPIS = 128
"""The number of PPIs of a GICv5."""


def is_ppi(intid: int) -> bool:
    """Return whether `intid` is a private peripheral interrupt: 16-31."""
    return PPI_BASE <= intid < SPI_BASE


def is_spi(intid: int) -> bool:
    """Return whether `intid` is a shared peripheral interrupt: 32-1019."""
    return SPI_BASE <= intid < SPI_END


def gicv5_ppi(intid: int) -> int | None:
    """Return the number of the PPI that `intid` is with a GICv5; None for other interrupts."""
    ppi = intid - GICV5_PPI_BASE
    return ppi if 0 <= ppi < GICV5_PPIS else None


def interrupt_text(intid: int) -> str:
    """Return the text of an interrupt with both of its numbers: INTID 40 (SPI 8)."""
    if intid < PPI_BASE:
        kind = f"SGI {intid}"
    elif intid < SPI_BASE:
        kind = f"PPI {intid - PPI_BASE}"
    elif intid < SPI_END:
        kind = f"SPI {intid - SPI_BASE}"
    elif intid < LPI_BASE:
        kind = "reserved"
    elif intid < INTID_END:
        kind = "LPI"
    else:
        return f"INTID {intid}"
    return f"INTID {intid} ({kind})"
