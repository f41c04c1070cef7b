"""The device trees of vmcfg by the bindings of Linux: dt-schema has nothing to say about them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvm import packages
from tests.test_tree_source import CASES, COMPLETE, SAMPLES, compiled, machine_of
from vmcfg.guest.tree_source import source

BINDINGS = (
    "arm/cpus.yaml",
    "arm/pmu.yaml",
    "arm/psci.yaml",
    "timer/arm,arch_timer.yaml",
    "interrupt-controller/arm,gic.yaml",
    "interrupt-controller/arm,gic-v3.yaml",
)
"""What a device tree of vmcfg contains; dt-schema itself has the rest, such as memory."""

QEMU = ("-M", "virt,gic-version=3", "-cpu", "max", "-smp", "2")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the processed bindings."""
    folder = packages.linux_source() / "Documentation/devicetree/bindings"
    path = tmp_path_factory.mktemp("bindings") / "processed.json"
    files = [str(folder / each) for each in BINDINGS]
    run("dt-mk-schema", "-j", "-o", str(path), *files)
    return path


def run(program: str, *arguments: str) -> str:
    """Return what a program of dt-schema, which is next to Python, says."""
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout + done.stderr


def test_dt_schema_says_nothing(schema: Path, tmp_path: Path) -> None:
    texts = SAMPLES | CASES
    for name in COMPLETE:
        (tmp_path / f"{name}.dtb").write_bytes(compiled(source(machine_of(texts[name]))))
    assert run("dt-validate", "-s", str(schema), str(tmp_path)) == ""


def test_dt_schema_finds_mistakes(schema: Path, tmp_path: Path) -> None:
    """In a tree of QEMU, and in one of vmcfg with a word that its binding does not have."""
    board, broken = tmp_path / "board.dtb", tmp_path / "broken.dtb"
    qemu = packages.qemu("trixie")
    command = [str(qemu), *QEMU, "-display", "none", "-nic", "none", "-M", f"dumpdtb={board}"]
    subprocess.run(command, check=True, capture_output=True)
    assert f"{board}: " in run("dt-validate", "-s", str(schema), str(board))
    board.unlink()
    tree = source(machine_of(SAMPLES["qemu-virt"]))
    broken.write_bytes(compiled(tree.replace('method = "hvc"', 'method = "svc"')))
    complaint = "'svc' is not one of"
    assert complaint in run("dt-validate", "-s", str(schema), str(tmp_path))
