"""The script of `try --script`: trials, and the modules that execute and judge them, in one file.

In: trials for each kernel version. Out: Python source. Nothing is executed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.kernel.version import LAST_OF_6, LINUX_6_1, NEWEST, Version
from vmcfg.script import script
from vmcfg.trial.on_host import Execution, Since
from vmcfg.trial.task import Call, Get, Kind, Task
from vmcfg.trial.verdict import Trial

CARRIED = (
    "vmcfg.escape",
    "vmcfg.exit_codes",
    "vmcfg.kernel.version",
    "vmcfg.kernel.abi",
    "vmcfg.kernel.capabilities",
    "vmcfg.kernel.host_pmus",
    "vmcfg.kernel.ioctls",
    "vmcfg.findings.position",
    "vmcfg.findings.rule",
    "vmcfg.findings.finding",
    "vmcfg.findings.diagnostic",
    "vmcfg.trial.rules",
    "vmcfg.trial.task",
    "vmcfg.trial.outcome",
    "vmcfg.trial.perform",
    "vmcfg.trial.refusals",
    "vmcfg.trial.judging",
    "vmcfg.trial.predictions",
    "vmcfg.trial.verdict",
    "vmcfg.trial.report",
    "vmcfg.trial.on_host",
)
"""The modules in a script: each imports only the standard library and those before it."""

BODY = """\
from vmcfg.findings.diagnostic import Diagnostic, Fix, Related
from vmcfg.findings.position import Position, Span
from vmcfg.findings.rule import Answer
from vmcfg.trial.on_host import Execution, Since, main
from vmcfg.trial.predictions import Foretold
from vmcfg.trial.task import Call, Get, Kind, StandInGic, Task
from vmcfg.trial.verdict import Trial

KINDS = {kinds}

TASKS = {tasks}

FILES = {files}

UNREADABLE = {unreadable}

sys.exit(main(FILES, UNREADABLE, {how}))
"""

LATER: Version = (NEWEST[0], NEWEST[1] + 1)
"""The version whose trial is that on every later kernel: no rule is about a kernel after NEWEST."""

KERNELS: tuple[Version, ...] = (
    *((LINUX_6_1[0], minor) for minor in range(LINUX_6_1[1], LAST_OF_6[1] + 1)),
    *((NEWEST[0], minor) for minor in range(NEWEST[1] + 1)),
    LATER,
)
"""Every version for which findings can differ."""


def variants(trial_on: Callable[[Version], Trial]) -> list[Since]:
    """Return the trials of a file for all kernels, where `trial_on` returns that for one of them.
    Versions with equal trials have one.
    """
    found: list[Since] = []
    for version in KERNELS:
        trial = trial_on(version)
        # A host needs the names of the files, but not their texts, nor the kernel.
        trial = trial._replace(texts=dict.fromkeys(trial.texts, ""), host_kernel=LINUX_6_1)
        if not found or found[-1].trial != trial:
            found.append(Since(version, trial))
    return found


def trial_script(
    files: Sequence[Sequence[Since]], unreadable: Sequence[str], how: Execution
) -> str:
    """Return the script that calls `on_host.main` with the arguments."""
    source = _Source()
    listed = _listed(source.of(tuple(variants)) for variants in files)
    body = BODY.format(
        kinds=_listed(source.kinds),
        tasks=_listed(source.tasks),
        files=listed,
        unreadable=_listed(map(ascii, unreadable)),
        how=source.of(how),
    )
    doc = "Execute plans on /dev/kvm of this host. Created by vmcfg try --script."
    return script(doc, CARRIED, body)


def _listed(items: Iterable[str]) -> str:
    return "".join(["[\n", *(f"{item},\n" for item in items), "]"])


class _Source:
    """The Python source of values. Kinds and tasks, which many values contain, are written once:
    their source is that of an item of KINDS or TASKS.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.tasks: dict[str, int] = {}

    def of(self, value: Any) -> str:
        """Return the source of a tree of tuples."""
        if not isinstance(value, tuple):
            return ascii(dict(value) if isinstance(value, Mapping) else value)
        written = self._of_tuple(value)
        if isinstance(value, Kind):
            return f"KINDS[{self.kinds.setdefault(written, len(self.kinds))}]"
        if isinstance(value, Task):
            return f"TASKS[{self.tasks.setdefault(written, len(self.tasks))}]"
        return written

    def _of_tuple(self, value: tuple[Any, ...]) -> str:
        parts = [self.of(each) for each in value]
        if hasattr(value, "_fields"):
            return f"{type(value).__name__}({', '.join(parts)})"
        is_long = any(isinstance(each, Call | Get | Diagnostic | Since) for each in value)
        between = ",\n" if is_long else ", "
        return f"({between.join(parts)}{',' if len(parts) == 1 else ''})"
