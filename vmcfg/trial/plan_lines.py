"""A task as lines for the performer, and its answers as an outcome.

In: commands, and what `performer.c` printed about them. Out: text, and the same `Outcome` as from
`perform`. The head of `performer.c` describes the lines.
"""

from __future__ import annotations

import errno as errnos
from collections.abc import Mapping
from typing import NamedTuple

from vmcfg.description.model import Gic
from vmcfg.kernel.abi import DEVICE_TYPES
from vmcfg.kernel.host_pmus import HostPmu
from vmcfg.kernel.ioctls import without_space
from vmcfg.kernel.version import version_of
from vmcfg.plans.command import Command
from vmcfg.plans.operations import CREATE_VCPU
from vmcfg.plans.phases import CREATE
from vmcfg.plans.reading_back import reads
from vmcfg.trial.outcome import (
    NOT_REACHED,
    Difference,
    Outcome,
    Run,
    Step,
    Task,
    without_pmu,
    without_pmu_named,
)
from vmcfg.trial.stand_in_gic import stand_in_gic


class Answers(NamedTuple):
    """What the performer printed about one plan, by the number of the line in the plan, from 0.

    `failed` and `ran` have errnos, `got` has values that are not the expected ones.
    """

    failed: Mapping[int, int]
    missed: frozenset[int]
    chosen: frozenset[int]
    got: Mapping[int, bytes]
    ran: Mapping[int, int]
    unknown: int | None = None
    without_space: int | None = None
    without_pmu: bool = False


class Lines(NamedTuple):
    """The lines of a plan. Each of the others has the number of its first line.

    `steps` are the lines of the commands. `gics` are the GICs instead of that of the VMM: the line
    that begins each, and its commands. `gets` are the lines of the values to read back, each with
    the index of the command that it checks. `enters` is true if every vCPU enters KVM_RUN.
    """

    text: str
    steps: tuple[tuple[int, Command], ...]
    gics: tuple[tuple[int, tuple[Command, ...]], ...]
    gets: tuple[tuple[int, int, Command], ...]
    enters: bool


def plan_lines(number: int, task: Task, release: str, go_on: bool, run: bool) -> Lines:
    """Return plan `number` for the performer on the kernel `release`.

    It ends at the first rejected command, unless `go_on` is true. With `run`, every vCPU enters
    KVM_RUN once.
    """
    here = version_of(release)
    create = [command for command in task.commands if command.row.phase == CREATE]
    rest = task.commands[len(create) :]
    lines: list[str] = []
    steps: list[tuple[int, Command]] = []
    gics: list[tuple[int, tuple[Command, ...]]] = []
    for command in create:
        steps.append((len(lines), command))
        lines.append(_line(command))
    if task.monitors_gic:
        vcpus = sum(command.operation is CREATE_VCPU for command in create)
        versions = (3, 2) if task.gic is None else (task.gic.version,)
        for version in versions:
            commands = _gic(task.gic, version, vcpus, here)
            gics.append((len(lines), commands))
            word = "or-gic" if version == versions[-1] else "gic"
            lines.append(f"{word} {DEVICE_TYPES[version][1]}")
            lines += map(_line, commands)
        lines.append("rest")
    for command in rest:
        steps.append((len(lines), command))
        lines.append(_line(command))
    gets: list[tuple[int, int, Command]] = []
    for index, get in reads(task.commands, here):
        gets.append((len(lines), index, get))
        lines.append(_get_line(get))
    head = f"plan {number} {int(not go_on)} {int(run)}"
    text = "".join(f"{line}\n" for line in (head, *lines, "end"))
    return Lines(text, tuple(steps), tuple(gics), tuple(gets), run)


def _gic(gic: Gic | None, version: int, vcpus: int, here: tuple[int, int]) -> tuple[Command, ...]:
    # A VMM cannot set attributes that this kernel does not support either.
    commands = stand_in_gic(gic, version, vcpus)
    return tuple(command for command in commands if command.row.since <= here)


def _line(command: Command) -> str:
    """Return the line of a command; that of a host PMU has its name."""
    if not command.is_resolved:
        attr = command.attr
        assert attr is not None
        place = f"{attr.group_id} {attr.id:#x}"
        return f"{command.operation.word} {command.target} {place} 4 pmu:{command.host_name}"
    group, number, data = command.operation.numbers(command)
    place = f"{command.target} {group} {number:#x}"
    return f"{command.operation.word} {place} {len(data)} {data.hex() or '-'}"


def _get_line(get: Command) -> str:
    """Return the line of a GET: the buffer before the call, and the expected one after it."""
    group, number, expected = get.operation.numbers(get)
    start = get.read_start
    place = f"{get.target} {group} {number:#x}"
    return f"{get.operation.word} {place} {len(start)} {start.hex()} {expected.hex() or '-'}"


def outcome_of(
    lines: Lines, answers: Answers, release: str, pmus: Mapping[str, HostPmu], go_on: bool
) -> Outcome:
    """Return the outcome of a plan. Raises `NoKvm` if it could not be executed."""
    _refuse(lines, answers, pmus)
    steps = [_step(line, command, answers, pmus) for line, command in lines.steps]
    stand_in = [
        _step(line, command, answers, pmus)
        for first, commands in lines.gics
        if first in answers.chosen
        for line, command in enumerate(commands, first + 1)
    ]
    refused = any(step.outcome not in (None, NOT_REACHED) for step in steps + stand_in)
    if refused and not go_on:
        return Outcome(release, tuple(steps), tuple(stand_in), (), ())
    made = {
        step.command.target
        for step in steps + stand_in
        if step.outcome is None and step.command.operation.makes_target
    }
    read: dict[int, list[str]] = {}
    differences = []
    for line, index, get in lines.gets:
        if steps[index].outcome is not None or get.target not in made:
            continue
        got = _got(line, get, answers)
        read.setdefault(index, []).append(got)
        if got != get.value:
            differences.append(Difference(index, get.target, get.value, got))
    done = [step._replace(read=tuple(read.get(index, ()))) for index, step in enumerate(steps)]
    runs = _runs(lines, answers, made) if lines.enters else ()
    return Outcome(release, tuple(done), tuple(stand_in), tuple(differences), runs)


def _refuse(lines: Lines, answers: Answers, pmus: Mapping[str, HostPmu]) -> None:
    """Raise `NoKvm` if the performer could not execute the plan."""
    commands = dict(lines.steps)
    if answers.unknown is not None:
        raise without_pmu_named(commands[answers.unknown].host_name or "", pmus)
    if answers.without_pmu:
        raise without_pmu()
    if answers.without_space is not None:
        payload = commands[answers.without_space].payload
        assert payload is not None
        _, base, size, _ = payload
        raise without_space(base, size)


def _step(line: int, command: Command, answers: Answers, pmus: Mapping[str, HostPmu]) -> Step:
    """Return a command with its result, and with the number of its host PMU."""
    if command.host_name is not None and not command.is_resolved:
        command = command._replace(payload=(pmus[command.host_name].type,))
    if line in answers.missed:
        return Step(command, NOT_REACHED)
    if line in answers.failed:
        return Step(command, errno_of(answers.failed[line]))
    return Step(command, None)


def _got(line: int, get: Command, answers: Answers) -> str:
    """Return the answer of KVM to a GET, as in a plan; or the name of the errno."""
    if line in answers.failed:
        return errno_of(answers.failed[line])
    if line in answers.got:
        value = get.row.value
        return value.text(value.payload(answers.got[line]))
    return get.value


def _runs(lines: Lines, answers: Answers, made: set[str]) -> tuple[Run, ...]:
    """Return the result of the first KVM_RUN of each vCPU that was created."""
    return tuple(
        Run(command.target, errno_of(answers.ran[line]) if line in answers.ran else None)
        for line, command in lines.steps
        if command.operation is CREATE_VCPU and _is_made(line, command, answers, made)
    )


def _is_made(line: int, command: Command, answers: Answers, made: set[str]) -> bool:
    return command.target in made and line not in answers.failed and line not in answers.missed


def errno_of(number: int) -> str:
    """Return the name of an errno: ``EINVAL``. The numbers of arm64 are those of most machines."""
    return errnos.errorcode.get(number, str(number))
