"""MPIDRs in all their forms, and the vCPU ids to which KVM assigns them.

Here, MPIDRs are compressed: Aff3, Aff2, Aff1, and Aff0 in 32 bits, with one byte each.
"""

from __future__ import annotations

GREATEST_AFF0 = 15
"""The highest Aff0 that KVM assigns (sys_regs.c:reset_mpidr), and that SGIs of a GICv3 can reach:
the target list of ICC_SGI1R_EL1 has 16 bits.
"""


def aff3(compressed: int) -> int:
    """Return Aff3 of a compressed MPIDR."""
    return compressed >> 24


def aff0(compressed: int) -> int:
    """Return Aff0 of a compressed MPIDR."""
    return compressed & 0xFF


def compressed_mpidr(aff3: int, aff2: int, aff1: int, aff0: int) -> int:
    """Return the compressed MPIDR with these affinities."""
    return aff3 << 24 | aff2 << 16 | aff1 << 8 | aff0


def mpidr_text(compressed: int) -> str:
    """Return the dotted form of a compressed MPIDR: 0x100 is 0.0.1.0."""
    return f"{compressed >> 24}.{compressed >> 16 & 255}.{compressed >> 8 & 255}.{compressed & 255}"


# vCPU ids ------------------------------------------------------------------------------------


def mpidr_of_id(vcpu_id: int) -> int:
    """Return the compressed MPIDR that KVM assigns to a vCPU id (sys_regs.c:reset_mpidr, v7.2)."""
    return (vcpu_id & 0xF) | (vcpu_id >> 4 & 0xFF) << 8 | (vcpu_id >> 12 & 0xFF) << 16


def derived_id(compressed: int) -> int | None:
    """Return the vCPU id to which KVM assigns this MPIDR, or None (sys_regs.c:reset_mpidr)."""
    if aff3(compressed) or aff0(compressed) > GREATEST_AFF0:
        return None
    # Aff2 and Aff1 are bits [19:4] of the id.
    return compressed >> 8 << 4 | aff0(compressed)


# The register and the device tree ------------------------------------------------------------

AFFINITIES = 0xFF_00FF_FFFF
"""The bits of MPIDR_EL1, and of the `reg` of a CPU, that are affinities."""

MPIDR_RES1 = 1 << 31
"""Bit 31 of MPIDR_EL1, which is always 1."""


def mpidr_register(compressed: int) -> int:
    """Return MPIDR_EL1 of a compressed MPIDR: Aff3 in bits [39:32], bit 31 set, U and MT 0."""
    return aff3(compressed) << 32 | MPIDR_RES1 | _low_affinities(compressed)


def compressed_of_register(register: int) -> int:
    """Return the compressed MPIDR of MPIDR_EL1, or of the `reg` of a CPU in two cells."""
    return register >> 32 << 24 | _low_affinities(register)


def reg_cells(compressed: int, cells: int) -> tuple[int, ...]:
    """Return the device tree `reg` of a CPU with this MPIDR, in one or two cells
    (bindings/arm/cpus.yaml).
    """
    low = _low_affinities(compressed)
    return (low,) if cells == 1 else (aff3(compressed), low)


def _low_affinities(mpidr: int) -> int:
    """Return Aff2, Aff1, and Aff0, which are bits [23:0] in every form."""
    return mpidr & 0xFFFFFF
