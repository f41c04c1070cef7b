"""``vmcfg validate --fix --defaults FILE``: the defaults, fixed before the descriptions.

All fixes of a run are written in one step: those of the findings about the defaults alone, and
those of findings that only a description shows, such as an interrupt that vCPUs get from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

from vmcfg import files, writing
from vmcfg.checking import fixes
from vmcfg.checking.check import CheckFailed, Defaults
from vmcfg.checking.defaults import defaults_in
from vmcfg.commands.checked_file import FileCheck
from vmcfg.commands.found_in_defaults import FoundThere, packed, split, unpacked
from vmcfg.commands.run_output import RunOutput
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic, Fix
from vmcfg.findings.rule import ERROR, WARNING
from vmcfg.parallel import results


def fix_defaults(
    path: str, file_check: FileCheck, every: Sequence[str], jobs: int, output: RunOutput
) -> None:
    """Fix the defaults of `file_check` at `path`, for the descriptions `every`; or print what would
    change. Raises `NoFile` if they cannot be written.
    """
    before = file_check.defaults
    assert before is not None
    fixed: list[Diagnostic] = []
    for _ in range(fixes.ROUNDS):
        found = {each.fix: each for each in _found(file_check, every, jobs) if each.fix}
        edits = fixes.apart(found)
        after = _after(file_check.defaults or before, edits)
        if after is None:
            break
        file_check.defaults = after
        fixed += [found[edit] for edit in edits]
    after = file_check.defaults or before
    if file_check.diff:
        terminal = file_check.for_terminal
        files.put_out(fixes.difference(before.tree.file, before.data, after.data, terminal))
        # Nothing is written, so that they count.
        output.errors += sum(each.severity == ERROR for each in fixed)
        output.warnings += sum(each.severity == WARNING for each in fixed)
        output.fixable += len(fixed)
    elif fixed:
        if files.read(path) != before.data:
            name = printable(before.tree.file)
            raise files.NoFile(f"cannot fix {name}: it was changed at the same time")
        writing.write(path, after.data)
        output.fixed += len(fixed)
        output.changed += 1


def _after(defaults: Defaults, edits: Sequence[Fix]) -> Defaults | None:
    """Return the defaults with `edits`; None if there are none, or if the text could not be read
    then.
    """
    if not edits:
        return None
    after = defaults_in(fixes.edited(defaults.data, edits), defaults.tree.file)
    return None if after.tree.root is None else after


def _found(file_check: FileCheck, every: Sequence[str], jobs: int) -> Iterable[Diagnostic]:
    """Yield the findings in the defaults: those about them alone, or, if there are none, those that
    descriptions show.
    """
    defaults = file_check.defaults
    assert defaults is not None
    yield from defaults.diagnostics
    if defaults.diagnostics:
        return

    def in_defaults(path: str) -> tuple[bytes]:
        return (packed(_found_with(file_check, defaults, path)),)

    with closing(results(in_defaults, every, jobs)) as found:
        for (data,) in found:
            yield from (each for each, _ in (unpacked(data) if data else ()))


def _found_with(file_check: FileCheck, defaults: Defaults, path: str) -> list[FoundThere]:
    """Return the findings in the defaults that a description shows after its own fixes."""
    try:
        data = file_check.read(path)
        checked = file_check.check(path, data)
        _, left, _ = fixes.fixed(data, checked, lambda text: file_check.check(path, text))
    except (files.NoFile, CheckFailed):
        # The check of the description reports it.
        return []
    return split(left, defaults).in_defaults
