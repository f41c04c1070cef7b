"""`--host`: descriptions checked for other hosts, with the files that `vmcfg probe` wrote there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.processes import run_vmcfg_as_text
from vmcfg.plans.apis import VCPU
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules.hosts import RULES

ROOT = Path(__file__).parent.parent
HOST_SCHEMA = Draft202012Validator(
    json.loads((ROOT / "schemas" / "host-v1.schema.json").read_text())
)
SCHEMA = Draft202012Validator(
    json.loads((ROOT / "schemas" / "diagnostics-v1.schema.json").read_text())
)
Vmcfg = Callable[..., "subprocess.CompletedProcess[str]"]

ATTRIBUTES = [
    {"target": row.target, "group": row.attr.group, "attr": row.attr.name, "has": True}
    for row in SEQUENCE
    if row.attr is not None and VCPU in row.apis
]
HOST: dict[str, Any] = {
    **json.loads((ROOT / "tests" / "hosts" / "has-everything.json").read_text()),
    "attributes": ATTRIBUTES,
}
"""A host whose kernel has every attribute of the sequence of commands."""
BIG_LITTLE = [
    {"name": "armv8_cortex_a72", "type": 10, "cpus": "4-5"},
    {"name": "armv8_cortex_a53", "type": 9, "cpus": "0-3"},
]
FULL = (ROOT / "sample-configs" / "full.yaml").read_text()


def host(**changes: Any) -> dict[str, Any]:
    capabilities = {**HOST["capabilities"], **changes.pop("capabilities", {})}
    return {**HOST, "capabilities": capabilities, **changes}


def lacking(name: str) -> list[dict[str, Any]]:
    return [{**each, "has": each["attr"] != name} for each in ATTRIBUTES]


def register(name: str, value: int, writable: int | None = (1 << 64) - 1) -> dict[str, Any]:
    mask = None if writable is None else hex(writable)
    return {"name": name, "value": hex(value), "writable": mask}


@pytest.fixture
def vmcfg(tmp_path: Path) -> Vmcfg:
    def run(
        *arguments: str, text: str, **hosts: dict[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        for name, each in hosts.items():
            HOST_SCHEMA.validate(each)
            (tmp_path / f"{name}.json").write_text(json.dumps(each))
        (tmp_path / "vm.yaml").write_text(text)
        return run_vmcfg_as_text(arguments, cwd=tmp_path)

    return run


def found(vmcfg: Vmcfg, text: str, *options: str, **hosts: dict[str, Any]) -> list[dict[str, Any]]:
    named = [word for name in hosts for word in ("--host", f"{name}.json")]
    report = json.loads(
        vmcfg(
            "validate", "--format", "json", *named, *options, "vm.yaml", text=text, **hosts
        ).stdout
    )
    SCHEMA.validate(report)
    diagnostics: list[dict[str, Any]] = report["diagnostics"]
    return diagnostics


def test_a_host_that_has_everything_takes_everything(vmcfg: Vmcfg) -> None:
    assert found(vmcfg, FULL, a=HOST) == []


BASE = "vmcfg: 1\nname: vm\nvcpus: 2\npmu: {irq: 23}\n"
SMALL_PAGES = "memory: [{base: 0x40001000, size: 1GiB}]\n"
FULL_PMU = BASE.replace("23", "23, device: armv8_pmuv3")
WITHOUT_GIC = [{**each, "has": each["target"] not in ("gic", "its")} for each in ATTRIBUTES]
GICV2 = BASE + "gic: {version: 2, set_up_by: monitor}\n"


@pytest.mark.parametrize(
    ("rule", "pointer", "text", "changes"),
    [
        ("VMC711", "/pmu/filter/0", FULL, {"attributes": lacking("KVM_ARM_VCPU_PMU_V3_FILTER")}),
        ("VMC712", "/ipa_bits", BASE + "ipa_bits: 52\n", {}),
        ("VMC713", "/gic/version", GICV2, {"devices": ["KVM_DEV_TYPE_ARM_VGIC_V3"]}),
        (
            "VMC714",
            "/vcpus",
            BASE.replace("vcpus: 2", "vcpus: 9"),
            {"capabilities": {"KVM_CAP_MAX_VCPUS": 8}},
        ),
        (
            "VMC715",
            "/features/0",
            BASE + "features: [sve]\n",
            {"capabilities": {"KVM_CAP_ARM_SVE": 0}},
        ),
        ("VMC716", "/pmu/irq", BASE, {"capabilities": {"KVM_CAP_ARM_PMU_V3": 0}, "pmus": []}),
        ("VMC717", "/pmu/device", BASE.replace("23", "23, device: apple_m1"), {}),
        ("VMC718", "/pmu/irq", BASE, {"pmus": BIG_LITTLE}),
        ("VMC713", "/pmu/irq", BASE, {"devices": []}),
        ("VMC719", "/memory/0/base", BASE + SMALL_PAGES, {"page_size": 0x10000}),
        (
            "VMC719",
            "/memory/1",
            BASE
            + "memory: [{base: 0, size: 1MiB}, {base: 1MiB, size: 1MiB}]\n".replace(
                "1MiB,", "0x100000,"
            ),
            {"capabilities": {"KVM_CAP_NR_MEMSLOTS": 1}},
        ),
        (
            "VMC720",
            "/pmu/counters",
            BASE.replace("23", "23, device: armv8_pmuv3, counters: 7"),
            {"event_counters": 6, "kernel": "6.18.1"},
        ),
        (
            "VMC715",
            "/features/0",
            BASE + "features: [mte]\n",
            {"capabilities": {"KVM_CAP_ARM_MTE": 0}},
        ),
        (
            "VMC715",
            "/pmu/strict",
            BASE.replace("23", "23, device: armv8_pmuv3, strict: true"),
            {"capabilities": {"KVM_CAP_ARM_PMU_V3_STRICT": 0}, "kernel": "7.3.4"},
        ),
        (
            "VMC721",
            "/capabilities/0/name",
            BASE + "capabilities: [{name: KVM_CAP_ARM_NISV_TO_USER}]\n",
            {"capabilities": {"KVM_CAP_ARM_NISV_TO_USER": 0}},
        ),
        (
            "VMC721",
            "/capabilities/0/args/0",
            BASE
            + "capabilities: [{name: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, args: [0x2000000]}]\n",
            {"capabilities": {"KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES": 0x40201000}},
        ),
        (
            "VMC722",
            "/sve/vector_lengths",
            BASE + "features: [sve]\nsve: {vector_lengths: [128, 256]}\n",
            {"sve_vector_lengths": [128, 512]},
        ),
        ("VMC723", "/host_kernel", BASE + 'host_kernel: "6.12"\n', {"kernel": "6.6.1"}),
        (
            "VMC725",
            "/registers/0/value",
            BASE + "registers: [{name: ID_AA64ISAR0_EL1, value: 0x210000}]\n",
            {"registers": [register("ID_AA64ISAR0_EL1", 0x10000)]},
        ),
        # Without a GIC, or this GIC, its attributes are not reported, too.
        ("VMC713", "/gic/version", FULL, {"devices": [], "attributes": WITHOUT_GIC}),
        ("VMC716", "/pmu/irq", FULL_PMU, {"capabilities": {"KVM_CAP_ARM_PMU_V3": 0}, "pmus": []}),
        (
            "VMC718",
            "/pmu/device",
            BASE.replace("23", "23, device: armv8_cortex_a53"),
            {"pmus": BIG_LITTLE},
        ),
    ],
)
def test_each_rule_of_hosts_is_broken_by_one(
    vmcfg: Vmcfg, rule: str, pointer: str, text: str, changes: dict[str, Any]
) -> None:
    (only,) = found(vmcfg, text, a=host(**changes))
    assert (only["rule"], only["pointer"], only["hosts"]) == (rule, pointer, ["a.json"])


def test_the_cpus_to_pin_to_are_named(vmcfg: Vmcfg) -> None:
    text = BASE.replace("23", "23, device: armv8_cortex_a53")
    (only,) = found(vmcfg, text, a=host(pmus=BIG_LITTLE))
    assert only["severity"] == "warning"
    assert "0-3" in only["message"]


def test_findings_name_the_hosts_that_they_hold_for(vmcfg: Vmcfg) -> None:
    hosts = {"old": host(kernel="6.1.176"), "new": HOST, "older": host(kernel="6.1.10")}
    text = "vmcfg: 1\nname: vm\nvcpus: 2\ntimers: {hyp_virtual: 28}\n"
    (only,) = found(vmcfg, text, **hosts)
    assert (only["rule"], only["hosts"]) == ("VMC702", ["old.json", "older.json"])
    assert (
        "= hosts: 2 of 2: old.json, older.json\n"
        in vmcfg(
            "validate", "--host", "old.json", "--host", "older.json", "vm.yaml", text=text, **hosts
        ).stdout
    )


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("human", "= hosts: 4 of 5: b.json, c.json, d.json, e.json\n"),
        ("concise", "; hosts: 4 of 5: b.json, c.json, d.json, and 1 more\n"),
        ("github", "%0Ahosts: 4 of 5: b.json, c.json, d.json, and 1 more\n"),
        ("sarif", "\\nHosts: 4 of 5: b.json, c.json, d.json, and 1 more"),
        ("json", '"hosts_checked": 5'),
    ],
)
def test_every_form_says_how_many_of_the_hosts_have_a_finding(
    vmcfg: Vmcfg, form: str, words: str
) -> None:
    hosts = {"a": HOST} | dict.fromkeys("bcde", host(capabilities={"KVM_CAP_ARM_SVE": 0}))
    named = [word for name in hosts for word in ("--host", f"{name}.json")]
    text = BASE + "features: [sve]\n"
    done = vmcfg("validate", "--format", form, *named, "vm.yaml", text=text, **hosts)
    assert words in done.stdout


OLD = host(kernel="6.1.176")
COUNTERS = BASE.replace("23", "23, counters: 3")
SLOT = "memory: [{base: 0x90a0000, size: 64KiB}]\n"


@pytest.mark.parametrize(
    ("rule", "text", "changed", "hint"),
    [
        (
            "VMC701",
            "vmcfg: 1\nname: vm\nvcpus: [{mpidr: 0.0.200.1}]\n",
            OLD,
            "use only hosts with Linux 6.10 or later; otherwise write 0.0.0.0, which KVM assigns",
        ),
        (
            "VMC702",
            BASE + "timers: {hyp_virtual: 28}\n",
            OLD,
            "use only hosts with Linux 6.4 or later; otherwise remove 'timers.hyp_virtual'",
        ),
        (
            "VMC704",
            BASE + "features: [el2]\n",
            OLD,
            "use only hosts with Linux 6.16 or later; otherwise remove 'el2'",
        ),
        ("VMC703", BASE, host(kernel="5.10.7"), "use hosts with Linux 6.1 or later"),
        ("VMC511", COUNTERS, HOST, "add 'device: armv8_pmuv3'"),
        (
            "VMC511",
            COUNTERS,
            host(pmus=BIG_LITTLE),
            "add 'device: armv8_cortex_a72' or 'device: armv8_cortex_a53'",
        ),
        (
            "VMC711",
            BASE + SLOT + "steal_time: {base: 0x90a0000}\n",
            host(attributes=lacking("KVM_ARM_VCPU_PVTIME_IPA")),
            "remove 'steal_time'",
        ),
        (
            "VMC715",
            BASE + "features: [el2]\n",
            host(capabilities={"KVM_CAP_ARM_EL2": 0}),
            "start the host kernel with 'kvm-arm.mode=nested', which requires CPUs with FEAT_NV2,",
        ),
        ("VMC712", BASE, host(capabilities={"KVM_CAP_ARM_VM_IPA_SIZE": 36}), "add 'ipa_bits: 36'"),
        (
            "VMC712",
            BASE + "ipa_bits: 40\n",
            host(capabilities={"KVM_CAP_ARM_VM_IPA_SIZE": 36}),
            "set 'ipa_bits: 36'",
        ),
    ],
)
def test_a_hint_is_about_the_host(
    vmcfg: Vmcfg, rule: str, text: str, changed: dict[str, Any], hint: str
) -> None:
    hints = [each["hint"] for each in found(vmcfg, text, a=changed) if each["rule"] == rule]
    assert len(hints) == 1
    assert hints[0].startswith(hint)
    assert "host_kernel" not in hints[0]  # --host overrides it


def test_a_host_without_a_pmu_says_nothing_about_counters(vmcfg: Vmcfg) -> None:
    without = host(capabilities={"KVM_CAP_ARM_PMU_V3": 0}, pmus=[])
    assert [each["rule"] for each in found(vmcfg, COUNTERS, a=without)] == ["VMC716"]


def test_a_default_is_called_a_default_and_its_key_has_a_place(vmcfg: Vmcfg) -> None:
    small = host(capabilities={"KVM_CAP_ARM_VM_IPA_SIZE": 36})
    (only,) = found(vmcfg, BASE, a=small)
    assert only["message"] == "'ipa_bits' must be at most 36 on the host, not 40 (default)"
    done = vmcfg("validate", "--host", "a.json", "vm.yaml", text=BASE, a=small)
    assert "1 | vmcfg: 1\n  | ^^^^^ 'ipa_bits' is not written; its default is 40\n" in done.stdout
    written = found(vmcfg, BASE + "ipa_bits: 40\n", a=small)
    assert [each["message"] for each in written] == [only["message"].removesuffix(" (default)")]


def test_a_host_beats_the_kernels_that_are_named(vmcfg: Vmcfg) -> None:
    text = 'vmcfg: 1\nname: vm\nhost_kernel: "6.1"\nvcpus:\n  - mpidr: 0.0.200.1\n'
    assert found(vmcfg, text, "--host-kernel", "6.1", a=HOST) == []


def test_a_folder_stands_for_its_hosts(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    for name, each in (("b", host(capabilities={"KVM_CAP_ARM_SVE": 0})), ("a", HOST)):
        (tmp_path / "fleet" / f"{name}.json").write_text(json.dumps(each))
    done = vmcfg(
        "validate",
        "--host",
        "fleet",
        "--format",
        "json",
        "vm.yaml",
        text=BASE + "features: [sve]\n",
    )
    assert [each["hosts"] for each in json.loads(done.stdout)["diagnostics"]] == [["fleet/b.json"]]
    assert done.returncode == 1


def test_emit_writes_the_pmus_number_of_the_host(vmcfg: Vmcfg) -> None:
    text = BASE.replace("23", "23, device: armv8_pmuv3")
    line = "KVM_ARM_VCPU_PMU_V3_SET_PMU s32 10\n"
    assert line in vmcfg("emit", "--host", "a.json", "vm.yaml", text=text, a=HOST).stdout
    other = host(pmus=[{"name": "armv8_pmuv3", "type": 8, "cpus": "0-3"}])
    both = vmcfg(
        "emit", "--host", "a.json", "--host", "b.json", "vm.yaml", text=text, a=HOST, b=other
    )
    assert "s32 pmu:armv8_pmuv3\n" in both.stdout
    assert (
        vmcfg("emit", "--numbers", "--host", "a.json", "vm.yaml", text=text, a=HOST).returncode == 0
    )


@pytest.mark.parametrize("format_", ["json", "jsonl", "sh", "c"])
def test_every_format_has_the_pmus_number_of_the_host(vmcfg: Vmcfg, format_: str) -> None:
    text = BASE.replace("23", "23, device: armv8_pmuv3")
    other = host(pmus=[{"name": "armv8_pmuv3", "type": 77, "cpus": "0-3"}])
    done = vmcfg("emit", "--format", format_, "--host", "a.json", "vm.yaml", text=text, a=other)
    assert done.returncode == 0
    assert "pmu:armv8_pmuv3" not in done.stdout
    assert re.search(r"SET_PMU.*\b77\b", done.stdout)


def test_show_lists_a_vm_only_if_all_hosts_support_it(vmcfg: Vmcfg) -> None:
    text = BASE + "features: [sve]\n"
    able, unable = HOST, host(capabilities={"KVM_CAP_ARM_SVE": 0})
    arguments = ("show", "--host", "a.json", "--host", "b.json", "vm.yaml")
    done = vmcfg(*arguments, text=text, a=able, b=able)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == vmcfg("show", "vm.yaml", text=text).stdout
    done = vmcfg(*arguments, text=text, a=able, b=unable)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hosts: 1 of 2: b.json" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"format": "vmcfg.host", "format_version": "1.0"}',
        '{"format": "vmcfg.host", "format_version": "2.0"}',
    ],
)
def test_what_is_no_host_file_is_a_failure_in_one_line(
    vmcfg: Vmcfg, tmp_path: Path, content: str
) -> None:
    (tmp_path / "bad.json").write_text(content)
    for command in ("validate", "emit"):
        done = vmcfg(command, "--host", "bad.json", "vm.yaml", text=BASE)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert vmcfg("validate", "--host", "absent.json", "vm.yaml", text=BASE).returncode == 3


def test_a_host_that_is_too_old_for_a_key_has_only_the_reason(vmcfg: Vmcfg) -> None:
    text = BASE + 'host_kernel: "6.12"\ntimers: {hyp_virtual: 28}\n'
    assert [each["rule"] for each in found(vmcfg, text, a=host(kernel="6.1.10"))] == ["VMC702"]
    assert [each["rule"] for each in found(vmcfg, text, a=host(kernel="6.6.1"))] == ["VMC723"]
    assert found(vmcfg, text, a=host(kernel="6.12.1")) == []
    # Nobody wrote the default.
    assert found(vmcfg, BASE, a=host(kernel="6.1.10")) == []


def test_every_rule_of_hosts_is_tried_here() -> None:
    assert [rule.id for rule in RULES] == [f"VMC{number}" for number in (*range(711, 724), 725)]


def test_the_page_size_of_the_host_decides(vmcfg: Vmcfg) -> None:
    text = BASE + SMALL_PAGES
    assert [each["rule"] for each in found(vmcfg, text)] == ["VMC206"]
    assert found(vmcfg, text, a=host(page_size=0x1000)) == []
    # A host file of an earlier version does not have it.
    assert [each["rule"] for each in found(vmcfg, text, a=HOST)] == ["VMC206"]
    several = found(vmcfg, text, a=host(page_size=0x1000), b=host(page_size=0x4000), c=HOST)
    assert [(each["rule"], each["hosts"]) for each in several] == [
        ("VMC206", ["c.json"]),
        ("VMC719", ["b.json"]),
    ]


@pytest.mark.parametrize(
    ("tib", "without_host", "failing"),
    [(7, [], []), (8, ["VMC207"], [0x1000]), (32, ["VMC207"], [0x1000, 0x4000])],
)
def test_the_greatest_slot_has_as_many_pages_as_the_host_counts(
    vmcfg: Vmcfg, tib: int, without_host: list[str], failing: list[int]
) -> None:
    text = f"{BASE}ipa_bits: 48\nmemory: [{{base: 0, size: {tib}TiB}}]\n"
    assert [each["rule"] for each in found(vmcfg, text)] == without_host
    assert [each["rule"] for each in found(vmcfg, text, a=HOST)] == without_host
    for page_size in (0x1000, 0x4000, 0x10000):
        on_host = found(vmcfg, text, a=host(page_size=page_size))
        assert [each["rule"] for each in on_host] == ["VMC719"] * (page_size in failing)


def test_as_many_counters_as_the_host_has_are_right(vmcfg: Vmcfg) -> None:
    text = BASE.replace("23", "23, device: armv8_pmuv3, counters: 6")
    assert found(vmcfg, text, a=host(event_counters=6, kernel="6.18.1")) == []
    assert found(vmcfg, text, a=host(event_counters=None, kernel="6.18.1")) == []


def test_a_host_file_of_a_later_format_is_refused(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "later.json").write_text(json.dumps({**HOST, "format_version": "2.0"}))
    done = vmcfg("validate", "--host", "later.json", "vm.yaml", text=BASE)
    sentence = "vmcfg: 'format_version' of host file later.json must be 1.x, not 2.0\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", sentence)
