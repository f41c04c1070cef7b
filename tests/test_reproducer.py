"""emit --format c --minimal and --kselftest: small programs for one answer of the kernel.

tests/kvm/test_kernels_reproduce.py compiles and runs those of all examples.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes import run_vmcfg
from vmcfg.formats.reproducer import FORMS, NEEDS
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.examples import FOLDER

HERE = Path(__file__).parent

STORED = (
    "VMC203-overlap",
    "VMC401-too-few",
    "VMC503-spi-twice",
    "VMC510-no-interrupt",
    "VMC607-overlap",
    "VMC701-set-mpidr",
)

CALLS_BEFORE = {
    "VMC313-el1-32bit-with-mte": "KVM_CREATE_VM KVM_CAP_ARM_MTE KVM_CREATE_VCPU",
    "VMC402-count": (
        "KVM_CREATE_VM KVM_CREATE_VCPU KVM_DEV_TYPE_ARM_VGIC_V3 KVM_ARM_VCPU_INIT"
        " KVM_VGIC_V3_ADDR_TYPE_DIST"
    ),
    "VMC512-forty": (
        "KVM_CREATE_VM KVM_CREATE_VCPU KVM_ARM_VCPU_INIT KVM_DEV_TYPE_ARM_VGIC_V3"
        " KVM_ARM_VCPU_PMU_V3_SET_PMU"
    ),
    "VMC515-no-device": (
        "KVM_CREATE_VM KVM_CREATE_VCPU KVM_ARM_VCPU_INIT KVM_DEV_TYPE_ARM_VGIC_V3"
        " KVM_DEV_ARM_VGIC_GRP_NR_IRQS KVM_VGIC_V3_ADDR_TYPE_DIST"
        " KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION KVM_DEV_ARM_VGIC_CTRL_INIT KVM_ARM_VCPU_PMU_V3_IRQ"
    ),
    "VMC603-unaligned": (
        "KVM_CREATE_VM KVM_SET_USER_MEMORY_REGION KVM_CREATE_VCPU KVM_ARM_VCPU_INIT"
        " KVM_DEV_TYPE_ARM_VGIC_V3"
    ),
}
"""The calls without which that of the finding would get another answer, by the example."""

TWO_MISTAKES = b"""\
vmcfg: 1
name: vm
memory: [{base: 0x40000100, size: 1GiB}]
vcpus: 2
pmu: {irq: 7}
"""


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


def emitted(*arguments: str, text: bytes | None = None) -> Done:
    done = run_vmcfg(["emit", "--format", "c", *arguments], input=text)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", STORED)
def test_programs_are_stored(
    name: str, form: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    done = emitted(f"--{form}", str(FOLDER / f"{name}.yaml"))
    assert done.exit_code == 0
    assert done.stdout.startswith("// SPDX-License-Identifier: GPL-2.0\n")
    same_as_file(HERE / "reproducers" / f"{name}.{form}.c", done.stdout.encode())


def test_the_rule_chooses_the_finding() -> None:
    first = emitted("--minimal", "-", text=TWO_MISTAKES)
    assert "(VMC202)" in first.stdout
    assert "(VMC504)" not in first.stdout
    other = emitted("--minimal", "--rule", "VMC504", "-", text=TWO_MISTAKES)
    assert "(VMC504)" in other.stdout
    assert "KVM_SET_USER_MEMORY_REGION" not in other.stdout
    assert (first.exit_code, other.exit_code) == (0, 0)


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (b"vmcfg: 1\nname: vm\nvcpus: 1\n", (), "no finding has an answer of the kernel"),
        (TWO_MISTAKES, ("--rule", "VMC503"), "no finding of VMC503 has an answer of the kernel"),
    ],
    ids=["no finding", "other rule"],
)
def test_without_an_answer_nothing_is_printed(
    text: bytes, arguments: tuple[str, ...], sentence: str
) -> None:
    done = emitted("--minimal", *arguments, "-", text=text)
    assert (done.exit_code, done.stdout) == (1, "")
    assert sentence in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rule", "VMC503"), "--rule requires --minimal or --kselftest."),
        (("--minimal", "--rule", "VMC999"), "there is no rule 'VMC999'"),
        (("--minimal", "--scope", "vm"), "--scope cannot be used with --minimal"),
        (("--kselftest", "--main"), "--main cannot be used with --kselftest"),
        (("--minimal", "--format", "sh"), "--minimal requires --format c, not sh."),
    ],
    ids=" ".join,
)
def test_odd_options_are_wrong_usage(arguments: tuple[str, ...], sentence: str) -> None:
    done = emitted(*arguments, "-", text=TWO_MISTAKES)
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())


def test_vcpus_in_a_row_are_a_loop() -> None:
    text = b"vmcfg: 1\nname: vm\nvcpus: 40\npmu: {irq: 7}\n"
    program = emitted("--minimal", "-", text=text).stdout
    assert (
        "for (int i = 0; i <= 39; i++)\n\t\tmust(vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i)" in program
    )
    assert "for (int i = 1; i <= 39; i++)\n\t\tmust(init_vcpu(vm, vcpu[i]" in program
    assert len(program.splitlines()) < 80


def test_no_text_of_a_description_ends_the_comment(program: Callable[[str], str]) -> None:
    text = b'vmcfg: 1\nname: vm\nvcpus: 1\nhost_kernel: "6.1"\npmu: {irq: 23, device: a*/b}\n'
    done = emitted("--minimal", "-", text=text)
    comment = done.stdout.partition("*/")[0] if done.exit_code == 0 else ""
    assert "#include" not in comment
    compiled = subprocess.run(
        [program("aarch64-linux-gnu-gcc"), "-fsyntax-only", "-x", "c", "-"],
        input=done.stdout or "int none;",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (compiled.returncode, compiled.stderr) == (0, "")


def test_every_need_is_of_rows_that_exist() -> None:
    names = [row.name for row in SEQUENCE]
    for each in [*NEEDS, *(name for needed in NEEDS.values() for name in needed)]:
        begins_so = [name for name in names if each.endswith(".") and name.startswith(each)]
        assert begins_so or each in names, each


@pytest.mark.parametrize("name", CALLS_BEFORE)
def test_the_calls_before_are_those_that_the_answer_requires(name: str) -> None:
    program = emitted("--minimal", str(FOLDER / f"{name}.yaml")).stdout
    made = re.findall(r'must\(.*"(?:\w+\()?(\w+)\)?"\);', program)
    assert list(dict.fromkeys(made)) == CALLS_BEFORE[name].split()
