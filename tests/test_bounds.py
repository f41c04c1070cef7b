"""Each bound of each rule from both sides: the last right value, and the first wrong one.

tests/right and tests/cases have the same for what needs a whole file to show.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from tests.test_hosts import host
from vmcfg.checking.check import check
from vmcfg.kernel.host import read_host
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

HEAD = "vmcfg: 1\nname: vm\n"
VM = HEAD + "vcpus: 2\n"
PMU = HEAD + "vcpus: 2\npmu: "
GICV3 = VM + "gic: {version: 3, distributor: 0x08000000, "
GICV2 = VM + "gic: {version: 2, "
SERVES_MANY = HEAD + 'host_kernel: "6.10"\n'


A_CALL = "{action: deny, base: 0x86000000, count: 1}"
COUNTERS = "pmu: {irq: 23, device: pmu, counters: 1}"
STRICT = "pmu: {irq: 23, device: pmu, strict: true}"
RING = "{name: KVM_CAP_DIRTY_LOG_RING_ACQ_REL, args: [0x1000]}"
CHUNKS = "{name: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, args: [0]}"
SEA = "{name: KVM_CAP_ARM_SEA_TO_USER}"
IMP_IDS = "{name: KVM_CAP_ARM_WRITABLE_IMP_ID_REGS}"
REGISTERS = "registers: [{name: "
PSCI = REGISTERS + "KVM_REG_ARM_PSCI_VERSION, value: "
WRITABLE_SINCE_6_7 = """
ID_PFR0_EL1 ID_PFR1_EL1 ID_PFR2_EL1 ID_DFR0_EL1 ID_MMFR0_EL1 ID_MMFR1_EL1 ID_MMFR2_EL1
ID_MMFR3_EL1 ID_MMFR4_EL1 ID_MMFR5_EL1 ID_ISAR0_EL1 ID_ISAR1_EL1 ID_ISAR2_EL1 ID_ISAR3_EL1
ID_ISAR4_EL1 ID_ISAR5_EL1 ID_ISAR6_EL1 MVFR0_EL1 MVFR1_EL1 MVFR2_EL1 ID_AA64PFR0_EL1
ID_AA64ZFR0_EL1 ID_AA64DFR0_EL1 ID_AA64ISAR0_EL1 ID_AA64ISAR1_EL1 ID_AA64ISAR2_EL1
ID_AA64MMFR0_EL1 ID_AA64MMFR1_EL1 ID_AA64MMFR2_EL1
"""
WRITABLE_SINCE_6_12 = """
ID_AA64PFR1_EL1 ID_AA64PFR2_EL1 ID_AA64FPFR0_EL1 ID_AA64MMFR3_EL1 CTR_EL0
"""


class Bound(NamedTuple):
    """A description with `{}` for a value: `right` breaks no rule, and `wrong` only `rule`."""

    name: str
    rule: str
    text: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def braces(text: str) -> str:
    """Return a text of YAML with braces, in which only `<>` is replaced."""
    return text.replace("{", "{{").replace("}", "}}").replace("<>", "{}")


BOUNDS = [
    Bound(name, rule, braces(text), right, wrong)
    for name, rule, text, right, wrong in (
        # Memory
        ("ipa_bits", "VMC201", VM + "ipa_bits: <>\n", ("32", "40", "52"), ("31", "53")),
        (
            "slot size",
            "VMC202",
            VM + "memory: [{base: 0x40000000, size: <>}]\n",
            ("64KiB", "0x20000"),
            ("0", "4095", "0x100001", "0x10800"),
        ),
        (
            "slot base",
            "VMC202",
            VM + "memory: [{base: <>, size: 1GiB}]\n",
            ("0x0", "0x40010000"),
            ("0x40000001", "0x40000800", "0x3fffffff"),
        ),
        (
            "next slot",
            "VMC203",
            VM + "memory: [{base: 0x40000000, size: 0x20000}, {base: <>, size: 0x10000}]\n",
            ("0x40020000", "0x3fff0000"),
            ("0x40000000", "0x40010000"),
        ),
        (
            "end of a slot",
            "VMC204",
            VM + "ipa_bits: 32\nmemory: [{base: 0xffff0000, size: <>}]\n",
            ("64KiB",),
            ("128KiB",),
        ),
        (
            "size of a slot in pages of 64 KiB",
            "VMC205",
            VM + "ipa_bits: 52\nmemory: [{base: 0x0, size: <>}]\n",
            (),
            ("128TiB", "0x800000010000"),
        ),
        (
            "page size",
            "VMC206",
            VM + "memory: [{base: <>, size: 1GiB}]\n",
            ("0x10000", "0x40000000"),
            ("0x1000", "0x4000", "0x3000f000"),
        ),
        (
            "size of a slot in pages of 4 KiB",
            "VMC207",
            VM + "ipa_bits: 52\nmemory: [{base: 0x0, size: <>}]\n",
            ("0x7ffffff0000",),
            ("8TiB", "0x7fffffff0000"),
        ),
        # vCPUs
        ("number of vCPUs", "VMC304", HEAD + "vcpus: <>\n", ("1", "512"), ("513",)),
        (
            "number of vCPUs with GICv2",
            "VMC310",
            HEAD + "gic: {version: 2, set_up_by: monitor}\nvcpus: <>\n",
            ("1", "8"),
            ("9",),
        ),
        (
            "Aff3 with GICv3",
            "VMC307",
            SERVES_MANY + "gic: {version: 3, set_up_by: monitor}\nvcpus: [{mpidr: <>.0.0.0}]\n",
            ("0",),
            ("1", "255"),
        ),
        (
            "Aff0 with GICv3",
            "VMC308",
            SERVES_MANY + "gic: {version: 3, set_up_by: monitor}\nvcpus: [{mpidr: 0.255.255.<>}]\n",
            ("0", "15"),
            ("16", "255"),
        ),
        (
            "Aff3 without gic",
            "VMC309",
            SERVES_MANY + "vcpus: [{mpidr: <>.0.0.0}]\n",
            ("0",),
            ("1", "255"),
        ),
        (
            "Aff0 without gic",
            "VMC309",
            SERVES_MANY + "vcpus: [{mpidr: 0.255.255.<>}]\n",
            ("0", "15"),
            ("16", "255"),
        ),
        (
            "number in an affinity",
            "VMC306",
            SERVES_MANY + "gic: {version: 2, set_up_by: monitor}\nvcpus: [{mpidr: 0.0.0.<>}]\n",
            ("0", "255"),
            ("256", "511"),
        ),
        (
            "MPIDR as id",
            "VMC312",
            SERVES_MANY + "vcpu_ids: mpidr\nvcpus: [{mpidr: <>}]\n",
            ("0.0.1.15", "0.0.0.0"),
            ("0.0.2.0",),
        ),
        (
            "MPIDR as id with GICv2",
            "VMC312",
            SERVES_MANY
            + "gic: {version: 2, set_up_by: monitor}\nvcpu_ids: mpidr\n"
            + "vcpus: [{mpidr: 0.0.0.<>}]\n",
            ("0", "7"),
            ("8",),
        ),
        (
            "MPIDR that only a register sets",
            "VMC701",
            HEAD + 'host_kernel: "6.7"\nvcpus: [{mpidr: <>}]\n',
            ("0.0.0.15", "0.0.31.15"),
            ("0.0.32.0", "0.1.0.0"),
        ),
        (
            "MPIDR of an id on kernels before 6.10",
            "VMC701",
            HEAD + 'host_kernel: "<>"\nvcpus: [{mpidr: 0.0.200.1}]\n',
            ("6.10", "7.0"),
            ("6.1", "6.9"),
        ),
        (
            "id of the only vCPU on kernels before 6.7",
            "VMC706",
            HEAD + "vcpus: [{mpidr: 0.0.0.<>}]\n",
            ("0",),
            ("1", "15"),
        ),
        (
            "id other than the index on old kernels",
            "VMC706",
            HEAD + 'host_kernel: "<>"\nvcpus: [{mpidr: 0.0.1.0}]\n',
            ("6.7", "6.12"),
            ("6.1", "6.6"),
        ),
        # GIC
        (
            "count of a region",
            "VMC402",
            VM + "ipa_bits: 52\ngic: {version: 3, distributor: 0x08000000, redistributors: "
            "[{base: 0x80000000, count: <>}, {base: 0x8000000000}]}\n",
            ("1", "4095"),
            ("0", "4096"),
        ),
        (
            "room for all vCPUs",
            "VMC401",
            HEAD + "vcpus: 5\ngic: {version: 3, distributor: 0x08000000, redistributors: "
            "[{base: 0x080a0000, count: <>}, {base: 0x09000000, count: 2}]}\n",
            ("3", "4"),
            ("1", "2"),
        ),
        (
            "nr_irqs",
            "VMC404",
            GICV3 + "redistributors: 0x080a0000, nr_irqs: <>}\n",
            ("64", "96", "960", "992"),
            ("0", "32", "63", "65", "991", "1024"),
        ),
        (
            "GICv3 distributor",
            "VMC405",
            VM + "gic: {version: 3, distributor: <>, redistributors: 0x0}\n",
            ("0x10000000", "0x10010000"),
            ("0x10001000", "0x10008000", "0x1000ffff"),
        ),
        (
            "redistributors",
            "VMC405",
            GICV3 + "redistributors: <>}\n",
            ("0x10000000", "0x10010000"),
            ("0x10001000", "0x10008000"),
        ),
        (
            "ITS",
            "VMC405",
            GICV3 + "redistributors: 0x080a0000, its: <>}\n",
            ("0x10000000", "0x10010000"),
            ("0x10001000", "0x10008000"),
        ),
        (
            "GICv2 distributor",
            "VMC405",
            GICV2 + "distributor: <>, cpu_interface: 0x08010000}\n",
            ("0x10000000", "0x10001000"),
            ("0x10000800", "0x10000fff"),
        ),
        (
            "GICv2 CPU interface",
            "VMC405",
            GICV2 + "distributor: 0x08000000, cpu_interface: <>}\n",
            ("0x10000000", "0x10001000"),
            ("0x10000800", "0x10000fff"),
        ),
        (
            "end of a GICv3 distributor",
            "VMC406",
            VM + "ipa_bits: 32\ngic: {version: 3, distributor: <>, redistributors: 0x0}\n",
            ("0xffff0000",),
            ("0x100000000",),
        ),
        (
            "end of the redistributors of two vCPUs",
            "VMC406",
            VM + "ipa_bits: 32\ngic: {version: 3, distributor: 0x0, redistributors: <>}\n",
            ("0xfffc0000",),
            ("0xfffd0000",),
        ),
        (
            "end of a region of two",
            "VMC406",
            VM
            + "ipa_bits: 32\ngic: {version: 3, distributor: 0x0, redistributors: [{base: <>}]}\n",
            ("0xfffc0000",),
            ("0xfffd0000",),
        ),
        (
            "end of an ITS",
            "VMC406",
            VM + "ipa_bits: 32\ngic: {version: 3, distributor: 0x0, redistributors: 0x10000, "
            "its: <>}\n",
            ("0xfffe0000",),
            ("0xffff0000",),
        ),
        (
            "end of a GICv2 CPU interface",
            "VMC406",
            VM + "ipa_bits: 32\ngic: {version: 2, distributor: 0x0, cpu_interface: <>}\n",
            ("0xffffe000",),
            ("0xfffff000",),
        ),
        (
            "end of a GICv2 distributor",
            "VMC406",
            VM + "ipa_bits: 32\ngic: {version: 2, distributor: <>, cpu_interface: 0x0}\n",
            ("0xfffff000",),
            ("0x100000000",),
        ),
        (
            "end of a device",
            "VMC406",
            VM + "ipa_bits: 32\ndevices: [{name: d, base: 0xffffff00, size: <>}]\n",
            ("1", "256"),
            ("257",),
        ),
        (
            "redistributors next to the distributor",
            "VMC407",
            GICV3 + "redistributors: <>}\n",
            ("0x08010000", "0x07fc0000"),
            ("0x08000000", "0x07fd0000"),
        ),
        (
            "a region next to another",
            "VMC407",
            HEAD + "vcpus: 3\ngic: {version: 3, distributor: 0x08000000, redistributors: "
            "[{base: 0x10000000, count: 2}, {base: <>}]}\n",
            ("0x10040000", "0x0ffe0000"),
            ("0x10030000", "0x0fff0000", "0x10000000"),
        ),
        (
            "an ITS next to the distributor",
            "VMC407",
            GICV3 + "redistributors: 0x10000000, its: <>}\n",
            ("0x08010000", "0x07fe0000"),
            ("0x08000000", "0x07ff0000"),
        ),
        (
            "a GICv2 CPU interface next to the distributor",
            "VMC407",
            GICV2 + "distributor: 0x08010000, cpu_interface: <>}\n",
            ("0x08011000", "0x0800e000"),
            ("0x08010000", "0x0800f000"),
        ),
        (
            "memory next to the distributor",
            "VMC408",
            VM + "memory: [{base: <>, size: 0x10000}]\n"
            "gic: {version: 3, distributor: 0x08000000, redistributors: 0x10000000}\n",
            ("0x08010000", "0x07ff0000"),
            ("0x08000000",),
        ),
        (
            "memory next to the redistributors of two vCPUs",
            "VMC408",
            VM + "memory: [{base: <>, size: 0x10000}]\n"
            "gic: {version: 3, distributor: 0x08000000, redistributors: 0x10000000}\n",
            ("0x10040000", "0x0fff0000"),
            ("0x10000000", "0x10030000"),
        ),
        (
            "SPI of a device",
            "VMC413",
            VM + "devices: [{name: d, irq: spi:<>}]\n",
            ("0", "959"),
            ("960", "987"),
        ),
        (
            "SPI of a device with nr_irqs",
            "VMC413",
            GICV3 + "redistributors: 0x080a0000, nr_irqs: 64}\ndevices: [{name: d, irq: <>}]\n",
            ("32", "63"),
            ("31", "64"),
        ),
        (
            "a device next to another",
            "VMC416",
            VM + "devices: [{name: a, base: 0x100, size: 16}, {name: b, base: <>, size: 16}]\n",
            ("0x110", "0xf0"),
            ("0x10f", "0xf1", "0x100"),
        ),
        (
            "SPIs of devices",
            "VMC417",
            VM + "devices: [{name: a, irq: spi:8-9}, {name: b, irq: spi:<>}]\n",
            ("7", "10", "10-11"),
            ("8", "9", "9-10", "7-8"),
        ),
        # PMU
        (
            "PPI of a PMU",
            "VMC504",
            PMU + "{irq: <>}\n",
            ("16", "31", "ppi:0", "ppi:15"),
            ("15", "1024"),
        ),
        (
            "number of a PPI",
            "VMC504",
            PMU + "{irq: ppi:<>}\n",
            ("0", "7", "15"),
            ("16",),
        ),
        (
            "SPI of a PMU",
            "VMC504",
            HEAD + "vcpus: 1\npmu: {irq: <>}\n",
            ("32", "991", "spi:0"),
            ("1020", "1023", "spi:988"),
        ),
        (
            "SPI of a PMU without gic",
            "VMC506",
            HEAD + "vcpus: 1\npmu: {irq: <>}\n",
            ("991",),
            ("992", "1019", "spi:960"),
        ),
        (
            "SPI of a PMU with the default of nr_irqs",
            "VMC506",
            HEAD + "vcpus: 1\npmu: {irq: <>}\n"
            "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000}\n",
            ("32", "255"),
            ("256", "991"),
        ),
        (
            "SPI of a PMU with nr_irqs",
            "VMC506",
            HEAD + "vcpus: 1\npmu: {irq: <>}\n"
            "gic: {version: 3, nr_irqs: 96, distributor: 0x08000000, redistributors: 0x080a0000}\n",
            ("95",),
            ("96",),
        ),
        (
            "PPIs of the timers",
            "VMC507",
            PMU + "{irq: <>}\n",
            ("29", "31", "24"),
            ("27", "30"),
        ),
        (
            "PPIs of EL2",
            "VMC508",
            PMU + "{irq: <>}\n",
            ("24", "29"),
            ("25", "26", "28"),
        ),
        (
            "counters",
            "VMC512",
            HEAD
            + 'host_kernel: "6.16"\n'
            + "vcpus: 2\npmu: {irq: 23, device: pmu, counters: <>}\n",
            ("0", "31"),
            ("32",),
        ),
        (
            "events",
            "VMC513",
            PMU + "{irq: 23, filter: [{action: deny, events: <>}]}\n",
            ("0x1", "0xffff", "0xfff0-0xffff"),
            ("0x10000", "0xfff0-0x10000"),
        ),
        (
            "events that are never filtered",
            "VMC514",
            PMU + "{irq: 23, filter: [{action: deny, events: <>}]}\n",
            ("0x1", "0x1d", "0x1f", "0x0-0x1", "0x1d-0x1e"),
            ("0x0", "0x1e"),
        ),
        # Timers, steal time, SMCCC
        (
            "PPI of a timer",
            "VMC601",
            VM + "timers: {virtual: <>}\n",
            ("16", "31"),
            ("15", "32"),
        ),
        (
            "PPIs of timers",
            "VMC602",
            VM + "timers: {virtual: <>}\n",
            ("27", "29", "31"),
            ("30",),
        ),
        (
            "steal time",
            "VMC603",
            VM + "memory: [{base: 0x40000000, size: 64KiB}]\nsteal_time: <>\n",
            ("0x40000000", "0x40000040"),
            ("0x40000001", "0x40000020", "0x4000003f"),
        ),
        (
            "end of steal time",
            "VMC604",
            VM + "memory: [{base: 0x40000000, size: 64KiB}]\nsteal_time: <>\n",
            ("0x40000000", "0x4000ff80"),
            ("0x4000ffc0", "0x40010000", "0x3fffffc0"),
        ),
        (
            "steal time next to the distributor",
            "VMC605",
            VM + "memory: [{base: 0x08010000, size: 64KiB}, {base: 0x07ff0000, size: 64KiB}]\n"
            "gic: {version: 3, distributor: 0x08000000, redistributors: 0x10000000}\n"
            "steal_time: <>\n",
            ("0x08010000", "0x07ffff80"),
            (),
        ),
        (
            "end of an SMCCC range",
            "VMC606",
            VM
            + 'host_kernel: "6.4"\nsmccc_filter: [{action: deny, base: 0xfffffff0, count: <>}]\n',
            ("1", "16"),
            ("0", "17"),
        ),
        (
            "an SMCCC range next to another",
            "VMC607",
            VM + 'host_kernel: "6.4"\nsmccc_filter: [{action: deny, base: 0x86000010, count: 16},'
            " {action: forward, base: <>, count: 16}]\n",
            ("0x86000000", "0x86000020"),
            ("0x86000001", "0x8600001f", "0x86000010"),
        ),
        (
            "an SMCCC function next to the reserved ones",
            "VMC608",
            VM + 'host_kernel: "6.4"\nsmccc_filter: [{action: deny, base: <>, count: 1}]\n',
            ("0x7fffffff", "0x80010000", "0xbfffffff", "0xc0010000"),
            ("0x80000000", "0x8000ffff", "0xc0000000", "0xc000ffff"),
        ),
        # Capabilities and registers
        (
            "flags of the dirty log",
            "VMC318",
            VM + "capabilities: [{name: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, args: [<>]}]\n",
            ("0", "1", "3"),
            ("2", "4"),
        ),
        (
            "halt polling",
            "VMC318",
            VM + "capabilities: [{name: KVM_CAP_HALT_POLL, args: [<>]}]\n",
            ("0", "0xffffffff"),
            ("0x100000000",),
        ),
        (
            "dirty ring",
            "VMC318",
            VM + 'host_kernel: "6.2"\n'
            "capabilities: [{name: KVM_CAP_DIRTY_LOG_RING_ACQ_REL, args: [<>]}]\n",
            ("0x1000", "0x10000", "0x100000", "0x100001000"),
            ("0", "0x800", "0x1800", "0x200000"),
        ),
        (
            "chunks",
            "VMC318",
            VM + 'host_kernel: "6.5"\n'
            "capabilities: [{name: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, args: [<>]}]\n",
            tuple(hex(size) for size in (0, *(1 << bit for bit in (12, 14, 16, 21, 25, 29, 30)))),
            ("0x800", "0x2000", "0x8000", "0x100000", "0x40000000000", "0x201000"),
        ),
        (
            "PSCI versions",
            "VMC321",
            VM + 'host_kernel: "6.13"\nregisters: [{name: KVM_REG_ARM_PSCI_VERSION, value: <>}]\n',
            ("0x2", "0x10000", "0x10001", "0x10002", "0x10003"),
            ("0x1", "0x3", "0x10004", "0x20000"),
        ),
        *(
            (
                name,
                "VMC321",
                VM + f'host_kernel: "6.15"\nregisters: [{{name: {name}, value: <>}}]\n',
                tuple(map(str, range(greatest + 1))),
                (str(greatest + 1), "0x100000000"),
            )
            for name, greatest in (
                ("KVM_REG_ARM_STD_BMAP", 1),
                ("KVM_REG_ARM_STD_HYP_BMAP", 1),
                ("KVM_REG_ARM_VENDOR_HYP_BMAP", 3),
                ("KVM_REG_ARM_VENDOR_HYP_BMAP_2", 3),
            )
        ),
        # Kernels
        (
            "maintenance interrupt without MPIDR 0.0.0.0",
            "VMC710",
            HEAD + 'host_kernel: "<>"\nvcpus: [{mpidr: 0.0.0.1}]\nfeatures: [el2]\n'
            "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000,"
            " maintenance_irq: 25}\n",
            ("6.17", "7.3"),
            ("6.16",),
        ),
        ("host kernel", "VMC703", VM + 'host_kernel: "<>"\n', ("6.1", "7.3"), ("6.0", "5.15")),
        *(
            (
                f"kernel with {key}",
                rule,
                f'{HEAD}vcpus: 2\nhost_kernel: "<>"\n{text}\n',
                (since, "8.0"),
                (before, "6.1"),
            )
            for key, rule, before, since, text in (
                ("SMCCC_FILTER", "VMC702", "6.3", "6.4", "smccc_filter: [" + A_CALL + "]"),
                ("HVTIMER", "VMC702", "6.3", "6.4", "timers: {hyp_virtual: 28}"),
                ("HPTIMER", "VMC702", "6.3", "6.4", "timers: {hyp_physical: 26}"),
                ("SET_NR_COUNTERS", "VMC702", "6.15", "6.16", COUNTERS),
                ("HAS_EL2", "VMC704", "6.15", "6.16", "features: [el2]"),
                ("PMU_V3_STRICT", "VMC704", "7.2", "7.3", STRICT),
                ("RING_ACQ_REL", "VMC708", "6.1", "6.2", "capabilities: [" + RING + "]"),
                ("CHUNK_SIZE", "VMC708", "6.4", "6.5", "capabilities: [" + CHUNKS + "]"),
                ("SEA_TO_USER", "VMC708", "6.18", "6.19", "capabilities: [" + SEA + "]"),
                ("IMP_ID_REGS", "VMC708", "6.14", "6.15", "capabilities: [" + IMP_IDS + "]"),
                ("PSCI 1.2", "VMC709", "6.12", "6.13", PSCI + "0x10002}]"),
                ("PSCI 1.3", "VMC709", "6.12", "6.13", PSCI + "0x10003}]"),
                (
                    "BMAP_2",
                    "VMC709",
                    "6.14",
                    "6.15",
                    REGISTERS + "KVM_REG_ARM_VENDOR_HYP_BMAP_2, value: 1}]",
                ),
                *(
                    (name, "VMC709", before, since, f"{REGISTERS}{name}, value: 0}}]")
                    for before, since, names in (
                        ("6.2", "6.3", "CLIDR_EL1"),
                        ("6.6", "6.7", WRITABLE_SINCE_6_7),
                        ("6.11", "6.12", WRITABLE_SINCE_6_12),
                        ("6.15", "6.16", "ID_AA64ISAR3_EL1 ID_AA64MMFR4_EL1"),
                    )
                    for name in names.split()
                ),
            )
        ),
        (
            "vector lengths",
            "VMC323",
            VM + "features: [sve]\nsve: {vector_lengths: [<>]}\n",
            ("128", "128, 256"),
            ("64", "127", "129", "65664", "0"),
        ),
    )
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(each.text, value, id=f"{each.rule} {each.name} {value}")
        for each in BOUNDS
        for value in each.right
    ],
)
def test_the_last_value_inside_is_right(text: str, value: str) -> None:
    found = check(text.format(value).encode(), "vm.yaml").diagnostics
    assert [f"{each.rule} {each.message}" for each in found] == []


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        pytest.param(each.rule, each.text, value, id=f"{each.rule} {each.name} {value}")
        for each in BOUNDS
        for value in each.wrong
    ],
)
def test_the_first_value_outside_is_wrong(rule: str, text: str, value: str) -> None:
    found = check(text.format(value).encode(), "vm.yaml").diagnostics
    assert {each.rule for each in found} == {rule}


@pytest.mark.parametrize(("more", "rules"), [("0", ["VMC303"]), ("0-1", ["VMC303", "VMC304"])])
def test_a_reversed_range_is_no_vcpu(more: str, rules: list[str]) -> None:
    entries = ("0.0.0-30.0-15", "0.0.31.0-14", f"0.0.32.{more}", "0.0.33.5-3")
    vcpus = ", ".join(f"{{mpidr: {entry}}}" for entry in entries)
    found = check(f"vmcfg: 1\nname: vm\nvcpus: [{vcpus}]\n".encode(), "vm.yaml").diagnostics
    assert sorted(each.rule for each in found) == rules


LAST_64 = "0xffffffffffff0000"
"""The last 64 KiB of 64 bits: base and size have a sum of 2^64, which KVM finds first."""


@pytest.mark.parametrize(
    ("text", "errno"),
    [
        (GICV3 + "redistributors: 0xfffffffffffe0000}\n", "EINVAL"),
        (GICV3 + "redistributors: 0xffffffff00000000}\n", "E2BIG"),
        (VM + f"gic: {{version: 3, distributor: {LAST_64}, redistributors: 0}}\n", "EINVAL"),
        (VM + "gic: {version: 3, distributor: 0xfffffffffffe0000, redistributors: 0}\n", "E2BIG"),
        (GICV3 + f"redistributors: 0x080a0000, its: {LAST_64}}}\n", "EINVAL"),
        (GICV3 + "redistributors: 0x080a0000, its: 0xfffffffffffc0000}\n", "E2BIG"),
        (GICV3 + "redistributors: [{base: 0xfffffffff0000}]}\n", "E2BIG"),
        (GICV3 + "redistributors: [{base: 0x10000000000000}]}\n", None),
        (VM + f"memory: [{{base: {LAST_64}, size: 64KiB}}]\n", "EINVAL"),
        (VM + "memory: [{base: 0xfffffffffffe0000, size: 64KiB}]\n", "EFAULT"),
        (VM + f"devices: [{{name: d, base: {LAST_64}, size: 64KiB}}]\n", None),
    ],
)
def test_kvm_answers_otherwise_at_the_end_of_64_bits(text: str, errno: str | None) -> None:
    (found,) = check(text.encode(), "vm.yaml").diagnostics
    assert (None if found.kernel is None else found.kernel.errno) == errno


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("VMC411", "features: [el2]\ngic: {{version: 3, set_up_by: monitor, maintenance_irq: {}}}"),
        ("VMC504", "pmu: {{irq: {}}}"),
        ("VMC601", "timers: {{virtual: {}}}"),
    ],
)
@pytest.mark.parametrize(("number", "errno"), [(0x7FFFFFFF, "EINVAL"), (0x80000000, None)])
def test_an_interrupt_above_31_bits_never_reaches_kvm(
    rule: str, text: str, number: int, errno: str | None
) -> None:
    found = check(f"{VM}{text}\n".format(number).encode(), "vm.yaml").diagnostics
    answers = [each.kernel for each in found if each.rule == rule]
    assert [answer and answer.errno for answer in answers] == [errno]


@pytest.mark.parametrize("low_bits", [0x1, 0x101, 0xF01])
def test_kvm_does_not_see_bits_of_a_base_that_its_word_has_anyway(low_bits: int) -> None:
    assert answer_to_region_1(low_bits) is None


@pytest.mark.parametrize("low_bits", [0x2, 0x3, 0x80, 0x1001, 0x2001, 0x4001, 0x8001])
def test_kvm_rejects_other_bits_below_64_kib_of_the_base_of_a_region(low_bits: int) -> None:
    """They are its flags, or change its index."""
    assert answer_to_region_1(low_bits) == "EINVAL"


def answer_to_region_1(low_bits: int) -> str | None:
    """Return the predicted errno for region 1 at a base with these bits below 64 KiB."""
    regions = f"[{{base: 0x10000000, count: 1}}, {{base: {0x20000000 | low_bits:#x}, count: 1}}]"
    found = check(f"{GICV3}redistributors: {regions}}}\n".encode(), "vm.yaml").diagnostics
    assert [each.rule for each in found] == ["VMC405"]
    assert found[0].kernel is not None
    return found[0].kernel.errno


# Hosts --------------------------------------------------------------------------------------------

PLAIN = VM + "pmu: {irq: 23}\n"
V2, V3 = "KVM_DEV_TYPE_ARM_VGIC_V2", "KVM_DEV_TYPE_ARM_VGIC_V3"
ITS_SAMPLE = GICV3 + "redistributors: 0x080a0000, its: 0x09000000}\n"
SVE = VM + "features: [sve]\nsve: {vector_lengths: [<>]}\n"
CHUNK = VM + "capabilities: [{name: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, args: [<>]}]\n"


def on(kernel: str = "7.3.4", **capabilities: int) -> dict[str, Any]:
    """Return a host with these capabilities, and the others of the host that has everything."""
    return host(kernel=kernel, capabilities=capabilities)


HOST_BOUNDS = [
    ("VMC712", VM + "ipa_bits: <>\n", ("32", "44"), ("45", "52"), on(KVM_CAP_ARM_VM_IPA_SIZE=44)),
    ("VMC712", VM + "ipa_bits: <>\n", ("52",), (), on(KVM_CAP_ARM_VM_IPA_SIZE=0)),
    ("VMC713", VM + "gic: {version: <>, set_up_by: monitor}\n", ("3",), ("2",), host(devices=[V3])),
    ("VMC713", VM + "gic: {version: <>, set_up_by: monitor}\n", ("2",), ("3",), host(devices=[V2])),
    ("VMC713", VM + "<>\n", ("x-a: 1",), ("pmu: {irq: 23}",), host(devices=[])),
    ("VMC714", HEAD + "vcpus: <>\n", ("1", "16"), ("17", "512"), on(KVM_CAP_MAX_VCPUS=16)),
    ("VMC714", HEAD + "vcpus: <>\n", ("512",), (), on(KVM_CAP_MAX_VCPUS=0)),
    (
        "VMC715",
        VM + "features: [<>]\n",
        ("sve", "ptrauth"),
        ("mte", "mte, sve"),
        on(KVM_CAP_ARM_MTE=0),
    ),
    (
        "VMC715",
        VM + "features: [<>]\n",
        ("sve",),
        ("ptrauth",),
        on(KVM_CAP_ARM_PTRAUTH_GENERIC=0),
    ),
    (
        "VMC715",
        VM + "pmu: {irq: 23, device: armv8_pmuv3, strict: <>}\n",
        ("false",),
        ("true",),
        on(KVM_CAP_ARM_PMU_V3_STRICT=0),
    ),
    ("VMC716", VM + "pmu: {<>}\n", ("", "irq: 23"), (), on()),
    (
        "VMC719",
        VM + "memory: [{base: <>, size: 0x10000}]\n",
        ("0x4000", "0x10000"),
        ("0x1000", "0x2000", "0x7000"),
        host(page_size=0x4000),
    ),
    (
        "VMC719",
        VM + "memory: [{base: 0x10000, size: <>}]\n",
        ("0x4000", "0x10000"),
        ("0x1000", "0x5000"),
        host(page_size=0x4000),
    ),
    (
        "VMC719",
        VM + "ipa_bits: 48\nmemory: [{base: 0, size: <>}]\n",
        ("0x1fffffffc000", "0x7ffffff0000"),
        ("0x200000000000", "0x7fffffff0000"),
        host(page_size=0x4000),
    ),
    (
        "VMC719",
        VM + "memory: [{base: 0, size: 64KiB}, {base: 0x10000, size: 64KiB}<>]\n",
        ("",),
        (", {base: 0x20000, size: 64KiB}",),
        on(KVM_CAP_NR_MEMSLOTS=2),
    ),
    (
        "VMC720",
        VM + "pmu: {irq: 23, device: armv8_pmuv3, counters: <>}\n",
        ("0", "6"),
        ("7", "31"),
        host(event_counters=6, kernel="6.18.1"),
    ),
    (
        "VMC721",
        CHUNK,
        ("0", "0x1000", "0x200000", "0x40000000"),
        ("0x2000000",),
        on(KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES=0x40201000),
    ),
    (
        "VMC722",
        SVE,
        ("128", "128, 256", "128, 256, 512"),
        (),
        host(sve_vector_lengths=[128, 256, 512]),
    ),
    (
        "VMC722",
        SVE,
        ("128", "128, 256"),
        ("128, 256, 384", "128, 256, 512"),
        host(sve_vector_lengths=[128, 256]),
    ),
    ("VMC722", SVE, (), ("128, 256",), host(sve_vector_lengths=[128])),
    ("VMC722", SVE, ("128, 256",), (), host(sve_vector_lengths=None)),
]


def rules_on(text: str, value: str, host: dict[str, Any]) -> list[str]:
    known = read_host(json.dumps(host).encode(), "host.json")
    found = check(text.replace("<>", value).encode(), "vm.yaml", hosts=[known]).diagnostics
    return [each.rule for each in found]


@pytest.mark.parametrize(("rule", "text", "right", "wrong", "on_host"), HOST_BOUNDS)
def test_hosts_have_bounds_too(
    rule: str, text: str, right: tuple[str, ...], wrong: tuple[str, ...], on_host: dict[str, Any]
) -> None:
    found = {value: rules_on(text, value, on_host) for value in (*right, *wrong)}
    assert found == {value: [rule] * (value in wrong) for value in found}


@pytest.mark.parametrize(("more", "rules"), [("", []), (", *one", ["VMC107"])])
def test_nodes_are_counted_after_the_expansion_of_aliases(more: str, rules: list[str]) -> None:
    """A list is one node, too: ten aliases of 9999 items have 100000 nodes."""
    items = ", ".join(["1"] * 9999)
    aliases = ", ".join(["*many"] * 10)
    text = f"{VM}x-a: &many [{items}]\nx-b: &one 1\nx-c: [{aliases}{more}]\n"
    assert [each.rule for each in check(text.encode(), "vm.yaml").diagnostics] == rules


@pytest.mark.parametrize(
    ("key", "pointer"), [("a~b", "/a~0b"), ("a/b", "/a~1b"), ("~1/", "/~01~1"), ("", "/")]
)
def test_a_pointer_escapes_as_rfc_6901_says(key: str, pointer: str) -> None:
    found = check(f'{VM}"{key}": 1\n'.encode(), "vm.yaml").diagnostics
    assert [(each.rule, each.pointer) for each in found] == [("VMC110", pointer)]


GICS_OF_THE_VMM = [
    "version: 3",
    "version: 3, nr_irqs: 64, distributor: 0x08000000, redistributors: 0x080a0000",
    "version: 3, redistributors: [{base: 0x080a0000, count: 2}], its: [0x09000000]",
    "version: 2, nr_irqs: 64, distributor: 0x08000000, cpu_interface: 0x08010000",
]


@pytest.mark.parametrize("gic", GICS_OF_THE_VMM)
def test_no_plan_has_commands_for_the_gic_of_the_vmm(gic: str) -> None:
    text = f"{VM}pmu: {{irq: 23}}\ngic: {{set_up_by: monitor, {gic}}}\n"
    machine = check(text.encode(), "vm.yaml").machine
    assert machine is not None
    commands = lower(machine, WHOLE_VM).commands
    assert [each.text() for each in commands if each.target.startswith(("gic", "its"))] == []
    assert len(commands) == 9
