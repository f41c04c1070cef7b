"""`vmcfg emit --scope state`: the registers of a vGIC, their order, and each format.

tests/kvm/test_kernels_keep_state.py executes the same lists.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from vmcfg.checking.check import check
from vmcfg.formats.c import c
from vmcfg.formats.state_c import TEMPLATE
from vmcfg.kernel.state import STATE_GROUPS
from vmcfg.plans.command import Command
from vmcfg.plans.operations import GET_ATTR
from vmcfg.plans.saving import state_plan
from vmcfg.plans.schema import schema
from vmcfg.plans.state import SAVED_FIRST, StateAction, StateRow, registers_of, state_of
from vmcfg.plans.state_order import STATE_CONSTRAINTS, StateConstraint, broken_constraints
from vmcfg.rules.state import findings_for_state
from vmcfg.text.tree import Tree
from vmcfg.vm.machine import Machine

ROOT = Path(__file__).parent.parent
STORED = Path(__file__).parent / "states"
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
VERSIONS = (2, 3)

SMALL = b"""\
vmcfg: 1
name: small
vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.1}]
gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000, nr_irqs: 64,
      its: [0x08080000]}
"""
"""A VM whose lists are short."""

Vmcfg = Callable[..., tuple[int, str, str]]
SameAsFile = Callable[[Path, bytes], None]


def machine_of(data: bytes) -> Machine:
    machine = check(data, "vm.yaml").machine
    assert machine is not None
    return machine


def with_state(machine: Machine) -> bool:
    return not list(findings_for_state(machine))


STATES = {
    path.stem: machine for path in SAMPLES if with_state(machine := machine_of(path.read_bytes()))
}
"""The samples whose state can be saved."""


def names_of(commands: tuple[Command, ...]) -> list[str]:
    """Return the register or the command of the group CTRL of each line."""
    return [
        each.own_register.name if each.own_register is not None else each.operation.attr(each)
        for each in commands
    ]


def at(command: Command) -> tuple[str, int, int]:
    assert command.attr is not None
    return command.target, command.attr.group_id, command.attr.id


# The table ----------------------------------------------------------------------------------------


def table_names(version: int) -> list[str]:
    return [row.register if isinstance(row, StateRow) else row.title for row in state_of(version)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_satisfies_every_constraint(version: int) -> None:
    assert broken_constraints(table_names(version)) == []


@pytest.mark.parametrize("constraint", STATE_CONSTRAINTS, ids=lambda each: f"{each[0]}-{each[1]}")
def test_a_constraint_is_about_a_table_and_fails_in_the_other_order(
    constraint: StateConstraint,
) -> None:
    """No constraint is about names that no table has, and none holds for every order."""
    reversed_tables = [list(reversed(table_names(version))) for version in VERSIONS]
    assert any(constraint in broken_constraints(names) for names in reversed_tables)


@pytest.mark.parametrize("sample", STATES)
def test_the_list_of_a_sample_satisfies_every_constraint(sample: str) -> None:
    commands = state_plan(STATES[sample], saves=False).commands
    assert broken_constraints(names_of(commands)) == []


@given(version=st.sampled_from(VERSIONS), words=st.integers(2, 31))
def test_registers_of_spis_reach_to_the_last_intid(version: int, words: int) -> None:
    """A register with bits per SPI begins with SPI 32, and the last access has the last INTID."""
    nr_irqs = 32 * words
    for row in registers_of(version):
        accesses = list(row.accesses(nr_irqs))
        numbers = [access.number for access in accesses]
        assert numbers == sorted(set(numbers))
        if row.bits and row.step == 4:
            bits = 8 * row.step * len(accesses)
            assert bits == (nr_irqs - 32) * row.bits
            assert accesses[0].register.startswith(f"{row.register}{32 * row.bits // 32}") or (
                accesses[0].register == f"{row.register}32[31:0]"
            )


def test_the_names_of_registers_are_those_of_their_offsets() -> None:
    """The offset of GICD_IROUTER<n> is 0x6000 + 8n, and of GICD_IPRIORITYR<n> 0x400 + 4n."""
    names = {
        command.own_register.name: command.own_register.id
        for command in state_plan(machine_of(SMALL), saves=True).commands
        if command.own_register is not None
    }
    assert names["GICD_IROUTER32[31:0]"] == 0x6000 + 8 * 32
    assert names["GICD_IROUTER63[63:32]"] == 0x6000 + 8 * 63 + 4
    assert names["GICD_IPRIORITYR8"] == 0x400 + 4 * 8
    assert names["GICD_ISPENDR1"] == 0x204
    assert names["GICD_ICFGR3"] == 0xC0C
    assert names["GICR_IPRIORITYR7"] == 0x1041C
    assert names["GICR_PROPBASER[63:32]"] == 0x74


def encoding(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """Return a system register as in KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS."""
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


SYSREGS = {
    "ICC_SRE_EL1": encoding(3, 0, 12, 12, 5),
    "ICC_PMR_EL1": encoding(3, 0, 4, 6, 0),
    "ICC_BPR0_EL1": encoding(3, 0, 12, 8, 3),
    "ICC_BPR1_EL1": encoding(3, 0, 12, 12, 3),
    "ICC_CTLR_EL1": encoding(3, 0, 12, 12, 4),
    "ICC_AP0R0_EL1": encoding(3, 0, 12, 8, 4),
    "ICC_AP1R0_EL1": encoding(3, 0, 12, 9, 0),
    "ICC_IGRPEN0_EL1": encoding(3, 0, 12, 12, 6),
    "ICC_IGRPEN1_EL1": encoding(3, 0, 12, 12, 7),
    "ICH_AP0R0_EL2": encoding(3, 4, 12, 8, 0),
    "ICH_AP1R0_EL2": encoding(3, 4, 12, 9, 0),
    "ICH_HCR_EL2": encoding(3, 4, 12, 11, 0),
    "ICH_VMCR_EL2": encoding(3, 4, 12, 11, 7),
    **{f"ICH_LR{n}_EL2": encoding(3, 4, 12, 12 + n // 8, n % 8) for n in range(16)},
}
"""The system registers by the encodings of the architecture (Arm DDI 0487, D24)."""


def test_system_registers_have_the_encodings_of_the_architecture() -> None:
    group = STATE_GROUPS["gic", 6]
    rows = [row for row in registers_of(3) if row.group_name == group]
    assert {row.register: row.number for row in rows} == SYSREGS
    assert {row.size for row in rows} == {8}


# The lists ----------------------------------------------------------------------------------------


def assert_is_whole(machine: Machine) -> None:
    """Assert that a restore sets exactly what a save reads, each register once, and of each vCPU by
    its own MPIDR.
    """
    saves = state_plan(machine, saves=True).commands
    restores = state_plan(machine, saves=False).commands
    read = [at(each) for each in saves if each.operation is GET_ATTR]
    written = [at(each) for each in restores if each.payload is None]
    assert Counter(read) == Counter(written)
    assert max(Counter(read).values()) == 1
    actions = {row.title for row in SAVED_FIRST if row.applies(machine)}
    assert {each.operation.attr(each) for each in saves if each.payload == ()} == actions
    for command in (*saves, *restores):
        if command.mpidr is not None:
            upper = (command.attr_id or 0) >> 32
            bytes_of = [int(part) for part in command.mpidr.split(".")]
            mpidr = int.from_bytes(bytes(bytes_of), "big")
            index = [vcpu.mpidr for vcpu in machine.vcpus].index(mpidr)
            by_id = machine.vcpus[index].id
            assert upper == (by_id if machine.gic_version() == 2 else mpidr)
    vcpus = {command.mpidr for command in restores} - {None}
    assert vcpus == {vcpu.name for vcpu in machine.vcpus}


@pytest.mark.parametrize("sample", STATES)
def test_a_restore_of_a_sample_sets_what_a_save_reads(sample: str) -> None:
    assert_is_whole(STATES[sample])


@given(strategies.descriptions())
def test_a_restore_sets_what_a_save_reads(document: dict[str, strategies.Json]) -> None:
    machine = check(strategies.json_text(document).encode(), "vm.yaml").machine
    if machine is not None and machine.gic is not None and with_state(machine):
        assert_is_whole(machine)


@pytest.mark.parametrize("get", [False, True])
@pytest.mark.parametrize(("format_", "suffix"), [("text", "txt"), ("jsonl", "jsonl")])
def test_the_lists_are_stored(
    get: bool, format_: str, suffix: str, vmcfg_here: Vmcfg, same_as_file: SameAsFile
) -> None:
    """The lists of a small VM, word by word, in text and in JSON Lines."""
    Path("small.yaml").write_bytes(SMALL)
    options = ["--scope", "state", "--format", format_, *["--get"] * get]
    code, output, errors = vmcfg_here("emit", *options, "small.yaml")
    assert (code, errors) == (0, "")
    name = f"small.{'save' if get else 'restore'}.{suffix}"
    same_as_file(STORED / name, output.encode())


@pytest.mark.parametrize("sample", ["gicv2", "qemu-virt", "full"])
@pytest.mark.parametrize("get", [False, True])
def test_the_json_of_a_sample_is_valid(sample: str, get: bool, vmcfg_here: Vmcfg) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    options = ["--scope", "state", "--host-kernel", "6.17", *["--get"] * get]
    file = str(ROOT / f"sample-configs/{sample}.yaml")
    _, output, _ = vmcfg_here("emit", *options, "--format", "json", file)
    whole = json.loads(output)
    validator.validate(whole)
    _, output, _ = vmcfg_here("emit", *options, "--format", "jsonl", file)
    header, *commands, end = map(json.loads, output.splitlines())
    assert commands == whole["commands"]
    assert (header["scope"], header["perform"], end["count"]) == ("state", "state", len(commands))
    # The lines of one kind differ in numbers only: one of each is enough.
    for line in [header, *{each["row"]: each for each in commands}.values(), end]:
        validator.validate(line)


def refusing(change: dict[str, Any]) -> bool:
    """Return whether the schema refuses a command that saves a register, with a change."""
    lines = state_plan_lines()
    line = next(each for each in lines if each.get("register") == "ICC_PMR_EL1")
    return not jsonschema.Draft202012Validator(schema()).is_valid(line | change)


def state_plan_lines() -> list[dict[str, Any]]:
    from vmcfg.formats.json_lines import jsonl

    plan = state_plan(machine_of(SMALL), saves=True)
    return [json.loads(line) for line in jsonl(plan, Tree("vm.yaml", SMALL)).splitlines()]


def test_the_schema_refuses_other_lines() -> None:
    assert not refusing({})
    for change in (
        {"phase": "late"},
        {"data": "zz"},
        {"register": None},
        {"type": "u16"},
        {"target": "vcpu:0"},
        {"row": "state.ICC_NONE"},
        {"more": 1},
    ):
        assert refusing(change), change


def test_numbers_have_the_length_of_a_value_that_the_caller_has(vmcfg_here: Vmcfg) -> None:
    Path("small.yaml").write_bytes(SMALL)
    _, output, _ = vmcfg_here("emit", "--scope", "state", "--numbers", "small.yaml")
    lines = output.splitlines()
    assert "set-attr gic 1 0x8 4 -" in lines
    assert "set-attr gic 6 0x10000c230 8 -" in lines
    assert "set-attr gic 5 0x10180 4 ffffffff" in lines
    assert "set-attr its:0 4 0x2 0 -" in lines


def test_comments_say_what_each_line_does(vmcfg_here: Vmcfg) -> None:
    Path("small.yaml").write_bytes(SMALL)
    _, output, _ = vmcfg_here("emit", "--scope", "state", "--comments", "small.yaml")
    lines = output.splitlines()
    assert lines[0].startswith("# Commands that restore the state of the vGIC of small")
    line = lines.index("set-attr gic KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS 0x10000c230 u64 -")
    assert lines[line - 1] == "# vCPU 0.0.0.1. Restores ICC_PMR_EL1."


def test_without_a_gic_nothing_is_emitted_even_unchecked(vmcfg_here: Vmcfg) -> None:
    Path("vm.yaml").write_text("vmcfg: 1\nname: vm\nvcpus: 1\n")
    for options in ((), ("--unchecked",)):
        code, output, errors = vmcfg_here("emit", "--scope", "state", *options, "vm.yaml")
        assert (code, output) == (1, "")
        assert "error[VMC858]" in errors


def test_unchecked_lists_have_the_registers_of_as_many_intids_as_possible(
    vmcfg_here: Vmcfg,
) -> None:
    """If the VMM sets up the GIC, only it knows the number."""
    text = "vmcfg: 1\nname: vm\nvcpus: 1\ngic: {version: 3, set_up_by: monitor}\n"
    Path("vm.yaml").write_text(text)
    code, output, _ = vmcfg_here("emit", "--scope", "state", "--unchecked", "vm.yaml")
    assert code == 0
    whole = text.replace("}", ", nr_irqs: 992}")
    Path("vm.yaml").write_text(whole)
    assert vmcfg_here("emit", "--scope", "state", "vm.yaml") == (0, output, "")


# Wrong usage, and other readers of plans ----------------------------------------------------------

V2 = str(ROOT / "sample-configs/gicv2.yaml")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--phase", "create"), "--phase"),
        (("--api", "pmu-device"), "--api pmu-device"),
        (("--format", "sh"), "--format sh"),
        (("--format", "c", "--main"), "--main"),
        (("--format", "c", "--get"), "both functions"),
        (("--format", "qemu"), "--scope"),
        (("--format", "c", "--minimal"), "--scope"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    options: tuple[str, ...], words: str, vmcfg_here: Vmcfg
) -> None:
    code, _, errors = vmcfg_here("emit", "--scope", "state", *options, V2)
    assert code == 2
    assert words in errors.splitlines()[-1]


def test_try_and_diff_refuse_it(vmcfg_here: Vmcfg) -> None:
    _, plan, _ = vmcfg_here("emit", "--scope", "state", "--format", "jsonl", V2)
    Path("state.jsonl").write_text(plan)
    code, _, errors = vmcfg_here("try", "--plan", "state.jsonl")
    assert (code, errors.count("\n")) == (3, 1)
    assert "does not set up a VM" in errors
    code, _, errors = vmcfg_here("diff", "state.jsonl", "state.jsonl")
    assert (code, errors.count("\n")) == (3, 1)
    assert "state of a vGIC cannot be compared" in errors


# C ------------------------------------------------------------------------------------------------

CC = "aarch64-linux-gnu-gcc"
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-c")


def compiles(compiler: str, source: Path, *options: str) -> None:
    target = source.with_suffix(".o")
    command = [compiler, *STRICT, *options, "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("sample", STATES)
def test_the_c_code_of_a_sample_compiles(
    sample: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    source = tmp_path / "state.c"
    source.write_text(c(state_plan(STATES[sample], saves=False), Tree("vm.yaml", b"")))
    compiles(program(CC), source, "-std=c11")


def test_the_template_compiles_alone_and_has_declarations_for_cpp(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    template = tmp_path / "template.c"
    template.write_bytes(TEMPLATE.read_bytes())
    compiles(program(CC), template, "-std=c11")
    caller = tmp_path / "caller.cpp"
    caller.write_text(
        '#define VMCFG_DECLARATIONS\n#include "template.c"\n'
        "int size() { return VMCFG_STATE_VALUES + (int)sizeof(vmcfg_state_fds); }\n"
    )
    compiles(program("g++"), caller, "-std=c++17")


def test_the_c_code_has_a_value_for_each_line_that_reads() -> None:
    for name, machine in STATES.items():
        reads = [
            each for each in state_plan(machine, saves=True).commands if each.operation is GET_ATTR
        ]
        text = c(state_plan(machine, saves=False), Tree("vm.yaml", b""))
        assert f"#define VMCFG_STATE_VALUES {len(reads)}\n" in text, name


def test_names_in_the_c_code_begin_with_the_prefix() -> None:
    text = c(state_plan(machine_of(SMALL), saves=False), Tree("vm.yaml", SMALL), prefix="mine")
    assert "mine_save_state(" in text
    assert "vmcfg_" not in text
    assert "VMCFG_" not in text


def test_only_a_gicv3_with_its_has_actions() -> None:
    """GICv2 has no LPIs, whose tables lie in the memory of the guest."""
    assert not [row for row in state_of(2) if isinstance(row, StateAction)]
    plan = state_plan(STATES["gicv2"], saves=True)
    assert {each.operation for each in plan.commands} == {GET_ATTR}
