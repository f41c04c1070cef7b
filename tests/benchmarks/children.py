"""Commands timed from outside: CPU time of the child and its children, wall time, peak."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
"""The same environment for all commands, without variables that prevent byte code or force colors.
"""
LAUNCH = os.fspath(Path(__file__).with_name("launch.py"))
ALL_CORES = len(os.sched_getaffinity(0))


class Command(NamedTuple):
    """A command line, its required exit code, and a function that returns what is wrong with its
    standard output, or None.
    """

    name: str
    argv: Sequence[str | Path]
    exits: int
    wrong: Callable[[str], str | None]


class Run(NamedTuple):
    """One run of a command. Times are in seconds; `peak` is the largest resident set of one
    process, in bytes.
    """

    cpu: float
    wall: float
    peak: int


class Unfit(Exception):
    """A command that did not do the work to measure."""


def run(command: Command, cores: int) -> Run:
    """Return one run on this number of cores. Raises `Unfit` if exit code or output is wrong."""
    with TemporaryFile() as out, TemporaryFile() as err, TemporaryFile() as told:
        argv = [sys.executable, "-I", "-S", LAUNCH, str(cores), *map(str, command.argv)]
        files = {
            0: os.open(os.devnull, os.O_RDONLY),
            1: out.fileno(),
            2: err.fileno(),
            3: told.fileno(),
        }
        actions = [
            (os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in files.items()
        ]
        os.waitpid(os.posix_spawn(sys.executable, argv, ENVIRONMENT, file_actions=actions), 0)
        os.close(files[0])
        printed, complaint, measured = (_text(file) for file in (out, err, told))
    if not measured:
        raise Unfit(f"{command.name} was not run: {complaint[-500:]!r}")
    cpu, wall, peak, code = map(float, measured.split())
    problem = command.wrong(printed)
    if code != command.exits or problem:
        output = problem or "output as expected"
        raise Unfit(
            f"{command.name}: exit {code:.0f}, {output}; standard error: {complaint[-500:]!r}"
        )
    return Run(cpu, wall, int(peak) * 1024)


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def interleaved(
    commands: Sequence[Command], rounds: int, cores: int | None = None
) -> dict[str, list[Run]]:
    """Return the runs of each command: one of each per round, after a first round that does not
    count. `cores` is the number of cores to use.
    """
    runs: dict[str, list[Run]] = {command.name: [] for command in commands}
    for number in range(rounds + 1):
        for command in commands:
            one = run(command, cores or ALL_CORES)
            if number:
                runs[command.name].append(one)
    return runs


def silent(out: str) -> str | None:
    """Return what is wrong with the output of a command that must not print anything."""
    return f"it printed {out[:200]!r}" if out else None


def names(paths: Sequence[Path]) -> Callable[[str], str | None]:
    """Return what is wrong with a report that must contain exactly these descriptions."""
    expected = {path.name for path in paths}

    def wrong(out: str) -> str | None:
        named = set(re.findall(r"vm-[0-9]{6}\.yaml", out))
        return (
            None if named == expected else f"it names {sorted(named)}, and not {sorted(expected)}"
        )

    return wrong
