"""A task: the commands of a plan as data, with all that executing and judging them needs.

This module, like all that `vmcfg.trial.script` copies to a host, runs on Python 3.7 and imports
only the standard library and modules that are copied too.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from vmcfg.findings.position import Position
from vmcfg.findings.rule import Phase
from vmcfg.kernel.version import Version


class Kind(NamedTuple):
    """What the calls of one row of the sequence have in common.

    `creates` is true in the phase `create`; `phase` is that of a rejection. Kernels before `since`
    do not support it. `errors` has the meaning of each errno. A value that is read is a number,
    `signed` and `hexadecimal` or not.
    """

    creates: bool
    phase: Phase
    since: Version
    errors: Mapping[str, str]
    signed: bool
    hexadecimal: bool

    def text(self, data: bytes) -> str:
        """Return a value that was read, as in a plan."""
        number = int.from_bytes(data, "little", signed=self.signed)
        return hex(number) if self.hexadecimal else str(number)


class Slot(NamedTuple):
    """A memory slot, as KVM_SET_USER_MEMORY_REGION reads it."""

    number: int
    flags: int
    base: int
    size: int


class Call(NamedTuple):
    """One command of a plan as data.

    `operation`, `target`, `group`, `number`, and `data` are those of a line of `--numbers`, and
    `text` is the line of the text format. The data of a call with a `pmu` is the number of this
    host PMU. `title` is the ioctl and what it sets, as in findings.
    `about` is what a finding says after the text, and `hint` is its hint. `mpidr` is that of the
    vCPU of the call.
    """

    operation: str
    target: str
    group: int
    number: int
    data: bytes
    kind: Kind
    text: str
    title: str
    position: Position
    about: str = ""
    hint: str | None = None
    mpidr: str | None = None
    pmu: str | None = None

    @property
    def makes_target(self) -> bool:
        """Return whether the call creates its target."""
        return self.operation in (CREATE_VM, CREATE_VCPU, CREATE_DEVICE)

    @property
    def slot(self) -> Slot:
        """Return the memory slot in the data."""
        return Slot(*struct.unpack("<IIQQ", self.data))


CREATE_VM, CREATE_VCPU, CREATE_DEVICE = "create-vm", "create-vcpu", "create-device"
INIT_VCPU = "init-vcpu"


class Get(NamedTuple):
    """A value to read back after all calls: with `call`, on kernels from `since` on, if the call
    number `step` (from 0) succeeded.

    `start` is the buffer before the call, and the data of `call` is the one after it.
    """

    step: int
    call: Call
    start: bytes
    since: Version


class StandInGic(NamedTuple):
    """The calls that set up a GIC of the device type `device`, in place of that of the VMM."""

    device: int
    calls: tuple[Call, ...]


class Task(NamedTuple):
    """The calls of a whole VM to execute, and the values to read back.

    After the calls that create, the first of the `gics` is set up that the host supports, or the
    last; if the plan sets up the GIC, there are none. `has_pmu` is true if a vCPU has a PMU.
    """

    calls: tuple[Call, ...]
    gics: tuple[StandInGic, ...]
    gets: tuple[Get, ...]
    has_pmu: bool

    @property
    def created(self) -> int:
        """Return the number of calls before the GIC of the VMM: those that create."""
        return sum(call.kind.creates for call in self.calls)
