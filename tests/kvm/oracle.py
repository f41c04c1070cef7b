"""What real kernels say: every description that a test asks about, tried in one boot per kernel and GIC."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import machine
import pytest

from vmcfg.checking import check

ROOT = Path(__file__).parent.parent.parent
SUITES = machine.KERNEL_SUITES
"""Debian's suites, each with a kernel of its own, the oldest first."""

Answer = dict[str, Any]


class Job(NamedTuple):
    """One thing to try. `kind` is "as described", "for this kernel" (whatever host_kernel it names), or "plan"."""

    name: str
    kind: str
    data: bytes
    gic: int


SOURCES: list[Callable[[str], Iterator[Job]]] = []
"""Functions of a suite that say what is to be tried on its kernel."""

TALLY: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
"""By kernel, how many of what was tried; printed when the tests end."""

NOTES: dict[str, list[str]] = defaultdict(list)
"""By kernel, what else is to be printed: what was not tried, and why."""


def kernel(suite: str) -> machine.Kernel:
    """The kernel of a suite. Skips the test where QEMU can't be had, and fails it where CI is set."""
    try:
        return machine.kernels()[SUITES.index(suite)]
    except machine.NoMachineError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no kernel to ask: {error}")
        pytest.skip(f"NO KERNEL WAS ASKED: {error}")


def version(suite: str) -> tuple[int, int]:
    """The kernel's version, as two numbers."""
    major, minor = kernel(suite).series.split(".")
    return int(major), int(minor)


def gic_of(data: bytes) -> int:
    """Which GIC the machine must have on which a description is tried: 2 for a GICv2's, else 3."""
    vm = check(data, "").machine
    return 2 if vm is not None and vm.gic_version() == 2 else 3


def package() -> dict[str, bytes]:
    """The files of vmcfg, at their paths in the guest."""
    return {f"/work/{path.relative_to(ROOT)}": path.read_bytes() for path in ROOT.glob("vmcfg/**/*.py")}


def answers(suite: str, gic: int) -> dict[str, Answer]:
    """The kernel's answers to all jobs for a machine with that GIC, by the jobs' names."""
    said = _asked_once(suite, gic)
    if isinstance(said, Exception):
        raise said
    return said


@cache
def _asked_once(suite: str, gic: int) -> dict[str, Answer] | Exception:
    """The answers, or why there are none: a boot that failed is not tried again for every test."""
    kernel(suite)
    jobs = [job for source in SOURCES for job in source(suite) if job.gic == gic]
    try:
        return ask(suite, jobs, gic) if jobs else {}
    except Exception as error:
        return error


def ask(suite: str, jobs: list[Job], gic: int = 3) -> dict[str, Answer]:
    """The answers of one boot of a suite's kernel to `jobs`."""
    told = [{"name": job.name, "kind": job.kind, "data": job.data.hex()} for job in jobs]
    files = package() | {
        "/work/driver.py": Path(__file__).with_name("driver.py").read_bytes(),
        "/work/jobs.json": json.dumps(told).encode(),
    }
    result = machine.run(kernel(suite), files, ["python3", "driver.py"], gic_version=gic, timeout=300 + len(jobs))
    assert result.exit_code == 0, result.stderr.decode()
    said = json.loads(result.stdout)
    TALLY[suite]["seconds in guests"] += round(said["seconds"])
    found: dict[str, Answer] = said["answers"]
    return found


def answer(suite: str, job: Job) -> Answer:
    """The kernel's answer to one job that a source has named."""
    said = answers(suite, job.gic)[job.name]
    assert "error" not in said, said["error"]
    return said
