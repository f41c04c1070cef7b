"""vmcfg probe, with a stand-in for KVM: its calls, its forms, and its script.

tests/kvm executes it on real kernels.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import stand_in_kvm
from tests.conftest import Vmcfg
from tests.stand_in_kvm import StandInKvm
from tests.test_try import written
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.host_pmus import host_pmus
from vmcfg.kernel.settable_registers import SETTABLE

PMCR_EL0 = "vcpu:0 GET_ONE_REG 0x603000000013dce0"
CTR_EL0 = "vcpu:0 GET_ONE_REG 0x603000000013d801"
PSCI_VERSION = "vcpu:0 GET_ONE_REG 0x6030000000140000"
SVE_VLS = "vcpu:0 GET_ONE_REG 0x606000000015ffff"


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInKvm]:
    """Return a kernel with six event counters and vectors of 128, 256, 512, and 65536 bits."""
    kernel = StandInKvm("6.12.41")
    kernel.returned[PMCR_EL0] = (0x41013000 | 0xF840 & 6 << 11).to_bytes(8, "little")
    for register in SETTABLE.values():
        if register.name not in ("CTR_EL0", "KVM_REG_ARM_PSCI_VERSION"):
            kernel.refused[f"vcpu:0 GET_ONE_REG {register.id:#x}"] = errno.ENOENT
    kernel.returned[CTR_EL0] = (0x8444C004).to_bytes(8, "little")
    kernel.returned[PSCI_VERSION] = (0x10001).to_bytes(8, "little")
    kernel.returned[SVE_VLS] = (1 << 511 | 0b1011).to_bytes(64, "little")
    pmus = tmp_path / "pmus"
    stand_in_kvm.add_pmu(pmus, "armv8_cortex_a53", 9, "0-3")
    stand_in_kvm.add_pmu(pmus, "armv8_cortex_a72", 10, "4-5")
    stand_in_kvm.add_pmu(pmus, "software", 1, None)
    stand_in_kvm.install(monkeypatch, kernel, pmus)
    yield kernel
    assert kernel.still_open() == [], "the command leaves descriptors of KVM open"


def probed(vmcfg_here: Vmcfg) -> dict[str, Any]:
    code, output, errors = vmcfg_here("probe", "--format", "json")
    assert (code, errors) == (0, "")
    assert output.startswith('{\n  "format": "vmcfg.host",\n')
    assert output.endswith("\n}\n")
    host: dict[str, Any] = json.loads(output)
    return host


NAMES = {
    "vm 0 0": "vm KVM_ARM_VM_SMCCC_CTRL KVM_ARM_VM_SMCCC_FILTER",
    "gic 3 0": "gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0",
    "gic 0 2": "gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_DIST",
    "gic 0 5": "gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION",
    "gic 0 3": "gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_REDIST",
    "gic 0 0": "gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V2_ADDR_TYPE_DIST",
    "gic 0 1": "gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V2_ADDR_TYPE_CPU",
    "gic 9 0": "gic KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ 0x0",
    "its 0 4": "its KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_ITS_ADDR_TYPE",
    "its 4 0": "its KVM_DEV_ARM_VGIC_GRP_CTRL KVM_DEV_ARM_VGIC_CTRL_INIT",
    "vcpu 1 0": "vcpu KVM_ARM_VCPU_TIMER_CTRL KVM_ARM_VCPU_TIMER_IRQ_VTIMER",
    "vcpu 1 1": "vcpu KVM_ARM_VCPU_TIMER_CTRL KVM_ARM_VCPU_TIMER_IRQ_PTIMER",
    "vcpu 1 2": "vcpu KVM_ARM_VCPU_TIMER_CTRL KVM_ARM_VCPU_TIMER_IRQ_HVTIMER",
    "vcpu 1 3": "vcpu KVM_ARM_VCPU_TIMER_CTRL KVM_ARM_VCPU_TIMER_IRQ_HPTIMER",
    "vcpu 0 3": "vcpu KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_SET_PMU",
    "vcpu 0 4": "vcpu KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS",
    "vcpu 0 2": "vcpu KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_FILTER",
    "vcpu 0 0": "vcpu KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ",
    "gic 4 0": "gic KVM_DEV_ARM_VGIC_GRP_CTRL KVM_DEV_ARM_VGIC_CTRL_INIT",
    "vcpu 0 1": "vcpu KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT",
    "vcpu 2 0": "vcpu KVM_ARM_VCPU_PVTIME_CTRL KVM_ARM_VCPU_PVTIME_IPA",
}
"""Every attribute, by its numbers, in the order of a plan."""


def told(host: dict[str, Any]) -> dict[str, bool]:
    return {
        f"{each['target']} {each['group']} {each['attr']}": each["has"]
        for each in host["attributes"]
    }


def test_a_host_file_has_what_the_host_has(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.capabilities = {126: 1, 170: 1, 165: 44, 251: 7}
    host = probed(vmcfg_here)
    del host["attributes"], host["capabilities"]
    assert host == {
        "format": "vmcfg.host",
        "format_version": "1.0",
        "kernel": "6.12.41",
        "machine": "aarch64",
        "api_version": 12,
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "event_counters": 6,
        "sve_vector_lengths": [128, 256, 512, 65536],
        "devices": [
            "KVM_DEV_TYPE_ARM_VGIC_V2",
            "KVM_DEV_TYPE_ARM_VGIC_V3",
            "KVM_DEV_TYPE_ARM_VGIC_ITS",
        ],
        "registers": [
            {"name": "CTR_EL0", "value": "0x8444c004", "writable": None},
            {"name": "KVM_REG_ARM_PSCI_VERSION", "value": "0x10001", "writable": None},
        ],
        "pmus": [
            {"name": "armv8_cortex_a53", "type": 9, "cpus": "0-3"},
            {"name": "armv8_cortex_a72", "type": 10, "cpus": "4-5"},
        ],
    }
    capabilities = probed(vmcfg_here)["capabilities"]
    assert {name: value for name, value in capabilities.items() if value} == {
        "KVM_CAP_ARM_PMU_V3": 1,
        "KVM_CAP_ARM_SVE": 1,
        "KVM_CAP_ARM_VM_IPA_SIZE": 44,
        "KVM_CAP_ARM_PMU_V3_STRICT": 7,
    }
    # They are asked of a VM: some exist only there, and one only with an ITS.
    assert [call for call in kvm.calls if "CHECK_EXTENSION" in call] == [
        *(f"vm CHECK_EXTENSION {number}" for number in CAPABILITIES.values()),
        "vm CHECK_EXTENSION 131",
    ] * 2


def test_each_feature_id_register_has_its_mask(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    # op1 is 3, which is third after 0 and 1; CRm is 0, and op2 is 1.
    index = 2 << 6 | 0 << 3 | 1
    kvm.masks = b"".join(number.to_bytes(8, "little") for number in range(0x1000, 0x1000 + 192))
    assert probed(vmcfg_here)["registers"] == [
        {"name": "CTR_EL0", "value": "0x8444c004", "writable": hex(0x1000 + index)},
        {"name": "KVM_REG_ARM_PSCI_VERSION", "value": "0x10001", "writable": None},
    ]
    lines = vmcfg_here("probe")[1].splitlines()
    assert "register CTR_EL0 0x8444c004, writable 0x1081" in lines
    assert "register KVM_REG_ARM_PSCI_VERSION 0x10001" in lines


@pytest.mark.parametrize("numbers", NAMES)
def test_an_attribute_that_is_missing_is_denied(
    numbers: str, kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.lacking = {numbers}
    assert told(probed(vmcfg_here)) == {name: key != numbers for key, name in NAMES.items()}


def test_vcpus_have_a_pmu_where_the_host_has_one(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    probed(vmcfg_here)
    words = [call.split()[3] for call in kvm.calls if "ARM_VCPU_INIT" in call]
    # One VM for each vGIC, for PMCR_EL0, for the vector lengths, and for the other registers.
    assert words == ["0x40c", "0x40c", "0x40c", "0x414", "0x40c"]
    kvm.calls.clear()
    kvm.capabilities = {}
    host = probed(vmcfg_here)
    assert (host["event_counters"], host["sve_vector_lengths"]) == (None, None)
    assert [call.split()[3] for call in kvm.calls if "ARM_VCPU_INIT" in call] == ["0x404"] * 3


@pytest.mark.parametrize(
    ("devices", "gics"),
    [({5, 7, 8}, [2, 3]), ({7, 8}, [3]), ({5}, [2]), (set(), [])],
)
def test_attributes_are_asked_of_each_gic(
    devices: set[int], gics: list[int], kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.devices = devices
    has = told(probed(vmcfg_here))
    of_2, of_3 = {"gic 0 0", "gic 0 1"}, {"gic 0 2", "gic 0 3", "gic 0 5"}
    for numbers, name in NAMES.items():
        needed = [2] if numbers in of_2 else [3] if numbers in of_3 else [2, 3]
        if numbers.startswith("gic"):
            assert has[name] == bool(set(needed) & set(gics)), name
        elif numbers.startswith("its"):
            assert has[name] == (8 in devices), name
        else:
            assert has[name], name


def test_no_answer_but_those_of_absence_is_absence(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    for number in (errno.ENXIO, errno.EINVAL, errno.ENODEV):
        kvm.refused["vm HAS_DEVICE_ATTR 0 0"] = number
        kvm.refused["vcpu:0 HAS_DEVICE_ATTR 0 0"] = number
        kvm.refused["its:0 HAS_DEVICE_ATTR 4 0"] = number
        assert not told(probed(vmcfg_here))["vm KVM_ARM_VM_SMCCC_CTRL KVM_ARM_VM_SMCCC_FILTER"]
    kvm.refused["vm HAS_DEVICE_ATTR 0 0"] = errno.EIO
    assert vmcfg_here("probe") == (3, "", "vmcfg: [Errno 5] Input/output error\n")
    del kvm.refused["vm HAS_DEVICE_ATTR 0 0"]
    kvm.refused["vm CREATE_DEVICE 7 flags 1"] = errno.EIO
    assert vmcfg_here("probe") == (3, "", "vmcfg: [Errno 5] Input/output error\n")


# The human form -----------------------------------------------------------------------------------


def test_the_human_form_is_a_line_per_fact(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.devices = {7, 8}
    kvm.lacking = {"vcpu 0 4"}
    code, output, errors = vmcfg_here("probe")
    assert (code, errors) == (0, "")
    in_gicv2 = ("gic 0 0", "gic 0 1")
    assert output.splitlines() == [
        "kernel version 6.12.41",
        "kernel machine aarch64",
        "kernel KVM API version 12",
        f"kernel page size {os.sysconf('SC_PAGE_SIZE')}",
        "sve vector lengths 128 256 512 65536",
        "pmu event counters 6",
        *(
            f"capability {name} {kvm.capabilities.get(number, 0)}"
            for name, number in CAPABILITIES.items()
        ),
        "device KVM_DEV_TYPE_ARM_VGIC_V3 yes",
        "device KVM_DEV_TYPE_ARM_VGIC_ITS yes",
        *(
            f"attribute {name} {'no' if numbers in (*in_gicv2, 'vcpu 0 4') else 'yes'}"
            for numbers, name in NAMES.items()
        ),
        "register CTR_EL0 0x8444c004",
        "register KVM_REG_ARM_PSCI_VERSION 0x10001",
        "pmu armv8_cortex_a53 type 9, CPUs 0-3",
        "pmu armv8_cortex_a72 type 10, CPUs 4-5",
    ]


# Comparison ---------------------------------------------------------------------------------------


def test_compare_prints_what_has_changed(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    earlier = written(json.dumps(probed(vmcfg_here)), "host.json")
    assert vmcfg_here("probe", "--compare", earlier) == (0, "", "")
    kvm.release = "6.12.42"
    kvm.capabilities = {126: 1, 165: 44}
    kvm.devices = {7}
    kvm.returned[PMCR_EL0] = (31 << 11).to_bytes(8, "little")
    code, output, errors = vmcfg_here("probe", "--compare", earlier)
    assert (code, errors) == (1, "")
    assert output.splitlines() == [
        "attribute gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V2_ADDR_TYPE_CPU: was yes, is no",
        "attribute gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V2_ADDR_TYPE_DIST: was yes, is no",
        "attribute its KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_ITS_ADDR_TYPE: was yes, is no",
        "attribute its KVM_DEV_ARM_VGIC_GRP_CTRL KVM_DEV_ARM_VGIC_CTRL_INIT: was yes, is no",
        "capability KVM_CAP_ARM_SVE: was 1, is 0",
        "capability KVM_CAP_ARM_VM_IPA_SIZE: was 48, is 44",
        "device KVM_DEV_TYPE_ARM_VGIC_ITS: was yes, is absent",
        "device KVM_DEV_TYPE_ARM_VGIC_V2: was yes, is absent",
        "kernel version: was 6.12.41, is 6.12.42",
        "pmu event counters: was 6, is 31",
        "sve vector lengths: was 128 256 512 65536, is absent",
    ]


def test_compare_needs_a_host_file_before_it_asks_the_host(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    code, output, errors = vmcfg_here("probe", "--compare", written("{}", "other.json"))
    assert (code, output, kvm.calls) == (3, "", [])
    assert errors.startswith(
        "vmcfg: other.json is not a host file: run 'vmcfg probe --format json'"
    )


# The script ---------------------------------------------------------------------------------------


def test_the_script_prints_the_same_host_file(
    kvm: StandInKvm,
    vmcfg_here: Vmcfg,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    code, script, errors = vmcfg_here("probe", "--script")
    assert (code, errors, kvm.calls) == (0, "", [])
    stand_in_kvm.execute(script, monkeypatch, kvm, tmp_path / "pmus")
    assert json.loads(capsys.readouterr().out) == probed(vmcfg_here)


def test_the_script_ends_with_3_without_kvm(
    kvm: StandInKvm,
    vmcfg_here: Vmcfg,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    script = vmcfg_here("probe", "--script")[1]
    kvm.refused["open /dev/kvm"] = errno.ENOENT
    with pytest.raises(SystemExit) as ended:
        stand_in_kvm.execute(script, monkeypatch, kvm, tmp_path / "pmus")
    assert ended.value.code == 3
    assert capsys.readouterr().err == (
        "vmcfg probe: /dev/kvm does not exist: the kernel has no KVM, or was not booted at EL2\n"
    )


# The PMUs of the host -----------------------------------------------------------------------------


def test_pmus_are_those_with_a_type_and_cpus(tmp_path: Path) -> None:
    assert host_pmus(str(tmp_path / "absent")) == {}
    stand_in_kvm.add_pmu(tmp_path, "b", 9, "0-3")
    stand_in_kvm.add_pmu(tmp_path, "a", 10, "")
    stand_in_kvm.add_pmu(tmp_path, "c", 11, None)
    assert host_pmus(str(tmp_path)) == {"b": (9, "0-3")}
