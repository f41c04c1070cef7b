"""Completion in real shells, manual pages under real linters, and current generated files."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmcfg.cli import COMMANDS
from vmcfg.formats.registry import FORMATS
from vmcfg.reference.examples import FOLDER
from vmcfg.shell import completion, manual
from vmcfg.shell.command_line import (
    DESCRIPTIONS,
    FILES,
    FREE,
    LIST,
    WORDS,
    Argument,
    Command,
    Option,
    Values,
    commands,
)
from vmcfg.shell.generated import SHARE, generated, shared

ROOT = Path(__file__).parent.parent
PAGES = sorted(name for name in shared() if name.startswith("man/"))
BASH, ZSH, FISH = (
    SHARE / name
    for name in (
        "bash-completion/completions/vmcfg",
        "zsh/site-functions/_vmcfg",
        "fish/vendor_completions.d/vmcfg.fish",
    )
)
SHELLS = ("bash", "zsh", "fish")

Completed = Callable[[str], "set[str]"]


def test_generated_files_are_current(same_as_file: Callable[[Path, bytes], None]) -> None:
    """`python -m vmcfg.shell` writes them."""
    expected = generated()
    for path, data in expected.items():
        same_as_file(path, data)
    for folder in (SHARE, FOLDER):
        for path in folder.rglob("*"):
            named = path.relative_to(ROOT)
            assert path.is_dir() or path in expected, f"{named} is generated no more: remove it"


def test_the_generator_writes_what_is_kept(tmp_path: Path) -> None:
    """In a checkout without them, the generator creates all files, and removes all others."""
    for folder in ("vmcfg", "schemas", "sample-configs", "tests/cases"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=unwanted)
    shutil.rmtree(tmp_path / SHARE.relative_to(ROOT))
    examples = tmp_path / FOLDER.relative_to(ROOT)
    next(examples.iterdir()).unlink()
    (examples / "VMC999-stray.yaml").touch()
    (tmp_path / "schemas/vm-v1.schema.json").write_text("{}")
    subprocess.run([sys.executable, "-m", "vmcfg.shell"], cwd=tmp_path, check=True, timeout=60)
    for path, data in generated().items():
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == data
    assert not (examples / "VMC999-stray.yaml").exists()


# Shells -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with descriptions and other files."""
    (tmp_path / "here" / "rack 1").mkdir(parents=True)
    for name in ("edge.yaml", "my vm.yml", "notes.txt", "rack 1/inner.yaml"):
        (tmp_path / "here" / name).touch()
    return tmp_path / "here"


def in_bash(bash: str, folder: Path, line: str, script: Path = BASH) -> set[str]:
    """Return what the function that is registered in bash proposes at the end of `line`, split into
    words as readline does.
    """
    words = shlex.split(line.replace("=", " = "))
    if line.endswith(" "):
        words.append("")
    asking = f"""
        source {shlex.quote(str(script))}
        complete -p vmcfg >/dev/null || exit 9
        COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
        _vmcfg vmcfg
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        [bash, "--norc", "--noprofile", "-c", asking],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {each for each in done.stdout.splitlines() if each}


def in_fish(fish: str, folder: Path, line: str, script: Path = FISH) -> set[str]:
    """Return what fish proposes at the end of `line`."""
    asking = f"source {shlex.quote(str(script))}; complete --do-complete {shlex.quote(line)}"
    env = {
        **os.environ,
        "HOME": str(folder.parent),
        "XDG_CONFIG_HOME": str(folder.parent / "config"),
    }
    done = subprocess.run(
        [fish, "--no-config", "-c", asking],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {each.split("\t")[0] for each in done.stdout.splitlines()}


def in_zsh(zsh: str, folder: Path, line: str, script: Path = ZSH) -> set[str]:
    """Return what an interactive zsh proposes at the end of `line`, on its own terminal."""
    home = folder.parent / "zsh"
    home.mkdir(exist_ok=True)
    offered = home / "offered"
    offered.write_text("")
    fpath = f"fpath=({shlex.quote(str(script.parent))} $fpath)\n"
    offers = (ROOT / "tests" / "programs" / "completion-offers.zsh").read_text()
    (home / ".zshrc").write_text(f"{fpath}\n{offers}")
    env = {
        **os.environ,
        "ZDOTDIR": str(home),
        "OFFERED": str(offered),
        "TERM": "dumb",
        "LISTMAX": "1000",
    }
    with terminal([zsh, "-d", "-i"], folder, env) as (send, read_until):
        read_until("ready> ")
        send(line + "\t")
        # Ctrl-U clears the line; the echo of the text after it shows that completion has finished.
        send("\x15echo do''ne\n")
        read_until("done")
    found = offered.read_text().splitlines()
    # As zsh inserts them, with a backslash before a space.
    return {
        each.removeprefix("offered: ").replace("\\ ", " ")
        for each in found
        if each.startswith("offered: ")
    }


class terminal:  # noqa: N801  # used as a function
    """A program on its own terminal: it gets keys, and is read until a text arrives."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str]) -> None:
        self.command = command
        self.folder = folder
        self.env = env
        self.seen = ""

    def __enter__(self) -> tuple[Callable[[str], None], Callable[[str], str]]:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(self.folder)
            os.execvpe(self.command[0], self.command, self.env)
        return self.send, self.read_until

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)

    def send(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def read_until(self, text: str) -> str:
        """Return all output up to `text`, which must arrive within a minute."""
        last = time.monotonic() + 60
        while text not in self.seen:
            ready, _, _ = select.select([self.descriptor], [], [], max(0, last - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.descriptor, 65536).decode("utf-8", "replace")
        before, _, self.seen = self.seen.partition(text)
        return before


@pytest.fixture(params=SHELLS)
def completed(
    request: pytest.FixtureRequest, program: Callable[[str], str], folder: Path
) -> Completed:
    """Return a function that completes a line in each of the shells, in `folder`."""
    ask = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}[request.param]
    path = program(request.param)
    return lambda line: {word.rstrip("/") for word in ask(path, folder, line)}


@pytest.mark.slow
def test_commands(completed: Completed) -> None:
    assert completed("vmcfg ") >= set(COMMANDS)
    assert completed("vmcfg ex") == {"explain", "example"}
    assert completed("vmcfg nothing") == set()
    assert completed("vmcfg --") >= {"--version", "--help"}


def every_value() -> Iterator[tuple[str, set[str]]]:
    """Yield lines that complete every word that an option or argument accepts, with the words."""
    for command in commands():
        for option in command.options:
            if option.values is not None and option.values.kind in (WORDS, LIST):
                yield f"vmcfg {command.name} {option.names[-1]} ", set(option.values.words)
        for argument in command.arguments:
            if argument.values.kind == WORDS:
                yield f"vmcfg {command.name} ", set(argument.values.words)


def options_of(command: Command) -> set[str]:
    return {name for option in command.options for name in option.names}


@pytest.mark.slow
def test_every_option_and_word(completed: Completed, request: pytest.FixtureRequest) -> None:
    for command in commands():
        proposed = completed(f"vmcfg {command.name} --")
        assert proposed == {name for name in options_of(command) if name.startswith("--")}, (
            command.name
        )
    for line, words in every_value():
        assert completed(line) == words, line
    assert len(list(every_value())) >= 10


@pytest.mark.slow
def test_what_the_words_are(completed: Completed) -> None:
    """Written by hand once, so that the tables are not the only source."""
    assert completed("vmcfg emit --format j") == {"json", "jsonl"}
    assert completed("vmcfg emit --scope ") == {"attributes", "state", "vm"}
    assert completed("vmcfg emit --phase g") == {"gic-init"}
    assert completed("vmcfg explain VMC503") == {"VMC503"}
    assert completed("vmcfg explain pmu.i") >= {"pmu.irq"}
    assert completed("vmcfg example qemu-virt-") == {"qemu-virt-130"}
    assert completed("vmcfg schema di") == {"diagnostics", "diff"}
    assert completed("vmcfg validate --color n") == {"never"}


@pytest.mark.slow
def test_files(completed: Completed, request: pytest.FixtureRequest) -> None:
    assert "edge.yaml" in completed("vmcfg emit ")
    assert "edge.yaml" in completed("vmcfg validate --strict e")
    assert "notes.txt" in completed("vmcfg emit -o ")
    assert completed("vmcfg emit --host-kernel ") == set()
    assert completed("vmcfg explain edg") == set()
    if "fish" not in request.node.name:
        assert completed("vmcfg emit ") - options_of(commands()[1]) == {
            "edge.yaml",
            "my vm.yml",
            "rack 1",
        }


@pytest.mark.slow
def test_values_after_an_equals_sign(program: Callable[[str], str], folder: Path) -> None:
    assert in_bash(program("bash"), folder, "vmcfg emit --format=") == set(FORMATS)
    assert in_bash(program("bash"), folder, "vmcfg emit --format=js") == {"json", "jsonl"}
    assert in_bash(program("bash"), folder, "vmcfg emit --phase=create,g") == {"create,gic-init"}
    assert in_fish(program("fish"), folder, "vmcfg emit --format=js") == {
        "--format=json",
        "--format=jsonl",
    }
    assert in_zsh(program("zsh"), folder, "vmcfg emit --format=js") == {"json", "jsonl"}


@pytest.mark.slow
def test_bash_completes_what_is_typed(program: Callable[[str], str], folder: Path) -> None:
    """On a terminal with readline, the word is completed, and a name with a space is quoted."""
    env = {**os.environ, "PS1": "ready> ", "TERM": "dumb", "INPUTRC": "/dev/null"}
    with terminal([program("bash"), "--norc", "--noprofile", "-i"], folder, env) as (
        send,
        read_until,
    ):
        read_until("ready> ")
        send(f"source {shlex.quote(str(BASH))}; vmcfg() {{ printf '<%s>' \"$@\"; echo; }}\n")
        read_until("ready> ")
        send("vmcfg em\t--form\tjsonl --ph\tcreate,gic\tmy\t\n")
        shown = read_until("ready> ")
        assert "<emit><--format><jsonl><--phase><create,gic-init><my vm.yml>" in shown


@pytest.mark.parametrize(("shell", "path"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_scripts_have_no_syntax_errors(
    program: Callable[[str], str], shell: str, path: Path
) -> None:
    done = subprocess.run([program(shell), "-n", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_shellcheck_finds_nothing(program: Callable[[str], str]) -> None:
    done = subprocess.run(
        [program("shellcheck"), "-s", "bash", str(BASH)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_files_are_told_from_descriptions() -> None:
    """The names of arguments decide it, so that a new argument is completed correctly."""
    kinds = {
        (command.name, argument.metavar): argument.values.kind
        for command in commands()
        for argument in command.arguments
    }
    assert kinds["emit", "PATH|-..."] == kinds["diff", "A B"] == DESCRIPTIONS
    outputs = {
        option.names[-1]: option.values for command in commands() for option in command.options
    }
    assert outputs["--output"] is not None
    assert outputs["--output"].kind == FILES


HOSTILE = 'it\'s a [b]: c\\d "e" $(exit) `f` {g} -h; .i \\(bu ^ ~'
ODD = Command(
    "emit",
    HOSTILE,
    (HOSTILE, f".PP {HOSTILE}", f"'br {HOSTILE}", f"\b\n  .x {HOSTILE}\n  'y {HOSTILE}"),
    (Argument(HOSTILE, Values(WORDS, ("word",)), False),),
    (
        Option(("--flag",), None, None, HOSTILE),
        Option(("-o", "--one"), HOSTILE, Values(FREE), HOSTILE),
        Option(("--two",), HOSTILE, Values(WORDS, ("first", "second")), HOSTILE),
    ),
    HOSTILE,
)


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_no_help_text_breaks_completion(
    program: Callable[[str], str], folder: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setattr(completion, "commands", lambda: [ODD])
    script = folder.parent / "odd" / "_vmcfg"
    script.parent.mkdir()
    script.write_text(
        {"bash": completion.bash, "zsh": completion.zsh, "fish": completion.fish}[shell]()
    )
    ask = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}[shell]
    path = program(shell)
    assert ask(path, folder, "vmcfg em", script) == {"emit"}
    assert ask(path, folder, "vmcfg emit --", script) == {"--flag", "--one", "--two"}
    assert ask(path, folder, "vmcfg emit --two ", script) == {"first", "second"}
    assert ask(path, folder, "vmcfg emit --flag w", script) == {"word"}


# Manual pages -------------------------------------------------------------------------------------


def test_every_command_has_a_page() -> None:
    assert {Path(name).name for name in PAGES} == {
        "vmcfg.1",
        *(f"vmcfg-{name}.1" for name in COMMANDS),
    }


@pytest.mark.parametrize("page", PAGES)
def test_linters_take_the_page(program: Callable[[str], str], page: str) -> None:
    mandoc = subprocess.run(
        [program("mandoc"), "-T", "lint", "-W", "warning", str(SHARE / page)],
        capture_output=True,
        text=True,
    )
    assert (mandoc.returncode, mandoc.stdout + mandoc.stderr) == (0, "")
    groff = subprocess.run(
        [program("man"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(SHARE / page)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert (groff.returncode, groff.stderr) == (0, "")


def test_a_page_says_what_the_help_says(
    program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, also with characters that are special to roff."""
    every = [*commands(), ODD._replace(name="odd")]
    monkeypatch.setattr(manual, "commands", lambda: every)
    for command in every:
        name = f"vmcfg-{command.name}.1"
        page = tmp_path / name
        page.write_text(manual.pages()[name])
        shown = subprocess.run(
            [program("mandoc"), "-T", "ascii", "-O", "width=1000", str(page)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        shown = " ".join(re.sub(".\b", "", shown).split())
        for text in (*command.paragraphs, *(option.help for option in command.options)):
            assert " ".join(text.replace("\b", "").split()) in shown
        for option in command.options:
            assert (
                f"{', '.join(option.names)}{'' if option.metavar is None else ' ' + option.metavar}"
                in shown
            )
        assert "3 Failure: vmcfg could not do its work." in shown
