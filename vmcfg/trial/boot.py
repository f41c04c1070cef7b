"""A kernel image booted under QEMU, where the performer executes every task in one boot.

In: tasks. Out: their outcomes, as from `perform`. However a boot ends, QEMU has ended and its files
are removed.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vmcfg import files
from vmcfg.escape import printable
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.trial.compiled import performer
from vmcfg.trial.initrd import initrd
from vmcfg.trial.kernel_image import KernelImage
from vmcfg.trial.outcome import Outcome
from vmcfg.trial.plan_lines import Lines, errno_of, outcome_of, plan_lines
from vmcfg.trial.task import Task
from vmcfg.trial.transcript import DONE, Garbled, Transcript, transcript

QEMU = "qemu-system-aarch64"
MACHINE = {"type": "virt", "virtualization": "on", "gic-version": "3"}
CPU = "max,pauth-impdef=on"
MEMORY_MB = 1024
APPEND = "console=ttyAMA0 quiet loglevel=1 panic=-1"

LAST_LINES = 6
"""The number of lines of the console in an error."""

OF_CONSOLE = 1 << 14
"""The size of the end of the console in bytes in which an error looks for these lines."""

MOST_CONSOLE = 16 << 20
"""The maximum size of the console in bytes. The answers to 300 descriptions have about 1 MiB."""


class Guest(NamedTuple):
    """How an image is booted: changes of MACHINE, a CPU of QEMU, kernel parameters, the maximum
    time in seconds, and a file for the console.
    """

    image: KernelImage
    machine: str = ""
    cpu: str = CPU
    append: str = ""
    timeout: float = 300
    console: str | None = None


def perform_in(
    guest: Guest, tasks: Sequence[Task], *, go_on: bool, run: bool
) -> list[Outcome | NoKvm]:
    """Execute `tasks`, each in its own VM, in one boot. Return an error for each that this kernel
    cannot execute. Raises `NoKvm` with the reason if the image does not boot or has no KVM.
    """
    release = guest.image.release
    plans = [plan_lines(number, task, release, go_on, run) for number, task in enumerate(tasks)]
    console, ending = _booted(guest, "".join(plan.text for plan in plans))
    said = _said(console, ending, len(plans))
    return [_outcome(plan, said, number, go_on, console) for number, plan in enumerate(plans)]


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


def _said(console: bytes, ending: str, plans: int) -> Transcript:
    """Return what the performer printed. Raises `NoKvm` if it is incomplete."""
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
    if len(said.plans) != plans:
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
    qemu = shutil.which(QEMU)
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
        console, ending = _run([qemu, *_arguments(guest, image, archive)], guest.timeout)
    if guest.console is not None:
        files.write(guest.console, console)
    return console, ending


def _arguments(guest: Guest, image: Path, archive: Path) -> list[str]:
    append = f"{APPEND} {guest.append}".rstrip()
    return [
        *("-M", _machine(guest), "-cpu", guest.cpu, "-smp", "1", "-m", str(MEMORY_MB)),
        *("-accel", "tcg", "-display", "none", "-monitor", "none", "-serial", "stdio"),
        *("-nic", "none", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(archive), "-append", append),
    ]


def _machine(guest: Guest) -> str:
    """Return the machine of QEMU with the changes of the user."""
    chosen = dict(MACHINE)
    if guest.cpu.split(",")[0] == "max":
        chosen["mte"] = "on"  # only this CPU has memory tags
    for setting in filter(None, guest.machine.split(",")):
        name, equals, value = setting.partition("=")
        chosen.update({name: value} if equals else {"type": name})
    kind = chosen.pop("type")
    return ",".join([kind, *(f"{name}={value}" for name, value in chosen.items())])


def _run(command: list[str], timeout: float) -> tuple[bytes, str]:
    """Run QEMU until the performer has finished; it does not need to power off. Return the console,
    and why it ended otherwise.
    """
    # Between the start of QEMU and `try`, a signal would leave it running.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    process = None
    try:
        # Ctrl-C must not end QEMU before this process, which ends it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with process.stdout, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            return _read(process, selector, time.monotonic() + timeout, timeout)
    finally:
        if process is not None:
            process.kill()
            process.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read(
    process: subprocess.Popen[bytes],
    selector: selectors.BaseSelector,
    deadline: float,
    timeout: float,
) -> tuple[bytes, str]:
    assert process.stdout is not None
    console = bytearray()
    while len(console) < MOST_CONSOLE:
        if not selector.select(max(0, deadline - time.monotonic())):
            return bytes(console), f"the guest does not finish within {timeout:g} s (--timeout)"
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            return bytes(console), f"QEMU ended with status {process.wait()} before the guest did"
        searched = max(0, len(console) - len(DONE))
        console += piece
        if console.find(DONE, searched) >= 0 and console.endswith(b"\n"):
            return bytes(console), ""
    return bytes(console), f"the guest prints more than {MOST_CONSOLE >> 20} MiB"
