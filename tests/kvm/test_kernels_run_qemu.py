"""QEMU, started with what `vmcfg emit --format qemu` prints, tells KVM what the description says.

`vmcfg record` writes down what QEMU of Debian 12, 13, and sid tells KVM for each description of
tests/qemu, and `vmcfg diff` compares it with the description. The examples and cases of VMC82x and
VMC83x are run with the nearest command line: each must differ in what its finding says.
"""

from __future__ import annotations

import json
import os
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.kvm import monitors, oracle
from tests.test_vmm_rules import CASES, EXAMPLES
from vmcfg import cli
from vmcfg.checking.check import check
from vmcfg.monitors.qemu_command_line import command_line
from vmcfg.vm.machine import Machine

FOLDER = oracle.ROOT / "tests/qemu"
DESCRIPTIONS = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))}
OTHERS = CASES | EXAMPLES
"""Descriptions with a finding."""

WITH_FINDINGS = ("6.12", "10.0")
"""The kernel and the QEMU with which these are run, too."""

EVERY = DESCRIPTIONS | OTHERS

WANTS_ALL = os.environ.get("VMCFG_KVM_RECORDS") == "all"

MANY_VCPUS = 8
"""A record of more vCPUs takes minutes to hours: each register of a vCPU stops QEMU."""

PAIRS = (("6.1", "7.2"), ("6.12", "10.0"), ("7.3", "11.1"))
"""The kernels and the QEMUs that run on them, unless all run on all. Each pair then runs every
third description, because a record takes 10 to 25 s; tests/qemu/records has records of all.
"""

WITHOUT_RUNNING = ("-nodefaults", "-display", "none", "-S", "-monitor", "stdio")
"""What is added to the emitted words: QEMU creates the VM, and ends without running the guest."""

OVERCOMMIT = 'echo 1 >/proc/sys/vm/overcommit_memory; exec "$@"'
"""A shell script that starts its arguments. QEMU never uses most of the memory of these VMs."""


def machine_of(name: str) -> Machine:
    vm = check(EVERY[name], "vm.yaml").machine
    assert vm is not None
    return vm


def host_of(name: str) -> str:
    return oracle.GICV2 if machine_of(name).gic_version() == 2 else oracle.GICV3


def is_large(name: str) -> bool:
    """Return whether a record of a description takes minutes to hours."""
    return len(machine_of(name).vcpus) > MANY_VCPUS


def job(qemu: str, name: str) -> dict[str, Any]:
    """Return the job that records QEMU with the command line for a description."""
    folder = f"{monitors.FOLDER}/{qemu}"
    program = f"{folder}/{Path(monitors.PROGRAM).name}"
    _, *words = shlex.split(command_line(machine_of(name)))
    return {
        "name": name,
        "command": [
            *("sh", "-c", OVERCOMMIT, "sh"),
            *(f"{folder}/{monitors.LOADER}", "--library-path", folder, program),
            *(*words, *WITHOUT_RUNNING),
        ],
        "input": "quit\n",
        "timeout": 3000 if is_large(name) else 600,
    }


WRONG = [name for name in (OTHERS if WANTS_ALL else EXAMPLES) if not is_large(name)]
"""The descriptions whose findings are compared with a record: of each rule its example."""


def wanted(series: str, qemu: str) -> list[str]:
    """Return the names of the descriptions that a QEMU runs on a kernel."""
    with_findings = (series, qemu) == WITH_FINDINGS
    if WANTS_ALL:
        return [*DESCRIPTIONS, *(WRONG if with_findings else [])]
    if (series, qemu) not in PAIRS:
        return []
    small = [name for name in DESCRIPTIONS if not is_large(name)]
    described = small[PAIRS.index((series, qemu)) :: len(PAIRS)]
    return described + (WRONG if with_findings else [])


@cache
def records(series: str, qemu: str, host: str) -> dict[str, Any]:
    """Return the records of all descriptions for that host, by name, from one boot."""
    names = [name for name in wanted(series, qemu) if host_of(name) == host]
    first = {told_to_kvm(name): name for name in reversed(names)}
    jobs = [job(qemu, name) for name in first.values()]
    timeout = sum(each["timeout"] for each in jobs) / 4
    files = monitors.qemu_files(qemu)
    found = monitors.records(series, jobs, files, host=host, timeout=timeout)
    return {name: found[first[told_to_kvm(name)]] for name in names}


def told_to_kvm(name: str) -> tuple[str, ...]:
    """Return the command line without the name of the VM, which QEMU does not tell KVM: VMs that
    differ only in it have one record.
    """
    words = shlex.split(command_line(machine_of(name)))
    at = words.index("-name")
    return (*words[:at], *words[at + 2 :])


def differences(series: str, qemu: str, name: str, folder: Path) -> list[dict[str, Any]]:
    """Return what `vmcfg diff` finds between a description and the record of its command line."""
    answer = records(series, qemu, host_of(name))[name]
    assert answer.get("exit_code") == 0, answer
    description, record = folder / "vm.yaml", folder / "record.jsonl"
    description.write_bytes(EVERY[name])
    record.write_text(answer["record"])
    arguments = ["diff", "--unchecked", "--format", "json", str(description), str(record)]
    done = CliRunner().invoke(cli.vmcfg, arguments)
    assert done.exit_code in (0, 1), done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["differences"]
    return found


RUNS = [
    pytest.param(series, qemu, name, id=f"{series}-{qemu}-{name}")
    for series in oracle.FULL
    for qemu in monitors.WITH_OLDER
    for name in wanted(series, qemu)
    if name in DESCRIPTIONS
]


@pytest.mark.parametrize(("series", "qemu", "name"), RUNS)
def test_qemu_creates_what_is_described(series: str, qemu: str, name: str, tmp_path: Path) -> None:
    assert differences(series, qemu, name, tmp_path) == []
    oracle.TALLY[series][f"descriptions run by QEMU {qemu} without difference"] += 1


# Each finding is a difference ---------------------------------------------------------------------

DIFFERING = {
    "VMC820": ("create-vcpu",),
    "VMC821": ("KVM_ARM_VCPU_PMU_V3_IRQ",),
    "VMC822": ("KVM_ARM_VCPU_PMU_V3_INIT",),
    "VMC823": ("KVM_ARM_VCPU_PMU_V3_SET_PMU",),
    "VMC824": ("KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS",),
    "VMC825": ("KVM_ARM_VCPU_PMU_V3_FILTER",),
    "VMC826": ("KVM_DEV_ARM_VGIC_GRP_NR_IRQS",),
    "VMC827": ("ADDR_TYPE_DIST", "ADDR_TYPE_CPU", "KVM_VGIC_ITS_ADDR_TYPE"),
    "VMC828": ("ADDR_TYPE_REDIST",),
    "VMC829": ("KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ",),
    "VMC830": ("KVM_ARM_VCPU_TIMER_CTRL",),
    "VMC831": ("KVM_ARM_VM_SMCCC_FILTER",),
    "VMC832": ("KVM_ARM_VCPU_PVTIME_IPA",),
    "VMC833": ("add-memory",),
    "VMC834": ("create-vm",),
    "VMC835": ("init-vcpu", "enable-cap"),
    "VMC836": ("enable-cap",),
    "VMC837": ("set-reg",),
}
"""The commands that differ for each rule: a part of the operation, the group, or the attribute."""

NOT_COMPARED = {
    "VMC820-boot": "how vCPUs start",
    "VMC820-sequential": "the ids of vCPUs",
}
"""Cases whose records do not differ, because `vmcfg diff` does not compare this."""


@pytest.mark.parametrize("series", WITH_FINDINGS[:1])
@pytest.mark.parametrize("name", WRONG)
def test_a_finding_is_a_difference(series: str, name: str, tmp_path: Path) -> None:
    found = differences(series, WITH_FINDINGS[1], name, tmp_path)
    told = [f"{each['op']} {each['group']} {each['attr']}" for each in found]
    parts = DIFFERING[name[:6]]
    differs = any(part in each for part in parts for each in told)
    assert differs != (name in NOT_COMPARED), told
    oracle.TALLY[series]["findings that are differences"] += differs


def test_every_rule_of_one_vm_has_its_difference() -> None:
    assert {name[:6] for name in WRONG} == set(DIFFERING)
