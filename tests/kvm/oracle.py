"""What real kernels say: every description that a test asks about, tried in one boot per kernel and
GIC.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kvm import machine
from vmcfg.checking.check import check

ROOT = Path(__file__).parent.parent.parent
SUITES = machine.KERNEL_SUITES
"""Debian's suites, each with a kernel of its own, the oldest first."""

Answer = dict[str, Any]


class Job(NamedTuple):
    """One thing to try. `kind` is "as described", "for this kernel" (whatever host_kernel it
    names), or "plan".
    """

    name: str
    kind: str
    data: bytes
    host: str


HOSTS = GICV2, GICV3, NESTED = ("gicv2", "gicv3", "nested")
"""The machines that are booted: QEMU's with a GICv2, with a GICv3, and with that and EL2 inside
KVM's guests.
"""

EL2_SINCE = (6, 16)

SOURCES: list[Callable[[str], Iterator[Job]]] = []
"""Functions of a suite that say what is to be tried on its kernel."""

TALLY: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
"""By kernel, how many of what was tried; printed when the tests end."""

NOTES: dict[str, list[str]] = defaultdict(list)
"""By kernel, what else is to be printed: what was not tried, and why."""


def kernel(suite: str) -> machine.Kernel:
    """The kernel of a suite. Without QEMU, the test is skipped, or fails if CI is set."""
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


def host_for(suite: str, data: bytes) -> str:
    """The machine on which a description is tried: with the GIC that it needs, and where it has
    el2, with that.
    """
    vm = check(data, "").machine
    if vm is not None and "el2" in vm.features and version(suite) >= EL2_SINCE:
        return NESTED
    return GICV2 if vm is not None and vm.gic_version() == 2 else GICV3


def too_new(suite: str, data: bytes) -> str | None:
    """Why a description isn't tried on a suite's kernel, or None where it is."""
    vm = check(data, "").machine
    if vm is not None and vm.host_kernel > version(suite):
        return f"its host_kernel is {'.'.join(map(str, vm.host_kernel))}"
    if vm is not None and most_ipa_bits(suite) < vm.ipa_bits <= 52:
        return f"its addresses have {vm.ipa_bits} bits, and this machine's {most_ipa_bits(suite)}"
    return None


def most_ipa_bits(suite: str) -> int:
    """How wide a guest-physical address may be on the machine: 6.1 has no LPA2 for guests."""
    return 52 if version(suite) >= (6, 12) else 48


def package() -> dict[str, bytes]:
    """The files of vmcfg, at their paths in the guest."""
    return {
        f"/work/{path.relative_to(ROOT)}": path.read_bytes() for path in ROOT.glob("vmcfg/**/*.py")
    }


def answers(suite: str, host: str) -> dict[str, Answer]:
    """The kernel's answers to all jobs for that machine, by the jobs' names."""
    said = _asked_once(suite, host)
    if isinstance(said, Exception):
        raise said
    return said


@cache
def _asked_once(suite: str, host: str) -> dict[str, Answer] | Exception:
    """The answers, or why there are none: a boot that failed is not tried again for every test."""
    kernel(suite)
    jobs = [job for job in all_jobs(suite).values() if job.host == host]
    try:
        return ask(suite, jobs, host) if jobs else {}
    except Exception as error:
        return error


def ask(suite: str, jobs: list[Job], host: str = GICV3) -> dict[str, Answer]:
    """The answers of one boot of a suite's kernel to `jobs`."""
    told = [{"name": job.name, "kind": job.kind, "data": job.data.hex()} for job in jobs]
    files = package() | {
        "/work/driver.py": Path(__file__).with_name("driver.py").read_bytes(),
        "/work/jobs.json": json.dumps(told).encode(),
    }
    result = machine.run(
        kernel(suite),
        files,
        ["python3", "driver.py"],
        gic_version=2 if host == GICV2 else 3,
        nested=host == NESTED,
        timeout=300 + len(jobs),
    )
    assert result.exit_code == 0, result.stderr.decode()
    said = json.loads(result.stdout)
    TALLY[suite]["seconds in guests"] += round(said["seconds"])
    found: dict[str, Answer] = said["answers"]
    return found


@cache
def all_jobs(suite: str) -> dict[str, Job]:
    """All that is to be tried on a suite's kernel in the first boots, by name."""
    return {job.name: job for source in SOURCES for job in source(suite)}


def answer(suite: str, name: str) -> Answer:
    """The kernel's answer to the job of that name."""
    job = all_jobs(suite)[name]
    said = answers(suite, job.host)[job.name]
    assert "error" not in said, said["error"]
    return said
