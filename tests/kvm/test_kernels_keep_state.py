"""The lists of `emit --scope state` save and restore vGICs on real kernels.

KVM has the attribute of every line; a vGIC that is saved, restored into another VM, and saved again
is the same; and a guest that is moved so, with the emitted C code, takes its next interrupts.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kvm import guests, independent, machine, oracle
from tests.seeds import SEED
from vmcfg.checking.check import check
from vmcfg.formats.c import c
from vmcfg.plans.saving import state_plan

SERIES = ("6.1", "6.12", "7.2")

HERE = Path(__file__).parent
HEAD = 'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\n'
MEMORY = "memory: [{base: 0x40000000, size: 1MiB}]\n"
ITS = 0x09000000
GIC = f"version: 3, distributor: 0x08000000, redistributors: 0x080a0000, its: [{ITS:#x}]"
SET_MPIDRS = (
    "vcpu_ids: sequential\nvcpus: [{mpidr: 0.0.3.1}, {mpidr: 0.0.200.7}, {mpidr: 0.0.0.0}]\n"
)

VMS = {
    "1 vCPU": f"{HEAD}{MEMORY}vcpus: 1\ngic: {{{GIC}}}\n",
    "3 vCPUs, set MPIDRs": f"{HEAD}{MEMORY}{SET_MPIDRS}gic: {{{GIC}}}\n",
    "40 vCPUs": f"{HEAD}{MEMORY}vcpus: 40\ngic: {{{GIC}}}\n",
}
"""VMs with an ITS; a guest runs in each."""

MORE_VMS = {
    "no ITS, 992 INTIDs": (
        f"{HEAD}{SET_MPIDRS}gic: {{version: 3, distributor: 0x08000000,"
        " redistributors: 0x080a0000, nr_irqs: 992}\n"
    ),
    "two ITSs": f"{HEAD}vcpus: 2\ngic: {{{GIC[:-1]}, 0x09020000], nr_irqs: 64}}\n",
}

V2 = {
    "GICv2": (
        f"{HEAD}vcpus: 3\ngic: {{version: 2, distributor: 0x08000000, cpu_interface: 0x08010000,"
        " nr_irqs: 128}\n"
    )
}
EL2 = {
    "EL2": (
        'vmcfg: 1\nname: vm\nhost_kernel: "6.17"\nvcpus: 2\nfeatures: [el2]\n'
        "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000}\n"
    )
}

WIDTHS = {
    "KVM_DEV_ARM_VGIC_GRP_DIST_REGS": 4,
    "KVM_DEV_ARM_VGIC_GRP_CPU_REGS": 4,
    "KVM_DEV_ARM_VGIC_GRP_REDIST_REGS": 4,
    "KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO": 4,
    "KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS": 8,
    "KVM_DEV_ARM_VGIC_GRP_ITS_REGS": 8,
}
"""The bytes that KVM writes in a read of each group."""

VTIMER, SGI = 27, 3
FIRST_SPI, NEXT_SPI = 40, 100
"""The SPI of the first vCPU that it takes before it is moved, and the one that it takes after."""
LPIS = [8192, 8193]

Answers = dict[str, dict[str, Any]]


def answers(series: str, vms: dict[str, str], **options: Any) -> Answers:
    """Return what the driver prints about VMs in one boot."""
    files = oracle.package() | {"/work/driver.py": (HERE / "state_driver.py").read_bytes()}
    for name, text in vms.items():
        files[f"/work/state/{name}.yaml"] = text.encode()
    command = ["python3", "driver.py", str(SEED)]
    result = machine.run(oracle.kernel(series), files, command, timeout=300, **options)
    assert result.exit_code == 0, result.stderr.decode()
    found: Answers = json.loads(result.stdout)
    oracle.TALLY[series]["lines of state"] += sum(sum(each["lines"]) for each in found.values())
    return found


def assert_is_kept(found: Answers, vms: dict[str, str]) -> None:
    """Assert that KVM has every line, and that what is restored is what was saved."""
    assert list(found) == sorted(vms)
    for name, each in found.items():
        assert each["unknown"] == [], name
        assert each["into a fresh VM"] == [], name
        assert each["into a used VM"] == [], name
        assert each["used"] > each["lines"][0] // 3, name
        for group, width in each["overwritten"].items():
            assert width == WIDTHS[group], (name, group)


@cache
def v3_answers(series: str) -> Answers:
    return answers(series, VMS | MORE_VMS)


@pytest.mark.parametrize("series", SERIES)
def test_a_gicv3_is_the_same_after_a_restore(series: str) -> None:
    assert_is_kept(v3_answers(series), VMS | MORE_VMS)


@pytest.mark.parametrize("series", SERIES)
def test_mpidr_0_for_every_vcpu_is_found_by_saving_again(series: str) -> None:
    """A monitor that does so restores every vCPU from the first one."""
    found = v3_answers(series)
    wrong = {name: each["with MPIDR 0"] for name, each in found.items() if name != "1 vCPU"}
    assert 0 not in wrong.values()
    assert list(wrong) == [name for name in found if name != "1 vCPU"]


@pytest.mark.parametrize("series", SERIES)
def test_a_gicv2_is_the_same_after_a_restore(series: str) -> None:
    assert_is_kept(answers(series, V2, gic_version=2), V2)


def test_a_gicv3_with_el2_is_the_same_after_a_restore() -> None:
    assert_is_kept(answers("7.3", EL2, nested=True), EL2)


# Guests -------------------------------------------------------------------------------------------


def starts(text: str) -> str:
    """Return the line of each vCPU for move-guest; its device interrupts are SPIs of its own."""
    lines = []
    for place, vcpu in enumerate(ids(text)):
        spis = f"{NEXT_SPI + place} {FIRST_SPI + place}"
        gic = f"{guests.DISTRIBUTOR} {guests.REDISTRIBUTORS} 0 0"
        lines.append(f"vcpu:{vcpu} {guests.CODE:#x} 0 {VTIMER} {spis} {SGI} {gic}")
    return "\n".join([*lines, ""])


def ids(text: str) -> list[int]:
    return [vcpu for vcpu, *_ in independent.vcpus(yaml.safe_load(text))]


def move_program(compiler: str, text: str, folder: Path) -> bytes:
    """Return the program that moves the guest of a description, with the emitted code."""
    checked = check(text.encode(), "vm.yaml")
    assert checked.machine is not None
    state, target = folder / "state.c", folder / "move-guest"
    state.write_text(c(state_plan(checked.machine, saves=False), checked.tree))
    strict = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-O1", "-static", "-s", "-pthread")
    compiled = folder / "state.o"
    subprocess.run([compiler, "-std=c11", *strict, "-c", "-o", compiled, state], check=True)
    # Only some functions of the other program are used.
    options = ("-std=gnu11", *strict, "-Wno-unused-function", f'-DSTATE_C="{state}"')
    source = HERE / "move_guest.c"
    subprocess.run([compiler, *options, "-o", target, source, compiled], check=True)
    return target.read_bytes()


@cache
def guest_files(compiler: str, folder: Path) -> dict[str, bytes]:
    """Return the guest, the program for each VM, its plan, and the line of each vCPU."""
    files = dict(guests.programs(compiler, folder))
    for number, text in enumerate(VMS.values()):
        files[f"/work/move-guest.{number}"] = move_program(compiler, text, folder)
        files[f"/work/plan.{number}"] = guests.plan_of(text.encode()).encode()
        files[f"/work/starts.{number}"] = starts(text).encode()
    return files


@pytest.mark.parametrize("series", SERIES)
def test_a_moved_guest_goes_on_and_takes_its_next_interrupts(
    series: str, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Interrupts that were pending move along: the SPIs of every second vCPU, and an LPI."""
    script = ["chmod +x move-guest.*"]
    for number, name in enumerate(VMS):
        script.append(f"echo '== {name}'")
        arguments = f"60 plan.{number} starts.{number} guest.bin {guests.CODE:#x} {ITS:#x}"
        script.append(f"./move-guest.{number} {arguments}")
    files = guest_files(program(guests.COMPILER), tmp_path_factory.getbasetemp())
    files = files | {"/work/script": "\n".join([*script, "exit 0", ""]).encode()}
    result = machine.run(oracle.kernel(series), files, ["sh", "script"], timeout=300)
    parts = re.split(r"(?m)^== (.+)\n", result.stdout.decode(errors="replace"))[1:]
    outputs = dict(zip(parts[::2], parts[1::2], strict=True))
    assert list(outputs) == list(VMS)
    for name, text in VMS.items():
        assert_moved(outputs[name], ids(text))


def assert_moved(output: str, vcpus: list[int]) -> None:
    """Assert that each vCPU took its interrupts before and after the move, and nothing else."""
    before, moved, after = re.split(r"(?m)^(moved .+)\n", output)
    assert re.fullmatch(r"moved \d+ values, 0 differ", moved), moved
    assert guests.told(after).end == "done", output
    for place, vcpu in enumerate(vcpus):
        first = [SGI, VTIMER, FIRST_SPI + place]
        assert guests.told(before).taken(vcpu) == tuple(first), (vcpu, output)
        following = Counter([NEXT_SPI + place, *(LPIS if place == 0 else [])])
        assert Counter(guests.told(after).taken(vcpu)) == following, (vcpu, output)
