"""Every format of emit and diff, in real processes: full disks, closed pipes, odd names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
RIGHT = (ROOT / "sample-configs" / "minimal.yaml").read_bytes()
LARGE = b"vmcfg: 1\nname: vm\nvcpus: 512\npmu: {irq: 23}\n"
EMITTED = (
    "emit --format sh",
    "emit --format c",
    "emit --format c --main",
    "emit --format json",
    "emit --format jsonl --scope vm",
    "emit --comments",
)
ODD_NAMES = (
    "a b.yaml",
    "new\nline.yaml",
    "-dash.yaml",
    "für */ $(exit).yaml",
    "\x1b[31m'\".yaml",
    "e\u202evil.yaml",
)
C_LOCALE = {
    "LC_ALL": "C",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
}

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a function that runs a script in a directory with descriptions; in it, the function
    `vmcfg` runs this vmcfg.
    """
    (tmp_path / "right.yaml").write_bytes(RIGHT)
    (tmp_path / "other.yaml").write_bytes(RIGHT.replace(b"23", b"22"))
    (tmp_path / "large.yaml").write_bytes(LARGE)
    (tmp_path / "larger.yaml").write_bytes(LARGE.replace(b"23", b"22"))

    def run(
        script: str, *arguments: str, shell: str = "sh", **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        python = f'vmcfg() {{ "{sys.executable}" -m vmcfg "$@"; }}\n'
        return subprocess.run(
            [shell, "-c", python + script, "sh", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            capture_output=True,
            timeout=120,
        )

    return run


WRITING = (*(f"{command} right.yaml" for command in EMITTED), *(f"diff {each}" for each in (
    "right.yaml other.yaml", "--format json right.yaml other.yaml", "--format json right.yaml "
                                                                    "right.yaml"
)))  # fmt: skip
FROM_GIT = "diff --git edge.yaml right.yaml 0 100644 other.yaml 1 100644"


@pytest.mark.parametrize("command", [*WRITING, FROM_GIT])
def test_a_full_disk_is_a_failure_in_one_line(shell: Shell, command: str) -> None:
    done = shell(f"vmcfg {command} >/dev/full")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr == b"vmcfg: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("command", WRITING)
def test_a_closed_standard_output_is_a_failure(shell: Shell, command: str) -> None:
    done = shell(f"vmcfg {command} >&-")
    assert done.returncode == 3
    assert done.stderr == b"vmcfg: cannot write to standard output: it is closed\n"


@pytest.mark.parametrize(
    "command",
    [*(f"{each} large.yaml" for each in EMITTED), "diff --format json large.yaml larger.yaml"],
)
def test_a_reader_that_has_seen_enough_ends_it_silently(shell: Shell, command: str) -> None:
    done = shell(f"{{ vmcfg {command}; echo $? >&2; }} | head -1 | wc -l")
    assert done.stdout.split() == [b"1"]
    # 141 if the rest did not fit into the pipe.
    assert done.stderr == b"141\n"


@pytest.mark.parametrize("command", EMITTED)
def test_an_output_file_is_whole_or_untouched(shell: Shell, tmp_path: Path, command: str) -> None:
    printed = shell(f"vmcfg {command} right.yaml").stdout
    assert printed
    done = shell(f"vmcfg {command} right.yaml -o 'the plan'")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"1 of 1 file changed\n")
    assert (tmp_path / "the plan").read_bytes() == printed
    (tmp_path / "wrong.yaml").write_bytes(RIGHT.replace(b"23", b"8"))
    assert shell(f"vmcfg {command} wrong.yaml -o 'the plan'").returncode == 1
    assert (tmp_path / "the plan").read_bytes() == printed
    # A directory in which nobody can create a file, not even root.
    done = shell(f"vmcfg {command} right.yaml -o /sys/plan")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"vmcfg: cannot write /sys/plan: ")
    assert done.stderr.count(b"\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("command", EMITTED)
def test_the_same_bytes_in_every_locale(shell: Shell, tmp_path: Path, command: str) -> None:
    (tmp_path / "für.yaml").write_bytes(RIGHT)
    plain = shell(f"vmcfg {command} 'für.yaml'", PYTHONUTF8="1")
    narrow = shell(f"vmcfg {command} 'für.yaml'", **C_LOCALE)
    assert plain.returncode == narrow.returncode == 0
    if command != "emit --comments":
        assert plain.stdout == narrow.stdout
    assert narrow.stdout.isascii()


def make(path: Path) -> None:
    """Write a valid description at `path`; if the name contains a slash, in its own directory."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(RIGHT)


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_files_name_forges_nothing(shell: Shell, tmp_path: Path, name: str) -> None:
    """In every format, the name is on one line, escaped."""
    make(tmp_path / name)
    for command in EMITTED:
        usual = shell(f"vmcfg {command} right.yaml")
        odd = shell(f'vmcfg {command} -- "$1"', name)
        assert (odd.returncode, odd.stderr) == (0, b"")
        assert odd.stdout.count(b"\n") == usual.stdout.count(b"\n")
        assert b"\x1b" not in odd.stdout
        assert "\u202e".encode() not in odd.stdout
    for command in ("diff -- other.yaml", "diff --format json -- other.yaml"):
        usual = shell(f"vmcfg {command} right.yaml")
        odd = shell(f'vmcfg {command} "$1"', name)
        assert (odd.returncode, odd.stderr) == (1, b"")
        assert odd.stdout.count(b"\n") == usual.stdout.count(b"\n")
        assert b"\x1b" not in odd.stdout
    git = shell('vmcfg diff --git -- "$1" right.yaml 0 100644 other.yaml 1 100644', name)
    assert (git.returncode, git.stdout.count(b"\n")) == (0, 3)
    unmerged = shell('vmcfg diff --git -- "$1"', name)
    assert (unmerged.returncode, unmerged.stdout.count(b"\n")) == (0, 1)


def test_a_plan_with_an_odd_name_is_performed(shell: Shell, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        make(tmp_path / name)
        done = shell(
            'vmcfg emit --format sh -o plan.sh -- "$1" 2>&-; vmcfg_set_attr() { echo "$2"; }; . '
            "./plan.sh",
            name,
        )
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            b"vcpu:0\nvcpu:1\nvcpu:0\nvcpu:1\n",
            b"",
        )


def test_pipes_are_read_as_files_are(shell: Shell, program: Callable[[str], str]) -> None:
    done = shell(
        "vmcfg diff <(cat right.yaml) <(cat other.yaml) | wc -l; vmcfg emit <(cat right.yaml)",
        shell=program("bash"),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split(b"\n")[0] == b"2"
    assert done.stdout.split(b"\n", 1)[1] == shell("vmcfg emit right.yaml").stdout


def test_a_file_that_is_gone_is_a_failure(shell: Shell) -> None:
    for command in (*EMITTED, "diff right.yaml"):
        done = shell(f"vmcfg {command} gone.yaml")
        assert (done.returncode, done.stdout) == (3, b"")
        assert done.stderr == b"vmcfg: cannot read gone.yaml: No such file or directory\n"


def test_diff_colors_findings_when_asked(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_bytes(RIGHT.replace(b"23", b"8"))
    for option, colored in (("", False), ("--color always", True), ("--color never", False)):
        done = shell(f"vmcfg diff {option} right.yaml wrong.yaml")
        assert done.returncode == 3
        assert (b"\x1b[" in done.stderr) == colored
