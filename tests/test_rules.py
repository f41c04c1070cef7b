"""No rule can be forgotten: each is listed where it is written, with an id and name of its own."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

from vmcfg.findings.rule import Rule
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import FEATURES, VCPU_FEATURES
from vmcfg.reference.every_rule import every_rule

PACKAGE = Path(__file__).parent.parent / "vmcfg"

HUNDREDS = {
    "text.rules": "1",
    "description.rules": "1",
    "rules.memory": "2",
    "rules.vcpus": "3",
    "rules.ranges": "3",
    "rules.gic": "4",
    "rules.devices": "4",
    "rules.pmu": "5",
    "rules.timers": "6",
    "rules.steal_time": "6",
    "rules.smccc": "6",
    "rules.host_kernel": "7",
    "rules.hosts": "7",
    "formats.unresolved": "7",
    "rules.apis": "8",
    "trial.rules": "9",
}
"""The modules that have rules, and the hundred of their ids."""


def rules_of(module: str) -> list[Rule]:
    """The rules that are written in a module, listed there or not."""
    names = vars(importlib.import_module(f"vmcfg.{module}"))
    return [value for value in names.values() if isinstance(value, Rule)]


def test_every_module_with_rules_is_known() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        has_rules = re.search(r"(?m)^@(machine|host)_rule\(|= Rule\(", path.read_text())
        assert not has_rules or module in HUNDREDS, (
            f"vmcfg/{path.relative_to(PACKAGE)} has a rule: add '{module}' with its hundred to"
            " HUNDREDS in tests/test_rules.py, and its RULES to vmcfg/reference/every_rule.py"
        )


@pytest.mark.parametrize("module", HUNDREDS)
def test_every_rule_is_listed(module: str) -> None:
    listed = {rule.id for rule in every_rule()}
    for rule in rules_of(module):
        assert rule.id in listed, (
            f"{rule.id} is written in vmcfg/{module.replace('.', '/')}.py and listed nowhere:"
            " add it to RULES at the end of that file"
        )
        assert rule.id[3] == HUNDREDS[module], (
            f"{rule.id} does not belong in vmcfg/{module.replace('.', '/')}.py:"
            f" ids there begin with VMC{HUNDREDS[module]}"
        )


def test_ids_and_names_are_given_once() -> None:
    written = [rule for module in HUNDREDS for rule in rules_of(module)]
    # `every_rule` has each object once, a module that imports another's rule would have it again.
    rules = {id(rule): rule for rule in written}.values()
    for word, count in Counter(rule.id for rule in rules).items():
        assert count == 1, f"{word} is the id of {count} rules: take the next free number"
    for word, count in Counter(rule.name for rule in rules).items():
        assert count == 1, f"{word} is the name of {count} rules: name one of them otherwise"


@pytest.mark.parametrize("rule", every_rule(), ids=str)
def test_every_rule_explains_itself(rule: Rule) -> None:
    first, _, _ = rule.doc.strip().partition("\n")
    assert first[:1].isupper() or first.startswith("`"), (
        f"{rule.id} has no text: its docstring is what 'vmcfg explain {rule.id}' prints"
    )


@pytest.mark.parametrize("word", FEATURES)
def test_every_feature_has_bits_and_capabilities(word: str) -> None:
    """Without them `validate --host` could not say whether a host has it."""
    feature = FEATURES[word]
    where = f"the feature '{word}' in vmcfg/kernel/features.py"
    assert feature.capabilities, f"{where} names no capability"
    for name in feature.capabilities:
        assert name in CAPABILITIES, (
            f"{where} needs {name}, for which 'vmcfg probe' does not ask:"
            " add it to vmcfg/kernel/capabilities.py"
        )
    for name in (*feature.bits, *filter(None, [feature.finalized])):
        assert name in VCPU_FEATURES, f"{where} has the unknown bit {name}"
