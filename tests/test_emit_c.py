"""emit --format c: compiles for arm64 without warnings, and its numbers agree with the kernel
header.

tests/kvm/test_kernels_take_c.py executes the programs on real kernels.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmcfg.checking.check import check
from vmcfg.formats.c import PERFORMER, c
from vmcfg.kernel.abi import Attr
from vmcfg.kernel.version import LINUX_6_1
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES
from vmcfg.plans.lowering import lower
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Plan, Scope
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.text.tree import Tree

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
WARNINGS = (
    "-std=c11",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wmissing-prototypes",
    "-Wshadow",
)

Compile = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def compiled(program: Callable[[str], str], tmp_path: Path) -> Compile:
    """Return a function that compiles C for arm64, with warnings as errors."""
    compiler = program("aarch64-linux-gnu-gcc")

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "plan.c").write_text(text, encoding="ascii")
        command = [compiler, *WARNINGS, *(options or ("-fsyntax-only",)), "plan.c"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


def planned(data: bytes, scope: Scope, phases: tuple[PlanPhase, ...] = PHASES) -> tuple[Plan, Tree]:
    """Return the plan of `data` despite findings, without commands that C cannot express."""
    checked = check(data, "vm.yaml")
    assert checked.machine is not None
    plan = lower(checked.machine, scope, phases)
    known = tuple(each for each in plan.commands if not each.value.startswith("pmu:"))
    return plan._replace(commands=known), checked.tree


MINIMAL = (ROOT / "sample-configs" / "minimal.yaml").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("form", [ATTRIBUTES, WHOLE_VM, "main"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_compiles(compiled: Compile, sample: Path, form: str) -> None:
    plan, tree = planned(sample.read_bytes(), ATTRIBUTES if form == ATTRIBUTES else WHOLE_VM)
    text = c(plan, tree, main=form == "main")
    done = compiled(text, "-O2", "-c", "-o", "plan.o")
    assert (done.returncode, done.stderr) == (0, "")
    # As a caller includes it who needs only the declarations.
    done = compiled("#define VMCFG_DECLARATIONS\n" + text)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_that_plans_are_put_into_compiles_by_itself(compiled: Compile) -> None:
    done = compiled(PERFORMER.read_text())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("phase", PHASES)
def test_a_plan_of_one_phase_compiles(compiled: Compile, phase: PlanPhase) -> None:
    for scope in (ATTRIBUTES, WHOLE_VM):
        done = compiled(c(*planned(MINIMAL, scope, (phase,))))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [-(2**31), -1, 2**31 - 1])
def test_the_least_and_greatest_numbers_compile(compiled: Compile, number: int) -> None:
    plan, tree = planned(MINIMAL, ATTRIBUTES)
    command = plan.commands[0]._replace(payload=(number,), value=str(number))
    done = compiled(c(plan._replace(commands=(command,)), tree))
    assert (done.returncode, done.stderr) == (0, "")


def test_every_name_of_the_oldest_headers_is_asserted(program: Callable[[str], str]) -> None:
    """After #ifdef, an assertion checks nothing if the name is missing or wrong."""
    compiler = program("aarch64-linux-gnu-gcc")
    defined = subprocess.run(
        [compiler, "-dM", "-E", "-include", "linux/kvm.h", "-x", "c", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = set(re.findall(r"(?m)^#define (\w+)", defined))
    text = "".join(c(*planned(sample.read_bytes(), WHOLE_VM)) for sample in SAMPLES)
    guarded = set(re.findall(r"(?m)^#ifdef (KVM_\w+)\n_Static_assert\((?:\1 == |sizeof)", text))
    newer = {row.attr.name for row in SEQUENCE if row.attr is not None and row.since > LINUX_6_1}
    newer |= {row.attr.group for row in SEQUENCE if row.attr is not None and row.since > LINUX_6_1}
    newer |= {"KVM_ARM_VCPU_HAS_EL2", "KVM_ARM_VCPU_PMU_V3_STRICT"}
    newer |= {each.name for each in VM_CAPABILITIES.values() if each.since > LINUX_6_1}
    assert guarded - newer <= names
    assert len(guarded & names) >= 20


def test_a_wrong_number_does_not_compile(compiled: Compile) -> None:
    plan, tree = planned(MINIMAL, ATTRIBUTES)
    command = plan.commands[0]
    for attr in (
        Attr("KVM_ARM_VCPU_PMU_V3_CTRL", 1, "KVM_ARM_VCPU_PMU_V3_IRQ", 0),
        Attr("KVM_ARM_VCPU_PMU_V3_CTRL", 0, "KVM_ARM_VCPU_PMU_V3_IRQ", 1),
    ):
        row = copy.copy(command.row)
        row.attr = attr
        wrong = command._replace(row=row)
        done = compiled(c(plan._replace(commands=(wrong,)), tree))
        assert done.returncode != 0
        assert "static assertion failed" in done.stderr


def test_a_caller_links_against_it(
    compiled: Compile, tmp_path: Path, program: Callable[[str], str]
) -> None:
    assert compiled(c(*planned(MINIMAL, ATTRIBUTES)), "-c", "-o", "plan.o").stderr == ""
    (tmp_path / "caller.c").write_bytes(
        (ROOT / "tests" / "programs" / "calls-the-plan.c").read_bytes()
    )
    done = subprocess.run(
        [program("aarch64-linux-gnu-gcc"), *WARNINGS, "-o", "caller", "caller.c", "plan.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


pieces = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(
    ["*/", "/*", "//", "??/", "\\\n", "\\", '"', "'", "%s", "\n", "\r", "\u2028", "\x1b"]
)
names = st.lists(pieces, max_size=12).map("".join)


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names, names, names)
def test_no_name_is_code(compiled: Compile, file: str, vm: str, value: str) -> None:
    plan, tree = planned(MINIMAL, ATTRIBUTES)
    tree.file = file
    command = plan.commands[0]._replace(value=value)
    plan = plan._replace(machine=plan.machine._replace(name=vm), commands=(command,))
    text = c(plan, tree)
    done = compiled(text, "-E", "-P")
    assert (done.returncode, done.stderr) == (0, "")
    # Without comments, the names change only the words of the command.
    words = re.findall(r'\.words = ("[^"\n]*")', done.stdout)
    assert len(words) == 1
    decoded = re.sub(
        rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), words[0][1:-1].encode()
    )
    assert decoded.decode() == " ".join(command.fields())
    tree.file = "vm.yaml"
    plain = c(plan._replace(machine=plan.machine._replace(name="vm")), tree)
    assert compiled(plain, "-E", "-P").stdout == done.stdout
    assert compiled(text).stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--main",), "--main requires --format c, not text."),
        (("--format", "sh", "--main"), "--main requires --format c, not sh."),
        (
            ("--format", "c", "--main", "--scope", "attributes"),
            "--main cannot be used with --scope attributes",
        ),
        (("--format", "c", "--main", "--phase", "create"), "--main cannot be used with --phase"),
        (("--format", "c", "--comments"), "--comments requires --format text, not c."),
    ],
)
def test_odd_options_are_wrong_usage(options: tuple[str, ...], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmcfg", "emit", *options, "-"],
        input=MINIMAL,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()


def test_main_is_of_the_whole_vm() -> None:
    command = [sys.executable, "-m", "vmcfg", "emit", "--format", "c", "--main", "-"]
    implied, said = (
        subprocess.run(
            [*command, *more], input=MINIMAL, capture_output=True, check=True, timeout=60
        ).stdout
        for more in ((), ("--scope", "vm"))
    )
    assert implied == said
    assert b"int main(void)" in implied
