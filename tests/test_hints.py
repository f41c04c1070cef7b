"""A hint can be followed: what it says to write is right, and leaves no finding in its place.

And no spelling of a value, however odd, breaks the check that computes its hint.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_parsers import checked_by
from vmcfg.checking.check import Checked, check
from vmcfg.description.model import every_field
from vmcfg.text.pure_parser import PurePythonParser
from vmcfg.text.tree import FASTEST_PARSER

ROOT = Path(__file__).parent.parent
CASES = sorted((ROOT / "tests" / "cases").glob("*.yaml"))

HEAD = "vmcfg: 1\nname: vm\nvcpus: 2\n"
GIC = HEAD + "gic: {version: 3, distributor: 0x8000000, redistributors: 0x80a0000, "
FILTER = HEAD + "pmu: {irq: 23, filter: ["
VCPU = "vmcfg: 1\nname: vm\nvcpus: [{mpidr: "


# Exactly what was meant ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wrong", "right", "after"),
    [
        # Shapes.
        (HEAD + "memory: ", "2GiB", "[{base: 0x40000000, size: 2GiB}]", "\n"),
        (HEAD + "memory: ", "lots", "[{base: 0x40000000, size: 2GiB}]", "\n"),
        (HEAD + "features: ", "{sve: true}", "[sve]", "\n"),
        (HEAD + "features: ", "{sve: true, el2: false}", "[sve]", "\n"),
        (HEAD + "features: ", "sve", "[sve]", "\n"),
        (GIC + "its: ", "true", "[0x8080000]", "}\n"),
        (GIC + "its: ", "on", "[0x8080000]", "}\n"),
        (GIC + "its: ", "0x0808_0000", "[0x08080000]", "}\n"),
        (
            HEAD + "memory: [{base: 0x90a0000, size: 64KiB}]\nsteal_time: ",
            "0x90a0000",
            "{base: 0x90a0000}",
            "\n",
        ),
        (FILTER, "{allow: 0x08}", "{action: allow, events: 0x08}", "]}\n"),
        (FILTER, "{deny: 0x11}", "{action: deny, events: 0x11}", "]}\n"),
        # Words.
        (HEAD + "gic: {set_up_by: monitor, version: ", "gicv3", "3", "}\n"),
        (HEAD + "gic: {set_up_by: monitor, version: ", "GICv2", "2", "}\n"),
        (HEAD + "gic: {version: 3, set_up_by: ", "Monitor", "monitor", "}\n"),
        (HEAD + "features: [", "SVE", "sve", "]\n"),
        (HEAD + "features: [", "pauth", "ptrauth", "]\n"),
        (HEAD + "features: [", "KVM_ARM_VCPU_SVE", "sve", "]\n"),
        (HEAD + "pmu: {irq: 23, filter: [{events: 0x11, action: ", "permit", "'allow'", "}]}\n"),
        (HEAD + "pmu: {irq: 23, filter: [{events: 0x11, action: ", "Drop", "'deny'", "}]}\n"),
        # Numbers.
        (HEAD + "memory: [{size: 2GiB, base: ", "40000000", "0x40000000", "}]\n"),
        (HEAD + "memory: [{size: 2GiB, base: ", "040000000", "0x040000000", "}]\n"),
        (HEAD + "memory: [{base: 0x40000000, size: ", "2000", "2000MiB", "}]\n"),
        (HEAD + "memory: [{base: 0x40000000, size: ", "2048", "2048MiB", "}]\n"),
        (HEAD + "memory: [{base: 0x40000000, size: ", "4 GiB", "4GiB", "}]\n"),
        (HEAD + "memory: [{base: 0x40000000, size: ", "4gib", "4GiB", "}]\n"),
        (
            HEAD + "gic: {version: 3, redistributors: 0x80a0000, distributor: ",
            "08000000",
            "0x08000000",
            "}\n",
        ),
        (HEAD + "pmu: {irq: 23, filter: [{action: deny, events: ", "cpu_cycles", "0x11", "}]}\n"),
        (HEAD + "pmu: {irq: 23, filter: [{action: deny, events: ", "r21", "0x21", "}]}\n"),
        # MPIDRs and interrupts.
        (VCPU, "'0:0:1:0'", "0.0.1.0", "}]\n"),
        (VCPU, "'0,0,1,0'", "0.0.1.0", "}]\n"),
        (VCPU, "0.0.0.0-63", "0.0.0-3.0-15", "}]\n"),
        (VCPU + "0.0.0.0, pmu_irq: ", "GIC_PPI 7", "ppi:7", "}]\n"),
        (VCPU + "0.0.0.0, pmu_irq: ", "SPI 8", "spi:8", "}]\n"),
        (VCPU + "0.0.0.0, pmu_irq: ", "<1 7 4>", "ppi:7", "}]\n"),
        (VCPU + "0.0.0-3.0-15, pmu_irq: ", "SPI 64-127", "spi:64-127", "}]\n"),
        (VCPU + "0.0.0.0-3, pmu_irq: ", "spi8-11", "spi:8-11", "}]\n"),
    ],
)  # fmt: skip
def test_the_hint_is_what_was_meant(before: str, wrong: str, right: str, after: str) -> None:
    found = check(f"{before}{wrong}{after}".encode(), "vm.yaml").diagnostics
    hints = [each.hint or "" for each in found]
    assert any(right in hint for hint in hints), hints
    left = check(f"{before}{right}{after}".encode(), "vm.yaml").diagnostics
    assert [each for each in left if each.severity == "error"] == []


def test_one_mistake_is_one_finding() -> None:
    for text in (
        HEAD + "pmu: {irq: 23, filter: [{deny: 0x11}]}\n",
        HEAD + "gic: {version: 3}\n",
        HEAD + "max_vcpus: 8\n",
        HEAD + "clusters: 8\n",
        "vmcfg: 1\nname: {{ vm }}\nvcpus: 2\n",
    ):
        assert len(check(text.encode(), "vm.yaml").diagnostics) == 1


# Followed mechanically ----------------------------------------------------------------------------


WRITTEN = re.compile(
    r"(?:if .*?, )?(?:write|use) ('?)([^\s';]+?|\{[^}]+\}|\[[^]]+\])\1(?:[:;,] .*)?"
)
"""A hint that is one text to write in the place of the finding."""


NO_TEXT = ("that", "GICv3")
"""What hints say that is not to be written."""


def replacements() -> list[tuple[str, Path, int, str]]:
    """Each case with a hint of one text to write: the number of its finding, and the text."""
    found = []
    for case in CASES:
        for number, each in enumerate(check(case.read_bytes(), case.name).diagnostics):
            match = WRITTEN.fullmatch(each.hint or "")
            is_on_one_line = each.span.line == each.span.end_line
            if match and is_on_one_line and match[2] not in NO_TEXT:
                found.append((f"{case.stem}-{number}", case, number, match[2]))
    return found


REPLACEMENTS = replacements()


def counts(checked: Checked) -> Counter[str]:
    return Counter(each.rule for each in checked.diagnostics)


@pytest.mark.parametrize(
    ("case", "number", "right"),
    [each[1:] for each in REPLACEMENTS],
    ids=[each[0] for each in REPLACEMENTS],
)
def test_a_followed_hint_leaves_less(case: Path, number: int, right: str) -> None:
    before = check(case.read_bytes(), case.name)
    found = before.diagnostics[number]
    lines = before.tree.text.splitlines(keepends=True)
    line = lines[found.span.line - 1]
    lines[found.span.line - 1] = (
        line[: found.span.column - 1] + right + line[found.span.end_column - 1 :]
    )
    after = check("".join(lines).encode(), case.name)
    assert counts(after)[found.rule] < counts(before)[found.rule]
    assert not counts(after) - counts(before)


# Odd spellings ------------------------------------------------------------------------------------


def with_value(path: str, word: str) -> bytes:
    """A description in which the key with this dotted path has a value."""
    *parents, key = path.split(".")
    text = f"{key}: {word}"
    for parent in reversed(parents):
        text = f"{parent}: [{{{text}}}]" if parent in LISTS else f"{parent}: {{{text}}}"
    return f"{text}\n".encode()


LISTS = ("memory", "vcpus", "filter", "redistributors", "smccc_filter", "devices")
PATHS = sorted(every_field())
ODD = st.text("0123456789abcdefxXeE._:+-~", min_size=1, max_size=8)
CHOSEN = st.sampled_from(
    ["1e999", "-1e999", "0x", "1e-999", ".inf", "-.inf", ".nan", "1:1:1", "190:20:30.15", "0b1",
     "0o7", "0x" + "f" * 20, "9" * 40, "-", "~", "=", "1_0", "+1", "0.", "2026-11-26", "1e5", "08"]
)  # fmt: skip


@pytest.mark.parametrize("parser", [FASTEST_PARSER, PurePythonParser], ids=["libyaml", "pure"])
@pytest.mark.parametrize("path", PATHS)
def test_no_spelling_breaks_the_check(path: str, parser: type[Any]) -> None:
    @settings(derandomize=True, deadline=None, database=None, max_examples=40)
    @given(st.one_of(ODD, CHOSEN))
    def is_checked(word: str) -> None:
        for quoted in (word, f'"{word}"'):
            for each in checked_by(parser, with_value(path, quoted)).diagnostics:
                assert each.message
                assert each.hint is None or each.hint.strip()

    is_checked()


# Text that is not YAML ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("vmcfg: 1\npmu:\n  irq: 23\n   device: a\n", 4, "start line 4 in column 3"),
        ("vcpus:\n  - mpidr: 0.0.0.0\n      pmu_irq: 23\n", 3, "start line 3 in column 5"),
        ("vcpus:\n  - mpidr: 0.0.0.0\n   pmu_irq: 23\n", 3, "start line 3 in column 3 or 5"),
        ("gic:\n  version: 3\n set_up_by: monitor\n", 3, "start line 3 in column 1 or 3"),
        ("vmcfg: 1\n\n# a\n name: vm\n", 4, "start line 4 in column 1"),
        ("vmcfg: 1\nname:vm\nvcpus: 2\n", 2, "'name: vm'"),
        ("vmcfg 1\nname: vm\n", 1, "'vmcfg: 1'"),
        ("gic: version: 3\n", 1, "'gic: {version: 3}'"),
        ("features:\n- sve\n-ptrauth\n", 3, "'- ptrauth'"),
        ("vmcfg: 1\n<<<<<<< HEAD\nvcpus: 2\n=======\n", 2, "remove the markers"),
        ('vmcfg: 1\nname: "vm\nvcpus: 2\n', 2, 'add the closing "'),
        ("name: 'vm\nvcpus: 2\n", 1, "add the closing '"),
        ("vmcfg: 1\nvcpus: [1, 2\nipa_bits: 40\n", 2, "add ']'"),
        ("pmu: {irq: 23\n", 1, "add '}'"),
        ("pmu: {irq: 23}}\n", 1, "remove '}'"),
        ("vmcfg: 1\nname: @vm\n", 2, "write the value in quotes"),
        ("vmcfg: 1\nname: %vm\n", 2, "write the value in quotes"),
        ("vmcfg: 1\npmu:\n\tirq: 23\n", 3, "use spaces"),
        ("pmu: ppi: 7\n", 1, "ppi:7"),
    ],
)
def test_invalid_yaml_names_the_line_to_change(text: str, line: int, words: str) -> None:
    for parser in (FASTEST_PARSER, PurePythonParser):
        (only,) = checked_by(parser, text.encode()).diagnostics
        assert only.rule == "VMC100"
        assert only.span.line == line
        assert words in (only.hint or "")
