"""The output of vmcfg if vmcfg itself fails: these tests break a rule on purpose."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BROKEN = """
from vmcfg.rules.machine_rules import MACHINE_RULES

rule = MACHINE_RULES[0]
check = rule.check

def broken(machine):
    if machine.name == "bad":
        raise TypeError("planted")
    return check(machine)

rule.check = broken

from vmcfg.__main__ import main

main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, vcpus in (("a-wrong", 600), ("bad", 1), ("z-wrong", 600)):
        (tmp_path / f"{name}.yaml").write_text(f"vmcfg: 1\nname: {name}\nvcpus: {vcpus}\n")
    return tmp_path


def vmcfg(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *args],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_defect_in_one_file_does_not_stop_the_others(folder: Path) -> None:
    done = vmcfg(folder, "validate", "--format", "concise", ".")
    assert done.returncode == 3
    assert re.findall(r"^./(\S+?):", done.stdout, re.MULTILINE) == ["a-wrong.yaml", "z-wrong.yaml"]
    assert done.stderr == (
        "vmcfg: internal error in ./bad.yaml, rule VMC201: TypeError: planted\n"
        "This is a defect of vmcfg: please report it with the description and the command."
        " Set VMCFG_TRACEBACK=1 to print the traceback.\n"
    )


def test_many_processes_report_it_too(folder: Path) -> None:
    for number in range(80):
        (folder / f"m{number}.yaml").write_text("vmcfg: 1\nname: vm\nvcpus: 1\n")
    done = vmcfg(folder, "validate", "--jobs", "2", "--format", "json", ".")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["files"] == 82
    (unreadable,) = report["unreadable"]
    assert unreadable["file"] == "./bad.yaml"
    assert "rule VMC201" in unreadable["message"]


@pytest.mark.parametrize("command", ["emit", "show", "validate"])
def test_the_traceback_is_printed_on_request(folder: Path, command: str) -> None:
    quiet = vmcfg(folder, command, "bad.yaml")
    assert quiet.returncode == 3
    assert "Traceback" not in quiet.stderr
    told = vmcfg(folder, command, "bad.yaml", VMCFG_TRACEBACK="1")
    assert told.returncode == 3
    assert "Traceback (most recent call last)" in told.stderr
    assert "in broken" in told.stderr
    assert "internal error in bad.yaml, rule VMC201: TypeError: planted\n" in told.stderr
