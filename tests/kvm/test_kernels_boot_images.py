"""try and probe --image on real kernels: they report what vmcfg reports in the same guest."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.kvm import machine, oracle, packages

SERIES = ("6.1", "6.12", "7.2")
EXAMPLES = oracle.ROOT / "vmcfg/reference/examples"
SAMPLES = oracle.ROOT / "sample-configs"
RIGHT = str(SAMPLES / "minimal.yaml")
PROBE = ["python3", "-m", "vmcfg", "probe", "--format", "json"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def with_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Put QEMU of the tests into the search path, whether it is installed or a private copy."""
    script = tmp_path / "bin/qemu-system-aarch64"
    script.parent.mkdir()
    program, *options = machine._qemu()
    command = shlex.join([shutil.which(program) or program, *options])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def tried(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return the result of try --image."""
    return run("try", "--image", str(image), *arguments)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(oracle.ROOT)},
    )


@cache
def in_the_guest(series: str) -> dict[str, Any]:
    """Return the report of vmcfg with Python, in a guest with the same kernel."""
    files = oracle.package()
    for folder in (EXAMPLES, SAMPLES):
        for path in folder.glob("*.yaml"):
            files[f"/work/{path.relative_to(oracle.ROOT)}"] = path.read_bytes()
    command = ["python3", "-m", "vmcfg", "try", "--examples", "--format", "json"]
    result = machine.run(oracle.kernel(series), files, command, smp=1)
    report: dict[str, Any] = json.loads(result.stdout)
    return report


@pytest.mark.parametrize("series", SERIES)
def test_the_report_is_that_of_python_in_the_guest(series: str) -> None:
    result = tried(oracle.kernel(series).image, "--examples", "--format", "json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    executed = [each for each in report["tries"] if "skipped" not in each]
    skipped = len(report["tries"]) - len(executed)
    oracle.NOTES[series].append(
        f"--examples by --image: {len(executed)} executed, {skipped} skipped"
    )
    assert len(executed) > 60
    assert report == in_the_guest(series)


@pytest.mark.parametrize("series", SERIES)
def test_the_host_file_is_that_of_python_in_the_guest(series: str) -> None:
    kernel = oracle.kernel(series)
    inside = machine.run(kernel, oracle.package(), PROBE, smp=1)
    result = run("probe", "--image", str(kernel.image), "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == inside.stdout.decode()


def test_a_host_without_its_and_sve_is_probed() -> None:
    kernel = oracle.kernel("6.12")
    options = ("--machine", "gic-version=2", "--cpu", "cortex-a72")
    inside = machine.run(
        kernel, oracle.package(), PROBE, smp=1, gic_version=2, cpu="cortex-a72"
    ).stdout.decode()
    result = run("probe", "--image", str(kernel.image), *options, "--format", "json")
    assert (result.returncode, result.stdout) == (0, inside)
    host = json.loads(inside)
    assert (host["devices"], host["sve_vector_lengths"]) == (["KVM_DEV_TYPE_ARM_VGIC_V2"], None)


def test_a_gicv2_and_another_cpu_can_be_chosen() -> None:
    options = ("--machine", "gic-version=2", "--cpu", "cortex-a72")
    gicv2 = str(SAMPLES / "gicv2.yaml")
    result = tried(oracle.kernel("6.12").image, *options, "--format", "ktap", gicv2, RIGHT)
    assert result.stdout.splitlines()[-2:] == [f"ok 1 {gicv2}", f"ok 2 {RIGHT}"], result
    assert result.returncode == 0


def test_a_compressed_image_boots(tmp_path: Path) -> None:
    image = tmp_path / "Image.gz"
    content = oracle.kernel("6.1").image.read_bytes()
    image.write_bytes(gzip.compress(content, 1))
    result = tried(image, RIGHT)
    said = "vmcfg: the VMM sets up the GIC; try uses a GICv3 instead\n"
    assert (result.returncode, result.stderr) == (0, said)
    assert "edge-gateway on Linux 6.1." in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--append", "kvm-arm.mode=none"), "this kernel has no KVM, or was not booted at EL2"),
        (("--machine", "virtualization=off"), "this kernel has no KVM, or was not booted at EL2"),
        (("--append", "init=/none rdinit=/none"), "the kernel panics: Kernel panic"),
        (("--cpu", "no-such-cpu"), "QEMU ended with status 1 before the guest did"),
    ],
)
def test_a_guest_without_kvm_or_init_is_one_sentence(options: tuple[str, ...], said: str) -> None:
    result = tried(oracle.kernel("6.1").image, *options, RIGHT)
    assert (result.returncode, result.stdout) == (3, "")
    assert said in result.stderr.splitlines()[0]


def test_the_parser_of_the_kernel_reads_ktap(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("vmcfg: 1\nname: two\nvcpus:\n  - mpidr: 0.0.0.0\n  - mpidr: 0.0.0.0\n")
    files = [str(wrong), str(SAMPLES / "strict-pmu.yaml"), RIGHT]
    result = tried(oracle.kernel("6.1").image, "--format", "ktap", *files)
    assert result.returncode == 1
    kunit = kunit_of_the_kernel(tmp_path)
    program = (
        "import sys; from kunit_parser import parse_run_tests\n"
        "from kunit_printer import Printer, stdout\n"
        "import inspect\n"
        "more = len(inspect.signature(parse_run_tests).parameters) > 1\n"
        "lines = sys.stdin.read().splitlines()\n"
        "test = parse_run_tests(lines, stdout) if more else parse_run_tests(lines)\n"
        "print('counts', test.counts.passed, test.counts.failed, test.counts.skipped,"
        " test.counts.errors, test.counts.crashed)"
    )
    parsed = subprocess.run(
        [sys.executable, "-c", program],
        input=result.stdout,
        capture_output=True,
        text=True,
        cwd=kunit,
    )
    assert parsed.stdout.splitlines()[-1] == "counts 1 1 1 0 0", parsed


def kunit_of_the_kernel(folder: Path) -> Path:
    """Return a directory with tools/testing/kunit of Linux."""
    pattern = r"usr/src/linux-source-[0-9.]+\.tar\.xz$"
    package = packages.files_of("trixie", "arm64", r"linux-source-6\.\d+", pattern)
    (path,) = package.root.glob("usr/src/linux-source-*.tar.xz")
    with tarfile.open(path, "r|xz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if parts[1:4] == ("tools", "testing", "kunit") and member.name.endswith(".py"):
                content = archive.extractfile(member)
                assert content is not None
                (folder / parts[-1]).write_bytes(content.read())
            elif (
                parts[1:3] > ("tools", "testing", "kunit") and (folder / "kunit_parser.py").exists()
            ):
                break
    return folder
