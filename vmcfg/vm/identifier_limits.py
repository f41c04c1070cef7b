"""The limits of each identifier of a vCPU, with their consequences and sources."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """The limit of one identifier of a vCPU, its consequences, and its source."""

    name: str
    holds: str
    bites: str
    source: str


TESTED = "tested on 6.1, 6.12, and 7.3"

LIMITS = (
    Limit(
        "vCPU id",
        "32 bits in KVM_CREATE_VCPU. KVM accepts 0 to 511; with GICv2 on a host without GICv3, 0"
        " to 7.",
        "Ids can have gaps, but ids and the number of vCPUs have the same limit. Id 512 fails with"
        " EINVAL. A duplicate id fails with EEXIST.",
        TESTED,
    ),
    Limit(
        "compressed MPIDR as vCPU id (vcpu_ids: mpidr)",
        "32 bits, of which KVM accepts 0 to 511: MPIDRs 0.0.0.0 to 0.0.1.255. With GICv2 on a host"
        " without GICv3, 0.0.0.0 to 0.0.0.7.",
        "KVM does not assign that MPIDR to the id: it derives Aff0 from the lower 4 bits, so that"
        " id 0x10 has MPIDR 0.0.1.0. The plan sets MPIDR_EL1 where they differ, which requires"
        " Linux 6.10 or later. MPIDRs with Aff2, or with Aff1 above 1, have no id.",
        TESTED,
    ),
    Limit(
        "vCPU index",
        "The position in the order of creation. It cannot be chosen, and it changes if another vCPU"
        " is created earlier.",
        "vmcfg creates vCPUs in ascending order of ids. If ids have no gaps, index and id are"
        " equal. With ids 0 and 300, vCPU 300 has index 1.",
        TESTED,
    ),
    Limit(
        "KVM_IRQ_LINE word",
        "8 bits for the vCPU in [23:16]; 12 with KVM_CAP_ARM_IRQ_LINE_LAYOUT_2, where [31:28] are"
        " the upper 4. In addition, 4 bits of type and 16 bits of INTID.",
        "256 vCPUs without the capability, 4096 with it. Since Linux 6.7, the word contains the"
        " vCPU id. Before, it contains the index, and KVM uses the id that it finds there as an"
        " index again: with ids 0, 2, and 3 on Linux 6.1, the word of index 1 reaches vCPU 3, and"
        " those of 2 and 3 fail with EINVAL. If ids have no gaps, there is no difference. The word"
        " of an SPI does not contain a vCPU.",
        TESTED,
    ),
    Limit(
        "attr of GICv2 DIST_REGS and CPU_REGS",
        "8 bits for the vCPU, in [39:32].",
        "This is enough for the 8 vCPUs of a GICv2. The kernel documentation calls it vcpu_index,"
        " and mainline before 6.7 uses it as an index. 6.1.176, 6.12, and 7.3 use"
        " the id: with ids 1 and 3, they accept 1 and 3.",
        TESTED,
    ),
    Limit(
        "vcpu_index of --api pmu-device",
        "32 bits in [31:0] of the attribute number; [63:32] are reserved.",
        "It identifies a vCPU only by the order of creation. A plan for it is correct only if the"
        " VMM creates all vCPUs in the order of vmcfg.",
        "the documentation of the patch; no released kernel supports it",
    ),
    Limit(
        "compressed MPIDR: --api pmu-device-mpidr, and GICv3 REDIST_REGS, CPU_SYSREGS, and"
        " LEVEL_INFO",
        "32 bits in [63:32] of the attribute number: Aff3.Aff2.Aff1.Aff0 with one byte each.",
        "It does not contain U, MT, and bit 31. The identifier is the current MPIDR of the vCPU:"
        " after SET_ONE_REG, the old one fails with EINVAL. Two vCPUs with the same MPIDR have the"
        " same identifier. A vCPU that is not initialized has none yet.",
        TESTED,
    ),
    Limit(
        "--api vcpu",
        "No field: the file descriptor identifies the vCPU.",
        "Settings of the whole VM (timers, host PMU, filter) must be sent to some vCPU: vmcfg uses"
        " the one with the lowest id. To read a log of such calls, one needs the table of file"
        " descriptors.",
        "Documentation/virt/kvm/devices/vcpu.rst",
    ),
    Limit(
        "MPIDR assigned to an id",
        "Aff0 = id bits [3:0], Aff1 = id bits [11:4], Aff2 = the other bits, Aff3 = 0.",
        "With 512 ids, Aff0 is 0 to 15 and Aff1 is 0 to 31. Every other MPIDR must be set by"
        " register.",
        TESTED,
    ),
    Limit(
        "MPIDR set by register",
        "KVM_SET_ONE_REG with MPIDR_EL1, after KVM_ARM_VCPU_INIT.",
        "KVM does not check the value: not bit 31, and not whether another vCPU has the same MPIDR."
        " Linux before 6.10 restores the assigned MPIDR at every reset of the vCPU: at a second"
        " KVM_ARM_VCPU_INIT, or when the guest starts it with PSCI CPU_ON (VMC701). Later kernels"
        " keep the value.",
        f"Linux commit e016333745c7; both resets {TESTED}",
    ),
    Limit(
        "Aff3",
        "8 bits of MPIDR_EL1 ([39:32]) and of the compressed form.",
        "KVM stores it and finds the vCPU with it, but GICR_TYPER bits [63:56] stay 0, and"
        " GICD_IROUTER does not contain it: a guest with GICv3 cannot find the redistributor of the"
        " vCPU (VMC307, and VMC309 without 'gic').",
        f"GICR_TYPER {TESTED}; GICD_IROUTER from the source, Linux 7.2, vgic-mmio-v3.c",
    ),
    Limit(
        "Aff0",
        "8 bits of the MPIDR, but 16 targets in ICC_SGI1R_EL1.",
        "KVM accepts an MPIDR with Aff0 above 15, but then SGIs of a guest with GICv3 reach the"
        " wrong vCPU, because KVM ignores the range selector. With Aff0 8 and 200 in a VM, the SGIs"
        " for both reach 8 on Linux 6.12 and 7.2, and 200 on 6.1 (VMC308, and VMC309 without"
        " 'gic').",
        TESTED,
    ),
    Limit(
        "device tree reg of a CPU",
        "24 bits in one cell, 32 in two.",
        "One cell does not contain Aff3. Some VMMs cut more: Firecracker and Cloud Hypervisor keep"
        " 23 bits, which loses Aff2 above 127.",
        "bindings/arm/cpus.yaml, and the source of those VMMs",
    ),
)
"""The limits of all identifiers of a vCPU, in the order of the page that prints them."""
