"""The meaning of the answers of KVM: a finding for each rejection and each value that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmcfg.findings.diagnostic import Diagnostic, diagnose
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Rule
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.refusals import RUN, Refusal
from vmcfg.trial.rules import FAILED_VCPU_RUN, READ_BACK_MISMATCH, REJECTED_COMMAND, RUN_ERRORS
from vmcfg.trial.task import INIT_VCPU, Call


def judged(file: str, outcome: Outcome, refused: Sequence[Refusal]) -> Iterator[Diagnostic]:
    """Return the findings of `file` about rejections, and about values that differ when read
    back.
    """
    runs: dict[str, list[Refusal]] = {}
    for refusal in refused:
        if refusal.answer.call == RUN:
            runs.setdefault(refusal.answer.errno or "", []).append(refusal)
        else:
            yield _refused_call(file, refusal, outcome.kernel)
    for errno, same in runs.items():
        yield _refused_runs(file, errno, same)
    for difference in outcome.differences:
        call = outcome.steps[difference.step].call
        if call.operation == INIT_VCPU:
            message = f"MPIDR_EL1 of {_vcpu(call)} is {difference.got}, not {difference.want}"
        else:
            message = f"'{call.text}' succeeded, but {difference.target} returns {difference.got}"
        yield _found(file, READ_BACK_MISMATCH, call, Finding((), message, call.hint))


def _refused_call(file: str, refusal: Refusal, kernel: str) -> Diagnostic:
    call, answer = refusal
    meaning = _meaning(call.kind.errors, answer.errno)
    message = f"'{call.text}'{call.about} fails with {answer.errno} on Linux {kernel}{meaning}"
    return _found(file, REJECTED_COMMAND, call, Finding((), message, call.hint, kernel=answer))


def _refused_runs(file: str, errno: str, refused: Sequence[Refusal]) -> Diagnostic:
    """Return the finding about vCPUs whose first KVM_RUN fails with the same errno."""
    first, others = refused[0], refused[1:]
    meaning = _meaning(RUN_ERRORS, errno)
    message = f"{_vcpu(first.call)} cannot run: {RUN} fails with {errno}{meaning}"
    finding = Finding((), message, first.call.hint, kernel=first.answer)
    return _found(file, FAILED_VCPU_RUN, first.call, finding, [each.call for each in others])


def _found(
    file: str, rule: Rule, call: Call, finding: Finding, others: Sequence[Call] = ()
) -> Diagnostic:
    """Return a finding at the position of `call`; `others` are vCPUs that cannot run either."""
    related = [(other.position, f"{_vcpu(other)} also cannot run") for other in others]
    return diagnose(file, rule, finding, call.position, related)


def _meaning(errors: Mapping[str, str], errno: str | None) -> str:
    """Return the meaning of an errno, if it is known."""
    meaning = errors.get(errno or "")
    return "" if meaning is None else f": {meaning}"


def _vcpu(call: Call) -> str:
    return f"vCPU {call.mpidr}"
