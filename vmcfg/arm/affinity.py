"""MPIDRs in all their forms, and the vCPU ids to which KVM gives them."""

from __future__ import annotations


def reg_cells(compressed: int, cells: int) -> tuple[int, ...]:
    """The device tree's `reg` of a CPU with this compressed MPIDR, in one or two cells
    (bindings/arm/cpus.yaml).
    """
    low = compressed & 0xFFFFFF
    return (low,) if cells == 1 else (compressed >> 24, low)


def derived_id(mpidr: int) -> int | None:
    """The vCPU id to which KVM gives this compressed MPIDR, or None where there is none
    (sys_regs.c:reset_mpidr).
    """
    if mpidr >> 24 or mpidr & 0xFF > 15:
        return None
    return (mpidr & 0xF) + 16 * (mpidr >> 8 & 0xFF) + 4096 * (mpidr >> 16 & 0xFF)


def mpidr_text(compressed: int) -> str:
    """A compressed MPIDR dotted: 0x100 is 0.0.1.0."""
    return f"{compressed >> 24}.{compressed >> 16 & 255}.{compressed >> 8 & 255}.{compressed & 255}"


def mpidr_of_id(vcpu_id: int) -> int:
    """The compressed MPIDR that KVM gives to a vCPU id (arch/arm64/kvm/sys_regs.c:reset_mpidr,
    v7.2).
    """
    return (vcpu_id & 0xF) | (vcpu_id >> 4 & 0xFF) << 8 | (vcpu_id >> 12 & 0xFF) << 16


MPIDR_RES1 = 1 << 31
"""Bit 31 of MPIDR_EL1, which reads as one."""


def mpidr_register(compressed: int) -> int:
    """MPIDR_EL1 of a compressed MPIDR: Aff3 in bits 39..32, bit 31 set, U and MT zero."""
    return (compressed >> 24) << 32 | MPIDR_RES1 | compressed & 0xFFFFFF
