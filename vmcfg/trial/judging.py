"""What KVM's answers to a plan mean: a remark for each refusal and each value that is read back
otherwise.

A remark names commands; whoever knows where these come from, a description or a file with the plan,
makes findings of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmcfg.arm.interrupts import interrupt_text
from vmcfg.findings.diagnostic import Diagnostic, diagnose
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Position
from vmcfg.findings.rule import Answer, Rule
from vmcfg.plans.command import Command
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.refusals import RUN, Refusal
from vmcfg.trial.rules import COMMANDS_TAKEN, RUN_ERRORS, VALUES_READ_BACK, VCPUS_RUN

PositionOf = Callable[[Command], Position]
"""Where a command comes from."""


class Remark(NamedTuple):
    """A breach of `rule` by the kernel's answer to `command`; `related` are other commands, with a
    few words each.
    """

    rule: Rule
    command: Command
    message: str
    hint: str | None = None
    related: tuple[tuple[Command, str], ...] = ()
    kernel: Answer | None = None


def remarks(outcome: Outcome, refused: Sequence[Refusal]) -> Iterator[Remark]:
    """What there is to say of the kernel's refusals, and of the values that it gives back
    otherwise.
    """
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
                f"`{command.text()}` was taken, but {difference.target} gives back {difference.got}"
            )
        else:
            message = f"{_vcpu(command)} has MPIDR_EL1 {difference.got}, and not {difference.want}"
        yield Remark(VALUES_READ_BACK, command, message)


def _refused_command(refusal: Refusal, outcome: Outcome) -> Remark:
    command, answer = refusal
    who = f" for {_vcpu(command)}" if command.mpidr is not None else ""
    what = f", {interrupt_text(command.number)}," if command.row.value.is_interrupt else ""
    meaning = _meaning(command.row.errors, answer.errno)
    message = (
        f"Linux {outcome.kernel} refuses `{command.text()}`{what}{who} with {answer.errno}{meaning}"
    )
    is_stand_in = any(step.command is command for step in outcome.stand_in)
    hint = "the command sets up the GIC that stands in for the monitor's" if is_stand_in else None
    return Remark(COMMANDS_TAKEN, command, message, hint, kernel=answer)


def _refused_runs(errno: str, refused: Sequence[Refusal]) -> Remark:
    """The vCPUs whose first KVM_RUN fails with one errno."""
    first, *others = refused
    meaning = _meaning(RUN_ERRORS, errno)
    message = f"{_vcpu(first.command)} can't run: {RUN} fails with {errno}{meaning}"
    related = tuple((each.command, f"{_vcpu(each.command)} neither") for each in others)
    return Remark(VCPUS_RUN, first.command, message, related=related, kernel=first.answer)


def _meaning(errors: Mapping[str, str], errno: str | None) -> str:
    """What an errno means, where that is known."""
    meaning = errors.get(errno or "")
    return "" if meaning is None else f": {meaning}"


def _vcpu(command: Command) -> str:
    return f"vCPU {command.mpidr}"


def diagnostic(file: str, remark: Remark, position_of: PositionOf) -> Diagnostic:
    """A remark as a diagnostic of `file`, where its commands come from."""
    finding = Finding((), remark.message, remark.hint, kernel=remark.kernel)
    others = [(position_of(command), words) for command, words in remark.related]
    return diagnose(file, remark.rule, finding, position_of(remark.command), others)
