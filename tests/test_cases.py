"""Every problem has a file in tests/cases, with the exact output and the positions of the findings.

NAME.out is the output of vmcfg; `pytest --bless` writes it. NAME.at is written by hand, so that
line and column have a second source: one line per finding, in the order of the output.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vmcfg.checking.check import Checked, check
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports import human

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))

IMPLIED = {"VMC605-in-distributor": {"VMC408"}}
"""Findings that a case cannot avoid: a frame around steal time is also in its memory slot."""


SAMPLES = sorted((Path(__file__).parent.parent / "sample-configs").glob("*.yaml"))


def whole_plan(sample: Path) -> tuple[Command, ...]:
    machine = check(sample.read_bytes(), sample.name).machine
    assert machine is not None
    return lower(machine, WHOLE_VM).commands


def checked(case: Path) -> Checked:
    return check(case.read_bytes(), case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_output_is_what_stands_beside_it(
    case: Path, same_as_file: Callable[[Path, bytes], None]
) -> None:
    found = checked(case)
    drawn = human.drawn(found.diagnostics, found.tree.texts, color=False)
    drawn += human.help_line([each.rule for each in found.diagnostics], color=False)
    same_as_file(case.with_suffix(".out"), drawn.encode())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_findings_are_where_they_are_expected(case: Path) -> None:
    at = case.with_suffix(".at")
    assert at.exists(), (
        f"tests/cases/{at.name} is missing: write it by hand, one line per finding, such as"
        " 'VMC502 7:14-7:16'. The numbers are the line and the column of the first character, and"
        " those of the character after the last"
    )
    found = [
        f"{each.rule} {each.span.line}:{each.span.column}"
        f"-{each.span.end_line}:{each.span.end_column}"
        for each in checked(case).diagnostics
    ]
    assert found == at.read_text().splitlines(), (
        f"the positions of the findings differ from tests/cases/{at.name}. Count in"
        f" tests/cases/{case.name}: if the new positions are right, change {at.name} by hand"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case_breaks_its_rule_and_no_other(case: Path) -> None:
    found = {found.rule for found in checked(case).diagnostics}
    rule = case.name[:6]
    assert rule in found, (
        f"tests/cases/{case.name} breaks {sorted(found) or 'no rule'}, not {rule}: change it so"
        f" that it breaks {rule}, or name it after the rule that it breaks"
    )
    others = found - IMPLIED.get(case.stem, set()) - {rule}
    assert not others, (
        f"tests/cases/{case.name} also breaks {sorted(others)}: change it so that it breaks only"
        f" {rule}; if this is impossible, add it to IMPLIED in tests/test_cases.py"
    )


@pytest.mark.parametrize("suffix", [".out", ".at"])
def test_nothing_is_left_of_a_case(suffix: str) -> None:
    left = sorted(
        path.name
        for path in (Path(__file__).parent / "cases").glob(f"*{suffix}")
        if not path.with_suffix(".yaml").exists()
    )
    assert not left, f"remove from tests/cases, or write the .yaml for: {', '.join(left)}"


def test_every_rule_has_a_case_in_its_hundred() -> None:
    # Only descriptions of hundreds of lines break VMC415: tests/test_rules.py writes them.
    needed = {rule.id for rule in every_rule() if rule.found_by == "validate"} - {"VMC415"}
    have = {case.name[:6] for case in CASES}
    missing = sorted(needed - have)
    assert not missing, (
        f"{missing} have no case: write tests/cases/VMCnnn-WHAT.yaml, which breaks the rule, and"
        " VMCnnn-WHAT.at with its position; 'python -m pytest tests/test_cases.py --bless' writes"
        " the output"
    )
    left = sorted(have - needed)
    assert not left, f"tests/cases has cases of {left}, which no description breaks: remove them"


RIGHT = sorted((Path(__file__).parent / "right").glob("*.yaml"))


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_description_at_a_bound_is_right(path: Path) -> None:
    """For each case just outside a bound, one of these is just inside."""
    assert checked(path).diagnostics == []


def test_memory_slots_are_counted() -> None:
    slots = "".join(f"  - {{base: {slot << 16:#x}, size: 64KiB}}\n" for slot in range(32768))
    found = check(
        f"vmcfg: 1\nname: vm\nvcpus: 1\nmemory:\n{slots}".encode(), "many.yaml"
    ).diagnostics
    assert [(each.rule, each.pointer) for each in found] == [("VMC205", "/memory/32767")]


def test_an_impossible_number_of_bits_is_no_shift() -> None:
    found = check(
        b'vmcfg: 1\nname: vm\nipa_bits: "0xffffffffffffffff"\nvcpus: 1\n'
        b"steal_time: {base: 0x10000}\n",
        "vm.yaml",
    )
    assert [each.rule for each in found.diagnostics] == ["VMC201", "VMC604"]


def test_every_call_that_a_rule_names_is_one_that_a_plan_makes() -> None:
    made = {command.title for sample in SAMPLES for command in whole_plan(sample)}
    # For each attribute, capability, or register that a kernel lacks.
    made |= {"KVM_RUN", "KVM_SET_DEVICE_ATTR", "KVM_ENABLE_CAP", "KVM_SET_ONE_REG"}
    made |= {f"KVM_ENABLE_CAP({name})" for name in VM_CAPABILITIES}
    made |= {f"KVM_SET_ONE_REG({name})" for name in SETTABLE}
    named = {rule.kernel.call for rule in every_rule() if rule.kernel is not None}
    named |= {
        found.kernel.call
        for case in CASES
        for found in checked(case).diagnostics
        if found.kernel is not None
    }
    assert named <= made, (
        f"rules have answers of {sorted(named - made)}, but no plan of a sample has it: write"
        " the call as plans do, or add a sample whose plan has it"
    )
