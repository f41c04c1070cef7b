"""Drafts: the description that a person would have written for what a source says."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import descriptions, json_text
from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.checking.check import Checked, check
from vmcfg.description.draft import Draft, description_text, valid_name
from vmcfg.description.model import Description, fields
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

SAMPLES = sorted((Path(__file__).parent.parent / "sample-configs").glob("*.yaml"))


def few(examples: int) -> settings:
    """Return settings for a few drafts."""
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


def vcpus(*groups: tuple[str, int | None]) -> list[dict[str, Any]]:
    return [{"mpidr": mpidr, "pmu_irq": irq} for mpidr, irq in groups]


def of_kvm(count: int, first: int | None = None, step: int = 0) -> list[dict[str, Any]]:
    """Return vCPUs with the MPIDRs of KVM, and with interrupts from `first` on."""
    return [
        {
            "mpidr": mpidr_text(mpidr_of_id(index)),
            "pmu_irq": None if first is None else first + step * index,
        }
        for index in range(count)
    ]


def written(draft: Draft) -> str:
    """Return the text of a draft, which has no finding about the shape of a value."""
    text = description_text(draft)
    shape = [str(each.rule) for each in check(text.encode(), "x").diagnostics]
    assert not [rule for rule in shape if rule.startswith("VMC1")], text
    return text


def mpidrs_in_order(text: str) -> list[str]:
    """Return the MPIDRs of a description in the order of the file, read without vmcfg."""
    every = yaml.safe_load(text)["vcpus"]
    if isinstance(every, int):
        return [f"0.0.{index // 16}.{index % 16}" for index in range(every)]
    found = []
    for entry in every:
        affinities = []
        for affinity in entry["mpidr"].split("."):
            first, _, last = affinity.partition("-")
            affinities.append(range(int(first), int(last or first) + 1))
        found += [".".join(map(str, each)) for each in itertools.product(*affinities)]
    return found


VCPUS = {
    "no PMU": (of_kvm(4), "vcpus: 4\n"),
    "one PPI": (of_kvm(20, 23), "vcpus: 20\npmu:\n  irq: 23\n"),
    "SPIs": (of_kvm(512, 32, 1), "vcpus: 512\npmu:\n  irq: spi:0-511\n"),
    "one vCPU": (of_kvm(1, 40), "vcpus: 1\npmu:\n  irq: spi:8\n"),
    "one SPI for all": (of_kvm(2, 40), "vcpus: 2\npmu:\n  irq: spi:8\n"),
    "PPIs that differ": (
        of_kvm(2, 22, 1),
        "vcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 22\n  - mpidr: 0.0.0.1\n    pmu_irq: 23\n",
    ),
    "the last SPI and a reserved one": (
        of_kvm(2, 1019, 1),
        "vcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: spi:987\n  - mpidr: 0.0.0.1\n    pmu_irq: 1020\n",
    ),
    "one without": (
        [*of_kvm(3, 23)[:2], *of_kvm(3)[2:]],
        "vcpus:\n  - mpidr: 0.0.0.0-1\n    pmu_irq: 23\n  - mpidr: 0.0.0.2\n",
    ),
    "clusters": (
        vcpus(*[(f"0.0.{cluster}.{core}", 23) for cluster in range(2) for core in range(4)]),
        "vcpus:\n  - mpidr: 0.0.0-1.0-3\npmu:\n  irq: 23\n",
    ),
    "a cluster per vCPU": (
        vcpus(*[(f"0.{socket}.{cluster}.0", None) for socket in (0, 1) for cluster in (4, 5)]),
        "vcpus:\n  - mpidr: 0.0-1.4-5.0\n",
    ),
    "SPIs in two runs": (
        vcpus(("0.0.0.0", 40), ("0.0.0.1", 41), ("0.0.1.0", 50), ("0.0.1.1", 51)),
        "vcpus:\n  - mpidr: 0.0.0.0-1\n    pmu_irq: spi:8-9\n"
        "  - mpidr: 0.0.1.0-1\n    pmu_irq: spi:18-19\n",
    ),
    "interrupts that end a range": (
        vcpus(("0.0.0.0", 40), ("0.0.0.1", 41), ("0.0.1.0", 42), ("0.0.1.1", 60)),
        "vcpus:\n  - mpidr: 0.0.0.0-1\n    pmu_irq: spi:8-9\n"
        "  - mpidr: 0.0.1.0\n    pmu_irq: spi:10\n  - mpidr: 0.0.1.1\n    pmu_irq: spi:28\n",
    ),
    "the last MPIDR": (
        vcpus(("255.255.255.254", None), ("255.255.255.255", None), ("0.0.0.0", None)),
        "vcpus:\n  - mpidr: 255.255.255.254-255\n  - mpidr: 0.0.0.0\n",
    ),
}


@pytest.mark.parametrize(("every", "expected"), VCPUS.values(), ids=VCPUS)
def test_vcpus_are_written_as_ranges(every: list[dict[str, Any]], expected: str) -> None:
    text = written(Draft("vm", {"vcpus": every}))
    assert text == f"vmcfg: 1\nname: vm\n{expected}"


def test_every_key_is_written_as_people_write_it() -> None:
    data = {
        "x-unknown": 1,
        "devices": [{"name": "msi", "irq": "spi:64-127"}, {"size": 4096, "base": 1, "name": "on"}],
        "registers": [{"value": 0x10001, "name": "KVM_REG_ARM_PSCI_VERSION"}],
        "capabilities": [{"name": "KVM_CAP_ARM_NISV_TO_USER", "args": []}],
        "sve": {"vector_lengths": [128, 256]},
        "features": ["sve"],
        "smccc_filter": [{"action": "deny", "count": 2, "base": 0x84000005}],
        "steal_time": {"base": 0x90A0000},
        "timers": {"physical": 30, "virtual": None},
        "pmu": {
            "filter": [{"action": "deny", "events": "0x8-0x1b"}],
            "strict": True,
            "device": "armv8_pmuv3_0",
        },
        "gic": {
            "its": [0x8080000],
            "redistributors": [{"count": 123, "base": 0x80A0000}],
            "distributor": 0x8000000,
            "nr_irqs": 288,
            "version": 3,
        },
        "vcpu_ids": "sequential",
        "memory": [{"size": 1 << 30, "base": 1 << 30}, {"size": 513, "base": 0, "readonly": True}],
        "ipa_bits": 40,
        "host_kernel": "6.10",
        "vcpus": of_kvm(2, 23),
    }
    assert written(Draft("007", data)) == (
        'vmcfg: 1\nname: "007"\nvcpus: 2\nhost_kernel: "6.10"\nipa_bits: 40\n'
        "memory:\n  - base: 0x40000000\n    size: 1GiB\n"
        "  - base: 0x0\n    size: 0x201\n    readonly: true\n"
        "gic:\n  version: 3\n  nr_irqs: 288\n  distributor: 0x08000000\n"
        "  redistributors:\n    - base: 0x080a0000\n      count: 123\n  its: 0x08080000\n"
        "pmu:\n  irq: 23\n  device: armv8_pmuv3_0\n  strict: true\n"
        "  filter:\n    - action: deny\n      events: 0x8-0x1b\n"
        "timers:\n  physical: 30\nsteal_time:\n  base: 0x090a0000\n"
        "smccc_filter:\n  - action: deny\n    base: 0x84000005\n    count: 2\n"
        "features: [sve]\nsve:\n  vector_lengths: [128, 256]\n"
        "capabilities:\n  - name: KVM_CAP_ARM_NISV_TO_USER\n"
        "registers:\n  - name: KVM_REG_ARM_PSCI_VERSION\n    value: 0x10001\n"
        'devices:\n  - name: msi\n    irq: spi:64-127\n  - name: "on"\n'
        "    base: 0x00000001\n    size: 4KiB\n"
    )


def test_a_long_list_has_several_lines() -> None:
    gic = {"version": 3, "its": [0x8000_0000 + (index << 17) for index in range(9)]}
    text = written(Draft("vm", {"vcpus": of_kvm(1), "gic": gic}))
    assert "  its: [0x80000000, 0x80020000," in text
    assert "\n    0x800e0000, 0x80100000]\n" in text


def test_a_number_that_is_too_high_is_written_with_its_kind() -> None:
    every = vcpus(("0.0.0.0", 23), ("0.0.0.1", None))
    every[1]["pmu_irq"] = "ppi:23"
    text = written(Draft("vm", {"vcpus": every}))
    assert text.endswith("    pmu_irq: 23\n  - mpidr: 0.0.0.1\n    pmu_irq: ppi:23\n")


def test_notes_and_warnings_are_comments_without_control_characters() -> None:
    draft = Draft("vm", {"vcpus": of_kvm(1)}, ["No\x1b[31m name\n."], ["W " * 80 + "."])
    lines = written(draft).splitlines()
    assert lines[0] == "# No\\x1b[31m name\\n."
    assert lines[1].startswith("# W W") and lines[2].startswith("#   W")
    assert lines[3] == "vmcfg: 1"


NAMES = {
    "linux,dummy-virt": "linux-dummy-virt",
    "Raspberry Pi 4 Model B": "Raspberry-Pi-4-Model-B",
    " .x": "x",
    "": None,
    "---": None,
    "ä": None,
    "a" * 80: "a" * 63,
}


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_a_name_is_made_valid(text: str, name: str | None) -> None:
    assert valid_name(text) == name


@few(100)
@given(st.text())
def test_every_valid_name_is_readable(text: str) -> None:
    name = valid_name(text)
    if name is not None:
        assert yaml.safe_load(written(Draft(name, {"vcpus": of_kvm(1)})))["name"] == name


# The law: a draft of a description is that description --------------------------------------------


def draft_of(checked: Checked, document: dict[str, Any]) -> Draft:
    """Return the draft of a description, with every vCPU in the order of the file."""
    assert checked.machine is not None
    in_file_order = sorted(checked.machine.vcpus, key=lambda vcpu: vcpu.at)
    if isinstance(document["vcpus"], int):
        in_file_order = list(checked.machine.vcpus)
    every = [{"mpidr": vcpu.name, "pmu_irq": vcpu.pmu_irq} for vcpu in in_file_order]
    data = {key: document[key] for key in reversed(list(document)) if key in fields(Description)}
    pmu = {key: value for key, value in document.get("pmu", {}).items() if key != "irq"}
    return Draft(document["name"], {**data, "vcpus": every, "pmu": pmu})


def assert_same_vm(data: bytes) -> None:
    checked = check(data, "x")
    text = written(draft_of(checked, yaml.load(data, yaml.BaseLoader))).encode()
    again = check(text, "x")
    assert checked.machine is not None and again.machine is not None, text.decode()
    commands = [command.text() for command in lower(checked.machine, WHOLE_VM).commands]
    assert [command.text() for command in lower(again.machine, WHOLE_VM).commands] == commands
    assert draft_of(again, yaml.load(text, yaml.BaseLoader)).data["vcpus"]
    assert [each.message for each in again.diagnostics if each.severity == "error"] == []


@few(100)
@given(descriptions())
def test_a_draft_of_a_description_has_the_same_commands(document: dict[str, Any]) -> None:
    assert_same_vm(json_text(document).encode())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_draft_of_a_sample_has_the_same_commands(path: Path) -> None:
    assert_same_vm(path.read_bytes())


MPIDRS = st.lists(
    st.builds(
        lambda *affinities: mpidr_text(sum(a << 8 * n for n, a in enumerate(affinities))),
        *[st.integers(0, 3)] * 4,
    ),
    min_size=1,
    max_size=12,
)


@few(100)
@given(MPIDRS, st.data())
def test_ranges_are_every_vcpu_in_order(mpidrs: list[str], data: st.DataObject) -> None:
    irqs = data.draw(
        st.lists(
            st.sampled_from([None, 23, 31, 32, 33, 34, 1019, 1020]),
            min_size=len(mpidrs),
            max_size=len(mpidrs),
        )
    )
    every = vcpus(*zip(mpidrs, irqs, strict=True))
    text = written(Draft("vm", {"vcpus": every}))
    assert mpidrs_in_order(text) == mpidrs
    checked = check(text.encode(), "x")
    assert checked.machine is not None
    found = sorted((vcpu.name, str(vcpu.pmu_irq)) for vcpu in checked.machine.vcpus)
    assert found == sorted((mpidr, str(irq)) for mpidr, irq in zip(mpidrs, irqs, strict=True))
