"""The GIC that `try` sets up if the VMM would do it."""

from __future__ import annotations

from vmcfg.checking.check import check
from vmcfg.description.model import Gic
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

STAND_IN = """
vmcfg: 1
name: stand-in
vcpus: {vcpus}
gic: {{version: {version}, nr_irqs: 992, distributor: 0x08000000, {rest}}}
"""

STAND_IN_REST = {
    2: "cpu_interface: 0x08010000",
    3: "redistributors: [{{base: 0x080a0000, count: {vcpus}}}]",
}
"""The addresses of QEMU, with the maximum number of INTIDs."""


def stand_in_gic(gic: Gic | None, version: int, vcpus: int) -> tuple[Command, ...]:
    """Return the commands for a GIC instead of that of the VMM: as described, else as STAND_IN."""
    rest = STAND_IN_REST[version].format(vcpus=vcpus)
    text = STAND_IN.format(vcpus=vcpus, version=version, rest=rest)
    machine = check(text.encode(), "stand-in").machine
    assert machine is not None
    assert machine.gic is not None
    if gic is not None:
        described = {key: value for key, value in gic._asdict().items() if value is not None}
        del described["set_up_by"]
        machine = machine._replace(gic=machine.gic._replace(**described))
    commands = lower(machine, WHOLE_VM).commands
    return tuple(command for command in commands if command.row.name.startswith("gic."))
