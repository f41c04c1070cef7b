"""`vmcfg record` on real kernels: the record of `vmcfg try` equals its plan, and the record of QEMU
has every call that was traced without vmcfg.

VMCFG_KVM_RECORDS=all records every VM of QEMU on every kernel, which takes half an hour; with
--bless, the records become those of tests/records.
"""

from __future__ import annotations

import lzma
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kvm import monitors, oracle
from tests.kvm.monitors import GICV2, GICV3, LARGE, SERIES, SUITES, VARIANTS
from tests.kvm.selftests import selftests
from tests.qemu_calls import OPTIONS
from tests.test_qemu_records import calls_as_written, differences_from_sample
from vmcfg.checking.check import check
from vmcfg.description.draft import description_text
from vmcfg.monitors.comparison import compared, machine_side, record_side
from vmcfg.monitors.record_draft import draft_of_record
from vmcfg.monitors.record_file import Record, read_record
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

RECORDS = Path(__file__).parent.parent / "records"
WANTS_ALL = os.environ.get("VMCFG_KVM_RECORDS") == "all"

TRIED = {
    "clusters": GICV3,
    "gicv2": GICV2,
    "irregular": GICV3,
    "kvmtool": GICV3,
    "qemu-virt": GICV3,
    "spi": GICV3,
}
"""The samples that are tried under record, with the machine that each needs."""

FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-static", "-s")

DESCRIPTORS = [
    (1, "create-vm", "vm"),
    (2, "create-vm", "vm"),
    (1, "create-vcpu", "vcpu:0"),
    (1, "init-vcpu", "vcpu:0"),
    (1, "init-vcpu", "vcpu:0"),
    (1, "init-vcpu", "vcpu:0"),
    (3, "create-vm", "vm"),
    (3, "create-vcpu", "vcpu:3"),
    (1, "create-device", "gic"),
    (1, "set-attr", "gic"),
]
"""The VM, the operation, and the target of each call of uses-descriptors.c."""


def variants(series: str, host: str) -> list[tuple[str, str]]:
    """Return the QEMUs and the names of their VMs that are recorded on a kernel."""
    of_host = [name for name, variant in VARIANTS.items() if variant.host == host]
    if WANTS_ALL:
        return [(qemu, name) for name in of_host for qemu in SUITES]
    if host == GICV2:
        return [(qemu, name) for name in of_host for qemu in SUITES] if series == "6.12" else []
    newest = [("11.1", name) for name in of_host] if series == SERIES[-1] else []
    return list(dict.fromkeys([*newest, *((qemu, "smp-2") for qemu in SUITES)]))


SELFTEST_GIC = (
    "version: 3, nr_irqs: 64, distributor: 0x08020000,"
    " redistributors: [{base: 0x08030000, count: 1}]"
)

SELFTESTS = {
    "hypercalls": "steal_time: {base: 0x40000000}",
    "psci_test": "vcpus: 2",
    "smccc_filter": "smccc_filter: [{action: deny, base: 0xc4000003, count: 1}]",
    "vgic_irq": f"gic: {{{SELFTEST_GIC}}}",
    "vgic_lpi_stress": f"gic: {{{SELFTEST_GIC}, its: 0x08000000}}",
    "vpmu_counter_access": "pmu: {irq: 23}",
}
"""Tests of KVM in the source of Linux, each with what its source tells KVM."""

SELFTESTS_ON = "6.12"
"""The kernel whose source has them."""

Programs = tuple[tuple[str, bytes], ...]


@pytest.fixture(scope="session")
def programs(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Return the programs in C with their names: one that uses descriptors in every way, and the
    tests of Linux.
    """
    source = Path(__file__).parent.parent / "programs" / "uses-descriptors.c"
    made = tmp_path_factory.mktemp("c") / "program"
    gcc, ar = program("aarch64-linux-gnu-gcc"), program("aarch64-linux-gnu-ar")
    subprocess.run([gcc, *FLAGS, "-o", made, source], check=True)
    found = {"uses-descriptors": made.read_bytes()}
    kvm = selftests(gcc, ar, tmp_path_factory.mktemp("library"))
    for name in SELFTESTS:
        found[name] = kvm.program(kvm.folder / f"{name}.c", made, "-w")
    return tuple(found.items())


@cache
def recorded(series: str, host: str, programs: Programs) -> dict[str, dict[str, Any]]:
    """Return every record of one boot, by name."""
    samples = [name for name, machine in TRIED.items() if machine == host]
    jobs = [monitors.qemu_job(qemu, name) for qemu, name in variants(series, host)]
    files = {f"/work/{name}": content for name, content in programs}
    for name in samples:
        path = oracle.ROOT / "sample-configs" / f"{name}.yaml"
        files[f"/work/{path.name}"] = path.read_bytes()
        command = ["python3", "-m", "vmcfg", "try", path.name]
        jobs.append({"name": f"try-{name}", "command": command})
    if host == GICV3:
        jobs.append({"name": "descriptors", "command": ["./uses-descriptors"]})
    if host == GICV3 and series == SELFTESTS_ON:
        jobs += [{"name": name, "command": [f"./{name}"]} for name in SELFTESTS]
    oracle.TALLY[series]["programs recorded"] += len(jobs)
    return monitors.records(series, jobs, files, host=host, timeout=600 + 120 * len(jobs))


def answer(series: str, host: str, programs: Programs, name: str) -> str:
    """Return one record."""
    said = recorded(series, host, programs)[name]
    assert "error" not in said, said["error"]
    assert said["exit_code"] == 0, (said["stdout"], said["stderr"])
    assert "vmcfg: " not in said["stderr"]
    text: str = said["record"]
    return text


def read(text: str) -> Record:
    return read_record(text.encode().splitlines(keepends=True), "record.jsonl")


def described(name: str) -> bytes:
    return (oracle.ROOT / "sample-configs" / f"{name}.yaml").read_bytes()


TRIALS = [
    (series, name)
    for series in SERIES
    for name in TRIED
    if oracle.too_new(series, described(name)) is None
]


@pytest.mark.parametrize(("series", "name"), TRIALS)
def test_a_record_of_try_equals_its_plan(series: str, name: str, programs: Programs) -> None:
    data = described(name)
    record = read(answer(series, TRIED[name], programs, f"try-{name}"))
    checked = check(data, f"{name}.yaml", oracle.version(series))
    assert checked.machine is not None
    plan = lower(checked.machine, WHOLE_VM)
    questions = ("get-attr", "get-reg", "has-attr")
    vm = record.chosen_vm()
    calls = [call for call in record.calls_of(vm) if call.op not in questions]
    calls = [call for call in calls if not call.line.get("test")]
    six = ("op", "target", "group", "attr", "type", "value")
    told = [tuple(call.line[key] for key in six) for call in calls]
    assert told == [command.fields() for command in plan.commands]
    assert [call.line["row"] for call in calls] == [command.row.name for command in plan.commands]
    assert compared(machine_side(checked.machine), record_side(record), everything=True) == []


@pytest.mark.parametrize("series", SERIES)
def test_descriptors_that_are_reused_duplicated_and_inherited(
    series: str, programs: Programs
) -> None:
    record = read(answer(series, GICV3, programs, "descriptors"))
    calls = [(call.vm, call.op, call.target) for call in record.calls]
    assert calls == DESCRIPTORS
    # The sixth call is that of a child on the VM of its parent.
    errors = [None, None, None, None, None, "EIO", None, None, None, None]
    assert [call.line["errno"] for call in record.calls] == errors


@pytest.mark.parametrize("name", SELFTESTS)
@pytest.mark.parametrize("series", [SELFTESTS_ON])
def test_a_test_of_linux_tells_kvm_what_import_describes(
    series: str, name: str, programs: Programs
) -> None:
    """They use KVM as no VMM does: many VMs in a row, memory that is removed, no PSCI."""
    record = read(answer(series, GICV3, programs, name))
    written = description_text(draft_of_record(record))
    described = yaml.safe_load(written)
    expected = yaml.safe_load(SELFTESTS[name])
    assert {key: described[key] for key in expected} == expected
    checked = check(written.encode(), f"{name}.yaml")
    assert [each for each in checked.diagnostics if each.severity == "error"] == []
    assert checked.machine is not None
    found = compared(machine_side(checked.machine), record_side(record))
    # A description always has PSCI 0.2.
    assert {each.new.op for each in found if each.new is not None} <= {"init-vcpu"}
    assert [each for each in found if each.new is None] == []
    oracle.NOTES[series].append(f"selftest {name}: {len(record.calls)} calls recorded")


def judge(text: str, series: str, qemu: str, name: str, bless: bool) -> None:
    """Assert that a record has every call and no difference; with `bless`, keep it."""
    record = read(text)
    calls_as_written(record, OPTIONS[name])
    assert differences_from_sample(record, OPTIONS[name]) == []
    oracle.NOTES[series].append(
        f"QEMU {qemu} {name}: {len(record.calls)} calls recorded,"
        f" {record.other_registers} counted, 0 differences"
    )
    if bless:
        path = RECORDS / f"qemu-{qemu}-{name}-linux-{series}.jsonl.xz"
        path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


QEMUS = [
    pytest.param(series, host, qemu, name, id=f"{series}-{qemu}-{name}")
    for series in SERIES
    for host in (GICV3, GICV2)
    for qemu, name in variants(series, host)
]


@pytest.mark.parametrize(("series", "host", "qemu", "name"), QEMUS)
def test_qemu_tells_kvm_what_the_sample_says(
    series: str, host: str, qemu: str, name: str, programs: Programs, bless: bool
) -> None:
    text = answer(series, host, programs, f"qemu-{qemu}-{name}")
    judge(text, series, qemu, name, bless)


if WANTS_ALL:

    @pytest.mark.parametrize("series", ["6.12"])
    @pytest.mark.parametrize("name", LARGE)
    def test_a_large_vm(series: str, name: str, bless: bool) -> None:
        job = monitors.qemu_job("11.1", name)
        said = monitors.records(series, [job], {}, timeout=3500)[job["name"]]
        judge(said["record"], series, "11.1", name, bless)
