"""Fixes: only unambiguous problems are corrected, and every other byte stays."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import not_here
from tests.processes import run_vmcfg
from vmcfg.checking import fixes
from vmcfg.checking.check import Checked, check
from vmcfg.checking.fixes import difference, fixed
from vmcfg.commands.checked_file import FileCheck, FileResult
from vmcfg.description.model import every_field
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports.form import report_form
from vmcfg.text.tree import Tree

ROOT = Path(__file__).parent.parent
HEAD = "vmcfg: 1\nname: vm\n"
THREE = HEAD + "vcpus:\n" + "".join(f"  - {{mpidr: 0.0.0.{n}, pmu_irq: %s}}\n" for n in range(3))
ALIASED = HEAD + "%s\nvcpus: 2\n"


def checked(data: bytes) -> Checked:
    return check(data, "vm.yaml")


def fix(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return fixed(data, checked(data), checked)[0]


CERTAIN = {
    "text-as-float": (
        HEAD + "host_kernel: 6.10 # no\nvcpus: 1\n",
        HEAD + 'host_kernel: "6.10" # no\nvcpus: 1\n',
    ),
    "text-as-boolean": ("vmcfg: 1\nname: no\nvcpus: 1\n", 'vmcfg: 1\nname: "no"\nvcpus: 1\n'),
    "text-as-date": (
        "vmcfg: 1\nname: 2026-11-22\nvcpus: 1\n",
        'vmcfg: 1\nname: "2026-11-22"\nvcpus: 1\n',
    ),
    "text-anchored": ("vmcfg: 1\nname: &n no\nvcpus: 1\n", 'vmcfg: 1\nname: &n "no"\nvcpus: 1\n'),
    "key-short": (HEAD + "vcpus: 1\npum: {iqr: 23}\n", HEAD + "vcpus: 1\npmu: {irq: 23}\n"),
    "key-one-letter": (
        HEAD + "vcpus: 1\ntimer: {virtual: 27}\n",
        HEAD + "vcpus: 1\ntimers: {virtual: 27}\n",
    ),
    "key-swapped": ("vmcfg: 1\nnmae: vm\nvcpus: 1\n", HEAD + "vcpus: 1\n"),
    "key-hyphen": (
        HEAD + 'vcpus: 1\nhost-kernel: "6.1"\n',
        HEAD + 'vcpus: 1\nhost_kernel: "6.1"\n',
    ),
    "key-quoted": ('{"vmcfg":1,"name":"vm","vcpu":1}', '{"vmcfg":1,"name":"vm","vcpus":1}'),
    "key-single-quoted": (HEAD + "'vcpu' : 1\n", HEAD + "'vcpus' : 1\n"),
    "key-complex": (HEAD + "? vcpu\n: 1\n", HEAD + "? vcpus\n: 1\n"),
    "one-ppi": (THREE % (23, 22, 23), THREE % (23, 23, 23)),
    "one-ppi-first": (THREE % (22, 23, 23), THREE % (23, 23, 23)),
    "one-ppi-by-prefix": (THREE % (23, "ppi:6", 23), THREE % (23, "ppi:7", 23)),
    "one-ppi-quoted": (THREE % (23, '"22"', 23), THREE % (23, '"23"', 23)),
    "one-ppi-hexadecimal": (THREE % (23, "0x16", 23), THREE % (23, "23", 23)),
    "ppi-as-intid": (HEAD + "vcpus: 2\npmu: {irq: ppi:23}\n", HEAD + "vcpus: 2\npmu: {irq: 23}\n"),
    "ppi-as-intid-json": (
        '{"vmcfg":1,"name":"vm","vcpus":2,"pmu":{"irq":"ppi:23"}}',
        '{"vmcfg":1,"name":"vm","vcpus":2,"pmu":{"irq":"23"}}',
    ),
    "timer-as-intid": (
        HEAD + "vcpus: 1\ntimers: {virtual: ppi:28}\n",
        HEAD + "vcpus: 1\ntimers: {virtual: 28}\n",
    ),
    "alias-all-uses": (
        ALIASED % "x-i: &i ppi:23\npmu: {irq: *i}",
        ALIASED % "x-i: &i 23\npmu: {irq: *i}",
    ),
    "alias-two-rules": (
        ALIASED % "pmu: {irq: &i ppi:23}\ntimers: {hyp_virtual: *i}",
        ALIASED % "pmu: {irq: &i 23}\ntimers: {hyp_virtual: *i}",
    ),
    "alias-of-mapping": (
        HEAD + "x-v: &v {mpidr: 0.0.0.0, pmu_irg: 23}\nvcpus: [*v]\n",
        HEAD + "x-v: &v {mpidr: 0.0.0.0, pmu_irq: 23}\nvcpus: [*v]\n",
    ),
    "one-after-another": (
        "vmcfg: 1\nnaem: no\nvcpu:\n  - {mpidr: 0.0.0.0, pmu_irq: ppi:23}\n",
        'vmcfg: 1\nname: "no"\nvcpus:\n  - {mpidr: 0.0.0.0, pmu_irq: 23}\n',
    ),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_certain_is_fixed(name: str) -> None:
    before, after = CERTAIN[name]
    assert checked(before.encode()).diagnostics
    assert fix(before).decode() == after
    assert fix(after).decode() == after


@pytest.mark.parametrize("name", CERTAIN)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["no-mark", "mark"])
def test_every_other_byte_stays(name: str, ends: str, start: str) -> None:
    before, after = (
        f"{start}# für 日本 🙂\n{text}# end".replace("\n", ends) for text in CERTAIN[name]
    )
    assert fix(before) == after.encode()


def test_a_byte_order_mark_is_no_column() -> None:
    before, after = CERTAIN["key-quoted"]
    assert fix("\ufeff" + before).decode() == "\ufeff" + after


@pytest.mark.parametrize(
    "text",
    [
        "vmcfg: 1\nname: ~\nvcpus: 1\n",
        HEAD + "host_kernel: 6\nvcpus: 1\n",
        HEAD + "vcpus: 1\ncolour: blue\n",
        HEAD + "vcpus: 1\nvcpu: 2\n",
        HEAD + "vcpus: 1\nmu: {}\n",
        HEAD + "vcpus: 1\nsmu: {}\n",
        HEAD + "vcpus: 1\ntimeers_: {}\n",
        HEAD + "vcpus:\n  - {mpidr: 0.0.0.0, pmu_irg: 23, pmu_iqr: 24}\n",
        HEAD + "vcpus: 1\nnr_irqs: 256\n",
        HEAD + "vcpus: 1\ntimers: {hyp_al: 28}\n",
        THREE % (23, 22, 21),
        HEAD + "vcpus:\n  - {mpidr: 0.0.0.0, pmu_irq: 23}\n  - {mpidr: 0.0.0.1, pmu_irq: 22}\n",
        HEAD + "vcpus:\n  - {mpidr: 0.0.0.0-2, pmu_irq: 23}\n  - {mpidr: 0.0.0.3-4, pmu_irq: 22}\n",
        HEAD
        + "vcpus:\n  - {mpidr: 0.0.0.0-1, pmu_irq: 23}\n  - {mpidr: 0.0.0.2-3, pmu_irq: ppi:6-7}\n",
        THREE % (23, 40, 23),
        THREE % (40, 40, 41),
        HEAD + "vcpus: 2\npmu: {irq: ppi:40}\n",
        HEAD + "vcpus: 2\npmu: {irq: ppi:16-17}\n",
        HEAD + "vcpus: 1\npmu: {irq: spi:1000}\n",
        HEAD + "vcpus: 1\npmu: {irq: 7}\n",
        HEAD + "vcpus: 1\npmu: {irq: 010}\n",
        "vmcfg: 1\nname: vm\nvcpus: [\n",
        "\n",
    ],
)
def test_what_is_not_certain_stays(text: str) -> None:
    assert checked(text.encode()).diagnostics
    assert fix(text).decode() == text


@pytest.mark.parametrize(
    "text",
    [
        # A value that is invalid in one place and valid in another.
        ALIASED % "x-n: &n 6.10\nhost_kernel: *n\ntimers: {virtual: *n}",
        ALIASED % "pmu: {irq: &i ppi:23}\nmemory: [{base: 0, size: *i}]",
        # The value of an unknown key: its meaning is not known.
        ALIASED % "pmu: {irq: &i ppi:23}\nfoo: *i",
        # The PPI that differs from the others is also that of a timer.
        HEAD
        + "timers: {hyp_virtual: &i 22}\nvcpus:\n  - {mpidr: 0.0.0.0, pmu_irq: *i}\n"
        + "  - {mpidr: 0.0.0.1, pmu_irq: 23}\n  - {mpidr: 0.0.0.2, pmu_irq: 23}\n",
        # A mapping that is a vCPU in one place and something else in another.
        HEAD + "vcpus: [&v {mpidr: 0.0.0.0, pmu_irg: 23}]\npmu: *v\n",
    ],
)
def test_what_is_used_twice_is_fixed_only_where_all_uses_agree(text: str) -> None:
    before = [each.fix for each in checked(text.encode()).diagnostics]
    assert before
    assert before == [None] * len(before)


def edits(key: str) -> list[str]:
    """Return the words that differ from `key` by one typo."""
    letters = "abcdefghijklmnopqrstuvwxyz_"
    cuts = [(key[:place], key[place:]) for place in range(len(key) + 1)]
    slips = [left + right[1:] for left, right in cuts if right]
    slips += [left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1]
    slips += [left + letter + right[1:] for left, right in cuts if right for letter in letters]
    return sorted({slip for slip in slips if slip and slip != key})


FULL = (ROOT / "sample-configs" / "full.yaml").read_text()


@given(st.sampled_from(sorted({name.rpartition(".")[2] for name in every_field()})), st.data())
def test_a_slip_is_undone_or_left(key: str, data: st.DataObject) -> None:
    slip = data.draw(st.sampled_from(edits(key)))
    before = FULL.replace(f"{key}:", f"{slip}:", 1)
    assert fix(before).decode() in (FULL, before)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["distributor", "redistributors", "host_kernel", "timers", "vcpus"])
def test_a_slip_in_a_long_key_is_undone(key: str) -> None:
    left = [
        slip for slip in edits(key) if fix(FULL.replace(f"{key}:", f"{slip}:", 1)).decode() != FULL
    ]
    assert left == []


def test_fixed_text_is_checked_again() -> None:
    data = (THREE % (23, "ppi:22", "23")).encode()
    text, left, count = fixed(data, checked(data), checked)
    assert (text.decode(), left.diagnostics, count) == (THREE % (23, 23, 23), [], 2)


def test_a_fix_that_leaves_no_description_is_not_made() -> None:
    data = b"vmcfg: 1\nname: no\nvcpus: 1\n"
    assert fixed(data, checked(data), lambda text: checked(b"["))[0] == data


# The command --------------------------------------------------------------------------------------


def validate(*args: str, cwd: Path, input: bytes | None = None) -> tuple[int, str, str]:
    done = run_vmcfg(["validate", *args], cwd=cwd, input=input)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


WRONG = "vmcfg: 1\r\nname: no # comment\r\nvcpus: 1\r\n"
RIGHT = WRONG.replace("no #", '"no" #')
HALF = "vmcfg: 1\nname: no\nvcpus: 1\npmu: {irq: 7}\n"


def test_fix_writes_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_bytes(WRONG.encode())
    (tmp_path / "real.yaml").chmod(0o640)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    assert validate("--fix", "link.yaml", cwd=tmp_path) == (0, "", "1 of 1 file changed\n")
    assert (tmp_path / "real.yaml").read_bytes() == RIGHT.encode()
    assert stat.S_IMODE((tmp_path / "real.yaml").stat().st_mode) == 0o640
    assert (tmp_path / "link.yaml").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


def test_what_is_left_is_reported(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(HALF)
    code, out, err = validate("--fix", "--format", "concise", "vm.yaml", cwd=tmp_path)
    assert (code, err) == (1, "1 of 1 file changed\n")
    assert out.startswith("vm.yaml:4:12: error[VMC504]")
    assert out.count("\n") == 1
    assert (tmp_path / "vm.yaml").read_text() == HALF.replace("no", '"no"')


def test_nothing_to_fix_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_bytes(RIGHT.encode())
    before = (tmp_path / "vm.yaml").stat()
    assert validate("--fix", "vm.yaml", cwd=tmp_path) == (0, "", "0 of 1 file changed\n")
    after = (tmp_path / "vm.yaml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


NAMES = [
    "vm.yaml",
    "a b.yaml",
    'q"\\uote.yaml',
    "für\t日\n.yaml",
    "deep/er/vm.yaml",
    os.fsdecode(b"caf\xe9.yaml"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", ["\r\n", ""], ids=["ended", "no newline at the end"])
@pytest.mark.parametrize("tool", ["git apply -", "patch -s -p1 --binary"])
def test_diff_is_a_patch(
    name: str, end: str, tool: str, tmp_path: Path, program: Callable[[str], str]
) -> None:
    command = tool.split()
    command[0] = program(command[0])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    wrong, right = (
        text.replace("vcpus: 1\r\n", f"vcpus: 1{end}").encode() for text in (WRONG, RIGHT)
    )
    (tmp_path / name).write_bytes(wrong)
    done = run_vmcfg(["validate", "--fix", "--diff", name], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"")
    assert (tmp_path / name).read_bytes() == wrong
    subprocess.run(command, cwd=tmp_path, input=done.stdout, check=True)
    assert (tmp_path / name).read_bytes() == right


def test_diff_reports_what_would_be_left_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(HALF)
    code, out, err = validate("--fix", "--diff", "vm.yaml", cwd=tmp_path)
    assert code == 1
    assert out == (
        '--- a/vm.yaml\n+++ b/vm.yaml\n@@ -1,4 +1,4 @@\n vmcfg: 1\n-name: no\n+name: "no"\n'
        " vcpus: 1\n pmu: {irq: 7}\n"
    )
    assert err.startswith("vm.yaml:4:12: error[VMC504]")


def test_diff_of_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(RIGHT)
    assert validate("--fix", "--diff", "vm.yaml", cwd=tmp_path) == (0, "", "")


def test_for_a_terminal_a_diff_is_escaped() -> None:
    before, after = "a: 1 # \u202e\n".encode(), "a: 2 # \u202e\n".encode()
    assert b"\\u202e" not in difference("vm.yaml", before, after, terminal=False)
    shown = difference("\x1bvm.yaml", before, after, terminal=True).decode()
    assert shown == (
        '--- "a/\\033vm.yaml"\n+++ "b/\\033vm.yaml"\n@@ -1 +1 @@\n-a: 1 # \\u202e\n+a: 2 # '
        "\\u202e\n"
    )


@pytest.mark.parametrize(("text", "code"), [(WRONG, 0), (RIGHT, 0), (HALF, 1), ("[", 1)])
def test_standard_input_is_fixed_to_standard_output(text: str, code: int, tmp_path: Path) -> None:
    done = validate("--fix", "-", "--stdin-filename", "vm.yaml", cwd=tmp_path, input=text.encode())
    assert done[0] == code
    assert done[1] == fix(text).decode()
    assert (done[2] != "") == (code == 1)
    assert "vm.yaml:4:12: error[VMC504]" in done[2] or text != HALF


@pytest.mark.parametrize(
    "args",
    [
        ["--diff", "vm.yaml"],
        ["--fix", "-", "vm.yaml"],
        ["--fix", "--diff", "--format", "json", "vm.yaml"],
        ["--fix", "--diff", "--format", "sarif", "vm.yaml"],
        ["--fix", "--format", "github", "-"],
    ],
    ids=" ".join,
)
def test_contradictions_are_wrong_usage(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_bytes(WRONG.encode())
    code, out, err = validate(*args, cwd=tmp_path, input=b"")
    assert (code, out) == (2, "")
    assert "Error: " in err
    assert (tmp_path / "vm.yaml").read_bytes() == WRONG.encode()


def test_a_file_that_changes_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "vm.yaml"
    path.write_bytes(WRONG.encode())

    class EditedMeanwhile(FileCheck):
        def fixed(
            self, path: str, data: bytes, checked: Checked, first: Tree | None = None
        ) -> FileResult:
            Path(path).write_text("edited")
            return super().fixed(path, data, checked, first)

    result = EditedMeanwhile(
        name_of=lambda path: "vm.yaml",
        host_kernel=None,
        hosts=(),
        report=report_form("concise"),
        fix=True,
        diff=False,
        for_terminal=False,
    ).result(str(path))
    assert result.failure == "cannot fix vm.yaml: it was changed at the same time"
    assert path.read_text() == "edited"


def test_a_file_that_can_not_be_written_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "vm.yaml").write_bytes(WRONG.encode())
    (tmp_path / "other.yaml").write_bytes(WRONG.encode())
    attributes = shutil.which("chattr")
    if os.getuid() == 0 and attributes:
        if subprocess.run(
            [attributes, "+i", str(folder)], capture_output=True, check=False
        ).returncode:
            not_here("nothing here is read-only to root")
    else:
        folder.chmod(0o555)
    try:
        code, out, err = validate("--fix", "folder/vm.yaml", "other.yaml", cwd=tmp_path)
    finally:
        if os.getuid() == 0 and attributes:
            subprocess.run([attributes, "-i", str(folder)], check=True)
        folder.chmod(0o755)
    assert code == 3
    assert err.startswith("vmcfg: cannot write folder/vm.yaml: ")
    assert err.endswith("\n1 of 2 files changed\n")
    assert err.count("\n") == 2
    assert out.startswith("folder/vm.yaml:2:7: error[VMC122]")
    assert (folder / "vm.yaml").read_bytes() == WRONG.encode()
    assert (tmp_path / "other.yaml").read_bytes() == RIGHT.encode()


def test_many_files_are_fixed_by_many_processes(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}.yaml").write_bytes(
            (WRONG if number % 3 else HALF).replace("no", f"{number}").encode()
        )
    code, out, err = validate("--fix", "--jobs", "3", "--format", "concise", ".", cwd=tmp_path)
    assert (code, err) == (1, "100 of 100 files changed\n")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"./{number:03}.yaml" for number in range(0, 100, 3)
    ]
    for number in range(100):
        if number % 3:
            right = RIGHT.replace("no", f"{number}")
            assert (tmp_path / f"{number:03}.yaml").read_bytes() == right.encode()


def test_rules_with_fixes_are_these() -> None:
    fixing = {
        each.rule
        for before, _ in CERTAIN.values()
        for each in checked(before.encode()).diagnostics
        if each.fix is not None
    }
    assert fixing == {"VMC110", "VMC122", "VMC502", "VMC504", "VMC601"}
    assert fixing <= {rule.id for rule in every_rule()}


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("vm.yaml", "vm.yaml"),
        ("my vm.yaml", "my vm.yaml\t"),
        ("é.yaml", "é.yaml"),
        ('a"b', '"a\\042b"'),
        ("a\\b", '"a\\134b"'),
        ("a\tb", '"a\\011b"'),
        ("a\x7fb ~", '"a\\177b ~"'),
        ("\x1f \udcff", '"\\037 \\377"'),
    ],
)
def test_names_are_quoted_as_git_does(name: str, quoted: str) -> None:
    assert fixes._quoted(name) == quoted
