"""Reading and writing: bounds, links, full disks, and what a replaced file keeps."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import FOREIGN, ROOT, Vmcfg
from vmcfg import files, writing
from vmcfg.cli import COMMANDS

RIGHT = "vmcfg: 1\nname: vm\nvcpus: 2\npmu: {irq: 23}\n"
FIXABLE = "vmcfg: 1\nnaem: vm\nvcpus: 2\n"

Done = subprocess.CompletedProcess[str]


def vmcfg(
    *args: str, cwd: Path, stdout: int = subprocess.PIPE, stdin: int = subprocess.DEVNULL
) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


# What the tests start -----------------------------------------------------------------------------


def test_nothing_from_outside_reaches_the_tests() -> None:
    outside = dict.fromkeys(
        ("PYTHONUNBUFFERED", "GIT_DIR", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LC_ALL"), "1"
    )
    script = "import os, tests.conftest; print(*os.environ)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **outside, "XDG_CACHE_HOME": "/x", "VMCFG_TRACEBACK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    left = done.stdout.split()
    assert "PATH" in left
    assert [name for name in left if name.startswith(FOREIGN)] == []
    assert "VMCFG_TRACEBACK" not in left


# A full disk --------------------------------------------------------------------------------------


HELP = [[name, "--help"] for name in COMMANDS]


@pytest.mark.parametrize(
    "args",
    [
        *HELP,
        ["--help"],
        ["-h"],
        ["--version"],
        ["validate", "--color", "always", "fixable.yaml"],
        ["validate", "--format", "json", "right.yaml"],
        ["emit", "right.yaml"],
        ["show", "right.yaml"],
        ["example"],
        ["example", "minimal"],
        ["explain"],
        ["explain", "VMC504"],
        ["decode", "23"],
        ["schema", "vm"],
        ["diff", "right.yaml", "other.yaml"],
        ["probe", "--script"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_one_sentence(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(RIGHT)
    (tmp_path / "other.yaml").write_text(RIGHT.replace("23", "24"))
    (tmp_path / "fixable.yaml").write_text(FIXABLE)
    with open("/dev/full", "w") as full:
        done = vmcfg(*args, cwd=tmp_path, stdout=full.fileno())
    assert done.stderr == "vmcfg: cannot write to standard output: No space left on device\n"
    assert done.returncode == 3


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["validate", "/dev/zero"],
        ["emit", "/dev/zero"],
        ["show", "/dev/zero"],
        ["diff", "/dev/zero", "right.yaml"],
        ["diff", "right.yaml", "/dev/zero"],
        ["validate", "right.yaml", "--host", "/dev/zero"],
        ["try", "/dev/zero"],
    ],
    ids=" ".join,
)
def test_an_endless_file_is_not_read(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(RIGHT)
    done = vmcfg(*args, cwd=tmp_path)
    assert done.stderr == "vmcfg: cannot read /dev/zero: it is larger than 16 MiB\n"
    assert done.returncode == 3


def test_an_endless_line_of_a_plan_is_not_read(tmp_path: Path) -> None:
    done = vmcfg("try", "--plan", "/dev/zero", cwd=tmp_path)
    assert done.stderr == "vmcfg: cannot read /dev/zero: line 1 exceeds 1 MiB\n"
    assert done.returncode == 3


def test_of_endless_standard_input_only_a_plan_is_read(tmp_path: Path) -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as yes:
        assert yes.stdout is not None
        done = vmcfg("try", "--plan", "-", cwd=tmp_path, stdin=yes.stdout.fileno())
        yes.kill()
    assert done.stderr == (
        "vmcfg: <stdin> is not a plan in JSON Lines;"
        " run 'vmcfg emit --scope vm --format jsonl' to create one\n"
    )
    assert done.returncode == 3


def test_only_the_lines_of_a_plan_are_limited(tmp_path: Path) -> None:
    longest = b"x" * (files.MOST_BYTES_OF_LINE - 1) + b"\n"
    plan = tmp_path / "plan"
    plan.write_bytes(longest * 20)
    assert list(files.lines(str(plan))) == [longest] * 20
    plan.write_bytes(b"\n" + b"x" + longest)
    with pytest.raises(files.NoFile, match="line 2 exceeds 1 MiB"):
        list(files.lines(str(plan)))


def test_the_greatest_file_is_read(tmp_path: Path) -> None:
    filler = "#" + " " * 63 + "\n"
    lines = files.MOST_BYTES // len(filler)
    text = RIGHT.ljust(len(filler) - 1) + "\n"
    (tmp_path / "great.yaml").write_text(text + filler * (lines - 1))
    assert (tmp_path / "great.yaml").stat().st_size > files.MOST_BYTES - len(filler)
    assert files.read(str(tmp_path / "great.yaml")).startswith(b"vmcfg: 1\n")
    with (tmp_path / "great.yaml").open("a") as file:
        file.write(filler)
    with pytest.raises(files.NoFile, match="larger than 16 MiB"):
        files.read(str(tmp_path / "great.yaml"))


def test_a_circle_of_links_hides_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RIGHT.replace("name", "nmae"))
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    (tmp_path / "nowhere.yaml").symlink_to("absent")
    (tmp_path / "folder").symlink_to("folder")
    (tmp_path / "z.yaml").write_text(RIGHT.replace("name", "nmae"))
    done = vmcfg("validate", "--format", "concise", ".", cwd=tmp_path)
    places = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert dict.fromkeys(places) == dict.fromkeys(["./a.yaml", "./z.yaml"])
    assert done.stderr == (
        "vmcfg: cannot read ./circle.yaml: Too many levels of symbolic links\n"
        "vmcfg: cannot read ./nowhere.yaml: No such file or directory\n"
    )
    assert done.returncode == 3


# Writing ------------------------------------------------------------------------------------------


def test_a_plan_replaces_no_description(tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(RIGHT)
    (tmp_path / "other.yaml").write_text(RIGHT)
    done = vmcfg("emit", "right.yaml", "-o", "other.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "Error: -o other.yaml is a description, which the plan would replace."
    )
    assert (tmp_path / "other.yaml").read_text() == RIGHT
    assert vmcfg("emit", "right.yaml", "-o", "", cwd=tmp_path).stderr.splitlines()[-1] == (
        "Error: -o requires the name of a file."
    )


@pytest.mark.parametrize("format_", ["text", "json", "jsonl", "sh", "c"])
def test_a_plan_replaces_a_plan(format_: str, tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(RIGHT.replace("23", "24"))
    for _ in range(2):
        args = ("emit", "--format", format_, "right.yaml", "-o", "plan")
        assert vmcfg(*args, cwd=tmp_path).returncode == 0


def test_a_replaced_file_keeps_what_it_can(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o640)
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(target, 1234, 2345)
    has_attributes = True
    try:
        os.setxattr(target, "user.note", b"kept")
    except OSError:
        has_attributes = False  # some file systems have no extended attributes
    writing.write(str(target), b"new")
    written = target.stat()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(written.st_mode) == 0o640
    if is_root:
        assert (written.st_uid, written.st_gid) == (1234, 2345)
    if has_attributes:
        assert os.getxattr(target, "user.note") == b"kept"
    assert os.listdir(tmp_path) == ["target"]


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        writing.write(str(tmp_path / "new"), b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


INTERRUPTED = """
import os, signal, sys
removed = os.unlink
from vmcfg import cli, writing
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, cli._interrupted)
def interrupt(*args):
    os.kill(os.getpid(), int(sys.argv[2]))
    while True: pass
def removal(path):
    for again in sys.argv[3:]:
        os.kill(os.getpid(), int(again))
    removed(path)
os.fsync, os.unlink = interrupt, removal
writing.write(sys.argv[1], b"new")
"""

INT, TERM = int(signal.SIGINT), int(signal.SIGTERM)


@pytest.mark.parametrize(
    "numbers", [(INT,), (TERM,), (INT, INT), (INT, TERM), (TERM, INT)], ids=str
)
def test_an_interrupted_write_leaves_nothing(numbers: tuple[int, ...], tmp_path: Path) -> None:
    """Signals after the first come while the temporary file is being removed."""
    (tmp_path / "target").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "target"), *map(str, numbers)],
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 128 + numbers[0]
    assert os.listdir(tmp_path) == ["target"]
    assert (tmp_path / "target").read_text() == "old"


# Sources, of which the first part is read first ---------------------------------------------------


HEAD = files.BYTES_OF_HEAD
CONTENTS = {
    "nothing": b"",
    "no line feed": b"x",
    "short lines": b"a\n\nb\n",
    "a line that ends the first part": b"x" * (HEAD - 1) + b"\ny\n",
    "a line across the first part": b"x\n" + b"y" * HEAD + b"\nz",
    "a line after the first part": b"x" * HEAD + b"\ny",
    "many lines": b"0123456\n" * HEAD,
    "the longest line": b"x" * (files.MOST_BYTES_OF_LINE - 1) + b"\ny",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_source_is_read_once_from_its_first_byte(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(content)
    with files.opened(str(path)) as source:
        assert source.head == content[:HEAD]
        assert source.read() == content
    with files.opened(str(path)) as source:
        assert list(source.lines()) == content.splitlines(keepends=True)
    assert list(files.lines(str(path))) == content.splitlines(keepends=True)


def test_a_line_of_a_source_that_is_too_long_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"x\n" + b"y" * (files.MOST_BYTES_OF_LINE + 1))
    with files.opened(str(path)) as source, pytest.raises(files.NoFile) as raised:
        list(source.lines())
    assert str(raised.value) == f"cannot read {path}: line 2 exceeds 1 MiB"


def test_a_source_that_is_too_large_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "source"
    for size, is_readable in ((files.MOST_BYTES, True), (files.MOST_BYTES + 1, False)):
        with path.open("wb") as file:
            file.truncate(size)
        with files.opened(str(path)) as source:
            if is_readable:
                assert len(source.read()) == size
            else:
                with pytest.raises(files.NoFile, match="is larger than 16 MiB"):
                    source.read()


def test_a_file_is_on_the_disk_before_it_replaces_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        calls.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def replaced(source: str, target: str) -> None:
        calls.append(("replace", os.path.getsize(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    writing.write(str(tmp_path / "target"), b"12345")
    assert calls == [("fsync", 5), ("replace", 5)]


def test_many_files_are_on_the_disk_before_they_replace_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flush for a hundred files: those after it have another one."""
    calls = []
    flush, replace = writing._flush, os.replace

    def flushed(folders: Sequence[str]) -> None:
        calls.append(f"flush of {len(folders)}")
        flush(folders)

    def replaced(source: str, target: str) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(writing, "_flush", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    contents = {str(tmp_path / f"{number:04}"): b"%d" % number for number in range(103)}
    assert list(writing.write_many(contents.items())) == []
    assert calls == ["flush of 100", *["replace"] * 100, "flush of 3", *["replace"] * 3]
    assert {str(path): path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_writing_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    writing.write(str(tmp_path / "one"), b"text")
    names = ["two", "three", "none/file"]
    reasons = list(writing.write_many((str(tmp_path / name), b"text") for name in names))
    assert len(reasons) == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_cannot_be_written_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    names = ["first", "folder", "none/file", "last"]
    contents = [(str(tmp_path / name), b"new") for name in names]
    reasons = [str(reason) for reason in writing.write_many(contents)]
    assert reasons == [
        f"cannot write {tmp_path}/folder: Is a directory",
        f"cannot write {tmp_path}/none/file: No such file or directory",
    ]
    assert sorted(os.listdir(tmp_path)) == ["first", "folder", "last"]
    assert (tmp_path / "last").read_bytes() == b"new"


def test_a_disk_that_cannot_be_flushed_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("old")

    def refused(folders: Sequence[str]) -> None:
        raise files.NoFile("cannot write to the disk")

    monkeypatch.setattr(writing, "_flush", refused)
    with pytest.raises(files.NoFile):
        list(writing.write_many([(str(tmp_path / name), b"new") for name in ("old", "other")]))
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    for data in (b"old", b"new"):
        writing.write(str(target), data)
        assert target.read_bytes() == data


def test_a_temporary_file_is_readable_only_by_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file may have a mode that nobody else can read; the new one has it from the start."""
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o640)
    modes = []
    opened = os.open

    def noted(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", noted)
    writing.write(str(target), b"new")
    assert modes == [0o600]


@pytest.mark.parametrize("old", [True, False])
def test_a_directory_that_is_not_writable_is_named_as_the_cause(
    old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    if old:
        target.write_text("old")

    def refused(path: str, flags: int, mode: int = 0o777) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(files.NoFile) as raised:
        writing.write(str(target), b"new")
    assert str(raised.value) == f"cannot write {target}: its directory is not writable"


def test_a_plan_does_not_replace_its_own_description(vmcfg_here: Vmcfg) -> None:
    Path("vm.yaml").write_text(RIGHT)
    code, output, errors = vmcfg_here("emit", "vm.yaml", "-o", "./vm.yaml")
    assert (code, output) == (2, "")
    assert "Error: -o ./vm.yaml is the description itself.\n" in errors
    assert Path("vm.yaml").read_text() == RIGHT
