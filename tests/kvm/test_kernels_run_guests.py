"""A guest on every vCPU takes exactly the interrupts of its description, on real kernels.

Descriptions with a problem that KVM accepts show in the guest what their rule says. Linux as a
guest finds every vCPU and its PMU, and takes the interrupt of each; VMCFG_KVM_RECORDS=all runs it
with PPIs and with SPIs on every kernel.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.kvm import guests, linux_guests, oracle
from tests.kvm.guests import Case, Told, Vcpus
from tests.kvm.linux_guests import Linux
from vmcfg.checking.check import check

SERIES = ("6.1", "6.12", "7.2", "7.3")

TWO_REGIONS = "redistributors: [{base: 0x080a0000, count: 1}, {base: 0x0a000000, count: 7}]"
REGIONS = (0x080A0000, 0x0A000000)
SET_MPIDRS = "vcpus: [{mpidr: 0.0.3.1}, {mpidr: 0.0.200.7}, {mpidr: 0.0.0.0}]"

RIGHT = {
    "PPI, one vCPU": Case("vcpus: 1\npmu: {irq: 23}"),
    "PPI, 16 vCPUs": Case("vcpus: 16\npmu: {irq: 23}"),
    "another PPI": Case("vcpus: 2\npmu: {irq: ppi:0}"),
    "SPI, one vCPU": Case("vcpus: 1\npmu: {irq: spi:8}"),
    "SPIs, 16 vCPUs": Case("vcpus: 16\npmu: {irq: spi:8-23}"),
    "last SPIs": Case("vcpus: 2\npmu: {irq: 990-991}", f"nr_irqs: 992, {TWO_REGIONS}", REGIONS),
    "PPI, set MPIDRs": Case(f"{SET_MPIDRS}\npmu: {{irq: 23}}"),
    "SPIs, set MPIDRs": Case(f"{SET_MPIDRS}\npmu: {{irq: 61-63}}"),
    "SPIs, set MPIDRs, sequential ids": Case(
        f"vcpu_ids: sequential\n{SET_MPIDRS}\npmu: {{irq: 61-63}}"
    ),
    "SPIs in reverse, sequential ids": Case(
        "vcpu_ids: sequential\nvcpus: [{mpidr: 0.0.0.3, pmu_irq: 40},"
        " {mpidr: 0.0.0.2, pmu_irq: 42}, {mpidr: 0.0.0.1, pmu_irq: 41},"
        " {mpidr: 0.0.0.0, pmu_irq: 32}]"
    ),
    "SPIs, derived ids": Case(
        "vcpus: [{mpidr: 0.0.0.3, pmu_irq: 40}, {mpidr: 0.0.1.2, pmu_irq: 42},"
        " {mpidr: 0.0.0.1, pmu_irq: 41}, {mpidr: 0.0.0.0, pmu_irq: 32}]"
    ),
    "SPIs, MPIDRs as ids": Case(
        "vcpu_ids: mpidr\nvcpus: [{mpidr: 0.0.0.5}, {mpidr: 0.0.1.1}, {mpidr: 0.0.0.0}]\n"
        "pmu: {irq: spi:1-3}"
    ),
    "PPI, two regions": Case("vcpus: 8\npmu: {irq: 23}", TWO_REGIONS, REGIONS),
    "SPIs, two regions, set MPIDRs": Case(
        f"{SET_MPIDRS}\npmu: {{irq: 61-63}}", TWO_REGIONS, REGIONS
    ),
    "PPIs, ids 0, 2, and 3": Case(
        "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.2}, {mpidr: 0.0.0.3}]\npmu: {irq: 23}",
        timers=(27, 30),
    ),
    "timers": Case("vcpus: 2\npmu: {irq: 23}", timers=(27, 30)),
    "moved timers": Case(
        "vcpus: 2\npmu: {irq: 23}\ntimers: {virtual: 20, physical: 19}", timers=(20, 19)
    ),
    "swapped timers": Case(
        "vcpus: 2\npmu: {irq: spi:0-1}\ntimers: {virtual: 30, physical: 27}", timers=(30, 27)
    ),
    "device and SPIs": Case(
        "vcpus: 2\npmu: {irq: spi:0-1}\ndevices: [{name: uart, irq: spi:2}]", device=34
    ),
    "SGIs": Case("vcpus: 3\npmu: {irq: 23}", has_sgi=True),
}
"""Descriptions without a finding."""


def all_for_one(*irqs: int) -> Callable[[tuple[int, int]], Vcpus]:
    """Return which of two vCPUs with one MPIDR takes these: the first, or since 6.7 the second."""
    return lambda version: {0: irqs, 1: ()} if version < (6, 7) else {0: (), 1: irqs}


WRONG = {
    "VMC301, SPIs": Case(
        "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 40}, {mpidr: 0.0.0.0, pmu_irq: 41}]",
        rules=("VMC301",),
        taken=all_for_one(40, 41),
    ),
    "VMC301, PPI": Case(
        "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.0}]\npmu: {irq: 23}",
        rules=("VMC301",),
        taken=lambda version: {0: (23,), 1: ()},
    ),
    "VMC301, SGIs": Case(
        "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.0}]\npmu: {irq: 40-41}",
        has_sgi=True,
        rules=("VMC301",),
        taken=all_for_one(3, 40, 41),
    ),
    "VMC307": Case(
        "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 1.0.0.0}]\npmu: {irq: 23}",
        rules=("VMC307",),
        taken=lambda version: {0: (23,), 1: ()},
    ),
    "VMC308": Case(
        "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.8}, {mpidr: 0.0.0.200}]\npmu: {irq: spi:0-2}",
        has_sgi=True,
        rules=("VMC308",),
        taken=lambda version: (
            {0: (3, 32), 8: (33,), 1: (3, 34)}
            if version < (6, 7)
            else {0: (3, 32), 8: (3, 33), 1: (34,)}
        ),
    ),
    "VMC501": Case(
        "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 23}, {mpidr: 0.0.0.1, pmu_irq: 40}]",
        rules=("VMC501",),
    ),
    "VMC508, 25": Case("vcpus: 2\npmu: {irq: 25}", timers=(27, 30), rules=("VMC508",)),
    "VMC508, 26": Case("vcpus: 2\npmu: {irq: 26}", timers=(27, 30), rules=("VMC508",)),
    "VMC508, 28": Case("vcpus: 2\npmu: {irq: 28}", timers=(27, 30), rules=("VMC508",)),
    "VMC509": Case(
        "vcpus: 2\npmu: {irq: spi:0-1}\ndevices: [{name: uart, irq: spi:1}]",
        device=33,
        rules=("VMC509",),
        taken=lambda version: {0: (), 1: ()},
    ),
}
"""Descriptions with a problem that KVM accepts."""

STOPS_EDGE = (7, 2)
"""The first kernel on which an edge-triggered PMU interrupt stops its vCPU."""

EDGE = {
    "SPI left edge-triggered": Case(
        "vcpus: [{mpidr: 0.0.0.0, pmu_irq: 40}, {mpidr: 0.0.0.1, pmu_irq: 56}]",
        edge=(0,),
        taken=lambda version: {0: () if version >= STOPS_EDGE else (40,), 1: (56,)},
    )
}

CASES = RIGHT | WRONG | EDGE


LINUX = {"Linux, PPI": Linux("irq: 23"), "Linux, SPIs": Linux("irq: spi:8-10")}
"""Descriptions whose guest is Linux."""

WANTS_ALL = os.environ.get("VMCFG_KVM_RECORDS") == "all"


def linux_on(series: str) -> list[str]:
    """Return which of them run on a kernel: unless all do, one of them, in turn."""
    names = list(LINUX)
    return names if WANTS_ALL else [names[(SERIES.index(series) + 1) % len(names)]]


@cache
def said(series: str, compiler: str, dtc: str, folder: Path) -> dict[str, str] | Exception:
    """Return the outputs or the error of one boot, which is not repeated for every test."""
    version = oracle.version(series)
    jobs = {name: case.job(version) for name, case in CASES.items()}
    linux = {name: LINUX[name] for name in linux_on(series)}
    jobs |= {name: each.job(version) for name, each in linux.items()}
    files = guests.programs(compiler, folder)
    files = files | linux_guests.files(series, linux, compiler, dtc, folder)
    try:
        return guests.run(series, jobs, files)
    except Exception as error:
        return error


Output = Callable[[str, str], str]
Ask = Callable[[str, str], Told]


@pytest.fixture
def output(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Return a function that returns the output of a case on a kernel."""
    folder = tmp_path_factory.getbasetemp()

    def output_of(series: str, name: str) -> str:
        found = said(series, program(guests.COMPILER), program("dtc"), folder)
        if isinstance(found, Exception):
            raise found
        return found[name]

    return output_of


@pytest.fixture
def ask(output: Output) -> Ask:
    """Return a function that returns the reports of a case on a kernel."""
    return lambda series, name: guests.told(output(series, name))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("series", SERIES)
def test_each_vcpu_takes_its_interrupts(series: str, name: str, ask: Ask) -> None:
    case, version = CASES[name], oracle.version(series)
    assert {each.rule for each in check(case.text, "vm.yaml").diagnostics} == set(case.rules)
    on_kernel = {each.rule for each in check(case.text, "vm.yaml", version).diagnostics}
    assert ("VMC706" in on_kernel) == case.loses_ppis(version)
    got, expected = ask(series, name), case.expected(version)
    taken = {vcpu: got.taken(vcpu) for vcpu in case.sources()}
    oracle.GUESTS[f"{name}: {guests.by_id(case.described())}"][series] = guests.by_id(taken)
    assert taken == expected
    assert got.end == ("done" if expected == case.described() else "time")
    for vcpu, mpidr in case.mpidrs().items():
        assert got.values(vcpu, guests.MPIDR) == [mpidr]
        pmu_irq = case.sources()[vcpu][0]
        is_from_pmu = pmu_irq in taken[vcpu]
        assert got.values(vcpu, guests.OVERFLOWS) == [guests.CYCLES] * is_from_pmu
    oracle.TALLY[series]["interrupts taken by guests"] += sum(map(len, taken.values()))


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("series", SERIES)
def test_each_vcpu_finds_its_redistributor(series: str, name: str, ask: Ask) -> None:
    """In the regions of the description, by GICR_TYPER, which has the id of the vCPU, too."""
    case, got = RIGHT[name], ask(series, name)
    affinities = {
        vcpu: mpidr & 0xFFFFFF | mpidr >> 32 << 24 for vcpu, mpidr in case.mpidrs().items()
    }
    for vcpu, affinity in affinities.items():
        assert got.values(vcpu, guests.LOST) == []
        (typer,) = got.values(vcpu, guests.TYPER)
        assert (typer >> 32, typer >> 8 & 0xFFFF) == (affinity, vcpu)


@pytest.mark.parametrize("series", SERIES)
def test_a_guest_does_not_find_a_redistributor_with_aff3(series: str, ask: Ask) -> None:
    got = ask(series, "VMC307")
    assert (got.values(0, guests.LOST), got.values(1, guests.LOST)) == ([], [1 << 24])


@pytest.mark.parametrize("series", SERIES)
def test_vcpus_with_one_mpidr_use_one_redistributor(series: str, ask: Ask) -> None:
    got = ask(series, "VMC301, PPI")
    (first,), (second,) = (got.values(vcpu, guests.TYPER) for vcpu in (0, 1))
    assert first == second
    assert first >> 8 & 0xFFFF == 0


@pytest.mark.parametrize("series", SERIES)
def test_kvm_drops_interrupts_of_a_device_without_an_error(series: str, ask: Ask) -> None:
    for name in ("device and SPIs", "VMC509"):
        assert ask(series, name).raised == "ok"


@pytest.mark.parametrize("series", SERIES)
def test_an_edge_triggered_pmu_interrupt_stops_its_vcpu(series: str, ask: Ask) -> None:
    """From 7.2 on, KVM_RUN then uses the CPU without executing the guest."""
    (name,) = EDGE
    stops = oracle.version(series) >= STOPS_EDGE
    assert dict(ask(series, name).states) == ({0: "stopped"} if stops else {})


@pytest.mark.parametrize(
    ("series", "name"), [(series, name) for series in SERIES for name in linux_on(series)]
)
def test_linux_takes_the_interrupt_of_each_pmu(series: str, name: str, output: Output) -> None:
    text = output(series, name)
    assert re.findall(r"(?m)^end (.+)$", text) == ["off"], text[-4000:]
    described = LINUX[name].described(oracle.version(series))
    got = linux_guests.printed(text)
    assert set(got.affinities.values()) == set(described)
    assert got.counted == dict.fromkeys(range(len(described)), True)
    assert "hw perfevents: enabled with armv8_pmuv3 PMU driver" in got.log
    assert got.complaints() == []
    taken = got.taken("arm-pmu")
    assert taken == {affinity: (irq,) for affinity, irq in described.items()}
    assert got.taken("arch_timer") == dict.fromkeys(described, (27,))
    wanted = {affinity: (irq,) for affinity, irq in described.items()}
    oracle.GUESTS[f"{name}: {by_mpidr(wanted)}"][series] = by_mpidr(taken)


def by_mpidr(irqs: Vcpus) -> str:
    """Return INTIDs with the MPIDRs of their vCPUs."""
    return ", ".join(
        f"0.{each >> 16}.{each >> 8 & 255}.{each & 255}: {'+'.join(map(str, irqs[each]))}"
        for each in sorted(irqs)
    )


def test_linux_takes_ppis_and_spis() -> None:
    assert {name for series in SERIES for name in linux_on(series)} == set(LINUX)
