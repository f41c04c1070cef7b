"""The README and the reference are executed: their files are written, their commands run, and the
output is compared byte for byte. Their links lead to existing places, and their options exist.

The reference consists of hand-written parts and of generated text; test_share.py checks that it is
current. `pytest --bless` writes the output into the README and the parts.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from vmcfg import __version__
from vmcfg.cli import COMMANDS, vmcfg
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.surprises import accepted, differences
from vmcfg.shell.reference_page import PARTS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
REFERENCE = ROOT / "REFERENCE.md"
INTEGRATIONS = PARTS / "integrations.md"
REFERENCE_PARTS = sorted(PARTS.glob("*.md"))
WRITTEN = [README, *REFERENCE_PARTS]
"""The hand-written pages."""


class Block(NamedTuple):
    language: str
    text: str
    line: int
    before: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, each with its first line and all the text before it."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    start = None
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if start is None:
                start = number
            else:
                text = "".join(f"{each}\n" for each in lines[start + 1 : number])
                before = " ".join(lines[:start])
                found.append(Block(lines[start][3:], text, start + 2, before))
                start = None
    return found


def languages(page: Path) -> list[str]:
    return [block.language for block in blocks(page)]


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))


def test_every_block_is_run_or_is_the_set_up() -> None:
    kinds = {language for page in WRITTEN for language in languages(page)}
    assert kinds == {"yaml", "console", "sh", "text", "python", "yml", "json", "vim"}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment with this vmcfg on its PATH, and without Git settings of the user."""
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
    """Return an empty directory to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def prompts(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each command of a console block: as written, as the shell reads it, and its output."""
    for part in re.split(r"(?m)^\$ ", text)[1:]:
        command, _, expected = part.partition("\n")
        written = f"$ {command}\n"
        while expected.startswith("> "):
            line, _, expected = expected.partition("\n")
            command += "\n" + line[2:]
            written += f"{line}\n"
        yield written, command, expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a fresh copy of everything that Git has or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    folder = tmp_path / "vmcfg"
    for name in map(os.fsdecode, listed.stdout.split(b"\0")):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def typed(page: Path) -> list[tuple[Block, list[tuple[str, str, str]]]]:
    """Return the blocks with commands, each with: command as written, as typed, output."""
    found = []
    for block in blocks(page):
        if block.language == "console":
            found.append((block, list(prompts(block.text))))
        elif block.language == "sh":
            # Not tests/run, which runs this test.
            lines = [line for line in block.text.splitlines() if line != "tests/run"]
            found.append((block, [(f"{line}\n", line, "") for line in lines]))
        elif block.language == "python":
            (name,) = re.findall(r"`([\w.-]+\.py)`", block.before)[-1:]
            found.append((block, [("", f"cat >{name} <<'PYTHON'\n{block.text}PYTHON", "")]))
    return found


@pytest.mark.slow
def test_the_readme_works_when_typed_in_a_fresh_clone(checkout: Path, bless: bool) -> None:
    """One shell, with only what the README installs, executes every command in order."""
    page = typed(README)
    lines = ["exec 2>&1"]
    for block, commands in page:
        for place, (_, command, _) in enumerate(commands):
            lines += [command, f"echo @@ {block.line} {place} $?"]
    kept = {key: os.environ[key] for key in os.environ if key.startswith("PIP_")}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=checkout,
        env={**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(checkout.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outputs = re.findall(r"(?ms)(.*?)^@@ (\d+) (\d+) (\d+)\n", done.stdout)
    by_place = {(int(line), int(place)): (text, code) for text, line, place, code in outputs}
    text = README.read_text(encoding="utf-8")
    for block, commands in page:
        shown = ""
        for place, (written, command, expected) in enumerate(commands):
            output, code = by_place[block.line, place]
            if block.language != "console":
                assert code == "0", f"README.md:{block.line}: {command}\n{output}"
                continue
            shown += written + output
            assert bless or output == expected, (
                f"README.md:{block.line}: {command}\nIf the new output is right: run 'python -m"
                " pytest --bless tests/test_docs.py'"
            )
        if block.language == "console":
            text = text.replace(f"```console\n{block.text}```", f"```console\n{shown}```")
    if bless and text != README.read_text(encoding="utf-8"):
        README.write_text(text, encoding="utf-8")


def test_the_first_two_screens_lead_to_the_commands() -> None:
    before, _, _ = README.read_text(encoding="utf-8").partition("\n## Commands\n")
    assert before.count("\n") < 100


@pytest.mark.parametrize(
    "page",
    [page for page in REFERENCE_PARTS if {"yaml", "console"} & {*languages(page)}],
    ids=lambda page: page.stem,
)
def test_a_page_says_what_happens(page: Path, work: Path, env: dict[str, str], bless: bool) -> None:
    """A yaml block is the content of the last file named before it. In a console block, `$ ` begins
    a command, and `> ` continues it.
    """
    (work / "sample-configs").symlink_to(ROOT / "sample-configs")
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language == "yaml":
            # Blocks of settings of other programs are marked yml.
            named = re.findall(r"`([\w.-]+\.yaml)`", block.before)
            assert named, f"{page.name}:{block.line}: no file is named before this block"
            (work / named[-1]).write_text(block.text)
        if block.language == "console":
            shown = ""
            for written, command, expected in prompts(block.text):
                done = subprocess.run(
                    ["sh", "-c", command],
                    cwd=work,
                    env=env,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                output = done.stdout + done.stderr
                shown += written + output
                assert bless or output == expected, (
                    f"{page.name}:{block.line}: {command}\nIf the new output is right: run 'python"
                    " -m pytest --bless tests/test_docs.py' and 'python -m vmcfg.shell'"
                )
            text = text.replace(f"```console\n{block.text}```", f"```console\n{shown}```")
    if bless and text != page.read_text(encoding="utf-8"):
        page.write_text(text, encoding="utf-8")


def test_every_command_of_the_reference_is_in_a_part() -> None:
    """Only the parts are executed; the generated text contains no commands."""

    def run(page: Path) -> list[tuple[str, str]]:
        return [each[:2] for each in blocks(page) if each.language in ("console", "sh")]

    assert Counter(run(REFERENCE)) == Counter(each for page in WRITTEN[1:] for each in run(page))


def test_the_set_up_is_the_documented_one() -> None:
    set_up = [block.text for block in blocks(README) if block.language == "sh"]
    install = (
        "python3 -m venv .venv && .venv/bin/pip install ."
        " && .venv/bin/vmcfg emit sample-configs/minimal.yaml\n"
    )
    assert set_up[0].startswith(install)
    assert "tests/run\n" in set_up


# Commands and options -----------------------------------------------------------------------------


def options_of(name: str) -> set[str]:
    command = vmcfg.get_command(click.Context(vmcfg), name)
    assert command is not None
    context = click.Context(command)
    return {option for param in command.get_params(context) for option in param.opts}


EVERY_OPTION = {"--version"}.union(*map(options_of, COMMANDS))


@pytest.mark.parametrize("page", [README, REFERENCE], ids=lambda page: page.stem)
def test_every_named_command_and_option_exists(page: Path) -> None:
    for code in re.findall(r"`([^`]+)`", prose(page)):
        try:
            words = shlex.split(code)
        except ValueError:
            continue
        if words[:1] == ["vmcfg"] and len(words) > 1:
            name = words[1]
            assert name in COMMANDS or name == "COMMAND", f"{page.name}: `{code}`"
            known = EVERY_OPTION if name == "COMMAND" else options_of(name)
            options = [word for word in words[2:] if re.match("--?[a-z]", word)]
        else:
            known = EVERY_OPTION
            options = words[:1] if words and re.match("--?[a-z]", words[0]) else []
        for option in options:
            assert option.partition("=")[0] in known, f"{page.name}: `{code}`"


def test_every_command_stands_in_the_table() -> None:
    assert list(rows()) == list(COMMANDS), (
        "README.md: the table of commands must have a row for each command, in the order of"
        " COMMANDS in vmcfg/cli.py"
    )


def rows() -> dict[str, str]:
    """Return the rows of the table of commands in the README."""
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
            continue  # text for people, and json: the help explains them
        missing = [word for word in formats if not re.search(f"[` ]{word}`", rows()[name])]
        assert not missing, (
            f"README.md does not name the format {', '.join(missing)} of 'vmcfg {name}': add it to"
            " the row of the command in the table"
        )


# Links --------------------------------------------------------------------------------------------


def anchors(page: Path) -> list[str]:
    """Return the anchors that GitHub creates for the headings of a page."""
    found = []
    for words in re.findall(r"(?m)^#+ (.+)$", prose(page)):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", words)
        kept = (letter for letter in shown.lower() if letter.isalnum() or letter in "-_ ")
        found.append("".join(kept).replace(" ", "-"))
    return found


PAGES = sorted(ROOT.glob("*.md"))


def links(page: Path) -> list[str]:
    """Return the targets of the links of a page to files of the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page)))
    return [target for target in targets if not re.match("https?:", target)]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if links(page)], ids=lambda page: page.stem
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, fragment = target.partition("#")
        to = (page.parent / path) if path else page
        assert to.exists(), f"{page.name} links to {target}, which does not exist"
        if fragment:
            assert fragment in anchors(to), f"{page.name} links to {target}: no such heading"


def test_no_two_headings_of_the_reference_have_one_anchor() -> None:
    twice = [each for each, times in Counter(anchors(REFERENCE)).items() if times > 1]
    assert not twice, f"REFERENCE.md has several headings for {twice}"


@pytest.mark.parametrize("page", [*PAGES, *WRITTEN[1:]], ids=lambda page: page.stem)
def test_nothing_is_said_to_be_published(page: Path) -> None:
    """vmcfg is not in a package index, and has no address yet."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"pypi|pipx? install (?:-\S+ )*vmcfg\b|https?://\S*vmcfg", text)


# Content of the reference -------------------------------------------------------------------------


def test_the_reference_has_every_rule_and_every_surprise() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for rule in every_rule():
        assert f"\n#### {rule.id} {rule.name}\n" in text
    surprising = {each.rule.id for each in accepted((ROOT / "tests" / "cases").glob("*.yaml"))}
    assert surprising >= {"VMC301", "VMC407", "VMC408", "VMC501", "VMC505", "VMC509", "VMC701"}
    for rule in every_rule():
        if rule.kernel is not None and rule.kernel.errno is None:
            assert rule.id in surprising, f"{rule.id}: KVM accepts it, but no case shows it"
    for id in surprising:
        assert re.search(rf"\n#### Accepted: \S+ \({id}\)\n", text)
    about = {str(each.about).partition(" ")[0] for each in differences()}
    assert about >= {"VMC404", "VMC501", "VMC511"}


# Integrations -------------------------------------------------------------------------------------

RIGHT = "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 23\n"
WRONG = RIGHT.replace("23", "8")


def settings(key: str) -> Any:
    """Return the only yml block of the integrations that has this key."""
    (found,) = [
        each
        for block in blocks(INTEGRATIONS)
        if block.language == "yml" and key in (each := yaml.safe_load(block.text))
    ]
    return found


def test_the_workflow_reports_findings(work: Path, env: dict[str, str]) -> None:
    workflow = settings("jobs")
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow) == {"name", True, "jobs"}
    (job,) = workflow["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "run" in step]
    rev = settings("repos")["repos"][0]["rev"]
    assert rev == f"v{__version__}"
    assert steps[0] == f"pipx install git+WHERE-THIS-REPOSITORY-IS@{rev}"

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
    (block,) = [block for block in blocks(INTEGRATIONS) if block.language == "json"]
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
    (block,) = [block for block in blocks(INTEGRATIONS) if block.language == "vim"]
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
