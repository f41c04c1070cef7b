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


def is_ppi(intid: int) -> bool:
    """Return whether `intid` is a private peripheral interrupt: 16-31."""
    return PPI_BASE <= intid < SPI_BASE


def is_spi(intid: int) -> bool:
    """Return whether `intid` is a shared peripheral interrupt: 32-1019."""
    return SPI_BASE <= intid < SPI_END


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
