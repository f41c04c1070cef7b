"""The findings of vmcfg about random descriptions, compared with the kernel, up to the first
KVM_RUN.

The kernel must accept what vmcfg accepts. If the kernel accepts what vmcfg rejects, the rule must
be on the list below, with a reason. VMCFG_KVM_DESCRIPTIONS=100000 sets the number of descriptions
per kernel of `oracle.FULL`; the others get a fifth of it. VMCFG_SEED draws others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.kvm import edges, independent, oracle
from tests.seeds import SEED
from vmcfg.checking.check import check
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

ASKED = int(os.environ.get("VMCFG_KVM_DESCRIPTIONS", "300"))
"""The number of descriptions per kernel; a quarter of them with a GICv2."""

ASKED_BETWEEN = max(4, ASKED // 5)
"""The number for each kernel that is not in `oracle.FULL`."""

BATCH = 1000
"""The number of descriptions per boot."""

ACCEPTED_BY_KERNELS = {
    "VMC202": "slots must also suit pages of 64 KiB, but these kernels have pages of 4 KiB",
    "VMC301": "KVM accepts any MPIDR_EL1; a guest cannot distinguish two equal ones",
    "VMC307": "KVM accepts any MPIDR_EL1; the vGIC has no Aff3",
    "VMC308": "KVM accepts any MPIDR_EL1; an SGI cannot reach an Aff0 above 15",
    "VMC317": "KVM accepts most capabilities twice",
    "VMC318": "a missing argument is 0, which some capabilities accept; KVM ignores others",
    "VMC320": "KVM accepts a register twice",
    "VMC323": "a plan cannot contain such a length",
    "VMC407": "KVM does not compare the frame of an ITS with others",
    "VMC408": "KVM does not compare memory slots with frames of the GIC",
    "VMC411": "before 6.15, KVM has no such setting, so that a VMM does not make it",
    "VMC413": "KVM does not know the devices of the VMM",
    "VMC414": "KVM does not know the devices of the VMM",
    "VMC416": "KVM does not know the devices of the VMM",
    "VMC418": "KVM does not know the devices of the VMM",
    "VMC501": "the kernel documentation forbids PPIs with SPIs, but KVM accepts an SPI after a PPI",
    "VMC505": "before 6.5, vCPUs can have different features; the guest then finds a PMU "
    "on only some of them",
    "VMC509": "KVM does not know the devices of the VMM",
    "VMC605": "KVM does not compare steal time with frames of the GIC",
    "VMC706": "before 6.7, KVM accepts any id, and loses the PPIs of the vCPU",
    "VMC701": "before 6.10, KVM accepts any MPIDR, and loses it at the next reset",
}
"""What vmcfg rejects but a kernel can accept, by rule, with the reason."""


ERRORS_HERE = ("VMC207",)
"""Warnings about some hosts, which include these kernels: their pages have 4 KiB."""


@cache
def descriptions(count: int, number: int, gic: int, most_ipa_bits: int) -> tuple[bytes, ...]:
    """Return different descriptions with a machine, the same for the same seed and number."""
    found: dict[bytes, None] = {}
    rounds = 0
    while len(found) < count:
        rounds += 1

        # Hypothesis repeats itself: short runs, each with its own seed, differ more.
        @seed(f"{SEED} {number} {rounds}")
        @settings(
            max_examples=20,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(edges.descriptions((gic,), most_ipa_bits))
        def collect(description: dict[str, object]) -> None:
            text = edges.text(description)
            if check(text, "random").machine is not None:
                found[text] = None

        collect()
    return tuple(found)[:count]


def batch(series: str, number: int, gic: int) -> list[oracle.Job]:
    asked = ASKED if series in oracle.FULL else ASKED_BETWEEN
    share = asked - asked // 4 if gic == 3 else asked // 4
    count = min(BATCH, share - number * BATCH)
    if count <= 0:
        return []
    texts = descriptions(count, 2 * number + gic % 2, gic, oracle.most_ipa_bits(series))
    return [
        oracle.Job(f"random {SEED} {gic} {number} {place}", "for this kernel", text, f"gicv{gic}")
        for place, text in enumerate(texts)
    ]


def jobs(series: str) -> Iterator[oracle.Job]:
    for gic in (2, 3):
        yield from batch(series, 0, gic)


oracle.SOURCES.append(jobs)


def disagreements(text: bytes, version: tuple[int, int], answer: oracle.Answer) -> list[str]:
    """Return the differences between vmcfg and the kernel for a description."""
    checked = check(text, "random", version)
    assert checked.machine is not None, checked.diagnostics
    errors = {
        found.rule
        for found in checked.diagnostics
        if found.severity == "error" or found.rule in ERRORS_HERE
    }
    refused = answer["refused"]
    found = [told for _, told, held in answer["predictions"] if held is False]
    if refused and not errors:
        found.append(f"vmcfg accepts it, but the kernel rejects: {refused[0]}")
    if not refused and errors - set(ACCEPTED_BY_KERNELS):
        found.append(
            f"vmcfg rejects it with {sorted(errors - set(ACCEPTED_BY_KERNELS))}, but the kernel "
            f"accepts it"
        )
    found += [told for told in answer["messages"] if told.startswith(("VMC901", "VMC902"))]
    found += [
        f"the kernel returns another value: {difference}" for difference in answer["differences"]
    ]
    plan = [" ".join(command.fields()) for command in lower(checked.machine, WHOLE_VM).commands]
    expected = independent.plan(text)
    found += [
        f"the plan has {got!r}, not {want!r}"
        for got, want in zip(plan, expected, strict=False)
        if got != want
    ]
    if len(plan) != len(expected):
        found.append(f"the plan has {len(plan)} commands, not {len(expected)}")
    if not refused:
        found += misreadings(text, answer)
    return found


def misreadings(text: bytes, answer: oracle.Answer) -> list[str]:
    """Return the MPIDRs, PMU interrupts, and timers that the kernel returns and that differ from a
    second reading of the text.
    """
    read: dict[tuple[str, str], list[str]] = {}
    for op, target, _, attr, _, _, _, values in answer["commands"]:
        if values:
            read[target, "MPIDR_EL1" if op == "init-vcpu" else attr] = values
    document = yaml.safe_load(text)
    vcpus = independent.vcpus(document)
    found = []
    for id, mpidr, irq, _ in vcpus:
        if read.get((f"vcpu:{id}", "MPIDR_EL1")) != [hex(independent.register(mpidr))]:
            found.append(
                f"vCPU {id} has not MPIDR {mpidr}: {read.get((f'vcpu:{id}', 'MPIDR_EL1'))}"
            )
        want = None if irq is None else [str(irq)]
        if read.get((f"vcpu:{id}", "KVM_ARM_VCPU_PMU_V3_IRQ")) != want:
            found.append(f"vCPU {id} has not PMU interrupt {irq}")
    written = document.get("timers", {})
    for key, name in independent.TIMERS:
        # The interrupts of the timers are one attribute of the VM: every vCPU has the same value.
        ppis = independent.intids(written[key]) * len(vcpus) if key in written else []
        got = read.get((f"vcpu:{vcpus[0][0]}", f"KVM_ARM_VCPU_TIMER_IRQ_{name}TIMER"), [])
        if got != list(map(str, ppis)):
            found.append(f"timers.{key} is {got}, not {ppis}")
    return found


@pytest.mark.parametrize("series", oracle.SERIES)
@pytest.mark.parametrize("gic", [2, 3])
def test_vmcfg_and_the_kernel_agree(series: str, gic: int) -> None:
    version = oracle.version(series)
    tally = oracle.TALLY[series]
    wrong = []
    number = 0
    rules: Counter[str] = Counter()
    while jobs := batch(series, number, gic):
        answers = (
            oracle.answers(series, f"gicv{gic}")
            if number == 0
            else oracle.ask(series, jobs, f"gicv{gic}")
        )
        number += 1
        for job in jobs:
            answer = answers[job.name]
            assert "error" not in answer, f"{job.data.decode()}\n{answer['error']}"
            tally["random descriptions"] += 1
            tally["accepted by both"] += not answer["refused"] and not answer["predictions"]
            tally["values read back"] += answer["read_back"]
            rules.update(rule for rule, _, held in answer["predictions"] if held)
            found = disagreements(job.data, version, answer)
            tally["disagreements"] += bool(found)
            if found:
                wrong.append(f"{job.data.decode()}\n    " + "\n    ".join(found))
    oracle.NOTES[series].append(
        f"GICv{gic}: predictions of random descriptions that held: {dict(sorted(rules.items()))}"
    )
    assert not wrong, f"{len(wrong)} disagreements\n" + "\n".join(wrong)
