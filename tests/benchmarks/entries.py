"""The check of descriptions that grow, compared with `yaml.load` of the same text, in one process;
measure.py runs this program and reads its JSON.

The value is CPU time, once per description: what is to be seen is how it grows.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml
from grown import RIGHT, WRONG, Text

from vmcfg.checking.check import check


def main() -> None:
    """Time every structure with the number of entries on the command line, twice, and four times as
    many.
    """
    count = int(sys.argv[1])
    counts = (count, 2 * count, 4 * count)
    kinds = {"right": RIGHT, "wrong": WRONG}
    print(
        json.dumps(
            {
                kind: {name: measured(text, counts) for name, text in texts.items()}
                for kind, texts in kinds.items()
            }
        )
    )


def measured(text: Text, counts: tuple[int, ...]) -> dict[str, list[float]]:
    """Return the seconds for each number of entries, by what is timed."""
    found: dict[str, list[float]] = {"yaml.load": [], "check": []}
    for count in counts:
        written = text(count)
        data = written.encode()
        found["yaml.load"].append(timed(lambda: yaml.load(written, Loader=yaml.CSafeLoader)))  # noqa: B023  # called at once
        found["check"].append(timed(lambda: check(data, "vm.yaml")))  # noqa: B023  # called at once
    return found


def timed(action: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call, which can raise an error of YAML."""
    began = time.process_time()
    with contextlib.suppress(yaml.YAMLError):
        action()
    return time.process_time() - began


if __name__ == "__main__":
    main()
