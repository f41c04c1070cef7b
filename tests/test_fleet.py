"""fleet/: the playbook for many hosts, as ansible-lint sees it. tests/kvm runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Vmcfg

FLEET = ROOT / "fleet"

pytestmark = pytest.mark.slow


def _run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run(
        [str(program), *command[1:]],
        cwd=FLEET,
        env={
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_ansible_lint_finds_nothing(tmp_path: Path) -> None:
    options = ["--offline", "--strict", "--profile", "production", "--nocolor"]
    done = _run(tmp_path, "ansible-lint", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failure(s), 0 warning(s)" in done.stderr + done.stdout


def test_every_host_has_descriptions_without_errors(vmcfg_here: Vmcfg, tmp_path: Path) -> None:
    listed = _run(
        tmp_path, "ansible", "kvm", "-m", "ansible.builtin.debug", "-a", "var=vms_descriptions"
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr
    folders = {line.split('"')[3] for line in listed.stdout.splitlines() if "vms/" in line}
    assert folders == {f"vms/{path.name}" for path in (FLEET / "vms").iterdir()}
    for folder in folders:
        assert vmcfg_here("validate", "--strict", str(FLEET / folder)) == (0, "", "")
