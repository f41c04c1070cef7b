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
from grown import RIGHT, WRONG, Text, is_split, split

from vmcfg.checking.check import check
from vmcfg.checking.defaults import defaults_in

Checks = Callable[[str], Callable[[], Any]]
"""Returns what checks a text."""


def main() -> None:
    """Time every structure with the number of entries on the command line, twice, and four times as
    many.
    """
    count = int(sys.argv[1])
    counts = (count, 2 * count, 4 * count)
    defaults = {name: text for name, text in RIGHT.items() if is_split(text)}
    kinds: dict[str, tuple[dict[str, Text], Checks]] = {
        "right": (RIGHT, in_one_file),
        "defaults": (defaults, in_two_files),
        "wrong": (WRONG, in_one_file),
    }
    print(
        json.dumps(
            {
                kind: {name: measured(text, counts, checks) for name, text in texts.items()}
                for kind, (texts, checks) in kinds.items()
            }
        )
    )


def in_one_file(text: str) -> Callable[[], Any]:
    """Return the check of a description."""
    data = text.encode()
    return lambda: check(data, "vm.yaml")


def in_two_files(text: str) -> Callable[[], Any]:
    """Return the check of a description with all of its entries in its defaults."""
    lower, upper = split(text)
    return lambda: check(upper, "vm.yaml", defaults=defaults_in(lower, "defaults.yaml"))


def measured(text: Text, counts: tuple[int, ...], checks: Checks) -> dict[str, list[float]]:
    """Return the seconds for each number of entries, by what is timed."""
    found: dict[str, list[float]] = {"yaml.load": [], "check": []}
    for count in counts:
        written = text(count)
        found["yaml.load"].append(timed(lambda: yaml.load(written, Loader=yaml.CSafeLoader)))  # noqa: B023  # called at once
        found["check"].append(timed(checks(written)))
    return found


def timed(action: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call, which can raise an error of YAML."""
    began = time.process_time()
    with contextlib.suppress(yaml.YAMLError):
        action()
    return time.process_time() - began


if __name__ == "__main__":
    main()
