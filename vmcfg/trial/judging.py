"""The meaning of the answers of KVM: a remark for each rejection and each value that differs.

A remark refers to commands. The caller knows their positions, in a description or in a plan file,
and turns remarks into findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.findings.diagnostic import Diagnostic, diagnose
from vmcfg.findings.finding import Finding, not_written
from vmcfg.findings.position import Position
from vmcfg.findings.rule import Answer, Rule
from vmcfg.plans.command import Command
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.refusals import RUN, Refusal
from vmcfg.trial.rules import FAILED_VCPU_RUN, READ_BACK_MISMATCH, REJECTED_COMMAND, RUN_ERRORS
from vmcfg.vm.machine import Machine

PositionOf = Callable[[Command], Position]
"""The function that returns the position of a command."""


class Remark(NamedTuple):
    """A breach of `rule` by the answer to `command`; `related` are other commands with words."""

    rule: Rule
    command: Command
    message: str
    hint: str | None = None
    related: tuple[tuple[Command, str], ...] = ()
    kernel: Answer | None = None


def remarks(outcome: Outcome, refused: Sequence[Refusal]) -> Iterator[Remark]:
    """Return the remarks about rejected commands, and about values that differ when read back."""
    runs: dict[str, list[Refusal]] = {}
    for refusal in refused:
        if refusal.answer.call == RUN:
            runs.setdefault(refusal.answer.errno or "", []).append(refusal)
        else:
            yield _refused_command(refusal, outcome)
    for errno, same in runs.items():
        yield _refused_runs(errno, same)
    for difference in outcome.differences:
        command = outcome.steps[difference.step].command
        if command.operation.sets_value:
            message = (
                f"'{command.text()}' succeeded, but {difference.target} returns {difference.got}"
            )
        else:
            message = f"MPIDR_EL1 of {_vcpu(command)} is {difference.got}, not {difference.want}"
        yield Remark(READ_BACK_MISMATCH, command, message)


def _refused_command(refusal: Refusal, outcome: Outcome) -> Remark:
    command, answer = refusal
    who = f" for {_vcpu(command)}" if command.mpidr is not None else ""
    what = f" ({interrupt_text(command.number)})" if command.row.value.is_interrupt else ""
    meaning = _meaning(command.row.errors, answer.errno)
    message = (
        f"'{command.text()}'{who}{what} fails with {answer.errno}"
        f" on Linux {outcome.kernel}{meaning}"
    )
    is_stand_in = any(step.command is command for step in outcome.stand_in)
    hint = (
        "run it on another host: this command sets up the GIC of the VMM" if is_stand_in else None
    )
    return Remark(REJECTED_COMMAND, command, message, hint, kernel=answer)


def _refused_runs(errno: str, refused: Sequence[Refusal]) -> Remark:
    """Return the remark about vCPUs whose first KVM_RUN fails with the same errno."""
    first, *others = refused
    meaning = _meaning(RUN_ERRORS, errno)
    message = f"{_vcpu(first.command)} cannot run: {RUN} fails with {errno}{meaning}"
    related = tuple((each.command, f"{_vcpu(each.command)} also cannot run") for each in others)
    return Remark(FAILED_VCPU_RUN, first.command, message, related=related, kernel=first.answer)


def _meaning(errors: Mapping[str, str], errno: str | None) -> str:
    """Return the meaning of an errno, if it is known."""
    meaning = errors.get(errno or "")
    return "" if meaning is None else f": {meaning}"


def _vcpu(command: Command) -> str:
    return f"vCPU {command.mpidr}"


def of_default(remark: Remark, machine: Machine) -> Remark:
    """Return a remark about a value that the description does not set, with the key to add."""
    row = remark.command.row
    if remark.rule is not REJECTED_COMMAND or row.field != "ipa_bits":
        return remark
    if not machine.has_default_ipa_bits:
        return remark
    message = remark.message.replace(" fails with ", " (default) fails with ", 1)
    return remark._replace(message=message, hint=not_written("ipa_bits", str(machine.ipa_bits)))


def diagnostic(file: str, remark: Remark, position_of: PositionOf) -> Diagnostic:
    """Return a remark as a diagnostic of `file` at the positions of its commands."""
    finding = Finding((), remark.message, remark.hint, kernel=remark.kernel)
    others = [(position_of(command), words) for command, words in remark.related]
    return diagnose(file, remark.rule, finding, position_of(remark.command), others)
