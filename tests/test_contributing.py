"""CONTRIBUTING.md names only paths, commands, and rooms that exist; and tests of tests/run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import not_here
from tests.test_rooms import ROOMS
from vmcfg.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text(encoding="utf-8")

FILE_NAME = re.compile(r"(\.?[\w-]+/)*\.?[\w-]+\.(py|md|toml|txt|yaml|at)")


def words() -> Iterator[str]:
    """Yield everything in backquotes outside blocks of commands."""
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", TEXT))


def named_paths() -> list[str]:
    """Return the words that are paths from the root of the repository."""
    return [
        word
        for word in dict.fromkeys(words())
        if " " not in word
        and ("/" in word or FILE_NAME.fullmatch(word))
        and word not in ("__init__.py", ".venv-tests")
    ]


@pytest.mark.parametrize("path", named_paths())
def test_path_exists(path: str) -> None:
    # Parts that the reader chooses are in capitals: NAME.py, VMCnnn-WORDS.yaml.
    if re.search("NAME|TOPIC|WORDS", path):
        path = str(Path(path).parent)
    assert (ROOT / path).exists(), f"CONTRIBUTING.md names {path}, which is not in the repository"


def commands() -> list[str]:
    """Return the lines of the blocks of commands, without comments."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", TEXT)
    lines = [shlex.join(shlex.split(line, comments=True)) for line in "".join(blocks).splitlines()]
    return list(dict.fromkeys(lines))


def fails(*command: str) -> str:
    """Return the output of a command if it fails; otherwise an empty text."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else done.stdout[-800:] + done.stderr[-800:] or "it failed"


def collecting_fails(arguments: list[str]) -> str:
    """Return the output of pytest if it finds no test with these arguments."""
    unblessed = [argument for argument in arguments if argument != "--bless"]
    return fails(sys.executable, "-m", "pytest", "--collect-only", "-q", *unblessed)


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_command_is_there(command: str) -> None:
    """Quick commands are executed. Of the others, everything that they name must exist."""
    assign = re.compile(r"(\w+)=\S+")
    arguments = [word for word in shlex.split(command) if not assign.fullmatch(word)]
    match arguments:
        case ["pytest", *rest]:
            problem = collecting_fails(rest)
        case ["tests/run", *rest]:
            problem = "" if os.access(ROOT / "tests/run", os.X_OK) else "it is not executable"
            rest = [word for word in rest if word not in ("quick", "--no-install")]
            problem = problem or (collecting_fails(rest) if rest else "")
        case ["python", "-m", module, *_]:
            problem = "" if importlib.util.find_spec(module) else f"there is no module {module}"
        case ["vmcfg", name, *rest]:
            assert name in COMMANDS
            problem = fails(sys.executable, "-m", "vmcfg", name, "--help")
            problem += "".join(
                f"there is no {word}" for word in rest if "/" in word and not (ROOT / word).exists()
            )
        case ["git", verb, *_]:
            problem = "" if verb in ("diff", "tag") else "use only the Git commands diff and tag"
        case [".", script]:
            problem = "" if script.startswith(".venv-tests/") else f"{script} is not there"
        case _:
            problem = "this test does not know this program: add it"
    assert not problem, f"CONTRIBUTING.md: '{command}': {problem}"


def test_every_room_is_in_the_table_in_the_order_of_the_list() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \|", TEXT)
    rooms = [room for room in ROOMS if room not in ("", "__main__")]
    assert rows == rooms, (
        "CONTRIBUTING.md: the table of rooms must have a row for each room, in the order of ROOMS"
        " in tests/test_rooms.py"
    )


def test_every_variable_of_the_tests_is_explained() -> None:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    asked = set(re.findall(r"environ\.get\(\"(VMCFG_\w+)\"", "".join(sources)))
    named = set(re.findall(r"VMCFG_[A-Z_]+", TEXT))
    assert named == asked, (
        f"CONTRIBUTING.md: explain {sorted(asked - named)}, and remove {sorted(named - asked)}"
    )


# Files next to it ---------------------------------------------------------------------------------


def test_the_top_level_has_what_belongs_there() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        not_here("this is not a checkout")
    listed = subprocess.run(
        [git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    top = {line.partition("/")[0] for line in listed.splitlines()}
    folders = {"vmcfg", "schemas", "tests", "sample-configs", "fleet", ".ci", ".github"}
    files = {"pyproject.toml", "LICENSE", ".gitignore", ".pre-commit-hooks.yaml"}
    pages = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"}
    assert top <= folders | files | pages | {"REFERENCE.md"}, (
        "tests/test_contributing.py lists the top level of the repository: move the new"
        " file into a folder, or add it to the list"
    )


CHOOSER = ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted(set(CHOOSER.parent.glob("*.yml")) - {CHOOSER})


def test_the_chooser_of_issue_forms_is_one_as_github_reads_it() -> None:
    assert set(yaml.safe_load(CHOOSER.read_text())) == {"blank_issues_enabled"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_form_is_one_as_github_reads_it(form: Path) -> None:
    read = yaml.safe_load(form.read_text())
    assert set(read) == {"name", "description", "body"}
    inputs = [item for item in read["body"] if item["type"] != "markdown"]
    assert inputs, "a form must have an input"
    for item in read["body"]:
        assert item["type"] in ("markdown", "input", "textarea", "dropdown", "checkboxes")
        assert set(item) <= {"type", "id", "attributes", "validations"}
    for item in inputs:
        assert re.fullmatch(r"[a-z-]+", item["id"])
        assert item["attributes"]["label"]
    ids = [item["id"] for item in inputs]
    assert len(set(ids)) == len(ids)


# tests/run ----------------------------------------------------------------------------------------

SCRIPTS = ("tests/run", "tests/raise-pins", "tests/benchmarks/run", ".ci/run")


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing_in_a_script(program: Callable[[str], str], script: str) -> None:
    done = subprocess.run(
        [program("shellcheck"), script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


class Checkout:
    """A copy of the files that tests/run reads, and a directory of programs that is the PATH."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.programs = folder / "programs"
        self.log = folder / "log"
        (self.root / "tests").mkdir(parents=True)
        for name in ("pyproject.toml", "tests/run", "tests/constraints.txt"):
            shutil.copy(ROOT / name, self.root / name)
        self.programs.mkdir()
        for name in ("dirname", "cat"):
            (self.programs / name).symlink_to(shutil.which(name) or name)

    def add(self, path: Path, body: str = "") -> None:
        """Add a program that records its arguments and then executes `body`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "{path.name} $*" >>"{self.log}"\n{body}\n')
        path.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "tests/run", *arguments],
            cwd=self.root,
            env={"PATH": str(self.programs)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def called(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def installed(checkout: Checkout) -> Checkout:
    """Return a checkout that has its environment."""
    venv = checkout.root / ".venv-tests"
    for name in ("python", "ruff", "mypy"):
        checkout.add(venv / "bin" / name)
    made_from = [checkout.root / name for name in ("pyproject.toml", "tests/constraints.txt")]
    (venv / "made-from").write_text("".join(path.read_text() for path in made_from))
    return checkout


def debian_packages() -> dict[str, list[str]]:
    """Return the programs that tests/run searches for, each with its packages."""
    script = (ROOT / "tests" / "run").read_text()
    listed = script.partition("<<'END'\n")[2].partition("END\n")[0]
    return {program: packages for program, *packages in map(str.split, listed.splitlines())}


def test_nothing_is_installed_where_nothing_may_be(checkout: Checkout) -> None:
    """Without any program, everything is listed and nothing is created."""
    checkout.add(checkout.programs / "apt-get")
    done = checkout.run("--no-install")
    packages = [package for each in debian_packages().values() for package in each]
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "tests/run: missing:\n"
        f"  Debian packages: {' '.join(packages)}\n"
        "  Python packages: those of tests/constraints.txt, in .venv-tests\n"
    )
    assert checkout.called() == []
    assert not (checkout.root / ".venv-tests").exists()


def test_the_short_loop_needs_no_debian_package(checkout: Checkout) -> None:
    done = checkout.run("quick", "--no-install")
    assert done.returncode == 3
    assert "Debian" not in done.stderr


def test_what_is_there_runs_without_an_installation(installed: Checkout) -> None:
    done = installed.run("--no-install", "quick", "-k", "a b")
    assert done.returncode == 0, done.stderr
    assert installed.called() == [
        "ruff format --check .",
        "ruff check .",
        "mypy ",
        "python -m pytest -n auto -m not slow --ignore tests/kvm -k a b",
    ]


def test_a_failure_of_a_test_is_one_of_the_whole(installed: Checkout) -> None:
    python = installed.root / ".venv-tests" / "bin" / "python"
    for body, code in (("case $* in *'-n auto'*) exit 1 ;; esac", 1), ("", 0)):
        installed.add(python, body)
        assert installed.run().returncode == code
        words = "python -m pytest -n auto --dist loadgroup tests/kvm tests"
        assert installed.called()[-1] == words


def test_debian_packages_are_printed_before_they_are_installed(installed: Checkout) -> None:
    installed.add(installed.programs / "apt-get", "echo apt-get was called")
    installed.add(installed.programs / "id", "echo 0")
    lines = installed.run().stdout.splitlines()
    printed = next(line for line in lines if "zsh" in line)
    assert printed.startswith("== installing Debian packages: ")
    assert lines.index(printed) < lines.index("apt-get was called")
    called = [line for line in installed.called() if line.startswith("apt-get")]
    assert called[0] == "apt-get -qq update"
    for package in printed.partition(": ")[2].split():
        assert any(line.endswith(f" {package}") for line in called[1:]), package


def test_a_user_who_may_not_install_is_told_what_is_not_tested(installed: Checkout) -> None:
    installed.add(installed.programs / "id", "echo 1000")
    done = installed.run()
    assert done.returncode == 0
    assert "NOT INSTALLED, so tests that need them are skipped: python3" in done.stderr


def test_changed_pins_are_installed(installed: Checkout) -> None:
    (installed.root / "tests" / "constraints.txt").write_text("pytest==1\n")
    done = installed.run("--no-install")
    assert done.returncode == 3
    assert "those of tests/constraints.txt" in done.stderr


def test_every_program_that_a_test_asks_for_is_installed() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").glob("*.py"))
    asked = set(re.findall(r"\bprogram\(\"([\w-]+)\"\)", sources)) - {"bash", "x"}
    missing = asked - set(debian_packages())
    assert not missing, f"tests/run does not install {sorted(missing)}: add them to its list"


def test_every_dependency_is_pinned() -> None:
    group = (ROOT / "pyproject.toml").read_text().partition("dev = [")[2].partition("]\n")[0]
    names = re.findall(r'(?m)^    "([\w-]+)', group)
    pins = (ROOT / "tests" / "constraints.txt").read_text()
    missing = [
        name for name in names if not re.search(rf"(?mi)^{re.sub('[-_]', '[-_]', name)}==", pins)
    ]
    assert not missing, f"tests/constraints.txt lacks {missing}: run tests/raise-pins"
