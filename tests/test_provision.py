"""sample-configs/provision.sh, executed in three shells, with the real vmcfg if possible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vmcfg.reference.plan_fields import BY_DEFAULT, operation_texts
from vmcfg.shell.manual import pages

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parent.parent
SCRIPT = CHECKOUT / "sample-configs" / "provision.sh"
SHELLS = ("dash", "bash --posix", "busybox sh")

RIGHT = b"""vmcfg: 1
name: right
vcpus: 2
pmu: {irq: 23}
"""
WRONG = b"""vmcfg: 1
name: wrong
vcpus:
  - {mpidr: 0.0.0.0, pmu_irq: 23}
  - {mpidr: 0.0.0.0, pmu_irq: 23}
"""
WITHOUT_COMMANDS = b"vmcfg: 1\nname: bare\nvcpus: 1\n"

PERFORMED = [
    "set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23",
    "set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23",
    "set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT none -",
    "set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_INIT none -",
]

BODY = """    printf 'set-attr %s %s %s %s %s\\n' "$@"\n"""
"""The line of provision.sh that its user replaces with code that sets an attribute."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def vmcfg_on_path(tmp_path: Path) -> Path:
    """Return a directory for PATH that contains the vmcfg of this checkout."""
    folder = tmp_path / "bin"
    folder.mkdir()
    _command(folder / "vmcfg", f'PYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -m vmcfg "$@"')
    return folder


def _command(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture(params=SHELLS)
def run(
    request: pytest.FixtureRequest,
    program: Callable[[str], str],
    vmcfg_on_path: Path,
    tmp_path: Path,
) -> Run:
    """Return a function that runs the script with arguments, in each of the shells."""
    name, *options = request.param.split()
    shell = [program(name), *options]

    def run(
        *arguments: str, script: Path = SCRIPT, standard_input: str = "", cwd: Path = tmp_path
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell, str(script), *arguments],
            input=standard_input,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "PATH": f"{vmcfg_on_path}:{os.environ['PATH']}"},
            timeout=120,
        )

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty directory for descriptions, with a space in its name."""
    path = tmp_path / "vm descriptions"
    path.mkdir()
    return path


def _with_body(tmp_path: Path, body: str) -> Path:
    """Return the script with `body` as the body of set_attr."""
    text = SCRIPT.read_text()
    assert text.count(BODY) == 1
    script = tmp_path / "filled in.sh"
    script.write_text(text.replace(BODY, body))
    return script


def test_every_description_of_the_folder_is_performed(run: Run, folder: Path) -> None:
    (folder / "first vm.yaml").write_bytes(RIGHT)
    (folder / "second.yml").write_bytes(RIGHT.replace(b"right", b"second"))
    (folder / "rack 2").mkdir()
    (folder / "rack 2" / "third*.yaml").write_bytes(RIGHT.replace(b"right", b"third"))
    (folder / "rack 2" / "with\nnewline.yaml").write_bytes(RIGHT.replace(b"right", b"last"))
    (folder / "notes.txt").write_text("not a description")
    (folder / ".hidden.yaml").write_bytes(WRONG)
    done = run(str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == PERFORMED * 4


def test_a_set_register_is_performed(run: Run, folder: Path) -> None:
    (folder / "vm.yaml").write_bytes(
        b'vmcfg: 1\nname: far\nhost_kernel: "6.10"\nvcpus: [{mpidr: 0.0.200.1}]\n'
    )
    done = run(str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "set-reg vcpu:0 - MPIDR_EL1 u64 0x8000c801\n"


def test_a_wrong_description_stops_everything(run: Run, folder: Path) -> None:
    (folder / "a right one.yaml").write_bytes(RIGHT)
    (folder / "wrong.yaml").write_bytes(WRONG)
    done = run(str(folder))
    assert (done.returncode, done.stdout) == (1, "")
    assert "wrong.yaml:5:13: error[VMC301]" in done.stderr


def test_a_plan_without_commands_is_no_unknown_command(run: Run, folder: Path) -> None:
    (folder / "bare.yaml").write_bytes(WITHOUT_COMMANDS)
    (folder / "right.yaml").write_bytes(RIGHT)
    done = run(str(folder))
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", PERFORMED)


def test_an_unknown_command_stops(run: Run, folder: Path, vmcfg_on_path: Path) -> None:
    (folder / "vm.yaml").write_bytes(RIGHT)
    _command(
        vmcfg_on_path / "vmcfg",
        '[ "$1" = validate ] || printf "set-attr %s\\n" "gic a b none -"; echo "fly a b c d e"',
    )
    done = run(str(folder))
    assert done.returncode == 4
    assert done.stdout == "set-attr gic a b none -\n"
    assert done.stderr.endswith(f"provision.sh: {folder}/vm.yaml: unknown command: fly\n")


@pytest.mark.parametrize("place", [".", "rack 2"])
def test_emit_that_fails_stops(run: Run, folder: Path, vmcfg_on_path: Path, place: str) -> None:
    """A description can change between validate and emit; an incomplete plan on standard output
    must not be executed.
    """
    (folder / place).mkdir(exist_ok=True)
    (folder / place / "vm.yaml").write_bytes(RIGHT)
    (folder / place / "vm2.yaml").write_bytes(RIGHT)
    _command(
        vmcfg_on_path / "vmcfg",
        '[ "$1" = validate ] && exit; echo "set-attr gic a b none -"; exit 3',
    )
    done = run(str(folder))
    assert (done.returncode, done.stdout) == (3, "")


def test_a_body_may_read_standard_input(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "vm.yaml").write_bytes(RIGHT)
    script = _with_body(tmp_path, f"    cat >>'{tmp_path}/eaten'\n{BODY}")
    done = run(str(folder), script=script, standard_input="what ssh would send\n")
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", PERFORMED)
    assert (tmp_path / "eaten").read_text() == "what ssh would send\n"


def test_a_command_that_fails_stops(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "vm.yaml").write_bytes(RIGHT)
    script = _with_body(tmp_path, f"{BODY}    [ $1 = vcpu:0 ]\n")
    done = run(str(folder), script=script)
    assert (done.returncode, done.stdout.splitlines()) == (1, PERFORMED[:2])


@pytest.mark.parametrize("arguments", [(), ("no such folder",), ("a", "b")])
def test_without_a_folder_it_is_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    usage = "usage: provision.sh DIRECTORY [HOST...]\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", usage)


def test_a_folder_without_descriptions_is_an_error(run: Run, folder: Path) -> None:
    done = run(str(folder))
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing to check" in done.stderr


HOST_FILE = CHECKOUT / "tests/hosts/linux-6.12.json"


@pytest.fixture
def ssh(vmcfg_on_path: Path, tmp_path: Path) -> Path:
    """Replace ssh by the shell here, and Python on the host by answers to the two programs: the
    host file, and a report with the exit code in the file `trial`. Return the directory of the
    plans of host `good`; host `away` cannot be reached. tests/kvm does the same over a real ssh.
    """
    etc = tmp_path / "etc"
    _command(
        vmcfg_on_path / "ssh",
        f'''[ "$1" = good ] || {{ echo "ssh: $1 is away" >&2; exit 255; }}
exec sh -c "$(printf '%s' "$2" | sed 's#/etc/vmcfg#{etc}#g')"''',
    )
    _command(
        vmcfg_on_path / "python3",
        f'''case $(cat) in
    *"vmcfg probe"*) cat "{HOST_FILE}" ;;
    *) echo \'{{"report": 1}}\'; exit "$(cat "{tmp_path}/trial" 2>/dev/null || echo 0)" ;;
esac''',
    )
    return etc / "plans"


def test_a_host_gets_the_plans_once(run: Run, folder: Path, ssh: Path) -> None:
    (folder / "first vm.yaml").write_bytes(RIGHT)
    (folder / "rack 2").mkdir()
    (folder / "rack 2" / "second.yaml").write_bytes(RIGHT.replace(b"right", b"second"))
    done = run(str(folder), "good")
    assert (done.returncode, done.stdout, done.stderr) == (0, "good: changed\n", "")
    plans = sorted(str(path.relative_to(ssh)) for path in ssh.rglob("*.plan"))
    assert plans == ["first vm.plan", "rack 2/second.plan"]
    assert (ssh / plans[0]).read_text().splitlines() == PERFORMED
    before = (ssh / plans[0]).stat().st_ino
    done = run(str(folder), "good")
    assert (done.returncode, done.stdout, done.stderr) == (0, "good: unchanged\n", "")
    assert (ssh / plans[0]).stat().st_ino == before
    (folder / "first vm.yaml").unlink()
    assert run(str(folder), "good").stdout == "good: changed\n"
    assert [path.name for path in ssh.rglob("*.plan")] == ["second.plan"]


def test_a_host_that_fails_does_not_stop_the_others(run: Run, folder: Path, ssh: Path) -> None:
    (folder / "vm.yaml").write_bytes(RIGHT)
    done = run(str(folder), "away", "good")
    assert done.stdout == "away: failed with exit code 255\ngood: changed\n"
    assert (done.returncode, done.stderr) == (255, "ssh: away is away\n")


def test_a_host_that_cannot_have_a_vm_gets_no_plan(
    run: Run, folder: Path, ssh: Path, tmp_path: Path
) -> None:
    (folder / "vm.yaml").write_bytes(RIGHT + b"features: [el2]\nhost_kernel: '6.16'\n")
    done = run(str(folder), "good")
    assert (done.returncode, done.stdout) == (1, "good: failed with exit code 1\n")
    assert "error[VMC715]" in done.stderr
    (folder / "vm.yaml").write_bytes(RIGHT)
    for code in (1, 3):
        (tmp_path / "trial").write_text(str(code))
        done = run(str(folder), "good")
        assert (done.returncode, done.stdout) == (code, f"good: failed with exit code {code}\n")
        assert '{"report": 1}' in done.stderr
    assert not ssh.exists()


@pytest.mark.parametrize("name", ["-", "--help", "$(exit)"])
def test_a_folder_may_have_any_name(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "vm.yaml").write_bytes(RIGHT)
    done = run(name)
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", PERFORMED)


def test_the_samples_are_performed(run: Run) -> None:
    done = run(str(SCRIPT.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"set-attr", "set-reg"}


def test_every_operation_that_is_printed_by_default_is_performed() -> None:
    cases = re.findall(r"(?m)^            ([a-z]+-[a-z]+)\) ", SCRIPT.read_text())
    assert set(cases) == {each.word for each in operation_texts() if each.printed == BY_DEFAULT}


def test_the_page_about_the_fields_is_named() -> None:
    text = SCRIPT.read_text()
    assert "man vmcfg-emit" in text
    assert "\n.SH FIELDS\n" in pages()["vmcfg-emit.1"]
    (title,) = re.findall('REFERENCE.md under "(.+)"', text)
    assert f"\n### {title}\n" in (CHECKOUT / "REFERENCE.md").read_text()


def test_shellcheck_finds_nothing(program: Callable[[str], str]) -> None:
    done = subprocess.run([program("shellcheck"), str(SCRIPT)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_script_can_be_run() -> None:
    assert os.access(SCRIPT, os.X_OK)
