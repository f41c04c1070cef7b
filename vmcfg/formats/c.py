"""A plan as one C11 file: a table of commands, a function that executes them, and possibly main().

The C code is performer.c in this directory, which can be compiled alone. Its marked sections are
filled in here, or removed. The result compiles with <linux/kvm.h> of any kernel since 6.1: the
table contains numbers, and a _Static_assert compares each with the name in the header, if any.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import ascii_letters, digits

from vmcfg import files
from vmcfg.formats.headings import cautions, performed
from vmcfg.formats.sections import KEPT, filled, in_comment, prefixed
from vmcfg.formats.state_c import state_c
from vmcfg.kernel import abi
from vmcfg.plans.command import Command, Row
from vmcfg.plans.operations import has_pmu
from vmcfg.plans.phases import PHASE_DOCS, PHASES, PlanPhase
from vmcfg.plans.plan import STATE_SCOPE, WHOLE_VM, Plan
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import Payload, Struct
from vmcfg.text.tree import Tree
from vmcfg.trial.rules import RUN_ERRORS
from vmcfg.trial.stand_in_gic import stand_in_gic

PERFORMER = Path(__file__).with_name("performer.c")

NUMBERED = ("vcpu", "its")
"""The targets with a number after their colon, of which there can be several."""

_PLAIN = f"{ascii_letters}{digits} -_.,:=+@%/()".encode()
"""The characters that need no escape in a string literal."""

_ALL_PLAIN = re.compile(f"[{re.escape(_PLAIN.decode())}]*").fullmatch

HEADING = """\
/*
 * Plan of {vm}, created by vmcfg from {file}, for Linux {host_kernel} and later.
 * Number of commands: {count}. They are {perform}.{cautions}
 *
{use} */
"""

USE = """\
 * vmcfg_perform() executes them on file descriptors that the caller passes. Compile this file as its own object, as C.
 * A caller in C or C++ gets the declarations with
 *
 *     #define VMCFG_DECLARATIONS
 *     #include "plan.c"
"""  # noqa: E501

USE_MAIN = """\
 * This program creates the VM, prints the answer of KVM to each command, enters each vCPU once without executing guest
 * instructions, and destroys the VM. It ends with 0 if KVM accepted everything, 1 if KVM rejected something, and 3 if
 * KVM is not available.
 *
 *     aarch64-linux-gnu-gcc -std=c11 -static -o plan plan.c && scp plan host: && ssh host ./plan
"""  # noqa: E501

DESCRIPTORS = """\
/* The file descriptors of the targets. {who_fills} vmcfg_fds_init() sets all to -1. */
struct vmcfg_fds {{
{members}}};
"""


def c(plan: Plan, tree: Tree, main: bool = False, prefix: str | None = None) -> str:
    """Return a C11 file that executes the plan on file descriptors of its caller.

    With `main`, it is a program that creates the VM. Every name begins with `prefix`, a C
    identifier, in place of vmcfg: files with different prefixes can be linked.
    """
    if plan.scope == STATE_SCOPE:
        return state_c(plan, tree, prefix)
    stand_ins = _stand_ins(plan) if main and plan.perform() != "whole" else {}
    every = [*plan.commands, *(command for gic in stand_ins.values() for command in gic)]
    sections: dict[str, str | None] = {
        "heading": _heading(plan, tree, main),
        "phases": _phases(),
        "descriptors": _descriptors(plan, every),
        "assertions": _assertions(every),
        "table": _table("vmcfg_plan", plan.commands, tree),
        "targets": "".join(_target_cases(every)),
        "making": KEPT if plan.scope == WHOLE_VM else "",
        "main": KEPT if main else "",
        "errnos": "".join(f'\tcase {name}:\n\t\treturn "{name}";\n' for name in _errnos()),
        "stand-in": KEPT if stand_ins else "",
        "stand-in call": KEPT if stand_ins else "",
        "stand-in tables": "".join(
            _table(f"vmcfg_gicv{version}", commands, None)
            for version, commands in stand_ins.items()
        ),
        "gics": "".join(map(_gic, stand_ins)),
        "pmu check": KEPT if has_pmu(plan.commands) else "",
    }
    return prefixed(filled(files.read(str(PERFORMER)).decode(), sections), prefix)


def _heading(plan: Plan, tree: Tree, main: bool) -> str:
    header = plan.header()
    return HEADING.format(
        vm=in_comment(header["vm"]),
        file=in_comment(tree.file),
        host_kernel=header["host_kernel"],
        count=len(plan.commands),
        perform=performed(plan),
        cautions="".join(f"\n * {sentence}" for sentence in cautions(plan)),
        use=USE_MAIN if main else USE,
    )


def _string(text: str) -> str:
    """Return a C string literal."""
    if _ALL_PLAIN(text):
        return f'"{text}"'
    characters = [
        chr(byte) if byte in _PLAIN else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogateescape")
    ]
    return f'"{"".join(characters)}"'


def _phases() -> str:
    """Return the definitions of the bit of each phase, and of all phases."""
    lines = []
    for place, phase in enumerate(PHASES):
        lines.append(f"/* {PHASE_DOCS[phase]} */\n#define {_phase(phase)} 0x{1 << place:x}u\n")
    lines.append(f"#define VMCFG_ALL_PHASES 0x{(1 << len(PHASES)) - 1:x}u\n")
    return "".join(lines)


def _phase(phase: PlanPhase) -> str:
    return "VMCFG_" + phase.upper().replace("-", "_")


def _descriptors(plan: Plan, every: Iterable[Command]) -> str:
    """Return the struct of descriptors: one member per kind of target, possibly an array."""
    kinds = {"vm": 1, "gic": 1, "vcpu": max(vcpu.id for vcpu in plan.machine.vcpus) + 1}
    for kind, number in map(_target, every):
        kinds[kind] = max(kinds.get(kind, 0), number + 1)
    members = [f"\tint {kind};\n" for kind in kinds if kind not in NUMBERED]
    who_fills = "Those without commands are not used."
    if plan.scope == WHOLE_VM:
        members.insert(0, "\tint kvm;\t/* /dev/kvm, opened for reading and writing */\n")
        who_fills = "The caller opens `kvm`; the commands of phase `create` create the others."
    told = {"vcpu": "by the id of KVM_CREATE_VCPU", "its": "by its number"}
    members += [
        f"\tint {kind}[{kinds[kind]}];\t/* {told[kind]} */\n" for kind in NUMBERED if kind in kinds
    ]
    return DESCRIPTORS.format(who_fills=who_fills, members="".join(members))


def _target(command: Command) -> tuple[str, int]:
    """Return the kind of target of a command, and its number."""
    kind, _, number = command.target.partition(":")
    return kind, int(number or 0)


def _target_cases(every: Iterable[Command]) -> Iterator[str]:
    for kind in sorted({_target(command)[0] for command in every} - {"vm"}):
        index = "[command->number]" if kind in NUMBERED else ""
        yield f"\tcase VMCFG_{kind.upper()}:\n\t\treturn &fds->{kind}{index};\n"


def _assertions(every: Iterable[Command]) -> str:
    """Return assertions that compare the names in the headers with the numbers in the table."""
    asserted = {}
    kinds = {(command.row, command.payload, command.attr_id): command for command in every}
    for command in kinds.values():
        operation, value, attr = command.operation, command.row.value, command.row.attr
        # The number of an ioctl contains the size of its argument, which is checked with it.
        request = f"{operation.ioctl} == {operation.request:#x}"
        asserted[operation.ioctl] = f"_Static_assert({request}, {{}});\n"
        for name, number in operation.c_names(command):
            check = f"_Static_assert({name} == {number}, {{}});\n"
            asserted[name] = f"#ifdef {name}\n{check}#endif\n"
        if attr is not None and isinstance(value, Struct):
            layout = _layout(value)
            asserted[f"struct {value.word}"] = f"#ifdef {attr.name}\n{layout}#endif\n"
    checks = "".join(text.format(_string(name)) for name, text in asserted.items())
    return f"\n/* The numbers in the table are those of the header. */\n{checks}"


def _layout(value: Struct) -> str:
    """Return assertions about the size of a struct and the offsets of its fields."""
    name, size = value.word, struct.calcsize(value.layout)
    lines = [f"_Static_assert(sizeof(struct {name}) == {size}, {{0}});\n"]
    for field, offset in value.c_layout():
        lines.append(f"_Static_assert(offsetof(struct {name}, {field}) == {offset}, {{0}});\n")
    return "".join(lines)


def _table(name: str, commands: Iterable[Command], tree: Tree | None) -> str:
    members: dict[tuple[Row, Payload | None, int | None], tuple[str, str]] = {}
    rows = []
    for command in commands:
        kind = command.row, command.payload, command.attr_id
        if kind not in members:
            members[kind] = _members(command)
        before_number, after_number = members[kind]
        _, _, number = command.target.partition(":")
        words, origin = _string(command.text()), _origin(command, tree)
        rows.append(
            f"\t{{ .words = {words},\n\t  {origin}{before_number}{number}{after_number} }},\n"
        )
    table = "".join(rows)
    return f"\nstatic const struct vmcfg_command {name}[] = {{\n{table}\t{{ .words = NULL }}\n}};\n"


def _origin(command: Command, tree: Tree | None) -> str:
    if command.origin is None or tree is None:
        return ""
    start = tree.start(command.origin)
    if start.file:
        return f".origin = {_string(f'{start.file}:{start.line}:{start.column}')}, "
    return f'.origin = "{start.line}:{start.column}", '


def _members(command: Command) -> tuple[str, str]:
    """Return the members of all commands with this row and value, before and after the number of
    the target.
    """
    kind, _ = _target(command)
    members = f".phase = {_phase(command.row.phase)}, .target = VMCFG_{kind.upper()}"
    if kind in NUMBERED:
        members += ", .number = "
    given = [f".request = {command.operation.ioctl}", *command.operation.c_members(command)]
    return members, f",\n\t  {', '.join(given)}"


def _errnos() -> list[str]:
    """Return the errnos that a program prints by name."""
    of_rows = {name for row in SEQUENCE for name in row.errors}
    return sorted({*RUN_ERRORS, "EACCES", "EBADF", "EMFILE", "ENOTTY"} | of_rows)


def _stand_ins(plan: Plan) -> dict[int, tuple[Command, ...]]:
    """Return the commands of each GIC that can replace that of the VMM, the likeliest first."""
    version = plan.machine.gic_version()
    versions = (3, 2) if version is None else (version,)
    vcpus = len(plan.machine.vcpus)
    return {each: stand_in_gic(plan.machine.gic, each, vcpus) for each in versions}


def _gic(version: int) -> str:
    """Return the line of a GIC in the table of possible stand-ins."""
    _, number = abi.DEVICE_TYPES[version]
    return f'\t\t{{ {number}, "GICv{version}", vmcfg_gicv{version} }},\n'
