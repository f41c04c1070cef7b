"""Records of real QEMUs on real kernels: complete, call by call, and as the samples say.

`compared_with_trace` and `differences_from_sample` also judge new records in tests/kvm.
"""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest

from tests.qemu_calls import OPTIONS, Line, Options, condensed, expected, marked
from vmcfg.checking.check import check
from vmcfg.monitors.comparison import Difference, compared, machine_side, record_side
from vmcfg.monitors.record_file import Record, read_record

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "sample-configs"
RECORDS = sorted((HERE / "records").glob("qemu-*.jsonl.xz"))


def options_of(name: str) -> Options:
    """Return the options of a record: ``qemu-11.1-pmu-off-linux-6.12``."""
    matched = re.fullmatch(r"qemu-[0-9.]+-(.+)-linux-[0-9.]+", name)
    assert matched is not None
    return OPTIONS[matched[1]]


def calls_as_written(record: Record, options: Options) -> None:
    """Assert that a record contains every call that sets up the VM, in order."""
    vm = record.chosen_vm()
    lines: list[Line] = [call.line for call in record.calls]
    assert condensed(lines, vm) == expected(options)


def sample_of(options: Options) -> str:
    """Return the description of what these options of QEMU create, from the samples."""
    sample = "qemu-virt-130.yaml" if options.vcpus == 130 else "qemu-virt.yaml"
    text = (SAMPLES / sample).read_text()
    if options.vcpus == 1:
        text = text.replace("vcpus: 2", "vcpus: 1").replace("count: 2", "count: 1")
    if not options.has_pmu:
        text = text.replace("pmu:\n  irq: 23", "x-pmu:\n  irq: 23")
    if not options.has_its:
        text = re.sub(r"  its: .*\n", "", text)
    if not options.has_steal_time:
        text = re.sub(r"steal_time:\n.*\n|  - \{base: 0x090a0000.*\n", "", text)
    if options.gic == 2:
        text = re.sub(r"  redistributors: .*\n.*\n", "  cpu_interface: 0x08010000\n", text)
        text = text.replace("version: 3", "version: 2")
    return text


def differences_from_sample(record: Record, options: Options) -> list[Difference]:
    """Return the differences between a record and the description of its options."""
    checked = check(sample_of(options).encode(), "sample.yaml")
    assert checked.machine is not None, checked.diagnostics
    return compared(machine_side(checked.machine), record_side(record))


def kept(path: Path) -> Record:
    return read_record(lzma.decompress(path.read_bytes()).splitlines(keepends=True), path.name)


@pytest.mark.parametrize("path", marked(RECORDS), ids=lambda path: path.name.partition(".jsonl")[0])
def test_a_record_has_every_call_and_no_difference(path: Path) -> None:
    options = options_of(path.name.partition(".jsonl")[0])
    record = kept(path)
    assert record.is_complete
    calls_as_written(record, options)
    assert differences_from_sample(record, options) == []


@pytest.mark.slow
def test_a_record_of_130_vcpus_has_every_call_and_no_difference() -> None:
    """It is that of an emitted command line, which has the same options."""
    (path,) = (HERE / "qemu" / "records").glob("one-hundred-and-thirty-*.jsonl.xz")
    record = kept(path)
    calls_as_written(record, OPTIONS["smp-130"])
    assert differences_from_sample(record, OPTIONS["smp-130"]) == []
    assert differences_from_sample(record, OPTIONS["smp-130"]._replace(vcpus=129)) != []


def test_the_unchanged_sample_is_what_qemu_creates() -> None:
    assert sample_of(OPTIONS["smp-2"]) == (SAMPLES / "qemu-virt.yaml").read_text()
    assert sample_of(OPTIONS["smp-130"]) == (SAMPLES / "qemu-virt-130.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("first", [path for path in RECORDS if "smp-2" in path.name], ids=str)
def test_the_same_vm_on_other_kernels_and_of_other_qemus_is_the_same(first: Path) -> None:
    """Only ID registers, which are those of the host, and capabilities of scratch VMs differ."""
    others = [path for path in RECORDS if "smp-2" in path.name]
    for other in others:
        found = compared(record_side(kept(first)), record_side(kept(other)))
        assert {each.told.op for each in found} <= {"set-reg"}, other.name
