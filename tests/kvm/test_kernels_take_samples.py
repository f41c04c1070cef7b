"""Every sample and every description of tests/right is executed on every kernel since its
host_kernel: all commands succeed, every value is read back unchanged, and every vCPU runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kvm import oracle
from vmcfg.checking.check import check

BEYOND_THE_MACHINE = {
    "ipa-bits-52.yaml": "its CPU has fewer bits of guest-physical addresses",
    "counters-31.yaml": "its PMU has fewer event counters",
}
"""Valid descriptions that the emulated machine cannot run."""

SAMPLES = sorted(
    path
    for folder in ("sample-configs", "tests/right")
    for path in (oracle.ROOT / folder).glob("*.yaml")
    if path.name not in BEYOND_THE_MACHINE
)


DATA = {path.name: path.read_bytes() for path in SAMPLES}
EXECUTED = [
    (series, name)
    for series in oracle.SERIES
    for name, data in DATA.items()
    if oracle.too_new(series, data) is None
]
"""The kernels, each with the samples that are executed on it."""

for series in oracle.SERIES:
    for name, data in DATA.items():
        reason = oracle.too_new(series, data)
        if reason is not None:
            oracle.NOTES[series].append(f"not tried: {name}: {reason}")


def jobs(series: str) -> Iterator[oracle.Job]:
    for of, name in EXECUTED:
        if of == series:
            data = DATA[name]
            yield oracle.Job(name, "as described", data, oracle.host_for(series, data))


oracle.SOURCES.append(jobs)


def test_every_sample_is_executed_on_a_kernel() -> None:
    assert {name for _, name in EXECUTED} == set(DATA)


@pytest.mark.parametrize(("series", "name"), EXECUTED)
def test_the_kernel_takes_the_sample(series: str, name: str) -> None:
    job = oracle.all_jobs(series)[name]
    vm = check(job.data, name).machine
    assert vm is not None
    answer = oracle.answer(series, name)
    assert answer["refused"] == []
    assert answer["differences"] == []
    assert answer["performed"] == len(answer["commands"])
    assert answer["run"] == [None] * len(vm.vcpus)
    # At least the MPIDR and the PMU interrupt of each vCPU, and each timer that is set.
    irqs = sum(vcpu.pmu_irq is not None for vcpu in vm.vcpus)
    assert answer["read_back"] >= len(vm.vcpus) + irqs
    oracle.TALLY[series]["samples tried"] += 1
    oracle.TALLY[series]["values read back"] += answer["read_back"]
