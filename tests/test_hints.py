"""A hint can be followed: what it says to write is right, and leaves no finding in its place.

And no spelling of a value, however odd, breaks the check that computes its hint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_parsers import checked_by
from vmcfg.checking.check import Checked, check
from vmcfg.description.model import (
    OTHER_ACTIONS,
    OTHER_CAPABILITIES,
    OTHER_FEATURES,
    OTHER_REGISTERS,
    every_field,
)
from vmcfg.findings.position import WHOLE
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.host import Host, read_host
from vmcfg.text.pure_parser import PurePythonParser
from vmcfg.text.tree import FASTEST_PARSER

ROOT = Path(__file__).parent.parent
CASES = sorted((ROOT / "tests" / "cases").glob("*.yaml"))

HEAD = "vmcfg: 1\nname: vm\nvcpus: 2\n"
GIC = HEAD + "gic: {version: 3, distributor: 0x8000000, redistributors: 0x80a0000, "
FILTER = HEAD + "pmu: {irq: 23, filter: ["
REGIONS = "gic: {version: 3, distributor: 0x8000000, redistributors: [{base: 0x80a0000, "
STEAL_MEMORY = HEAD + "memory: [{base: 0x90a0000, size: 64KiB}]\n"
STEAL_TIME = STEAL_MEMORY + "steal_time: "
DEVICE = "vmcfg: 1\nname: vm\nvcpus: 4\ndevices: [{name: a, irq: spi:9}, {name: b, irq: spi:11}]\n"
VCPU = 'vmcfg: 1\nname: vm\nhost_kernel: "6.7"\nvcpus: [{mpidr: '


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
        (HEAD + "features:\n  ", "-sve", "- sve", "\n"),
        (GIC + "its: ", "true", "0x8080000", "}\n"),
        (GIC + "its: ", "on", "0x8080000", "}\n"),
        (GIC + "its: ", "0x0808_0000", "0x8080000", "}\n"),
        (GIC + "its: ", "{base: 0x8080000}", "0x8080000", "}\n"),
        (STEAL_TIME, "on", "0x90a0000", "\n"),
        (STEAL_TIME, "[0x90a0000]", "0x90a0000", "\n"),
        (HEAD + "pmu:\n  ", "irq:23", "irq: 23", "\n"),
        (HEAD + "pmu: {", "interrupts: <1 7 4>", "irq: ppi:7", "}\n"),
        (HEAD + "gic: {set_up_by: monitor, ", "gic_version: gicv3", "version: 3", "}\n"),
        (STEAL_MEMORY, "steel_time: 0x090a_0000", "steal_time: 0x90a0000", "\n"),
        ('vmcfg: 1\nname: vm\nhost_kernel: "6.7"\n', "clusters: 8", "mpidr: 0.0.0-7.0-7", "\n"),
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
        (HEAD + REGIONS, "size: 0xf60000", "count: 123", "}]}\n"),
        # Numbers.
        (HEAD + "memory: [{size: 2GiB, base: ", "256GiB", "0x4000000000", "}]\n"),
        (HEAD + "memory: [{size: 2GiB, base: ", "1 G", "0x40000000", "}]\n"),
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
        (VCPU, "0.0-7.0-7", "0.0.0-7.0-7", "}]\n"),
        (VCPU, "0-7", "0.0.0.0-7", "}]\n"),
        (VCPU, "0x101", "0.0.1.1", "}]\n"),
        (VCPU + "0.0.0.0-7}, {mpidr: ", "0.0.0.0-7", "0.0.0.8-15", "}]\n"),
        (VCPU + "0.0.0-3.0-15}, {mpidr: ", "0.0.0-3.0-15", "0.0.4-7.0-15", "}]\n"),
        (VCPU + "0.0.0.0-3}, {mpidr: ", "0.0.0.2-5", "0.0.0.4-7", "}]\n"),
        (VCPU + "0.0.0-3.0-15, pmu_irq: ", "spi:64", "spi:64-127", "}]\n"),
        (VCPU + "0.0.0.0-3, pmu_irq: ", "40", "40-43", "}]\n"),
        (VCPU + "0.0.0.0-3, pmu_irq: ", "spi:958", "spi:0-3", "}]\n"),
        ("vmcfg: 1\nname: vm\nvcpus: 64\npmu: {irq: ", "spi:64", "spi:64-127", "}\n"),
        (DEVICE + "pmu: {irq: ", "spi:8", "spi:12-15", "}\n"),
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
    if wrong == "clusters: 8":
        right = f"vcpus: [{{{right}}}]"
    left = check(f"{before}{right}{after}".encode(), "vm.yaml").diagnostics
    assert [each for each in left if each.severity == "error"] == []


@pytest.mark.parametrize(
    ("before", "others", "after"),
    [
        (HEAD + "features: [", OTHER_FEATURES, "]\n"),
        (FILTER + "{events: 0x11, action: ", OTHER_ACTIONS, "}]}\n"),
        (HEAD + "capabilities: [{name: ", OTHER_CAPABILITIES, ", args: [0x1000]}]\n"),
        (HEAD + "registers: [{value: 1, name: ", OTHER_REGISTERS, "}]\n"),
    ],
    ids=["features", "actions", "capabilities", "registers"],
)
def test_words_of_other_tools_lead_to_words_of_the_format(
    before: str, others: Mapping[Any, str], after: str
) -> None:
    for word, hint in others.items():
        (found,) = check(f"{before}{word}{after}".encode(), "vm.yaml").diagnostics
        assert found.hint == hint
        here = re.match(r"write '?(\w+)'?(?:, |$)", hint)
        if here:
            right = check(f"{before}{here[1]}{after}".encode(), "vm.yaml").diagnostics
            assert "VMC123" not in {each.rule for each in right}, word
        for key in re.findall(r" in '([\w.]+)'", hint):
            assert key in every_field(), word


@pytest.mark.parametrize("name", VCPU_FEATURES)
def test_each_feature_of_the_uapi_is_a_feature_or_has_a_hint(name: str) -> None:
    for word in (name.lower(), f"KVM_ARM_VCPU_{name}"):
        found = check(f"{HEAD}features: [{word}]\n".encode(), "vm.yaml").diagnostics
        assert [each for each in found if each.rule == "VMC123" and each.hint is None] == []


@pytest.mark.parametrize("word", ["r", "r1g", "r11x", "rx", "r12345", "r-1", "r0x11"])
def test_what_is_only_like_a_raw_event_of_perf_is_no_number(word: str) -> None:
    (found,) = check(
        f"{FILTER}{{action: deny, events: {word}}}]}}\n".encode(), "vm.yaml"
    ).diagnostics
    assert found.hint == "write a number or a range, such as 0x08-0x1b"


def test_one_mistake_is_one_finding() -> None:
    for text in (
        HEAD + "pmu: {irq: 23, filter: [{deny: 0x11}]}\n",
        HEAD + "gic: {version: 3}\n",
        HEAD + "max_vcpus: 8\n",
        HEAD + "clusters: 8\n",
        "vmcfg: 1\nname: vm\nsmp: {cores: 4}\n",
        "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n  - pmu_irq: 23\n",
        "vmcfg: 1\nname: vm\nvcpus:\n  - pmu_irq: 23\n  - mpidr: 0.0.0.0\n",
        HEAD + "memory:\n  - base: 0x40000000\n  - size: 1GiB\n",
        HEAD + "pmu:\nirq: 23\n",
        HEAD + "gic:\n  set_up_by: monitor\nversion: 3\n",
        VCPU + "0.0.0.0-7, pmu_irq: spi:0-7}, {mpidr: 0.0.0.8-15, pmu_irq: spi:0-7}]\n",
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


def test_no_two_hints_use_the_same_mpidr() -> None:
    twice = "0.0.0.0}, {mpidr: 0.0.0.0}, {mpidr: 0.0.0.1}, {mpidr: 0.0.0.1}]\n"
    found = check(f"{VCPU}{twice}".encode(), "vm.yaml").diagnostics
    assert [each.hint for each in found] == [
        "use a free MPIDR, such as 0.0.0.2",
        "use a free MPIDR, such as 0.0.0.3",
    ]


# Keys in the wrong column -------------------------------------------------------------------------

LINES = """\
vmcfg: 1
name: vm
memory:
  - base: 0x40000000
    size: 1GiB
  - base: 0x90a0000
    size: 64KiB
vcpus:
  - mpidr: 0.0.0.0
    pmu_irq: 23
  - mpidr: 0.0.0.1
    pmu_irq: 23
gic:
  version: 3
  distributor: 0x8000000
  redistributors:
    - base: 0x80a0000
      count: 2
  its:
    - 0x9100000
pmu:
  device: armv8_pmuv3
  filter:
    - action: deny
      events: 0x11
timers:
  virtual: 27
  physical: 30
steal_time:
  base: 0x90a0000
devices:
  - name: uart
    irq: spi:1
"""
"""A description in lines, with every kind of list and mapping."""


def moved(text: str, at: int, columns: int) -> str:
    """Return `text` with the line at an index, and the lines below it, moved by some columns."""
    lines = text.splitlines()
    here = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > here:
        end += 1
    for number in range(at, end):
        line = lines[number]
        lines[number] = " " * columns + line if columns > 0 else line.removeprefix(" " * -columns)
    return "\n".join(lines) + "\n"


def only_finding(text: str) -> Any:
    (only,) = check(text.encode(), "vm.yaml").diagnostics
    return only


def test_the_description_in_lines_is_right() -> None:
    assert check(LINES.encode(), "vm.yaml").diagnostics == []


@pytest.mark.parametrize("key", ["its", "filter", "physical", "base", "irq", "pmu_irq", "size"])
def test_a_key_that_is_not_indented_belongs_under_the_key_above(key: str) -> None:
    lines = LINES.splitlines()
    # The last line with this key, so that the lines below it are those of the next key.
    at = max(number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
    column = len(lines[at]) - len(lines[at].lstrip()) + 1
    only = only_finding(moved(LINES, at, 1 - column))
    assert (only.rule, only.span.line) == ("VMC110", at + 1)
    assert f"start it in column {column}: it belongs under" in only.hint


@pytest.mark.parametrize("owner", ["gic", "pmu", "timers", "steal_time"])
def test_a_mapping_without_indentation_is_one_finding_per_key(owner: str) -> None:
    above, at, rest = LINES.partition(f"{owner}:\n")
    below = re.match("(?: .*\n)*", rest)[0]  # type: ignore[index]  # it matches anything
    unindented = re.sub("(?m)^  ", "", below)
    found = check(f"{above}{at}{unindented}{rest[len(below) :]}".encode(), "vm.yaml").diagnostics
    keys = re.findall("(?m)^[a-z]", unindented)
    assert [each.rule for each in found] == ["VMC110"] * len(keys)
    for each in found:
        assert each.hint == f"start it in column 3: it belongs under '{owner}'"


@pytest.mark.parametrize("key", ["pmu", "timers", "steal_time", "devices"])
def test_a_top_level_key_under_another_one_is_moved_to_column_1(key: str) -> None:
    at = LINES.splitlines().index(f"{key}:")
    only = only_finding(moved(LINES, at, 2))
    assert (only.rule, only.span.line) == ("VMC110", at + 1)
    assert only.hint.startswith(f"if you mean '{key}', start it in column 1;")


def test_the_keys_of_a_list_without_indentation_get_the_columns_of_one_item() -> None:
    found = check(
        (HEAD + "memory:\nbase: 0x40000000\nsize: 1GiB\n").encode(), "vm.yaml"
    ).diagnostics
    assert [each.hint for each in found] == [
        "start it in column 3, with '- ' before it: it belongs under 'memory'",
        "start it in column 5: it belongs under 'memory'",
    ]


@pytest.mark.parametrize("key", ["size", "pmu_irq", "events"])
def test_a_dash_too_many_begins_an_item(key: str) -> None:
    lines = LINES.splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
    indent = len(lines[at]) - len(lines[at].lstrip())
    lines[at] = f"{' ' * (indent - 2)}- {lines[at].strip()}"
    only = only_finding("\n".join(lines) + "\n")
    assert (only.rule, only.span.line) == ("VMC111", at + 1)
    assert only.hint.startswith(
        "write a space instead of the '-': that begins a new item, without "
    )
    lines[at] = lines[at].replace("- ", "  ", 1)
    assert check("\n".join(lines).encode(), "vm.yaml").diagnostics == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pmu:\n  irq: 23\nfilter:\n  - {action: deny, events: 0x11}\n", "in column 3"),
        ("pmu:\n    irq: 23\nfilter: []\n", "in column 5"),
        ("pmu: {irq: 23}\nfilter: []\n", "if you mean 'pmu.filter', write it under 'pmu'"),
        ("pmu:\n  irq: 23\n  filter: []\nfilter: []\n", "remove it: 'pmu.filter' is already"),
        ("devices:\nirq: 33\n", "start it in column 3, with '- ' before it"),
        ("pmu: {irq: 23, gic: {version: 3}}\n", "if you mean 'gic', write it at the top level"),
        ("pmu:\n  gic: {version: 3}\n  irq: 23\n", "move it below 'pmu', to column 1"),
        ("pmu:\n  irq: 23\n  vcpus: 2\n", "remove it: 'vcpus' is already there"),
        ("max_vcpus: 8\n", "remove it: 'vcpus' is already there"),
    ],
)
def test_the_place_for_a_key_is_one_where_it_can_be(text: str, hint: str) -> None:
    assert hint in only_finding(HEAD + text).hint


# Defaults -----------------------------------------------------------------------------------------

HIGH = "memory: [{base: 0x10000000000, size: 1GiB}]\n"
HIGH_GIC = "gic: {version: 3, distributor: 0x10000000000, redistributors: 0x80a0000}\n"
PLANNED = "gic: {version: 3, distributor: 0x8000000, redistributors: 0x80a0000}\n"


@pytest.mark.parametrize(
    ("rule", "text", "written"),
    [
        ("VMC204", HIGH, "ipa_bits: 40\n" + HIGH),
        ("VMC406", HIGH_GIC, "ipa_bits: 40\n" + HIGH_GIC),
        (
            "VMC506",
            PLANNED + "pmu: {irq: spi:300-301}\n",
            PLANNED.replace("3, ", "3, nr_irqs: 256, ", 1) + "pmu: {irq: spi:300-301}\n",
        ),
        (
            "VMC413",
            PLANNED + "devices: [{name: a, irq: spi:300}]\n",
            PLANNED.replace("3, ", "3, nr_irqs: 256, ", 1) + "devices: [{name: a, irq: spi:300}]\n",
        ),
    ],
)
def test_a_finding_says_whether_a_value_is_a_default(rule: str, text: str, written: str) -> None:
    by_default, as_written = only_finding(HEAD + text), only_finding(HEAD + written)
    assert by_default.rule == as_written.rule == rule
    assert by_default.message == f"{as_written.message} (default)"


def test_the_place_of_a_key_that_is_not_written_is_its_mapping() -> None:
    only = only_finding(HEAD + "devices: [{name: a, irq: spi:300}]\n" + PLANNED)
    (place,) = only.related
    assert (place.span.line, place.span.column, place.span.end_column) == (5, 1, 4)
    assert place.message == "'nr_irqs' is not written; its default is 256"


HOST = read_host((ROOT / "tests" / "hosts" / "has-everything.json").read_bytes(), "host.json")
NOTHING = HOST._replace(kernel=(5, 10), capabilities={}, devices=frozenset(), pmus=())
LITTLE = HOST._replace(capabilities=dict.fromkeys(HOST.capabilities, 1))


@pytest.mark.parametrize("host", [None, NOTHING, LITTLE], ids=["no host", "nothing", "little"])
def test_no_finding_is_at_the_start_of_the_file_without_a_word(host: Host | None) -> None:
    for case in CASES:
        for each in check(case.read_bytes(), case.name, hosts=[host] if host else []).diagnostics:
            is_about_the_text = each.rule.startswith("VMC10")
            assert each.span != WHOLE or is_about_the_text, (case.name, each.message)
            is_default = "(default)" in each.message or "is not written" in each.label
            assert each.pointer or is_about_the_text or is_default, (case.name, each.message)


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


@pytest.mark.parametrize(
    "parser",
    [
        pytest.param(FASTEST_PARSER, id="libyaml"),
        pytest.param(PurePythonParser, id="pure", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_no_spelling_breaks_the_check(path: str, parser: type[Any]) -> None:
    @settings(max_examples=40)
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
