"""Fuzzing for ten seconds, with the same inputs in every run; more of them on a faster machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzz
from tests.seeds import SEED

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_inputs_with_random_changes_are_read() -> None:
    tried = 0
    for number in fuzz.numbers(seconds=10):
        fuzz.try_input(number)
        tried += 1
    assert tried > 0


def test_an_input_depends_on_the_seed_and_its_number() -> None:
    count = 10 * len(fuzz.KINDS)
    inputs = [fuzz.drawn(number)[0] for number in range(count)]
    assert inputs == [fuzz.drawn(number)[0] for number in range(count)]
    assert len(set(inputs)) > count / 2


def test_a_failure_is_printed_with_its_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes) -> None:
        raise KeyError("no such thing")

    def hangs(data: bytes) -> None:
        while True:
            pass

    again = f"VMCFG_SEED={SEED} python -m tests.fuzz --only 7\n"
    monkeypatch.setattr(fuzz, "CPU_SECONDS", 0.2)
    for checks, reason in ((fails, "KeyError: 'no such thing'"), (hangs, "TimeoutError: it takes")):
        monkeypatch.setattr(fuzz, "KINDS", ((fuzz.descriptions, checks),))
        with pytest.raises(fuzz.Found) as caught:
            fuzz.try_input(7)
        assert str(caught.value).startswith(again)
        assert reason in str(caught.value)


@pytest.mark.slow
def test_the_command_prints_its_seed_and_repeats_one_input() -> None:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *arguments],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    one = run("--only", "3", VMCFG_SEED="7")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == "seed: VMCFG_SEED=7\n1 inputs, 0 failed\n"
    printed = [run("0", VMCFG_SEED="").stdout.splitlines()[0] for _ in range(2)]
    assert printed[0] != printed[1]
