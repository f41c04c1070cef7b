"""try and probe --image on real kernels: they report what vmcfg reports in the same guest."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.kvm import machine, oracle, packages, test_kernels_agree
from tests.kvm.images import run, tried
from vmcfg.trial.emulated import CPU

SERIES = ("6.1", "7.2")
EXAMPLES = oracle.ROOT / "vmcfg/reference/examples"
SAMPLES = oracle.ROOT / "sample-configs"
RIGHT = str(SAMPLES / "minimal.yaml")
PROBE = ["python3", "-m", "vmcfg", "probe", "--format", "json"]
RANDOM = 40
SEPARATOR = "----"

pytestmark = pytest.mark.slow


SHOWN = {
    "--examples": ["try", "--examples", "--format", "json"],
    "random descriptions": ["try", "--unchecked", "--format", "json", "random"],
    "probe": ["probe", "--format", "json"],
}
"""What vmcfg prints in a guest with Python, and on this host with the image of the same kernel."""


def random_descriptions(series: str) -> dict[str, bytes]:
    """Return the first random descriptions for the kernel of a series, by path."""
    jobs = test_kernels_agree.batch(series, 0, 3)[:RANDOM]
    return {f"random/{number:02}.yaml": job.data for number, job in enumerate(jobs)}


@cache
def in_the_guest(series: str) -> dict[str, str]:
    """Return what vmcfg prints in a guest with that kernel."""
    files = oracle.package()
    for folder in (EXAMPLES, SAMPLES):
        for path in folder.glob("*.yaml"):
            files[f"/work/{path.relative_to(oracle.ROOT)}"] = path.read_bytes()
    files |= {f"/work/{name}": data for name, data in random_descriptions(series).items()}
    script = f"; echo {SEPARATOR}; ".join(
        shlex.join(["python3", "-m", "vmcfg", *words]) for words in SHOWN.values()
    )
    result = machine.run(oracle.kernel(series), files, ["sh", "-c", script], cpu=CPU, timeout=600)
    said = result.stdout.decode().split(f"{SEPARATOR}\n")
    return dict(zip(SHOWN, said, strict=True))


@pytest.mark.parametrize("series", SERIES)
def test_the_report_is_that_of_python_in_the_guest(series: str) -> None:
    result = tried(series, "--examples", "--format", "json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    executed = [each for each in report["tries"] if "skipped" not in each]
    skipped = len(report["tries"]) - len(executed)
    oracle.NOTES[series].append(
        f"--examples by --image: {len(executed)} executed, {skipped} skipped"
    )
    assert len(executed) > 60
    assert report == json.loads(in_the_guest(series)["--examples"])


@pytest.mark.parametrize("series", SERIES)
def test_random_descriptions_have_the_answers_that_python_gets(
    series: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("random").mkdir()
    for name, data in random_descriptions(series).items():
        Path(name).write_bytes(data)
    _, *words = SHOWN["random descriptions"]
    report = json.loads(tried(series, *words).stdout)
    assert len(report["tries"]) == RANDOM
    assert report == json.loads(in_the_guest(series)["random descriptions"])


@pytest.mark.parametrize("series", SERIES)
def test_the_host_file_is_that_of_python_in_the_guest(series: str) -> None:
    result = run("probe", "--image", str(oracle.kernel(series).image), "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == in_the_guest(series)["probe"]


def test_a_host_without_its_and_sve_is_probed() -> None:
    kernel = oracle.kernel("6.12")
    options = ("--machine", "gic-version=2", "--cpu", "cortex-a72")
    inside = machine.run(
        kernel, oracle.package(), PROBE, gic_version=2, cpu="cortex-a72"
    ).stdout.decode()
    result = run("probe", "--image", str(kernel.image), *options, "--format", "json")
    assert (result.returncode, result.stdout) == (0, inside)
    host = json.loads(inside)
    assert (host["devices"], host["sve_vector_lengths"]) == (["KVM_DEV_TYPE_ARM_VGIC_V2"], None)


def test_a_gicv2_and_another_cpu_can_be_chosen() -> None:
    options = ("--machine", "gic-version=2", "--cpu", "cortex-a72")
    gicv2 = str(SAMPLES / "gicv2.yaml")
    result = tried("6.12", *options, "--format", "ktap", gicv2, RIGHT)
    assert result.stdout.splitlines()[-2:] == [f"ok 1 {gicv2}", f"ok 2 {RIGHT}"], result
    assert result.returncode == 0


def test_a_compressed_image_boots(tmp_path: Path) -> None:
    image = tmp_path / "Image.gz"
    content = oracle.kernel("6.1").image.read_bytes()
    image.write_bytes(gzip.compress(content, 1))
    result = run("try", "--image", str(image), RIGHT)
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
    result = tried("6.1", *options, RIGHT)
    assert (result.returncode, result.stdout) == (3, "")
    assert said in result.stderr.splitlines()[0]


def test_an_initrd_is_booted_by_others_and_read_from_its_console(tmp_path: Path) -> None:
    kernel = oracle.kernel("7.2")
    initrd, console = tmp_path / "initrd", tmp_path / "console"
    command = ("--examples", "--format", "json")
    written = tried("7.2", *command, "--initrd", str(initrd))
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    machine_ = ("-M", "virt,virtualization=on,gic-version=3,mte=on", "-cpu", CPU)
    options = ("-m", "2G", "-nographic", "-nic", "none", "-no-reboot", "-append", "earlycon")
    booted = subprocess.run(
        [machine.qemu(), *machine_, *options, "-kernel", kernel.image, "-initrd", initrd],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )
    console.write_bytes(booted.stdout)
    assert b"Booting Linux on physical CPU" in booted.stdout
    report = run("try", *command, "--results", str(console))
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout) == json.loads(in_the_guest("7.2")["--examples"])


def test_init_is_also_a_program_that_reads_plans(tmp_path: Path) -> None:
    initrd, console = tmp_path / "initrd", tmp_path / "console"
    assert tried("7.2", RIGHT, "--initrd", str(initrd)).returncode == 0
    files = {"/work/initrd": initrd.read_bytes()}
    script = "cpio -i init plans <initrd && ./init <plans"
    done = machine.run(oracle.kernel("7.2"), files, ["sh", "-c", script])
    console.write_bytes(done.stdout)
    report = run("try", "--results", str(console), RIGHT)
    assert report.returncode == 0
    assert re.match(r"edge-gateway on Linux 7\.2\.\d+\S*: (\d+) of \1 commands", report.stdout)


def test_the_parser_of_the_kernel_reads_ktap(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("vmcfg: 1\nname: two\nvcpus:\n  - mpidr: 0.0.0.0\n  - mpidr: 0.0.0.0\n")
    files = [str(wrong), str(SAMPLES / "strict-pmu.yaml"), RIGHT]
    result = tried("6.1", "--format", "ktap", *files)
    assert result.returncode == 1
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
        cwd=packages.linux_source() / "tools/testing/kunit",
    )
    assert parsed.stdout.splitlines()[-1] == "counts 1 1 1 0 0", parsed
