"""Descriptions of VMs in records: what a program told KVM, and what cannot be described."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run_vmcfg_as_text
from tests.qemu_calls import marked
from tests.test_diff_records import (
    IRQ,
    QEMU,
    RECORDS,
    Line,
    changed,
    filtered,
    is_call,
    lines_of,
    numbered,
    recorded,
    slot,
    the,
    with_after,
    without,
)
from vmcfg.checking.check import check
from vmcfg.description.draft import Draft, description_text
from vmcfg.monitors.comparison import compared, machine_side, record_side
from vmcfg.monitors.record_draft import draft_of_record

ROOT = Path(__file__).parent.parent


def drafted(lines: list[Line], all_registers: bool = False) -> Draft:
    return draft_of_record(recorded(lines), all_registers)


def rules(draft: Draft) -> set[str]:
    """Return the rules that the description of a draft breaks."""
    checked = check(description_text(draft).encode(), "vm.yaml")
    return {found.rule for found in checked.diagnostics if found.severity == "error"}


@pytest.mark.parametrize("all_registers", [False, True])
@pytest.mark.parametrize("path", marked(RECORDS), ids=lambda path: path.stem)
def test_what_is_imported_does_not_differ_from_the_record(path: Path, all_registers: bool) -> None:
    record = recorded(lines_of(path))
    draft = draft_of_record(record, all_registers)
    checked = check(description_text(draft).encode(), "vm.yaml")
    assert checked.machine is not None
    assert [found.message for found in checked.diagnostics if found.severity == "error"] == []
    assert compared(machine_side(checked.machine), record_side(record)) == []
    assert compared(record_side(record), machine_side(checked.machine)) == []


def test_the_description_of_qemu() -> None:
    draft = drafted(QEMU)
    assert draft.warnings == []
    data = {key: value for key, value in draft.data.items() if value}
    assert data.pop("sve")["vector_lengths"] == [*range(128, 2049, 128)]
    memory = data.pop("memory")
    assert [each.get("readonly", False) for each in memory] == [True, True, False, False]
    assert data == {
        "host_kernel": "7.2",
        "ipa_bits": 40,
        "vcpus": [{"mpidr": "0.0.0.0", "pmu_irq": 23}, {"mpidr": "0.0.0.1", "pmu_irq": 23}],
        "features": ["sve", "ptrauth"],
        "gic": {
            "version": 3,
            "nr_irqs": 288,
            "distributor": 0x8000000,
            "redistributors": [{"base": 0x80A0000, "count": 2}],
            "its": [0x8080000],
        },
        "steal_time": {"base": 0x90A0000},
    }
    assert [note.split(";")[0] for note in draft.notes] == [
        "The program set 69 ID registers and firmware registers",
        "The program enabled 2 capabilities",
    ]


def test_registers_and_capabilities_are_in_it_only_with_all() -> None:
    draft = drafted(QEMU, all_registers=True)
    assert {"name": "KVM_REG_ARM_PSCI_VERSION", "value": 0x10003} in draft.data["registers"]
    assert {"name": "KVM_CAP_ARM_NISV_TO_USER", "args": []} in draft.data["capabilities"]
    # KVM accepts only the value of the host for them.
    assert not any(each["name"] == "MIDR_EL1" for each in draft.data["registers"])


def test_a_filter_a_host_pmu_and_a_timer() -> None:
    lines = filtered([0, 1])
    call = the("set-attr", target="vcpu:0", attr="KVM_ARM_VCPU_PMU_V3_IRQ")
    place = lines.index(call)
    names = {"attr": "KVM_ARM_VCPU_PMU_V3_SET_PMU", "attr_id": "0x3", "row": "pmu.device"}
    lines.insert(place, {**call, **names, "value": "10", "data": "0a000000"})
    draft = drafted(lines)
    assert draft.data["pmu"] == {
        "device": "armv8_pmuv3",
        "filter": [{"action": "deny", "events": "0x11"}, {"action": "allow", "events": "0x12"}],
    }
    lines[place] |= {"value": "8", "data": "08000000"}
    assert drafted(lines).warnings == ["The record does not contain the name of host PMU 8."]


def moved(text: str, id: int, mpidr: str) -> list[Line]:
    """Return the record with another id and MPIDR for vCPU 1."""
    lines = []
    for line in QEMU:
        if line.get("target") == "vcpu:1":
            new = {**line, "target": f"vcpu:{id}", "mpidr": mpidr}
            if line["op"] == "create-vcpu":
                new |= {"value": hex(id), "arg": hex(id)}
            lines.append(new)
        else:
            lines.append(line)
    return lines


def test_ids_are_described_where_they_follow_from_the_mpidrs() -> None:
    assert drafted(moved("", 16, "0.0.1.0")).data["vcpu_ids"] is None
    assert drafted(moved("", 1, "0.0.1.0")).data["vcpu_ids"] == "sequential"
    draft = drafted(moved("", 9, "0.0.1.0"))
    assert draft.warnings == ["The ids of the vCPUs cannot be described: 0, 9."]


IRQ_22: Line = {"value": "22", "data": "16000000"}
PTRAUTH = {"value": "PSCI_0_2,PMU_V3,SVE", "feature_words": ["0x1c"]}
GROUP_7 = {"group": "7", "attr": "0x1", "row": None}
ODD: dict[str, tuple[list[Line], str]] = {
    "features": (
        changed(PTRAUTH, "init-vcpu", target="vcpu:1", vm=1),
        "Only some vCPUs have these features: PTRAUTH_ADDRESS, PTRAUTH_GENERIC.",
    ),
    "unknown bit": (
        changed(
            {"value": "PSCI_0_2,PMU_V3,SVE,bit:30", "feature_words": ["0x4000001c"]},
            "init-vcpu",
            vm=1,
        ),
        "The feature bit:30 cannot be described.",
    ),
    "PSCI": (
        changed({"value": "PMU_V3", "feature_words": ["0x8"]}, "init-vcpu", vm=1),
        "The vCPUs do not have PSCI 0.2, which a description always has.",
    ),
    "PMU without interrupt": (
        without("set-attr", target="vcpu:1", group="KVM_ARM_VCPU_PMU_V3_CTRL"),
        "2 vCPUs have a PMU, but only 1 have a PMU interrupt.",
    ),
    "PMU without INIT": (
        without("set-attr", target="vcpu:1", attr="KVM_ARM_VCPU_PMU_V3_INIT"),
        "The PMU of vCPU 0.0.0.1 has an interrupt, but was never initialized.",
    ),
    "steal time": (
        changed(
            {"value": "0x90a0080", "data": "80000a0900000000"},
            "set-attr",
            target="vcpu:1",
            attr="KVM_ARM_VCPU_PVTIME_IPA",
        ),
        "The addresses of the steal time cannot be described (0.0.0.0: 0x90a0000, 0.0.0.1:"
        " 0x90a0080).",
    ),
    "GIC without INIT": (
        without("set-attr", target="gic", attr="KVM_DEV_ARM_VGIC_CTRL_INIT"),
        "The GIC was never initialized.",
    ),
    "ITS without address": (
        without("set-attr", attr="KVM_VGIC_ITS_ADDR_TYPE"),
        "1 ITSs have no address.",
    ),
    "unknown attribute": (
        with_after({**the("set-attr", **IRQ), **GROUP_7}, "set-attr", **IRQ),
        "set-attr vcpu:1 7 0x1 cannot be described.",
    ),
    "vCPUs in another order": (
        sorted(QEMU[1:-1], key=lambda line: is_call(line, "create-vcpu", target="vcpu:0", vm=1)),
        "The vCPUs were not created in the order of their ids.",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_described_is_a_warning(name: str) -> None:
    lines, warning = ODD[name]
    if lines[0]["op"] != "record":
        lines = [QEMU[0], *lines, QEMU[-1]]
    assert warning in drafted(lines).warnings


def mpidr_of(value: str, data: str) -> dict[str, Any]:
    return {"value": value, "data": data}


def test_what_is_wrong_in_the_vm_is_found() -> None:
    """Every monitor that described vCPU n as MPIDR n, or lost an interrupt, is found this way."""
    assert rules(drafted(changed(IRQ_22, "set-attr", **IRQ))) == {"VMC502"}
    spi = {"value": "40", "data": "28000000"}
    assert rules(drafted(changed(spi, "set-attr", **IRQ))) == {"VMC501"}
    lines = [
        {**line, "mpidr": "0.0.0.16"} if line.get("mpidr") == "0.0.0.1" else line for line in QEMU
    ]
    assert rules(drafted(lines)) == {"VMC308"}
    both = [
        {**line, "mpidr": "0.0.0.0"} if line.get("mpidr") == "0.0.0.1" else line for line in QEMU
    ]
    assert "VMC301" in rules(drafted(both))
    without_pmu = without("set-attr", target="vcpu:1", group="KVM_ARM_VCPU_PMU_V3_CTRL")
    assert rules(drafted(without_pmu)) == {"VMC505"}
    over = slot(7, 0x8000000, 0x10000)
    assert rules(drafted(with_after(over, "add-memory"))) == {"VMC408"}


def test_the_command_imports_a_record(tmp_path: Path) -> None:
    path = tmp_path / "edge.jsonl"
    path.write_bytes(b"".join(numbered(QEMU)[:-1]))

    def vmcfg(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_vmcfg_as_text(arguments)

    done = vmcfg("import", str(path))
    assert done.returncode == 0
    assert "\nname: edge\n" in done.stdout
    assert done.stderr.startswith(f"vmcfg: {path} has no end: the recording was interrupted")
    scratch = vmcfg("import", "--vm", "2", str(path))
    assert "\nvcpus: 1\n" in scratch.stdout
    assert vmcfg("import", "--vm", "9", str(path)).returncode == 3
