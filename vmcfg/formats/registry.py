"""The table of output formats, used by `vmcfg emit --format` and everything that lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vmcfg.findings.finding import Found
    from vmcfg.plans.plan import Plan
    from vmcfg.text.tree import Tree
    from vmcfg.vm.machine import Machine


Option = bool | str | None
"""The value of an option that only some formats have; it is not given if it is false."""


class Writer(Protocol):
    """The function of a format: of a plan, and of the tree with its positions."""

    def __call__(self, plan: Plan, tree: Tree, **options: Option) -> str:
        """Return the plan as text."""


class Format:
    """A format of `vmcfg emit`.

    `options` are the options of `vmcfg emit` for this format only, and `suffix` ends the names of
    its files. If it `is_executable`, every number must be known when the plan is emitted.
    """

    __slots__ = ("is_executable", "name", "options", "suffix")

    def __init__(
        self,
        name: str,
        *,
        suffix: str,
        options: tuple[str, ...] = (),
        is_executable: bool = False,
    ) -> None:
        self.name = name
        self.suffix = suffix
        self.options = options
        self.is_executable = is_executable


class PlanFormat(Format):
    """A format of plans: `writer` is its function in a module of this room, as
    ``module.function``.

    `lines_before` is the number of lines before the first command, if each command is one line. A
    format that `has_state` can also save and restore a vGIC.
    """

    __slots__ = ("has_state", "lines_before", "writer")

    def __init__(
        self,
        name: str,
        *,
        writer: str,
        suffix: str,
        options: tuple[str, ...] = (),
        is_executable: bool = False,
        lines_before: int | None = None,
        has_state: bool = False,
    ) -> None:
        super().__init__(name, suffix=suffix, options=options, is_executable=is_executable)
        self.writer = writer
        self.lines_before = lines_before
        self.has_state = has_state

    def written(self, plan: Plan, tree: Tree, options: Mapping[str, Option]) -> str:
        """Return `plan` in this format. Its module is imported only here, to keep starts fast."""
        write: Writer = _function(f"formats.{self.writer}")
        return write(plan, tree, **{name: options[name] for name in self.options})


class MachineFormat(Format):
    """A format of what a whole VM is for another program: no plan, and no commands.

    `writer` and `checks` are functions of a machine, as ``room.module.function``. The second one
    returns what the format cannot express, or what the program decides otherwise; without it, the
    format expresses every machine.
    """

    __slots__ = ("checks", "writer")

    def __init__(self, name: str, *, writer: str, suffix: str, checks: str | None = None) -> None:
        super().__init__(name, suffix=suffix)
        self.writer = writer
        self.checks = checks

    def written(self, machine: Machine) -> str:
        """Return `machine` in this format. Its module is imported only here."""
        text: str = _function(self.writer)(machine)
        return text

    def findings(self, machine: Machine) -> Iterator[Found]:
        """Return what prevents this format for `machine`."""
        if self.checks is None:
            return iter(())
        found: Iterator[Found] = _function(self.checks)(machine)
        return found


def _function(path: str) -> Any:
    """Return a function of vmcfg, as ``room.module.function``."""
    module, _, function = path.rpartition(".")
    return getattr(import_module(f"vmcfg.{module}"), function)


PLAN_FORMATS = {
    each.name: each
    for each in (
        PlanFormat(
            "text",
            writer="text.text",
            suffix="plan",
            options=("numbers", "comments"),
            lines_before=0,
            has_state=True,
        ),
        PlanFormat(
            "json",
            writer="json_lines.json_object",
            suffix="json",
            lines_before=1,
            has_state=True,
        ),
        PlanFormat(
            "jsonl", writer="json_lines.jsonl", suffix="jsonl", lines_before=1, has_state=True
        ),
        PlanFormat("sh", writer="sh.sh", suffix="sh", is_executable=True),
        PlanFormat(
            "c",
            writer="c.c",
            suffix="c",
            options=("main", "prefix"),
            is_executable=True,
            has_state=True,
        ),
    )
}
"""The formats of plans by name."""

MACHINE_FORMATS = {
    each.name: each
    for each in (
        MachineFormat(
            "qemu",
            writer="monitors.qemu_command_line.command_line",
            checks="monitors.rules.findings_for_qemu",
            suffix="qemu",
        ),
        MachineFormat(
            "libvirt",
            writer="monitors.libvirt.domain",
            checks="monitors.libvirt_rules.findings_for_libvirt",
            suffix="xml",
        ),
        MachineFormat(
            "dts",
            writer="guest.tree_source.source",
            checks="guest.rules.findings_for_guest",
            suffix="dts",
        ),
        MachineFormat(
            "madt",
            writer="guest.acpi_source.madt",
            checks="guest.rules.findings_for_guest",
            suffix="madt.dsl",
        ),
        MachineFormat(
            "gtdt",
            writer="guest.acpi_source.gtdt",
            suffix="gtdt.dsl",
        ),
    )
}
"""The formats of whole VMs by name."""

FORMATS: dict[str, PlanFormat | MachineFormat] = {**PLAN_FORMATS, **MACHINE_FORMATS}
"""All formats by name, in the order of the documentation."""
