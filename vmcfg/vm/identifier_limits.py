"""What limits each identifier of a vCPU, how that shows, and who says so."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """What a name of a vCPU can't say, how it shows, and who says so."""

    name: str
    holds: str
    bites: str
    source: str


MEASURED = "measured on 6.1, 6.12 and 7.2"

LIMITS = (
    Limit(
        "vCPU id",
        "32 bits in KVM_CREATE_VCPU, of which KVM takes 0 to 511; with GICv2, on a host that "
        "has no more, 0 to 7.",
        "Ids may be sparse, but ids and number of vCPUs have the one limit: id 512 is EINVAL, "
        "an id twice EEXIST.",
        MEASURED,
    ),
    Limit(
        "vCPU index",
        "The place in the order of creation. It is nobody's choice, and moves when a vCPU is "
        "made earlier.",
        "vmcfg makes vCPUs by ascending id, so that index and id are the same where ids have "
        "no gap. With ids 0 and 300"
        " vCPU 300 has index 1.",
        MEASURED,
    ),
    Limit(
        "KVM_IRQ_LINE word",
        "8 bits for the vCPU (23..16), 12 with KVM_CAP_ARM_IRQ_LINE_LAYOUT_2 (31..28 above "
        "them), beside 4 bits of type"
        " and 16 of INTID.",
        "256 vCPUs without the capability, 4096 with it. Since 6.7 it is the vCPU's id. "
        "Before, it is its index, and"
        " the id that KVM finds there is taken for an index again: with ids 0, 2 and 3, on 6.1 "
        "the word of 1 reaches"
        " vCPU 3, and those of 2 and 3 are EINVAL. Where ids have no gap all is one. An SPI's "
        "word names no vCPU.",
        MEASURED,
    ),
    Limit(
        "attr of GICv2's DIST_REGS and CPU_REGS",
        "8 bits for the vCPU, in bits 39..32.",
        "Enough for the 8 vCPUs of a GICv2. The document calls it vcpu_index, and mainline "
        "before 6.7 reads it so; all"
        " three kernels, 6.1.176 among them, take the id: with ids 1 and 3 they know 1 and 3.",
        MEASURED,
    ),
    Limit(
        "vcpu_index of --api pmu-device",
        "32 bits, 31..0 of the attribute's number; 63..32 are reserved.",
        "Names by the order of creation alone. A plan for it is right only if all vCPUs are "
        "made in vmcfg's order.",
        "the patch's document; no kernel has it",
    ),
    Limit(
        "compressed MPIDR: --api pmu-device-mpidr, and GICv3's REDIST_REGS, CPU_SYSREGS and "
        "LEVEL_INFO",
        "32 bits, 63..32 of the attribute's number: Aff3.Aff2.Aff1.Aff0, a byte each.",
        "U, MT and bit 31 have no room. The name is the MPIDR that the vCPU has at that time: "
        "after it is set by"
        " register the old one is EINVAL. Two vCPUs with one MPIDR have one name. A vCPU that "
        "is not initialised has"
        " none yet.",
        MEASURED,
    ),
    Limit(
        "--api vcpu",
        "No field: the file descriptor is the name.",
        "What holds for the whole VM (timers, host PMU, filters) has to be sent through some "
        "vCPU: vmcfg takes the one"
        " with the lowest id. A log of it needs the table of descriptors.",
        "Documentation/virt/kvm/devices/vcpu.rst",
    ),
    Limit(
        "MPIDR by its id",
        "Aff0 = id bits 3..0, Aff1 = id bits 11..4, Aff2 the rest; Aff3 = 0.",
        "512 ids give Aff0 0 to 15 and Aff1 0 to 31. Every other MPIDR is an override.",
        MEASURED,
    ),
    Limit(
        "MPIDR by override",
        "KVM_SET_ONE_REG on MPIDR_EL1, after KVM_ARM_VCPU_INIT.",
        "KVM looks at nothing: not at bit 31, not whether another vCPU has the same. Kernels "
        "before 6.10 put their own"
        " back at every reset of the vCPU, a second KVM_ARM_VCPU_INIT or the guest's PSCI "
        "CPU_ON (VMC701); later ones"
        " keep it.",
        f"linux commit e016333745c7; both resets {MEASURED}",
    ),
    Limit(
        "Aff3",
        "8 bits of MPIDR_EL1 (39..32) and of the compressed form.",
        "KVM keeps it and finds the vCPU by it, but GICR_TYPER's bits 63..56 stay 0 and "
        "GICD_IROUTER has no room for"
        " it: a guest with GICv3 can't match the vCPU with its redistributor (VMC307, and "
        "VMC309 without `gic`).",
        f"GICR_TYPER {MEASURED}; GICD_IROUTER read in linux 7.2, vgic-mmio-v3.c",
    ),
    Limit(
        "Aff0",
        "8 bits of the MPIDR, but 16 targets in ICC_SGI1R_EL1.",
        "KVM takes an MPIDR with Aff0 over 15, and SGIs of a guest with GICv3 go astray: the "
        "range selector is not"
        " looked at. With Aff0 8 and 200 in a VM, those for either reach 8 on 6.12 and 7.2, "
        "and 200 on 6.1 (VMC308, and"
        " VMC309 without `gic`).",
        MEASURED,
    ),
    Limit(
        "device tree's reg of a CPU",
        "24 bits in one cell, 32 in two.",
        "One cell has no room for Aff3. Monitors cut further: Firecracker and Cloud Hypervisor "
        "keep 23 bits, so that"
        " Aff2 over 127 is lost.",
        "bindings/arm/cpus.yaml, and those monitors' source",
    ),
)
"""What limits each way to name a vCPU, in the order of the page that shows them."""
