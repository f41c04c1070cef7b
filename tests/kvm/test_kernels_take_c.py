"""emit --format c --main, compiled for arm64, does the same on real kernels as `vmcfg try`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest

from tests.kvm import machine, oracle
from vmcfg.checking.check import check
from vmcfg.commands.try_ import report_text
from vmcfg.formats.c import c
from vmcfg.formats.unresolved import unresolved_commands
from vmcfg.kernel.version import version_of
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Scope
from vmcfg.trial.boot import perform_in
from vmcfg.trial.emulated import CPU
from vmcfg.trial.trying import DescriptionTrial
from vmcfg.trial.verdict import attempts

HERE = Path(__file__).parent
FLAGS = ("-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-static", "-s")


def written(path: Path, scope: Scope, main: bool) -> str | None:
    """Return a sample in C; None if only the host knows a value of it."""
    checked = check(path.read_bytes(), path.name)
    assert checked.machine is not None
    plan = lower(checked.machine, scope)
    return None if unresolved_commands(plan) else c(plan, checked.tree, main)


SAMPLES = {
    path.stem: path
    for path in sorted((oracle.ROOT / "sample-configs").glob("*.yaml"))
    if written(path, WHOLE_VM, main=True) is not None
}


@pytest.fixture(scope="session")
def programs(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Return the programs of all samples, and the caller of one, as files of the guest."""
    compiler = program("aarch64-linux-gnu-gcc")
    folder = tmp_path_factory.mktemp("c")

    def compiled(name: str, *sources: str) -> bytes:
        subprocess.run([compiler, *FLAGS, "-o", name, *sources], cwd=folder, check=True)
        return (folder / name).read_bytes()

    files = {}
    for name, path in SAMPLES.items():
        (folder / f"{name}-main.c").write_text(written(path, WHOLE_VM, main=True) or "")
        files[f"/work/programs/{name}"] = compiled(name, f"{name}-main.c")
    (folder / "minimal.c").write_text(written(SAMPLES["minimal"], ATTRIBUTES, main=False) or "")
    (folder / "caller.c").write_bytes((HERE / "caller.c").read_bytes())
    files["/work/programs/caller"] = compiled("caller", "caller.c", "minimal.c")
    return files


EXECUTED = """\
cd programs; chmod +x *
for name in *; do echo "== $name"; ./$name; echo "== exit code $?"; done
"""


@cache
def said(series: str, programs: tuple[tuple[str, bytes], ...]) -> dict[str, tuple[int, str]]:
    """Return the exit code and the output of each program, from one boot."""
    result = machine.run(oracle.kernel(series), dict(programs), ["sh", "-c", EXECUTED], cpu=CPU)
    pattern = r"(?ms)^== (\S+)\n(.*?)^== exit code ([0-9]+)$"
    found = re.findall(pattern, result.stdout.decode())
    return {name: (int(code), output) for name, output, code in found}


@cache
def tried(series: str) -> dict[str, tuple[int, str]]:
    """Return the exit code and the output of `vmcfg try --verbose` for each sample."""
    guest = oracle.guest_of(series, oracle.GICV3)
    release = guest.image.release
    trials = [
        DescriptionTrial(path.read_bytes(), path.name, None, strict=False, unchecked=False)
        for path in SAMPLES.values()
    ]
    on_it = [trial.on(version_of(release)) for trial in trials]
    performed = partial(perform_in, guest, go_on=False, run=True)
    with machine.counted(series):
        results = [attempt.tried for attempt in attempts(on_it, performed, release, skips=False)]
    assert None not in results
    return {
        name: (int(each.failed), report_text(each, True, "never"))
        for name, each in zip(SAMPLES, results, strict=True)
        if each is not None
    }


def steps(text: str) -> list[str]:
    """Return the lines of commands and of runs, without the values that `try` reads back."""
    lines = [line for line in text.splitlines() if re.match(r"[0-9]+ [a-z]+-|run vcpu:", line)]
    return [re.sub(r": ok, read back .*", ": ok", line) for line in lines]


@pytest.mark.parametrize("series", oracle.FULL)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_program_does_what_try_does(series: str, name: str, programs: dict[str, bytes]) -> None:
    code, output = said(series, tuple(programs.items()))[name]
    try_code, try_output = tried(series)[name]
    assert output.splitlines() == steps(try_output)
    assert code == try_code
    vm = check(SAMPLES[name].read_bytes(), name).machine
    assert vm is not None
    # This host has only a GICv3, and no EL2 for guests. 6.1 does not support 52 bits. A kernel can
    # be older than the host_kernel of the sample.
    bits = 52 if oracle.version(series) >= (6, 12) else 48
    able = vm.gic_version() != 2 and "el2" not in vm.features and vm.ipa_bits <= bits
    if able and oracle.version(series) >= vm.host_kernel:
        assert code == 0
        assert {line.endswith(": ok") for line in output.splitlines()} == {True}
        assert sum(line.startswith("run vcpu:") for line in output.splitlines()) == len(vm.vcpus)
    oracle.TALLY[series]["C programs compared"] += 1


@pytest.mark.parametrize("series", oracle.FULL)
def test_it_compiles_against_the_kernels_own_headers(
    series: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    """Newer headers have names that are newer than 6.1; the program then asserts their numbers and
    layouts, too.
    """
    kernel = oracle.kernel(series)
    compiler = [
        program("aarch64-linux-gnu-gcc"),
        *(f"-isystem{folder}" for folder in machine.headers(kernel)),
    ]
    macros = subprocess.run(
        [
            *compiler,
            "-dM",
            "-E",
            "-include",
            "linux/kvm.h",
            "-include",
            "linux/version.h",
            "-x",
            "c",
            "/dev/null",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    defined = dict(re.findall(r"(?m)^#define (\w+) (.+)$", macros))
    assert (
        f"{defined['LINUX_VERSION_MAJOR']}.{defined['LINUX_VERSION_PATCHLEVEL']}" == kernel.series
    )
    guarded = set()
    for path in (oracle.ROOT / "sample-configs").glob("*.yaml"):
        checked = check(path.read_bytes(), path.name)
        assert checked.machine is not None
        plan = lower(checked.machine, WHOLE_VM)
        known = tuple(
            command for command in plan.commands if command not in unresolved_commands(plan)
        )
        text = c(plan._replace(commands=known), checked.tree, main=True)
        (tmp_path / "plan.c").write_text(text)
        subprocess.run([*compiler, *FLAGS, "-fsyntax-only", "plan.c"], cwd=tmp_path, check=True)
        guarded |= set(re.findall(r"(?m)^#ifdef (KVM_\w+)", text))
    if series == oracle.FULL[-1]:
        assert guarded <= set(defined)
        assert guarded > {
            "KVM_ARM_VM_SMCCC_FILTER",
            "KVM_ARM_VCPU_TIMER_IRQ_HVTIMER",
            "KVM_ARM_VCPU_HAS_EL2",
        }


@pytest.mark.parametrize("series", oracle.FULL)
def test_a_refusal_is_among_what_is_compared(series: str, programs: dict[str, bytes]) -> None:
    code, output = said(series, tuple(programs.items()))["gicv2"]
    assert code == 1
    assert re.search(
        r"(?m)^[0-9]+ create-device gic - KVM_DEV_TYPE_ARM_VGIC_V2 u32 5: ENODEV$", output
    )
    assert output.endswith(": not reached\n")


@pytest.mark.parametrize("series", oracle.FULL)
def test_a_vmm_executes_it_on_its_own_descriptors(series: str, programs: dict[str, bytes]) -> None:
    code, output = said(series, tuple(programs.items()))["caller"]
    assert code == 0
    assert output.splitlines() == [
        "3 set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT none - 7:14: No "
        "such device",
        "done",
        "1 set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23 7:14: "
        "Device or resource busy",
    ]
