"""emit --format sh: three shells execute all of it or nothing, and no name as code."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.processes import run_vmcfg
from vmcfg.checking.check import Checked, check
from vmcfg.formats.sh import sh
from vmcfg.formats.text import text
from vmcfg.kernel.abi import Attr
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import SetAttr
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Plan, Scope

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
SHELLS = ("dash", "bash --posix", "busybox sh")
PRINTS = 'vmcfg_set_attr() { printf "%s\\n" "$*"; }\n'
WITH_HOST_PMU = b"vmcfg: 1\nname: vm\nvcpus: 1\npmu: {irq: 23, device: armv8_pmuv3_0}\n"

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, program: Callable[[str], str], tmp_path: Path) -> Shell:
    """Return a function that runs a script in each of the shells."""
    name, *options = request.param.split()
    command = [program(name), *options]

    def run(script: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*command, "-c", script], cwd=tmp_path, capture_output=True, timeout=120
        )
        # Decoded here, because text mode would change a carriage return.
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


def performable(data: bytes, scope: Scope) -> tuple[Checked, Plan]:
    """Return the check of `data`, and its plan without the commands that name a host PMU, which
    this format cannot contain.
    """
    checked = check(data, "vm.yaml")
    assert checked.machine is not None
    plan = lower(checked.machine, scope)
    known = tuple(each for each in plan.commands if not each.value.startswith("pmu:"))
    return checked, plan._replace(commands=known)


def minimal() -> str:
    checked, plan = performable((ROOT / "sample-configs" / "minimal.yaml").read_bytes(), ATTRIBUTES)
    return sh(plan, checked.tree)


@pytest.mark.parametrize("scope", [ATTRIBUTES, WHOLE_VM])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_performed(
    shell: Shell, tmp_path: Path, sample: Path, scope: Scope
) -> None:
    checked, plan = performable(sample.read_bytes(), scope)
    (tmp_path / "plan.sh").write_text(sh(plan, checked.tree))
    done = shell(f"set -eu\n{PRINTS}. ./plan.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == text(plan, checked.tree)


def test_a_plan_without_commands_does_nothing(shell: Shell, tmp_path: Path) -> None:
    checked, plan = performable(b"vmcfg: 1\nname: vm\nvcpus: 1\n", ATTRIBUTES)
    (tmp_path / "plan.sh").write_text(sh(plan, checked.tree))
    done = shell(f"set -eu\n{PRINTS}. ./plan.sh; echo goes on")
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")


def test_without_performer_nothing_is_done_and_one_sentence_said(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "plan.sh").write_text(minimal())
    done = shell("status=0; . ./plan.sh || status=$?; echo $status")
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert done.stderr == (
        "vmcfg: vmcfg_set_attr is not defined: define it before you source this plan\n"
    )
    assert shell("set -eu; . ./plan.sh; echo goes on").returncode == 3
    assert shell("exec ./plan.sh").returncode != 0


def test_a_performer_may_be_a_program(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plan.sh").write_text(minimal())
    (tmp_path / "vmcfg_set_attr").write_text('#!/bin/sh\necho "$2 $6"\n')
    (tmp_path / "vmcfg_set_attr").chmod(0o755)
    done = shell("PATH=.:$PATH; . ./plan.sh")
    assert (done.returncode, done.stdout) == (0, "vcpu:0 23\nvcpu:1 23\nvcpu:0 -\nvcpu:1 -\n")


@pytest.mark.parametrize(
    "caller", [". ./plan.sh", "set -eu; . ./plan.sh", "if . ./plan.sh; then exit 0; else exit; fi"]
)
def test_a_failure_stops_the_rest_and_is_returned(
    shell: Shell, tmp_path: Path, caller: str
) -> None:
    """`set -e` has no effect inside a condition, but the plan must stop there, too."""
    (tmp_path / "plan.sh").write_text(minimal())
    performer = 'vmcfg_set_attr() { echo "$2 $4"; [ "$2" = vcpu:0 ] || return 42; }\n'
    done = shell(performer + caller)
    assert done.returncode == 42
    assert done.stdout == "vcpu:0 KVM_ARM_VCPU_PMU_V3_IRQ\nvcpu:1 KVM_ARM_VCPU_PMU_V3_IRQ\n"


def test_a_cut_file_does_nothing(shell: Shell, tmp_path: Path) -> None:
    whole = minimal()
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    for size in range(len(whole) + 1):
        (cuts / f"{size:05}.sh").write_text(whole[:size])
    script = """
        vmcfg_set_attr() { echo "${cut##*/}"; }
        # The worst case: a command exists for every prefix of the last word.
        v() { echo "$cut"; }; vm() { echo "$cut"; }
        vmcfg() { echo "$cut"; }; vmcfg_() { echo "$cut"; }
        for cut in cuts/*; do (. "./$cut") 2>/dev/null || :; done
    """
    done = shell(script)
    commands = whole.count("    vmcfg_set_attr ")
    # The file is also complete without its last newline.
    assert commands == 4
    assert sorted(done.stdout.split()) == [
        f"{size:05}.sh" for size in (len(whole) - 1, len(whole)) for _ in range(4)
    ]


pieces = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(
    [
        *"'\"\\$`;&|<>(){}[]*?~#!-= \t\n\r\x1b\u202e\u2028",
        "\nexit 7\n",
        "$(exit 7)",
        "`exit 7`",
        "'; exit 7; '",
    ]
)
names = st.lists(pieces, max_size=8).map("".join)


def hostile(draw: Callable[[st.SearchStrategy[str]], str], command: Command) -> Command:
    attr = Attr(draw(names), 0, draw(names), 0)
    row = copy.copy(command.row)
    row.attr = attr
    row.value = copy.copy(command.row.value)
    row.value.word = draw(names)

    class Hostile(SetAttr):
        word = draw(names)

    return command._replace(operation=Hostile(), row=row, target=draw(names), value=draw(names))


@st.composite
def hostile_plans(draw: st.DrawFn) -> tuple[Plan, Checked]:
    """Draw a plan that no description can have: every name in it can be any text."""
    checked, plan = performable((ROOT / "sample-configs" / "minimal.yaml").read_bytes(), ATTRIBUTES)
    commands = tuple(hostile(draw, command) for command in plan.commands[: draw(st.integers(0, 3))])
    checked.tree.file = draw(names)
    return plan._replace(
        commands=commands, machine=plan.machine._replace(name=draw(names))
    ), checked


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile_plans())
def test_no_name_is_more_than_an_argument(
    shell: Shell, tmp_path: Path, made: tuple[Plan, Checked]
) -> None:
    plan, checked = made
    (tmp_path / "plan.sh").write_bytes(sh(plan, checked.tree).encode())
    (tmp_path / "in").mkdir(exist_ok=True)
    performer = "vmcfg_set_attr() { for field; do printf '%s\\0' \"$field\"; done; }\n"
    done = shell(f"set -eu\ncd in\nPATH=\n{performer}. ../plan.sh")
    assert (done.returncode, done.stderr) == (0, "")
    wanted = [field for command in plan.commands for field in command.fields()]
    assert done.stdout == "".join(f"{field}\0" for field in wanted)
    assert list((tmp_path / "in").iterdir()) == []


def test_shellcheck_finds_nothing(program: Callable[[str], str], tmp_path: Path) -> None:
    for sample in SAMPLES:
        for scope in (ATTRIBUTES, WHOLE_VM):
            checked, plan = performable(sample.read_bytes(), scope)
            # One line of each kind is enough: hundreds of vCPUs have the same lines.
            kinds = {command.row.name: command for command in plan.commands}
            plan = plan._replace(commands=tuple(kinds.values()))
            (tmp_path / f"{sample.stem}-{scope}.sh").write_text(sh(plan, checked.tree))
    scripts = sorted(map(str, tmp_path.glob("*.sh")))
    done = subprocess.run(
        [program("shellcheck"), "-o", "all", *scripts], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "")


def vmcfg(*arguments: str, standard_input: bytes) -> subprocess.CompletedProcess[bytes]:
    return run_vmcfg(arguments, input=standard_input)


def options() -> Iterator[tuple[str, ...]]:
    yield ("--numbers",)
    yield "--format", "sh"
    yield "--format", "c"
    yield "--format", "c", "--main"


@pytest.mark.parametrize("chosen", list(options()), ids=" ".join)
def test_what_only_the_host_knows_is_a_finding(chosen: tuple[str, ...], tmp_path: Path) -> None:
    output = tmp_path / "plan"
    done = vmcfg("emit", *chosen, "-", "-o", str(output), standard_input=WITH_HOST_PMU)
    option = " ".join(chosen[:2])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(
        f"<stdin>:4:24: error[VMC705] {option} requires the number of PMU 'armv8_pmuv3_0',"
        " which only the host knows\n"
    )
    assert not output.exists()
    assert vmcfg("emit", *chosen, "--unchecked", "-", standard_input=WITH_HOST_PMU).returncode == 1
    # Without that command, the plan needs no value of the host.
    if "--main" not in chosen:
        assert (
            vmcfg(
                "emit", *chosen, "--phase", "pmu-init", "-", standard_input=WITH_HOST_PMU
            ).returncode
            == 0
        )


def test_a_name_is_left_open_in_text() -> None:
    done = vmcfg("emit", "-", standard_input=WITH_HOST_PMU)
    assert done.returncode == 0
    assert b"KVM_ARM_VCPU_PMU_V3_SET_PMU s32 pmu:armv8_pmuv3_0\n" in done.stdout


@pytest.mark.parametrize("chosen", ["--numbers", "--comments"])
def test_text_options_are_not_for_shell(chosen: str) -> None:
    done = vmcfg("emit", "--format", "sh", chosen, "-", standard_input=WITH_HOST_PMU)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"{chosen} requires --format text, not sh" in done.stderr.decode()
