"""The GIC that `try` sets up if the VMM would do it."""

from __future__ import annotations

from vmcfg.checking.check import check
from vmcfg.description.model import Gic
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.vm.frames import frames, overlaps
from vmcfg.vm.machine import Machine

STAND_IN = """
vmcfg: 1
name: stand-in
vcpus: {vcpus}
gic: {{version: {version}, nr_irqs: 992, distributor: {distributor:#x}, {rest}}}
"""

STAND_IN_REST = {
    2: "cpu_interface: {interface:#x}",
    3: "redistributors: [{{base: {redistributors:#x}, count: {vcpus}}}]",
}
"""The maximum number of INTIDs, and all frames."""

BASES = (0x0800_0000, 0x1800_0000, 0x2800_0000)
"""The address of QEMU, and others for a description with some frames that overlap those of QEMU."""


def stand_in_gic(gic: Gic | None, version: int, vcpus: int) -> tuple[Command, ...]:
    """Return the commands for a GIC instead of that of the VMM: as described, else as STAND_IN."""
    machines = [_with_stand_in(gic, version, vcpus, base) for base in BASES]
    without_overlap = (machine for machine in machines if not _has_overlap(machine))
    commands = lower(next(without_overlap, machines[0]), WHOLE_VM).commands
    return tuple(command for command in commands if command.row.name.startswith("gic."))


def _with_stand_in(gic: Gic | None, version: int, vcpus: int, base: int) -> Machine:
    """Return a machine with the frames of `gic`, and others from `base` on for those it lacks."""
    rest = STAND_IN_REST[version].format(
        interface=base + 0x1_0000, redistributors=base + 0xA_0000, vcpus=vcpus
    )
    text = STAND_IN.format(vcpus=vcpus, version=version, distributor=base, rest=rest)
    machine = check(text.encode(), "stand-in").machine
    assert machine is not None
    assert machine.gic is not None
    if gic is None:
        return machine
    described = {key: value for key, value in gic._asdict().items() if value is not None}
    del described["set_up_by"]
    return machine._replace(gic=machine.gic._replace(**described))


def _has_overlap(machine: Machine) -> bool:
    return bool(overlaps([frame.addresses for frame in frames(machine)]))
