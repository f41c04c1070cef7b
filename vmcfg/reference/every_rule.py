"""Every rule that a finding can name, from all rooms that have rules."""

from __future__ import annotations

from collections.abc import Iterable

from vmcfg.description import rules as description_rules
from vmcfg.findings.rule import Rule
from vmcfg.rules import ranges
from vmcfg.rules.machine_rules import MACHINE_RULES
from vmcfg.text import rules as text_rules

OF_A_CHECK: tuple[Rule, ...] = (
    *text_rules.RULES,
    *description_rules.RULES,
    *ranges.RULES,
    *MACHINE_RULES,
)
"""The rules of every check, whose rooms a check has imported."""


def rule_named(word: str) -> Rule | None:
    """Return the rule with that id or name, in any case; None if there is none."""
    return _found(word, OF_A_CHECK) or _found(word, every_rule())


def _found(word: str, rules: Iterable[Rule]) -> Rule | None:
    id, name = word.upper(), word.lower()
    return next((rule for rule in rules if id == rule.id or name == rule.name), None)


def every_rule() -> list[Rule]:
    """Return every rule that a finding can name, in the order of their ids."""
    # Imported here: most explanations do not need these rooms.
    from vmcfg.checking.shared_names import DUPLICATE_VM_NAME
    from vmcfg.formats.unresolved import UNRESOLVED_VALUE
    from vmcfg.guest import rules as guest_rules
    from vmcfg.monitors import libvirt_rules
    from vmcfg.monitors import rules as vmm_rules
    from vmcfg.rules import apis, hosts, state
    from vmcfg.trial import rules as trial_rules

    rules = (
        *OF_A_CHECK,
        UNRESOLVED_VALUE,
        *hosts.RULES,
        DUPLICATE_VM_NAME,
        *apis.RULES,
        *vmm_rules.RULES,
        *libvirt_rules.RULES,
        *guest_rules.RULES,
        *state.RULES,
        *trial_rules.RULES,
    )
    return sorted(rules, key=lambda rule: rule.id)
