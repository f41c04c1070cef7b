"""`vmcfg record` on this machine: processes, signals, and what can go wrong. The program calls KVM
on a file that answers ENOTTY, so that it needs no KVM; tests/kvm records real VMMs.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import not_here

HERE = Path(__file__).parent
ROOT = HERE.parent
VMCFG = (sys.executable, "-m", "vmcfg")

Line = dict[str, Any]
Argv = list[str | Path]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Path:
    """Return the program that makes the calls of a VMM."""
    made = tmp_path_factory.mktemp("programs") / "calls-kvm"
    source = HERE / "programs" / "calls-kvm.c"
    subprocess.run([program("gcc"), "-O1", "-pthread", "-o", made, source], check=True)
    return made


def run(record: Path, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command under vmcfg record."""
    argv: Argv = [*VMCFG, "record", "-o", record, "--", *command]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options
    )


def lines_of(record: Path) -> list[Line]:
    """Return the calls in a record that is whole."""
    header, *lines, end = (json.loads(line) for line in record.read_text().splitlines())
    assert header["format"] == "vmcfg.record"
    assert end == {"op": "end", "count": len(lines), "other_registers": end["other_registers"]}
    assert [line["seq"] for line in lines] == [*range(1, len(lines) + 1)]
    return lines


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


# What is recorded ---------------------------------------------------------------------------------


def test_every_call_is_a_line_with_its_values(calls: Path, record: Path) -> None:
    done = run(record, calls, "all", "exit=7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    header = json.loads(record.read_text().splitlines()[0])
    assert header["command"] == [str(calls), "all", "exit=7"]
    assert header["machine"] == os.uname().machine
    told = [
        (line["op"], line["target"], line["attr"], line["type"], line["value"], line["errno"])
        for line in lines_of(record)
    ]
    slot = "slot=1,base=0x40000000,size=0x10000,flags=0x2"
    assert told == [
        ("create-vm", "vm", "-", "u64", "0x28", "ENOTTY"),
        ("enable-cap", None, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "args", "0x3", "ENOTTY"),
        ("add-memory", None, "-", "memory", slot, "ENOTTY"),
        ("create-vcpu", "vcpu:3", "-", "u64", "0x3", "ENOTTY"),
        ("create-device", "gic", "KVM_DEV_TYPE_ARM_VGIC_V3", "u32", "7", "ENOTTY"),
        ("init-vcpu", None, "-", "features", "PSCI_0_2,PMU_V3", "ENOTTY"),
        ("finalize-vcpu", None, "-", "s32", "5", "ENOTTY"),
        ("set-reg", None, "MPIDR_EL1", "u64", "0x80000005", "ENOTTY"),
        ("get-reg", None, "MPIDR_EL1", "u64", "-", "ENOTTY"),
        ("set-attr", None, "0x0", None, None, "ENOTTY"),
        ("get-attr", None, "0x0", "none", "-", "ENOTTY"),
        ("has-attr", None, "0x0", "none", "-", "ENOTTY"),
        ("set-mp-state", None, "-", "u32", "5", "ENOTTY"),
        ("set-gsi-routing", None, "-", "u32", "5", "ENOTTY"),
    ]


def test_a_descriptor_of_unknown_origin_has_no_target_and_says_why(
    calls: Path, record: Path
) -> None:
    run(record, calls, "all")
    for line in lines_of(record)[1:]:
        assert line["vm"] is None
        assert line["why"] == "no recorded call created this descriptor"


def test_a_program_that_never_calls_kvm_has_an_empty_record(record: Path) -> None:
    done = run(record, "sh", "-c", "cat; exit 4", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (4, "in\n", "")
    assert lines_of(record) == []


def test_memory_that_cannot_be_read_is_null_and_says_why(calls: Path, record: Path) -> None:
    run(record, calls, "enable-cap-at=16", "set-register-from=8")
    cap, register = lines_of(record)
    assert (cap["value"], cap["errno"]) == (None, "ENOTTY")
    assert cap["why"] == "the memory at 0x10 cannot be read: Input/output error"
    assert (register["attr"], register["value"], register["data"]) == ("MPIDR_EL1", None, None)
    assert register["why"] == "the memory at 0x8 cannot be read: Input/output error"


def test_other_registers_are_only_counted_except_with_all(calls: Path, record: Path) -> None:
    pc, mpidr = "set-register=0x6030000000100040", "set-register=0x603000000013c005"
    run(record, calls, pc, pc, mpidr)
    assert [line["attr"] for line in lines_of(record)] == ["MPIDR_EL1"]
    assert json.loads(record.read_text().splitlines()[-1])["other_registers"] == 2
    argv: Argv = [*VMCFG, "record", "--all", "-o", record, calls, pc, mpidr]
    subprocess.run(argv, cwd=ROOT, check=True)
    assert [line["attr"] for line in lines_of(record)] == ["PC", "MPIDR_EL1"]


# Threads and processes ----------------------------------------------------------------------------


def test_threads_are_recorded(calls: Path, record: Path) -> None:
    run(record, calls, "threads=8", "create-vm=50")
    threads = [line["thread"] for line in lines_of(record)]
    assert len(threads) == 400
    assert sorted(Counter(threads).values()) == [50] * 8


@pytest.mark.parametrize("way", ["fork", "vfork", "spawn", "exec"])
def test_children_and_other_programs_are_recorded(calls: Path, record: Path, way: str) -> None:
    done = run(record, calls, "create-vm", way, "create-vm", way, "create-vm", "exit=5")
    assert done.returncode == 5
    threads = [line["thread"] for line in lines_of(record)]
    assert len(threads) == 3
    assert len(set(threads)) == (1 if way == "exec" else 3)


def test_a_thread_that_starts_another_program_is_recorded(calls: Path, record: Path) -> None:
    done = run(record, calls, "threads=3", "sleep=20", "exec", "create-vm", "exit=6")
    assert done.returncode == 6
    assert len(lines_of(record)) == 1


def test_a_daemon_is_recorded_until_it_ends(calls: Path, record: Path) -> None:
    done = run(record, calls, "create-vm", "daemon", "create-vm", "print=late", "exit=9")
    assert (done.returncode, done.stdout) == (0, "late\n")
    assert len(lines_of(record)) == 2


def test_a_32_bit_program_is_not_recorded_which_is_said_once(
    calls: Path, record: Path, tmp_path: Path, program: Callable[[str], str]
) -> None:
    old = tmp_path / "old"
    source = 'void _start(void) { __asm__("int $0x80" :: "a"(1), "b"(33)); }'
    compiler: Argv = [
        program("gcc"),
        "-m32",
        "-nostdlib",
        "-static",
        "-x",
        "c",
        "-o",
        old,
        "-",
    ]
    if os.uname().machine != "x86_64":
        not_here("this machine has no 32-bit compiler with these options")
    subprocess.run(compiler, input=source.encode(), check=True)
    script = f"{old}; {old}; {calls} create-vm; exit 8"
    done = run(record, "sh", "-c", script)
    assert done.returncode == 8
    assert done.stderr == f"vmcfg: {old} is a 32-bit program: its calls are not recorded\n"
    assert len(lines_of(record)) == 1


# The end and signals ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_command_has_a_whole_record(
    calls: Path, record: Path, number: signal.Signals
) -> None:
    done = run(record, calls, "create-vm", f"kill={int(number)}", "create-vm")
    assert done.returncode == 128 + number
    assert len(lines_of(record)) == 1


@contextlib.contextmanager
def running(record: Path, *command: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command under vmcfg record, which is killed at the end."""
    argv: Argv = [*VMCFG, "record", "-o", record, "--", *command]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command(calls: Path, record: Path, number: signal.Signals) -> None:
    steps = (f"catch={int(number)}", "print=ready", "pause", "create-vm", "exit=5")
    with running(record, calls, *steps) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"caught {int(number)}\n"
        assert process.wait(30) == 5
    assert len(lines_of(record)) == 1


def test_a_signal_that_the_command_does_not_catch_ends_it(calls: Path, record: Path) -> None:
    with running(record, calls, "create-vm", "print=ready", "pause") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert len(lines_of(record)) == 1


def test_signals_reach_a_daemon_whose_command_has_ended(calls: Path, record: Path) -> None:
    steps = (f"catch={int(signal.SIGTERM)}", "daemon", "print=ready", "pause", "create-vm")
    with running(record, calls, *steps) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert len(lines_of(record)) == 1


def test_a_command_in_the_background_ignores_ctrl_c_as_its_shell_wants(
    calls: Path, record: Path
) -> None:
    script = "trap '' INT; exec \"$@\""
    argv: Argv = ["sh", "-c", script, "sh", *VMCFG, "record", "-o", record, "--"]
    command = ["sh", "-c", "kill -INT $$; echo alive"]
    done = subprocess.run(
        [*argv, *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_the_command_dies_with_its_recorder(calls: Path, record: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}; exec {calls} create-vm print=ready pause"
    with running(record, "sh", "-c", script) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait(30)
    number = int(pid.read_text())
    for _ in range(100):
        if not Path(f"/proc/{number}/exe").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{number}/exe").exists()
    assert json.loads(record.read_text().splitlines()[-1])["op"] == "create-vm"


def at_a_terminal(keys: list[tuple[bytes, bytes]], argv: list[str]) -> tuple[int, bytes]:
    """Run a program in the foreground of a terminal. After each output, type these keys. Return the
    exit code, and the whole output.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(argv[0], argv)
    output = b""
    waiting = list(keys)
    while True:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, output
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the program has ended
            break
        if not read:
            break
        output += read
        if waiting and waiting[0][0] in output:
            os.write(terminal, waiting.pop(0)[1])
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), output


def test_ctrl_c_reaches_the_command_once(calls: Path, record: Path) -> None:
    catch = f"catch={int(signal.SIGINT)}"
    argv = [*VMCFG, "record", "-o", str(record), "--", str(calls), catch, "print=ready", "pause"]
    argv += ["sleep=300", "count", "create-vm", "exit=3"]
    code, output = at_a_terminal([(b"ready", b"\x03")], argv)
    assert (code, output.count(b"signals: 1\r\n")) == (3, 1)
    assert len(lines_of(record)) == 1


JOB = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(sys.argv[1:], process_group=0) if sys.version_info >= (3, 11) else \\
    subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.setpgid(0, 0))
os.tcsetpgrp(0, job.pid)
_, status = os.waitpid(job.pid, os.WUNTRACED)
print("stopped" if os.WIFSTOPPED(status) else status, flush=True)
os.killpg(job.pid, signal.SIGCONT)
_, status = os.waitpid(job.pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_ctrl_z_stops_both_and_they_run_on(calls: Path, record: Path) -> None:
    argv = [sys.executable, "-c", JOB, *VMCFG, "record", "-o", str(record), "--"]
    argv += [str(calls), "print=ready", "sleep=300", "create-vm", "exit=3"]
    code, output = at_a_terminal([(b"ready", b"\x1a")], argv)
    assert b"stopped" in output
    assert code == 3
    assert len(lines_of(record)) == 1


def test_the_documented_wrapper_records_a_vmm_that_another_program_starts(
    calls: Path, tmp_path: Path
) -> None:
    page = (ROOT / "vmcfg" / "shell" / "reference_parts" / "records.md").read_text()
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", page, re.DOTALL)
    assert script.count("\n") == 2
    for documented, here in (
        ("/usr/bin/qemu-system-aarch64", str(calls)),
        ("/var/tmp", str(tmp_path)),
        ("exec vmcfg", f"exec {sys.executable} -m vmcfg"),
    ):
        assert documented in script
        script = script.replace(documented, here)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(script)
    wrapper.chmod(0o755)
    done = subprocess.run(
        [wrapper, "create-vm", "print=a b", "exit=6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (6, "a b\n", "")
    (record,) = tmp_path.glob("record-*.jsonl")
    assert len(lines_of(record)) == 1


# What goes wrong ----------------------------------------------------------------------------------


def test_a_command_that_does_not_exist(record: Path) -> None:
    record.write_text("an earlier record\n")
    done = run(record, "/no/such/program")
    assert done.returncode == 3
    assert done.stderr == "vmcfg: cannot run /no/such/program: No such file or directory\n"
    assert record.read_text() == "an earlier record\n"


def test_a_record_that_cannot_be_written_runs_nothing(calls: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "no" / "record", calls, "print=ran")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith("record: No such file or directory\n")
    done = run(Path("/dev/full"), calls, "print=ran")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vmcfg: cannot write /dev/full: No space left on device\n"


def test_if_the_record_cannot_grow_the_command_runs_on(calls: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with running(pipe, calls, "print=ready", "sleep=200", "create-vm=2", "print=ran") as process:
        with pipe.open("rb") as reader:
            reader.readline()
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (3, "ready\nran\n")
    assert errors.count("Broken pipe; the command runs on without a record") == 1


@pytest.mark.parametrize("arguments", [["--", "true"], ["-o", "x"], ["-o", "-", "true"], []])
def test_usage_errors(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*VMCFG, "record", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_a_description_is_not_replaced(calls: Path, tmp_path: Path) -> None:
    description = tmp_path / "vm.yaml"
    description.write_text("# mine\nvmcfg: 1\n")
    done = run(description, calls, "print=ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert "vm.yaml is a description, which the record would replace." in done.stderr
    assert description.read_text() == "# mine\nvmcfg: 1\n"


WITHOUT_PTRACE = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
program = b"".join(struct.pack("=HBBI", *each) for each in (
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)))
buffer = ctypes.create_string_buffer(program, len(program))
head = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(buffer)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, head, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_where_ptrace_is_forbidden(calls: Path, record: Path) -> None:
    argv: Argv = [
        sys.executable,
        "-c",
        WITHOUT_PTRACE,
        *VMCFG,
        "record",
        "-o",
        record,
        "--",
    ]
    done = subprocess.run(
        [*argv, calls, "print=ran"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        "vmcfg: this system does not allow vmcfg to trace the command (ptrace: Operation not"
        " permitted)"
    )
    assert done.stderr.count("\n") == 1
    assert not record.exists()


AS_NOBODY = """
import ctypes, difflib, gettext, locale, os
import vmcfg.cli, vmcfg.commands.record, vmcfg.commands.defects
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a process that has changed its user cannot be traced
vmcfg.cli.main()
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a directory that another user can use; tests run as root."""
    if os.geteuid() != 0:
        not_here("only root can run a program as another user")
    folder = Path(tempfile.mkdtemp(prefix="vmcfg-test-record-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    argv: Argv = [
        sys.executable,
        "-c",
        AS_NOBODY,
        "record",
        "-o",
        folder / "record",
        "--",
        *command,
    ]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_without_root_it_works_and_hidden_memory_is_null(calls: Path, public: Path) -> None:
    program = shutil.copy(calls, public)
    steps = ("fork", "create-vm", "all", "exec", "create-vm", "hide", "all", "exit=4")
    done = as_nobody(public, program, *steps)
    assert (done.returncode, done.stderr) == (4, "")
    lines = lines_of(public / "record")
    seen, hidden = lines[1:15], lines[16:]
    assert [line["op"] for line in seen] == [line["op"] for line in hidden]
    for before, after in zip(seen, hidden, strict=True):
        if before["op"] not in ("create-vm", "create-vcpu"):
            assert before["attr"] is not None
            assert (after["attr"], after["value"]) == (None, None)
            assert after["why"].endswith("cannot be read: Permission denied")


def test_without_root_a_set_user_id_program_is_named(calls: Path, public: Path) -> None:
    program = Path(shutil.copy(calls, public))
    program.chmod(0o4755)
    done = as_nobody(public, "sh", "-c", f"{program} create-vm; {program} create-vm")
    assert done.returncode == 0
    assert done.stderr == (
        f"vmcfg: {program} is a set-user-ID program, which gets no privileges here: run 'sudo vmcfg"
        " record' instead\n"
    )
