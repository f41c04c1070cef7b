"""`vmcfg emit` of many descriptions: all or nothing, whole files, and which ones are stale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_schema import matches
from vmcfg.formats.registry import FORMATS
from vmcfg.writing import AT_ONCE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
RIGHT = "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 23\n"
WRONG = RIGHT.replace("23", "7")
LIST = ".vmcfg-emit.json"
MANY = 200
"""Enough for several processes with several chunks each."""

Emit = Callable[..., subprocess.CompletedProcess[str]]


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start `vmcfg emit` in its own process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "vmcfg", "emit", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def emit(tmp_path: Path) -> Emit:
    """Return a function that runs `vmcfg emit` next to two descriptions in the directory vms."""
    write(tmp_path, "a")
    write(tmp_path, "lab/b")

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        process = started(*arguments, cwd=tmp_path)
        out, err = process.communicate(text, timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run


def write(folder: Path, name: str, text: str = RIGHT) -> Path:
    path = folder / "vms" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("name: vm", f"name: {path.stem}"))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a directory, by its name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def listed(folder: Path) -> list[tuple[str, str]]:
    found = matches("emitted", (folder / LIST).read_text())
    return [(each["file"], each["format"]) for each in found["files"]]


def usage(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a usage error on one line."""
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.partition("Error: ")[2].strip()


def test_each_description_becomes_a_file_as_if_emitted_alone(emit: Emit, tmp_path: Path) -> None:
    done = emit("vms", "-o", "plans/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 of 2 files changed\n")
    alone = {f"{name}.plan": emit(f"vms/{name}.yaml").stdout.encode() for name in ("a", "lab/b")}
    found = tree(tmp_path / "plans")
    assert alone == {name: data for name, data in found.items() if name != LIST}
    assert listed(tmp_path / "plans") == [("a.plan", "text"), ("lab/b.plan", "text")]


SUFFIXES = {
    "text": "plan",
    "json": "json",
    "jsonl": "jsonl",
    "sh": "sh",
    "c": "c",
    "qemu": "qemu",
    "libvirt": "xml",
    "dts": "dts",
    "madt": "madt.dsl",
    "gtdt": "gtdt.dsl",
}


def test_every_format_has_a_suffix() -> None:
    assert list(SUFFIXES) == list(FORMATS)


@pytest.mark.parametrize(("format_", "suffix"), SUFFIXES.items())
def test_the_suffix_is_that_of_the_format(
    emit: Emit, tmp_path: Path, format_: str, suffix: str
) -> None:
    sample = (ROOT / "sample-configs" / "qemu-virt.yaml").read_text()
    (tmp_path / "vms/a.yaml").write_text(sample)
    assert emit("vms/a.yaml", "-o", "out/", "--format", format_).returncode == 0
    assert listed(tmp_path / "out") == [(f"a.{suffix}", format_)]


def test_emitted_files_name_the_description_below_the_path(emit: Emit, tmp_path: Path) -> None:
    """The bytes do not depend on where vmcfg runs, or on how its argument is written."""
    assert emit("vms", "-o", "one/", "--comments").returncode == 0
    assert emit(str(tmp_path / "vms"), "-o", "two/", "--comments").returncode == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert b" lab/b.yaml:5:14 " in (tmp_path / "one/lab/b.plan").read_bytes()


def test_an_equal_file_is_left_alone(emit: Emit, tmp_path: Path) -> None:
    emit("vms", "-o", "plans/")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "plans").rglob("*")}
    write(tmp_path, "a", RIGHT.replace("23", "22"))
    assert emit("vms", "-o", "plans").stderr == "1 of 2 files changed\n"
    changed = {path for path, time_ in times.items() if path.stat().st_mtime_ns != time_}
    assert changed - {tmp_path / "plans"} == {tmp_path / "plans" / "a.plan"}
    assert emit("vms/a.yaml", "-o", "plans/a.plan").stderr == "0 of 1 file changed\n"


def test_if_one_has_an_error_nothing_is_written(emit: Emit, tmp_path: Path) -> None:
    emit("vms", "-o", "plans/")
    before = tree(tmp_path / "plans")
    write(tmp_path, "a", RIGHT.replace("23", "22"))
    write(tmp_path, "lab/b", WRONG)
    done = emit("vms", "-o", "plans/", "--prune")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vms/lab/b.yaml:5:14: error[VMC504] ")
    assert done.stderr.endswith("help: vmcfg explain VMC504\n")
    assert tree(tmp_path / "plans") == before
    assert emit("vms", "-o", "new/").returncode == 1
    assert not (tmp_path / "new").exists()
    assert emit("vms", "-o", "plans/", "--unchecked").returncode == 0
    (tmp_path / "vms/c.yaml").symlink_to("gone")
    done = emit("vms", "-o", "plans/")
    assert done.returncode == 3
    assert "vmcfg: cannot read vms/c.yaml: No such file or directory\n" in done.stderr


def test_warnings_prevent_it_only_if_strict(emit: Emit, tmp_path: Path) -> None:
    write(tmp_path, "a", RIGHT.replace("name: vm", "name: b"))
    done = emit("vms", "-o", "plans/")
    assert (done.returncode, done.stderr.count("warning[VMC724]")) == (0, 1)
    assert emit("vms", "-o", "strict/", "--strict").returncode == 1
    assert not (tmp_path / "strict").exists()


def test_two_descriptions_of_one_file_are_a_usage_error(emit: Emit, tmp_path: Path) -> None:
    (tmp_path / "vms/a.yml").write_text(RIGHT)
    message = "vms/a.yaml and vms/a.yml would be written to plans/a.plan."
    assert usage(emit("vms", "-o", "plans/")) == message
    write(tmp_path, "other/a")
    message = "vms/a.yaml and vms/other/a.yaml would be written to plans/a.plan."
    assert usage(emit("vms/other/a.yaml", "vms/a.yaml", "-o", "plans/")) == message
    write(tmp_path, "lab.plan/c")
    write(tmp_path, "lab")
    message = "vms/lab.yaml and vms/lab.plan/c.yaml require plans/lab.plan as a file and as a"
    assert usage(emit("vms", "-o", "plans/", "--exclude", "a.y*ml")) == f"{message} directory."
    # One file under two names is one description.
    assert emit("vms/lab", "vms/lab/b.yaml", "vms/../vms/lab", "-o", "plans/").returncode == 0


def test_the_output_must_be_a_folder_that_exists_or_ends_in_a_slash(
    emit: Emit, tmp_path: Path
) -> None:
    needed = "Several descriptions, or a directory of them, require -o DIRECTORY/."
    assert usage(emit("vms/a.yaml", "vms/lab/b.yaml")) == needed
    assert usage(emit("vms", "-o", "-")) == needed
    assert usage(emit("vms", "--check")) == needed
    missing = "-o plans does not exist; to create a directory, write 'plans/'."
    assert usage(emit("vms", "-o", "plans")) == missing
    assert usage(emit("vms", "-o", "vms/a.yaml")) == "-o vms/a.yaml is not a directory."
    assert usage(emit("vms", "-o", "p/", "--check", "--prune")).startswith("--check cannot")
    assert usage(emit("vms/a.yaml", "-o", "p", "--prune")) == "--prune requires -o DIRECTORY/."
    assert usage(emit("vms/a.yaml", "--check")).startswith("--check requires -o: ")
    empty = emit("vms/lab", "-o", "plans/", "--exclude", "*.yaml")
    assert (empty.returncode, empty.stderr) == (
        3,
        "vmcfg: nothing to emit: no *.yaml or *.yml files found\n",
    )
    assert not (tmp_path / "plans").exists()


def test_standard_input_needs_a_name(emit: Emit, tmp_path: Path) -> None:
    for names in ([], ["--stdin-filename", "lab/.."], ["--stdin-filename", "lab/"]):
        assert "require --stdin-filename" in usage(emit("-", "-o", "p/", *names, text=RIGHT))
    assert emit("-", "vms", "-o", "p/", "--stdin-filename", "q/c.yaml", text=RIGHT).returncode == 0
    assert sorted(tree(tmp_path / "p")) == [LIST, "a.plan", "c.plan", "lab/b.plan"]


def test_a_description_is_never_replaced(emit: Emit, tmp_path: Path) -> None:
    (tmp_path / "vms/a.plan").write_text(RIGHT)
    done = emit("vms/a.yaml", "-o", "vms")
    assert done.returncode == 3
    assert done.stderr == "vmcfg: cannot write vms/a.plan: it is a description\n"
    assert (tmp_path / "vms/a.plan").read_text() == RIGHT


# --check and --prune ------------------------------------------------------------------------------


def test_check_says_what_is_stale_missing_and_left_over(emit: Emit, tmp_path: Path) -> None:
    emit("vms", "-o", "plans/")
    done = emit("vms", "-o", "plans", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    write(tmp_path, "a", RIGHT.replace("23", "22"))
    write(tmp_path, "c")
    (tmp_path / "vms/lab/b.yaml").unlink()
    (tmp_path / "plans/mine.plan").write_text("not written by vmcfg\n")
    before = tree(tmp_path)
    done = emit("vms", "-o", "plans", "--check")
    line = "set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32"
    assert done.stdout.splitlines() == [
        f"plans/a.plan:1: stale: '{line} 23' instead of '{line} 22' (vms/a.yaml:5:14)",
        "plans/c.plan: missing: run 'vmcfg emit' (vms/c.yaml)",
        "plans/lab/b.plan: left over: no description produces it; '--prune' removes it",
    ]
    assert (done.returncode, done.stderr) == (1, "")
    assert tree(tmp_path) == before


def test_only_prune_removes_what_is_left_over(emit: Emit, tmp_path: Path) -> None:
    emit("vms", "-o", "plans/")
    emit("vms", "-o", "plans/", "--format", "jsonl")
    (tmp_path / "vms/lab/b.yaml").unlink()
    (tmp_path / "plans/mine.plan").write_text("not written by vmcfg\n")
    assert emit("vms", "-o", "plans/").returncode == 0
    assert (tmp_path / "plans/lab/b.plan").exists()
    assert emit("vms", "-o", "plans/", "--prune").stderr == "0 of 1 file changed, 1 removed\n"
    # Files of another format are those of another run.
    assert sorted(tree(tmp_path / "plans")) == [
        LIST,
        "a.jsonl",
        "a.plan",
        "lab/b.jsonl",
        "mine.plan",
    ]
    emit("vms", "-o", "plans/", "--prune", "--format", "jsonl")
    assert not (tmp_path / "plans/lab").exists()
    assert listed(tmp_path / "plans") == [("a.jsonl", "jsonl"), ("a.plan", "text")]


def test_a_name_that_is_not_utf_8_is_listed_too(emit: Emit, tmp_path: Path) -> None:
    path = tmp_path / "vms" / os.fsdecode(b"\xff.yaml")
    path.write_text(RIGHT)
    emit("vms", "-o", "plans/")
    assert listed(tmp_path / "plans")[-1] == (os.fsdecode(b"\xff.plan"), "text")
    assert emit("vms", "-o", "plans/", "--check").stdout == ""
    path.unlink()
    assert emit("vms", "-o", "plans/", "--prune").stderr == "0 of 2 files changed, 1 removed\n"
    assert sorted(tree(tmp_path / "plans")) == [LIST, "a.plan", "lab/b.plan"]


@pytest.mark.parametrize("name", ["../kept", "/kept", "lab/../../kept", "a//kept", "."])
def test_a_list_that_leads_outside_is_refused(emit: Emit, tmp_path: Path, name: str) -> None:
    emit("vms", "-o", "plans/")
    (tmp_path / "kept").write_text("x")
    entries = [{"file": name, "format": "text"}]
    listing = {"format": "vmcfg.emitted", "format_version": "1.0", "files": entries}
    for text in (json.dumps(listing), "[]", "{", "null", '{"format": "vmcfg.emitted"}'):
        (tmp_path / "plans" / LIST).write_text(text)
        for option in ("--prune", "--check"):
            done = emit("vms", "-o", "plans/", option)
            assert (done.returncode, done.stdout) == (3, "")
            assert done.stderr == (
                f"vmcfg: plans/{LIST} is not a list that vmcfg wrote: remove it, and run"
                " 'vmcfg emit' again\n"
            )
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("format_", ["text", "json", "jsonl"])
def test_each_changed_line_is_traced_to_its_description(
    emit: Emit, tmp_path: Path, format_: str
) -> None:
    options = ("--scope", "vm", "--format", format_)
    emit("vms/a.yaml", "-o", "plan", *options)
    lines = (tmp_path / "plan").read_text().splitlines(keepends=True)
    number = next(at for at, line in enumerate(lines) if "PMU_V3_IRQ" in line)
    lines[number] = lines[number].replace("23", "24", 1)
    (tmp_path / "plan").write_text("".join(lines))
    done = emit("vms/a.yaml", "-o", "plan", "--check", *options)
    assert done.returncode == 1
    assert done.stdout.startswith(f"plan:{number + 1}: stale: '")
    assert done.stdout.endswith(" (vms/a.yaml:5:14)\n")
    assert len(done.stdout) < 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-1], "2: stale: the end of its last line differs"),
        (lambda text: text + "\n", "3: stale: '' is after the end"),
        (lambda text: "", "1: stale: 'set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL"),
        (lambda text: text.replace("set", "\x1b", 1), "1: stale: '\\x1b-attr "),
        (lambda text: text.replace("2", "\udcff", 1), "1: stale: 'set-attr "),
    ],
    ids=["no end", "two ends", "empty", "control", "not UTF-8"],
)
def test_every_difference_has_words(
    emit: Emit, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    emit("vms/a.yaml", "-o", "plan")
    text = change((tmp_path / "plan").read_text())
    (tmp_path / "plan").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = emit("vms/a.yaml", "-o", "plan", "--check")
    assert done.returncode == 1
    assert done.stdout.startswith(f"plan:{words}")
    assert done.stdout.isascii() or "\ufffd" in done.stdout


# Many ---------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(MANY):
        write(tmp_path, f"{number % 7}/vm-{number:03}")
    return tmp_path


def test_any_number_of_processes_writes_the_same(many: Path) -> None:
    for jobs in ("1", "2", "5"):
        process = started("vms", "-o", f"out{jobs}/", "--jobs", jobs, cwd=many)
        assert process.communicate(timeout=120) == ("", f"{MANY} of {MANY} files changed\n")
    assert len(tree(many / "out1")) == MANY + 1
    assert tree(many / "out1") == tree(many / "out2") == tree(many / "out5")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_only_whole_files(many: Path, number: int) -> None:
    whole = started("vms", "-o", "whole/", "--jobs", "2", cwd=many)
    assert whole.wait(timeout=120) == 0
    expected = tree(many / "whole")
    for run, count in enumerate((0, 1, 20, 100), 1):
        process = started("vms", "-o", "out/", "--jobs", "2", cwd=many)
        while process.poll() is None and len(list((many / "out").rglob("*.plan"))) < count:
            time.sleep(0.001)
        os.killpg(process.pid, number)
        process.wait(timeout=120)
        process.communicate()
        found = tree(many / "out")
        # A killed process cannot remove the temporary files in its hands, which are hidden.
        hidden = {name for name in found if Path(name).name.startswith(".") and name != LIST}
        assert number == signal.SIGKILL or not hidden
        assert len(hidden) <= AT_ONCE * run
        for name in found.keys() - hidden:
            assert expected[name] == found[name]
        # What was written is in the list, so that --prune finds all of it.
        names = {name for name in found if name.endswith(".plan")}
        assert not names or names <= {file for file, _ in listed(many / "out")}
    process = started("vms", "-o", "out/", cwd=many)
    assert process.wait(timeout=120) == 0
    assert {name: data for name, data in tree(many / "out").items() if name in expected} == expected
