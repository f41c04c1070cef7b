"""Runs in the guest: executes each sample with its C program and with `vmcfg try`, and a caller;
prints their output as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from vmcfg.commands.try_ import report_text
from vmcfg.trial.trying import try_description


def main() -> None:
    """Print {"samples": {name: [exit code and output of C, exit code and output of try]}, "caller":
    [exit code, output]}.
    """
    samples = {}
    for path in sorted(Path("samples").glob("*.yaml")):
        program = subprocess.run([f"programs/{path.stem}"], capture_output=True, text=True)
        tried = try_description(
            path.read_bytes(), path.name, None, strict=False, unchecked=False, run=True
        )
        samples[path.stem] = [
            program.returncode,
            program.stdout,
            int(tried.failed),
            report_text(tried, True, "never"),
        ]
    caller = subprocess.run(["programs/caller"], capture_output=True, text=True)
    json.dump({"samples": samples, "caller": [caller.returncode, caller.stdout]}, sys.stdout)


main()
