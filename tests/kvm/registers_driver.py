"""Runs in the guest: sets every field of every ID register to values around that of the host.

Reads a host file from standard input. Prints, for each register, a list of values with the name of
the errno, or null.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import closing

from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.ioctls import Kvm, Vm
from vmcfg.kernel.register_fields import Field, fields_of
from vmcfg.kernel.settable_registers import SETTABLE


def answer(vm: Vm, register: int, value: int) -> str | None:
    """Return the name of the errno of KVM_SET_ONE_REG, or None."""
    try:
        vm.set_reg("vcpu", register, value.to_bytes(8, "little"))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def values(field: Field, host: int) -> Iterator[int]:
    """Return the register with other values of a field: 0, and those next to the host's."""
    there = (host & field.mask) >> field.shift
    for other in {0, there - 1, there + 1, (1 << field.width) - 1} - {there}:
        if 0 <= other < 1 << field.width:
            yield host & ~field.mask | other << field.shift


def main() -> None:
    """Print the answers for this kernel as JSON."""
    host = json.load(sys.stdin)
    answers: dict[str, list[tuple[str, str | None]]] = {}
    with closing(Kvm()) as kvm, closing(Vm(kvm, 0)) as vm:
        vm.create_vcpu("vcpu", 0)
        vm.init_vcpu("vcpu", 1 << VCPU_FEATURES["PSCI_0_2"] | 1 << VCPU_FEATURES["PMU_V3"])
        for register in host["registers"]:
            name, start = register["name"], int(register["value"], 0)
            tried = [value for field in fields_of(name) for value in values(field, start)]
            tried += [start ^ 1 << bit for bit in range(64)] if tried else []
            number = SETTABLE[name].id
            answers[name] = []
            for value in [start, *tried]:
                answers[name].append((hex(value), answer(vm, number, value)))
                answer(vm, number, start)
    json.dump(answers, sys.stdout)


main()
