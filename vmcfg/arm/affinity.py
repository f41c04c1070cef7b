"""MPIDRs in all their forms, and the vCPU ids to which KVM assigns them.

An MPIDR is compressed here: Aff3, Aff2, Aff1 and Aff0, a byte each, in 32 bits.
"""

from __future__ import annotations

GREATEST_AFF0 = 15
"""The last Aff0 that KVM assigns by itself (sys_regs.c:reset_mpidr), and the last that a GICv3's
SGI reaches: the target list of ICC_SGI1R_EL1 has 16 bits.
"""


def aff3(compressed: int) -> int:
    """Aff3 of a compressed MPIDR."""
    return compressed >> 24


def aff0(compressed: int) -> int:
    """Aff0 of a compressed MPIDR."""
    return compressed & 0xFF


def compressed_mpidr(aff3: int, aff2: int, aff1: int, aff0: int) -> int:
    """The compressed MPIDR with these affinities."""
    return aff3 << 24 | aff2 << 16 | aff1 << 8 | aff0


def mpidr_text(compressed: int) -> str:
    """A compressed MPIDR dotted: 0x100 is 0.0.1.0."""
    return f"{compressed >> 24}.{compressed >> 16 & 255}.{compressed >> 8 & 255}.{compressed & 255}"


# vCPU ids ------------------------------------------------------------------------------------


def mpidr_of_id(vcpu_id: int) -> int:
    """The compressed MPIDR that KVM assigns to a vCPU id (arch/arm64/kvm/sys_regs.c:reset_mpidr,
    v7.2).
    """
    return (vcpu_id & 0xF) | (vcpu_id >> 4 & 0xFF) << 8 | (vcpu_id >> 12 & 0xFF) << 16


def derived_id(compressed: int) -> int | None:
    """The vCPU id to which KVM assigns this MPIDR, or None if there is none
    (sys_regs.c:reset_mpidr).
    """
    if aff3(compressed) or aff0(compressed) > GREATEST_AFF0:
        return None
    # Aff2 and Aff1 are bits 19..4 of the id.
    return compressed >> 8 << 4 | aff0(compressed)


# The register and the device tree ------------------------------------------------------------

MPIDR_RES1 = 1 << 31
"""Bit 31 of MPIDR_EL1, which reads as one."""


def mpidr_register(compressed: int) -> int:
    """MPIDR_EL1 of a compressed MPIDR: Aff3 in bits 39..32, bit 31 set, U and MT zero."""
    return aff3(compressed) << 32 | MPIDR_RES1 | _low_affinities(compressed)


def compressed_of_register(register: int) -> int:
    """The compressed MPIDR of a value of MPIDR_EL1, or of a CPU's `reg` in two cells."""
    return register >> 32 << 24 | _low_affinities(register)


def reg_cells(compressed: int, cells: int) -> tuple[int, ...]:
    """The device tree's `reg` of a CPU with this MPIDR, in one or two cells
    (bindings/arm/cpus.yaml).
    """
    low = _low_affinities(compressed)
    return (low,) if cells == 1 else (aff3(compressed), low)


def _low_affinities(mpidr: int) -> int:
    """Aff2, Aff1 and Aff0, which are bits 23..0 in every form."""
    return mpidr & 0xFFFFFF
