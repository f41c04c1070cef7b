"""The command line in real processes, as shells and CI use it: streams and exit codes."""

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
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import run_vmcfg

RIGHT = "vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: 23\n"
WRONG = RIGHT.replace("vm\n", "wrong\n").replace("23", "7")
WARNED = RIGHT.replace("vm\n", "warned\n").replace("23", "25")
TEXT = (
    "set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23\n"
    "set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT none -\n"
)
VMCFG = [sys.executable, "-m", "vmcfg"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs vmcfg in a directory with a valid description, one with an error,
    and one with a warning.
    """
    for name, text in (("right", RIGHT), ("wrong", WRONG), ("warned", WARNED)):
        (tmp_path / f"{name}.yaml").write_text(text)

    def vmcfg(
        *args: str, input: str | bytes | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {
            key: value
            for key, value in os.environ.items()
            if key not in ("NO_COLOR", "FORCE_COLOR")
        }
        given = input.encode() if isinstance(input, str) else input
        if any(key.startswith(("PYTHON", "LC_", "LANG")) for key in env):
            # Python reads these when it starts.
            done = subprocess.run(
                [*VMCFG, *args],
                cwd=tmp_path,
                env={**clean, "PYTHONPATH": str(Path(__file__).parent.parent), **env},
                input=given or b"",
                capture_output=True,
                timeout=60,
                check=False,
            )
        else:
            done = run_vmcfg(args, cwd=tmp_path, env={**clean, **env}, input=given)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return vmcfg


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run `command` with sh, in which the function `vmcfg` runs this vmcfg."""
    script = f'vmcfg() {{ "{sys.executable}" -m vmcfg "$@"; }}\n{command}'
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        ["sh", "-c", script], cwd=cwd, env=env, capture_output=True, timeout=60, check=False
    )


# validate -----------------------------------------------------------------------------------------


def test_nothing_is_printed_of_a_right_description(run: Run) -> None:
    done = run("validate", "right.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_findings_are_the_product_of_validate(run: Run) -> None:
    done = run("validate", "wrong.yaml")
    assert done.returncode == 1
    assert done.stdout.startswith("wrong.yaml:5:14: error[VMC504] ")
    assert done.stderr == ""


def test_warnings_count_where_strict(run: Run) -> None:
    assert run("validate", "warned.yaml").returncode == 0
    assert "warning[VMC508]" in run("validate", "warned.yaml").stdout
    assert run("validate", "--strict", "warned.yaml").returncode == 1


def test_concise_is_a_line_a_finding(run: Run) -> None:
    done = run("validate", "--format", "concise", "wrong.yaml", "warned.yaml")
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == [
        "warned.yaml:5:14:",
        "wrong.yaml:5:14:",
    ]


def test_json_is_printed_also_when_there_is_nothing(run: Run) -> None:
    report = json.loads(run("validate", "--format", "json", "right.yaml").stdout)
    assert report == {
        "format": "vmcfg.diagnostics",
        "format_version": "1.0",
        "files": 1,
        "errors": 0,
        "warnings": 0,
        "diagnostics": [],
    }


def test_json_counts_what_was_read(run: Run) -> None:
    done = run("validate", "--format", "json", ".", "absent.yaml")
    report = json.loads(done.stdout)
    assert (report["files"], report["errors"], report["warnings"]) == (3, 1, 1)
    assert done.returncode == 3


def test_an_unreadable_file_is_a_line_and_the_others_are_checked(run: Run) -> None:
    done = run("validate", "absent.yaml", "wrong.yaml")
    assert done.returncode == 3
    assert done.stderr == "vmcfg: cannot read absent.yaml: No such file or directory\n"
    assert "wrong.yaml:5:14" in done.stdout


def test_directories_are_searched_but_for_what_is_hidden(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.yml").write_text(WRONG)
    (tmp_path / "deep" / ".hidden").mkdir()
    (tmp_path / "deep" / ".hidden" / "b.yaml").write_text(WRONG)
    (tmp_path / "deep" / ".c.yaml").write_text(WRONG)
    (tmp_path / "deep" / "notes.txt").write_text(WRONG)
    done = run("validate", "--format", "json", "deep")
    assert [found["file"] for found in json.loads(done.stdout)["diagnostics"]] == ["deep/er/a.yml"]
    assert json.loads(done.stdout)["files"] == 1


def test_nothing_to_check_is_no_success(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for format_ in ("human", "json"):
        done = run("validate", "--format", format_, "empty")
        assert done.returncode == 3
        assert done.stderr == "vmcfg: nothing to check: no *.yaml or *.yml files found\n"


def test_a_file_named_twice_is_checked_once(run: Run) -> None:
    assert run("validate", "wrong.yaml", "wrong.yaml").stdout.count("VMC504]") == 1


def test_standard_input_has_a_name(run: Run) -> None:
    assert run("validate", "-", input=WRONG).stdout.startswith("<stdin>:5:14:")
    assert run("validate", "-", "--stdin-filename", "vm.yaml", input=WRONG).stdout.startswith(
        "vm.yaml:5:14:"
    )


def test_closed_standard_input_is_a_failure(tmp_path: Path) -> None:
    done = shell("vmcfg validate - <&-", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(b"vmcfg: cannot read standard input")


def test_host_kernel_beats_the_descriptions(run: Run) -> None:
    text = 'vmcfg: 1\nname: vm\nhost_kernel: "6.12"\nvcpus:\n  - mpidr: 0.0.200.1\n'
    assert run("validate", "-", input=text).returncode == 0
    older = run("validate", "--host-kernel", "6.9", "-", input=text)
    assert older.returncode == 1
    assert "VMC701" in older.stdout
    newer = run("validate", "--host-kernel", "6.10", "-", input=text.replace("6.12", "6.9"))
    assert newer.returncode == 0


@pytest.mark.parametrize("version", ["6", "6.12.1", "5.10", "six", "6.01"])
def test_host_kernel_is_a_version_from_6_1_on(run: Run, version: str) -> None:
    done = run("validate", "--host-kernel", version, "right.yaml")
    assert done.returncode == 2
    assert done.stdout == ""


def test_python_callers_get_the_same(run: Run) -> None:
    import vmcfg

    assert [found.rule for found in vmcfg.check(WRONG)] == ["VMC504"]
    assert vmcfg.check(RIGHT) == []
    assert vmcfg.check("\ud800")[0].rule == "VMC101"
    assert vmcfg.plan(RIGHT).commands[0].op == "create-vm"
    with pytest.raises(vmcfg.InvalidDescription, match="SGI 7") as caught:
        vmcfg.plan(WRONG)
    assert [found.rule for found in caught.value.diagnostics] == ["VMC504"]


# emit ---------------------------------------------------------------------------------------------


def test_the_plan_is_the_product_of_emit(run: Run) -> None:
    done = run("emit", "right.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, TEXT, "")


@pytest.mark.parametrize("format_", ["text", "json", "jsonl"])
def test_a_wrong_description_emits_nothing(run: Run, tmp_path: Path, format_: str) -> None:
    done = run("emit", "wrong.yaml", "--format", format_, "-o", "plan")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[VMC504]" in done.stderr
    assert not (tmp_path / "plan").exists()
    assert run("emit", "wrong.yaml", "--format", format_).stdout == ""


def test_below_the_threshold_there_are_findings_and_the_plan(run: Run) -> None:
    done = run("emit", "warned.yaml")
    assert done.returncode == 0
    assert "warning[VMC508]" in done.stderr
    assert done.stdout.endswith("KVM_ARM_VCPU_PMU_V3_INIT none -\n")
    strict = run("emit", "--strict", "warned.yaml")
    assert (strict.returncode, strict.stdout) == (1, "")


def test_unchecked_reports_and_emits(run: Run) -> None:
    done = run("emit", "--unchecked", "wrong.yaml")
    assert done.returncode == 0
    assert "error[VMC504]" in done.stderr
    assert "KVM_ARM_VCPU_PMU_V3_IRQ s32 7\n" in done.stdout
    header = json.loads(
        run("emit", "--unchecked", "wrong.yaml", "--format", "jsonl").stdout.splitlines()[0]
    )
    assert header["unchecked"] is True


@pytest.mark.parametrize(
    "text", ["vcpus: [", RIGHT.replace("0.0.0.0", "16"), "vmcfg: 1\nname: vm\nvcpus: 513\n"]
)
def test_unchecked_plans_no_machine_that_is_none(run: Run, text: str) -> None:
    done = run("emit", "--unchecked", "-", input=text)
    assert (done.returncode, done.stdout) == (1, "")


def test_unchecked_cuts_as_c_does(run: Run) -> None:
    text = 'vmcfg: 1\nname: vm\nvcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq: "4294967319"\n'
    line = json.loads(
        run("emit", "--unchecked", "-", "--format", "jsonl", input=text).stdout.splitlines()[1]
    )
    assert (line["value"], line["data"]) == ("23", "17000000")


def test_phases_are_kept_in_the_plans_order(run: Run) -> None:
    done = run("emit", "right.yaml", "--scope", "vm", "--phase", "pmu-init,create")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "create-vm",
        "create-vcpu",
        "init-vcpu",
        "set-attr",
    ]
    lines = [
        json.loads(line)
        for line in run(
            "emit", "right.yaml", "--phase", "pmu-init", "--format", "jsonl"
        ).stdout.splitlines()
    ]
    assert [line.get("seq") for line in lines] == [None, 1, None]
    assert lines[-1] == {"op": "end", "count": 1}


def test_an_empty_selection_is_a_header_and_an_end(run: Run) -> None:
    done = run("emit", "right.yaml", "--phase", "late")
    assert (done.returncode, done.stdout) == (0, "")
    lines = run("emit", "right.yaml", "--phase", "late", "--format", "jsonl").stdout.splitlines()
    assert json.loads(lines[1]) == {"op": "end", "count": 0}
    assert (
        json.loads(run("emit", "right.yaml", "--phase", "late", "--format", "json").stdout)[
            "commands"
        ]
        == []
    )


def test_numbers_are_for_one_sscanf(run: Run) -> None:
    text = RIGHT.replace("0.0.0.0", "0.0.200.1").replace(
        "name: vm", 'name: vm\nhost_kernel: "6.12"'
    )
    assert run("emit", "--numbers", "-", input=text).stdout.splitlines() == [
        "set-reg vcpu:0 0 0x603000000013c005 8 01c8008000000000",
        "set-attr vcpu:0 0 0x0 4 17000000",
        "set-attr vcpu:0 0 0x1 0 -",
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["emit", "right.yaml", "--numbers", "--format", "json"],
        ["emit", "right.yaml", "--comments", "--format", "jsonl"],
        ["emit", "right.yaml", "--phase", "later"],
        ["emit", "right.yaml", "--scope", "everything"],
        ["emit", "right.yaml", "-o", "right.yaml"],
        ["emit", "right.yaml", "-o", "./right.yaml"],
        ["emit", "right.yaml", "warned.yaml"],
        ["emit"],
        ["validate"],
        ["validate", "--format", "xml", "right.yaml"],
        ["explain", "VMC999"],
        ["example", "maximal"],
        ["schema", "xml"],
        ["validat", "right.yaml"],
        ["--colour"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_with_a_reason(run: Run, args: list[str]) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_vmcfg_alone_shows_its_help(run: Run) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "validate" in done.stderr


def test_help_and_version_are_asked_for(run: Run) -> None:
    import vmcfg

    assert run("--version").stdout == f"vmcfg {vmcfg.__version__}\n"
    assert "Exit codes" in run("--help").stdout
    for command in ("validate", "emit", "explain", "example", "schema"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith("Usage: ")


def test_help_is_shown_whatever_else_is_wrong(run: Run) -> None:
    for arguments in (["--format", "none"], ["--host-kernel", "x"], ["--host", "absent.json"]):
        for line in (["validate", *arguments, "-h"], ["validate", "--help", *arguments]):
            done = run(*line)
            assert (done.returncode, done.stderr) == (0, ""), line
            assert done.stdout.startswith("Usage: ")


def test_a_folder_can_be_planned_only_into_a_folder(run: Run) -> None:
    done = run("emit", ".")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "Error: Several descriptions, or a directory of them, require -o DIRECTORY/.\n"
    )


# -o -----------------------------------------------------------------------------------------------


def test_output_is_the_plan_and_keeps_its_mode(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "plan"
    target.write_text("old")
    target.chmod(0o640)
    done = run("emit", "right.yaml", "-o", "plan")
    assert (done.returncode, done.stdout) == (0, "")
    assert target.read_text() == TEXT
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_output_has_the_usual_mode(run: Run, tmp_path: Path) -> None:
    run("emit", "right.yaml", "-o", "plan")
    mask = os.umask(0o077)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "plan").stat().st_mode) == 0o666 & ~mask


def test_the_old_output_survives_findings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("old")
    assert run("emit", "wrong.yaml", "-o", "plan").returncode == 1
    assert (tmp_path / "plan").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "plan",
        "right.yaml",
        "warned.yaml",
        "wrong.yaml",
    ]


def test_output_through_a_link_replaces_what_it_points_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    run("emit", "right.yaml", "-o", "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == TEXT


def test_output_to_a_device_is_written_there(run: Run) -> None:
    assert run("emit", "right.yaml", "-o", "/dev/stdout").stdout == TEXT
    assert run("emit", "right.yaml", "-o", "-").stdout == TEXT
    full = run("emit", "right.yaml", "-o", "/dev/full")
    assert full.returncode == 3
    assert full.stderr == "vmcfg: cannot write /dev/full: No space left on device\n"


def test_output_where_there_is_no_folder_is_a_failure(run: Run) -> None:
    done = run("emit", "right.yaml", "-o", "absent/plan")
    assert done.returncode == 3
    assert done.stderr == "vmcfg: cannot write absent/plan: No such file or directory\n"


# Streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["emit right.yaml", "validate wrong.yaml", "validate --format json right.yaml", "explain"],
)
def test_a_full_disk_is_a_failure_in_one_line(run: Run, tmp_path: Path, command: str) -> None:
    done = shell(f"vmcfg {command} > /dev/full", tmp_path)
    assert done.returncode == 3
    assert done.stderr == b"vmcfg: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("command", ["emit right.yaml", "validate wrong.yaml", "--version"])
def test_a_closed_standard_output_is_a_failure(run: Run, tmp_path: Path, command: str) -> None:
    done = shell(f"vmcfg {command} >&-", tmp_path)
    assert done.returncode == 3
    assert done.stderr == b"vmcfg: cannot write to standard output: it is closed\n"


def test_a_closed_standard_error_changes_nothing_else(run: Run, tmp_path: Path) -> None:
    done = shell("vmcfg emit warned.yaml 2>&-", tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(b"set-attr")
    assert shell("vmcfg emit absent.yaml 2>&-", tmp_path).returncode == 3
    assert shell("vmcfg emit --nonsense 2>&-", tmp_path).returncode == 2


def test_a_reader_that_has_seen_enough_ends_it_silently(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"  - {{mpidr: 0.0.{n // 16}.{n % 16}, pmu_irq: 23}}\n" for n in range(512))
    (tmp_path / "large.yaml").write_text(f"vmcfg: 1\nname: vm\nvcpus:\n{rows}")
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [*VMCFG, "emit", "large.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == -signal.SIGPIPE
    assert shell("vmcfg emit large.yaml | head -1", tmp_path).stderr == b""


def test_a_narrow_encoding_loses_nothing(run: Run, tmp_path: Path) -> None:
    text = RIGHT + 'x-note: "für"\nfür: 1\n'
    env = {
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    done = run("validate", "-", input=text, **env)
    assert done.returncode == 1
    assert "unknown key 'f\\xfcr'" in done.stdout
    (tmp_path / "ü\n 1.yaml").write_text(WRONG)
    assert run("validate", "ü\n 1.yaml", **env).stdout.startswith("\\xfc\\n 1.yaml:5:14:")
    assert (
        json.loads(run("validate", "--format", "json", "ü\n 1.yaml", **env).stdout)["errors"] == 1
    )


def test_what_comes_from_the_file_is_escaped(run: Run) -> None:
    text = RIGHT + '"\\e[31m\\u202Ekey": 1\n'
    for format_ in ("human", "concise", "json"):
        out = run("validate", "--format", format_, "-", input=text).stdout
        assert "\x1b" not in out
        assert "\u202e" not in out
    named = run(
        "emit", "--comments", "-", "--stdin-filename", "a\nset-attr gic", input=RIGHT
    ).stdout
    assert {line.startswith(("#", "set-attr vcpu:0 ")) for line in named.splitlines()} == {True}


def test_colors_by_option_environment_and_terminal(run: Run) -> None:
    def colored(*args: str, **env: str) -> bool:
        return "\x1b[" in run("validate", "wrong.yaml", *args, **env).stdout

    assert not colored()
    assert colored("--color", "always")
    assert colored(FORCE_COLOR="1")
    assert not colored(FORCE_COLOR="")
    assert not colored(FORCE_COLOR="1", NO_COLOR="1")
    assert colored(FORCE_COLOR="1", NO_COLOR="")
    assert colored("--color", "always", NO_COLOR="1")
    assert not colored("--color", "never", FORCE_COLOR="1")


def test_colors_changes_no_word(run: Run) -> None:
    import re

    plain = run("validate", "wrong.yaml").stdout
    colored = run("validate", "wrong.yaml", "--color", "always").stdout
    assert re.sub("\x1b\\[[0-9;]*m", "", colored) == plain


def test_a_terminal_gets_colors_and_a_summary(run: Run, tmp_path: Path) -> None:
    reader, terminal = pty.openpty()
    env = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")
    }
    process = subprocess.Popen(
        [*VMCFG, "validate", "wrong.yaml", "warned.yaml"],
        cwd=tmp_path,
        env={**env, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # without a writer, reading a terminal fails
        while True:
            seen += os.read(reader, 4096)
    os.close(reader)
    assert process.wait(timeout=60) == 1
    assert b"\x1b[1;31merror[VMC504]" in seen
    assert b"2 files checked: 1 error, 1 warning" in seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_quiet(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*VMCFG, "validate", "-"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONVERBOSE": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"vmcfg: 1\n")
    process.stdin.flush()
    wait_until_it_reads(process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, b"", b"")


def wait_until_it_reads(pid: int) -> None:
    """Wait until the process is blocked in a read of its standard input."""
    for _ in range(600):
        call = (
            Path(f"/proc/{pid}/syscall").read_text().split()
            if Path(f"/proc/{pid}/syscall").exists()
            else []
        )
        if call and call[0] in ("0", "63") and call[1] == "0x0":
            return
        time.sleep(0.05)
    raise AssertionError("it never read its standard input")


# explain, example, schema -------------------------------------------------------------------------


def test_every_rule_attribute_and_topic_is_explained(run: Run) -> None:
    from vmcfg.commands.explain import explanation
    from vmcfg.description.model import every_field
    from vmcfg.plans.sequence import SEQUENCE
    from vmcfg.reference.every_rule import every_rule
    from vmcfg.reference.examples import EXAMPLES
    from vmcfg.reference.explanations import TOPICS

    for rule in every_rule():
        text = "\n".join(explanation(rule.id))
        assert rule.name in text
        # The other rules are about files or kernels, not about a description alone.
        assert ("For example:" in text) == (rule.id in EXAMPLES)
        assert text == "\n".join(explanation(rule.name))
    for name in (*every_field(), *(row.name for row in SEQUENCE), *TOPICS, None):
        assert list(explanation(name))
    assert run("explain", "vmc503").stdout.startswith("VMC503 duplicate-pmu-spi (error)")
    assert "If you mean 'gic.nr_irqs', write that." in run("explain", "gic.nr_irq").stderr


def test_every_value_type_has_words(run: Run) -> None:
    """A number has its C type and size; only structs of the uapi are printed as structs."""
    words = (
        r"none|[su]32, four bytes|[su]64, eight bytes|u512, 64 bytes|bits of [a-z_.]+"
        r"|struct kvm_[a-z_]+|arguments of struct kvm_enable_cap"
    )
    for line in run("explain", "attributes").stdout.splitlines():
        label, _, value = line.strip().partition(" ")
        assert label != "value" or re.fullmatch(words, value.strip()), (
            f"'vmcfg explain attributes' prints {value.strip()!r} for a type of value: write in"
            " vmcfg the words that users should read, or allow the new words in tests/test_cli.py"
        )


def test_a_plan_is_the_same_bytes_in_a_file_and_on_standard_output(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "é.yaml").write_text(RIGHT)
    for options in (["--comments"], ["--format", "sh"], ["--format", "c"], ["--format", "jsonl"]):
        run("emit", "é.yaml", *options, "-o", "plan")
        assert (tmp_path / "plan").read_text() == run("emit", "é.yaml", *options).stdout


def test_standard_input_is_sorted_by_its_name(run: Run) -> None:
    done = run(
        "validate",
        "--format",
        "concise",
        "-",
        "wrong.yaml",
        "--stdin-filename",
        "zz.yaml",
        input=WRONG,
    )
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "wrong.yaml",
        "zz.yaml",
    ]
