"""The kinds of rule that are checked by themselves: over a machine, and over a machine and a host.

What is wrong with a text, a value, a range or a plan is found where that is read or made. Such a
rule is a plain `vmcfg.findings.rule.Rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import ERROR, Answer, Rule, Severity
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host

MachineCheck = Callable[[Machine], Iterator[Finding]]
HostCheck = Callable[[Machine, "Host"], Iterator[Finding]]


class MachineRule(Rule):
    """A rule over a whole machine: `check` gives each breach of it."""

    __slots__ = ("check",)

    def __init__(
        self, id: str, check: MachineCheck, severity: Severity, kernel: Answer | None
    ) -> None:
        super().__init__(id, _name_of(check), check.__doc__ or "", severity, kernel)
        self.check = check


class HostRule(Rule):
    """A rule over a machine and a host that it is to run on: `check` gives each breach of it."""

    __slots__ = ("check",)

    def __init__(self, id: str, check: HostCheck, severity: Severity) -> None:
        super().__init__(id, _name_of(check), check.__doc__ or "", severity, found_by="host")
        self.check = check


def machine_rule(
    id: str, kernel: Answer | None, severity: Severity = ERROR
) -> Callable[[MachineCheck], MachineRule]:
    """The rule that the decorated check asserts.

    It has the name of the function, and the docstring explains it.
    """

    def rule_of(check: MachineCheck) -> MachineRule:
        return MachineRule(id, check, severity, kernel)

    return rule_of


def host_rule(id: str, severity: Severity = ERROR) -> Callable[[HostCheck], HostRule]:
    """The rule that the decorated check of one host asserts, as `machine_rule` makes it."""

    def rule_of(check: HostCheck) -> HostRule:
        return HostRule(id, check, severity)

    return rule_of


def _name_of(check: MachineCheck | HostCheck) -> str:
    """The name of a rule, as its function has it: ``pmu-ppis-agree``."""
    return check.__name__.replace("_", "-")
