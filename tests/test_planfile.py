"""A plan file is executed completely or not at all: every change of a line is rejected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from vmcfg.checking.check import check
from vmcfg.files import NoFile
from vmcfg.formats.json_lines import jsonl
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.planfile import PlanFile, read_compared_plan, read_plan

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


def text_of(lines: list[dict[str, Any]]) -> list[bytes]:
    return [f"{json.dumps(line)}\n".encode() for line in lines]


def refusal(
    lines: Iterable[bytes], read: Callable[[Iterable[bytes], str], PlanFile] = read_plan
) -> str:
    """Return why lines are not a plan."""
    with pytest.raises(NoFile) as caught:
        read(lines, "plan")
    return str(caught.value)


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
    read = read_plan(BytesIO(jsonl(plan, checked.tree).encode()), sample)
    assert [command._replace(origin=None) for command in plan.commands] == list(read.commands)
    assert read.monitors_gic == (not checked.machine.sets_up_gic())


def test_a_value_that_only_the_host_knows_is_refused() -> None:
    lines = lines_of("full.yaml")
    number = next(place for place, line in enumerate(lines, 1) if line.get("data", "") is None)
    assert refusal(text_of(lines)) == (
        f"plan, line {number}: 'data' is null because only the host knows it: emit the plan on the"
        " host"
    )


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
    assert len(whole) > 10
    for number in range(len(whole)):
        for altered in (
            whole[:number] + whole[number + 1 :],
            whole[: number + 1] + whole[number:],
            whole[:number],
        ):
            with pytest.raises(NoFile):
                read_plan(text_of(altered), "spi")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]", b"\xff", b"[" * 100_000, b"set-attr vcpu:0 a b s32 1\n"]
)
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    assert refusal(BytesIO(data)) == (
        "plan is not a plan in JSON Lines; run 'vmcfg emit --scope vm --format jsonl' to create one"
    )


def test_text_of_a_plan_does_not_control_the_terminal() -> None:
    whole = lines_of("spi.yaml")
    whole[1]["op"] = "\x1b[2J\u2028\x7f"
    assert refusal(text_of(whole)).startswith("plan, line 2: unknown command '\\x1b[2J\\u2028\\x7f")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"y\n", "line 3: this is not a JSON object"),
        (
            b'{"op":"end","count":7}\n',
            "line 3: a plan with 1 commands must end with"
            ' {"op":"end","count":1}: this one is truncated',
        ),
        (
            b'{"op":"create-vcpu","seq":1}\n',
            "line 3: 'seq' must be 2, not 1: a line is missing or was moved",
        ),
    ],
)
def test_reading_ends_at_the_first_line_that_is_wrong(wrong: bytes, words: str) -> None:
    whole = text_of(lines_of("spi.yaml"))
    read = iter([*whole[:2], wrong, *whole[2:]])
    assert refusal(read) == f"plan, {words}"
    assert len(list(read)) == len(whole) - 2


def test_nothing_follows_the_end() -> None:
    whole = text_of(lines_of("spi.yaml"))
    assert refusal([*whole, whole[-1]]) == (
        f'plan, line {len(whole) + 1}: the plan ended at the line before: {{"op":"end", ...}}'
    )


@pytest.mark.parametrize(
    ("op", "mpidr"),
    [
        ("create-vcpu", 77),
        ("create-vcpu", None),
        ("create-vcpu", []),
        ("create-vcpu", ""),
        ("create-vcpu", "0.0.0"),
        ("create-vcpu", "0.0.0.256"),
        ("create-vcpu", "0.0.0.00"),
        ("create-vm", "0.0.0.0"),
        ("create-vm", 0),
    ],
)
def test_a_wrong_mpidr_is_refused(op: str, mpidr: object) -> None:
    lines = lines_of("spi.yaml")
    place = next(place for place, line in enumerate(lines) if line["op"] == op)
    lines[place]["mpidr"] = mpidr
    assert refusal(text_of(lines)) == (
        f"plan, line {place + 1}: 'mpidr' must be the dotted MPIDR of the vCPU, such as 0.0.0.0"
    )


NO_HEADER = 'a plan must begin with a header: {"op":"plan","format":"vmcfg.plan", ...}'


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("op", "end", NO_HEADER),
        ("format", "vmcfg.host", NO_HEADER),
        ("format_version", "2.0", "'format_version' must be 1.x, not 2.0"),
        (
            "scope",
            "attributes",
            "'scope' must be 'vm', not 'attributes': use 'vmcfg emit --scope vm'",
        ),
        ("api", "pmu-device", "'api' must be 'vcpu', not 'pmu-device': no kernel supports others"),
        ("perform", "later", "the header needs valid values for 'perform' and 'gic'"),
        ("gic", "v5", "the header needs valid values for 'perform' and 'gic'"),
        ("vm", 7, "the header needs the name of the VM in 'vm'"),
    ],
)
def test_a_wrong_header_is_refused(key: str, value: object, words: str) -> None:
    lines = lines_of("spi.yaml")
    lines[0][key] = value
    assert refusal(text_of(lines)) == f"plan, line 1: {words}"


NO_VALUES = "the header needs valid values for"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"op": "end"}, NO_HEADER),
        ({"perform": "state"}, "a plan of the state of a vGIC cannot be compared"),
        (
            {"not_read_back": 1},
            "a plan that reads back cannot be compared: use 'vmcfg emit' without --get",
        ),
        (
            {"phases": ["late"]},
            "a plan of some phases cannot be compared: use 'vmcfg emit' without --phase",
        ),
        ({"scope": "all"}, f"{NO_VALUES} 'scope' and 'api'"),
        ({"api": "vgic"}, f"{NO_VALUES} 'scope' and 'api'"),
        ({"perform": "later"}, f"{NO_VALUES} 'perform' and 'gic'"),
        ({"gic": "v5"}, f"{NO_VALUES} 'perform' and 'gic'"),
    ],
    ids=repr,
)
def test_a_plan_that_cannot_be_compared_says_why(changes: dict[str, object], words: str) -> None:
    lines = lines_of("spi.yaml")
    assert read_compared_plan(text_of(lines), "plan").scope == WHOLE_VM
    lines[0] |= changes
    assert refusal(text_of(lines), read_compared_plan) == f"plan, line 1: {words}"


def test_a_compared_line_has_the_name_of_its_row() -> None:
    lines = lines_of("spi.yaml")
    lines[1]["row"] = "vm.make"
    assert refusal(text_of(lines), read_compared_plan) == "plan, line 2: unknown row 'vm.make'"


@pytest.mark.parametrize(
    ("perform", "gic", "monitors", "version"),
    [
        ("whole", "v3", False, None),
        ("whole", None, False, None),
        ("around-gic-init", "v3", True, 3),
        ("around-gic-init", "v2", True, 2),
        ("around-gic-init", None, True, None),
    ],
)
def test_the_header_says_whose_the_gic_is(
    perform: str, gic: str | None, monitors: bool, version: int | None
) -> None:
    lines = lines_of("minimal.yaml")
    lines[0] |= {"perform": perform, "gic": gic}
    read = read_plan(text_of(lines), "plan")
    assert read.monitors_gic == monitors
    assert (None if read.gic is None else read.gic.version) == version


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [
        (2, {"seq": 3}, "line 3: 'seq' must be 2, not 3: a line is missing or was moved"),
        (2, {"phase": "late"}, "line 3: 'phase' of create-vcpu must be 'create', not 'late'"),
        (2, {"op": "create-cpu"}, "line 3: unknown command 'create-cpu vcpu:0 - -'"),
        (
            2,
            {"arg": "0x1"},
            'line 3: \'value\' is "0x0", which conflicts with the rest of the line: "0x1"',
        ),
        (2, {"arg": None}, "line 3: the value of create-vcpu is missing or invalid"),
        (2, {"target": "vcpu:1"}, "line 3: 'target' must be vcpu:0, not vcpu:1"),
        (2, {"extra": 1}, "line 3: 'extra' is 1, which conflicts with the rest of the line: null"),
        (3, {"arg": "0x0", "value": "0x0", "target": "vcpu:0"}, "line 4: vcpu:0 is created twice"),
    ],
)
def test_a_wrong_line_is_refused_with_its_reason(
    place: int, changes: dict[str, object], words: str
) -> None:
    lines = lines_of("minimal.yaml")
    lines[place] |= changes
    assert refusal(text_of(lines)) == f"plan, {words}"


def test_a_vm_is_created_once_and_first() -> None:
    lines = lines_of("minimal.yaml")
    without = [lines[0], *lines[2:]]
    for seq, line in enumerate(without[1:-1], 1):
        line["seq"] = seq
    words = "a plan must create exactly one VM, with its first command"
    assert refusal(text_of(without)) == f"plan, line 2: {words}"
    lines = lines_of("minimal.yaml")
    twice = [*lines[:2], dict(lines[1]), *lines[2:]]
    for seq, line in enumerate(twice[1:-1], 1):
        line["seq"] = seq
    assert refusal(text_of(twice)) == f"plan, line 3: {words}"
