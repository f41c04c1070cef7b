"""vmcfg as a library: `check` and `plan`, and the types of their results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from vmcfg.checking.check import Checked
from vmcfg.checking.check import check as checked_text
from vmcfg.description.kinds import KernelVersion, Misfit
from vmcfg.files import NoFile
from vmcfg.findings.diagnostic import Diagnostic, Fix, Related
from vmcfg.findings.position import Span
from vmcfg.findings.rule import Answer
from vmcfg.formats.registry import PLAN_FORMATS, Option
from vmcfg.formats.unresolved import unresolved_diagnostics
from vmcfg.kernel import host as host_files
from vmcfg.kernel.host import Host
from vmcfg.kernel.version import LINUX_6_1, Version
from vmcfg.plans.command import Command as PlanCommand
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM
from vmcfg.plans.plan import Plan as LoweredPlan
from vmcfg.text.tree import Tree

__all__ = [
    "Answer",
    "Command",
    "Diagnostic",
    "Fix",
    "Host",
    "InvalidDescription",
    "Origin",
    "Plan",
    "Related",
    "Span",
    "check",
    "plan",
    "read_host",
]


class InvalidDescription(ValueError):
    """A description that cannot be planned, with the reasons in `diagnostics`."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(
            "; ".join(
                f"{found.span.line}:{found.span.column}: {found.message}" for found in diagnostics
            )
        )
        self.diagnostics = diagnostics


class Origin(NamedTuple):
    """The position of a value in the description: JSON pointer (RFC 6901), line, and column.

    Lines and columns count from 1, columns in code points.
    """

    pointer: str
    line: int
    column: int


class Command(NamedTuple):
    """One command of a plan: the six fields of the text format, and what belongs to them.

    `phase` is a phase of `vmcfg explain order`. `mpidr` is the dotted MPIDR of the vCPU, or None
    for other targets. `data` are the bytes at the address of the attribute or register; None if
    there are none, or if only the host knows them. `origin` is None if no written value is sent.
    """

    op: str
    target: str
    group: str
    attr: str
    type: str
    value: str
    phase: str
    mpidr: str | None
    data: bytes | None
    origin: Origin | None

    def __str__(self) -> str:
        return " ".join(self[:6])


class Plan:
    """The commands that set up a VM, in order.

    `vm` is the name of the VM, and `diagnostics` are the warnings about its description. The text
    of each format is the same as that of `vmcfg emit`.
    """

    def __init__(self, lowered: LoweredPlan, tree: Tree, diagnostics: list[Diagnostic]) -> None:
        self._lowered = lowered
        self._tree = tree
        self.vm = lowered.machine.name
        self.diagnostics = diagnostics

    @property
    def commands(self) -> tuple[Command, ...]:
        """Return the commands in the order of execution."""
        return tuple(self._command(each) for each in self._lowered.commands)

    def to_text(self, *, numbers: bool = False, comments: bool = False) -> str:
        """Return one command per line. Raises `InvalidDescription` if a number is unknown."""
        if numbers:
            self._require_numbers("numbers")
        return self._written("text", numbers=numbers, comments=comments)

    def to_json(self) -> str:
        """Return one JSON object, as in schemas/plan-v1.schema.json."""
        return self._written("json")

    def to_jsonl(self) -> str:
        """Return JSON Lines: a header, one command per line, and an end."""
        return self._written("jsonl")

    def to_dict(self) -> dict[str, Any]:
        """Return the object of `to_json` as Python data."""
        parsed: dict[str, Any] = json.loads(self.to_json())
        return parsed

    def to_sh(self) -> str:
        """Return a POSIX shell script. Raises `InvalidDescription` if a number is unknown."""
        self._require_numbers("format sh")
        return self._written("sh")

    def to_c(self, *, main: bool = False, prefix: str | None = None) -> str:
        """Return a C11 file. Raises `InvalidDescription` if a number is unknown.

        With `main`, it is a program; the plan must then have the scope "vm". Its names begin with
        `prefix`, a C identifier, if that is not None.
        """
        if main and self._lowered.scope != WHOLE_VM:
            raise ValueError('main requires a plan with scope "vm"')
        self._require_numbers("format c")
        return self._written("c", main=main, prefix=prefix)

    def _command(self, command: PlanCommand) -> Command:
        origin = None
        if command.origin is not None:
            place = self._tree.position(command.origin)
            origin = Origin(place.pointer, place.span.line, place.span.column)
        return Command(*command.fields(), command.row.phase, command.mpidr, command.data, origin)

    def _require_numbers(self, option: str) -> None:
        unresolved = unresolved_diagnostics(self._lowered, self._tree, option)
        if unresolved:
            raise InvalidDescription(unresolved)

    def _written(self, format_: str, **options: Option) -> str:
        return PLAN_FORMATS[format_].written(self._lowered, self._tree, options)


def check(
    text: str | bytes,
    file: str = "<text>",
    *,
    host_kernel: str | None = None,
    hosts: Sequence[Host] = (),
    strict: bool = False,
) -> list[Diagnostic]:
    """Return every finding about the description `text` in the order of its lines.

    `file` is its name in findings. `host_kernel` ("6.12") overrides that of the description, and
    `hosts` override both. With `strict`, warnings have the severity "error". Raises `ValueError`
    for an invalid `host_kernel`.
    """
    found = _checked(text, file, host_kernel, hosts).diagnostics
    return [each._replace(severity="error") for each in found] if strict else found


def plan(
    text: str | bytes,
    file: str = "<text>",
    *,
    host_kernel: str | None = None,
    hosts: Sequence[Host] = (),
    strict: bool = False,
    scope: Literal["attributes", "vm"] = "vm",
) -> Plan:
    """Return the commands that set up the VM of `text`.

    `scope` is "vm", or "attributes" for a VM that the caller creates. The other parameters are
    those of `check`. Raises `InvalidDescription` if there are errors; with `strict`, also if there
    are warnings.
    """
    if scope not in (ATTRIBUTES, WHOLE_VM):
        raise ValueError(f'scope must be "attributes" or "vm", not {scope!r}')
    checked = _checked(text, file, host_kernel, hosts)
    machine = checked.plannable(strict, unchecked=False)
    if machine is None:
        raise InvalidDescription(checked.diagnostics)
    lowered = lower(machine, scope, pmu_types=host_files.common_pmu_types(hosts))
    return Plan(lowered, checked.tree, checked.diagnostics)


def read_host(data: str | bytes, file: str = "<host>") -> Host:
    """Return the host in a host file of `vmcfg probe --format json`.

    `file` is its name in findings. Raises `ValueError` if it is not a host file.
    """
    try:
        return host_files.read_host(_bytes(data), file)
    except NoFile as error:
        raise ValueError(str(error)) from None


def _checked(
    text: str | bytes, file: str, host_kernel: str | None, hosts: Sequence[Host]
) -> Checked:
    kernel = None if host_kernel is None else _version(host_kernel)
    return checked_text(_bytes(text), file, kernel, hosts)


def _version(text: str) -> Version:
    try:
        version = KernelVersion().read(text, plain=False)
    except Misfit as misfit:
        raise ValueError(f"{misfit.message('host_kernel')}; {misfit.hint}") from None
    if version < LINUX_6_1:
        raise ValueError(f"host_kernel must be 6.1 or later, not {text}")
    return version


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
