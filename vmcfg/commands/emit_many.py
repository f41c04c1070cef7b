"""`vmcfg emit -o DIRECTORY/`: many descriptions emitted, all of them or none.

What is emitted waits in one temporary file until no description has an error: memory does not grow
with the number of descriptions, and nothing is computed twice.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from typing import IO, Any, NamedTuple

import click

from vmcfg import files, writing
from vmcfg.checking.check import CheckFailed
from vmcfg.checking.shared_names import with_duplicate_name
from vmcfg.commands.checked_file import FileCheck, FileResult, SharedNames
from vmcfg.commands.emission import Run, Wanted, checked_for, emitted
from vmcfg.commands.emitted_folder import (
    EmittedFolder,
    Target,
    conflict,
    name_of_defaults,
    targets,
)
from vmcfg.commands.options import is_description
from vmcfg.commands.run_output import RunOutput, human_report
from vmcfg.commands.staleness import staleness
from vmcfg.escape import printable
from vmcfg.exit_codes import FAILED, FOUND
from vmcfg.parallel import cpus, results
from vmcfg.reports.terminal import wants_color


def emit_many(run: Run, wanted: Wanted) -> int:
    """Emit the descriptions of a run. Return the exit code."""
    report = human_report(sys.stderr, run.color)
    output = RunOutput(report, True, False, wants_color(run.color, sys.stderr), "emit")
    suffix = wanted.format.suffix
    every = targets(run, output.print_failure, suffix)
    wrong = conflict(every, run.output)
    if wrong is not None:
        raise click.UsageError(wrong)
    folder = EmittedFolder(run.output)
    jobs = 1 if "-" in run.paths else run.jobs or cpus()
    with tempfile.TemporaryFile(prefix="vmcfg-") as waiting:
        computed = _computed(run, wanted, every, jobs, output, waiting)
        if output.end(wanted.strict) == FAILED:
            return FAILED
        if computed.blocked:
            return FOUND
        left_over = folder.left_over(every, wanted.format.name)
        if run.check:
            return _print_left_over(run.output, left_over) or (FOUND if computed.stale else 0)
        return _write(run, wanted, every, folder, computed.changed, left_over, waiting)


class _Waiting(NamedTuple):
    """A file that is written at the end: its path, and its bytes in the temporary file."""

    path: str
    start: int
    size: int


class _Result(NamedTuple):
    """The result of a description: of its check, and, if its file changes, the new content.

    It is `blocked` if errors prevent it from being emitted.
    """

    check: tuple[Any, ...]
    data: bytes | None = None
    blocked: bool = False


class _Computed:
    """What became of all descriptions: whether one is blocked, whether the file of one is stale,
    and the files that change.
    """

    __slots__ = ("blocked", "changed", "stale")

    def __init__(self) -> None:
        self.blocked = False
        self.stale = False
        self.changed: list[_Waiting] = []


class _Emitter:
    """How each description of a run is emitted."""

    def __init__(self, run: Run, wanted: Wanted, file_check: FileCheck) -> None:
        self.run = run
        self.wanted = wanted
        self.file_check = file_check
        self.defaults_name = name_of_defaults(run)

    def fields(self, target: Target) -> tuple[Any, ...]:
        """Return the fields of `result`, as a worker process sends them."""
        return tuple(self.result(target))

    def result(self, target: Target, same_name: str | None = None) -> _Result:
        """Return the result of a description.

        If `same_name` is not None, the file at that path has a VM of the same name.
        """
        try:
            return self._result(target, same_name)
        except files.NoFile as error:
            return _Result(tuple(self.file_check.failed(target.path, str(error))))
        except CheckFailed as error:
            from vmcfg.commands.defects import defect_text

            return _Result(tuple(self.file_check.failed(target.path, defect_text(error))))

    def _result(self, target: Target, same_name: str | None) -> _Result:
        name = self.file_check.name_of(target.path)
        checked = checked_for(files.read(target.path), name, self.wanted)
        if same_name is not None and checked.machine is not None:
            checked = with_duplicate_name(checked, self.file_check.tree(same_name))
        done = emitted(checked, self.wanted, files.name_of(target.name), self.defaults_name)
        result = self.file_check.counted(target.path, done.checked, done.checked)
        path = os.path.join(self.run.output, target.file)
        if done.data is None:
            return _Result(tuple(result), blocked=True)
        if self.run.check:
            line = staleness(path, done, self.wanted.format)
            product = line.encode("utf-8", "backslashreplace")
            return _Result(tuple(result._replace(product=product)))
        if files.contains(path, done.data):
            return _Result(tuple(result))
        if is_description(path):
            name = printable(files.name_of(path))
            raise files.NoFile(f"cannot write {name}: it is a description")
        return _Result(tuple(result), done.data)


def _computed(
    run: Run,
    wanted: Wanted,
    every: Sequence[Target],
    jobs: int,
    output: RunOutput,
    waiting: IO[bytes],
) -> _Computed:
    """Emit every description into `waiting`."""

    def name_of(path: str) -> str:
        return run.stdin_filename if path == "-" else files.name_of(path)

    file_check = FileCheck(
        name_of=name_of,
        host_kernel=wanted.host_kernel,
        hosts=wanted.hosts,
        report=output.report,
        fix=False,
        diff=False,
        for_terminal=False,
        defaults=wanted.defaults,
    )
    emitter = _Emitter(run, wanted, file_check)
    names = SharedNames(file_check)
    computed = _Computed()
    start = 0
    output.begin(len(every), wanted.defaults)
    try:
        with closing(results(emitter.fields, every, jobs)) as found:
            for target, fields in zip(every, found, strict=True):
                result = _Result._make(fields)
                same_name = names.earlier(target.path, FileResult._make(result.check).vm)
                if same_name is not None:
                    result = emitter.result(target, same_name)
                check = FileResult._make(result.check)
                output.add(check)
                computed.blocked = computed.blocked or result.blocked
                computed.stale = computed.stale or bool(check.product)
                if result.data is not None:
                    _append(waiting, result.data)
                    path = os.path.join(run.output, target.file)
                    computed.changed.append(_Waiting(path, start, len(result.data)))
                    start += len(result.data)
    finally:
        # However the run ends, no progress bar remains.
        output.make_room(sys.stderr)
    return computed


def _append(waiting: IO[bytes], data: bytes) -> None:
    try:
        waiting.write(data)
    except OSError as error:
        raise files.NoFile(f"cannot write a temporary file: {error.strerror}") from None


def _print_left_over(folder: str, left_over: Sequence[str]) -> int:
    """Print a line for each file that no description produces. Return the exit code."""
    for file in left_over:
        name = printable(files.name_of(os.path.join(folder, file)))
        files.print_out(f"{name}: left over: no description produces it; '--prune' removes it\n")
    return FOUND if left_over else 0


def _write(
    run: Run,
    wanted: Wanted,
    every: Sequence[Target],
    folder: EmittedFolder,
    changed: Sequence[_Waiting],
    left_over: Sequence[str],
    waiting: IO[bytes],
) -> int:
    """Write the files that change, and remove those that are left over. Return the exit code."""
    _make_directories(run.output, every)
    folder.add(every, wanted.format.name)
    if _write_all(changed, waiting):
        return FAILED
    words = files.changed_text(len(changed), len(every))
    if run.prune:
        folder.remove(left_over, wanted.format.name)
        if left_over:
            words += f", {len(left_over)} removed"
    files.print_error(f"{words}\n")
    return 0


def _make_directories(folder: str, every: Sequence[Target]) -> None:
    for inner in dict.fromkeys(os.path.dirname(target.file) for target in every):
        path = os.path.join(folder, inner)
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            name = printable(files.name_of(path))
            raise files.NoFile(f"cannot create {name}: {error.strerror}") from None


def _write_all(changed: Sequence[_Waiting], waiting: IO[bytes]) -> bool:
    """Write files from the temporary file. Return whether one could not be written."""
    try:
        waiting.flush()
    except OSError as error:
        raise files.NoFile(f"cannot write a temporary file: {error.strerror}") from None
    source = waiting.fileno()
    contents = ((each.path, os.pread(source, each.size, each.start)) for each in changed)
    failed = False
    for reason in writing.write_many(contents):
        failed = True
        files.print_error(f"vmcfg: {reason}\n")
    return failed
