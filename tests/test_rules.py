"""Every rule and every vCPU feature is complete.

Each rule is listed in its file. Its id and its name are unique, and its docstring explains it.
Every check knows each feature of the table.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.kvm import edges
from vmcfg.checking.check import check
from vmcfg.findings.rule import Rule
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import FEATURES, VCPU_FEATURES
from vmcfg.kernel.host import Host
from vmcfg.reference.conditional_examples import CONDITIONAL_EXAMPLES
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.examples import EXAMPLES, FOLDER, example_of
from vmcfg.reference.rule_text import NEVER_REACHES_KVM, findings_in, rule_lines, text_of
from vmcfg.rules.host_kernel import newer_attributes, origins_of, sets_newer_attribute
from vmcfg.rules.kinds import once_per_machine
from vmcfg.rules.machine_rules import MACHINE_RULES
from vmcfg.vm.machine import Machine

ROOT = Path(__file__).parent.parent


class Written(NamedTuple):
    """A rule as it is written in a file: its id, its name in the file, and the line."""

    file: str
    line: int
    id: str
    variable: str

    def __str__(self) -> str:
        return f"{self.id} ({self.variable}, {self.file}:{self.line})"


def called(node: ast.expr) -> str:
    """Return the name of the function that an expression calls, or an empty text."""
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return node.func.id if is_call else ""  # type: ignore[attr-defined]


def id_in(call: ast.expr, file: str) -> str:
    """Return the id of a rule, which is the first argument of the call that creates it."""
    assert isinstance(call, ast.Call)
    first = call.args[0] if call.args else None
    id = first.value if isinstance(first, ast.Constant) else None
    assert isinstance(id, str), (
        f"{file}:{call.lineno} creates a rule: write its id as the first argument, such as 'VMC503'"
    )
    assert re.fullmatch(r"VMC[1-9][0-9]{2}", id), (
        f"{file}:{call.lineno}: write the id as VMC and three digits, not {id!r}"
    )
    return id


def written_in(path: Path) -> Iterator[Written]:
    """Yield the rules that a file defines, listed or not."""
    file = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if called(decorator) in ("machine_rule", "host_rule", "vmm_rule"):
                    yield Written(file, node.lineno, id_in(decorator, file), node.name)
        if isinstance(node, ast.Assign) and called(node.value) == "Rule":
            yield Written(file, node.lineno, id_in(node.value, file), ast.unparse(node.targets[0]))


WRITTEN = [rule for path in sorted((ROOT / "vmcfg").rglob("*.py")) for rule in written_in(path)]
FILES = sorted({rule.file for rule in WRITTEN})


def test_rules_are_found_in_the_files() -> None:
    """The tests below check only rules that are found like this."""
    unseen = {rule.id for rule in every_rule()} - {rule.id for rule in WRITTEN}
    assert not unseen, (
        f"{', '.join(sorted(unseen))} is not found in vmcfg: write a rule as '@machine_rule(ID,"
        " ...)', '@host_rule(ID, ...)' or 'NAME = Rule(ID, ...)', or add the new form to"
        " written_in in tests/test_rules.py"
    )


@pytest.mark.parametrize("rule", WRITTEN, ids=str)
def test_every_rule_is_listed(rule: Written) -> None:
    module = importlib.import_module(rule.file.removesuffix(".py").replace("/", "."))
    here = getattr(module, "RULES", None)
    if here is not None:
        assert getattr(module, rule.variable) in here, (
            f"{rule} is not listed: add {rule.variable} to RULES at the end of {rule.file}"
        )
    assert getattr(module, rule.variable) in every_rule(), (
        f"{rule} is in no list of rules: add the RULES of {rule.file} to MACHINE_RULES in"
        " vmcfg/rules/machine_rules.py; if it is not a rule over a machine, to every_rule in"
        " vmcfg/reference/every_rule.py"
    )


# What rules are about ---------------------------------------------------------------------------

DESCRIPTIONS = sorted(
    path
    for folder in ("tests/cases", "tests/right", "sample-configs", "vmcfg/reference/examples")
    for path in (ROOT / folder).glob("*.yaml")
)


def test_a_rule_finds_nothing_without_what_it_is_about() -> None:
    checked = [check(path.read_bytes(), path.name).machine for path in DESCRIPTIONS]
    machines = [machine for machine in checked if machine is not None]
    assert len(machines) > 200
    for machine in machines:
        assert_that_skipped_rules_find_nothing(machine)


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(edges.descriptions((2, 3), 52))
def test_no_rule_finds_more_near_the_edges(description: dict[str, Any]) -> None:
    machine = check(edges.text(description), "random").machine
    assume(machine is not None)
    assert machine is not None
    assert_that_skipped_rules_find_nothing(machine)


def test_a_value_of_a_machine_is_computed_once_and_never_that_of_another() -> None:
    computed = []

    @once_per_machine
    def name(machine: Machine) -> str:
        computed.append(machine.name)
        return machine.name

    machines = [
        check(b"{vmcfg: 1, name: %s, vcpus: 1}" % each, "").machine for each in (b"a", b"b")
    ]
    a, b = (machine for machine in machines if machine is not None)
    assert [name(each) for each in (a, a, b, b, a)] == ["a", "a", "b", "b", "a"]
    assert computed == ["a", "b", "a"]


def assert_that_skipped_rules_find_nothing(machine: Machine) -> None:
    if not sets_newer_attribute(machine):
        assert [row for row, _ in newer_attributes() if origins_of(row, machine)] == []
    for rule in MACHINE_RULES:
        if rule.about is not None and not attrgetter(rule.about)(machine):
            assert list(rule.check(machine)) == [], (
                f"{rule.id} has a finding about a VM without what it is about: remove"
                f" 'about=\"{rule.about}\"' from it"
            )


# Ids and names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_ids_are_of_the_hundred_that_the_file_names(file: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / file).read_text())) or ""
    hundred = re.match(r"VMC[1-9]", docstring)
    assert hundred, (
        f"{file} has rules: begin its docstring with their ids, such as 'VMC5xx: the PMU'"
    )
    for rule in WRITTEN:
        if rule.file == file:
            assert rule.id.startswith(hundred[0]), (
                f"{rule} does not belong in this file, whose docstring begins with {hundred[0]}:"
                " use an id with this first digit, or move the rule"
            )


def test_ids_are_given_once() -> None:
    times = Counter(rule.id for rule in WRITTEN)
    for rule in WRITTEN:
        others = [str(other) for other in WRITTEN if other.id == rule.id and other != rule]
        assert times[rule.id] == 1, (
            f"{rule} has the id of {', '.join(others)}: use the next free number of the topic"
        )


def test_names_are_given_once() -> None:
    names: dict[str, Rule] = {}
    for rule in every_rule():
        other = names.setdefault(rule.name, rule)
        assert other is rule, (
            f"{rule.id} and {other.id} are both called {rule.name}: rename the function of the new"
            " one"
        )


@pytest.mark.parametrize("rule", every_rule(), ids=str)
def test_names_are_in_lower_case(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", rule.name), (
        f"{rule.id}: write its name in lower case with hyphens, not {rule.name!r}"
    )


@pytest.mark.parametrize("rule", every_rule(), ids=str)
def test_every_rule_explains_itself(rule: Rule) -> None:
    first = rule.paragraphs[0]
    assert re.fullmatch(r"[A-Z`].*[.)]", first, re.DOTALL), (
        f"{rule.id} {rule.name}: begin its docstring with a sentence that states the requirement;"
        f" 'vmcfg explain {rule.id}' prints it"
    )


@pytest.mark.parametrize("rule", every_rule(), ids=str)
def test_the_source_is_the_last_paragraph(rule: Rule) -> None:
    for paragraph in rule.paragraphs:
        assert not re.match("(?i)source", paragraph), (
            f"{rule.id}: write its source as the last paragraph of the docstring, which begins with"
            " 'Source: '"
        )
    if rule.source is not None:
        words = " ".join(" ".join(rule_lines(rule)).split())
        assert words.endswith(f"source: {rule.source}")


def test_a_source_is_split_off() -> None:
    rule = Rule("VMC999", "example", "A summary.\n\nDetails on\ntwo lines.\n\nSource: a.c:f,\n7.2.")
    assert rule.paragraphs == ["A summary.", "Details on two lines."]
    assert rule.source == "a.c:f, 7.2."
    assert Rule("VMC999", "example", "A summary.").source is None
    lines = list(rule_lines(rule))
    assert lines[-2:] == ["", "source: a.c:f, 7.2."]


# Examples --------------------------------------------------------------------------------------

TOO_LONG = {"VMC415"}
"""The rules that only descriptions of hundreds of lines break."""

WITH_EXAMPLE = [
    rule for rule in every_rule() if rule.found_by == "validate" and rule.id not in TOO_LONG
]


def test_every_rule_of_descriptions_has_an_example() -> None:
    missing = sorted({rule.id for rule in WITH_EXAMPLE} - set(EXAMPLES))
    assert not missing, (
        f"no example explains {', '.join(missing)}: add a short case to EXAMPLES in"
        " vmcfg/reference/examples.py"
    )
    others = sorted(set(EXAMPLES) - {rule.id for rule in WITH_EXAMPLE})
    assert not others, (
        f"remove {', '.join(others)} from EXAMPLES in vmcfg/reference/examples.py: no description"
        " breaks it"
    )
    assert list(EXAMPLES) == sorted(EXAMPLES), "sort EXAMPLES by rule"


@pytest.mark.parametrize("rule", WITH_EXAMPLE, ids=str)
def test_the_example_is_short_and_breaks_its_rule(rule: Rule) -> None:
    example = example_of(rule.id)
    assert example is not None
    choose = "choose another case in EXAMPLES in vmcfg/reference/examples.py, or write one"
    assert example.exists(), f"{FOLDER.name}/{example.name} is missing: run python -m vmcfg.shell"
    lines = text_of(example).splitlines()
    assert len(lines) <= 25, f"{example.name} has {len(lines)} lines: {choose}"
    assert max(map(len, lines)) <= 92, f"{example.name} has a line of over 92 columns: {choose}"
    assert findings_in(example, rule), f"{example.name} does not break {rule.id}: {choose}"


@pytest.mark.parametrize("rule", WITH_EXAMPLE, ids=str)
def test_the_printed_answer_is_the_answer_to_the_example(rule: Rule) -> None:
    """It is also the answer in the rule itself, so that text and example agree."""
    example = example_of(rule.id)
    assert example is not None
    answers = [found.kernel for found in findings_in(example, rule)]
    text = "\n".join(rule_lines(rule))
    begins = "    kernel: "
    printed = re.findall(f"(?m)^(?:{begins}|    {re.escape(NEVER_REACHES_KVM)}$)", text)
    words = " ".join(text.split())
    assert len(printed) == len(answers)
    for line, answer in zip(printed, answers, strict=True):
        assert (line == begins) == (answer is not None)
        assert answer is None or f" kernel: {answer}" in words
    if rule.kernel is None:
        assert set(answers) == {None}
    else:
        assert None not in answers, (
            f"KVM answers to {rule.id}, but not to {example.name}: choose another case in EXAMPLES"
            " in vmcfg/reference/examples.py"
        )


@pytest.mark.parametrize("id", CONDITIONAL_EXAMPLES)
def test_a_conditional_example_breaks_its_rule(id: str) -> None:
    found = CONDITIONAL_EXAMPLES[id].findings(id)
    assert [each.rule for each in found] == [id]
    (rule,) = (rule for rule in every_rule() if rule.id == id)
    assert f"hint: {found[0].hint}"[:30] in "\n".join(rule_lines(rule, 1000))


@pytest.mark.parametrize(
    ("vcpus", "itss", "answer"),
    [
        (512, 487, None),
        (512, 488, "KVM_RUN fails with ENOSPC at the first run"),
        (512, 489, "KVM_SET_DEVICE_ATTR(KVM_VGIC_ITS_ADDR_TYPE) fails with ENOSPC"),
        (1, 998, None),
        (1, 999, "KVM_RUN fails with ENOSPC at the first run"),
    ],
)
def test_mmio_ranges_are_counted(vcpus: int, itss: int, answer: str | None) -> None:
    addresses = [0x1000_0000 + 0x2_0000 * index for index in range(itss)]
    text = (
        f"vmcfg: 1\nname: vm\nvcpus: {vcpus}\n"
        "gic: {version: 3, distributor: 0x8000000, redistributors: 0x100000000,"
        f" its: {addresses}}}\n"
    )
    found = check(text.encode(), "vm.yaml").diagnostics
    assert [each.rule for each in found] == ([] if answer is None else ["VMC415"])
    assert [str(each.kernel) for each in found] == ([] if answer is None else [answer])


def test_titles_spell_words_as_explanations_do() -> None:
    """PMUs, vCPUs: `ACRONYMS` has what the name of a rule does not tell."""
    spelled: dict[str, set[str]] = {}
    for rule in every_rule():
        for word in re.findall(r"[A-Za-z]\w*", re.sub(r"`[^`]*`|'[^']*'", "", rule.doc)):
            if word != word.capitalize():  # not at the start of a sentence
                spelled.setdefault(word.lower(), set()).add(word)
    for rule in every_rule():
        for word in rule.title().split():
            known = spelled.get(word.lower(), {word})
            assert word in known or word in FEATURES, f"{rule.id}: {word} instead of {known}"


def test_only_what_a_kernel_finds_has_no_example() -> None:
    every = {rule.id for rule in every_rule()}
    without = every - EXAMPLES.keys() - CONDITIONAL_EXAMPLES.keys()
    assert without == TOO_LONG | {rule.id for rule in every_rule() if rule.found_by == "try"}


@pytest.mark.parametrize("width", [60, 80, 200])
def test_text_is_as_wide_as_the_terminal_and_at_most_100_columns(width: int) -> None:
    for rule in every_rule():
        for line in rule_lines(rule, width):
            # An example or a single long word is not wrapped.
            may_be_long = line.startswith("    ") or " " not in line
            assert len(line) <= min(width, 100) or may_be_long, line


# Features --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", FEATURES)
def test_every_feature_has_bits_and_capabilities(word: str) -> None:
    """Without them, `validate --host` could not check whether a host supports it."""
    feature = FEATURES[word]
    where = f"the feature '{word}' in vmcfg/kernel/features.py"
    assert feature.bits or feature.enabled, (
        f"{where} names no bit of KVM_ARM_VCPU_INIT: add it to 'bits', or the capability of the VM"
        " to 'enabled'"
    )
    assert feature.capabilities, f"{where} names no capability: add it to 'capabilities'"
    for name in feature.capabilities:
        assert name in CAPABILITIES, (
            f"{where} needs {name}, for which 'vmcfg probe' does not ask:"
            " add it to vmcfg/kernel/capabilities.py"
        )
    for name in (*feature.bits, *filter(None, [feature.finalized])):
        assert name in VCPU_FEATURES, (
            f"{where} has the unknown bit {name}: add it to VCPU_FEATURES in that file"
        )


@pytest.mark.parametrize("word", FEATURES)
def test_every_feature_is_asked_of_hosts(word: str) -> None:
    host = Host("bare", (7, 2), {}, frozenset(), frozenset(), ())
    text = f"vmcfg: 1\nname: vm\nvcpus: 1\nfeatures: [{word}]\n"
    every = check(text.encode(), "vm.yaml", hosts=[host]).diagnostics
    found = [each for each in every if (word, each.rule) != ("e2h0", "VMC314")]
    assert [each.rule for each in found] == ["VMC715"], (
        f"a host without the feature '{word}' must break VMC715 and no other rule: look at"
        " hosts_have_the_features in vmcfg/rules/hosts.py"
    )
    for capability in FEATURES[word].capabilities:
        assert capability in found[0].message, (
            f"VMC715 does not name {capability}, which the feature '{word}' needs"
        )


def test_a_kernel_before_the_strict_pmu_answers_first() -> None:
    text = b"vmcfg: 1\nname: vm\nvcpus: 2\npmu: {strict: true, device: armv8_pmuv3_0}\n"
    found = {each.pointer: each for each in check(text, "vm.yaml").diagnostics if each.kernel}
    assert str(found["/pmu/strict"].kernel) == "KVM_ARM_VCPU_INIT fails with ENOENT"
    newer = check(text, "vm.yaml", (7, 3)).diagnostics
    answers = [str(each.kernel) for each in newer if each.pointer == "/pmu/strict"]
    assert answers == ["KVM_ARM_VCPU_INIT fails with EINVAL"]
