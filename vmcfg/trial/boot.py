"""A kernel image booted under QEMU, where the performer executes every task in one boot.

In: tasks. Out: their outcomes, as from `perform`. However a boot ends, QEMU has ended and its files
are removed.
"""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vmcfg import writing
from vmcfg.escape import printable
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.trial.compiled import performer
from vmcfg.trial.emulated import QEMU, Emulated, console_of
from vmcfg.trial.initrd import initrd
from vmcfg.trial.kernel_image import KernelImage
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.plan_lines import Lines, errno_of, outcome_of, plan_lines
from vmcfg.trial.task import Task
from vmcfg.trial.transcript import DONE, Garbled, Transcript, transcript

LAST_LINES = 6
"""The number of lines of the console in an error."""

OF_CONSOLE = 1 << 14
"""The size of the end of the console in bytes in which an error looks for these lines."""


class Guest(NamedTuple):
    """How an image is booted: in which machine, the maximum time in seconds, a file for the
    console, and the program or the path of QEMU.
    """

    image: KernelImage
    machine: Emulated = Emulated()
    timeout: float = 300
    console: str | None = None
    qemu: str = QEMU


def perform_in(
    guest: Guest, tasks: Sequence[Task], *, go_on: bool, run: bool
) -> list[Outcome | NoKvm]:
    """Execute `tasks`, each in its own VM, in one boot. Return an error for each that this kernel
    cannot execute. Raises `NoKvm` with the reason if the image does not boot or has no KVM.
    """
    plans = _plans(tasks, guest.image.release, go_on, run)
    console, ending = _booted(guest, "".join(plan.text for plan in plans))
    said = _said(console, ending, len(plans))
    return [_outcome(plan, said, number, go_on, console) for number, plan in enumerate(plans)]


def initrd_for(release: str, tasks: Sequence[Task], *, go_on: bool, run: bool) -> bytes:
    """Return the archive with which the kernel `release` executes `tasks`, wherever it is booted.
    Raises `NoKvm` without a compiler.
    """
    plans = _plans(tasks, release, go_on, run)
    return initrd(performer(), "".join(plan.text for plan in plans))


class Results:
    """The console of a boot with an archive of `initrd_for`, on the kernel `release`. `name` is the
    one in errors.

    Raises `NoKvm` if it is incomplete or damaged, or if the kernel has no KVM.
    """

    def __init__(self, console: bytes, name: str) -> None:
        if not console.strip():
            raise NoKvm(f"{name} is empty: it must be the console of a boot with the initrd")
        self.name = name
        self.console = console
        try:
            self.said = _said(console, "the results are incomplete", None)
        except NoKvm as error:
            raise NoKvm(f"{name}: {error}") from None
        self.release = self.said.release

    def outcomes(self, tasks: Sequence[Task], *, go_on: bool, run: bool) -> list[Outcome | NoKvm]:
        """Return the outcomes of `tasks`, as from `perform_in`. Raises `NoKvm` if others were
        executed.
        """
        plans = _plans(tasks, self.release, go_on, run)
        executed = [self.said.plans[number].key for number in sorted(self.said.plans)]
        if executed != [plan.key for plan in plans]:
            raise NoKvm(
                f"{self.name}: the results are those of other plans: the descriptions, the options,"
                " or the kernel have changed since the initrd was written"
            )
        return [
            _outcome(plan, self.said, number, go_on, self.console)
            for number, plan in enumerate(plans)
        ]


def _plans(tasks: Sequence[Task], release: str, go_on: bool, run: bool) -> list[Lines]:
    return [plan_lines(number, task, release, go_on, run) for number, task in enumerate(tasks)]


def answers_in(guest: Guest, plans: Sequence[str]) -> Transcript:
    """Return the answers to `plans`, the texts of plans from number 0, in one boot. Raises `NoKvm`
    with the reason if the image does not boot or has no KVM.
    """
    console, ending = _booted(guest, "".join(plans))
    return _said(console, ending, len(plans))


def _outcome(
    plan: Lines, said: Transcript, number: int, go_on: bool, console: bytes
) -> Outcome | NoKvm:
    try:
        return outcome_of(plan, said.plans[number], said.release, said.pmus, go_on)
    except NoKvm as error:
        return error
    except (KeyError, ValueError, struct.error):
        raise _error(f"the answers of the guest to plan {number} are damaged", console) from None


def _said(console: bytes, ending: str, plans: int | None) -> Transcript:
    """Return what the performer printed about that number of plans. Raises `NoKvm` if it is
    incomplete.
    """
    try:
        said = transcript(console)
    except Garbled as problem:
        raise _error(str(problem), console) from None
    if said is not None and said.no_kvm is not None:
        reason = errno_of(said.no_kvm)
        raise _error(
            f"this kernel has no KVM, or was not booted at EL2: /dev/kvm fails with {reason}",
            console,
        )
    if said is None or not said.is_done:
        raise _error(_problem(console, ending), console)
    if plans is not None and len(said.plans) != plans:
        raise _error(f"the guest executed {len(said.plans)} of {plans} plans", console)
    return said


def _problem(console: bytes, ending: str) -> str:
    """Return one clause about a boot that did not finish."""
    if panic := re.search(rb"Kernel panic[^\r\n]*", console):
        return f"the kernel panics: {printable(panic[0].decode(errors='replace'))}"
    if not console.strip():
        return f"the kernel prints nothing on its console ttyAMA0; {ending}"
    return ending


def _error(problem: str, console: bytes) -> NoKvm:
    """Return the error with the last lines of the console."""
    text = console[-OF_CONSOLE:].decode(errors="replace").replace("\r", "")
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("vmcfg:")]
    last = [f"    {printable(line[:200])}" for line in lines[-LAST_LINES:]]
    return NoKvm("\n".join([f"{problem}; the console ends:" if last else problem, *last]))


def _booted(guest: Guest, plans: str) -> tuple[bytes, str]:
    """Return the console of a boot, and how it ended. Raises `NoKvm` without QEMU or compiler."""
    qemu = shutil.which(guest.qemu)
    if qemu is None:
        raise NoKvm(
            f"--image requires {QEMU}: install qemu-system-arm (Debian), or qemu-system-aarch64"
            " (Fedora)"
        )
    program = performer()
    with tempfile.TemporaryDirectory(prefix="vmcfg-") as folder:
        image, archive = Path(folder, "Image"), Path(folder, "initrd")
        image.write_bytes(guest.image.content)
        archive.write_bytes(initrd(program, plans))
        command = [qemu, *guest.machine.arguments(image, archive)]
        console, ending = console_of(command, guest.timeout, DONE)
    if guest.console is not None:
        writing.write(guest.console, console)
    return console, ending
