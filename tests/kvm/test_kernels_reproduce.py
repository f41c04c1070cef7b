"""The reproducers of all examples, on real kernels: each gets the answer that it expects.

Both forms are compiled for arm64, kselftests with the library of the kernel's own tests.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.kvm import machine, oracle, packages
from vmcfg.checking.check import check
from vmcfg.formats.reproducer import FORMS, Reproduced, reproduced
from vmcfg.kernel.version import Version
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.examples import FOLDER

SERIES = ("6.1", "6.12", "7.2")

RULES = {rule.id: rule for rule in every_rule()}

OTHER_HOSTS = {
    "VMC206": "a host with pages of 16 or 64 KiB",
    "VMC310": "a host with a GICv2",
    "VMC510": "a host with the PMU of the example",
    "VMC512": "a host with the PMU of the example",
    "VMC702": "a host with the PMU of the example",
    "VMC709": "a host whose register has another value",
}
"""The rules whose answer needs another host than the emulated one."""


def shown(text: bytes) -> Reproduced | None:
    checked = check(text, "vm.yaml")
    if checked.machine is None:
        return None
    return reproduced(checked.machine, checked.diagnostics, RULES, None)


EXAMPLES = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))}
SHOWN = {name: found for name, text in EXAMPLES.items() if (found := shown(text)) is not None}


def is_suitable(name: str, version: Version) -> bool:
    """Return whether the answer of a kernel of that version is the expected one."""
    found = SHOWN[name].found
    vm = check(EXAMPLES[name], "vm.yaml").machine
    assert vm is not None
    on_this = {each.rule for each in check(EXAMPLES[name], "vm.yaml", version).diagnostics}
    since = SHOWN[name].answer.since
    return (
        found.rule not in OTHER_HOSTS
        and found.rule in on_this
        and vm.host_kernel <= version
        # The emulated host has no EL2 for guests.
        and "el2" not in vm.features
        and (since is None or since <= version)
    )


# Programs -----------------------------------------------------------------------------------------

LIBRARY = (
    *("assert", "elf", "guest_modes", "guest_sprintf", "io", "kvm_util", "memstress", "rbtree"),
    *("sparsebit", "string_override", "test_util", "ucall_common", "userfaultfd_util"),
)
"""The files of the library that are for every architecture."""


@pytest.fixture(scope="session")
def library(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], Path]:
    """Return the options of the kernel's selftests, and their library."""
    linux = packages.linux_source()
    selftests = linux / "tools/testing/selftests"
    kvm = selftests / "kvm"
    folder = tmp_path_factory.mktemp("library")
    (folder / "asm").mkdir()
    tools = linux / "arch/arm64/tools"
    with (folder / "asm/sysreg-defs.h").open("wb") as header:
        generate = ["awk", "-f", str(tools / "gen-sysreg.awk"), str(tools / "sysreg")]
        subprocess.run(generate, stdout=header, check=True)
    include, of_architecture = machine.headers(oracle.kernel("6.12"))
    folders = [
        *(linux / "tools/include", linux / "tools/arch/arm64/include", include, of_architecture),
        *(kvm / "include", kvm / "include/aarch64", kvm / "lib", folder, selftests),
        selftests / "rseq",
    ]
    options = ["-std=gnu99", "-O1", "-D_GNU_SOURCE", "-DCONFIG_64BIT", "-fno-PIE"]
    options += ["-fno-stack-protector", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE"]
    options += [f"-I{each}" for each in folders]
    sources = [kvm / f"lib/{name}.c" for name in LIBRARY]
    sources += [each for each in (kvm / "lib/aarch64").iterdir() if each.suffix in (".c", ".S")]
    gcc = [program("aarch64-linux-gnu-gcc"), *options, "-w", "-c"]
    subprocess.run([*gcc, *map(str, sources)], cwd=folder, check=True)
    archive = folder / "libkvm.a"
    objects = [str(each) for each in folder.glob("*.o")]
    subprocess.run([program("aarch64-linux-gnu-ar"), "rc", str(archive), *objects], check=True)
    return options, archive


@pytest.fixture(scope="session")
def programs(
    program: Callable[[str], str],
    library: tuple[list[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    """Return both programs of each example, as files of the guest."""
    options, archive = library
    gcc = [program("aarch64-linux-gnu-gcc"), "-static", "-s", "-o", "program"]
    strict = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "program.c"]
    of_form = {
        "minimal": [*gcc, *strict],
        "kselftest": [
            *(*gcc, *options, "-Wall", "-Wno-unknown-pragmas", "-no-pie"),
            *("program.c", str(archive)),
        ],
    }
    folder = tmp_path_factory.mktemp("programs")
    files = {}
    for name, found in SHOWN.items():
        for form in FORMS:
            (folder / "program.c").write_text(found.source(form), encoding="ascii")
            subprocess.run(of_form[form], cwd=folder, check=True)
            files[f"/work/programs/{name}.{form}"] = (folder / "program").read_bytes()
    return files


DRIVER = """
import json, os, subprocess
answers = {}
for name in sorted(os.listdir("programs")):
    os.chmod(f"programs/{name}", 0o755)
    done = subprocess.run([f"programs/{name}"], capture_output=True, text=True)
    answers[name] = [done.returncode, done.stdout + done.stderr]
print(json.dumps(answers))
"""


@cache
def answers(series: str, programs: tuple[tuple[str, bytes], ...]) -> dict[str, tuple[int, str]]:
    """Return the exit code and the output of every program, from one boot."""
    command = ["python3", "-c", DRIVER]
    kernel = oracle.kernel(series)
    result = machine.run(kernel, dict(programs), command, smp=1, memory_mb=2048, timeout=900)
    assert result.exit_code == 0, result.stderr.decode()
    found: dict[str, tuple[int, str]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("form", FORMS)
def test_the_kernel_gives_the_expected_answer(
    series: str, form: str, programs: dict[str, bytes]
) -> None:
    every = answers(series, tuple(programs.items()))
    version = oracle.version(series)
    suitable = [name for name in SHOWN if is_suitable(name, version)]
    others = {name: every[f"{name}.{form}"] for name in suitable if every[f"{name}.{form}"][0] != 0}
    assert others == {}
    assert len(suitable) > 30
    oracle.TALLY[series][f"{form} reproducers with the expected answer"] += len(suitable)


def test_another_answer_is_reported(programs: dict[str, bytes]) -> None:
    """Linux 6.12 has a capability that the example expects to be absent."""
    every = answers("6.12", tuple(programs.items()))
    code, output = every["VMC708-chunk-size.minimal"]
    assert code == 1
    assert "expected Invalid argument, got Success" in output
    code, output = every["VMC708-chunk-size.kselftest"]
    assert code == 254
    assert "expected Invalid argument, got Success" in output
