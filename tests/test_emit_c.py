"""emit --format c: compiles for arm64 without warnings, with glibc and with musl, and its numbers
agree with the kernel header.

tests/kvm/test_kernels_take_c.py executes the programs on real kernels.
"""

from __future__ import annotations

import copy
import errno
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.processes import run_vmcfg
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
    "-Wconversion",
    "-Werror",
    "-Wmissing-prototypes",
    "-Wshadow",
)
CXX_WARNINGS = ("-std=c++11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")

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


@pytest.fixture(scope="session")
def musl(program: Callable[[str], str]) -> tuple[str, ...]:
    """Return the options that replace the headers of glibc with those of musl.

    musl has packages only for the architecture of this machine. A syntax check does not depend on
    it, and the headers of the kernel remain those of arm64.
    """
    read = subprocess.run(
        [program("musl-gcc"), "-M", "-x", "c", "-"],
        input="#include <sys/ioctl.h>\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (folder,) = re.findall(r"(\S+)/sys/ioctl\.h", read)
    compiler = program("aarch64-linux-gnu-gcc")
    # Found without options: the headers of the compiler itself, and those of the kernel.
    (own,) = _printed(compiler, "-print-file-name=include")
    (kernel,) = re.findall(r"(\S+)/linux/kvm\.h", " ".join(_read_by(compiler, "linux/kvm.h")))
    return ("-nostdinc", "-isystem", folder, "-isystem", own, "-idirafter", kernel)


def _printed(compiler: str, *options: str) -> list[str]:
    return subprocess.run(
        [compiler, *options], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def _read_by(compiler: str, header: str) -> list[str]:
    """Return the files that an #include of `header` reads, in the lines of a make rule."""
    return _printed(compiler, "-M", "-include", header, "-x", "c", "/dev/null")


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
    assert not re.search(r"\b(?:if|while) \((?:[0-9]+|NULL) (?:&&|\|\|)", text)


@pytest.mark.parametrize("form", [ATTRIBUTES, WHOLE_VM, "main"])
@pytest.mark.parametrize("sample", ["minimal", "gicv2", "nested"])
def test_it_compiles_with_musl(
    compiled: Compile, musl: tuple[str, ...], sample: str, form: str
) -> None:
    """There, a request of ioctl() is an int."""
    data = (ROOT / "sample-configs" / f"{sample}.yaml").read_bytes()
    plan, tree = planned(data, ATTRIBUTES if form == ATTRIBUTES else WHOLE_VM)
    done = compiled(c(plan, tree, main=form == "main"), *musl, "-fsyntax-only")
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


@pytest.mark.parametrize(
    ("compiler", "warnings", "language"),
    [("gcc", WARNINGS, "c"), ("g++", CXX_WARNINGS, "c++")],
)
def test_a_caller_in_c_and_in_cpp_links_and_has_no_descriptor_at_first(
    program: Callable[[str], str],
    tmp_path: Path,
    compiler: str,
    warnings: tuple[str, ...],
    language: str,
) -> None:
    """A plan of attributes also compiles for this machine, so that the caller can be executed.

    Without a descriptor, the first command fails with EBADF and does not reach standard input.
    """
    (tmp_path / "plan.c").write_text(c(*planned(MINIMAL, ATTRIBUTES)), encoding="ascii")
    (tmp_path / "caller").write_bytes(
        (ROOT / "tests" / "programs" / "calls-the-plan.c").read_bytes()
    )
    for command in (
        [program("gcc"), *WARNINGS, "-c", "-o", "plan.o", "plan.c"],
        [program(compiler), *warnings, "-x", language, "-c", "-o", "caller.o", "caller"],
        [program(compiler), "-o", "program", "caller.o", "plan.o"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
    executed = subprocess.run(
        [tmp_path / "program"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    first = planned(MINIMAL, ATTRIBUTES)[0].commands[0].text()
    assert (executed.returncode, executed.stdout) == (1, f"1 {first} 7:14 {errno.EBADF}\n")


TWO_PLANS = """
#define FIRST_DECLARATIONS
#define SECOND_DECLARATIONS
#include "first.c"
#include "second.c"
#include <stdio.h>

int main(int argc, char **argv)
{
	struct first_fds fds;
	struct first_failure failure;
	struct second_fds others;
	struct second_failure other;

	first_fds_init(&fds);
	second_fds_init(&others);
	if (first_perform(&fds, FIRST_ALL_PHASES, argc > 1 ? argv[1] : NULL, &failure) < 0)
		printf("%u %s\\n", failure.seq, failure.words);
	if (second_perform(&others, SECOND_ALL_PHASES, argc > 1 ? argv[1] : NULL, &other) < 0)
		printf("%u %s\\n", other.seq, other.words);
	return 0;
}
"""


@pytest.fixture(scope="module")
def two_plans(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Plan]]:
    """Return a program with two plans, and the plans. Its argument is the target."""
    folder = tmp_path_factory.mktemp("two")
    plans = []
    for name, data in (("first", MINIMAL), ("second", SPIS)):
        plan, tree = planned(data, ATTRIBUTES)
        plans.append(plan)
        (folder / f"{name}.c").write_text(c(plan, tree, prefix=name), encoding="ascii")
    (folder / "caller.c").write_text(TWO_PLANS)
    command = [program("gcc"), *WARNINGS, "-o", "program", "caller.c", "first.c", "second.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "program", plans


SPIS = (ROOT / "sample-configs" / "spi.yaml").read_bytes()


@pytest.mark.parametrize("target", [None, "vcpu:0", "vcpu:1", "gic", "vcpu", "its:0"])
def test_plans_with_prefixes_link_and_a_thread_performs_only_its_own_commands(
    target: str | None, two_plans: tuple[Path, list[Plan]]
) -> None:
    """Without a descriptor, the first command of the target fails."""
    executable, plans = two_plans
    arguments = [] if target is None else [target]
    done = subprocess.run(
        [executable, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    expected = []
    for plan in plans:
        own = [
            f"{number} {command.text()}"
            for number, command in enumerate(plan.commands, 1)
            if target in (None, command.target)
        ]
        expected += own[:1]
    assert done.stdout.splitlines() == expected
    assert done.returncode == 0


pieces = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(
    ["*/", "/*", "//", "??/", "\\\n", "\\", '"', "'", "%s", "\n", "\r", "\u2028", "\x1b"]
)
names = st.lists(pieces, max_size=12).map("".join)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        (("--prefix", "plan"), "--prefix requires --format c, not text."),
        (("--format", "c", "--prefix", "1st"), "'1st' is not the beginning of a name in C"),
        (("--format", "c", "--prefix", ""), "'' is not the beginning of a name in C"),
    ],
)
def test_odd_options_are_wrong_usage(options: tuple[str, ...], message: str) -> None:
    done = run_vmcfg(["emit", *options, "-"], input=MINIMAL)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()


def test_main_is_of_the_whole_vm() -> None:
    implied, said = (
        run_vmcfg(["emit", "--format", "c", "--main", "-", *more], input=MINIMAL).stdout
        for more in ((), ("--scope", "vm"))
    )
    assert implied == said
    assert b"int main(void)" in implied
