"""The predictions of every rule, compared with the kernel: each case is tried unchecked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kvm import oracle
from vmcfg.checking.check import check
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.kernel.version import version_of

CASES = sorted((oracle.ROOT / "tests" / "cases").glob("VMC[2-7]*.yaml"))


# The PMU of the emulated machine has another name than the first one of most machines.
DATA = {path.name: path.read_bytes().replace(b"armv8_pmuv3_0", b"armv8_pmuv3") for path in CASES}
EXECUTED = [
    (series, name)
    for series in oracle.SERIES
    for name, data in DATA.items()
    if oracle.has_machine(data) and oracle.too_new(series, data) is None
]
"""The kernels, each with the cases that are executed on it."""

NEVER_EXECUTED = {
    name
    for name, data in DATA.items()
    if oracle.has_machine(data) and name not in {executed for _, executed in EXECUTED}
}


def jobs(series: str) -> Iterator[oracle.Job]:
    for of, name in EXECUTED:
        if of == series:
            data = DATA[name]
            yield oracle.Job(name, "as described", data, oracle.host_for(series, data))
    yield oracle.Job("vCPU 512", "plan", plan_of_vcpu_512(), oracle.GICV3)


def plan_of_vcpu_512() -> bytes:
    """Return a plan with only vCPU id 512: with VMC304 there is no machine, so a description cannot
    contain it.
    """
    from vmcfg.formats.json_lines import jsonl
    from vmcfg.plans.lowering import lower
    from vmcfg.plans.plan import WHOLE_VM

    checked = check(b"{vmcfg: 1, name: one, vcpus: 1}", "one")
    assert checked.machine is not None
    plan = lower(checked.machine, WHOLE_VM)
    lines = [json.loads(line) for line in jsonl(plan, checked.tree).splitlines()]
    header, vm, vcpu = lines[0], lines[1], lines[2]
    vcpu |= {"target": "vcpu:512", "value": "0x200", "arg": "0x200", "mpidr": "0.0.32.0"}
    return "".join(
        json.dumps(line) + "\n" for line in (header, vm, vcpu, {"op": "end", "count": 2})
    ).encode()


oracle.SOURCES.append(jobs)


def test_a_case_with_a_machine_is_executed() -> None:
    assert set() == NEVER_EXECUTED


@pytest.mark.parametrize(("series", "name"), EXECUTED)
def test_the_kernel_does_what_the_rule_says(series: str, name: str) -> None:
    rule = name.partition("-")[0]
    data = oracle.all_jobs(series)[name].data
    checked = check(data, name)
    if checked.machine is not None and checked.machine.has_default_host_kernel:
        checked = check(data, name, version_of(series))
    predicting = [found for found in checked.diagnostics if found.kernel is not None]
    answer = oracle.answer(series, name)
    predictions = [(told, held) for _, told, held in answer["predictions"]]
    assert len(predictions) == len(predicting)
    unconfirmed = [
        told
        for found, (told, held) in zip(predicting, predictions, strict=True)
        if not held and not (held is None and is_for_some_hosts(found))
    ]
    assert unconfirmed == []
    assert not {"VMC901", "VMC902", "VMC903", "VMC904"} & set(answer["rules"]), answer["messages"]
    if any(found.rule == rule for found in predicting):
        oracle.TALLY[series]["rules' examples confirmed"] += 1


def is_for_some_hosts(found: Diagnostic) -> bool:
    """Return whether the answer of the kernel depends on a feature that the emulated machine might
    not have.
    """
    return found.kernel is not None and bool(found.kernel.condition)


@pytest.mark.parametrize("series", oracle.SERIES)
def test_there_is_no_513th_vcpu(series: str) -> None:
    answer = oracle.answer(series, "vCPU 512")
    assert answer["refused"] == [["KVM_CREATE_VCPU", "EINVAL", "set", "vcpu:512"]]
    oracle.TALLY[series]["rules' examples confirmed"] += 1
