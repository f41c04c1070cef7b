"""A description or a plan as a trial: its task, and what is known before its execution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vmcfg.checking.check import Checked, Defaults, check, check_again
from vmcfg.escape import printable
from vmcfg.findings.position import WHOLE, Position, Span
from vmcfg.findings.rule import Answer
from vmcfg.kernel.abi import setting
from vmcfg.kernel.host import Host
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.version import LINUX_6_1, Version
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.planfile import read_plan
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.trial.calls import PositionOf, default_ipa_bits, task_of
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.predictions import Foretold
from vmcfg.trial.task import Task
from vmcfg.trial.verdict import Trial

Performer = Callable[[Sequence[Task]], "list[Outcome | NoKvm]"]
"""The function that executes tasks. It raises `NoKvm` if none can be executed, and returns it for
each that cannot.
"""


class DescriptionTrial:
    """The description `data` of `file`, with `defaults` if any, which is a trial on each kernel.

    If there are `hosts`, the findings are those for them. The task does not depend on them, nor on
    the kernel.
    """

    def __init__(
        self,
        data: bytes,
        file: str,
        host_kernel: Version | None,
        strict: bool,
        unchecked: bool,
        hosts: Sequence[Host] = (),
        defaults: Defaults | None = None,
    ) -> None:
        self.unchecked = unchecked
        self.strict = strict
        self.checked = check(data, file, host_kernel, defaults=defaults)
        self.on_hosts = check(data, file, hosts=hosts, defaults=defaults) if hosts else None
        self.task: Task | None = None

    def on(self, here: Version) -> Trial:
        """Return the trial on a kernel of the version `here`, which is the host_kernel of a
        description without one.
        """
        checked = self.checked
        machine = checked.machine
        if machine is not None and machine.has_default_host_kernel:
            checked = check_again(checked, here)
        reported = self.on_hosts or checked
        can_be_executed = reported.plannable(self.strict, self.unchecked) is not None
        return Trial(
            checked.tree.file,
            "" if machine is None else machine.name,
            checked.tree.texts,
            LINUX_6_1 if checked.machine is None else checked.machine.host_kernel,
            self._task() if can_be_executed and machine is not None else None,
            tuple(reported.diagnostics),
            self._foretold(checked, here) if self.unchecked else None,
        )

    def _task(self) -> Task:
        if self.task is None:
            self.task = _task_of(self.checked)
        return self.task

    def _foretold(self, checked: Checked, here: Version) -> Foretold:
        found_here = check_again(checked, here).diagnostics
        return Foretold(tuple(checked.diagnostics), tuple(found_here), ABSENT)


ABSENT = tuple(
    (row.since, Answer(setting(row.attr), row.absent, "set"))
    for row in SEQUENCE
    if row.attr is not None and row.since > LINUX_6_1
)
"""The answers of kernels before a version to attributes that they do not have."""


def _task_of(checked: Checked) -> Task:
    machine = checked.machine
    assert machine is not None
    commands = lower(machine, WHOLE_VM).commands
    task = task_of(commands, not machine.sets_up_gic(), machine.gic, _position_in(checked))
    if not machine.has_default_ipa_bits:
        return task
    calls = tuple(default_ipa_bits(call, machine.ipa_bits) for call in task.calls)
    return task._replace(calls=calls)


def _position_in(checked: Checked) -> PositionOf:
    """Return the function that finds the position of a command: of its value, vCPU, or key."""
    assert checked.machine is not None
    vcpus = {f"vcpu:{vcpu.id}": vcpu.at for vcpu in checked.machine.vcpus}

    def position_of(command: Command) -> Position:
        path = command.origin
        if path is None:
            path = vcpus.get(command.target)
        if path is None:
            path = tuple(command.row.field.split("."))
        return checked.tree.position(path)

    return position_of


def prepared_plan(written: Iterable[bytes], file: str) -> Trial:
    """Return the plan in the lines `written` of `file` as a trial. Raises `NoFile`."""
    plan = read_plan(written, file)
    lines = plan.text.split("\n")
    # The first line is the header. Commands of the stand-in GIC have no line.
    numbers = {id(command): number for number, command in enumerate(plan.commands, 2)}
    origins = {
        id(command): origin
        for command, origin in zip(plan.commands, plan.origins, strict=True)
        if origin is not None
    }

    def position_of(command: Command) -> Position:
        number = numbers.get(id(command))
        if number is None:
            return Position(WHOLE, "")
        return Position(Span(number, 1, number, len(lines[number - 1]) + 1), "")

    def hint_of(command: Command) -> str | None:
        origin = origins.get(id(command))
        if origin is None:
            return None
        line, column = origin.get("line"), origin.get("column")
        where = printable(origin["file"]) if "file" in origin else "the description"
        return f"change line {line}, column {column} of {where}, its origin"

    task = task_of(plan.commands, plan.monitors_gic, plan.gic, position_of, hint_of)
    return Trial(file, plan.name, {file: plan.text}, LINUX_6_1, task, (), None)
