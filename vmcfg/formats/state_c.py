"""The state of a vGIC as one C11 file with two functions, which save it and restore it.

The C code is state.c in this directory, which can be compiled alone. Its marked sections are filled
in here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmcfg import files
from vmcfg.formats.headings import cautions
from vmcfg.formats.sections import filled, in_comment, prefixed
from vmcfg.plans.plan import Plan
from vmcfg.plans.state import (
    CTRL,
    SAVED_FIRST,
    StateAction,
    StateLine,
    StateRow,
    demands_vcpu,
    state_of,
)
from vmcfg.text.tree import Tree
from vmcfg.vm.machine import Machine

TEMPLATE = Path(__file__).with_name("state.c")

VCPUS_IN_A_LINE = 8

HEADING = """\
/*
 * The state of the vGIC of {vm}, created by vmcfg from {file}, for Linux {host_kernel} and later.{cautions}
 *
 * vmcfg_save_state() saves it, and vmcfg_restore_state() restores it. Compile this file as its own object, as C. A caller
 * in C or C++ gets the declarations with
 *
 *     #define VMCFG_DECLARATIONS
 *     #include "state.c"
 */
"""  # noqa: E501


def state_c(plan: Plan, tree: Tree, prefix: str | None = None) -> str:
    """Return a C11 file that saves and restores the vGIC on the file descriptors of its caller.

    Every name begins with `prefix`, a C identifier, in place of vmcfg.
    """
    machine = plan.machine
    header = plan.header()
    rows = _rows(machine)
    heading = HEADING.format(
        vm=in_comment(header["vm"]),
        file=in_comment(tree.file),
        host_kernel=header["host_kernel"],
        cautions="".join(f"\n * {sentence}" for sentence in cautions(plan)),
    )
    sections = {
        "heading": heading,
        "sizes": _sizes(rows, machine),
        "vcpus": _vcpus(machine),
        "rows": _table(rows, machine),
    }
    return prefixed(filled(files.read(str(TEMPLATE)).decode(), sections), prefix)


def _rows(machine: Machine) -> list[StateLine]:
    """Return the rows of both functions: what only one of them needs says so."""
    version = machine.gic_version()
    assert version is not None
    rows = (*SAVED_FIRST, *state_of(version))
    return [row for row in rows if row.applies(machine)]


def _sizes(rows: list[StateLine], machine: Machine) -> str:
    assert machine.gic is not None
    itss = len(machine.gic.its)
    owners = {"distributor": 1, "vcpu": len(machine.vcpus), "its": itss}
    count = sum(
        row.access_count(machine.nr_irqs()) * owners[row.part]
        for row in rows
        if isinstance(row, StateRow) and row.constant is None
    )
    # C has no arrays without elements.
    return (
        f"#define VMCFG_STATE_VALUES {count}\n#define VMCFG_STATE_ITSS {itss or 1}"
        f"{'' if itss else ' /* not used: there is no ITS */'}\n"
    )


def _vcpus(machine: Machine) -> str:
    """Return the table of what identifies each vCPU in attributes."""
    is_v2 = machine.gic_version() == 2
    numbers = [f"{vcpu.id if is_v2 else vcpu.mpidr:#x}" for vcpu in machine.vcpus]
    lines = [
        ", ".join(numbers[start : start + VCPUS_IN_A_LINE])
        for start in range(0, len(numbers), VCPUS_IN_A_LINE)
    ]
    what = "the id" if is_v2 else "the compressed MPIDR"
    table = "".join(f"\t{line},\n" for line in lines)
    return (
        f"/* The vCPUs in attributes: {what} of each, in the order of their ids. */\n"
        f"static const uint32_t vmcfg_state_vcpus[] = {{\n{table}}};\n"
    )


def _table(rows: list[StateLine], machine: Machine) -> str:
    lines = "".join(f"\t{{ {', '.join(_members(row, machine))} }},\n" for row in rows)
    end = "\t{ NULL, VMCFG_ONCE, VMCFG_KEPT, 0, 0, 0, 0, 0 }\n"
    return f"\nstatic const struct vmcfg_state_row vmcfg_state_rows[] = {{\n{lines}{end}}};\n"


def _members(row: StateLine, machine: Machine) -> Iterator[str]:
    if isinstance(row, StateAction):
        yield f'"{row.title}"'
        yield _owner(row, machine)
        yield "VMCFG_SAVING" if row in SAVED_FIRST else "VMCFG_RESTORING"
        yield from (str(CTRL), str(row.number), "1", "0", "0")
        return
    nr_irqs = machine.nr_irqs()
    first = next(row.accesses(nr_irqs))
    yield f'"{first.register}"'
    yield _owner(row, machine)
    yield "VMCFG_KEPT" if row.constant is None else "VMCFG_CLEARED"
    yield str(row.group)
    yield f"{row.number:#x}"
    yield from (str(row.access_count(nr_irqs)), str(row.step), str(row.size))


def _owner(row: StateLine, machine: Machine) -> str:
    if row.part == "vcpu":
        return "VMCFG_EACH_VCPU"
    if row.part == "its":
        return "VMCFG_EACH_ITS"
    is_by_vcpu = isinstance(row, StateRow) and demands_vcpu(row, machine)
    return "VMCFG_ONCE_BY_VCPU" if is_by_vcpu else "VMCFG_ONCE"
