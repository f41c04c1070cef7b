"""A task as lines for the performer, and its answers as an outcome.

In: its calls, and what `performer.c` printed about them. Out: text, and the same `Outcome` as from
`perform`. The head of `performer.c` describes the lines.
"""

from __future__ import annotations

import errno as errnos
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from vmcfg.kernel.host_pmus import HostPmu
from vmcfg.kernel.ioctls import without_space
from vmcfg.kernel.version import version_of
from vmcfg.trial.outcome import (
    NOT_REACHED,
    Difference,
    Outcome,
    Run,
    Step,
    without_pmu,
    without_pmu_named,
)
from vmcfg.trial.task import CREATE_VCPU, Call, Get, Task


class Answers(NamedTuple):
    """What the performer printed about one plan, by the number of the line in the plan, from 0.

    `failed` and `ran` have errnos, `got` has values that are not the expected ones. `key` is that
    of the plan that was executed.
    """

    failed: Mapping[int, int]
    missed: frozenset[int]
    chosen: frozenset[int]
    got: Mapping[int, bytes]
    ran: Mapping[int, int]
    unknown: int | None = None
    without_space: int | None = None
    without_pmu: bool = False
    key: str = ""


class Lines(NamedTuple):
    """The lines of a plan. Each of the others has the number of its first line.

    `steps` are the lines of the calls. `gics` are the GICs instead of that of the VMM: the line
    that begins each, and its calls. `gets` are the lines of the values to read back. `enters` is
    true if every vCPU enters KVM_RUN. Plans with another text have another `key`.
    """

    text: str
    key: str
    steps: tuple[tuple[int, Call], ...]
    gics: tuple[tuple[int, tuple[Call, ...]], ...]
    gets: tuple[tuple[int, Get], ...]
    enters: bool


def plan_lines(number: int, task: Task, release: str, go_on: bool, run: bool) -> Lines:
    """Return plan `number` for the performer on the kernel `release`.

    It ends at the first rejected call, unless `go_on` is true. With `run`, every vCPU enters
    KVM_RUN once.
    """
    here = version_of(release)
    lines: list[str] = []
    steps: list[tuple[int, Call]] = []
    gics: list[tuple[int, tuple[Call, ...]]] = []
    for call in task.calls[: task.created]:
        steps.append((len(lines), call))
        lines.append(_line(call))
    for gic in task.gics:
        # A VMM cannot set attributes that this kernel does not support either.
        calls = tuple(call for call in gic.calls if call.kind.since <= here)
        gics.append((len(lines), calls))
        word = "or-gic" if gic is task.gics[-1] else "gic"
        lines.append(f"{word} {gic.device}")
        lines += map(_line, calls)
    if task.gics:
        lines.append("rest")
    for call in task.calls[task.created :]:
        steps.append((len(lines), call))
        lines.append(_line(call))
    gets: list[tuple[int, Get]] = []
    for get in task.gets:
        if get.since <= here:
            gets.append((len(lines), get))
            lines.append(_get_line(get))
    head = f"plan {number} {int(not go_on)} {int(run)}"
    body = "".join(f"{line}\n" for line in (*lines, "end"))
    key = f"{zlib.crc32(f'{head} {body}'.encode()):08x}"
    return Lines(f"{head} {key}\n{body}", key, tuple(steps), tuple(gics), tuple(gets), run)


def _line(call: Call) -> str:
    """Return the line of a call; that of a host PMU has its name."""
    place = f"{call.operation} {call.target} {call.group} {call.number:#x}"
    if call.pmu is not None:
        return f"{place} 4 pmu:{call.pmu}"
    return f"{place} {len(call.data)} {call.data.hex() or '-'}"


def _get_line(get: Get) -> str:
    """Return the line of a GET: the buffer before the call, and the expected one after it."""
    call, start = get.call, get.start
    place = f"{call.operation} {call.target} {call.group} {call.number:#x}"
    return f"{place} {len(start)} {start.hex()} {call.data.hex() or '-'}"


def outcome_of(
    lines: Lines, answers: Answers, release: str, pmus: Mapping[str, HostPmu], go_on: bool
) -> Outcome:
    """Return the outcome of a plan. Raises `NoKvm` if it could not be executed."""
    _refuse(lines, answers, pmus)
    steps = [_step(line, call, answers) for line, call in lines.steps]
    stand_in = [
        _step(line, call, answers)
        for first, calls in lines.gics
        if first in answers.chosen
        for line, call in enumerate(calls, first + 1)
    ]
    refused = any(step.outcome not in (None, NOT_REACHED) for step in steps + stand_in)
    if refused and not go_on:
        return Outcome(release, tuple(steps), tuple(stand_in), (), ())
    made = {
        step.call.target
        for step in steps + stand_in
        if step.outcome is None and step.call.makes_target
    }
    read: dict[int, list[str]] = {}
    differences = []
    for line, get in lines.gets:
        call = get.call
        if steps[get.step].outcome is not None or call.target not in made:
            continue
        got, want = _got(line, call, answers), call.kind.text(call.data)
        read.setdefault(get.step, []).append(got)
        if got != want:
            differences.append(Difference(get.step, call.target, want, got))
    done = [step._replace(read=tuple(read.get(index, ()))) for index, step in enumerate(steps)]
    runs = _runs(lines, answers, made) if lines.enters else ()
    return Outcome(release, tuple(done), tuple(stand_in), tuple(differences), runs)


def _refuse(lines: Lines, answers: Answers, pmus: Mapping[str, HostPmu]) -> None:
    """Raise `NoKvm` if the performer could not execute the plan."""
    calls = dict(lines.steps)
    if answers.unknown is not None:
        raise without_pmu_named(calls[answers.unknown].pmu or "", pmus)
    if answers.without_pmu:
        raise without_pmu()
    if answers.without_space is not None:
        slot = calls[answers.without_space].slot
        raise without_space(slot.base, slot.size)


def _step(line: int, call: Call, answers: Answers) -> Step:
    """Return a call with its result."""
    if line in answers.missed:
        return Step(call, NOT_REACHED)
    if line in answers.failed:
        return Step(call, errno_of(answers.failed[line]))
    return Step(call, None)


def _got(line: int, call: Call, answers: Answers) -> str:
    """Return the answer of KVM to a GET, as in a plan; or the name of the errno."""
    if line in answers.failed:
        return errno_of(answers.failed[line])
    return call.kind.text(answers.got.get(line, call.data))


def _runs(lines: Lines, answers: Answers, made: set[str]) -> tuple[Run, ...]:
    """Return the result of the first KVM_RUN of each vCPU that was created."""
    return tuple(
        Run(call.target, errno_of(answers.ran[line]) if line in answers.ran else None)
        for line, call in lines.steps
        if call.operation == CREATE_VCPU and _is_made(line, call, answers, made)
    )


def _is_made(line: int, call: Call, answers: Answers, made: set[str]) -> bool:
    return call.target in made and line not in answers.failed and line not in answers.missed


def errno_of(number: int) -> str:
    """Return the name of an errno: ``EINVAL``. The numbers of arm64 are those of most machines."""
    return errnos.errorcode.get(number, str(number))
