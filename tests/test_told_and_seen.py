"""What a VMM told KVM, compared with what its guest sees: the mistakes that the README names."""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
from pathlib import Path

from tests.blobs import Tree, blob
from tests.test_acpi import REGION, apic, gicc, gicd, gtdt, its

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "records" / "qemu-11.1-smp-2-linux-7.2.jsonl.xz"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmcfg", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def differences(source: str, told: str, cwd: Path) -> list[str]:
    """Return the differences between what a guest sees in `source` and what KVM was told."""
    imported = run("import", source, "-o", "seen.yaml", cwd=cwd)
    assert imported.returncode == 0, imported.stderr
    compared = run("diff", "seen.yaml", told, cwd=cwd)
    assert compared.returncode in (0, 1), compared.stderr
    return compared.stdout.splitlines()


def tables(folder: Path, pmu: int) -> None:
    """Write ACPI tables that agree with the record, except possibly the interrupt of the PMU."""
    folder.mkdir()
    vcpus = [gicc(index, pmu=pmu) for index in (0, 1)]
    (folder / "APIC").write_bytes(apic(*vcpus, gicd(), REGION, its(0x808_0000)))
    (folder / "GTDT").write_bytes(gtdt())


def test_a_pmu_interrupt_that_is_missing_in_acpi_is_found(tmp_path: Path) -> None:
    """As in Cloud Hypervisor until #8861."""
    (tmp_path / "told.jsonl").write_bytes(lzma.decompress(RECORD.read_bytes()))
    tables(tmp_path / "right", pmu=23)
    tables(tmp_path / "wrong", pmu=0)
    # Tables do not contain steal time.
    right = differences("right", "told.jsonl", tmp_path)
    assert [line for line in right if "PVTIME" not in line] == []
    wrong = [line for line in differences("wrong", "told.jsonl", tmp_path) if "PMU_V3" in line]
    assert any("KVM_ARM_VCPU_PMU_V3_IRQ s32 23 (vCPU 0.0.0.0" in line for line in wrong)
    assert any("KVM_ARM_VCPU_PMU_V3_IRQ s32 23 (vCPU 0.0.0.1" in line for line in wrong)
    assert any("init-vcpu vcpu:0" in line for line in wrong)


def tree(mpidrs: list[int]) -> bytes:
    """Return a device tree with these vCPUs."""
    cpus: Tree = {"#address-cells": 1, "#size-cells": 0}
    for mpidr in mpidrs:
        cpus[f"cpu@{mpidr:x}"] = {"device_type": "cpu", "reg": mpidr, "enable-method": "psci"}
    return blob({"#address-cells": 2, "#size-cells": 2, "cpus": cpus})


def test_mpidrs_that_are_indexes_are_found(tmp_path: Path) -> None:
    """As in Firecracker until #1283: with more than 16 vCPUs, KVM does not assign MPIDR n."""
    (tmp_path / "vm.yaml").write_text("vmcfg: 1\nname: vm\nvcpus: 18\n")
    plan = run("emit", "vm.yaml", "--scope", "vm", "--format", "jsonl", cwd=tmp_path)
    (tmp_path / "told.jsonl").write_text(plan.stdout)
    (tmp_path / "right.dtb").write_bytes(tree([*range(16), 0x100, 0x101]))
    (tmp_path / "wrong.dtb").write_bytes(tree([*range(18)]))
    assert differences("right.dtb", "told.jsonl", tmp_path) == []
    run("import", "wrong.dtb", "-o", "seen.yaml", cwd=tmp_path)
    validated = run("validate", "--format", "concise", "seen.yaml", cwd=tmp_path)
    assert "vCPU 0.0.0.16 has Aff0 16, above 15: a guest with GICv3 cannot" in validated.stdout
    assert "if you mean the vCPU with id 16, write 0.0.1.0" in validated.stdout
    compared = run("diff", "--unchecked", "seen.yaml", "told.jsonl", cwd=tmp_path)
    assert any("(vCPU 0.0.0.16" in line for line in compared.stdout.splitlines())
