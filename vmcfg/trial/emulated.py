"""An arm64 machine with KVM that QEMU emulates: its command line, and its console until it ends."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

QEMU = "qemu-system-aarch64"
MACHINE = {"type": "virt", "virtualization": "on", "gic-version": "3"}
CPU = "max,pauth-impdef=on"
APPEND = "console=ttyAMA0 quiet loglevel=1 panic=-1"

MOST_CONSOLE = 16 << 20
"""The maximum size of the console in bytes. The answers to 300 descriptions have about 1 MiB."""


class Emulated(NamedTuple):
    """A machine: changes of MACHINE, a CPU of QEMU, more kernel parameters, the number of CPUs, and
    the size of memory in MiB.

    In emulation, one CPU takes much less time than two, which wait for each other.
    """

    machine: str = ""
    cpu: str = CPU
    append: str = ""
    cpus: int = 1
    memory: int = 1024

    def arguments(self, image: Path, archive: Path, network: Sequence[str] = ()) -> list[str]:
        """Return the arguments of QEMU that boot a kernel image with an initrd."""
        size = ["-smp", str(self.cpus), "-m", str(self.memory)]
        append = f"{APPEND} {self.append}".rstrip()
        return [
            *("-M", self._machine(), "-cpu", self.cpu, *size, "-accel", "tcg"),
            *("-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
            *(network or ("-nic", "none")),
            *("-kernel", str(image), "-initrd", str(archive), "-append", append),
        ]

    def _machine(self) -> str:
        """Return the machine of QEMU with the changes."""
        chosen = dict(MACHINE)
        if self.cpu.split(",")[0] == "max":
            chosen["mte"] = "on"  # only this CPU has memory tags
        for setting in filter(None, self.machine.split(",")):
            name, equals, value = setting.partition("=")
            chosen.update({name: value} if equals else {"type": name})
        kind = chosen.pop("type")
        return ",".join([kind, *(f"{name}={value}" for name, value in chosen.items())])


def console_of(command: Sequence[str], timeout: float, last: bytes | None) -> tuple[bytes, str]:
    """Run QEMU until it ends, or until its console ends with a line that contains `last`: then the
    guest does not need to power off. Return the console, and how it ended without this line.

    However it ends, QEMU has ended, too.
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
            return _read(process, selector, timeout, last)
    finally:
        if process is not None:
            process.kill()
            process.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read(
    process: subprocess.Popen[bytes],
    selector: selectors.BaseSelector,
    timeout: float,
    last: bytes | None,
) -> tuple[bytes, str]:
    assert process.stdout is not None
    deadline = time.monotonic() + timeout
    console = bytearray()
    while len(console) < MOST_CONSOLE:
        if not selector.select(max(0, deadline - time.monotonic())):
            return bytes(console), f"the guest does not finish within {timeout:g} s (--timeout)"
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            return bytes(console), f"QEMU ended with status {process.wait()} before the guest did"
        searched = max(0, len(console) - len(last or b""))
        console += piece
        if last and console.find(last, searched) >= 0 and console.endswith(b"\n"):
            return bytes(console), ""
    return bytes(console), f"the guest prints more than {MOST_CONSOLE >> 20} MiB"
