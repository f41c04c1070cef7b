"""Runs in the guest: executes every description of jobs.json on this kernel and prints all answers
as one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from io import BytesIO
from pathlib import Path
from typing import Any

from vmcfg.kernel.version import running_release
from vmcfg.trial.refusals import refusals
from vmcfg.trial.trying import try_description, try_plan
from vmcfg.trial.verdict import Tried


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of KVM to one job: the bytes of a description in hex, or of a plan."""
    data = bytes.fromhex(job["data"])
    if job["kind"] == "plan":
        return told(try_plan(BytesIO(data), job["name"], run=True))
    major, minor, *_ = running_release().split(".")
    here = (int(major), int(minor)) if job["kind"] == "for this kernel" else None
    return told(try_description(data, job["name"], here, strict=False, unchecked=True, run=True))


def told(tried: Tried) -> dict[str, Any]:
    """Return the parts of a result that the tests compare."""
    outcome = tried.outcome
    if outcome is None:
        return {"machine": False, "rules": [found.rule for found in tried.diagnostics]}
    refused = refusals(outcome)
    return {
        "machine": True,
        "rules": [found.rule for found in tried.diagnostics],
        "refused": [[*each.answer[:3], each.call.target] for each in refused],
        "commands": [
            [*step.call.text.split(" "), step.outcome, list(step.read)] for step in outcome.steps
        ],
        "performed": outcome.performed,
        "read_back": outcome.read_back,
        "differences": [list(each) for each in outcome.differences],
        "run": [run.errno for run in outcome.runs],
        "predictions": [[each.diagnostic.rule, str(each), each.held] for each in tried.predictions],
        "messages": [f"{found.rule} {found.message}" for found in tried.diagnostics],
    }


def main() -> None:
    """Print {"kernel", "seconds", "answers": {name: answer}}."""
    started = time.monotonic()
    answers = {}
    for job in json.loads(Path("jobs.json").read_text()):
        try:
            answers[job["name"]] = answer(job)
        except Exception:  # noqa: PERF203  # one failed job must not hide the others
            answers[job["name"]] = {"error": traceback.format_exc()}
    json.dump(
        {"kernel": running_release(), "seconds": time.monotonic() - started, "answers": answers},
        sys.stdout,
    )


main()
