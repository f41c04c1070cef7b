"""Stages and commands of vmcfg compared with `yaml.load` of the same text, in one process, and the
import of a device tree compared with reading it; measure.py runs this program and reads its JSON.

The value is CPU time, the minimum of several interleaved passes, because disturbances only add
time. The garbage collector has the defaults of Python for both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import libfdt
import yaml
from descriptions import listed

from vmcfg import cli
from vmcfg.checking.check import Checked, check
from vmcfg.description.draft import description_text
from vmcfg.formats.json_lines import jsonl
from vmcfg.formats.registry import PLAN_FORMATS
from vmcfg.guest.devicetree import draft_of_blob
from vmcfg.guest.tree_source import source
from vmcfg.plans.lowering import lower

PASSES = 5
LEAST_SECONDS = 0.02
"""The minimum duration of one measurement: a call is repeated until then."""

Action = Callable[[], Any]


def main() -> None:
    """Time every description on the command line: ``512``, ``512:spis``, ``512:irq_first``; or the
    commands of vmcfg, or the import of a tree: ``commands``, ``tree``.
    """
    special = {"commands": commands, "tree": tree}
    found = {word: special[word]() if word in special else measured(word) for word in sys.argv[1:]}
    print(json.dumps(found))


def commands() -> dict[str, float]:
    """Return the seconds per call of `vmcfg emit` in each format of plans, for 512 vCPUs."""
    text = listed(512)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()

        def emit(form: str) -> Action:
            return lambda: cli.vmcfg(["emit", "--format", form, file.name], standalone_mode=False)

        actions: dict[str, Action] = {
            "yaml.load": lambda: yaml.load(text, Loader=yaml.CSafeLoader),
            **{f"vmcfg emit --format {form}": emit(form) for form in PLAN_FORMATS},
        }
        shown, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        try:
            return best_of(actions)
        finally:
            os.dup2(shown, 1)


def tree() -> dict[str, float]:
    """Return the seconds to read the device tree of 512 CPUs with libfdt, and to import it."""
    text = (
        "vmcfg: 1\nname: vm\nvcpus: 512\npmu: {irq: 23}\n"
        "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000}\n"
    )
    machine = check(text.encode(), "vm.yaml").machine
    assert machine is not None
    done = subprocess.run(
        ["dtc", "-I", "dts", "-O", "dtb", "-o", "-", "-"],
        input=source(machine).encode(),
        capture_output=True,
        check=True,
    )
    blob = done.stdout
    assert read_with_libfdt(blob) > 2000
    assert "vcpus: 512" in imported(blob)
    return best_of({"libfdt": lambda: read_with_libfdt(blob), "import": lambda: imported(blob)})


def imported(blob: bytes) -> str:
    return description_text(draft_of_blob(blob))


def read_with_libfdt(blob: bytes) -> int:
    """Read every property of every node, and return their number."""
    fdt = libfdt.Fdt(blob)
    quiet = (libfdt.NOTFOUND, libfdt.BADOFFSET)
    count = node = depth = 0
    while node >= 0 and depth >= 0:
        offset = fdt.first_property_offset(node, quiet)
        while offset >= 0:
            assert fdt.get_property_by_offset(offset).name
            count += 1
            offset = fdt.next_property_offset(offset, quiet)
        node, depth = fdt.next_node(node, depth, quiet)
    return count


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

    return best_of({"yaml.load": load, "check": checked, "check and emit": emitted})


def best_of(actions: dict[str, Action]) -> dict[str, float]:
    """Return the least CPU seconds per call of each action."""
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
