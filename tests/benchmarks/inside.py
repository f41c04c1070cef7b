"""Stages of vmcfg compared with `yaml.load` of the same text, in one process; measure.py runs this
program and reads its JSON.

The value is CPU time, the minimum of several interleaved passes, because disturbances only add
time. The garbage collector has the defaults of Python for both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml
from descriptions import listed

from vmcfg.checking.check import Checked, check
from vmcfg.formats.json_lines import jsonl
from vmcfg.plans.lowering import lower

PASSES = 5
LEAST_SECONDS = 0.02
"""The minimum duration of one measurement: a call is repeated until then."""

Action = Callable[[], Any]


def main() -> None:
    """Time every description on the command line: ``512``, ``512:spis``, ``512:irq_first``."""
    print(json.dumps({word: measured(word) for word in sys.argv[1:]}))


def measured(word: str) -> dict[str, float]:
    """Return the seconds per call, by the name of the stage."""
    count, _, how = word.partition(":")
    vcpus = int(count)
    text = listed(vcpus, **{how: True} if how else {})
    data = text.encode()

    def load() -> Any:
        return yaml.load(text, Loader=yaml.CSafeLoader)

    def checked() -> Checked:
        return check(data, "vm.yaml")

    def emitted() -> str:
        result = check(data, "vm.yaml")
        assert result.machine is not None
        return jsonl(lower(result.machine), result.tree)

    assert len(load()["vcpus"]) == vcpus
    result = checked()
    assert (
        not result.diagnostics and result.machine is not None and len(result.machine.vcpus) == vcpus
    )
    assert json.loads(emitted().splitlines()[-1]) == {"op": "end", "count": 2 * vcpus}

    actions: dict[str, Action] = {"yaml.load": load, "check": checked, "check and emit": emitted}
    calls = {name: enough(action) for name, action in actions.items()}
    best: dict[str, float] = {}
    for _ in range(PASSES):
        for name, action in actions.items():
            best[name] = min(best.get(name, 1e9), timed(action, calls[name]))
    return best


def enough(action: Action) -> int:
    """Return the number of calls that run for `LEAST_SECONDS`."""
    return max(1, round(LEAST_SECONDS / timed(action, 1)))


def timed(action: Action, calls: int) -> float:
    """Return the CPU seconds per call."""
    began = time.process_time()
    for _ in range(calls):
        action()
    return (time.process_time() - began) / calls


if __name__ == "__main__":
    main()
