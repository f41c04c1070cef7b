"""The answers of real kernels to every description: one boot per kernel and GIC."""

from __future__ import annotations

import py_compile
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tests.conftest import not_here
from tests.kvm import debian, machine
from vmcfg.checking.check import check
from vmcfg.kernel.version import Version, version_of
from vmcfg.trial.boot import Guest, perform_in
from vmcfg.trial.emulated import Emulated
from vmcfg.trial.kernel_image import kernel_image
from vmcfg.trial.refusals import refusals
from vmcfg.trial.trying import DescriptionTrial, prepared_plan
from vmcfg.trial.verdict import Attempt, Trial, attempts
from vmcfg.vm.machine import Machine

ROOT = Path(__file__).parent.parent.parent
SERIES = tuple(machine.KERNELS)
"""The series of the kernels, the oldest first."""

FULL = ("6.1", "6.12", "7.3")
"""The series on which everything is executed; on the others, what a kernel can change."""

Answer = dict[str, Any]


class Job(NamedTuple):
    """Something to execute. `kind` is "as described", "for this kernel" (regardless of its
    host_kernel), or "plan".
    """

    name: str
    kind: str
    data: bytes
    host: str


HOSTS = GICV2, GICV3, NESTED = ("gicv2", "gicv3", "nested")
"""The machines that are booted: QEMU with a GICv2, with a GICv3, and with a GICv3 and EL2 inside
guests of KVM.
"""

EL2_SERIES = ("6.16", "7.3")
"""The first and the newest series with EL2 for guests; such a guest is slow in emulation."""

SOURCES: list[Callable[[str], Iterator[Job]]] = []
"""Functions that yield the jobs for the kernel of a series."""

TALLY: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
"""The number of executed jobs by kernel and kind, printed at the end of the tests."""

NOTES: dict[str, list[str]] = defaultdict(list)
"""Remarks by kernel, printed at the end of the tests: what was not executed, and why."""

IMPORTED: list[str] = []
"""Lines about the sources of `vmcfg import`, printed at the end of the tests."""

GUESTS: dict[str, dict[str, str]] = defaultdict(dict)
"""What guests took by kernel, for each case with the interrupts that it describes, printed at the
end of the tests.
"""


def kernel(series: str) -> machine.Kernel:
    """Return the kernel of a series. Without QEMU, the test is skipped, or fails if CI is set."""
    try:
        return machine.kernel(series)
    except debian.NoMachineError as error:
        not_here(f"NO KERNEL WAS TESTED: {error}")


def version(series: str) -> tuple[int, int]:
    """Return the version of the kernel as two numbers."""
    major, minor = series.split(".")
    return int(major), int(minor)


@cache
def vm_of(data: bytes) -> Machine | None:
    """Return the machine of a description."""
    return check(data, "").machine


def has_machine(data: bytes) -> bool:
    """Return whether there is a machine, so that the description can be executed."""
    return vm_of(data) is not None


def host_for(series: str, data: bytes) -> str:
    """Return the machine for a description: with the GIC that it requires, and with EL2 if it has
    the feature el2.
    """
    vm = vm_of(data)
    if vm is not None and "el2" in vm.features and series in EL2_SERIES:
        return NESTED
    return GICV2 if vm is not None and vm.gic_version() == 2 else GICV3


def too_new(series: str, data: bytes) -> str | None:
    """Return why a description is not executed on the kernel of a series, or None if it is."""
    vm = vm_of(data)
    if vm is not None and "el2" in vm.features and series not in EL2_SERIES:
        return "it has el2, which is tried on " + " and ".join(EL2_SERIES)
    if vm is not None and vm.host_kernel > version(series):
        return f"its host_kernel is {'.'.join(map(str, vm.host_kernel))}"
    if vm is not None and most_ipa_bits(series) < vm.ipa_bits <= 52:
        return (
            f"it has {vm.ipa_bits} address bits, but this machine supports {most_ipa_bits(series)}"
        )
    return None


def most_ipa_bits(series: str) -> int:
    """Return the maximum width of guest-physical addresses: 6.1 has no LPA2 for guests."""
    return 52 if version(series) >= (6, 12) else 48


@cache
def package() -> dict[str, bytes]:
    """Return the files of vmcfg, by their paths in the guest. If the Python of this machine is of
    the version in the guest, they are compiled: the guest takes seconds for that in each boot.
    """
    files = {
        f"/work/{path.relative_to(ROOT)}": path.read_bytes() for path in ROOT.glob("vmcfg/**/*.py")
    }
    tag = sys.implementation.cache_tag
    if tag != machine.PYTHON_TAG:
        return files
    compiled = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.py"), Path(folder, "compiled")
        for name, content in files.items():
            source.write_bytes(content)
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(
                str(source), str(target), dfile=name, doraise=True, invalidation_mode=mode
            )
            path = PurePosixPath(name)
            compiled[f"{path.parent}/__pycache__/{path.stem}.{tag}.pyc"] = target.read_bytes()
    return files | compiled


def answers(series: str, host: str) -> dict[str, Answer]:
    """Return the answers of the kernel to all jobs for that machine, by the names of the jobs."""
    said = _asked_once(series, host)
    if isinstance(said, Exception):
        raise said
    return said


@cache
def _asked_once(series: str, host: str) -> dict[str, Answer] | Exception:
    """Return the answers or the error: a boot that failed is not repeated for every test."""
    kernel(series)
    jobs = [job for job in all_jobs(series).values() if job.host == host]
    try:
        return ask(series, jobs, host) if jobs else {}
    except Exception as error:
        return error


def ask(series: str, jobs: list[Job], host: str = GICV3) -> dict[str, Answer]:
    """Return the answers of one boot of the kernel of a series to `jobs`, unchecked."""
    guest = guest_of(series, host)._replace(timeout=300 + len(jobs))
    release = guest.image.release
    trials = [_trial(job, version_of(release)) for job in jobs]
    with machine.counted(series):
        performed = partial(perform_in, guest, go_on=True, run=True)
        done = attempts(trials, performed, release, skips=False)
    return {job.name: _answer(attempt) for job, attempt in zip(jobs, done, strict=True)}


def guest_of(series: str, host: str) -> Guest:
    """Return how `vmcfg try --image` boots the kernel of a series in that machine."""
    image = kernel_image(str(kernel(series).image))
    if host == NESTED:
        emulated = Emulated(cpu=machine.WITHOUT_LPA2, append=machine.NESTED)
        return Guest(image, emulated, qemu=str(machine.nested_qemu()))
    return Guest(
        image, Emulated(f"gic-version={2 if host == GICV2 else 3}"), qemu=str(machine.qemu())
    )


def _trial(job: Job, here: Version) -> Trial:
    if job.kind == "plan":
        return prepared_plan(BytesIO(job.data), job.name)
    host_kernel = here if job.kind == "for this kernel" else None
    return DescriptionTrial(job.data, job.name, host_kernel, strict=False, unchecked=True).on(here)


def _answer(attempt: Attempt) -> Answer:
    """Return the parts of a result that the tests compare."""
    tried = attempt.tried
    if tried is None:
        return {"error": attempt.reason}
    outcome = tried.outcome
    if outcome is None:
        return {"machine": False, "rules": [found.rule for found in tried.diagnostics]}
    refused = refusals(outcome)
    return {
        "machine": True,
        "rules": [found.rule for found in tried.diagnostics],
        "refused": [[*each.answer[:3], each.call.target] for each in refused],
        "commands": [
            [*step.call.text.split(" "), step.outcome, list(step.read)] for step in outcome.steps
        ],
        "performed": outcome.performed,
        "read_back": outcome.read_back,
        "differences": [list(each) for each in outcome.differences],
        "run": [run.errno for run in outcome.runs],
        "predictions": [[each.diagnostic.rule, str(each), each.held] for each in tried.predictions],
        "messages": [f"{found.rule} {found.message}" for found in tried.diagnostics],
    }


@cache
def all_jobs(series: str) -> dict[str, Job]:
    """Return all jobs for the first boots of the kernel of a series, by name."""
    return {job.name: job for source in SOURCES for job in source(series)}


def answer(series: str, name: str) -> Answer:
    """Return the answer of the kernel to the job with that name."""
    job = all_jobs(series)[name]
    said = answers(series, job.host)[job.name]
    assert "error" not in said, said["error"]
    return said
