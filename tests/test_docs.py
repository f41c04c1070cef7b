"""The README is run: its files are written, its commands executed, their output compared to the
letter.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from vmcfg.cli import COMMANDS, vmcfg

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
                found.append(
                    Block(
                        lines[start][3:],
                        "\n".join(lines[start + 1 : number]) + "\n",
                        start + 2,
                        before,
                    )
                )
                start = None
    return found


def test_every_block_is_run_or_is_the_set_up() -> None:
    kinds = {block.language for block in blocks()}
    assert kinds == {"yaml", "console", "sh", "yml", "json", "vim"}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with this vmcfg on its path, and without anybody's settings of git."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "vmcfg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vmcfg "$@"\n')
    (binaries / "vmcfg").chmod(0o755)
    path = f"{binaries}:{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_readme_says_what_happens(work: Path, env: dict[str, str]) -> None:
    """A yaml block is the last file named before it; in a console block `$ ` begins a command, `> `
    carries it on.
    """
    (work / "sample-configs").symlink_to(ROOT / "sample-configs")
    ran = 0
    for block in blocks():
        if block.language == "yaml":
            # Settings of other programs are yml.
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
                    ["sh", "-c", command],
                    cwd=work,
                    env=env,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert done.stdout + done.stderr == expected, f"README.md:{block.line}: {command}"
                ran += 1
    assert ran >= 4


def test_the_set_up_is_the_documented_one() -> None:
    set_up = [block.text for block in blocks() if block.language == "sh"]
    install = (
        "python3 -m venv .venv && .venv/bin/pip install ."
        " && .venv/bin/vmcfg emit sample-configs/minimal.yaml\n"
    )
    assert install in set_up
    assert "tests/run\n" in set_up


def test_every_command_stands_in_the_table() -> None:
    assert list(rows()) == list(COMMANDS), (
        "README.md: the table of commands must have a row for each command, in the order of"
        " COMMANDS in vmcfg/cli.py"
    )


def rows() -> dict[str, str]:
    """The rows of the README's table of commands."""
    text = README.read_text(encoding="utf-8")
    return {match[1]: match[0] for match in re.finditer(r"(?m)^\| `vmcfg ([a-z]+).*$", text)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_format_stands_in_the_table(name: str) -> None:
    command = vmcfg.get_command(click.Context(vmcfg), name)
    assert command is not None
    for option in command.params:
        if "--format" not in option.opts:
            continue
        assert isinstance(option.type, click.Choice)
        formats = [word for word in option.type.choices if word != option.default]
        if len(formats) == 1 and "--format" not in rows()[name]:
            continue  # text for people, and json: the help says so
        missing = [word for word in formats if not re.search(f"[` ]{word}`", rows()[name])]
        assert not missing, (
            f"README.md does not name the format {', '.join(missing)} of 'vmcfg {name}': add it to"
            " the row of the command in the table"
        )


RIGHT = "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 23\n"
WRONG = RIGHT.replace("23", "8")


def settings(key: str) -> Any:
    """The one yml block of the README that has this key."""
    (found,) = [
        each
        for block in blocks()
        if block.language == "yml" and key in (each := yaml.safe_load(block.text))
    ]
    return found


def test_the_workflow_reports_findings(work: Path, env: dict[str, str]) -> None:
    workflow = settings("jobs")
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow) == {"name", True, "jobs"}
    (job,) = workflow["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "run" in step]
    assert steps[0] == "pipx install vmcfg"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", steps[1]], cwd=work, env=env, capture_output=True, text=True
        )

    (work / "edge.vmcfg.yaml").write_text(RIGHT)
    assert (run().returncode, run().stdout) == (0, "")
    (work / "edge.vmcfg.yaml").write_text(WRONG)
    assert run().returncode == 1
    assert run().stdout.startswith("::error file=")
    assert "edge.vmcfg.yaml,line=5,col" in run().stdout


def test_the_editors_schema_is_there_for_the_files(work: Path, env: dict[str, str]) -> None:
    (block,) = [block for block in blocks() if block.language == "json"]
    ((schema, patterns),) = json.loads(block.text)["yaml.schemas"].items()
    written = re.findall(r"`(vmcfg schema > [^`]+)`", block.before)
    subprocess.run(["sh", "-c", written[-1]], cwd=work, env=env, check=True)
    assert (work / schema).read_bytes() == (ROOT / "schemas" / "vm-v1.schema.json").read_bytes()
    for name in ("edge.vmcfg.yaml", "edge.vmcfg.yml"):
        assert any(fnmatch(name, pattern) for pattern in patterns)
    (work / "modeline.yaml").write_text(
        "# yaml-language-server: $schema=vm-v1.schema.json\n" + RIGHT
    )
    assert "`# yaml-language-server: $schema=vm-v1.schema.json`" in block.before
    subprocess.run(["vmcfg", "validate", "modeline.yaml"], cwd=work, env=env, check=True)


def test_vim_lists_findings(work: Path, env: dict[str, str], program: Callable[[str], str]) -> None:
    (block,) = [block for block in blocks() if block.language == "vim"]
    (work / "vimrc").write_text(block.text)
    (work / "my edge.vmcfg.yaml").write_text(WRONG)
    each = r"bufname(v:val.bufnr).':'.v:val.lnum.':'.v:val.col.v:val.type.v:val.nr"
    show = f'call writefile(map(getqflist(), "{each}"), "list")'
    subprocess.run(
        [
            program("vim"),
            "-N",
            "-u",
            "vimrc",
            "-es",
            "my edge.vmcfg.yaml",
            "-c",
            "silent make",
            "-c",
            show,
            "-c",
            "qa!",
        ],
        cwd=work,
        env=env,
        timeout=60,
        capture_output=True,
    )
    assert (work / "list").read_text() == "my edge.vmcfg.yaml:5:14e504\n"
