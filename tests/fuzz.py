"""Fuzzing: descriptions, plans, and host files with random changes, each drawn from the seed and a
number.

    python -m tests.fuzz 3600                       # an hour, with a new seed
    VMCFG_SEED=7 python -m tests.fuzz 3600
    VMCFG_SEED=7 python -m tests.fuzz --only 1234   # one input again

vmcfg must read any input: both parsers find the same, every position is in the text, every finding
can be drawn, fixes can be applied, a machine has a plan in every format, and what is not a plan or
a host file is refused with a sentence.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from types import FrameType

from tests.seeds import SEED
from tests.test_parsers import NOT_YAML, assert_same, rules
from vmcfg.checking.check import check
from vmcfg.checking.fixes import difference, fixed
from vmcfg.files import NoFile
from vmcfg.formats.registry import MACHINE_FORMATS, PLAN_FORMATS
from vmcfg.formats.unresolved import unresolved_commands
from vmcfg.kernel.host import read_host
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM
from vmcfg.plans.planfile import read_plan

ROOT = Path(__file__).parent.parent

LONGEST = 3000
"""Bytes of the files that are changed: short ones are checked faster, and are as odd."""

CPU_SECONDS = 60
"""The time of this process after which an input counts as one that never ends."""

WORDS = [
    *("0", "1", "-1", "0x", "1e999", "0x1_0", "1:30", "07", "18446744073709551616", "9" * 40),
    *("0.0.0.0", "0.0.0.0-3", "ppi:7", "spi:0-7", "64KiB", "6.10", "yes", "~", "null", ".nan"),
    *("!!str ", "!x ", "&a ", "*a", "<<: ", "? ", "- ", ": ", ", ", "# ", "| ", ">- ", "---\n"),
    *("'", '"', "[", "]", "{", "}", "\n", "\r\n", "\t", "  ", "\0", "\x1b[31m", "\x85", "\ufeff"),
    *("\u2028", "\u00e9", "\U0001f40b", "e\u0301", "x-a: ", "$schema: ", "%YAML 1.2\n", "..."),
]
"""What is inserted; the words of the files are, too."""


@cache
def descriptions() -> list[bytes]:
    folders = ("sample-configs", "tests/cases", "tests/right")
    paths = sorted(path for each in folders for path in (ROOT / each).glob("*.yaml"))
    return [data for path in paths if len(data := path.read_bytes()) <= LONGEST]


@cache
def plans() -> list[bytes]:
    found = []
    for data in descriptions():
        checked = check(data, "vm.yaml")
        if checked.machine is not None and len(checked.machine.vcpus) <= 8:
            plan = lower(checked.machine, WHOLE_VM)
            found.append(PLAN_FORMATS["jsonl"].written(plan, checked.tree, {}).encode())
    return found


@cache
def hosts() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "tests" / "hosts").glob("*.json"))]


@cache
def words() -> list[bytes]:
    found = {word for data in (*descriptions(), *hosts()) for word in data.split()}
    return [*(word.encode() for word in WORDS), *sorted(found)]


# Changes ------------------------------------------------------------------------------------------


def inserted(dice: random.Random, data: bytes) -> bytes:
    at = dice.randint(0, len(data))
    return data[:at] + dice.choice(words()) + data[at:]


def replaced(dice: random.Random, data: bytes) -> bytes:
    at = dice.randint(0, len(data))
    return data[:at] + dice.choice(words()) + data[at + dice.randint(0, 8) :]


def removed(dice: random.Random, data: bytes) -> bytes:
    at = dice.randint(0, len(data))
    return data[:at] + data[at + dice.randint(1, 40) :]


def with_another_byte(dice: random.Random, data: bytes) -> bytes:
    at = dice.randint(0, len(data))
    return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]


def with_a_line_elsewhere(dice: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b"\n"]
    line = dice.choice(lines)
    if dice.random() < 0.5:
        lines.remove(line)
    lines.insert(dice.randint(0, len(lines)), b" " * dice.choice([0, 0, 1, 2, 4]) + line)
    return b"".join(lines)


def with_a_value_of_another(dice: random.Random, data: bytes) -> bytes:
    """Exchange a line for one of another description: often with the same key."""
    lines = data.splitlines(keepends=True) or [b"\n"]
    others = dice.choice(descriptions()).splitlines(keepends=True) or [b"\n"]
    lines[dice.randrange(len(lines))] = dice.choice(others)
    return b"".join(lines)


def cut(dice: random.Random, data: bytes) -> bytes:
    return data[: dice.randint(0, len(data))]


CHANGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    inserted,
    inserted,
    replaced,
    replaced,
    removed,
    with_another_byte,
    with_a_line_elsewhere,
    with_a_value_of_another,
    cut,
)


# Checks -------------------------------------------------------------------------------------------


def check_description(data: bytes) -> None:
    assert_same(data)
    checked = check(data, "vm.yaml")
    after, again, count = fixed(data, checked, lambda text: check(text, "vm.yaml"))
    assert (after != data) == (count > 0)
    assert again.diagnostics == check(after, "vm.yaml").diagnostics
    assert (NOT_YAML in rules(again)) <= (NOT_YAML in rules(checked))
    assert bool(difference("vm.yaml", data, after, terminal=True)) == (count > 0)
    if checked.machine is None:
        return
    for scope in (WHOLE_VM, ATTRIBUTES):
        plan = lower(checked.machine, scope)
        for format_ in PLAN_FORMATS.values():
            if not (format_.is_executable and unresolved_commands(plan)):
                options = dict.fromkeys(format_.options, False)
                text = format_.written(plan, checked.tree, options)
                assert text.endswith("\n") if text else not plan.commands
    for other in MACHINE_FORMATS.values():
        assert "" not in [finding.message for _, finding in other.findings(checked.machine)]
        assert other.written(checked.machine).endswith("\n")


def check_plan(data: bytes) -> None:
    try:
        read_plan(BytesIO(data), "plan")
    except NoFile as error:
        assert str(error).isprintable()  # one sentence, on one line


def check_host(data: bytes) -> None:
    try:
        read_host(data, "host.json")
    except NoFile as error:
        assert str(error).isprintable()


KINDS: tuple[tuple[Callable[[], list[bytes]], Callable[[bytes], None]], ...] = (
    (descriptions, check_description),
    (descriptions, check_description),
    (descriptions, check_description),
    (plans, check_plan),
    (hosts, check_host),
)
"""The files that are changed, and how the result is checked; most of the time, descriptions."""


class Found(Exception):
    """An input that vmcfg does not handle; the text has everything to repeat it."""


def drawn(number: int) -> tuple[bytes, Callable[[bytes], None]]:
    """Return an input, and how it is checked."""
    dice = random.Random(f"{SEED} {number}")
    originals, checks = KINDS[number % len(KINDS)]
    data = dice.choice(originals())
    for _ in range(dice.choice([1, 1, 2, 3, 5, 8])):
        data = dice.choice(CHANGES)(dice, data)
    return data, checks


def never_ends(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"it takes more than {CPU_SECONDS} s")


def try_input(number: int) -> None:
    """Check an input. Raises `Found`."""
    data, checks = drawn(number)
    before = signal.signal(signal.SIGVTALRM, never_ends)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        checks(data)
    except Exception:
        again = f"VMCFG_SEED={SEED} python -m tests.fuzz --only {number}"
        raise Found(f"{again}\n{checks.__name__}({data!r})\n{traceback.format_exc()}") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def numbers(seconds: float) -> Iterator[int]:
    """Yield numbers from 0 for this time."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        yield number
        number += 1


def main() -> None:
    """Try inputs, and print each that fails; the exit code is 1 if one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("seconds", type=float, nargs="?", default=10)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try only this input")
    chosen = parser.parse_args()
    if not os.environ.get("VMCFG_SEED"):
        # A long run is for inputs that no run has tried: it starts again with a new seed.
        seed = str(secrets.randbelow(1 << 32))
        os.execve(sys.executable, [*sys.orig_argv], {**os.environ, "VMCFG_SEED": seed})
    print(f"seed: VMCFG_SEED={SEED}", flush=True)
    tried, failed = 0, 0
    for number in [chosen.only] if chosen.only is not None else numbers(chosen.seconds):
        tried += 1
        try:
            try_input(number)
        except Found as found:
            failed += 1
            print(found, flush=True)
    print(f"{tried} inputs, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
