"""A plan file is executed completely or not at all: every change of a line is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vmcfg.checking.check import check
from vmcfg.files import NoFile
from vmcfg.formats.json_lines import jsonl
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.planfile import read_plan

SAMPLES = Path(__file__).parent.parent / "sample-configs"
UNHELD = {"origin", "mpidr", "vm", "host_kernel", "format_version"}
"""Keys that only explain: a changed value can be valid, too."""


def lines_of(sample: str) -> list[dict[str, Any]]:
    checked = check((SAMPLES / sample).read_bytes(), sample)
    assert checked.machine is not None
    return [
        json.loads(line)
        for line in jsonl(lower(checked.machine, WHOLE_VM), checked.tree).splitlines()
    ]


def text_of(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.mark.parametrize(
    "sample",
    [
        path.name
        for path in SAMPLES.glob("*.yaml")
        # They name a host PMU, whose number only the host knows.
        if path.name not in ("full.yaml", "strict-pmu.yaml")
    ],
)
def test_every_sample_is_read_back_as_it_was_emitted(sample: str) -> None:
    checked = check((SAMPLES / sample).read_bytes(), sample)
    assert checked.machine is not None
    plan = lower(checked.machine, WHOLE_VM)
    read = read_plan(jsonl(plan, checked.tree).encode(), sample)
    assert [command._replace(origin=None) for command in plan.commands] == list(read.commands)
    assert read.monitors_gic == (not checked.machine.sets_up_gic())


def test_a_value_that_only_the_host_knows_is_refused() -> None:
    with pytest.raises(NoFile, match="only the host knows it"):
        read_plan(text_of(lines_of("full.yaml")), "full")


@pytest.mark.parametrize(
    "sample", ["spi.yaml", "clusters.yaml", "gicv2.yaml", "pmu-filter.yaml", "nested.yaml"]
)
def test_every_altered_value_is_refused(sample: str) -> None:
    whole = lines_of(sample)
    tried = 0
    for number, line in enumerate(whole):
        for key, value in line.items():
            if key in UNHELD or (number == 0 and key in ("gic", "perform")):
                continue
            altered = [dict(each) for each in whole]
            altered[number][key] = (
                f"{value}1" if isinstance(value, str) else 77 if value != 77 else 78
            )
            with pytest.raises(NoFile):
                read_plan(text_of(altered), sample)
            tried += 1
    assert tried > 50


def test_every_missing_or_doubled_line_is_refused() -> None:
    whole = lines_of("spi.yaml")
    for number in range(len(whole)):
        for altered in (
            whole[:number] + whole[number + 1 :],
            whole[: number + 1] + whole[number:],
            whole[:number],
        ):
            with pytest.raises(NoFile):
                read_plan(text_of(altered), "spi")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]", b"{}\n{}", b"\xff", b"[" * 100_000, b"set-attr vcpu:0 a b s32 1\n"]
)
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(NoFile):
        read_plan(data, "none")
