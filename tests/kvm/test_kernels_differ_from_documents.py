"""What KVM does although its documentation says otherwise, as in 'vmcfg explain attributes'."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kvm import oracle
from vmcfg.checking.check import check
from vmcfg.formats.json_lines import jsonl
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

Line = dict[str, Any]

NO_VCPU = "CTRL_INIT without a vCPU"
COUNTERS_LAST = "SET_NR_COUNTERS after FILTER"

DESCRIPTION = b"""vmcfg: 1
name: one
host_kernel: "6.16"
vcpus: 1
gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000}
pmu: {irq: 23, counters: 3, filter: [{action: deny, events: 0x11}]}
"""


def plan(edited: Callable[[list[Line]], list[Line]]) -> bytes:
    """Return the plan of DESCRIPTION with other commands."""
    checked = check(DESCRIPTION, "one")
    assert checked.machine is not None
    printed = jsonl(lower(checked.machine, WHOLE_VM), checked.tree)
    header, *commands, end = map(json.loads, printed.splitlines())
    commands = edited(commands)
    end["count"] = len(commands)
    for place, command in enumerate(commands, 1):
        command["seq"] = place
    return "".join(f"{json.dumps(line)}\n" for line in (header, *commands, end)).encode()


def without_vcpus(commands: list[Line]) -> list[Line]:
    return [each for each in commands if not each["target"].startswith("vcpu")]


def with_counters_after_filter(commands: list[Line]) -> list[Line]:
    (counters,) = [each for each in commands if each["attr"].endswith("SET_NR_COUNTERS")]
    others = [each for each in commands if each is not counters]
    (place,) = [n for n, each in enumerate(others) if each["attr"].endswith("V3_FILTER")]
    return [*others[: place + 1], counters, *others[place + 1 :]]


EDITED = {NO_VCPU: without_vcpus, COUNTERS_LAST: with_counters_after_filter}
SINCE = {NO_VCPU: (6, 1), COUNTERS_LAST: (6, 16)}
"""The first kernel that has the attributes."""

EXECUTED = [
    (series, name)
    for series in oracle.SERIES
    for name, since in SINCE.items()
    if oracle.version(series) >= since
]


def jobs(series: str) -> Iterator[oracle.Job]:
    for of, name in EXECUTED:
        if of == series:
            yield oracle.Job(name, "plan", plan(EDITED[name]), oracle.GICV3)


oracle.SOURCES.append(jobs)


@pytest.mark.parametrize(("series", "name"), EXECUTED)
def test_the_kernel_accepts_it(series: str, name: str) -> None:
    answer = oracle.answer(series, name)
    assert answer["refused"] == []
    last = {NO_VCPU: "KVM_DEV_ARM_VGIC_CTRL_INIT", COUNTERS_LAST: "KVM_ARM_VCPU_PMU_V3_INIT"}
    assert answer["commands"][-1][3] == last[name]
    assert {command[6] for command in answer["commands"]} == {None}
