"""vmcfg try, with a stand-in for KVM: every call by its numbers, and answers that kernels rarely
give.

tests/kvm executes the same on real kernels.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests import stand_in_kvm
from tests.conftest import Vmcfg
from tests.stand_in_kvm import StandInKvm
from tests.test_schema import matches

SCHEMAS = Path(__file__).parent.parent / "schemas"


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInKvm]:
    kernel = StandInKvm()
    pmus = tmp_path / "pmus"
    stand_in_kvm.add_pmu(pmus, "armv8_pmuv3", 10, "0-3")
    stand_in_kvm.add_pmu(pmus, "breakpoint", 5, None)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    stand_in_kvm.install(monkeypatch, kernel, pmus)
    yield kernel
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert kernel.still_open() == [], "the command leaves descriptors of KVM open"


def written(text: str, name: str = "vm.yaml") -> str:
    """Write a file into the current directory and return its name."""
    Path(name).write_text(text)
    return name


# Every call ---------------------------------------------------------------------------------------

EVERYTHING = """\
vmcfg: 1
name: everything
host_kernel: "6.17"
ipa_bits: 44
memory:
  - {base: 0x40000000, size: 1GiB}
  - {base: 0x0, size: 64MiB, readonly: true}
vcpus:
  - {mpidr: 0.0.0.0, pmu_irq: spi:8}
  - {mpidr: 0.0.200.1, pmu_irq: spi:9}
gic:
  version: 3
  nr_irqs: 256
  distributor: 0x08000000
  redistributors: [{base: 0x080a0000, count: 1}, {base: 0x1000000000}]
  its: 0x09100000
  maintenance_irq: 25
pmu:
  device: armv8_pmuv3
  counters: 4
  filter: [{action: deny, events: 0x0-0xffff}, {action: allow, events: 0x11}]
timers: {virtual: 27, physical: 30, hyp_virtual: 28, hyp_physical: 26}
steal_time: 0x7fff0000
smccc_filter: [{action: forward, base: 0x86000000, count: 0x100}]
features: [sve, ptrauth, mte, el2]
sve: {vector_lengths: [128, 256, 512]}
capabilities: [{name: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, args: [0x200000]}]
registers: [{name: KVM_REG_ARM_PSCI_VERSION, value: 0x10001}]
"""

LENGTHS = "0b" + "00" * 63

CALLS = f"""\
kvm GET_API_VERSION
kvm GET_VCPU_MMAP_SIZE
kvm CHECK_EXTENSION 126
kvm CREATE_VM 0x2c
vm ENABLE_CAP 205 flags 0 0x0 0x0 0x0 0x0
vm ENABLE_CAP 228 flags 0 0x200000 0x0 0x0 0x0
vm SET_USER_MEMORY_REGION 0 flags 0 0x40000000 0x40000000
vm SET_USER_MEMORY_REGION 1 flags 2 0x0 0x4000000
vm CREATE_VCPU 0
vm CREATE_VCPU 1
vm CREATE_DEVICE 7 flags 0
vm CREATE_DEVICE 8 flags 0
vm ARM_PREFERRED_TARGET
vcpu:0 ARM_VCPU_INIT 0x5 0x4fc 0x0 0x0 0x0 0x0 0x0 0x77
vm ARM_PREFERRED_TARGET
vcpu:1 ARM_VCPU_INIT 0x5 0x4fd 0x0 0x0 0x0 0x0 0x0 0x77
vcpu:0 SET_ONE_REG 0x606000000015ffff {LENGTHS}
vcpu:1 SET_ONE_REG 0x606000000015ffff {LENGTHS}
vcpu:0 ARM_VCPU_FINALIZE 4
vcpu:1 ARM_VCPU_FINALIZE 4
vcpu:1 SET_ONE_REG 0x603000000013c005 01c8008000000000
vcpu:0 SET_ONE_REG 0x6030000000140000 0100010000000000
vm SET_DEVICE_ATTR 0 0 000000860001000002000000000000000000000000000000
gic SET_DEVICE_ATTR 3 0 00010000
gic SET_DEVICE_ATTR 0 2 0000000800000000
gic SET_DEVICE_ATTR 0 5 00000a0800001000
gic SET_DEVICE_ATTR 0 5 0100000010001000
gic SET_DEVICE_ATTR 9 0 19000000
its:0 SET_DEVICE_ATTR 0 4 0000100900000000
its:0 SET_DEVICE_ATTR 4 0 -
vcpu:0 SET_DEVICE_ATTR 1 0 1b000000
vcpu:0 SET_DEVICE_ATTR 1 1 1e000000
vcpu:0 SET_DEVICE_ATTR 1 2 1c000000
vcpu:0 SET_DEVICE_ATTR 1 3 1a000000
vcpu:0 SET_DEVICE_ATTR 0 3 0a000000
vcpu:0 SET_DEVICE_ATTR 0 4 04000000
vcpu:0 SET_DEVICE_ATTR 0 2 0000008001000000
vcpu:0 SET_DEVICE_ATTR 0 2 0080008001000000
vcpu:0 SET_DEVICE_ATTR 0 2 1100010000000000
vcpu:0 SET_DEVICE_ATTR 0 0 28000000
vcpu:1 SET_DEVICE_ATTR 0 0 29000000
gic SET_DEVICE_ATTR 4 0 -
vcpu:0 SET_DEVICE_ATTR 0 1 -
vcpu:1 SET_DEVICE_ATTR 0 1 -
vcpu:0 SET_DEVICE_ATTR 2 0 0000ff7f00000000
vcpu:1 SET_DEVICE_ATTR 2 0 4000ff7f00000000
vcpu:0 GET_ONE_REG 0x603000000013c005
vcpu:0 GET_ONE_REG 0x606000000015ffff
vcpu:1 GET_ONE_REG 0x606000000015ffff
vcpu:1 GET_ONE_REG 0x603000000013c005
vcpu:0 GET_ONE_REG 0x6030000000140000
gic GET_DEVICE_ATTR 3 0
gic GET_DEVICE_ATTR 0 2
gic GET_DEVICE_ATTR 0 5
gic GET_DEVICE_ATTR 0 5
gic GET_DEVICE_ATTR 9 0
its:0 GET_DEVICE_ATTR 0 4
vcpu:0 GET_DEVICE_ATTR 1 0
vcpu:1 GET_DEVICE_ATTR 1 0
vcpu:0 GET_DEVICE_ATTR 1 1
vcpu:1 GET_DEVICE_ATTR 1 1
vcpu:0 GET_DEVICE_ATTR 1 2
vcpu:1 GET_DEVICE_ATTR 1 2
vcpu:0 GET_DEVICE_ATTR 1 3
vcpu:1 GET_DEVICE_ATTR 1 3
vcpu:0 GET_DEVICE_ATTR 0 0
vcpu:1 GET_DEVICE_ATTR 0 0
vcpu:0 GET_DEVICE_ATTR 2 0
vcpu:1 GET_DEVICE_ATTR 2 0
vcpu:0 RUN
vcpu:1 RUN
"""
"""The calls for EVERYTHING, by the numbers of <linux/kvm.h> and <asm/kvm.h>."""


def test_every_call_has_the_numbers_of_the_uapi(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, errors = vmcfg_here("try", written(EVERYTHING))
    assert kvm.calls == CALLS.splitlines()
    summary = "41 of 41 commands executed, 23 values read back, 2 of 2 vCPUs entered"
    assert (code, output, errors) == (0, f"everything on Linux 7.2.13: {summary}\n", "")


def test_without_run_no_vcpu_is_entered(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, _ = vmcfg_here("try", "--no-run", written(EVERYTHING))
    assert code == 0
    assert output.endswith("41 of 41 commands executed, 23 values read back, no vCPU entered\n")
    assert not any(call.endswith(" RUN") for call in kvm.calls)


def test_the_limit_of_descriptors_is_raised(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard))
    assert vmcfg_here("try", written("{vmcfg: 1, name: vm, vcpus: 80}"))[0] == 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


# A GIC of the VMM ---------------------------------------------------------------------------------

TWO = "vmcfg: 1\nname: vm\nvcpus: 2\npmu: {irq: 23}\n"


def gic_calls(kernel: StandInKvm) -> list[str]:
    return [call for call in kernel.calls if call.startswith(("gic SET", "vm CREATE_DEVICE"))]


def test_a_gicv3_stands_in_for_that_of_the_vmm(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, errors = vmcfg_here("try", "-v", written(TWO))
    assert (code, errors) == (0, "vmcfg: the VMM sets up the GIC; try uses a GICv3 instead\n")
    assert gic_calls(kvm) == [
        "vm CREATE_DEVICE 7 flags 1",
        "vm CREATE_DEVICE 7 flags 0",
        "gic SET_DEVICE_ATTR 3 0 e0030000",
        "gic SET_DEVICE_ATTR 0 2 0000000800000000",
        "gic SET_DEVICE_ATTR 0 5 00000a0800002000",
        "gic SET_DEVICE_ATTR 4 0 -",
    ]
    # The VMM sets it up after its vCPUs, and before the first PMU.
    in_order = ["vm CREATE_VCPU 1", "gic SET_DEVICE_ATTR 4 0 -", "vcpu:0 SET_DEVICE_ATTR 0 1 -"]
    assert sorted(in_order, key=kvm.calls.index) == in_order
    assert output.splitlines() == [
        "1 create-vm vm - - u64 0x28: ok",
        "2 create-vcpu vcpu:0 - - u64 0x0: ok",
        "3 create-vcpu vcpu:1 - - u64 0x1: ok",
        "4 init-vcpu vcpu:0 - - features PSCI_0_2,PMU_V3: ok, read back 0x80000000",
        "5 init-vcpu vcpu:1 - - features POWER_OFF,PSCI_0_2,PMU_V3: ok, read back 0x80000001",
        "6 set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23: ok,"
        " read back 23",
        "7 set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23: ok,"
        " read back 23",
        "8 set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT none -: ok",
        "9 set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT none -: ok",
        "run vcpu:0: ok",
        "run vcpu:1: ok",
        "vm on Linux 7.2.13: 9 of 9 commands executed, 4 values read back, 2 of 2 vCPUs entered",
    ]


def test_a_host_without_gicv3_gets_a_gicv2(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.devices = {5}
    code, _, errors = vmcfg_here("try", written(TWO))
    assert (code, errors) == (0, "vmcfg: the VMM sets up the GIC; try uses a GICv2 instead\n")
    assert gic_calls(kvm) == [
        "vm CREATE_DEVICE 7 flags 1",
        "vm CREATE_DEVICE 5 flags 0",
        "gic SET_DEVICE_ATTR 3 0 e0030000",
        "gic SET_DEVICE_ATTR 0 0 0000000800000000",
        "gic SET_DEVICE_ATTR 0 1 0000010800000000",
        "gic SET_DEVICE_ATTR 4 0 -",
    ]


DESCRIBED_GIC = """\
gic:
  version: 3
  set_up_by: monitor
  nr_irqs: 128
  distributor: 0x10000000
  redistributors: 0x20000000
  its: 0x30000000
  maintenance_irq: 24
"""


def test_a_described_gic_of_the_vmm_is_the_stand_in(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.release = "6.12.1-vendor"
    code, output, _ = vmcfg_here("try", written(TWO + DESCRIBED_GIC))
    assert code == 0, output
    # 6.12 does not have the attribute of the maintenance interrupt.
    assert gic_calls(kvm) == [
        "vm CREATE_DEVICE 7 flags 0",
        "gic SET_DEVICE_ATTR 3 0 80000000",
        "gic SET_DEVICE_ATTR 0 2 0000001000000000",
        "gic SET_DEVICE_ATTR 0 3 0000002000000000",
        "gic SET_DEVICE_ATTR 4 0 -",
    ]


def test_a_rejection_by_the_stand_in_is_for_another_host(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.refused["gic SET_DEVICE_ATTR 3 0 e0030000"] = errno.EINVAL
    code, output, _ = vmcfg_here("try", written(TWO))
    assert code == 1
    assert "error[VMC901] 'set-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 992' fails" in output
    assert "hint: run it on another host: this command sets up the GIC of the VMM" in output
    assert "5 of 9 commands executed, 0 values read back, no vCPU entered" in output


# Rejections ---------------------------------------------------------------------------------------

IRQ_OF_1 = "vcpu:1 SET_DEVICE_ATTR 0 0 17000000"


def test_a_rejected_command_is_vmc901(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused[IRQ_OF_1] = errno.EBUSY
    code, output, _ = vmcfg_here("try", "-v", written(TWO))
    assert code == 1
    assert (
        "vm.yaml:4:12: error[VMC901] 'set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL"
        " KVM_ARM_VCPU_PMU_V3_IRQ s32 23' for vCPU 0.0.0.1 (INTID 23 (PPI 7)) fails with EBUSY on"
        " Linux 7.2.13: the interrupt is already set, or the PMU of this vCPU is initialized;"
        " KVM checks for conflicts before\n"
    ) in output
    assert "kernel: KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ) fails with EBUSY\n" in output
    assert "help: vmcfg explain VMC901\n" in output
    lines = output.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[:9]] == [
        *["ok"] * 6,
        "EBUSY",
        "not reached",
        "not reached",
    ]
    assert lines[-1] == (
        "vm on Linux 7.2.13: 6 of 9 commands executed, 0 values read back, no vCPU entered"
    )
    # Nothing follows the rejected call, and nothing is read back.
    assert kvm.calls[-1] == IRQ_OF_1


def test_an_unknown_errno_has_no_meaning(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused[IRQ_OF_1] = errno.EDOM
    assert "fails with EDOM on Linux 7.2.13\n" in vmcfg_here("try", written(TWO))[1]
    kvm.refused[IRQ_OF_1] = 4095
    assert "fails with 4095 on Linux 7.2.13\n" in vmcfg_here("try", written(TWO))[1]


def test_a_rejected_vm_leaves_nothing_to_do(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["kvm CREATE_VM 0x28"] = errno.EINVAL
    code, output, errors = vmcfg_here("try", "--unchecked", "-v", written(TWO))
    assert (code, errors) == (1, "")
    assert output.splitlines()[:2] == [
        "1 create-vm vm - - u64 0x28: EINVAL",
        "2 create-vcpu vcpu:0 - - u64 0x0: not reached",
    ]
    assert "0 of 9 commands executed, 0 values read back, no vCPU entered" in output
    assert "error[VMC901] 'create-vm vm - - u64 0x28' (default) fails with EINVAL" in output
    assert "hint: 'ipa_bits' is not written; its default is 40\n" in output


def test_a_rejected_value_that_is_written_is_no_default(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["kvm CREATE_VM 0x2c"] = errno.EINVAL
    _, output, _ = vmcfg_here("try", written(TWO + "ipa_bits: 44\n"))
    assert "error[VMC901] 'create-vm vm - - u64 0x2c' fails with EINVAL" in output
    assert "default" not in output


def test_unchecked_goes_on_without_the_objects_that_are_missing(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.refused["vm CREATE_VCPU 1"] = errno.EINVAL
    code, output, _ = vmcfg_here("try", "--unchecked", "-v", written(TWO))
    assert code == 1
    results = [line.rpartition(": ")[2] for line in output.splitlines()[:9]]
    assert [place for place, each in enumerate(results, 1) if each == "not reached"] == [5, 7, 9]
    assert "5 of 9 commands executed, 2 values read back, 1 of 1 vCPUs entered" in output


# Runs ---------------------------------------------------------------------------------------------


def test_vcpus_that_cannot_run_are_one_vmc902_per_errno(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused |= {"vcpu:0 RUN": errno.EINVAL, "vcpu:2 RUN": errno.EINVAL}
    kvm.refused |= {"vcpu:1 RUN": errno.EDOM}
    code, output, _ = vmcfg_here("try", "--format", "json", written(TWO.replace("2", "3", 1)))
    report = json.loads(output)
    assert code == 1
    assert report["run"] == [
        {"target": "vcpu:0", "errno": "EINVAL"},
        {"target": "vcpu:1", "errno": "EDOM"},
        {"target": "vcpu:2", "errno": "EINVAL"},
    ]
    first, second = report["diagnostics"]
    assert (first["rule"], first["line"], first["column"]) == ("VMC902", 3, 8)
    assert first["message"] == (
        "vCPU 0.0.0.0 cannot run: KVM_RUN fails with EINVAL: frames of the GIC overlap, timers or"
        " the PMU share a PPI, or the PMU is not initialized"
    )
    assert [each["message"] for each in first["related"]] == ["vCPU 0.0.0.2 also cannot run"]
    assert first["kernel"] == {"call": "KVM_RUN", "errno": "EINVAL", "phase": "run"}
    assert second["message"] == "vCPU 0.0.0.1 cannot run: KVM_RUN fails with EDOM"
    assert second["related"] == []
    assert "0 of 3 vCPUs entered" in vmcfg_here("try", written(TWO.replace("2", "3", 1)))[1]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("ENOEXEC", "the vCPU is not initialized"),
        ("EPERM", "a feature of the vCPU is not finalized"),
        (
            "ENXIO",
            "an address of the GIC or a redistributor for a vCPU is missing; the VM is unusable",
        ),
        ("EBUSY", "the vGIC is not initialized; the VM is unusable"),
        ("EAGAIN", "the vCPU has EL2, but the vGIC is not initialized"),
        ("EEXIST", "the PMU uses the PPI of the GIC maintenance interrupt"),
        (
            "EINVAL",
            "frames of the GIC overlap, timers or the PMU share a PPI, or the PMU is not"
            " initialized",
        ),
        ("EIO", "the VM is unusable since an earlier failure"),
    ],
)
def test_each_errno_of_a_first_run_has_a_meaning(
    name: str, meaning: str, kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.refused["vcpu:0 RUN"] = getattr(errno, name)
    output = vmcfg_here("try", written(TWO))[1]
    assert f"vCPU 0.0.0.0 cannot run: KVM_RUN fails with {name}: {meaning}\n" in output


def test_a_dead_vm_is_reported_only_if_nothing_else_is(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["vcpu:0 RUN"] = kvm.refused["vcpu:1 RUN"] = errno.EIO
    code, output, _ = vmcfg_here("try", "--format", "json", written(TWO))
    (found,) = json.loads(output)["diagnostics"]
    assert (code, found["rule"]) == (1, "VMC902")
    assert found["message"].endswith("fails with EIO: the VM is unusable since an earlier failure")
    assert found["related"] == []
    kvm.refused[IRQ_OF_1] = errno.EINVAL
    _, output, _ = vmcfg_here("try", "--unchecked", "--format", "json", written(TWO))
    assert [each["rule"] for each in json.loads(output)["diagnostics"]] == ["VMC901"]


# Values read back ---------------------------------------------------------------------------------


def test_a_value_that_differs_is_vmc903(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.returned["vcpu:1 GET_DEVICE_ATTR 0 0"] = bytes([24, 0, 0, 0])
    code, output, _ = vmcfg_here("try", written(TWO))
    assert code == 1
    assert (
        "vm.yaml:4:12: error[VMC903] 'set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL"
        " KVM_ARM_VCPU_PMU_V3_IRQ s32 23' succeeded, but vcpu:1 returns 24\n"
    ) in output
    assert (
        "vm on Linux 7.2.13: 9 of 9 commands executed, 4 values read back, 1 differ,"
        " 2 of 2 vCPUs entered\n"
    ) in output
    report = json.loads(vmcfg_here("try", "--format", "json", written(TWO))[1])
    assert report["differences"] == [{"seq": 7, "want": "23", "got": "24"}]
    assert report["commands"][6] == {"seq": 7, "errno": None, "read": ["24"]}


def test_an_interrupt_is_read_back_with_its_sign(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    """KVM_ARM_VCPU_PMU_V3_IRQ is an int."""
    kvm.returned["vcpu:0 GET_DEVICE_ATTR 0 0"] = b"\xff\xff\xff\xff"
    assert "s32 23' succeeded, but vcpu:0 returns -1\n" in vmcfg_here("try", written(TWO))[1]


def test_an_mpidr_that_differs_is_vmc903(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.returned["vcpu:1 GET_ONE_REG 0x603000000013c005"] = (0x80000100).to_bytes(8, "little")
    code, output, _ = vmcfg_here("try", written(TWO))
    assert code == 1
    assert (
        "vm.yaml:3:8: error[VMC903] MPIDR_EL1 of vCPU 0.0.0.1 is 0x80000100, not 0x80000001\n"
    ) in output


def test_a_value_that_cannot_be_read_is_vmc903(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["vcpu:0 GET_DEVICE_ATTR 0 0"] = errno.EFAULT
    code, output, _ = vmcfg_here("try", written(TWO))
    assert code == 1
    assert "s32 23' succeeded, but vcpu:0 returns EFAULT\n" in output


# Predictions --------------------------------------------------------------------------------------

DIFFERENT = TWO.replace("pmu: {irq: 23}", "pmu: {irq: 23-24}")
PREDICTED = (
    "vm.yaml:4: VMC502 predicts that KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ) fails with EINVAL"
)


def tried(vmcfg_here: Vmcfg, text: str, *options: str) -> dict[str, Any]:
    """Return the report of a description that is tried unchecked, with its exit code."""
    code, output, _ = vmcfg_here("try", "--unchecked", "--format", "json", *options, written(text))
    report: dict[str, Any] = json.loads(output)
    return {**report, "code": code, "rules": [each["rule"] for each in report["diagnostics"]]}


def test_a_prediction_that_holds_is_confirmed(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["vcpu:1 SET_DEVICE_ATTR 0 0 18000000"] = errno.EINVAL
    code, output, _ = vmcfg_here("try", "--unchecked", written(DIFFERENT))
    assert f"{PREDICTED}: confirmed\n" in output
    assert (code, "VMC901" in output, "VMC904" in output) == (0, False, False)
    report = tried(vmcfg_here, DIFFERENT)
    answer = {"call": "KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)", "errno": "EINVAL"}
    answer["phase"] = "set"
    assert report["predictions"] == [
        {
            "rule": "VMC502",
            "pointer": "/pmu/irq",
            "line": 4,
            "predicted": answer,
            "kernel": answer,
            "held": True,
        }
    ]


def test_a_kernel_that_accepts_what_it_should_reject_is_vmc904(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    code, output, _ = vmcfg_here("try", "--unchecked", written(DIFFERENT))
    assert code == 1
    assert f"{PREDICTED}: wrong, it succeeds\n" in output
    assert (
        "vm.yaml:4:12: error[VMC904] VMC502 predicts that"
        " KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ) fails with EINVAL, but it succeeds\n"
    ) in output
    (prediction,) = tried(vmcfg_here, DIFFERENT)["predictions"]
    assert (prediction["held"], prediction["kernel"]) == (False, None)


def test_another_errno_is_vmc904_and_vmc901(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["vcpu:1 SET_DEVICE_ATTR 0 0 18000000"] = errno.EEXIST
    _, output, _ = vmcfg_here("try", "--unchecked", written(DIFFERENT))
    instead = "KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ) fails with EEXIST"
    assert f"{PREDICTED}: wrong, {instead}\n" in output
    assert f"fails with EINVAL, but {instead}\n" in output
    report = tried(vmcfg_here, DIFFERENT)
    assert (report["code"], report["rules"]) == (1, ["VMC502", "VMC901", "VMC904"])


@pytest.mark.parametrize(
    ("call", "held"),
    [
        # Before the predicted call: without that command, the kernel might answer otherwise.
        ("vcpu:0 SET_DEVICE_ATTR 0 0 17000000", None),
        ("vcpu:0 ARM_VCPU_INIT 0x5 0x40c 0x0 0x0 0x0 0x0 0x0 0x77", None),
        # By the stand-in GIC, whose commands are not in the plan.
        ("gic SET_DEVICE_ATTR 3 0 e0030000", None),
        # After it, or only at the first run: this changes nothing.
        ("vcpu:0 SET_DEVICE_ATTR 0 1 -", False),
        ("vcpu:0 RUN", False),
    ],
)
def test_an_earlier_rejection_hides_a_prediction(
    call: str, held: bool | None, kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.refused[call] = errno.ENOMEM
    report = tried(vmcfg_here, DIFFERENT)
    assert [each["held"] for each in report["predictions"]] == [held]
    assert ("VMC904" in report["rules"]) == (held is False)
    assert report["code"] == 1


def test_an_unknown_prediction_says_so(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["gic SET_DEVICE_ATTR 3 0 e0030000"] = errno.ENOMEM
    _, output, _ = vmcfg_here("try", "--unchecked", written(DIFFERENT))
    unknown = "unknown: an earlier rejection hides it, or it is for other hosts"
    assert f"{PREDICTED}: {unknown}\n" in output


RESERVED = TWO + 'host_kernel: "6.4"\nsmccc_filter: [{action: deny, base: 0x80000000, count: 1}]\n'


def test_a_kernel_without_an_attribute_rejects_every_value(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    """VMC608 predicts EEXIST, but on a kernel before 6.4 the answer is that to the attribute."""
    kvm.release = "6.1.170"
    value = "000000800100000001000000000000000000000000000000"
    kvm.refused[f"vm SET_DEVICE_ATTR 0 0 {value}"] = errno.EINVAL
    report = tried(vmcfg_here, RESERVED)
    assert [(each["rule"], each["held"]) for each in report["predictions"]] == [("VMC608", True)]
    assert report["predictions"][0]["predicted"]["errno"] == "EINVAL"
    kvm.release = "6.12.1"
    report = tried(vmcfg_here, RESERVED)
    assert [(each["rule"], each["held"]) for each in report["predictions"]] == [("VMC608", False)]
    assert report["predictions"][0]["predicted"]["errno"] == "EEXIST"


def test_a_rule_about_older_kernels_is_not_held_against_this_one(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    """The description requires 6.1, where the attribute does not exist; this kernel has it."""
    text = TWO + 'host_kernel: "6.1"\ntimers: {hyp_virtual: 28}\n'
    report = tried(vmcfg_here, text)
    predictions = [(each["rule"], each["held"]) for each in report["predictions"]]
    assert predictions == [("VMC702", True)]
    assert report["predictions"][0]["predicted"]["errno"] is None
    assert report["code"] == 0
    # The same without a written version: planned for the running kernel, where nothing is wrong.
    report = tried(vmcfg_here, text.replace('host_kernel: "6.1"\n', ""))
    assert (report["diagnostics"], report["code"]) == ([], 0)


def test_a_finding_without_an_answer_is_no_prediction(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    """VMC317 never reaches KVM."""
    twice = "capabilities: [{name: KVM_CAP_ARM_NISV_TO_USER}, {name: KVM_CAP_ARM_NISV_TO_USER}]\n"
    report = tried(vmcfg_here, TWO + twice)
    assert report["rules"] == ["VMC317"]
    assert (report["predictions"], report["code"]) == ([], 0)


BIG_LITTLE = TWO.replace("23", "23, counters: 4")


def test_an_answer_of_some_hosts_is_unknown_here(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    """VMC511: the number of counters is accepted if the host PMU has as many."""
    kvm.refused["vcpu:0 SET_DEVICE_ATTR 0 4 04000000"] = errno.EINVAL
    report = tried(vmcfg_here, BIG_LITTLE)
    predictions = [(each["rule"], each["held"]) for each in report["predictions"]]
    assert ("VMC511", None) in predictions
    assert "VMC904" not in report["rules"]


# Before anything is executed ----------------------------------------------------------------------


def test_errors_prevent_the_execution(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, _ = vmcfg_here("try", written(DIFFERENT))
    assert (code, kvm.calls) == (1, [])
    assert "error[VMC502]" in output
    assert " on Linux " not in output
    report = json.loads(vmcfg_here("try", "--format", "json", written(DIFFERENT))[1])
    assert (report["kernel"], report["commands"], report["run"]) == ("7.2.13", [], [])


DEFAULTS = "vmcfg: 1\npmu: {irq: 23}\n"


def test_defaults_are_executed_and_blamed(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    text = written("vmcfg: 1\nname: vm\nvcpus: 2\n")
    arguments = ["try", "--defaults", written(DEFAULTS, "defaults.yaml"), text]
    assert vmcfg_here(*arguments)[0] == 0
    assert IRQ_OF_1 in kvm.calls
    kvm.refused[IRQ_OF_1] = errno.EBUSY
    code, output, _ = vmcfg_here(*arguments)
    assert (code, output[:36]) == (1, "defaults.yaml:2:12: error[VMC901] 's")
    assert "2 | pmu: {irq: 23}\n  |            ^^ " in output
    _, plan, _ = vmcfg_here(
        "emit", "--scope", "vm", "--format", "jsonl", "--defaults", "defaults.yaml", text
    )
    code, output, _ = vmcfg_here("try", "--format", "json", "--plan", written(plan, "vm.jsonl"))
    (found,) = json.loads(output)["diagnostics"]
    assert found["hint"] == "change line 2, column 12 of defaults.yaml, its origin"


def test_a_prediction_about_the_defaults_names_them(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["vcpu:0 SET_DEVICE_ATTR 0 0 07000000"] = errno.EINVAL
    defaults = written(DEFAULTS.replace("23", "7"), "defaults.yaml")
    text = written("vmcfg: 1\nname: vm\nvcpus: 1\n")
    arguments = ["try", "--unchecked", "--defaults", defaults, text]
    assert "defaults.yaml:2: VMC504 predicts that " in vmcfg_here(*arguments)[1]
    (told,) = matches("try", vmcfg_here(*arguments, "--format", "json")[1])["predictions"]
    assert (told["file"], told["line"], told["held"]) == ("defaults.yaml", 2, True)
    kvm.refused.clear()
    found = matches("try", vmcfg_here(*arguments, "--format", "json")[1])["diagnostics"]
    assert [(each["rule"], each["file"]) for each in found] == [
        ("VMC504", "defaults.yaml"),
        ("VMC904", "defaults.yaml"),
    ]


def test_people_read_a_finding_in_the_defaults_once(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    """Each report in JSON, and each test in KTAP, has its own reasons."""
    written("vmcfg: 1\nipa_bits: 99\n", "defaults.yaml")
    for name in ("a", "b"):
        written(f"vmcfg: 1\nname: {name}\nvcpus: 1\n", f"{name}.yaml")
    arguments = ["try", "--defaults", "defaults.yaml", "a.yaml", "b.yaml", "defaults.yaml"]
    code, output, _ = vmcfg_here(*arguments)
    assert (code, output.count("error[VMC201]"), kvm.calls) == (1, 1, [])
    tries = matches("tries", vmcfg_here(*arguments, "--format", "json")[1])["tries"]
    assert [len(each["diagnostics"]) for each in tries] == [1, 1]
    assert vmcfg_here(*arguments, "--format", "ktap")[1].count("error[VMC201]") == 2


def test_a_host_file_is_for_findings_only(
    kvm: StandInKvm, vmcfg_here: Vmcfg, tmp_path: Path
) -> None:
    """The plan has the PMU number of this host (10), whatever the other hosts have."""
    told = json.loads((Path(__file__).parent / "hosts" / "has-everything.json").read_text())
    path = str(tmp_path / "host.json")
    Path(path).write_text(json.dumps(told | {"pmus": [{"name": "other", "type": 9, "cpus": "0"}]}))
    text = written(TWO.replace("23", "23, device: armv8_pmuv3"))
    assert vmcfg_here("try", text)[0] == 0
    calls = list(kvm.calls)
    kvm.calls.clear()
    code, output, _ = vmcfg_here("try", "--host", path, text)
    assert (code, kvm.calls) == (1, [])
    assert "error[VMC717]" in output
    assert "hosts: 1 of 1: " in output
    defaults = written("vmcfg: 1\npmu: {irq: 23, device: armv8_pmuv3}\n", "defaults.yaml")
    bare = written("vmcfg: 1\nname: vm\nvcpus: 2\n", "bare.yaml")
    code, output, _ = vmcfg_here("try", "--host", path, "--defaults", defaults, bare)
    assert (code, output[:33]) == (1, "defaults.yaml:2:24: error[VMC717]")
    Path(path).write_text(json.dumps(told | {"pmus": [{**told["pmus"][0], "type": 99}]}))
    assert vmcfg_here("try", "--host", path, text)[0] == 0
    assert kvm.calls == calls


def test_warnings_prevent_it_with_strict(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    warned = TWO.replace("23", "25")
    assert vmcfg_here("try", written(warned))[0] == 0
    kvm.calls.clear()
    assert vmcfg_here("try", "--strict", written(warned))[0] == 1
    assert kvm.calls == []


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            errno.EACCES,
            "no permission to open /dev/kvm: run as root or as a member of its group",
        ),
        (
            errno.ENOENT,
            "/dev/kvm does not exist: the kernel has no KVM, or was not booted at EL2",
        ),
        (errno.EIO, "cannot open /dev/kvm: Input/output error"),
    ],
)
def test_without_kvm_there_is_one_sentence(
    number: int, sentence: str, kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.refused["open /dev/kvm"] = number
    assert vmcfg_here("try", written(TWO)) == (3, "", f"vmcfg: {sentence}\n")
    assert vmcfg_here("probe") == (3, "", f"vmcfg: {sentence}\n")


def test_another_machine_is_named(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.machine = "riscv64"
    sentence = "this machine is riscv64, not arm64: run this on an arm64 host"
    assert vmcfg_here("try", written(TWO)) == (3, "", f"vmcfg: {sentence}\n")


def test_a_host_without_a_pmu_cannot_try_one(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    del kvm.capabilities[126]
    sentence = "this host does not support a PMU for guests (KVM_CAP_ARM_PMU_V3 is 0)"
    assert vmcfg_here("try", written(TWO)) == (3, "", f"vmcfg: {sentence}\n")
    assert vmcfg_here("try", written("vmcfg: 1\nname: vm\nvcpus: 2\n"))[0] == 0


def test_a_missing_host_pmu_is_named(kvm: StandInKvm, vmcfg_here: Vmcfg, tmp_path: Path) -> None:
    text = TWO.replace("23", "23, device: apple_m1")
    has = "it has armv8_pmuv3"
    sentence = "vmcfg: this host does not have the PMU 'apple_m1': "
    assert vmcfg_here("try", written(text)) == (3, "", f"{sentence}{has}\n")
    (tmp_path / "pmus" / "armv8_pmuv3" / "cpus").unlink()
    assert vmcfg_here("try", written(text)) == (3, "", f"{sentence}it has none\n")


def test_too_much_memory_is_one_sentence(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    text = TWO + "ipa_bits: 52\nmemory: [{base: 0x10000, size: 0x8000000000000}]\n"
    code, _, errors = vmcfg_here("try", "--unchecked", written(text))
    assert code == 3
    assert errors == (
        "vmcfg: this process cannot allocate 0x8000000000000 bytes of address space for memory slot"
        " 0x10000\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "try requires descriptions, a plan with --plan, or --examples."),
        (("a", "--plan", "b"), "try requires descriptions, a plan with --plan, or --examples."),
        (("--plan", "b", "--unchecked"), "--unchecked cannot be used with --plan."),
        (("--plan", "b", "--host-kernel", "6.1"), "--host-kernel cannot be used with --plan."),
    ],
)
def test_wrong_usage_is_2(
    arguments: tuple[str, ...], message: str, kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    code, output, errors = vmcfg_here("try", *arguments)
    assert (code, output, kvm.calls) == (2, "", [])
    assert message in errors


# Several descriptions -----------------------------------------------------------------------------

DESCRIPTIONS = {
    "right": TWO,
    "wrong": DIFFERENT,
    "newer": TWO + 'host_kernel: "7.3"\n',
    "gicv2": TWO + "gic: {version: 2, distributor: 0x08000000, cpu_interface: 0x08010000}\n",
    "el2": TWO + 'host_kernel: "6.16"\nfeatures: [el2]\n',
    "large": TWO + "ipa_bits: 52\n",
    "pmu": TWO.replace("23", "23, device: apple_m1"),
    "rejected #1": TWO.replace("23", "22"),
}


@pytest.fixture
def several(kvm: StandInKvm, tmp_path: Path) -> StandInKvm:
    """Return a kernel that rejects most of `DESCRIPTIONS`, which are in the directory `vms`."""
    kvm.devices = {7, 8}
    kvm.refused = {
        "vcpu:0 ARM_VCPU_INIT 0x5 0x48c 0x0 0x0 0x0 0x0 0x0 0x77": errno.EINVAL,
        "kvm CREATE_VM 0x34": errno.EINVAL,
        "vcpu:0 SET_DEVICE_ATTR 0 0 16000000": errno.EINVAL,
    }
    (tmp_path / "vms").mkdir()
    for name, text in DESCRIPTIONS.items():
        (tmp_path / "vms" / f"{name}.yaml").write_text(text)
    return kvm


KTAP = """\
KTAP version 1
1..8
ok 1 vms/el2.yaml # SKIP this host does not support EL2 of guests (KVM_CAP_ARM_EL2)
ok 2 vms/gicv2.yaml # SKIP this host does not support KVM_DEV_TYPE_ARM_VGIC_V2
ok 3 vms/large.yaml # SKIP this host does not support the VM type 0x34: too many address bits
ok 4 vms/newer.yaml # SKIP it requires Linux 7.3, but this is 7.2.13
ok 5 vms/pmu.yaml # SKIP this host does not have the PMU 'apple_m1': it has armv8_pmuv3
# vms/rejected #1.yaml:4:12: error[VMC901]
not ok 6 vms/rejected _1.yaml
ok 7 vms/right.yaml
# vms/wrong.yaml:4:12: error[VMC502]
not ok 8 vms/wrong.yaml
"""


def test_ktap_has_a_result_for_each_description(several: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, errors = vmcfg_here("try", "--format", "ktap", "vms")
    assert (code, errors) == (1, "")
    lines = [line.partition("] ") for line in output.splitlines(keepends=True)]
    assert "".join(f"{start}]\n" if end else start for start, end, _ in lines) == KTAP
    # Without a problem, what is skipped does not count.
    for name in ("rejected #1", "wrong"):
        Path("vms", f"{name}.yaml").unlink()
    assert vmcfg_here("try", "--format", "ktap", "vms")[0] == 0


def test_each_of_several_files_has_its_report(several: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, errors = vmcfg_here("try", "vms")
    assert code == 3, "one of them has no result"
    assert errors.splitlines() == [
        "vmcfg: vms/el2.yaml: the VMM sets up the GIC; try uses a GICv3 instead",
        "vmcfg: vms/newer.yaml: the VMM sets up the GIC; try uses a GICv3 instead",
        "vmcfg: vms/pmu.yaml: this host does not have the PMU 'apple_m1': it has armv8_pmuv3",
        "vmcfg: vms/rejected #1.yaml: the VMM sets up the GIC; try uses a GICv3 instead",
        "vmcfg: vms/right.yaml: the VMM sets up the GIC; try uses a GICv3 instead",
    ]
    found = re.findall(
        r"^(?:vms/(.*?)\.yaml:\d+:\d+: (.*?\]) .*|vm on .*: (\d+) of.*)$", output, re.M
    )
    assert ["".join(each) for each in found] == [
        *("el2error[VMC901]", "3"),
        *("gicv2error[VMC901]", "3"),
        *("largeerror[VMC901]", "0"),
        *("9",),
        *("rejected #1error[VMC901]", "5"),
        *("9",),
        *("wrongerror[VMC502]",),
    ]


def test_json_has_the_report_or_the_reason_of_each_file(
    several: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    code, output, _ = vmcfg_here("try", "--format", "json", "vms")
    report = json.loads(output)
    jsonschema.validate(report, json.loads(Path(SCHEMAS, "tries-v1.schema.json").read_text()))
    assert (code, report["format"]) == (3, "vmcfg.tries")
    assert [
        (each["file"], each.get("performed", each.get("skipped"))) for each in report["tries"]
    ] == [
        ("vms/el2.yaml", 3),
        ("vms/gicv2.yaml", 3),
        ("vms/large.yaml", 0),
        ("vms/newer.yaml", 9),
        ("vms/pmu.yaml", "this host does not have the PMU 'apple_m1': it has armv8_pmuv3"),
        ("vms/rejected #1.yaml", 5),
        ("vms/right.yaml", 9),
        ("vms/wrong.yaml", 0),
    ]


def test_an_unreadable_file_does_not_stop_the_others(
    several: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    code, output, errors = vmcfg_here("try", "vms/right.yaml", "missing.yaml", "vms/newer.yaml")
    assert (code, output.count("9 of 9 commands executed")) == (3, 2)
    assert "vmcfg: cannot read missing.yaml: No such file or directory\n" in errors


def test_without_kvm_several_files_are_one_sentence(several: StandInKvm, vmcfg_here: Vmcfg) -> None:
    several.refused["open /dev/kvm"] = errno.ENOENT
    code, output, errors = vmcfg_here("try", "vms")
    assert (code, output) == (3, "")
    assert errors.count("\n") == 1


def test_examples_without_a_plan_are_skipped(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    code, output, errors = vmcfg_here("try", "--examples")
    # This kernel rejects nothing, so that most predictions are wrong.
    assert (code, "error[VMC904]" in output) == (1, True)
    reasons = [line.removeprefix("vmcfg: ").split(": ", 1) for line in errors.splitlines()]
    skipped = {name for name, reason in reasons if reason == "it means no plan"}
    assert {name[:4] for name in skipped} == {"VMC1", "VMC3"}
    assert not any(f"{name}:" in output for name in skipped)
    executed = set(re.findall(r"^(\S+\.yaml):\d", output, re.M))
    assert executed.isdisjoint(skipped) and any(name.startswith("VMC5") for name in executed)


# Plans --------------------------------------------------------------------------------------------


def plan_of(vmcfg_here: Vmcfg, text: str) -> str:
    """Write the plan of a description into the current directory and return its name."""
    code, output, errors = vmcfg_here("emit", "--scope", "vm", "--format", "jsonl", written(text))
    assert (code, errors) == (0, "")
    return written(output, "plan.jsonl")


def test_a_plan_makes_the_same_calls_as_its_description(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    text = EVERYTHING.replace("  device: armv8_pmuv3\n  counters: 4\n", "")
    plan = plan_of(vmcfg_here, text)
    described = vmcfg_here("try", "-v", "vm.yaml")
    calls = kvm.calls[:]
    kvm.calls.clear()
    assert vmcfg_here("try", "-v", "--plan", plan) == described
    assert kvm.calls == calls


def test_a_plan_around_the_gic_has_a_stand_in(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    plan = plan_of(vmcfg_here, TWO)
    code, _, errors = vmcfg_here("try", "--plan", plan)
    assert (code, errors) == (0, "vmcfg: the VMM sets up the GIC; try uses a GICv3 instead\n")
    plan = plan_of(vmcfg_here, TWO + "gic: {version: 2, set_up_by: monitor}\n")
    code, _, errors = vmcfg_here("try", "--plan", plan)
    assert (code, errors) == (0, "vmcfg: the VMM sets up the GIC; try uses a GICv2 instead\n")


def test_a_rejected_line_of_a_plan_is_found_there(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused[IRQ_OF_1] = errno.EBUSY
    plan = plan_of(vmcfg_here, TWO)
    code, output, _ = vmcfg_here("try", "--format", "json", "--plan", plan)
    (found,) = json.loads(output)["diagnostics"]
    assert code == 1
    assert (found["file"], found["rule"], found["pointer"]) == (plan, "VMC901", "")
    lines = Path(plan).read_text().splitlines()
    end = len(lines[7]) + 1
    place = [found[key] for key in ("line", "column", "end_line", "end_column")]
    assert place == [8, 1, 8, end]
    assert found["hint"] == "change line 4, column 12 of the description, its origin"


def test_a_rejected_line_without_origin_has_no_hint(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["vm CREATE_VCPU 1"] = errno.EINVAL
    _, output, _ = vmcfg_here("try", "--format", "json", "--plan", plan_of(vmcfg_here, TWO))
    (found,) = json.loads(output)["diagnostics"]
    assert (found["line"], found["hint"]) == (4, None)


def test_a_stand_in_has_no_line_in_a_plan(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.refused["gic SET_DEVICE_ATTR 3 0 e0030000"] = errno.EINVAL
    _, output, _ = vmcfg_here("try", "--format", "json", "--plan", plan_of(vmcfg_here, TWO))
    (found,) = json.loads(output)["diagnostics"]
    assert (found["line"], found["column"]) == (1, 1)
    assert found["hint"] == "run it on another host: this command sets up the GIC of the VMM"


def test_a_cut_plan_is_not_executed(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    plan = plan_of(vmcfg_here, TWO)
    whole = Path(plan).read_text().splitlines(keepends=True)
    cut = written("".join(whole[:-1]), "cut.jsonl")
    code, output, errors = vmcfg_here("try", "--plan", cut)
    assert (code, output, kvm.calls) == (3, "", [])
    assert errors.startswith("vmcfg: cut.jsonl, line 10: a plan with 9 commands must end with")


def test_a_plan_needs_kvm(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    plan = plan_of(vmcfg_here, TWO)
    kvm.refused["open /dev/kvm"] = errno.ENOENT
    assert vmcfg_here("try", "--plan", plan)[0] == 3
    assert vmcfg_here("try", "--plan", "absent.jsonl") == (
        3,
        "",
        f"vmcfg: cannot read absent.jsonl: {os.strerror(errno.ENOENT)}\n",
    )
