"""Every mistake has a file, and its exact output beside it: the listing of tests/cases is the specification."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmcfg.checking.check import Checked, check
from vmcfg.formats.unresolved import VALUES_ARE_KNOWN
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports import human
from vmcfg.rules import apis as api
from vmcfg.rules import hosts
from vmcfg.trial import rules as kernel

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))

IMPLIED = {"VMC605-in-distributor": {"VMC408"}}
"""What a case can't help breaking besides: steal time lies in memory, so a frame that it lies in does too."""


SAMPLES = sorted((Path(__file__).parent.parent / "sample-configs").glob("*.yaml"))


def whole_plan(sample: Path) -> tuple[Command, ...]:
    machine = check(sample.read_bytes(), sample.name).machine
    assert machine is not None
    return lower(machine, WHOLE_VM).commands


def checked(case: Path) -> Checked:
    return check(case.read_bytes(), case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_output_is_what_stands_beside_it(case: Path, bless: bool) -> None:
    found = checked(case)
    drawn = human.drawn(found.diagnostics, found.tree.text, color=False)
    expected = case.with_suffix(".out")
    if bless:
        expected.write_text(drawn, encoding="utf-8")
    assert drawn == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case_breaks_its_rule_and_no_other(case: Path) -> None:
    found = {found.rule for found in checked(case).diagnostics}
    assert found - IMPLIED.get(case.stem, set()) == {case.name[:6]}


def test_no_output_without_a_case() -> None:
    outs = {path.stem for path in CASES[0].parent.glob("*.out")}
    assert outs == {case.stem for case in CASES}


def test_every_rule_has_a_case_in_its_hundred() -> None:
    broken_by_no_description = {
        rule.id for rule in (*kernel.RULES, *api.RULES, *hosts.RULES, VALUES_ARE_KNOWN)
    }
    assert {case.name[:6] for case in CASES} == {
        rule.id for rule in every_rule()
    } - broken_by_no_description


def test_every_rule_says_what_holds() -> None:
    for rule in every_rule():
        assert re.fullmatch(r"[a-z0-9-]+", rule.name), rule
        assert rule.doc.strip().split("\n\n")[0].strip().endswith((".", ")")), rule
        assert rule.severity in ("error", "warning"), rule


def test_ids_and_names_are_given_once() -> None:
    rules = every_rule()
    assert len({rule.id for rule in rules}) == len({rule.name for rule in rules}) == len(rules)


def test_memory_slots_are_counted() -> None:
    slots = "".join(f"  - {{base: {slot << 16:#x}, size: 64KiB}}\n" for slot in range(32768))
    found = check(
        f"vmcfg: 1\nname: vm\nvcpus: 1\nmemory:\n{slots}".encode(), "many.yaml"
    ).diagnostics
    assert [(each.rule, each.pointer) for each in found] == [("VMC205", "/memory/32767")]


def test_an_impossible_number_of_bits_is_no_shift() -> None:
    found = check(
        b'vmcfg: 1\nname: vm\nipa_bits: "0xffffffffffffffff"\nvcpus: 1\nsteal_time: {base: 0x10000}\n',
        "vm.yaml",
    )
    assert [each.rule for each in found.diagnostics] == ["VMC201", "VMC604"]


def test_every_call_that_a_rule_names_is_one_that_a_plan_makes() -> None:
    made = {command.ioctl for sample in SAMPLES for command in whole_plan(sample)}
    made |= {"KVM_RUN", "KVM_SET_DEVICE_ATTR"}  # of each attribute that an old kernel lacks
    named = {rule.kernel.call for rule in every_rule() if rule.kernel is not None}
    named |= {
        found.kernel.call
        for case in CASES
        for found in checked(case).diagnostics
        if found.kernel is not None
    }
    assert named <= made
