"""Runs in the guest, with a seed as its argument: saves and restores the vGICs of descriptions by
their lists; prints what KVM answers, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import closing
from copy import copy
from pathlib import Path
from typing import Any

from vmcfg.checking.check import check
from vmcfg.kernel.ioctls import Kvm, Vm
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import GET_ATTR
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.saving import state_plan
from vmcfg.vm.machine import Machine

Key = tuple[str, int, int]
Saved = dict[Key, bytes]
"""The value of each register by its target, group, and attribute number."""

SEED = int(sys.argv[1])

VALID = 1 << 63

SET_BY_KVM = ("GICD_IIDR", "GICD_CTLR", "GICR_CTLR", "GICR_P", "ICC_SRE", "ICC_CTLR", "GITS")
"""Registers that do not take every value."""

WRITABLE = {"ICC_PMR": 0xF8, "ICC_BPR": 0x7, "ICC_IGR": 0x1, "ICC_AP": 1, "ICH_LR": 0xFF}
"""The bits of system registers that take every value, by the beginning of their names."""


def key(command: Command) -> Key:
    attr = command.attr
    assert attr is not None
    return command.target, attr.group_id, attr.id


def size(command: Command) -> int:
    return len(command.row.value.read_start((0,)))


class State:
    """A VM of a description, with the lists of its state."""

    def __init__(self, host: Kvm, machine: Machine) -> None:
        self.save_plan = state_plan(machine, saves=True)
        self.restore_plan = state_plan(machine, saves=False)
        create, *rest = lower(machine, WHOLE_VM).commands
        self.vm = Vm(host, create.number)
        for command in rest:
            command.operation.perform(self.vm, command)

    def unknown(self) -> list[str]:
        """Return the lines whose attribute KVM does not have."""
        commands = (*self.save_plan.commands, *self.restore_plan.commands)
        return [each.text() for each in commands if not self.vm.has_attr(*key(each))]

    def saved(self) -> Saved:
        found = {}
        for command in self.save_plan.commands:
            if command.operation is GET_ATTR:
                found[key(command)] = self.vm.get_attr(*key(command), bytes(size(command)))
            else:
                self.vm.set_attr(*key(command), None)
        return found

    def restore(self, saved: Saved) -> None:
        for command in self.restore_plan.commands:
            data = saved[key(command)] if is_read(command) else command.data
            self.vm.set_attr(*key(command), data)

    def use(self, time: int) -> None:
        """Set registers to random values, as a guest could; at each time to others."""
        drawn = random.Random(SEED + time)
        for command in self.restore_plan.commands:
            if is_read(command):
                value = value_of(command, drawn)
                if value is not None:
                    self.vm.set_attr(*key(command), value)

    def with_mpidr_0(self) -> State:
        """Return the same VM with lists that name the vCPU with the MPIDR 0 in every line."""
        other = copy(self)
        other.save_plan, other.restore_plan = (
            plan._replace(commands=tuple(map(without_mpidr, plan.commands)))
            for plan in (self.save_plan, self.restore_plan)
        )
        return other

    def overwritten(self) -> dict[str, int]:
        """Return how many bytes a read of each group writes, of those that its first register has:
        the buffer has 8 more.
        """
        found: dict[str, int] = {}
        for command in self.save_plan.commands:
            if command.operation is GET_ATTR:
                group = command.operation.group(command)
                ones = self.vm.get_attr(*key(command), b"\xff" * 16)
                zeros = self.vm.get_attr(*key(command), bytes(16))
                same = [one == zero for one, zero in zip(ones, zeros, strict=True)]
                found.setdefault(group, same.count(True))
        return found


def is_read(command: Command) -> bool:
    """Return whether a command of a restore sets what a save has read."""
    return command.payload is None


def without_mpidr(command: Command) -> Command:
    if command.attr_id is None or command.mpidr is None:
        return command
    return command._replace(attr_id=command.attr_id & 0xFFFF_FFFF)


def value_of(command: Command, drawn: random.Random) -> bytes | None:
    """Return a random value that a register takes; None if it has only the value of KVM."""
    name, length = command.register.name, size(command)
    word = drawn.getrandbits(8 * length)
    if name in ("GITS_CBASER", "GITS_BASER0", "GITS_BASER1"):
        # KVM completes the word of an ITS that no guest uses.
        word = VALID | 0x40000000 + drawn.randrange(16) * 0x10000 if name == "GITS_CBASER" else 0
    elif name.startswith(SET_BY_KVM):
        return None
    elif name.startswith(("ICC", "ICH")):
        word &= next((bits for start, bits in WRITABLE.items() if name.startswith(start)), 0)
    return word.to_bytes(length, "little")


def differing(old: Saved, new: Saved) -> list[str]:
    """Return what differs, as text: at most five, for the message of a test."""
    assert old.keys() == new.keys()
    return [f"{at}: {old[at].hex()} {new[at].hex()}" for at in old if old[at] != new[at]]


def shown(host: Kvm, machine: Machine) -> dict[str, Any]:
    """Return what KVM answers for one VM: the number of lines, and those that it does not have; the
    number of registers that differ after use; and what differs after a restore of that into a fresh
    VM, and into one with another use.
    """
    first, fresh, other = (State(host, machine) for _ in range(3))
    found: dict[str, Any] = {
        "lines": [len(first.save_plan.commands), len(first.restore_plan.commands)],
        "unknown": first.unknown(),
        "overwritten": first.overwritten(),
    }
    unused = first.saved()
    first.use(1)
    used = first.saved()
    found["used"] = len(differing(unused, used))
    fresh.restore(used)
    found["into a fresh VM"] = differing(used, fresh.saved())[:5]
    other.use(2)
    other.restore(used)
    found["into a used VM"] = differing(used, other.saved())[:5]
    if {0} < {vcpu.mpidr for vcpu in machine.vcpus}:
        wrong = State(host, machine)
        wrong.with_mpidr_0().restore(first.with_mpidr_0().saved())
        found["with MPIDR 0"] = len(differing(used, wrong.saved()))
    return found


def main() -> None:
    """Print {name: what `shown` returns} for the descriptions in the folder `state`."""
    answers = {}
    with closing(Kvm()) as host:
        for path in sorted(Path("state").glob("*.yaml")):
            machine = check(path.read_bytes(), path.name).machine
            assert machine is not None
            answers[path.stem] = shown(host, machine)
    json.dump(answers, sys.stdout)


main()
