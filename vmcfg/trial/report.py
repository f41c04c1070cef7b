"""The results of trials: as JSON, and the lines about them on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vmcfg.escape import printable, without_surrogates
from vmcfg.exit_codes import FAILED, FOUND
from vmcfg.kernel.abi import DEVICE_TYPES
from vmcfg.trial.outcome import Outcome, Step
from vmcfg.trial.predictions import Prediction
from vmcfg.trial.verdict import Attempt, Tried


def remarks(done: Sequence[Attempt], is_several: bool) -> Iterator[str]:
    """Return what belongs on standard error: which files were not executed, and which GIC replaced
    that of the VMM.
    """
    for attempt in done:
        start = f"vmcfg: {printable(attempt.file)}: " if is_several else "vmcfg: "
        outcome = attempt.tried and attempt.tried.outcome
        if outcome and outcome.stand_in:
            yield f"{start}the VMM sets up the GIC; try uses {_stand_in(outcome)} instead\n"
        if attempt.tried is None:
            yield f"{start}{attempt.reason}\n"


def _stand_in(outcome: Outcome) -> str:
    """Return the GIC that replaced that of the VMM."""
    _, gicv2 = DEVICE_TYPES[2]
    return "a GICv2" if outcome.stand_in[0].call.number == gicv2 else "a GICv3"


def as_json(done: Sequence[Attempt], is_several: bool, unchecked: bool) -> str:
    """Return the results by the keys of schemas/tries-v1.schema.json, or without `is_several` that
    of the only file by those of schemas/try-v1.schema.json, nothing if it has none.
    """
    if is_several:
        return _reports_json(done, unchecked)
    (attempt,) = done
    return "" if attempt.tried is None else report_json(attempt.tried, unchecked)


def _reports_json(done: Sequence[Attempt], unchecked: bool) -> str:
    tries = [
        {"file": each.file, "skipped": each.reason}
        if each.tried is None
        else {"file": each.file, **_report(each.tried, unchecked)}
        for each in done
    ]
    whole = {"format": "vmcfg.tries", "format_version": "1.0", "tries": tries}
    return json.dumps(whole, indent=2) + "\n"


def report_json(tried: Tried, unchecked: bool) -> str:
    """Return the report by the keys of schemas/try-v1.schema.json."""
    return json.dumps(_report(tried, unchecked), indent=2) + "\n"


def _report(tried: Tried, unchecked: bool) -> dict[str, Any]:
    outcome = tried.outcome or Outcome(tried.release, (), (), (), ())
    report: dict[str, Any] = {
        "format": "vmcfg.try",
        "format_version": "1.0",
        "kernel": outcome.kernel,
        "performed": outcome.performed,
        "commands": [_command(seq, step) for seq, step in enumerate(outcome.steps, 1)],
        "read_back": outcome.read_back,
        "differences": [
            {"seq": each.step + 1, "want": each.want, "got": each.got}
            for each in outcome.differences
        ],
        "run": [{"target": run.target, "errno": run.errno} for run in outcome.runs],
        "diagnostics": [found.as_json() for found in tried.diagnostics],
    }
    if unchecked:
        file = next(iter(tried.texts), "")
        report["predictions"] = [_prediction(each, file) for each in tried.predictions]
    return report


def _command(seq: int, step: Step) -> dict[str, Any]:
    """Return the result of a command; `errno` is "not reached" if it was not executed."""
    return {"seq": seq, "errno": step.outcome, "read": list(step.read)}


def _prediction(prediction: Prediction, file: str) -> dict[str, Any]:
    """Return a prediction; with its file, if that is not the description `file`."""
    found = prediction.diagnostic
    place = {} if found.file == file else {"file": without_surrogates(found.file)}
    return {
        "rule": found.rule,
        **place,
        "pointer": found.pointer,
        "line": found.span.line,
        "predicted": prediction.predicted.as_json(),
        "kernel": prediction.kernel and prediction.kernel.as_json(),
        "held": prediction.held,
    }


def exit_code(done: Sequence[Attempt], skips: bool) -> int:
    """Return the exit code: with `skips`, a file that was not executed is not an error."""
    if any(attempt.tried is None for attempt in done) and not skips:
        return FAILED
    return FOUND if any(each.tried is not None and each.tried.failed for each in done) else 0
