"""The answer to each kind of mistake at each key: the files in tests/printed/mistakes-*.txt.

A line has what is written, and the findings with their hints and fixes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.test_bounds import HOST_BOUNDS
from vmcfg.checking.check import check
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.kernel.host import read_host

PRINTED = Path(__file__).parent / "printed"

HEAD = 'vmcfg: 1\nname: vm\nhost_kernel: "6.17"\n'
GIC = "gic: {version: 3, distributor: 0x8000000, redistributors: 0x80a0000"
REGION = "redistributors: [{base: 0x80a0000, count: 2}]"
PMU = "pmu: {irq: 23"
FILTER = "filter: [{action: deny, events: 0x11}]"
VALUES = {
    "name": "vmcfg: 1\nname: <>\nvcpus: 1\n",
    "host_kernel": "vmcfg: 1\nname: vm\nvcpus: 1\nhost_kernel: <>\n",
    "memory": HEAD + "vcpus: 1\nmemory: <>\n",
    "memory.base": HEAD + "vcpus: 1\nmemory: [{base: <>, size: 1GiB}]\n",
    "memory.size": HEAD + "vcpus: 1\nmemory: [{base: 0x40000000, size: <>}]\n",
    "memory.readonly": HEAD + "vcpus: 1\nmemory: [{base: 0, size: 1GiB, readonly: <>}]\n",
    "vcpus": HEAD + "vcpus: <>\n",
    "vcpus.mpidr": HEAD + "vcpus: [{mpidr: <>}]\n",
    "gic": HEAD + "vcpus: 2\ngic: <>\n",
    "gic.version": HEAD + "vcpus: 2\n" + GIC.replace("version: 3", "version: <>") + "}\n",
    "gic.set_up_by": HEAD + "vcpus: 2\n" + GIC + ", set_up_by: <>}\n",
    "gic.redistributors": HEAD + "vcpus: 2\n" + GIC.replace("0x80a0000", "<>") + "}\n",
    "gic.its": HEAD + "vcpus: 2\n" + GIC + ", its: <>}\n",
    "pmu": HEAD + "vcpus: 2\npmu: <>\n",
    "pmu.irq": HEAD + "vcpus: 2\npmu: {irq: <>}\n",
    "pmu.filter": HEAD + "vcpus: 2\n" + PMU + ", filter: <>}\n",
    "pmu.filter.action": HEAD + "vcpus: 2\n" + PMU + ", " + FILTER.replace("deny", "<>") + "}\n",
    "pmu.filter.events": HEAD + "vcpus: 2\n" + PMU + ", " + FILTER.replace("0x11", "<>") + "}\n",
    "timers": HEAD + "vcpus: 2\ntimers: <>\n",
    "timers.virtual": HEAD + "vcpus: 2\ntimers: {virtual: <>}\n",
    "steal_time": HEAD + "vcpus: 1\nmemory: [{base: 0, size: 1GiB}]\nsteal_time: <>\n",
    "smccc_filter": HEAD + "vcpus: 1\nsmccc_filter: <>\n",
    "smccc_filter.base": HEAD + "vcpus: 1\nsmccc_filter: [{action: deny, base: <>, count: 1}]\n",
    "features": HEAD + "vcpus: 1\nfeatures: <>\n",
    "sve.vector_lengths": HEAD + "vcpus: 1\nfeatures: [sve]\nsve: {vector_lengths: <>}\n",
    "capabilities": HEAD + "vcpus: 1\ncapabilities: <>\n",
    "capabilities.args": HEAD + "vcpus: 1\ncapabilities: [{name: KVM_CAP_HALT_POLL, args: <>}]\n",
    "registers": HEAD + "vcpus: 1\nregisters: <>\n",
    "devices": HEAD + "vcpus: 1\ndevices: <>\n",
}
"""A description with `<>` for the value of each key."""

SHAPED = (
    *("name", "memory", "vcpus", "gic", "gic.redistributors", "gic.its", "pmu", "pmu.filter"),
    *("timers", "steal_time", "smccc_filter", "features", "sve.vector_lengths", "capabilities"),
    *("capabilities.args", "registers", "devices"),
)
"""The keys with other shapes than a scalar, and one without."""

SPELLED = (
    *("name", "host_kernel", "memory.base", "memory.size", "memory.readonly", "vcpus"),
    *("vcpus.mpidr", "gic.version", "gic.set_up_by", "pmu.irq", "pmu.filter.action"),
    *("pmu.filter.events", "timers.virtual", "smccc_filter.base", "features"),
)
"""The keys with a scalar, one of each kind, and others whose hints depend on the key."""

SHAPES = (
    *("", "~", "null", "{}", "[]", "[[]]", "[{}]", "{a: 1}", "{a: 1, b: 2}", "[1]", "[1, 2]"),
    *("{base: 0x8000000}", "{base: 0x40000000, size: 1GiB}", "{count: 4}", "{mpidr: 0.0.0.0}"),
    *("true", "no", "auto", "4", "2GiB", "0x8000000", "gicv3", "virtual", "word"),
    *("{boot: 4, max: 8}", "{sve: true}", "{irq: 23}", "{enable: false}", "{on: }", "[~]", "[on]"),
)
"""Values of other shapes: nothing, mappings, and lists."""

SCALARS = (
    *("0", "-1", "4", "23", "010", "0b11", "0x1g", "1_000", "0x0808_0000", "1:30", "23.0", "1e999"),
    *(
        "''",
        "yes",
        "off",
        "True",
        "auto",
        "max",
        "4G",
        "4gib",
        "4 GiB",
        "2048MiB",
        "1.5GiB",
        "2048",
        "4096",
    ),
    *("0.0.0.1", "0.0.0", "0.0.0.256", "0.0.1.0-3", "0.0.0.3-1", "0:0:1:0", "0.0-1.0-1"),
    *("ppi:7", "PPI 7", "ppi:23", "GIC_PPI 7", "spi:8", "sgi:1", "spi:8-9", "0x10-0x1f", "9-8"),
    *("<1 7 4>", "8192", "gicv3", "monitor", "vmm", "deny", "drop", "permit", "SVE", "pauth"),
    *("KVM_ARM_VCPU_SVE", "cpu_cycles", "r11", "PSCI_0_2_FN64_CPU_ON", "PSCI_CPU_ON"),
    *("KVM_CAP_HALT_POLL", "KVM_CAP_ARM_MTE", "KVM_CAP_X", "MIDR_EL1", "MPIDR_EL1", "6.10"),
    *("'6.1.5'", "v6.1", "2026-11-27", "{{ vm }}", "-x", "a" * 64, "é", '"a\\nb"', "08000000"),
    *("40000000", "18446744073709551616", "16777215", "16777216"),
)
"""Scalars: numbers in many spellings, words of other tools, and what they cannot be."""


def line_of(value: str, found: list[Diagnostic]) -> str:
    """Return one line for a value with its findings, or several if there are several findings."""
    lines = []
    for each in found:
        place = f"{each.span.line}:{each.span.column}-{each.span.end_column}"
        hint = "" if each.hint is None else f"; hint: {each.hint}"
        fix = "" if each.fix is None else f"; fix: {each.fix.text}"
        lines.append(f"{value!r} {place} {each.rule} {each.message}{hint}{fix}\n")
    return "".join(lines) or f"{value!r} is right\n"


def answers(keys: tuple[str, ...], values: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        yield f"\n{key}\n"
        text = VALUES[key]
        for value in values:
            found = check(text.replace("<>", value).encode(), "vm.yaml").diagnostics
            yield line_of(value, found)


KEYS = (
    *("cpus", "smp", "cores", "vcpu_count", "max_vcpus", "mem", "ram", "memory_size", "irqchip"),
    *("gic_version", "redist", "redistributor", "dist", "irqs", "num_irqs", "pmu_irg", "interrupt"),
    *(
        "its_base",
        "pmu_interrupt",
        "timer",
        "feature",
        "device",
        "reg",
        "cap",
        "stealtime",
        "pvtime",
    ),
    *("smccc", "filter", "irq", "name", "Name", "host-kernel", "kernel", "ipa", "size", "base"),
    *(
        "counters",
        "events",
        "action",
        "count",
        "mpidr",
        "affinity",
        "id",
        "x-y",
        "zzzzz",
        "version",
    ),
    *("set_up_by", "vector_lengths", "args", "value", "virtual", "its", "readonly", "$schema"),
)
"""Keys that are misspelled, of other tools, or of another place."""

PLACES = {
    "": HEAD + "vcpus: 1\n<>: 1\n",
    "memory": HEAD + "vcpus: 1\nmemory: [{base: 0, size: 1GiB, <>: 1}]\n",
    "vcpus": HEAD + "vcpus: [{mpidr: 0.0.0.0, <>: 1}]\n",
    "gic": HEAD + "vcpus: 2\n" + GIC + ", <>: 1}\n",
    "pmu": HEAD + "vcpus: 2\n" + PMU + ", <>: 1}\n",
    "timers": HEAD + "vcpus: 2\ntimers: {<>: 1}\n",
    "devices": HEAD + "vcpus: 1\ndevices: [{name: uart, irq: spi:1, <>: 1}]\n",
}
"""A description with `<>` for a key in each kind of mapping."""


def answers_to_keys() -> Iterator[str]:
    for place, text in PLACES.items():
        yield f"\n{place or 'top level'}\n"
        for key in KEYS:
            found = check(text.replace("<>", key).encode(), "vm.yaml").diagnostics
            yield line_of(key, found)


def answers_on_hosts() -> Iterator[str]:
    """Yield the findings of tests/test_bounds.py on hosts, with the answer of KVM."""
    for rule, text, _, wrong, on_host in HOST_BOUNDS:
        known = read_host(json.dumps(on_host).encode(), "host.json")
        for value in wrong:
            found = check(text.replace("<>", value).encode(), "vm.yaml", hosts=[known]).diagnostics
            yield f"\n{rule} {text.splitlines()[-1].replace('<>', value)}\n"
            for each in found:
                labels = [each.label, *(related.message for related in each.related)]
                yield line_of(value, [each])
                yield f"    {'; '.join(filter(None, labels))}; kernel: {each.kernel}\n"


V2 = "gic: {version: 2, set_up_by: monitor}"
V3 = "gic: {version: 3, set_up_by: monitor}"
SPI_OF_ALL = "gic: {version: 3, nr_irqs: 64, distributor: 0x8000000, redistributors: 0x80a0000}"
SIZED = "gic: {version: 3, distributor: 0x8000000, redistributors: [{base: 0x80a0000, size: <>}]}"
SETS = "capabilities: [{name: KVM_CAP_ARM_WRITABLE_IMP_ID_REGS}, {name: KVM_CAP_HALT_POLL}]"
RING = "{name: KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP}"
SENT = "smccc_filter: [{action: forward, base: 0xc5000020, count: 2}]"

WHOLE = (
    # Redistributors by their size.
    *(
        SIZED.replace("<>", size) + "\nvcpus: 2"
        for size in ("0x40000", "0xf60000", "1MiB", "3", "x")
    ),
    # MPIDRs that a register sets: on old kernels, and of which vCPUs.
    "vcpus: [{mpidr: 0.0.200.1}]",
    "vcpus: [{mpidr: 0.0.200.1}, {mpidr: 0.0.0.0}]",
    "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.200.1}, {mpidr: 0.0.200.2}]",
    "vcpus: [{mpidr: 0.0.200.0-3}]",
    "vcpus: [{mpidr: 0.0.0.0-3}, {mpidr: 0.0.0-1.8-11}]",
    f"vcpus: [{{mpidr: 0.0.0.9}}]\n{V2}",
    f"vcpus: [{{mpidr: 0.0.1.0}}, {{mpidr: 0.0.0.0}}]\n{V2}",
    "vcpu_ids: sequential\nvcpus: [{mpidr: 0.0.1.0}, {mpidr: 0.0.0.0}]",
    "vcpu_ids: sequential\nvcpus: [{mpidr: 0.0.1.0-3}]",
    "vcpu_ids: mpidr\nvcpus: [{mpidr: 0.0.2.0}, {mpidr: 0.0.1.255}]",
    # MPIDRs that no SGI of a GICv3 reaches.
    *(
        f"host_kernel: '6.10'\n{V3}\nvcpus: [{{mpidr: {mpidr}}}]"
        for mpidr in ("0.0.0.16", "0.0.1.16")
    ),
    f"host_kernel: '6.10'\n{V3}\nvcpus: [{{mpidr: 0.0.1.0}}, {{mpidr: 0.0.0.16}}]",
    f"host_kernel: '6.10'\n{V3}\nvcpus: [{{mpidr: 0.0.0.0-31}}]",
    f"host_kernel: '6.10'\n{V3}\nvcpus: [{{mpidr: 0.0.0.16-31}}]",
    f"host_kernel: '6.10'\n{V3}\nvcpus: [{{mpidr: 0.0.0.8-23}}]",
    f"host_kernel: '6.10'\n{V3}\nvcpus: [{{mpidr: 1.0.0.0}}, {{mpidr: 0.0.0.255}}]",
    "host_kernel: '6.10'\nvcpus: [{mpidr: 1.0.0.0}, {mpidr: 0.0.0.255}]",
    # Fields that exceed 8 bits, and entries of which only a part can be read.
    *(f"vcpus: [{{mpidr: {mpidr}}}]" for mpidr in ("256.0.0.0", "0.256.0.0", "0.0.256.0")),
    "vcpus: [{mpidr: 0.0.0-256.0-300}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: x}, {mpidr: 0.0.0.1}]\npmu: {irq: spi:8-10}",
    "vcpus: [{mpidr: x}, {mpidr: 0.0.0.1}]\npmu: {irq: spi:8-10}",
    "vcpus: [{mpidr: x, pmu_irq: spi:8-9}, {mpidr: 0.0.0.1-2, pmu_irq: spi:8-10}]",
    # Duplicates, and free MPIDRs to suggest.
    "vcpus: [{mpidr: 0.0.0-31.0-15}, {mpidr: 0.0.0.0}]",
    "vcpus: [{mpidr: 0.0.0-30.0-15}, {mpidr: 0.0.0.0-15}]",
    "vcpus: [{mpidr: 0.0.0-1.0-7}, {mpidr: 0.0.0-1.0-7}]",
    "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.0}, {mpidr: 0.0.0.0}, {mpidr: 0.0.0.1}]",
    # PMU interrupts.
    f"vcpus: 32\npmu: {{irq: spi:0-31}}\n{SPI_OF_ALL}",
    f"vcpus: 33\npmu: {{irq: 40}}\n{SPI_OF_ALL}",
    f"vcpus: [{{mpidr: 0.0.0.0-2, pmu_irq: spi:31}}]\n{SPI_OF_ALL}",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: spi:8}, {mpidr: 0.0.0.1}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 23}, {mpidr: 0.0.0.1}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 23}, {mpidr: 0.0.0.1, pmu_irq: 40}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 40}, {mpidr: 0.0.0.1, pmu_irq: 23}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 23}, {mpidr: 0.0.0.1, pmu_irq: 40}, {mpidr: 0.0.0.2,"
    " pmu_irq: 24}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 40}, {mpidr: 0.0.0.1, pmu_irq: 23}, {mpidr: 0.0.0.2,"
    " pmu_irq: 41}]",
    "vcpus: [{mpidr: 0.0.0.0-1, pmu_irq: 23-24}]",
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 23}, {mpidr: 0.0.0.1, pmu_irq: 40}, {mpidr: 0.0.0.2,"
    " pmu_irq: 23}]",
    "vcpus: [{mpidr: 0.0.0.0-1, pmu_irq: spi:987-988}]",
    "vcpus: [{mpidr: 0.0.0.0-1, pmu_irq: 15-16}]",
    "vcpus: [{mpidr: 0.0.0.0-1, pmu_irq: 31-32}]",
    "vcpus: 4\npmu: {irq: spi:8-10}",
    "vcpus: 2\npmu: {irq: spi:8-11}",
    "vcpus: 2\npmu: {irq: spi:8-9}\ndevices: [{name: uart, irq: spi:9}]",
    "vcpus: 2\npmu: {irq: spi:8}\ndevices: [{name: all, irq: spi:0-959}]",
    "vcpus: 2\npmu: {counters: 3}",
    "host_kernel: '6.16'\nvcpus: 2\npmu: {irq: 23, counters: 3}",
    "vcpus: 2\npmu: {strict: true}",
    "vcpus: 2\npmu: {filter: [{action: deny, events: 0x11}]}",
    "vcpus: 2\npmu: {irq: 23, filter: [{action: deny, events: 0x1e}, {action: allow, events: 0}]}",
    # Timers and the maintenance interrupt.
    "vcpus: 2\ntimers: {virtual: 30}",
    "vcpus: 2\ntimers: {virtual: 30, physical: 30}",
    "vcpus: 2\ntimers: {virtual: 20, physical: 20}",
    "host_kernel: '6.4'\nvcpus: 2\ntimers: {hyp_virtual: 26}",
    "host_kernel: '6.16'\nvcpus: 2\nfeatures: [el2]\ntimers: {virtual: 25}\npmu: {irq: 28}",
    "host_kernel: '6.16'\nvcpus: 2\nfeatures: [el2]\npmu: {irq: 25}\ntimers: {virtual: 23}",
    # Memory, frames, and steal time.
    "vcpus: 2\nmemory: [{base: 0x40000000, size: 1GiB}, {base: 0x60000000, size: 1GiB}]",
    "vcpus: 2\nmemory: [{base: 0xfff0000000, size: 1GiB}]",
    "vcpus: 2\nmemory: [{base: 0xfffffffff0000, size: 64KiB}]",
    "vcpus: 2\nmemory: [{base: 0x10000000000000, size: 1GiB}]",
    "vcpus: 2\ngic: {version: 3, distributor: 0xfffffffff0000, redistributors: 0x80a0000}",
    "vcpus: 2\ngic: {version: 3, distributor: 0x10000000000000, redistributors: 0x80a0000}",
    "vcpus: 2\nmemory: [{base: 40000000, size: 64}]",
    "vcpus: 2\nmemory: [{base: 0x40000000, size: 0x1000}]",
    "vcpus: 2\nmemory: [{base: 0, size: 1GiB}]\ngic: {version: 3, distributor: 0x8000000,"
    " redistributors: 0x80a0000, its: 0x40000000}",
    "vcpus: 2\nmemory: [{base: 0, size: 64KiB}]\nsteal_time: 0xffc0",
    "vcpus: 2\nmemory: [{base: 0, size: 64KiB}, {base: 0x20000, size: 64KiB}]\nsteal_time: 0x10000",
    "vcpus: 2\nsteal_time: 0x10000",
    f"host_kernel: '6.4'\nvcpus: 2\nmemory: [{{base: 0, size: 64KiB}}]\nsteal_time: 0\n{SENT}",
    # The last free SPIs.
    "vcpus: 2\npmu: {irq: spi:8}\ndevices: [{name: a, irq: spi:0-29}]\n" + SPI_OF_ALL,
    "vcpus: 2\npmu: {irq: spi:8}\ndevices: [{name: a, irq: spi:0-30}]\n" + SPI_OF_ALL,
    "vcpus: 2\npmu: {irq: spi:8}\ndevices: [{name: a, irq: spi:2-31}]\n" + SPI_OF_ALL,
    # Keys with an anchor or a tag, and with the characters that a pointer escapes.
    "vcpus: 1\n&k x-a: 1\nx-b: *k",
    "vcpus: 1\n!!str x-a: 1",
    # An alias of a value in a list.
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: &i 7}, {mpidr: 0.0.0.1, pmu_irq: *i}]",
    "x-a: [[&i spi:8]]\nvcpus: [{mpidr: 0.0.0.0, pmu_irq: *i}, {mpidr: 0.0.0.1, pmu_irq: *i}]",
    "vcpus: 1\n!!str &k x-a: 1\nx-b: *k",
    # Capabilities, registers, features.
    f"vcpus: 2\ncapabilities: [{RING}]",
    f"host_kernel: '6.2'\nvcpus: 2\ncapabilities: [{RING}, {RING}]",
    f"host_kernel: '6.15'\nvcpus: 2\n{SETS}",
    "vcpus: 2\ncapabilities: [{name: KVM_CAP_ARM_NISV_TO_USER, args: [1, 2]}]",
    "vcpus: 2\nregisters: [{name: MIDR_EL1, value: 1}, {name: MIDR_EL1, value: 2}]",
    "vcpus: 2\nregisters: [{name: KVM_REG_ARM_PSCI_VERSION, value: 0x10003}]",
    "vcpus: 2\nregisters: [{name: KVM_REG_ARM_STD_BMAP, value: 0x2}]",
    "vcpus: 2\nfeatures: [sve, sve, e2h0, el1_32bit, mte]",
    "vcpus: 2\nfeatures: [sve]\nsve: {vector_lengths: [512, 256]}",
    "vcpus: 2\nsve: {vector_lengths: [128]}",
    # What most vCPUs have is right, wherever it is written.
    "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 24}, {mpidr: 0.0.0.1-2, pmu_irq: 23}]",
    "vcpus: [{mpidr: 0.0.0.0-1, pmu_irq: 24}, {mpidr: 0.0.0.2-3, pmu_irq: 23}]",
    "vcpus: [{mpidr: 0.0.0.0-3, pmu_irq: 23-26}]",
    # Text that is no YAML, with long words.
    f"{'w' * 41} {'r' * 41}\n  a: b",
    f"{'k' * 41}: {'l' * 41}: {'v' * 41}",
    "vcpus: 2\n   pmu: {irq: 23}",
    "vcpus: 2\npmu:\n   irq: 23\n  device: x",
    "vcpus: 2\npmu: {irq: 23",
    "vcpus: [2",
    "vcpus: 2\nx-a: 'b",
    "vcpus: 2\n<<<<<<< ours\npmu: {irq: 23}",
    "\tvcpus: 2",
    # What YAML and editors read differently.
    *(f"vcpus: 2 # {character}x" for character in "\x85\u2028\u2029\ufeff\x7f\x07\uffff"),
    *(f"vcpus: 2 # {character}x" for character in "\xa0\ud7ff\ue000\ufefe\uff00\ufffd\U0010ffff"),
    # Devices.
    "vcpus: 2\ndevices: [{name: a, irq: spi:0-957}, {name: b, irq: spi:956-957}]",
    "vcpus: 2\ndevices: [{name: a, irq: spi:0-958}, {name: b, irq: spi:957-958}]",
    "vcpus: 2\ndevices: [{name: a}, {name: b, base: 1}, {name: c, size: 1}, {name: a, irq: spi:1}]",
    "vcpus: 2\ndevices: [{name: a, irq: spi:1-3}, {name: b, irq: spi:3-5}, {name: c, irq: spi:2}]",
    "vcpus: 2\ndevices: [{name: a, irq: 31-33}, {name: b, irq: spi:958-960}, {name: c, irq: 9-8}]",
    "vcpus: 2\ndevices: [{name: a, base: 0xffffffff00, size: 1KiB}, {name: b, base: 1, size: 0}]",
)
"""Descriptions without their first two lines, for hints that depend on several keys."""


def answers_to_descriptions() -> Iterator[str]:
    for rest in WHOLE:
        found = check(f"vmcfg: 1\nname: vm\n{rest}\n".encode(), "vm.yaml").diagnostics
        shown = (
            each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
            for each in rest
        )
        yield f"\n{''.join(shown)}\n"
        for each in found:
            others = "".join(f"; {place.span.line}: {place.message}" for place in each.related)
            place = f"{each.span.line}:{each.span.column}-{each.span.end_column}"
            hint = "" if each.hint is None else f"; hint: {each.hint}"
            yield f"    {place} {each.rule} {each.message}{hint}{others}; kernel: {each.kernel}\n"
        if not found:
            yield "    is right\n"


FILES: dict[str, Callable[[], Iterator[str]]] = {
    "mistakes-shapes": lambda: answers(SHAPED, SHAPES),
    "mistakes-scalars": lambda: answers(SPELLED, SCALARS),
    "mistakes-keys": answers_to_keys,
    "mistakes-hosts": answers_on_hosts,
    "mistakes-others": answers_to_descriptions,
}


@pytest.mark.parametrize("name", FILES)
def test_answer_to_a_mistake_is_what_it_was(
    name: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    same_as_file(PRINTED / f"{name}.txt", "".join(FILES[name]()).encode())
