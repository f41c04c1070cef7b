"""Device trees: the description that `vmcfg import` makes of them, and those that it rejects."""

from __future__ import annotations

import copy
import re
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libfdt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import blobs
from tests.blobs import Tree, blob
from tests.test_draft import mpidrs_in_order
from vmcfg.arm.affinity import mpidr_text
from vmcfg.checking.check import check
from vmcfg.description.draft import Draft, NoDraft, description_text
from vmcfg.guest import devicetree
from vmcfg.guest.blob import MOST_BYTES_OF_PROPERTY, MOST_PHANDLES
from vmcfg.guest.devicetree import MOST_ENTRIES, MOST_NODES_OF_A_KIND, draft_of_blob

ROOT = Path(__file__).parent.parent

GIC = 1
"""The phandle of the GIC."""

SPI, PPI, LEVEL = 0, 1, 4


def few(examples: int) -> settings:
    """Return settings for a few device trees."""
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


# Trees --------------------------------------------------------------------------------------------


def cpu_nodes(*mpidrs: int, cells: int = 1) -> Tree:
    """Return /cpus with CPUs whose phandles are 16, 17 ..."""
    nodes: Tree = {"#address-cells": cells, "#size-cells": 0, "cpu-map": {"cluster0": {}}}
    for index, mpidr in enumerate(mpidrs):
        low = mpidr & 0xFFFFFF
        reg = [low] if cells == 1 else [mpidr >> 24, low]
        nodes[f"cpu@{index}"] = {"device_type": "cpu", "reg": reg, "phandle": 16 + index}
    return nodes


def gicv3(*regions: tuple[int, int], its: Any = (), **more: Any) -> Tree:
    """Return a GICv3 with redistributor regions (base, size)."""
    reg = [0, 0x800_0000, 0, 0x1_0000]
    for base, size in regions:
        reg += [base >> 32, base & 0xFFFF_FFFF, size >> 32, size & 0xFFFF_FFFF]
    node: Tree = {
        "compatible": "arm,gic-v3",
        "#interrupt-cells": 3,
        "interrupt-controller": None,
        "#address-cells": 2,
        "#size-cells": 2,
        "ranges": None,
        "phandle": GIC,
        "reg": reg,
    }
    if len(regions) > 1:
        node["#redistributor-regions"] = len(regions)
    for address in its:
        frame = [address >> 32, address & 0xFFFF_FFFF, 0, 0x2_0000]
        node[f"its@{address:x}"] = {"compatible": "arm,gic-v3-its", "reg": frame}
    return {**node, **more}


def gicv2(**more: Any) -> Tree:
    reg = [0, 0x800_0000, 0, 0x1000, 0, 0x801_0000, 0, 0x2000]
    node = gicv3(**more)
    return {**node, "compatible": ["arm,gic-400", "arm,cortex-a15-gic"], "reg": reg}


REGION = (0x80A_0000, 0xF6_0000)

TIMER: Tree = {
    "compatible": ["arm,armv8-timer", "arm,armv7-timer"],
    "interrupts": [PPI, 13, LEVEL, PPI, 14, LEVEL, PPI, 11, LEVEL, PPI, 10, LEVEL],
}


def pmu(*irqs: int, kind: int = PPI, **more: Any) -> Tree:
    cells = [cell for irq in irqs for cell in (kind, irq, LEVEL)]
    return {"compatible": "arm,armv8-pmuv3", "interrupts": cells, **more}


def tree(*mpidrs: int, cells: int = 1, **more: Any) -> Tree:
    """Return a tree like that of QEMU; `more` adds, replaces, or, with None, removes nodes of the
    root.
    """
    whole = {
        "model": "linux,dummy-virt",
        "interrupt-parent": GIC,
        "#address-cells": 2,
        "#size-cells": 2,
        "cpus": cpu_nodes(*mpidrs, cells=cells),
        "intc": gicv3(REGION),
        "timer": TIMER,
        **{name.replace("_", "-"): each for name, each in more.items()},
    }
    return {name: each for name, each in whole.items() if each is not None}


def draft(source: Tree | bytes) -> Draft:
    return draft_of_blob(source if isinstance(source, bytes) else blob(source))


def written(source: Tree | bytes) -> str:
    """Return the description without its comments; its shape has no findings."""
    text = description_text(draft(source))
    assert_readable(text)
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))


def assert_readable(text: str) -> None:
    found = [each for each in check(text.encode(), "x").diagnostics if each.rule < "VMC2"]
    assert not found, f"{found}\n{text}"


HEAD = "vmcfg: 1\nname: linux-dummy-virt\n"
V3 = (
    "gic:\n  version: 3\n  distributor: 0x08000000\n"
    "  redistributors:\n    - base: 0x080a0000\n      count: 123\n"
)
MEMORY: Tree = {"device_type": "memory", "reg": [0, 0x4000_0000, 0, 0x4000_0000]}
WRITTEN_MEMORY = "memory:\n  - base: 0x40000000\n    size: 1GiB\n"

BUS: Tree = {
    "compatible": "simple-bus",
    "#address-cells": 1,
    "#size-cells": 1,
    "ranges": [0x1000, 0x10, 0x0, 0x1000, 0x0, 0x8, 0x0, 0x1000_0000],
}
"""A bus whose addresses from 0 on are those from 0x800000000 on of a CPU."""

TREES: dict[str, tuple[Tree, str]] = {
    "like QEMU": (
        tree(0, 1, 2, 3, pmu=pmu(7), memory_40000000=MEMORY),
        f"{HEAD}vcpus: 4\n{WRITTEN_MEMORY}{V3}pmu:\n  irq: 23\n",
    ),
    "no PMU": (tree(0, 1), f"{HEAD}vcpus: 2\n{V3}"),
    "GICv2": (
        tree(0, 1, intc=gicv2()),
        f"{HEAD}vcpus: 2\ngic:\n  version: 2\n  distributor: 0x08000000\n"
        "  cpu_interface: 0x08010000\n",
    ),
    "Aff3 in two cells": (
        tree(0x0100_0000, 0x0100_0001, cells=2),
        f"{HEAD}vcpus:\n  - mpidr: 1.0.0.0-1\n{V3}",
    ),
    "SPIs with affinity, the other way round": (
        tree(0, 1, 0x100, pmu=pmu(8, 9, 10, kind=SPI, **{"interrupt-affinity": [18, 17, 16]})),
        f"{HEAD}vcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: spi:10\n"
        f"  - mpidr: 0.0.0.1\n    pmu_irq: spi:9\n  - mpidr: 0.0.1.0\n    pmu_irq: spi:8\n{V3}",
    ),
    "SPIs without affinity": (
        tree(0, 1, pmu=pmu(8, 9, kind=SPI)),
        f"{HEAD}vcpus: 2\n{V3}pmu:\n  irq: spi:8-9\n",
    ),
    "an SPI beyond the default number of INTIDs": (
        tree(0, pmu=pmu(224, kind=SPI)),
        f"{HEAD}vcpus: 1\n{V3}pmu:\n  irq: spi:224\n".replace(
            "version: 3\n", "version: 3\n  nr_irqs: 288\n"
        ),
    ),
    "EL2": (
        tree(0, compatible="linux,dummy-virt", psci={"method": "smc"}),
        f"{HEAD}vcpus: 1\n{V3}features: [el2]\n",
    ),
    "a VM without EL2": (
        tree(0, compatible="linux,dummy-virt", psci={"method": "hvc"}),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "firmware at EL3": (
        tree(0, compatible="vendor,board", psci={"method": "smc"}),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "two PMUs": (
        tree(
            0,
            0x100,
            pmu_a=pmu(8, kind=SPI, compatible="arm,cortex-a53-pmu", **{"interrupt-affinity": 17}),
            pmu_b=pmu(9, kind=SPI, compatible="arm,cortex-a72-pmu", **{"interrupt-affinity": 16}),
        ),
        f"{HEAD}vcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: spi:9\n"
        f"  - mpidr: 0.0.1.0\n    pmu_irq: spi:8\n{V3}",
    ),
    "PPIs of partitions": (
        tree(
            0,
            1,
            0x100,
            intc=gicv3(
                REGION,
                **{
                    "#interrupt-cells": 4,
                    "ppi-partitions": {
                        "p0": {"affinity": [16, 17], "phandle": 30},
                        "p1": {"affinity": [18], "phandle": 31},
                    },
                },
            ),
            timer={"compatible": "arm,armv8-timer", "interrupts": [PPI, 13, 4, 0]},
            pmu_a={"compatible": "arm,cortex-a53-pmu", "interrupts": [PPI, 7, 4, 30]},
            pmu_b={"compatible": "arm,cortex-a72-pmu", "interrupts": [PPI, 6, 4, 31]},
        ),
        f"{HEAD}vcpus:\n  - mpidr: 0.0.0.0-1\n    pmu_irq: 23\n"
        f"  - mpidr: 0.0.1.0\n    pmu_irq: 22\n{V3}",
    ),
    "two regions and an ITS": (
        tree(0, intc=gicv3(REGION, (0x40_0000_0000, 0x400_0000), its=(0x808_0000,))),
        f"{HEAD}vcpus: 1\n{V3}    - base: 0x4000000000\n      count: 512\n  its: 0x08080000\n",
    ),
    "a maintenance interrupt": (
        tree(0, intc=gicv3(REGION, interrupts=[PPI, 8, LEVEL])),
        f"{HEAD}vcpus: 1\n{V3}  maintenance_irq: 24\n",
    ),
    "the default maintenance interrupt": (
        tree(0, intc=gicv3(REGION, interrupts=[PPI, 9, LEVEL])),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "a GIC on a bus": (
        tree(
            0,
            intc=None,
            soc={**BUS, "intc@800": {**gicv2(), "reg": [0x1000, 0x1000, 0x2000, 0x2000]}},
        ),
        f"{HEAD}vcpus: 1\ngic:\n  version: 2\n  distributor: 0x1000000000\n"
        "  cpu_interface: 0x800002000\n",
    ),
    "interrupts of several controllers": (
        tree(
            0,
            1,
            other={"interrupt-controller": None, "#interrupt-cells": 1, "phandle": 2},
            pmu={
                "compatible": "arm,armv8-pmuv3",
                "interrupts-extended": [GIC, SPI, 8, LEVEL, GIC, SPI, 9, LEVEL],
            },
        ),
        f"{HEAD}vcpus: 2\n{V3}pmu:\n  irq: spi:8-9\n",
    ),
    "a controller that passes interrupts on": (
        {
            **tree(
                0,
                wakeup={
                    "interrupt-controller": None,
                    "#interrupt-cells": 3,
                    "interrupt-parent": GIC,
                    "phandle": 2,
                },
                pmu=pmu(7),
            ),
            "interrupt-parent": 2,
        },
        f"{HEAD}vcpus: 1\n{V3}pmu:\n  irq: 23\n",
    ),
    "other timers": (
        tree(0, timer={**TIMER, "interrupts": [PPI, 13, 4, PPI, 3, 4, PPI, 4, 4, PPI, 5, 4]}),
        f"{HEAD}vcpus: 1\n{V3}timers:\n  virtual: 20\n  physical: 19\n  hyp_physical: 21\n",
    ),
    "timers by name": (
        tree(
            0,
            timer={
                **TIMER,
                "interrupts": [PPI, 4, 4, PPI, 14, 4, PPI, 2, 4],
                "interrupt-names": ["virt", "phys", "hyp-virt"],
            },
        ),
        f"{HEAD}vcpus: 1\n{V3}timers:\n  virtual: 20\n  hyp_virtual: 18\n",
    ),
    "numbers that are too high": (
        tree(0, 1, pmu=pmu(23), timer={**TIMER, "interrupts": [PPI, 13, 4, PPI, 30, 4]}),
        f"{HEAD}vcpus: 2\n{V3}pmu:\n  irq: ppi:23\ntimers:\n  physical: ppi:30\n",
    ),
    "the highest numbers": (
        tree(0, 1, pmu=pmu(986, 987, kind=SPI), timer={**TIMER, "interrupts": [PPI, 13, 4] * 2}),
        f"{HEAD}vcpus: 2\n{V3}pmu:\n  irq: spi:986-987\ntimers:\n  physical: 29\n",
    ),
    "the highest PPI": (tree(0, pmu=pmu(15)), f"{HEAD}vcpus: 1\n{V3}pmu:\n  irq: 31\n"),
    "extended PPIs": (tree(0, pmu=pmu(2, kind=3)), f"{HEAD}vcpus: 1\n{V3}pmu:\n  irq: 1058\n"),
    "the stride of KVM": (
        tree(0, intc=gicv3(REGION, **{"redistributor-stride": [0, 0x2_0000]})),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "cells that are not written": (
        {
            **tree(0, intc={**gicv2(), "reg": [0, 0x800_0000, 0x1000, 0, 0x801_0000, 0x2000]}),
            "#address-cells": b"",
            "#size-cells": b"",
        },
        f"{HEAD}vcpus: 1\ngic:\n  version: 2\n  distributor: 0x08000000\n"
        "  cpu_interface: 0x08010000\n",
    ),
    "CPUs without #address-cells": (
        tree(cpus={"cpu@5": {"device_type": "cpu", "reg": 5}}),
        f"{HEAD}vcpus:\n  - mpidr: 0.0.0.5\n{V3}",
    ),
    "extended SPIs": (
        tree(0, pmu=pmu(5, kind=2)),
        f"{HEAD}vcpus: 1\n{V3}pmu:\n  irq: 4101\n",
    ),
    "memory of several sizes": (
        tree(
            0,
            memory_0={
                "device_type": "memory",
                "reg": [0, 0x4000_0000, 0, 0x8000_0000, 1, 0, 0, 0x1234],
            },
            memory_1={**MEMORY, "status": "disabled"},
        ),
        f"{HEAD}vcpus: 1\nmemory:\n  - base: 0x40000000\n    size: 2GiB\n"
        f"  - base: 0x100000000\n    size: 0x1234\n{V3}",
    ),
    "a disabled PMU": (tree(0, pmu=pmu(7, status="disabled")), f"{HEAD}vcpus: 1\n{V3}"),
    "another kind of PMU": (
        tree(0, pmu=pmu(7, compatible=["samsung,exynos7-pmu", "syscon"])),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "no model": ({**tree(0), "model": b""}, f"vmcfg: 1\nname: imported\nvcpus: 1\n{V3}"),
}


@pytest.mark.parametrize(("source", "expected"), TREES.values(), ids=TREES)
def test_a_device_tree_is_described(source: Tree, expected: str) -> None:
    assert written(source) == expected
    assert draft(source).warnings == []


OF_KVMTOOL = ROOT / "tests" / "imports" / "devicetree"
MEMORY_OF_KVMTOOL = "memory:\n  - base: 0x80000000\n    size: 512MiB\n"
KVMTOOL = {
    "kvmtool-gicv2m": f"vcpus: 2\n{MEMORY_OF_KVMTOOL}gic:\n  version: 2\n"
    "  distributor: 0x3fff0000\n  cpu_interface: 0x3ffd0000\npmu:\n  irq: 23\n",
    "kvmtool-gicv3-its": f"vcpus: 2\n{MEMORY_OF_KVMTOOL}gic:\n  version: 3\n"
    "  distributor: 0x3fff0000\n  redistributors:\n    - base: 0x3ffb0000\n      count: 2\n"
    "  its: 0x3ff90000\npmu:\n  irq: 23\n",
    "kvmtool-no-pmu-20": f"vcpus: 20\n{MEMORY_OF_KVMTOOL}gic:\n  version: 3\n"
    "  distributor: 0x3fff0000\n  redistributors:\n    - base: 0x3fd70000\n      count: 20\n",
}


@pytest.mark.parametrize(("name", "expected"), KVMTOOL.items())
def test_device_trees_of_kvmtool_are_described(name: str, expected: str) -> None:
    source = (OF_KVMTOOL / f"{name}.dtb").read_bytes()
    # It has no model.
    assert written(source) == f"vmcfg: 1\nname: imported\n{expected}"
    assert draft(source).warnings == []


def test_every_stored_device_tree_is_described() -> None:
    assert sorted(path.stem for path in OF_KVMTOOL.iterdir()) == sorted(KVMTOOL)


WARNINGS: dict[str, tuple[Tree, list[str]]] = {
    "a GICv5": (
        tree(0, intc=gicv3(REGION, compatible="arm,gic-v5")),
        ["intc is a GICv5, and a description can contain only a GICv2 or GICv3."],
    ),
    "no GIC": (
        tree(0, intc={"#interrupt-cells": 2, "phandle": GIC}, timer=None, pmu=pmu(7, 8)),
        [
            "The device tree contains no GICv2 or GICv3.",
            "pmu has an interrupt that does not belong to a GIC.",
            "pmu has more interrupts than there are CPUs.",
        ],
    ),
    "frames without addresses for CPUs": (
        tree(0, intc=None, soc={**BUS, "ranges": [9, 0, 9, 1], "intc": gicv2()}),
        ["'reg' of intc must have 2 frames that CPUs can address."],
    ),
    "frames on a bus without ranges": (
        tree(0, intc=None, soc={"#address-cells": 2, "#size-cells": 2, "intc": gicv2()}),
        ["'reg' of intc must have 2 frames that CPUs can address."],
    ),
    "a missing region": (
        tree(0, intc=gicv3(REGION, **{"#redistributor-regions": 2})),
        ["'reg' of intc must have 3 frames that CPUs can address."],
    ),
    "another stride": (
        tree(0, intc=gicv3(REGION, **{"redistributor-stride": [0, 0x4_0000]})),
        [
            "The redistributors of intc are 0x40000 bytes apart, and those of KVM are 0x20000 bytes"
            " apart.",
            "The redistributor region of intc at 0x80a0000 has 0xf60000 bytes, which is not a"
            " multiple of 0x40000.",
        ],
    ),
    "a CPU that failed": (
        tree(
            0,
            cpus={
                **cpu_nodes(0),
                "cpu@5": {"device_type": "cpu", "reg": 5, "status": "fail-sbe"},
            },
        ),
        ["cpu@5 failed ('status'), and is not imported."],
    ),
    "bits outside the affinities": (
        tree(0x8000_0001, cells=1, cpus={"#address-cells": 1, "cpu@1": {"reg": 0x8000_0001}}),
        ["'reg' of cpu@1 is 0x80000001, which has bits outside the affinities."],
    ),
    "a PMU without interrupts": (tree(0, pmu=pmu()), ["pmu has no interrupts."]),
    "more interrupts than CPUs": (
        tree(0, pmu=pmu(8, 9, kind=SPI)),
        ["pmu has more interrupts than there are CPUs."],
    ),
    "affinity of no CPU": (
        tree(0, 1, pmu=pmu(8, 9, kind=SPI, **{"interrupt-affinity": [99]})),
        [
            "pmu has an interrupt of a CPU that is not in /cpus.",
            "pmu has an SPI that belongs to no CPU.",
        ],
    ),
    "affinity of CPUs without phandles": (
        tree(
            cpus={"#address-cells": 1, "cpu@0": {"reg": 0}, "cpu@1": {"reg": 1}},
            pmu=pmu(8, 9, kind=SPI, **{"interrupt-affinity": [0, 0]}),
        ),
        ["pmu has an interrupt of a CPU that is not in /cpus."],
    ),
    "memory at an address of 96 bits": (
        {**tree(0, intc=None, timer=None, memory={**MEMORY, "reg": [1] * 5}), "#address-cells": 3},
        [
            "memory has memory that CPUs cannot address.",
            "The device tree contains no GICv2 or GICv3.",
        ],
    ),
    "two interrupts of a CPU": (
        tree(0, 1, pmu_a=pmu(7), pmu_b=pmu(6)),
        [
            "CPU 0.0.0.0 has another PMU interrupt in pmu-b.",
            "CPU 0.0.0.1 has another PMU interrupt in pmu-b.",
        ],
    ),
}


@pytest.mark.parametrize(("source", "expected"), WARNINGS.values(), ids=WARNINGS)
def test_what_a_description_cannot_contain_is_a_warning(source: Tree, expected: list[str]) -> None:
    assert draft(source).warnings == expected
    assert_readable(description_text(draft(source)))


def test_what_a_device_tree_does_not_contain_is_a_note() -> None:
    source = tree(0, 1, pmu=pmu(8, 9, kind=SPI), memory={**MEMORY, "reg": [0, 0, 0, 0]})
    assert draft(source).notes == [
        "A device tree does not contain the ids of the vCPUs: see 'vcpu_ids'.",
        "A device tree does not contain the host kernel, the size of the address space, features"
        " other than 'el2', or settings that only KVM knows: see 'host_kernel', 'ipa_bits', and"
        " 'features'.",
        "memory has no size: the firmware sets it.",
        "A device tree does not contain the number of INTIDs, or whether the VMM sets up the GIC:"
        " see 'gic.nr_irqs' and 'gic.set_up_by'.",
        "pmu has no 'interrupt-affinity': its SPIs are in the order of the CPUs, as in Linux.",
    ]


def cycle(**more: Any) -> Tree:
    """Return a tree in which two interrupt controllers are the parent of each other."""
    controllers = {
        f"controller-{own}": {
            "interrupt-controller": None,
            "#interrupt-cells": 3,
            "interrupt-parent": other,
            "phandle": own,
        }
        for own, other in ((2, 3), (3, 2))
    }
    return {**tree(0, pmu=pmu(7), **more), **controllers, "interrupt-parent": 2}


def test_a_missing_timer_is_a_note() -> None:
    found = draft(tree(0, timer=None))
    assert "The device tree contains no Arm timer: see 'timers'." in found.notes
    assert found.warnings == []


def test_a_cycle_of_interrupt_controllers_ends() -> None:
    assert "pmu has an interrupt that does not belong to a GIC." in draft(cycle()).warnings


def with_cpu(**properties: Any) -> Tree:
    return tree(cpus={"#address-cells": 1, "cpu@0": {"device_type": "cpu", **properties}})


def many(count: int, node: Tree) -> dict[str, Tree]:
    return {f"node-{index}": node for index in range(count)}


REJECTED: dict[str, tuple[Tree | bytes, str]] = {
    "empty": (b"", "the device tree blob is incomplete: its header has 0 of 40 bytes"),
    "cut": (blob(tree(0))[:-1], r"the device tree blob is incomplete: it has (\d+) of (\d+) bytes"),
    "no /cpus": ({"model": "x"}, "the device tree contains no CPUs: no 'cpu' node with 'reg'"),
    "no CPU": (tree(), "the device tree contains no CPUs"),
    "no reg": (with_cpu(), "'reg' of cpu@0 must be an MPIDR in one or two cells"),
    "half a cell": (with_cpu(reg=b"\0\0"), "'reg' of cpu@0 has 2 bytes, which is not a multiple"),
    "addresses of 9 cells": (
        tree(0, intc={**gicv2()}, **{"#address_cells": 9}),
        "/ has addresses of 9 cells",
    ),
    "half a frame": (
        tree(0, intc=gicv3(REGION, reg=[0, 1, 2])),
        "'reg' of intc has 3 cells, which is not a multiple of 4",
    ),
    "half an interrupt": (
        tree(0, pmu={**pmu(7), "interrupts": [PPI, 7]}),
        "'interrupts' of pmu has 2 cells, which is not a multiple of 3",
    ),
    "half an extended interrupt": (
        tree(0, pmu={"compatible": "arm,armv8-pmuv3", "interrupts-extended": [GIC, PPI]}),
        "invalid 'interrupts-extended' of pmu",
    ),
    "a phandle of nothing": (
        tree(0, pmu={"compatible": "arm,armv8-pmuv3", "interrupts-extended": [77]}),
        "invalid 'interrupts-extended' of pmu",
    ),
    "many CPUs": (
        tree(*range(MOST_ENTRIES + 1)),
        f"the device tree contains more than {MOST_ENTRIES} CPUs",
    ),
    "many memory nodes": (
        {**tree(0), **many(MOST_ENTRIES + 1, MEMORY)},
        f"the device tree contains more than {MOST_ENTRIES} memory areas",
    ),
    "many PMUs": (
        {**tree(0), **many(MOST_NODES_OF_A_KIND + 1, pmu(7))},
        f"the device tree contains more than {MOST_NODES_OF_A_KIND} nodes that are compatible with"
        " arm,armv8-pmuv3",
    ),
    "a long property": (
        tree(0, pmu={**pmu(7), "interrupts": [0] * (MOST_BYTES_OF_PROPERTY // 4 + 1)}),
        "'interrupts' of pmu has 65540 bytes, and the maximum is 65536",
    ),
    "many controllers": (
        {
            **tree(0, pmu=pmu(7)),
            **{
                f"c{index}": {"phandle": 100 + index, "#interrupt-cells": 0}
                for index in range(MOST_PHANDLES + 1)
            },
            "pmu": {
                "compatible": "arm,armv8-pmuv3",
                "interrupts-extended": list(range(100, 101 + MOST_PHANDLES)),
            },
        },
        f"interrupts refer to more than {MOST_PHANDLES} nodes",
    ),
    "a size of 128 bits": (
        {**tree(0, memory={"device_type": "memory", "reg": [0, 0, 0, 1, 0, 0]}), "#size-cells": 4},
        "'reg' of memory has a size of 0x10000000000000000 bytes",
    ),
}


@pytest.mark.parametrize(("source", "expected"), REJECTED.values(), ids=REJECTED)
def test_a_rejected_device_tree_is_one_sentence(source: Tree | bytes, expected: str) -> None:
    with pytest.raises(NoDraft) as raised:
        draft(source)
    assert re.match(expected, str(raised.value))
    assert "\n" not in str(raised.value)


# Laws ---------------------------------------------------------------------------------------------


@st.composite
def machines(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a device tree contains of a VM."""
    count = draw(st.integers(1, 12))
    mpidrs = draw(
        st.lists(
            st.builds(
                lambda *fields: sum(field << 8 * place for place, field in enumerate(fields)),
                st.integers(0, 15),
                *[st.integers(0, 3)] * 3,
            ),
            min_size=count,
            max_size=count,
            unique=True,
        )
    )
    spis = draw(st.lists(st.integers(0, 987), min_size=count, max_size=count, unique=True))
    irqs = draw(st.sampled_from([[None] * count, [23] * count, [32 + spi for spi in spis]]))
    regions = draw(st.lists(st.integers(1, 4095), min_size=1, max_size=4))
    return {
        "mpidrs": mpidrs,
        "irqs": irqs,
        "gic": draw(st.sampled_from([2, 3])),
        "regions": [(0x1_0000_0000 + (index << 32), n) for index, n in enumerate(regions)],
        "its": draw(st.lists(st.sampled_from([0x808_0000, 0x20_0000_0000]), unique=True)),
        "memory": draw(
            st.lists(
                st.tuples(st.integers(0, (1 << 64) - 1), st.integers(1, (1 << 64) - 1)), max_size=3
            )
        ),
        "timers": draw(
            st.fixed_dictionaries(
                {key: st.integers(16, 31) for key in ("physical", "virtual", "hyp_physical")}
            )
        ),
    }


def tree_of(machine: dict[str, Any]) -> Tree:
    """Return the device tree of a machine."""
    if machine["gic"] == 2:
        intc = gicv2()
    else:
        sizes = [(base, count * 0x2_0000) for base, count in machine["regions"]]
        intc = gicv3(*sizes, its=tuple(machine["its"]))
    timers = machine["timers"]
    order = (29, timers["physical"], timers["virtual"], timers["hyp_physical"])
    timer = {**TIMER, "interrupts": [cell for irq in order for cell in (PPI, irq - 16, 4)]}
    memory = [
        cell
        for base, size in machine["memory"]
        for cell in (base >> 32, base & 0xFFFFFFFF, size >> 32, size & 0xFFFFFFFF)
    ]
    irqs = machine["irqs"]
    node = None
    if irqs[0] == 23:
        node = pmu(7)
    elif irqs[0] is not None:
        affinity = {"interrupt-affinity": [16 + index for index in range(len(irqs))]}
        node = pmu(*[irq - 32 for irq in irqs], kind=SPI, **affinity)
    return tree(
        *machine["mpidrs"],
        cells=2,
        intc=intc,
        timer=timer,
        pmu=node,
        memory={"device_type": "memory", "reg": memory},
    )


@few(100)
@given(machines())
def test_a_description_has_what_the_device_tree_has(machine: dict[str, Any]) -> None:
    data = written(tree_of(machine)).encode()
    vm = check(data, "x").machine
    assert vm is not None
    irq_of = dict(zip(machine["mpidrs"], machine["irqs"], strict=True))
    assert {vcpu.mpidr: vcpu.pmu_irq for vcpu in vm.vcpus} == irq_of
    assert mpidrs_in_order(data.decode()) == [mpidr_text(each) for each in machine["mpidrs"]]
    assert [(slot.base, slot.size) for slot in vm.memory] == machine["memory"]
    assert {key: vm.timers.intid(key) for key in machine["timers"]} == machine["timers"]
    assert vm.gic is not None and vm.gic.version == machine["gic"]
    if machine["gic"] == 3:
        regions = [(each.base, each.count) for each in vm.gic.redistributors]  # type: ignore[union-attr]
        assert regions == machine["regions"]
        assert list(vm.gic.its) == machine["its"]


def test_only_properties_that_exist_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """In libfdt 1.6.1, reading another one damages the interpreter, which aborts later."""
    read = libfdt.FdtRo.getprop

    def checked(self: Any, *arguments: Any) -> Any:
        found = read(self, *arguments)
        assert not isinstance(found, int), arguments
        return found

    monkeypatch.setattr(libfdt.FdtRo, "getprop", checked)
    for source, expected in TREES.values():
        assert written(source) == expected


def test_a_device_tree_can_end_with_other_bytes() -> None:
    data = blob(tree(0))
    assert written(data + b"\0" * 100) == written(data)


SMALL = blob(tree(0, 1, memory=MEMORY, pmu=pmu(8, 9, kind=SPI, **{"interrupt-affinity": [16, 17]})))


def test_a_device_tree_that_is_cut_anywhere_is_rejected() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(NoDraft) as raised:
            draft_of_blob(SMALL[:length])
        has = (
            f"its header has {length} of 40" if length < 40 else f"it has {length} of {len(SMALL)}"
        )
        assert str(raised.value) == f"the device tree blob is incomplete: {has} bytes"


def assert_rejected_or_readable(data: bytes) -> None:
    try:
        found = draft_of_blob(data)
    except NoDraft as error:
        assert "\n" not in str(error)
        return
    assert_readable(description_text(found))


@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_any_byte_of_a_device_tree_can_be_wrong(value: int) -> None:
    for place in range(len(SMALL)):
        assert_rejected_or_readable(SMALL[:place] + bytes([value]) + SMALL[place + 1 :])


@few(200)
@given(st.data())
def test_lengths_and_offsets_can_lie(data: st.DataObject) -> None:
    changed = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(SMALL) // 4 - 1)) * 4
        lie = data.draw(
            st.sampled_from([0, 1, 2, 3, 4, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
            | st.integers(0, len(SMALL))
        )
        changed[place : place + 4] = struct.pack(">I", lie)
    assert_rejected_or_readable(bytes(changed))


@st.composite
def other_trees(draw: st.DrawFn) -> Tree:
    """Draw trees in which properties have other values, or are missing."""
    changed: Tree = copy.deepcopy(
        draw(st.sampled_from([each for each, _ in (*TREES.values(), *WARNINGS.values())]))
    )
    nodes = [changed]
    for node in nodes:
        nodes += [child for child in node.values() if isinstance(child, dict)]
    for _ in range(draw(st.integers(1, 4))):
        node = draw(st.sampled_from(nodes))
        if not node:
            continue
        key = draw(st.sampled_from(sorted(node)))
        cells = st.sampled_from([0, 1, 2, 4, 16, 0x7FFF_FFFF, 0xFFFF_FFFF]) | st.integers(0, 2000)
        node[key] = draw(
            st.sampled_from([None, b"\xff", b"\0\0", "okay", ["fail", "\n"], {}])
            | st.lists(cells, max_size=9)
        )
    return changed


@few(300)
@given(other_trees())
def test_any_property_can_be_wrong(source: Tree) -> None:
    assert_rejected_or_readable(blob(source))


# Hostile trees, in a process with little memory ---------------------------------------------------


def with_nodes(source: Tree, nodes: bytes) -> bytes:
    """Return the blob of a tree with more nodes in its root, as they are in the structure block."""
    writer = blobs._Writer()
    writer.node("", source)
    structure = b"".join(writer.structure)[:-4] + nodes
    ends = struct.pack(">II", blobs.END_NODE, blobs.END)
    return blobs.blob_around(structure + ends, writer.strings)


BEGIN = struct.pack(">I", blobs.BEGIN_NODE) + b"a\0\0\0"
ENDED = struct.pack(">I", blobs.END_NODE)
COMPATIBLE = struct.pack(">III", blobs.PROP, 4, 0) + b"x\0y\0"
"""The property `model`, the first name in the strings block of `tree`."""

PMU_NODE = struct.pack(">III", blobs.PROP, 16, 0) + b"arm,armv8-pmuv3\0"

HOSTILE: dict[str, Callable[[], bytes]] = {
    "10^6 nodes": lambda: with_nodes(tree(0), (BEGIN + ENDED) * 1_000_000),
    "10^6 levels": lambda: with_nodes(tree(0), BEGIN * 1_000_000 + ENDED * 1_000_000),
    "10^6 properties": lambda: with_nodes(
        tree(0, pmu=pmu(7)), BEGIN + COMPATIBLE * 1_000_000 + ENDED
    ),
    "a cycle of phandles": lambda: blob(cycle()),
    "400,000 PMUs": lambda: with_nodes(
        {"compatible": "", **tree(0)}, (BEGIN + PMU_NODE + ENDED) * 400_000
    ),
    "10^6 children of /cpus": lambda: with_nodes(
        {"x": b""},
        struct.pack(">I", blobs.BEGIN_NODE) + b"cpus\0\0\0\0" + (BEGIN + ENDED) * 1_000_000 + ENDED,
    ),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))


@pytest.mark.slow
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_hostile_trees_need_little_memory(make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "hostile.dtb"
    path.write_bytes(make())
    done = imported(path, preexec_fn=limited)
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    if done.returncode == 3:
        assert done.stderr.count("\n") == 1
    else:
        assert_readable(done.stdout)


def imported(path: Path | str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    more.setdefault("env", {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", "import", *options, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


# Sources, which dtc compiles ----------------------------------------------------------------------

DTS = """\
/dts-v1/;
// a comment
/ {
    model = "from,source";
    interrupt-parent = <&gic>;
    #address-cells = <1>;
    #size-cells = <1>;
    cpus {
        #address-cells = <1>;
        #size-cells = <0>;
        cpu@0 { device_type = "cpu"; reg = <0>; };
    };
    gic: intc@8000000 {
        compatible = "arm,gic-400";
        #interrupt-cells = <3>;
        interrupt-controller;
        reg = <0x8000000 0x1000 0x8010000 0x2000>;
    };
    timer { compatible = "arm,armv8-timer"; interrupts = <1 13 4 1 14 4 1 11 4 1 10 4>; };
    pmu { compatible = "arm,armv8-pmuv3"; interrupts = <1 7 4>; };
};
"""
FROM_DTS = (
    "vmcfg: 1\nname: from-source\nvcpus: 1\ngic:\n  version: 2\n  distributor: 0x08000000\n"
    "  cpu_interface: 0x08010000\npmu:\n  irq: 23\n"
)


def without_comments(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))


@pytest.fixture
def dtc(program: Callable[[str], str]) -> str:
    return program("dtc")


def test_a_source_is_compiled(dtc: str, tmp_path: Path) -> None:
    path = tmp_path / "guest.dts"
    path.write_text(DTS)
    done = imported(path)
    assert (without_comments(done.stdout), done.stderr, done.returncode) == (FROM_DTS, "", 0)


def test_a_source_and_its_blob_are_the_same(dtc: str, tmp_path: Path) -> None:
    for name, (source, _) in {**TREES, **WARNINGS}.items():
        path = tmp_path / "guest.dtb"
        path.write_bytes(blob(source))
        command = [dtc, "-q", "-f", "-I", "dtb", "-O", "dts", str(path)]
        text = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        assert devicetree.draft_of_source(text) == draft(source), name


REJECTED_SOURCES = {
    "not valid": (
        "/dts-v1/;\n/ { cpus };\n",
        "cannot import guest.dts: dtc rejects the device tree source: line 2.10-11 syntax error",
    ),
    "includes a file": (
        '/dts-v1/;\n/include/ "secret"\n/ { };\n',
        "cannot import guest.dts: the device tree source includes other files (/include/): compile"
        " it with dtc, and import the blob",
    ),
    "contains a file": (
        '/dts-v1/;\n/ { x = /incbin/("secret"); };\n',
        "cannot import guest.dts: the device tree source includes other files (/incbin/): compile"
        " it with dtc, and import the blob",
    ),
    "needs the C preprocessor": (
        '/dts-v1/;\n#include "secret"\n/ { };\n',
        "cannot import guest.dts: the device tree source includes other files (#include): compile"
        " it with dtc, and import the blob",
    ),
    "no CPUs": (
        "/dts-v1/;\n/ { };\n",
        "cannot import guest.dts: the device tree contains no CPUs: no 'cpu' node with 'reg' in"
        " /cpus",
    ),
}


@pytest.mark.parametrize(("text", "expected"), REJECTED_SOURCES.values(), ids=REJECTED_SOURCES)
def test_a_rejected_source_is_one_sentence(
    text: str, expected: str, dtc: str, tmp_path: Path
) -> None:
    (tmp_path / "guest.dts").write_text(text)
    (tmp_path / "secret").write_text("/* a secret */")
    done = imported("guest.dts", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("", f"vmcfg: {expected}\n", 3)


@pytest.mark.slow
def test_a_source_that_is_too_much_for_dtc_is_rejected(dtc: str, tmp_path: Path) -> None:
    path = tmp_path / "guest.dts"
    path.write_text("/dts-v1/;\n/ {\n" + "".join(f"a{n}{{}};\n" for n in range(1_000_000)) + "};\n")
    done = imported(path)
    assert done.returncode == 3
    assert re.fullmatch(r"vmcfg: cannot import [^\n]*\n", done.stderr), done.stderr


# Without the programs that it needs ---------------------------------------------------------------


def test_without_libfdt_the_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "guest.dtb"
    path.write_bytes(SMALL)
    program = (
        "import sys; sys.modules['libfdt'] = None; sys.argv = ['vmcfg', 'import', sys.argv[1]];"
        "from vmcfg.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "guest.dtb"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == (
        "vmcfg: cannot import guest.dtb: device trees require libfdt: install vmcfg[devicetree], or"
        " the package python3-libfdt of Debian\n"
    )
    assert (done.stdout, done.returncode) == ("", 3)


def test_without_dtc_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "guest.dts").write_text(DTS)
    environment = {"PYTHONPATH": str(ROOT), "PATH": str(tmp_path)}
    done = imported("guest.dts", cwd=tmp_path, env=environment)
    assert done.stderr == (
        "vmcfg: cannot import guest.dts: a device tree source requires dtc: install the package"
        " device-tree-compiler of Debian\n"
    )
    assert (done.stdout, done.returncode) == ("", 3)


def test_as_many_cpus_as_allowed() -> None:
    assert len(draft(tree(*range(MOST_ENTRIES))).data["vcpus"]) == MOST_ENTRIES


def test_every_mpidr_of_a_large_tree_is_in_a_range() -> None:
    mpidrs = [aff1 << 8 | aff0 for aff1 in range(32) for aff0 in range(16)]
    assert written(tree(*mpidrs)).startswith(f"{HEAD}vcpus: 512\n")
    assert mpidr_text(mpidrs[-1]) == "0.0.31.15"
