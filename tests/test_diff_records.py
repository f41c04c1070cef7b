"""vmcfg diff with records: what counts and what does not, from the record of a real QEMU.

tests/records has what QEMU told real kernels; tests/kvm/test_kernels_record.py records it again.
"""

from __future__ import annotations

import json
import lzma
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.processes import run_vmcfg_as_text
from tests.qemu_calls import marked
from vmcfg.arm.affinity import mpidr_register
from vmcfg.checking.check import check
from vmcfg.files import NoFile
from vmcfg.formats.json_lines import jsonl
from vmcfg.monitors.comparison import (
    Difference,
    Side,
    compared,
    machine_side,
    plan_side,
    record_side,
)
from vmcfg.monitors.record_file import Record, read_record
from vmcfg.plans.lowering import lower
from vmcfg.plans.planfile import read_compared_plan

HERE = Path(__file__).parent
ROOT = HERE.parent
RECORDS = sorted((HERE / "records").glob("*.jsonl.xz"))

SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "record-v1.schema.json").read_text()))
DIFF = Draft202012Validator(json.loads((ROOT / "schemas" / "diff-v1.schema.json").read_text()))

Line = dict[str, Any]


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]


QEMU = lines_of(HERE / "records" / "qemu-10.0-smp-2-linux-7.2.jsonl.xz")
"""QEMU 10.0 -M virt,gic-version=3 -cpu host,pmu=on -smp 2 -m 1024 on Linux 7.2."""

DESCRIBED = """\
vmcfg: 1
name: qemu
ipa_bits: 40
memory:
  - {base: 0x40000000, size: 1GiB}
  - {base: 0x090a0000, size: 64KiB}
vcpus: 2
pmu: {irq: 23}
gic:
  version: 3
  nr_irqs: 288
  distributor: 0x08000000
  redistributors: [{base: 0x080a0000, count: 2}]
  its: 0x08080000
steal_time: 0x090a0000
features: [sve, ptrauth]
"""
"""The same VM."""


def numbered(lines: Iterable[Line]) -> list[bytes]:
    """Return lines as a file, with right numbers."""
    header, *calls, end = lines
    calls = [{**call, "seq": seq} for seq, call in enumerate(calls, 1)]
    written = [header, *calls, {**end, "count": len(calls)}]
    return [f"{json.dumps(line)}\n".encode() for line in written]


def recorded(lines: Iterable[Line]) -> Record:
    return read_record(numbered(lines), "record.jsonl")


def described(text: str = DESCRIBED) -> Side:
    checked = check(text.encode(), "vm.yaml")
    assert checked.machine is not None, checked.diagnostics
    return machine_side(checked.machine)


def differing(
    lines: Iterable[Line], text: str = DESCRIBED, everything: bool = False
) -> list[Difference]:
    """Return what a record has that a description does not have, and vice versa."""
    return compared(described(text), record_side(recorded(lines)), everything)


def said(found: Iterable[Difference]) -> list[str]:
    """Return differences as short lines: the kind, the command, and both values."""
    return [
        f"{each.kind} {each.told.op} {each.told.mpidr or each.told.target} {each.told.attr}"
        f" {each.old and each.old.value} {each.new and each.new.value}"
        for each in found
    ]


def is_call(line: Line, op: str, **wanted: object) -> bool:
    return line["op"] == op and all(line.get(key) == value for key, value in wanted.items())


def without(op: str, **wanted: object) -> list[Line]:
    """Return the record without some calls."""
    left = [line for line in QEMU if not is_call(line, op, **wanted)]
    assert len(left) < len(QEMU)
    return left


def changed(changes: Line, op: str, **wanted: object) -> list[Line]:
    """Return the record with changed calls."""
    lines = [line | changes if is_call(line, op, **wanted) else line for line in QEMU]
    assert lines != QEMU
    return lines


def with_after(call: Line, op: str, **wanted: object) -> list[Line]:
    """Return the record with one more call after the last one that is as wanted."""
    place = max(place for place, line in enumerate(QEMU) if is_call(line, op, **wanted))
    return [*QEMU[: place + 1], call, *QEMU[place + 1 :]]


def the(op: str, **wanted: object) -> Line:
    """Return the first call that is as wanted."""
    return next(line for line in QEMU if is_call(line, op, **wanted))


def slot(number: int, base: int, size: int) -> Line:
    """Return a call that sets a writable slot."""
    value = f"slot={number},base={base:#x},size={size:#x}"
    memory = {"value": value, "slot": number, "base": hex(base), "size": hex(size)}
    return {**the("add-memory", base="0x40000000"), **memory}


IRQ = {"attr": "KVM_ARM_VCPU_PMU_V3_IRQ", "target": "vcpu:1"}
IRQ_22 = {"value": "22", "data": "16000000"}


# No difference ------------------------------------------------------------------------------------


def test_qemu_tells_what_is_described() -> None:
    assert said(differing(QEMU)) == []


LIBKRUN = sorted((HERE / "records").glob("libkrun-*.jsonl.xz"))
"""msb of microsandbox 0.7.11: run --cpus 2 --memory 512M, with a guest that boots."""


@pytest.mark.parametrize("path", LIBKRUN, ids=lambda path: path.stem)
def test_libkrun_tells_what_its_sample_says(path: Path) -> None:
    sample = (ROOT / "sample-configs" / "libkrun.yaml").read_text()
    assert said(differing(lines_of(path), sample)) == []
    other = sample.replace("nr_irqs: 224", "nr_irqs: 256")
    found = said(differing(lines_of(path), other))
    assert found == ["changed set-attr gic 0x0 256 224"]


def test_a_record_does_not_differ_from_itself() -> None:
    side = record_side(recorded(QEMU))
    assert compared(side, side) == []
    assert compared(side, side, everything=True) == []


def test_refused_calls_do_not_count() -> None:
    assert said(differing(changed({**IRQ_22, "errno": "EBUSY"}, "set-attr", **IRQ))) == [
        "removed set-attr 0.0.0.1 KVM_ARM_VCPU_PMU_V3_IRQ 23 None"
    ]
    refused = {**the("set-attr", **IRQ), **IRQ_22, "errno": "EBUSY"}
    assert said(differing(with_after(refused, "set-attr", **IRQ))) == []


def test_repeated_calls_do_not_count_and_the_last_one_decides() -> None:
    again = the("set-attr", **IRQ)
    assert said(differing(with_after(again, "set-attr", **IRQ))) == []
    assert said(differing(with_after({**again, **IRQ_22}, "set-attr", **IRQ))) == [
        "changed set-attr 0.0.0.1 KVM_ARM_VCPU_PMU_V3_IRQ 23 22"
    ]


def test_questions_do_not_count() -> None:
    filtered = {"attr": "KVM_ARM_VCPU_PMU_V3_FILTER", "attr_id": "0x2", "row": "pmu.filter"}
    for op in ("has-attr", "get-attr"):
        asked = {**the("has-attr", **IRQ), **filtered, "op": op}
        assert said(differing(with_after(asked, "set-attr", **IRQ))) == []
    test = {**the("create-device", device_id=8), "target": "its:1", "test": True}
    assert said(differing(with_after(test, "create-device"))) == []


def test_other_vms_do_not_count_except_as_wanted() -> None:
    record = recorded(QEMU)
    assert record.vms() == [1, 2, 3]
    assert record.chosen_vm() == 1
    scratch = compared(described(), record_side(record, 2))
    assert "changed create-vm vm - 0x28 0x34" in said(scratch)
    with pytest.raises(NoFile, match=r"has no VM 4: its VMs are 1, 2, 3"):
        record_side(record, 4)


def test_of_vms_with_equally_many_vcpus_that_with_more_attributes_is_chosen() -> None:
    two = [{**line, "vm": 4} for line in QEMU if line.get("vm") == 1]
    header, *calls, end = QEMU
    poor = [line for line in two if line["op"] != "set-attr"]
    assert recorded([header, *poor, *calls, end]).chosen_vm() == 1
    assert recorded([header, *two, *calls, end]).chosen_vm() == 1
    more = {**the("set-attr", **IRQ), "vm": 4}
    assert recorded([header, *calls, *two, more, end]).chosen_vm() == 4


def test_state_does_not_count() -> None:
    states = [line for line in QEMU if "REGS" in str(line.get("group"))]
    assert len(states) > 100
    pending = {"attr": "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES"}
    assert the("set-attr", **pending)
    side = record_side(recorded(QEMU))
    other = record_side(recorded(without("set-attr", group="KVM_DEV_ARM_VGIC_GRP_DIST_REGS")))
    assert compared(side, other, everything=True) == []
    other = record_side(recorded(without("set-attr", **pending)))
    assert compared(side, other, everything=True) == []


def test_how_vcpus_start_counts_only_with_all() -> None:
    values = {"value": "POWER_OFF,PSCI_0_2,PMU_V3,SVE,PTRAUTH_ADDRESS,PTRAUTH_GENERIC"}
    lines = changed({**values, "feature_words": ["0x7d"]}, "init-vcpu", target="vcpu:1", vm=1)
    lines = [line for line in lines if line["op"] != "set-mp-state"]
    assert said(differing(lines)) == []
    found = compared(record_side(recorded(QEMU)), record_side(recorded(lines)))
    assert said(found) == []
    found = compared(record_side(recorded(QEMU)), record_side(recorded(lines)), everything=True)
    assert {each.told.op for each in found} == {"init-vcpu", "set-mp-state"}


def test_other_ids_of_vcpus_do_not_count() -> None:
    """vCPU 0.0.0.1 has id 5, and its MPIDR is set."""
    lines = []
    for line in QEMU:
        moved = line
        if line.get("target") == "vcpu:1":
            moved = {**line, "target": "vcpu:5"}
            if line["op"] == "create-vcpu":
                moved |= {"value": "0x5", "arg": "0x5", "mpidr": "0.0.0.5"}
        lines.append(moved)
    assert said(differing(lines)) == []


def test_the_numbers_of_slots_do_not_count_and_slots_can_be_split() -> None:
    ram = the("add-memory", base="0x40000000")
    halves = [slot(7, 0x60000000, 0x20000000), slot(9, 0x40000000, 0x20000000)]
    place = QEMU.index(ram)
    assert said(differing([*QEMU[:place], *halves, *QEMU[place + 1 :]])) == []


def test_a_slot_with_steal_time_needs_only_the_steal_time() -> None:
    assert the("add-memory", base="0x90a0000")["size"] == "0x1000"
    text = DESCRIBED.replace("vcpus: 2", "vcpus: 2\nvcpu_ids: sequential")
    assert said(differing(QEMU, text)) == []


def test_the_gic_of_a_vmm_is_open() -> None:
    without_gic = DESCRIBED[: DESCRIBED.index("gic:")] + DESCRIBED[DESCRIBED.index("steal_time") :]
    assert said(differing(QEMU, without_gic)) == []
    by_monitor = without_gic + "gic: {version: 3, set_up_by: monitor, nr_irqs: 288}\n"
    assert said(differing(QEMU, by_monitor)) == []
    assert said(differing(QEMU, by_monitor.replace("288", "256"))) == [
        "changed set-attr gic 0x0 256 288"
    ]


def test_what_is_not_written_is_open() -> None:
    text = DESCRIBED.replace("ipa_bits: 40\n", "").replace("features: [sve, ptrauth]\n", "")
    text = text.replace("  nr_irqs: 288\n", "")
    start, end = text.index("memory:"), text.index("vcpus:")
    lines = changed({"value": "0x30", "arg": "0x30"}, "create-vm", vm=1)
    assert said(differing(lines, text)) == []
    assert said(differing(lines)) == ["changed create-vm vm - 0x28 0x30"]
    without_memory = text[:start] + text[end:].replace("steal_time: 0x090a0000\n", "")
    found = said(differing(QEMU, without_memory))
    assert [each.split()[3] for each in found] == ["KVM_ARM_VCPU_PVTIME_IPA"] * 2
    words = {each.split()[1] for each in said(differing(QEMU, text, everything=True))}
    assert words == {"enable-cap", "add-memory", "init-vcpu", "set-reg", "finalize-vcpu"} | {
        "set-attr",
        "set-mp-state",
    }


def test_zero_address_bits_are_40() -> None:
    assert said(differing(changed({"value": "0x0", "arg": "0x0"}, "create-vm", vm=1))) == []


# Differences --------------------------------------------------------------------------------------


def test_a_value_that_differs() -> None:
    assert said(differing(QEMU, DESCRIBED.replace("288", "256"))) == [
        "changed set-attr gic 0x0 256 288"
    ]


def test_what_a_description_does_not_have_differs() -> None:
    without_steal_time = DESCRIBED.replace("steal_time: 0x090a0000\n", "")
    without_steal_time = without_steal_time.replace("  - {base: 0x090a0000, size: 64KiB}\n", "")
    assert said(differing(QEMU, without_steal_time)) == [
        "added set-attr 0.0.0.0 KVM_ARM_VCPU_PVTIME_IPA None 0x90a0000",
        "added set-attr 0.0.0.1 KVM_ARM_VCPU_PVTIME_IPA None 0x90a0040",
    ]
    without_pmu = DESCRIBED.replace("pmu: {irq: 23}\n", "")
    kinds = [each.split()[:3] for each in said(differing(QEMU, without_pmu))]
    assert kinds == [
        ["changed", "init-vcpu", "0.0.0.0"],
        ["changed", "init-vcpu", "0.0.0.1"],
        *([["added", "set-attr", "0.0.0.0"], ["added", "set-attr", "0.0.0.1"]] * 2),
    ]
    without_its = DESCRIBED.replace("  its: 0x08080000\n", "")
    assert [each.split()[:3] for each in said(differing(QEMU, without_its))] == [
        ["added", "create-device", "its:0"],
        ["added", "set-attr", "its:0"],
        ["added", "set-attr", "its:0"],
    ]
    timer = {
        **the("set-attr", target="vcpu:0", attr="KVM_ARM_VCPU_PMU_V3_IRQ"),
        "group": "KVM_ARM_VCPU_TIMER_CTRL",
        "attr": "KVM_ARM_VCPU_TIMER_IRQ_VTIMER",
        "row": "timer.virtual",
        "group_id": 1,
        "value": "27",
        "data": "1b000000",
    }
    timed = with_after(timer, "set-attr", **IRQ)
    assert said(differing(timed)) == [
        "added set-attr 0.0.0.0 KVM_ARM_VCPU_TIMER_IRQ_VTIMER None 27"
    ]


def test_what_a_record_does_not_have_differs() -> None:
    assert said(differing(QEMU, DESCRIBED + "timers: {virtual: 28}\n")) == [
        "removed set-attr 0.0.0.0 KVM_ARM_VCPU_TIMER_IRQ_VTIMER 28 None"
    ]
    assert said(differing(QEMU, DESCRIBED.replace("[sve, ptrauth]", "[sve, ptrauth, mte]"))) == [
        "removed enable-cap vm KVM_CAP_ARM_MTE - None"
    ]
    capability = "capabilities: [{name: KVM_CAP_HALT_POLL, args: [0x1]}]\n"
    assert said(differing(QEMU, DESCRIBED + capability)) == [
        "removed enable-cap vm KVM_CAP_HALT_POLL 0x1 None"
    ]
    written = "capabilities: [{name: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, args: [0x1]}]\n"
    assert said(differing(QEMU, DESCRIBED + written)) == [
        "changed enable-cap vm KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 0x1 0x3"
    ]


def test_registers_are_compared_once_per_vm_if_they_are_written() -> None:
    psci = "registers: [{name: KVM_REG_ARM_PSCI_VERSION, value: 0x10003}]\n"
    text = f'host_kernel: "7.2"\n{DESCRIBED}{psci}'
    assert said(differing(QEMU, text)) == []
    assert said(differing(QEMU, text.replace("0x10003", "0x10002"))) == [
        "changed set-reg 0.0.0.1 KVM_REG_ARM_PSCI_VERSION 0x10002 0x10003"
    ]


def test_a_vcpu_more_or_less_differs() -> None:
    found = said(differing(QEMU, DESCRIBED.replace("vcpus: 2", "vcpus: 1")))
    assert "added create-vcpu 0.0.0.1 - None 0x1" in found
    found = said(differing([line for line in QEMU if line.get("target") != "vcpu:1"]))
    assert "removed create-vcpu 0.0.0.1 - 0x1 None" in found


def test_an_mpidr_that_differs_is_another_vcpu() -> None:
    register = hex(mpidr_register(0x105))
    lines = [
        {**line, "mpidr": "0.0.1.5"} if line.get("mpidr") == "0.0.0.1" else line for line in QEMU
    ]
    lines = [
        {**line, "value": register, "data": "0501008000000000"}
        if is_call(line, "set-reg", attr="MPIDR_EL1", mpidr="0.0.1.5")
        else line
        for line in lines
    ]
    found = said(differing(lines))
    assert "removed create-vcpu 0.0.0.1 - 0x1 None" in found
    assert "added create-vcpu 0.0.1.5 - None 0x1" in found
    assert not any("MPIDR_EL1" in each for each in found)


def test_memory_is_compared_by_address() -> None:
    assert said(differing(QEMU, DESCRIBED.replace("1GiB", "2GiB"))) == [
        "changed add-memory vm - slot=0,base=0x40000000,size=0x80000000"
        " slot=2,base=0x40000000,size=0x40000000"
    ]
    text = DESCRIBED.replace("memory:\n", "memory:\n  - {base: 0x80000000, size: 1GiB}\n")
    assert said(differing(QEMU, text)) == [
        "removed add-memory vm - slot=0,base=0x80000000,size=0x40000000 None"
    ]
    flash = "memory:\n  - {base: 0x0, size: 64MiB, readonly: true}\n"
    assert said(differing(QEMU, DESCRIBED.replace("memory:\n", flash))) == []
    found = said(differing(QEMU, DESCRIBED.replace("memory:\n", flash.replace("true", "false"))))
    assert [each.split()[:2] for each in found] == [["changed", "add-memory"]]


def test_a_slot_that_is_gone_at_the_end_does_not_count() -> None:
    gone = slot(2, 0x40000000, 0)
    assert said(differing(with_after(gone, "add-memory"))) == [
        "removed add-memory vm - slot=0,base=0x40000000,size=0x40000000 None"
    ]
    moved = slot(30, 0x40000000, 0x40000000)
    lines = with_after(gone, "add-memory")
    place = lines.index(gone)
    assert said(differing([*lines[: place + 1], moved, *lines[place + 1 :]])) == []


def test_slots_that_are_removed_when_the_vm_ends_count() -> None:
    """Programs that remove every slot at their end, such as the tests of KVM in Linux."""
    *lines, end = QEMU
    slots = [line for line in lines if is_call(line, "add-memory")]
    numbers = {line["slot"]: line for line in slots}
    removals = [slot(number, int(line["base"], 16), 0) for number, line in numbers.items()]
    assert said(differing([*lines, *removals, end])) == []
    # The VM goes on without memory.
    after = [*lines, *removals, the("set-attr"), end]
    assert "removed add-memory" in " ".join(said(differing(after)))
    assert "removed add-memory" in " ".join(said(differing([*lines, *removals[1:], end])))


def test_redistributors_are_compared_by_where_each_is() -> None:
    one_address = DESCRIBED.replace("[{base: 0x080a0000, count: 2}]", "0x080a0000")
    assert said(differing(QEMU, one_address)) == []
    wide = DESCRIBED.replace("count: 2}", "count: 123}")
    assert said(differing(QEMU, wide)) == []
    moved = DESCRIBED.replace("0x080a0000, count: 2", "0x080c0000, count: 2")
    assert [each.split()[:4] for each in said(differing(QEMU, moved))] == [
        ["changed", "set-attr", "gic", "KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION"]
    ]
    created = [line for line in QEMU if is_call(line, "create-vcpu", vm=1)]
    others = [line for line in QEMU if line not in created]
    place = others.index(the("create-vm", vm=1)) + 1
    lines = [*others[:place], *reversed(created), *others[place:]]
    (found,) = differing(lines)
    assert found.why is not None
    assert "another order" in found.why


FILTERS = (
    ("0x11", "base_event=0x11,nevents=1,action=1", "1100010001000000"),
    ("0x12", "base_event=0x12,nevents=1,action=0", "1200010000000000"),
)


def filtered(order: Iterable[int], targets: Iterable[str] = ("vcpu:0",)) -> list[Line]:
    """Return the record with entries of a filter, sent through these vCPUs."""
    lines = list(QEMU)
    place = lines.index(the("has-attr", target="vcpu:0", attr="KVM_ARM_VCPU_PMU_V3_IRQ"))
    for target in targets:
        for entry in order:
            _, value, data = FILTERS[entry]
            call = the("set-attr", target=target, attr="KVM_ARM_VCPU_PMU_V3_IRQ")
            names = {"attr": "KVM_ARM_VCPU_PMU_V3_FILTER", "attr_id": "0x2", "row": "pmu.filter"}
            values = {"type": "kvm_pmu_event_filter", "value": value, "data": data}
            lines.insert(place, {**call, **names, **values})
            place += 1
    return lines


def test_pmu_filters_are_compared_in_order() -> None:
    entries = "[{action: deny, events: 0x11}, {action: allow, events: 0x12}]"
    text = DESCRIBED.replace("{irq: 23}", f"{{irq: 23, filter: {entries}}}")
    assert said(differing(filtered([0, 1]), text)) == []
    assert said(differing(filtered([0, 1], ("vcpu:0", "vcpu:1")), text)) == []
    assert [each.split()[0] for each in said(differing(filtered([1, 0]), text))] == ["changed"] * 2
    assert [each.split()[0] for each in said(differing(filtered([0]), text))] == ["removed"]
    assert [each.split()[0] for each in said(differing(filtered([0, 1])))] == ["added"] * 2


def test_a_host_pmu_is_compared_by_name() -> None:
    call = the("set-attr", target="vcpu:0", attr="KVM_ARM_VCPU_PMU_V3_IRQ")
    names = {"attr": "KVM_ARM_VCPU_PMU_V3_SET_PMU", "attr_id": "0x3", "row": "pmu.device"}
    pmu = {**call, **names, "value": "10", "data": "0a000000"}
    lines = list(QEMU)
    lines.insert(lines.index(call), pmu)
    text = DESCRIBED.replace("{irq: 23}", "{irq: 23, device: armv8_pmuv3}")
    assert said(differing(lines, text)) == []
    assert said(differing(lines, text.replace("armv8_pmuv3", "armv8_pmuv3_0"))) == [
        "changed set-attr 0.0.0.0 KVM_ARM_VCPU_PMU_V3_SET_PMU pmu:armv8_pmuv3_0 10"
    ]


def timer_before_second_vcpu() -> list[Line]:
    """Return the record with the PPI of a timer set before the second vCPU exists."""
    call = the("set-attr", target="vcpu:0", attr="KVM_ARM_VCPU_PMU_V3_IRQ")
    names = {
        "group": "KVM_ARM_VCPU_TIMER_CTRL",
        "attr": "KVM_ARM_VCPU_TIMER_IRQ_VTIMER",
        "row": "timer.virtual",
        "group_id": 1,
    }
    timer = {**call, **names, "value": "28", "data": "1c000000"}
    place = QEMU.index(the("create-vcpu", target="vcpu:1"))
    return [*QEMU[:place], timer, *QEMU[place:]]


def test_order_counts_only_where_kvm_requires_it() -> None:
    """QEMU sets the distributor after the redistributors, which is a choice."""
    text = DESCRIBED + "timers: {virtual: 28}\n"
    found = differing(timer_before_second_vcpu(), text)
    assert [(each.kind, each.told.op, each.told.mpidr) for each in found] == [
        ("reordered", "create-vcpu", "0.0.0.1"),
        ("reordered", "create-device", None),
    ]
    assert found[0].why == "Linux 6.1 sets the PPI of a timer only on the vCPUs that already exist"
    same = record_side(recorded(timer_before_second_vcpu()))
    assert compared(same, same) == []


def test_what_could_not_be_read_differs() -> None:
    lines = changed({"value": None, "data": None, "why": "no memory"}, "set-attr", **IRQ)
    assert said(differing(lines)) == ["changed set-attr 0.0.0.1 KVM_ARM_VCPU_PMU_V3_IRQ 23 null"]


def test_what_vmcfg_does_not_know_differs() -> None:
    unknown = {**the("set-attr", **IRQ), "group": "7", "attr": "0x1", "row": None}
    assert said(differing(with_after(unknown, "set-attr", **IRQ))) == [
        "added set-attr 0.0.0.1 0x1 None 23"
    ]
    made = {**the("create-device", target="its:0"), "target": "device:0", "row": None}
    old, new = (
        {**made, "attr": str(number), "value": str(number), "device_id": number}
        for number in (4, 9)
    )
    found = compared(
        record_side(recorded(with_after(old, "create-device", target="its:0"))),
        record_side(recorded(with_after(new, "create-device", target="its:0"))),
    )
    assert said(found) == ["changed create-device device:0 9 4 9"]


def test_itss_are_compared_by_address() -> None:
    first = [line for line in QEMU if line.get("target") == "its:0" and line["op"] != "has-attr"]
    second = [{**line, "target": "its:1"} for line in first]
    swapped = [
        {**line, "value": "0x8060000", "data": "0000060800000000"}
        if line["attr"] == "KVM_VGIC_ITS_ADDR_TYPE"
        else line
        for line in second
    ]
    place = QEMU.index(first[-1])
    lines = [*QEMU[: place + 1], *swapped, *QEMU[place + 1 :]]
    text = DESCRIBED.replace("its: 0x08080000", "its: [0x08060000, 0x08080000]")
    assert said(differing(lines, text)) == []
    assert said(differing(lines, text.replace("0x08060000", "0x08040000"))) == [
        "changed set-attr its:1 KVM_VGIC_ITS_ADDR_TYPE 0x8040000 0x8060000"
    ]


# Plans --------------------------------------------------------------------------------------------


def plan_of(scope: str, api: str = "vcpu") -> Side:
    checked = check(DESCRIBED.encode(), "vm.yaml")
    assert checked.machine is not None
    plan = lower(checked.machine, scope, api=api)  # type: ignore[arg-type]
    lines = jsonl(plan, checked.tree).encode().splitlines(keepends=True)
    return plan_side(read_compared_plan(lines, "plan.jsonl"))


@pytest.mark.parametrize("scope", ["attributes", "vm"])
def test_a_plan_is_compared_in_its_own_scope(scope: str) -> None:
    record = recorded(QEMU)
    assert said(compared(plan_of(scope), record_side(record))) == []
    assert said(compared(record_side(record), plan_of(scope))) == []
    lines = changed(IRQ_22, "set-attr", **IRQ)
    assert said(compared(plan_of(scope), record_side(recorded(lines)))) == [
        "changed set-attr 0.0.0.1 KVM_ARM_VCPU_PMU_V3_IRQ 23 22"
    ]


# The command --------------------------------------------------------------------------------------

Vmcfg = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def vmcfg(tmp_path: Path) -> Vmcfg:
    """Return a function that runs vmcfg in its own directory."""
    (tmp_path / "record.jsonl").write_bytes(b"".join(numbered(QEMU)))
    (tmp_path / "vm.yaml").write_text(DESCRIBED)

    def run(*arguments: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
        return run_vmcfg_as_text(arguments, cwd=tmp_path, input=standard_input)

    return run


def test_one_changed_value_is_shown_with_both_places(vmcfg: Vmcfg) -> None:
    done = vmcfg("diff", "vm.yaml", "record.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = DESCRIBED.replace("nr_irqs: 288", "nr_irqs: 256")
    done = vmcfg("diff", "-", "record.jsonl", standard_input=text)
    place = recorded(QEMU).calls.index(
        next(call for call in recorded(QEMU).calls if is_call(call.line, "set-attr", value="288"))
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "changed: set-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 256 -> 288"
        f" (<stdin>:11:12, record.jsonl:{place + 2})\n"
    )
    told = vmcfg("diff", "--format", "json", "-", "record.jsonl", standard_input=text)
    report = json.loads(told.stdout)
    DIFF.validate(report)
    assert report["old"] == {"file": "<stdin>", "kind": "description", "vm": "qemu"}
    assert report["new"] == {"file": "record.jsonl", "kind": "record", "vm": None}
    (difference,) = report["differences"]
    assert difference["new"] == {"seq": place + 1, "value": "288", "line": place + 2}


def test_a_broken_order_is_said_with_its_reason(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").write_bytes(b"".join(numbered(timer_before_second_vcpu())))
    (tmp_path / "vm.yaml").write_text(DESCRIBED + "timers: {virtual: 28}\n")
    done = vmcfg("diff", "vm.yaml", "record.jsonl")
    assert done.returncode == 1
    first = done.stdout.splitlines()[0]
    assert first.startswith("reordered: create-vcpu vcpu:1 - - u64 0x1 (vCPU 0.0.0.1, Linux 6.1")
    report = json.loads(vmcfg("diff", "--format", "json", "vm.yaml", "record.jsonl").stdout)
    DIFF.validate(report)
    assert report["differences"][0]["why"].startswith("Linux 6.1 sets the PPI of a timer only")


def test_a_record_without_an_end_is_accepted_which_is_said(vmcfg: Vmcfg, tmp_path: Path) -> None:
    whole = numbered(QEMU)
    (tmp_path / "record.jsonl").write_bytes(b"".join(whole[:-1]) + whole[5][:40])
    done = vmcfg("diff", "vm.yaml", "record.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "vmcfg: record.jsonl has no end: the recording was interrupted, and later calls might be"
        " missing\n"
    )


def test_what_cannot_be_compared_is_3(vmcfg: Vmcfg, tmp_path: Path) -> None:
    header, *_, end = numbered(QEMU)
    empty = end.replace(b'"count": 1672', b'"count": 0')
    (tmp_path / "empty.jsonl").write_bytes(header + empty)
    done = vmcfg("diff", "vm.yaml", "empty.jsonl")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vmcfg: empty.jsonl contains no VM: the program created none\n"
    assert vmcfg("diff", "--vm", "9", "vm.yaml", "record.jsonl").returncode == 3
    assert vmcfg("diff", "--vm", "1", "vm.yaml", "vm.yaml").returncode == 2
    assert vmcfg("diff", "--all", "vm.yaml", "vm.yaml").returncode == 2
    plans = {
        "get": ["--get"],
        "phase": ["--phase", "create"],
        "device": ["--api", "pmu-device"],
        "attributes": [],
        "vm": ["--scope", "vm"],
    }
    for name, options in plans.items():
        argv = ["emit", "--format", "jsonl", *options, "vm.yaml", "-o", f"{name}.jsonl"]
        assert vmcfg(*argv).returncode == 0
    for name in ("get", "phase", "device"):
        done = vmcfg("diff", f"{name}.jsonl", "record.jsonl")
        assert (done.returncode, done.stdout) == (3, ""), name
        assert done.stderr.count("\n") == 1
    assert vmcfg("diff", "vm.jsonl", "attributes.jsonl").returncode == 3
    for name in ("attributes", "vm", "device"):
        assert vmcfg("diff", f"{name}.jsonl", "vm.yaml").returncode == 0
        assert vmcfg("diff", f"{name}.jsonl", f"{name}.jsonl").returncode == 0
    done = vmcfg("diff", "vm.jsonl", "-", standard_input=DESCRIBED.replace("23", "22"))
    assert done.returncode == 1
    assert "23 -> 22 (vCPU 0.0.0.0, vm.jsonl:" in done.stdout


def test_host_files_are_compared(vmcfg: Vmcfg, tmp_path: Path) -> None:
    hosts = sorted((HERE / "hosts").glob("*.json"))
    (tmp_path / "a.json").write_bytes(hosts[0].read_bytes())
    host = json.loads(hosts[0].read_bytes())
    host["kernel"] = "9.9.9"
    (tmp_path / "b.json").write_text(json.dumps(host))
    assert vmcfg("diff", "a.json", "a.json").returncode == 0
    done = vmcfg("diff", "a.json", "b.json")
    assert done.returncode == 1
    assert done.stdout.startswith("kernel version: was ")
    report = json.loads(vmcfg("diff", "--format", "json", "a.json", "b.json").stdout)
    DIFF.validate(report)
    assert report["differences"][0]["new"] == "9.9.9"
    assert vmcfg("diff", "a.json", "vm.yaml").returncode == 3


# Records ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", marked(RECORDS), ids=lambda path: path.stem)
def test_records_are_as_their_schema_says(path: Path) -> None:
    lines = lines_of(path)
    kinds = {
        json.dumps([line["op"], line.get("group"), line.get("type"), line.get("errno")]): line
        for line in lines
    }
    assert [line for line in kinds.values() if not SCHEMA.is_valid(line)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"vm": 0},
        {"thread": None},
        {"row": "pmu"},
        {"target": "cpu:0"},
        {"request": 1},
        {"attr_id": 0},
        {"origin": {}},
        {"op": "set-mp-state"},
    ],
    ids=repr,
)
def test_the_schema_refuses(changes: Line) -> None:
    line = the("set-attr", **IRQ)
    SCHEMA.validate(line)
    assert not SCHEMA.is_valid({**line, **changes})


NULLABLE = ("target", "value", "row", "vm", "errno")
ODD_VALUES: list[object] = [None, 1.5, [], {}, True]
WRONG = [
    (key, value)
    for key in ("op", "seq", "target", "value", "row", "vm", "thread", "errno")
    for value in ODD_VALUES
    if value is not None or key not in NULLABLE
]


def refusal(lines: Iterable[bytes]) -> str:
    """Return why a file is not read as a record; empty if it is."""
    try:
        read_record(lines, "record.jsonl")
    except NoFile as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_line_is_a_sentence(key: str, value: object) -> None:
    line = {**the("set-attr", **IRQ), "seq": 1}
    text = [f"{json.dumps(each)}\n".encode() for each in (QEMU[0], {**line, key: value})]
    assert refusal(text) == f"record.jsonl, line 2: '{key}' is missing or invalid"


NO_VALUE = "the value of set-attr is missing or invalid"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "1"}, NO_VALUE),
        ({"data": 5}, NO_VALUE),
        ({"data": ""}, "'value' is 23, which conflicts with the rest of the line: 0"),
        ({"value": "24"}, "'value' is 24, which conflicts with the rest of the line: 23"),
        ({"row": "x"}, "unknown row 'x'"),
        ({"target": "cpu:0"}, "'target' is invalid: cpu:0"),
        ({"mpidr": "0.0.0"}, "'mpidr' must be a dotted MPIDR, such as 0.0.0.0"),
        ({"mpidr": 0}, "'mpidr' must be a dotted MPIDR, such as 0.0.0.0"),
        ({"seq": 2}, "'seq' must be 1, not 2: a line is missing or was moved"),
    ],
    ids=repr,
)
def test_a_wrong_value_is_a_sentence(changes: Line, words: str) -> None:
    line = {**the("set-attr", **IRQ), "seq": 1, **changes}
    text = [f"{json.dumps(each)}\n".encode() for each in (QEMU[0], line)]
    assert refusal(text) == f"record.jsonl, line 2: {words}"


NO_HEADER = 'a record must begin with a header: {"op":"record","format":"vmcfg.record", ...}'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"op": "plan"}, NO_HEADER),
        ({"format": "vmcfg.plan"}, NO_HEADER),
        ({"format_version": "2.0"}, "'format_version' must be 1.x, not 2.0"),
        ({"command": "qemu"}, "'command' must be a list of texts"),
        ({"command": [1]}, "'command' must be a list of texts"),
        ({"pmus": {}}, "'pmus' must be a list of PMUs with 'name' and 'type'"),
        ({"pmus": [{"name": "pmu"}]}, "'pmus' must be a list of PMUs with 'name' and 'type'"),
        ({"pmus": [{"type": 8}]}, "'pmus' must be a list of PMUs with 'name' and 'type'"),
        ({"kernel": None}, "'kernel' must be the version of a kernel, such as 6.12.107"),
        ({"kernel": "six"}, "'kernel' must be the version of a kernel, such as 6.12.107"),
    ],
    ids=repr,
)
def test_a_wrong_header_is_a_sentence(changes: Line, words: str) -> None:
    header = json.dumps({**QEMU[0], **changes})
    assert refusal([f"{header}\n".encode()]) == f"record.jsonl, line 1: {words}"


NO_OBJECT = "record.jsonl, line 1: this is not a JSON object"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "record.jsonl is empty: it is not a record"),
        (b"[]\n", NO_OBJECT),
        (b"{}\n", f"record.jsonl, line 1: {NO_HEADER}"),
        (b"\xff\n", NO_OBJECT),
        (b"[" * 100000 + b"\n", NO_OBJECT),
    ],
    ids=["nothing", "list", "object", "bytes", "deep"],
)
def test_what_is_no_record_is_a_sentence(text: bytes, words: str) -> None:
    assert refusal(text.splitlines(keepends=True)) == words


def test_a_line_after_the_end_or_a_missing_one_is_a_sentence() -> None:
    whole = numbered(QEMU)
    assert refusal([*whole, whole[-1]]) == (
        f"record.jsonl, line {len(whole) + 1}: the record has ended at the line before"
    )
    assert refusal([*whole[:5], *whole[6:]]) == (
        "record.jsonl, line 6: 'seq' must be 5, not 6: a line is missing or was moved"
    )
    assert refusal([*whole[:5], whole[-1]]) == (
        f"record.jsonl, line 6: 'count' is {len(whole) - 2}, but the record has 4 calls"
    )
    end = json.dumps({**QEMU[-1], "other_registers": None})
    assert refusal([*whole[:-1], f"{end}\n".encode()]) == (
        f"record.jsonl, line {len(whole)}: 'other_registers' must be a number"
    )


# Defaults of KVM ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "differs"),
    [
        ("timers: {virtual: 27, physical: ppi:14}", False),
        ("timers: {virtual: 20}", True),
        ("timers: {physical: 27, virtual: 30}", True),
    ],
)
def test_a_default_of_kvm_need_not_be_set(key: str, differs: bool) -> None:
    assert bool(differing(QEMU, f"{DESCRIBED}{key}\n")) == differs
