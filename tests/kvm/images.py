"""`vmcfg try --image` and `vmcfg probe --image` with the kernels of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.kvm import machine, oracle


def tried(
    series: str, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Return the result of try --image with the kernel of a series."""
    return run("try", "--image", str(oracle.kernel(series).image), *arguments, cwd=cwd)


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Return the result of vmcfg with QEMU of the tests in its search path."""
    path = f"{_folder_of_qemu().name}:{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(oracle.ROOT), "PATH": path},
    )


@cache
def _folder_of_qemu() -> TemporaryDirectory[str]:
    """Return a directory with QEMU, whether it is installed or a private copy."""
    folder = TemporaryDirectory(prefix="vmcfg-kvm-")
    Path(folder.name, "qemu-system-aarch64").symlink_to(machine.qemu())
    return folder
