"""Every rule that a finding can name, from all rooms that have rules."""

from __future__ import annotations

from vmcfg.checking.shared_names import DUPLICATE_VM_NAME
from vmcfg.description import rules as description_rules
from vmcfg.findings.rule import Rule
from vmcfg.formats.unresolved import UNRESOLVED_VALUE
from vmcfg.guest import rules as guest_rules
from vmcfg.monitors import libvirt_rules
from vmcfg.monitors import rules as vmm_rules
from vmcfg.rules import apis, hosts, ranges, state
from vmcfg.rules.machine_rules import MACHINE_RULES
from vmcfg.text import rules as text_rules
from vmcfg.trial import rules as trial_rules


def every_rule() -> list[Rule]:
    """Return every rule that a finding can name, in the order of their ids."""
    rules = (
        *text_rules.RULES,
        *description_rules.RULES,
        *ranges.RULES,
        *MACHINE_RULES,
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
