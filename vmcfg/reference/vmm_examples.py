"""The examples of the rules about what a VMM decides otherwise: descriptions that KVM accepts."""

from __future__ import annotations

_HEAD = "vmcfg: 1\nname: vm\nvcpus: 2\n"
_GIC = "gic:\n  version: 3\n  distributor: 0x08000000\n  redistributors: 0x080a0000\n"

QEMU_EXAMPLES = {
    "VMC820": "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n  - mpidr: 0.0.1.0\n"
    'host_kernel: "6.7"\n',
    "VMC821": _HEAD + "pmu: {irq: 24}\n",
    "VMC822": (
        "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 23\n  - mpidr: 0.0.0.1\n"
    ),
    "VMC823": _HEAD + "pmu: {irq: 23, device: armv8_pmuv3}\n",
    "VMC824": _HEAD.replace("vcpus", 'host_kernel: "6.16"\nvcpus')
    + "pmu: {irq: 23, device: armv8_pmuv3, counters: 4}\n",
    "VMC825": _HEAD + "pmu: {irq: 23, filter: [{action: deny, events: 0x11}]}\n",
    "VMC826": _HEAD + _GIC + "  nr_irqs: 256\n",
    "VMC827": _HEAD + _GIC + "  its: 0x08100000\n",
    "VMC828": _HEAD + _GIC.replace("0x080a0000", "0x08100000"),
    "VMC829": _HEAD.replace("vcpus", 'host_kernel: "7.2"\nvcpus')
    + _GIC
    + "  maintenance_irq: 24\nfeatures: [el2]\n",
    "VMC830": _HEAD + "timers: {virtual: 20}\n",
    "VMC831": _HEAD.replace("vcpus", 'host_kernel: "6.4"\nvcpus')
    + "smccc_filter: [{action: deny, base: 0x84000005, count: 1}]\n",
    "VMC832": _HEAD + "memory: [{base: 0x090b0000, size: 64KiB}]\nsteal_time: 0x090b0000\n",
    "VMC833": _HEAD + "memory: [{base: 0x80000000, size: 1GiB}]\n",
    "VMC834": _HEAD + "ipa_bits: 44\n",
    "VMC835": _HEAD + "features: [mte]\n",
    "VMC836": _HEAD + "capabilities: [{name: KVM_CAP_ARM_SYSTEM_SUSPEND}]\n",
    "VMC837": _HEAD + "registers: [{name: KVM_REG_ARM_PSCI_VERSION, value: 0x10000}]\n",
    "VMC838": "vmcfg: 1\nname: vm\nipa_bits: 32\nvcpus: 124\n",
}
"""The description for each rule."""

LIBVIRT_EXAMPLES = {
    "VMC840": _HEAD + "memory: [{base: 0x90a0000, size: 64KiB}]\nsteal_time: 0x90a0000\n" + _GIC,
}
"""The description for each rule that only libvirt breaks."""
