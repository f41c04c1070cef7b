"""Runs in the guest: records every command of jobs.json, and prints all records as one object.

Each command runs in a fork of this process, as `vmcfg record` would run it: the guest is slow, and
imports vmcfg once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from vmcfg import cli
from vmcfg.commands import record  # noqa: F401  # for every child


def recorded(job: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one command, its exit code, and what it printed."""
    path = Path("record.jsonl")
    path.unlink(missing_ok=True)
    started = time.monotonic()
    Path("input").write_text(job.get("input", ""))
    child = os.fork()
    if child == 0:
        become_vmcfg("record", "-o", str(path), "--", *job["command"])
    exit_code = waited(child, job.get("timeout", 240))
    return {
        "exit_code": exit_code,
        "stdout": Path("stdout").read_text(),
        "stderr": Path("stderr").read_text(),
        "seconds": time.monotonic() - started,
        "record": path.read_text() if path.exists() else None,
    }


def become_vmcfg(*arguments: str) -> NoReturn:
    """Run vmcfg with these arguments in this process, with its own standard streams, and end."""
    for number, name, flags in (
        (0, "input", os.O_RDONLY),
        (1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(name, flags), number)
    sys.argv = ["vmcfg", *arguments]
    code: object = 1
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


def waited(child: int, seconds: float) -> int:
    """Return the exit code of a child. Raises `TimeoutError` after some time, and kills it."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        _, status = os.waitpid(child, 0)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        raise TimeoutError(f"it did not end within {seconds} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return os.waitstatus_to_exitcode(status)


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
