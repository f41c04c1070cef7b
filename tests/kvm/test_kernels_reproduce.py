"""The reproducers of all examples, on real kernels: each gets the answer that it expects.

Both forms are compiled for arm64, kselftests with the library of the kernel's own tests.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import cache

import pytest

from tests.kvm import machine, oracle
from tests.kvm.selftests import WARNINGS, selftests
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


@pytest.fixture(scope="session")
def programs(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Return both programs of each example, as files of the guest."""
    gcc, ar = program("aarch64-linux-gnu-gcc"), program("aarch64-linux-gnu-ar")
    kvm = selftests(gcc, ar, tmp_path_factory.mktemp("library"))
    strict = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-static", "-s")
    folder = tmp_path_factory.mktemp("programs")
    source, target = folder / "program.c", folder / "program"
    files = {}
    for name, found in SHOWN.items():
        at = f"/work/programs/{name}"
        source.write_text(found.source("minimal"), encoding="ascii")
        subprocess.run([gcc, *strict, "-o", target, source], check=True)
        files[f"{at}.minimal"] = target.read_bytes()
        source.write_text(found.source("kselftest"), encoding="ascii")
        files[f"{at}.kselftest"] = kvm.program(source, target, *WARNINGS)
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
    result = machine.run(kernel, dict(programs), command, memory_mb=2048, timeout=900)
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
