"""Runs in the guest: records every command of jobs.json, and prints all records as one object."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def recorded(job: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one command, its exit code, and what it printed."""
    record = Path("record.jsonl")
    record.unlink(missing_ok=True)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "vmcfg", "record", "-o", str(record), "--", *job["command"]],
        input=job.get("input", ""),
        capture_output=True,
        text=True,
        timeout=job.get("timeout", 240),
        check=False,
    )
    return {
        "exit_code": done.returncode,
        "stdout": done.stdout,
        "stderr": done.stderr,
        "seconds": time.monotonic() - started,
        "record": record.read_text() if record.exists() else None,
    }


def main() -> None:
    """Print {name: record}."""
    answers = {}
    for job in json.loads(Path("jobs.json").read_text()):
        try:
            answers[job["name"]] = recorded(job)
        except Exception as error:  # noqa: PERF203  # one failed job must not hide the others
            answers[job["name"]] = {"error": repr(error)}
    json.dump(answers, sys.stdout)


main()
