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
    *("{boot: 4, max: 8}", "{sve: true}", "{irq: 23}", "{enable: false}", "{on: }", "[~]", "[on]"),
)
"""Values of other shapes: nothing, mappings, and lists."""

SCALARS = (
    *("0", "-1", "4", "23", "010", "0b11", "0x1g", "1_000", "0x0808_0000", "1:30", "23.0", "1e999"),
    *("''", "yes", "off", "True", "auto", "max", "4G", "4gib", "4 GiB", "2048MiB", "1.5GiB"),
    *("0.0.0.1", "0.0.0", "0.0.0.256", "0.0.1.0-3", "0.0.0.3-1", "0:0:1:0", "0.0-1.0-1"),
    *("ppi:7", "PPI 7", "ppi:23", "GIC_PPI 7", "spi:8", "sgi:1", "spi:8-9", "0x10-0x1f", "9-8"),
    *("<1 7 4>", "8192", "gicv3", "monitor", "vmm", "deny", "drop", "permit", "SVE", "pauth"),
    *("KVM_ARM_VCPU_SVE", "cpu_cycles", "r11", "PSCI_0_2_FN64_CPU_ON", "PSCI_CPU_ON"),
    *("KVM_CAP_HALT_POLL", "KVM_CAP_ARM_MTE", "KVM_CAP_X", "MIDR_EL1", "MPIDR_EL1", "6.10"),
    *("'6.1.5'", "v6.1", "2026-11-27", "{{ vm }}", "-x", "a" * 64, "é", '"a\\nb"', "08000000"),
    *("40000000", "18446744073709551616", "9" * 30),
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


FILES: dict[str, Callable[[], Iterator[str]]] = {
    "mistakes-shapes": lambda: answers(SHAPED, SHAPES),
    "mistakes-scalars": lambda: answers(SPELLED, SCALARS),
    "mistakes-keys": answers_to_keys,
    "mistakes-hosts": answers_on_hosts,
}


@pytest.mark.parametrize("name", FILES)
def test_answer_to_a_mistake_is_what_it_was(
    name: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    same_as_file(PRINTED / f"{name}.txt", "".join(FILES[name]()).encode())
