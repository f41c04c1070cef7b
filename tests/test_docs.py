"""The README is run: its files are written, its commands executed, their output compared to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from vmcfg.cli import COMMANDS

README = Path(__file__).parent.parent / "README.md"
ROOT = README.parent


class Block(NamedTuple):
    language: str
    text: str
    line: int
    before: str


def blocks() -> list[Block]:
    """The fenced blocks of the README, each with its first line and all the text before it."""
    lines = README.read_text(encoding="utf-8").splitlines()
    found = []
    start = None
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if start is None:
                start = number
            else:
                before = " ".join(lines[:start])
                found.append(Block(lines[start][3:], "\n".join(lines[start + 1 : number]) + "\n", start + 2, before))
                start = None
    return found


def test_every_block_is_run_or_is_the_set_up() -> None:
    kinds = {block.language for block in blocks()}
    assert kinds == {"yaml", "console", "sh"}


def test_readme_says_what_happens(tmp_path: Path) -> None:
    """A yaml block is the last file named before it; in a console block `$ ` begins a command, `> ` carries it on."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "vmcfg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vmcfg "$@"\n')
    (binaries / "vmcfg").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "sample-configs").symlink_to(ROOT / "sample-configs")
    env = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ran = 0
    for block in blocks():
        if block.language == "yaml":
            named = re.findall(r"`([\w.-]+\.yaml)`", block.before)
            assert named, f"README.md:{block.line}: no file is named before this block"
            (work / named[-1]).write_text(block.text)
        if block.language == "console":
            for part in re.split(r"(?m)^\$ ", block.text)[1:]:
                command, _, expected = part.partition("\n")
                while expected.startswith("> "):
                    line, _, expected = expected.partition("\n")
                    command += "\n" + line[2:]
                done = subprocess.run(
                    ["sh", "-c", command], cwd=work, env=env, capture_output=True, text=True, timeout=60, check=False
                )
                assert done.stdout + done.stderr == expected, f"README.md:{block.line}: {command}"
                ran += 1
    assert ran >= 4


def test_the_set_up_is_the_documented_one() -> None:
    set_up = [block.text for block in blocks() if block.language == "sh"]
    install = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/vmcfg emit sample-configs/minimal.yaml\n"
    assert install in set_up
    assert "tests/run\n" in set_up


def test_every_command_stands_in_the_table() -> None:
    rows = re.findall(r"(?m)^\| `vmcfg ([a-z]+)", README.read_text(encoding="utf-8"))
    assert rows == list(COMMANDS)
