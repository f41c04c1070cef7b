"""VMC82x and VMC83x: each has an example and cases, which break it and no other rule.

A case is a description in tests/vmm-cases, with the output of `vmcfg emit --format qemu` next to
it. The positions are written by hand in AT.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis.strategies import SearchStrategy, deferred

from tests.seeds import SEED
from tests.strategies import descriptions, json_text, mutants, near_misses, shapes
from vmcfg.checking.check import Checked, check, with_findings
from vmcfg.monitors.libvirt import domain
from vmcfg.monitors.libvirt_rules import findings_for_libvirt
from vmcfg.monitors.qemu_command_line import command_line
from vmcfg.monitors.rules import RULES, findings_for_qemu
from vmcfg.reference.vmm_examples import QEMU_EXAMPLES
from vmcfg.reports import human

HERE = Path(__file__).parent
CASES = {path.stem: path.read_bytes() for path in sorted((HERE / "vmm-cases").glob("*.yaml"))}
EXAMPLES = {f"{rule}-example": text.encode() for rule, text in QEMU_EXAMPLES.items()}

IMPLIED = {
    "VMC822-example": {"VMC505"},  # KVM accepts it only before Linux 6.12
    "VMC824-example": {"VMC823"},  # counters require a device
    "VMC829-example": {"VMC835"},  # the interrupt is used only with EL2
    "VMC835-strict-pmu": {"VMC823"},  # the strict PMU requires a device
}
"""Findings that a case cannot avoid."""

AT = {
    "VMC820-boot": ["VMC820 4:12-4:19"],
    "VMC820-example": ["VMC820 5:12-5:19"],
    "VMC820-sequential": ["VMC820 6:12-6:19"],
    "VMC821-example": ["VMC821 4:12-4:14"],
    "VMC821-spis": ["VMC821 5:14-5:19"],
    "VMC822-example": ["VMC505 6:12-6:19", "VMC822 6:12-6:19"],
    "VMC823-example": ["VMC823 4:24-4:35"],
    "VMC824-example": ["VMC823 5:24-5:35", "VMC824 5:47-5:48"],
    "VMC825-example": ["VMC825 4:16-4:22"],
    "VMC826-example": ["VMC826 8:12-8:15"],
    "VMC827-example": ["VMC827 8:8-8:18"],
    "VMC827-gicv2": ["VMC827 7:18-7:28"],
    "VMC827-of-the-monitor": ["VMC827 7:16-7:26"],
    "VMC827-two-its": ["VMC827 8:21-8:31"],
    "VMC828-above-the-ram": ["VMC828 12:14-12:26"],
    "VMC828-example": ["VMC828 7:19-7:29"],
    "VMC828-second-region": ["VMC828 9:14-9:26"],
    "VMC829-example": ["VMC829 9:20-9:22", "VMC835 10:12-10:15"],
    "VMC830-example": ["VMC830 4:19-4:21"],
    "VMC831-example": ["VMC831 5:1-5:13"],
    "VMC832-example": ["VMC832 5:13-5:23"],
    "VMC833-example": ["VMC833 4:10-4:40"],
    "VMC833-gap": ["VMC833 6:5-6:36"],
    "VMC833-read-only": ["VMC833 6:5-6:52"],
    "VMC833-writable-flash": ["VMC833 5:5-5:29"],
    "VMC834-example": ["VMC834 4:11-4:13"],
    "VMC834-much-ram": ["VMC834 3:11-3:13"],
    "VMC835-32-bit": ["VMC835 6:1-6:11", "VMC835 7:12-7:19"],
    "VMC835-el2": ["VMC835 5:12-5:15", "VMC835 5:17-5:21"],
    "VMC835-example": ["VMC835 4:12-4:15"],
    "VMC835-strict-pmu": ["VMC823 5:24-5:35", "VMC835 5:45-5:49"],
    "VMC836-arguments": ["VMC836 5:5-5:57"],
    "VMC836-example": ["VMC836 4:16-4:50"],
    "VMC837-example": ["VMC837 4:13-4:61"],
    "VMC838-example": ["VMC838 4:1-4:6"],
}
"""The line and the column of the first character, and of the one after the last, per finding."""


def checked(text: bytes) -> Checked:
    found = check(text, "vm.yaml")
    assert found.machine is not None
    return with_findings(found, findings_for_qemu(found.machine))


def test_every_rule_has_an_example() -> None:
    assert list(QEMU_EXAMPLES) == [rule.id for rule in RULES]


@pytest.mark.parametrize("case", [*CASES, *EXAMPLES])
def test_a_case_breaks_its_rule_and_no_other(case: str) -> None:
    found = {each.rule for each in checked((CASES | EXAMPLES)[case]).diagnostics}
    assert found == {case[:6]} | IMPLIED.get(case, set())


@pytest.mark.parametrize("case", [*CASES, *EXAMPLES])
def test_kvm_accepts_a_case(case: str) -> None:
    """It is only a matter of the VMM: without `--format`, there is no finding."""
    found = {each.rule for each in check((CASES | EXAMPLES)[case], "vm.yaml").diagnostics}
    assert found == IMPLIED.get(case, set()) & {"VMC505"}


@pytest.mark.parametrize("case", [*CASES, *EXAMPLES])
def test_findings_are_where_they_are_expected(case: str) -> None:
    found = [
        f"{each.rule} {each.span.line}:{each.span.column}"
        f"-{each.span.end_line}:{each.span.end_column}"
        for each in checked((CASES | EXAMPLES)[case]).diagnostics
    ]
    assert found == AT.get(case)


@pytest.mark.parametrize("case", CASES)
def test_output_is_what_stands_beside_it(
    case: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    found = checked(CASES[case])
    drawn = human.drawn(found.diagnostics, found.tree.texts, color=False)
    same_as_file(HERE / "vmm-cases" / f"{case}.out", drawn.encode())


DOCUMENTS: dict[str, SearchStrategy[Any]] = {
    "shapes": deferred(shapes),
    "near-misses": near_misses(),
    "mutants": deferred(lambda: mutants(descriptions())),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_any_machine_has_findings_a_command_line_and_a_domain(kind: str) -> None:
    """Also with findings about KVM, as with `--unchecked`."""

    @settings(max_examples=150)
    @seed(SEED)
    @given(DOCUMENTS[kind])
    def law(document: Any) -> None:
        machine = check(json_text(document).encode(), "vm.yaml").machine
        if machine is not None:
            ids = [rule.id for rule, _ in findings_for_libvirt(machine)]
            assert [each for each in ids if each <= "VMC819"] == []
            assert command_line(machine).endswith("\n")
            assert domain(machine).endswith("</domain>\n")

    law()


def test_positions_are_of_cases() -> None:
    assert sorted(AT) == sorted([*CASES, *EXAMPLES])
