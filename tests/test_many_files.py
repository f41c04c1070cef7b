"""Many files in one command: which files, their order, the processes, and the end of the run."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmcfg import files, parallel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
RIGHT = "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 23\n"
WRONG = RIGHT.replace("23", "7")
MANY = 200
"""Enough for several processes with several chunks each."""

Done = subprocess.CompletedProcess[str]


def environment(**changes: str) -> dict[str, str]:
    clean = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")
    }
    return {**clean, "PYTHONPATH": str(ROOT), **changes}


def validate(*args: str, cwd: Path) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", "validate", *args],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def started(
    *args: str, cwd: Path, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Start vmcfg in its own process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "vmcfg", "validate", *args],
        cwd=cwd,
        env=environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a directory with `MANY` descriptions; every third has an error."""
    for number in range(MANY):
        folder = tmp_path / "many" / f"{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        text = RIGHT if number % 3 else WRONG
        (folder / f"{number:03}.yaml").write_text(text.replace("vm\n", f"vm-{number}\n"))
    return tmp_path


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


# Which files --------------------------------------------------------------------------------------

TREE = [
    "a.yaml",
    "b.yml",
    "old/a.yaml",
    "lab/a.yaml",
    "lab/old/b.yaml",
    "lab/draft-1.yaml",
    "c/lab/d.yaml",
]


@pytest.mark.parametrize(
    ("excluded", "left"),
    [
        (["old"], ["a.yaml", "b.yml", "c/lab/d.yaml", "lab/a.yaml", "lab/draft-1.yaml"]),
        (["old/"], ["a.yaml", "b.yml", "c/lab/d.yaml", "lab/a.yaml", "lab/draft-1.yaml"]),
        (["a.yaml"], ["b.yml", "c/lab/d.yaml", "lab/draft-1.yaml", "lab/old/b.yaml"]),
        (
            ["draft-*", "*.yml"],
            ["a.yaml", "c/lab/d.yaml", "lab/a.yaml", "lab/old/b.yaml", "old/a.yaml"],
        ),
        (["lab/*"], ["a.yaml", "b.yml", "c/lab/d.yaml", "old/a.yaml"]),
        (["./lab/*"], ["a.yaml", "b.yml", "c/lab/d.yaml", "old/a.yaml"]),
        (
            ["*/lab"],
            ["a.yaml", "b.yml", "lab/a.yaml", "lab/draft-1.yaml", "lab/old/b.yaml", "old/a.yaml"],
        ),
        (
            ["lab/old"],
            ["a.yaml", "b.yml", "c/lab/d.yaml", "lab/a.yaml", "lab/draft-1.yaml", "old/a.yaml"],
        ),
        (["[!a].y*ml"], ["a.yaml", "lab/a.yaml", "lab/draft-1.yaml", "old/a.yaml"]),
        (["OLD", "nothing"], sorted(TREE)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "paths",
    [["."], ["a.yaml", "b.yml", "old", "lab/", "c/lab"], TREE],
    ids=["folder", "parts", "files"],
)
def test_what_matches_is_left_out(
    excluded: list[str], left: list[str], paths: list[str], tmp_path: Path
) -> None:
    for number, name in enumerate(TREE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(WRONG.replace("vm\n", f"vm-{number}\n"))
    options = [option for pattern in excluded for option in ("--exclude", pattern)]
    done = validate("--format", "json", *options, *paths, cwd=tmp_path)
    found = [os.path.normpath(each["file"]) for each in json.loads(done.stdout)["diagnostics"]]
    assert found == left


def test_all_left_out_is_nothing_to_check(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(RIGHT)
    done = validate("--exclude", "*.yaml", "vm.yaml", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vmcfg: nothing to check: no *.yaml or *.yml files found\n"


def test_a_file_is_checked_once_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "vm.yaml").write_text(WRONG)
    done = validate(
        "--format", "concise", "a/vm.yaml", "a", "./a/vm.yaml", "a/../a//vm.yaml", ".", cwd=tmp_path
    )
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("a/vm.yaml:5:14: ")


def test_what_would_block_or_loop_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(RIGHT)
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "loop.yaml").symlink_to(".")
    (tmp_path / "link.yaml").symlink_to("vm.yaml")
    assert files.descriptions([str(tmp_path)]) == [
        str(tmp_path / "link.yaml"),
        str(tmp_path / "vm.yaml"),
    ]


def test_a_link_that_leads_nowhere_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(RIGHT)
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    done = validate(".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vmcfg: cannot read ./gone.yaml: No such file or directory\n"


def listed_by_a_mere_user(folder: Path) -> list[list[str]]:
    """Return the descriptions in `folder` and the errors of listing them, for a user without
    permission to read all of it.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        failed: list[files.NoFile] = []
        try:
            # That user might not have permission for the directories above.
            os.chdir(folder)
            if os.getuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            found = files.descriptions(["."], (), failed.append)
            os.write(write, json.dumps([found, list(map(str, failed))]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        listed: list[list[str]] = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return listed


def test_a_folder_that_can_not_be_read_is_a_line_and_the_rest_is_listed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for folder in ("closed", "open"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vm.yaml").write_text(WRONG)
    (tmp_path / "closed").chmod(0)
    try:
        assert listed_by_a_mere_user(tmp_path) == [
            ["./open/vm.yaml"],
            ["cannot read ./closed: Permission denied"],
        ]
    finally:
        (tmp_path / "closed").chmod(stat.S_IRWXU)


# Many processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "format_", ["human", "concise", "json", "sarif", "github", "junit", "gitlab"]
)
def test_any_number_of_processes_prints_the_same(format_: str, many: Path) -> None:
    (many / "many" / "3" / "0.yaml").symlink_to("nowhere")
    (many / "many" / "5" / "latin-1.yaml").write_bytes(b"name: \xfc\n")
    one, *more = (
        validate("--format", format_, "--jobs", jobs, "many", cwd=many)
        for jobs in ("1", "2", "5", "64")
    )
    assert one.returncode == 3
    assert one.stderr == "vmcfg: cannot read many/3/0.yaml: No such file or directory\n"
    assert one.stdout.count("VMC504") >= MANY // 3
    for other in more:
        assert (other.returncode, other.stdout, other.stderr) == (
            one.returncode,
            one.stdout,
            one.stderr,
        )


def test_files_come_in_the_order_of_their_names(many: Path) -> None:
    done = validate("--format", "concise", "many/6", "many/0", "many", "many/3", cwd=many)
    named = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert named == sorted(named)
    assert len(named) == len(range(0, MANY, 3))


def test_a_name_is_reported_in_each_later_file(tmp_path: Path) -> None:
    text = "vmcfg: 1\nname: {}\nvcpus: 2\n"
    for file, name in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "one"), ("e", "bad name")):
        (tmp_path / f"{file}.yaml").write_text(text.format(name))
    (tmp_path / "e.yaml").write_text("vmcfg: 1\nvcpus: 1\nname: one\nunknown: 1\n")
    done = validate("--format", "concise", ".", cwd=tmp_path)
    lines = done.stdout.splitlines()
    message = "the VM name 'one' is already used by another file (used here: ./a.yaml:2:7)"
    named = f"warning[VMC724] {message}"
    assert [line.partition("; ")[0] for line in lines[:2]] == [
        f"./c.yaml:2:7: {named}",
        f"./d.yaml:2:7: {named}",
    ]
    assert "VMC724" not in lines[2]
    assert done.returncode == 1
    (tmp_path / "e.yaml").unlink()
    assert validate(".", cwd=tmp_path).returncode == 0
    assert validate("--strict", ".", cwd=tmp_path).returncode == 1


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(RIGHT)
    os.mkfifo(tmp_path / "a.yaml")
    command = [sys.executable, "-m", "vmcfg", "validate", "a.yaml", "b.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment()) as running:
        (tmp_path / "a.yaml").write_text(RIGHT)
        assert running.wait(60) == 0


def test_a_name_is_compared_after_fixes_too(tmp_path: Path) -> None:
    for file in ("a", "b"):
        (tmp_path / f"{file}.yaml").write_text("vmcfg: 1\nname: one\nvcpus: 2\nhost_kernel: 6.10\n")
    done = validate("--fix", "--format", "concise", "--summary", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout.count("VMC724")) == (0, 1)
    assert "2 fixed" in done.stderr
    assert 'host_kernel: "6.10"' in (tmp_path / "b.yaml").read_text()


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_is_a_number(jobs: str, tmp_path: Path) -> None:
    done = validate("--jobs", jobs, ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


def test_few_files_start_no_process(tmp_path: Path) -> None:
    pids = {
        pid
        for (pid,) in parallel.results(
            lambda item: (os.getpid(),), range(2 * parallel.WORTH_A_WORKER - 1), 8
        )
    }
    assert pids == {os.getpid()}
    pids = {
        pid
        for (pid,) in parallel.results(
            lambda item: (os.getpid(),), range(2 * parallel.WORTH_A_WORKER), 8
        )
    }
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 199, 1000])
@pytest.mark.parametrize("jobs", [1, 2, 3, 7])
def test_results_are_in_order(count: int, jobs: int) -> None:
    assert list(parallel.results(lambda item: (item, str(item)), range(count), jobs)) == [
        (n, str(n)) for n in range(count)
    ]


def test_results_larger_than_a_pipe_come_whole() -> None:
    found = list(parallel.results(lambda item: (str(item) * 100_000,), range(100), 2))
    assert found == [(str(item) * 100_000,) for item in range(100)]


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the processes that this process forks."""
    pids: list[int] = []
    fork = os.fork

    def recorded() -> int:
        pid = fork()
        pids.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", recorded)
    return pids


def is_child(pid: int) -> bool:
    """Return whether a process still has to be waited for."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def broken(item: int) -> tuple[int]:
    if item == 77:
        raise KeyError("no such thing")
    return (item,)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_an_exception_comes_after_the_results_before_it(jobs: int, forked: list[int]) -> None:
    found: list[tuple[object, ...]] = []
    with pytest.raises((KeyError, RuntimeError), match="no such thing") as caught:
        found.extend(parallel.results(broken, range(200), jobs))
    assert found == [(item,) for item in range(77)]
    assert jobs == 1 or str(caught.value) == "KeyError: 'no such thing'"
    assert len(forked) == (jobs if jobs > 1 else 0)
    assert [pid for pid in forked if is_child(pid)] == []


def test_who_stops_early_leaves_no_process(forked: list[int]) -> None:
    results = parallel.results(lambda item: ("x" * 100_000,), range(1000), 3)
    next(results)
    assert [is_child(pid) for pid in forked] == [True] * 3
    results.close()
    assert [is_child(pid) for pid in forked] == [False] * 3


def test_a_worker_that_is_killed_is_a_failure_in_one_line() -> None:
    def work(item: int) -> tuple[int]:
        if item == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return (item,)

    with pytest.raises(OSError) as raised:
        list(parallel.results(work, range(100), 2))
    assert str(raised.value).startswith("a worker process ended before its work was")


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """The kernel reports the memory of this process and of its workers."""
    measured = []
    for count in (200, 4000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.yaml").write_text(WRONG.replace("vm\n", f"vm-{number}\n"))
        program = (
            "import resource, sys\nfrom vmcfg.cli import main\ntry:\n    main()\nfinally:\n"
            "    print(*(resource.getrusage(who).ru_maxrss for who in (0, -1)), file=sys.stderr)"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                program,
                "validate",
                "--format",
                "concise",
                "--jobs",
                "2",
                str(folder),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.count("\n") == count
        measured.append([int(kilobytes) for kilobytes in done.stderr.split()])
    few, lot = measured
    # Only the list of names grows: 4,000 names use less than a megabyte.
    grown = [after - before for before, after in zip(few, lot, strict=True)]
    assert max(grown) < 2048, measured


# How a run ends -----------------------------------------------------------------------------------


@pytest.fixture
def blocked(many: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a run with two workers, one of which waits for a pipe without a writer."""
    os.mkfifo(many / "many" / "4" / "pipe")
    process = started("--jobs", "2", "many", "many/4/pipe", cwd=many)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 2)
    # Until now, the other worker finishes or fills its pipe, and the first one reaches the file
    # that never opens.
    time.sleep(0.5)
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("whole_group", [True, False], ids=["by the terminal", "of one process"])
def test_an_interrupt_ends_all_processes(
    blocked: subprocess.Popen[bytes], whole_group: bool
) -> None:
    (os.killpg if whole_group else os.kill)(blocked.pid, signal.SIGINT)
    _, err = blocked.communicate(timeout=60)
    assert (blocked.returncode, err) == (130, b"")
    assert not alive(blocked.pid)


def test_a_reader_that_has_seen_enough_ends_all_processes(many: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = started("--jobs", "3", "many", cwd=many, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")
    wait_until(lambda: not alive(process.pid))


def test_workers_do_not_wait_for_a_reader_that_was_killed() -> None:
    """They do not wait for a busy worker either, which was started while their pipes were open."""
    program = """if True:
        import os, signal, time
        from vmcfg.parallel import CHUNK, results
        def work(item):
            if item // CHUNK % 2:
                time.sleep(600)
            return os.getpid(), "x" * 100_000
        for pid, _ in results(work, range(1000), 2):
            print(pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert process.wait(timeout=60) == -signal.SIGKILL
    try:
        wait_until(
            lambda: (
                not Path(f"/proc/{worker}").exists()
                or "(zombie)" in Path(f"/proc/{worker}/status").read_text()
            )
        )
        assert alive(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_a_full_disk_ends_all_processes(many: Path) -> None:
    with open("/dev/full", "w") as full:
        process = started("--jobs", "3", "many", cwd=many, stdout=full.fileno())
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert err == b"vmcfg: cannot write to standard output: No space left on device\n"
    assert not alive(process.pid)


def test_a_file_that_vanishes_is_a_line(blocked: subprocess.Popen[bytes], many: Path) -> None:
    """Two listed files are removed before they are read: the waiting worker still has to read the
    files after the pipe.
    """
    names = sorted([str(path.relative_to(many)) for path in many.glob("many/*/*")])
    place = names.index("many/4/pipe")
    assert place % parallel.CHUNK < parallel.CHUNK - 2
    for name in names[place + 1 : place + 3]:
        (many / name).unlink()
    (many / "many" / "4" / "pipe").write_text(RIGHT)
    out, err = blocked.communicate(timeout=60)
    lines = [
        f"vmcfg: cannot read {name}: No such file or directory"
        for name in names[place + 1 : place + 3]
    ]
    assert err.decode().splitlines() == lines
    assert blocked.returncode == 3
    wrong = [name for name in names if name != "many/4/pipe" and int(name[-8:-5]) % 3 == 0]
    assert out.count(b"error[VMC504]") == len(set(wrong) - set(names[place + 1 : place + 3]))


def written_late(pipe: Path) -> None:
    """Write a description to a pipe, more than a second after the reader opened it."""
    writer = -1

    def opened() -> bool:
        nonlocal writer
        with contextlib.suppress(OSError):  # as long as there is no reader
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return writer >= 0

    wait_until(opened)
    time.sleep(1.3)
    os.write(writer, RIGHT.encode())
    os.close(writer)


def seen_on_a_terminal(
    args: list[str], cwd: Path, pipe: Path | None, stdout: int | None = None
) -> tuple[int, bytes]:
    """Return the exit code and the output on a terminal; `pipe` is written late."""
    reader, terminal = pty.openpty()
    process = started(
        *args, cwd=cwd, stdout=terminal if stdout is None else stdout, stderr=terminal
    )
    os.close(terminal)
    if pipe is not None:
        written_late(pipe)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a terminal without writers is an error
        while True:
            seen += os.read(reader, 4096)
    os.close(reader)
    return process.wait(timeout=60), seen


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_bar_says_how_far_a_long_run_is(jobs: str, many: Path) -> None:
    pipe = many / "many" / "0" / "0"
    os.mkfifo(pipe)
    code, seen = seen_on_a_terminal(
        ["--jobs", jobs, "many/0/0", "many"], many, pipe, subprocess.DEVNULL
    )
    assert code == 1
    assert f"/{MANY + 1} files checked\x1b[K".encode() in seen
    # The bar is erased, and only the summary remains.
    assert seen.endswith(
        f"\r\x1b[K{MANY + 1} files checked: {len(range(0, MANY, 3))} errors\r\n".encode()
    )


def test_an_interrupted_bar_is_taken_away(many: Path) -> None:
    first, second = many / "many" / "0" / "0", many / "many" / "9"
    os.mkfifo(first)
    os.mkfifo(second)
    reader, terminal = pty.openpty()
    process = started(
        "--jobs",
        "1",
        "many/0/0",
        "many",
        "many/9",
        cwd=many,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    written_late(first)
    seen = b""
    while b"\x1b[K" not in seen:
        seen += os.read(reader, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    with contextlib.suppress(OSError):  # the end of a terminal without writers is an error
        while True:
            seen += os.read(reader, 4096)
    os.close(reader)
    assert seen.endswith(b" files checked\x1b[K\r\x1b[K")


def on_screen(row: str) -> str:
    """Return a line as a terminal shows it after everything is written."""
    shown, column = "", 0
    for part in re.findall("\r|\x1b\\[[0-9;]*[A-Za-z]|.", row):
        if part == "\r":
            column = 0
        elif part == "\x1b[K":
            shown = shown[:column]
        elif len(part) == 1:
            shown = shown[:column] + part + shown[column + 1 :]
            column += 1
    return shown


def test_a_bar_is_in_no_ones_way(many: Path) -> None:
    pipe = many / "many" / "0" / "0"
    os.mkfifo(pipe)
    code, seen = seen_on_a_terminal(
        ["--format", "concise", "--jobs", "2", "many/0/0", "many"], many, pipe
    )
    assert code == 1
    rows = [on_screen(row) for row in seen.decode().split("\r\n")]
    assert sum(row.startswith("many/") and "VMC504" in row for row in rows) == len(
        range(0, MANY, 3)
    )
    assert rows[-2].startswith(f"{MANY + 1} files checked: ")


def test_a_short_run_has_no_bar(many: Path) -> None:
    code, seen = seen_on_a_terminal(["many/1", "--format", "json"], many, None, subprocess.DEVNULL)
    assert code == 1
    assert b"\x1b" not in seen
    assert b"files checked" in seen


@pytest.mark.parametrize(
    "format_", ["human", "concise", "json", "sarif", "github", "junit", "gitlab"]
)
def test_a_summary_is_printed_in_a_log_on_request(format_: str, many: Path) -> None:
    without, summarized = (
        validate("--format", format_, *options, "many/1", cwd=many)
        for options in ((), ("--summary",))
    )
    assert without.stderr == ""
    assert summarized.stderr == "29 files checked: 9 errors\n"
    assert (summarized.returncode, summarized.stdout) == (1, without.stdout)
    right = validate("--summary", "many/1/001.yaml", cwd=many)
    assert (right.returncode, right.stdout) == (0, "")
    assert right.stderr == "1 file checked: no problems\n"


def test_no_terminal_no_bar(many: Path) -> None:
    pipe = many / "many" / "0" / "0"
    os.mkfifo(pipe)
    process = started("many/0/0", "many", cwd=many)
    written_late(pipe)
    assert process.communicate(timeout=60)[1] == b""
