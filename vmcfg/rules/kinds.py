"""The kinds of rules with their own check: over a machine, or over a machine and a host.

A problem in a text, a value, a range, or a plan is found where that is read or made. Such a rule is
a plain `vmcfg.findings.rule.Rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from vmcfg.findings.finding import Finding, Found
from vmcfg.findings.rule import ERROR, Answer, Rule, Severity
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host

MachineCheck = Callable[[Machine], Iterator[Finding]]
Value = TypeVar("Value")
HostCheck = Callable[[Machine, "Host"], Iterator[Finding]]


class RuleFailed(Exception):
    """A defect of vmcfg: the check of `rule` raised an exception, the cause of this one."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule.id)
        self.rule = rule


class MachineRule(Rule):
    """A rule over a whole machine: `check` returns each breach of it.

    `about` is the attribute of a machine without which it has no breach, such as "pmu.filter".
    """

    __slots__ = ("about", "check")

    def __init__(
        self,
        id: str,
        check: MachineCheck,
        severity: Severity,
        kernel: Answer | None,
        about: str | None,
    ) -> None:
        super().__init__(id, _name_of(check), check.__doc__ or "", severity, kernel)
        self.check = check
        self.about = about

    def findings(self, machine: Machine) -> Iterator[Found]:
        """Return each breach of the rule in `machine`, with the rule. Raises `RuleFailed`."""
        try:
            for finding in self.check(machine):
                yield self, finding
        except Exception as error:
            raise RuleFailed(self) from error


class HostRule(Rule):
    """A rule over a machine and a host to run it on: `check` returns each breach of it."""

    __slots__ = ("check",)

    def __init__(self, id: str, check: HostCheck, severity: Severity) -> None:
        super().__init__(id, _name_of(check), check.__doc__ or "", severity, found_by="host")
        self.check = check

    def findings(self, machine: Machine, host: Host) -> Iterator[Found]:
        """Return each breach of the rule on `host`, with the rule. Raises `RuleFailed`."""
        try:
            for finding in self.check(machine, host):
                yield self, finding
        except Exception as error:
            raise RuleFailed(self) from error


def once_per_machine(function: Callable[[Machine], Value]) -> Callable[[Machine], Value]:
    """Return `function`, computed once for consecutive calls with the same machine: the rules of a
    topic need the same values, one rule after the other. They must not change them.
    """
    # One tuple, so that threads never see the value of one machine with another machine.
    last: tuple[Machine, Value] | None = None

    def of(machine: Machine) -> Value:
        nonlocal last
        known = last
        if known is None or known[0] is not machine:
            known = last = (machine, function(machine))
        return known[1]

    return of


def machine_rule(
    id: str, kernel: Answer | None, severity: Severity = ERROR, *, about: str | None = None
) -> Callable[[MachineCheck], MachineRule]:
    """Return a decorator that makes a rule of a check, which is executed only for machines with the
    attribute `about`.

    The function has the name of the rule. Its docstring is the text of the rule, not a description
    of the function.
    """

    def rule_of(check: MachineCheck) -> MachineRule:
        return MachineRule(id, check, severity, kernel, about)

    return rule_of


def host_rule(id: str, severity: Severity = ERROR) -> Callable[[HostCheck], HostRule]:
    """Return a decorator that makes a rule of a check of one host, as `machine_rule` does."""

    def rule_of(check: HostCheck) -> HostRule:
        return HostRule(id, check, severity)

    return rule_of


def _name_of(check: MachineCheck | HostCheck) -> str:
    """Return the name of a rule: ``mismatched-pmu-ppis`` for ``mismatched_pmu_ppis``."""
    return check.__name__.replace("_", "-")
