"""QEMU, started with what `vmcfg emit --format qemu` prints, tells KVM what the description says.

Every description of tests/qemu, with QEMU of Debian 12, 13, and sid, on the kernels that have
everything: `vmcfg record` writes down what QEMU tells KVM, and `vmcfg diff` compares it with the
description. The examples and cases of VMC82x and VMC83x must differ in what their finding says.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.kvm import machine, monitors, oracle
from tests.test_vmm_rules import CASES, EXAMPLES
from vmcfg import cli
from vmcfg.checking.check import check
from vmcfg.monitors.qemu_command_line import command_line

FOLDER = oracle.ROOT / "tests/qemu"
DESCRIPTIONS = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))}

WITHOUT_DEVICES = ("-nodefaults", "-display", "none", "-S", "-monitor", "stdio")
"""What is added to the emitted words: QEMU ends without running the guest, and needs no other file.
"""

OTHERS = CASES | EXAMPLES
"""Descriptions with a finding, which are run with the nearest command line."""


def emitted(data: bytes) -> list[str]:
    """Return the arguments that are emitted for a description, regardless of findings."""
    vm = check(data, "vm.yaml").machine
    assert vm is not None
    return shlex.split(command_line(vm))[1:]


def is_for_gicv2(data: bytes) -> bool:
    vm = check(data, "vm.yaml").machine
    assert vm is not None
    return vm.gic_version() == 2


def jobs(qemu: str, gic: int) -> Iterator[dict[str, Any]]:
    for name, data in (DESCRIPTIONS | OTHERS).items():
        if is_for_gicv2(data) == (gic == 2):
            command = monitors.qemu_command(qemu, *emitted(data), *WITHOUT_DEVICES)
            yield {"name": name, "command": command, "input": "quit\n"}


@cache
def records(series: str, qemu: str, gic: int) -> dict[str, Any]:
    """Return the records of all descriptions, by name, from one boot."""
    driver = Path(__file__).with_name("record_driver.py").read_bytes()
    files = oracle.package() | monitors.qemu_files(qemu)
    files |= {
        "/work/driver.py": driver,
        "/work/jobs.json": json.dumps(list(jobs(qemu, gic))).encode(),
    }
    # The kernel must not refuse memory that QEMU never uses.
    command = "echo 1 >/proc/sys/vm/overcommit_memory; exec python3 /work/driver.py"
    done = machine.run(
        oracle.kernel(series),
        files,
        ["sh", "-c", command],
        gic_version=gic,
        memory_mb=3072,
        timeout=2400,
    )
    assert done.exit_code == 0, done.stderr.decode()
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def differences(series: str, qemu: str, name: str, folder: Path) -> list[dict[str, Any]]:
    """Return what `vmcfg diff` finds between a description and the record of its command line."""
    data = (DESCRIPTIONS | OTHERS)[name]
    answer = records(series, qemu, 2 if is_for_gicv2(data) else 3)[name]
    assert answer.get("exit_code") == 0, answer
    description, record = folder / "vm.yaml", folder / "record.jsonl"
    description.write_bytes(data)
    record.write_text(answer["record"])
    arguments = ["diff", "--unchecked", "--format", "json", str(description), str(record)]
    done = CliRunner().invoke(cli.vmcfg, arguments)
    assert done.exit_code in (0, 1), done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["differences"]
    return found


@pytest.mark.parametrize("series", oracle.FULL)
@pytest.mark.parametrize("qemu", monitors.SUITES)
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_qemu_creates_what_is_described(series: str, qemu: str, name: str, tmp_path: Path) -> None:
    assert differences(series, qemu, name, tmp_path) == []
    oracle.TALLY[series][f"descriptions run by QEMU {qemu} without difference"] += 1
