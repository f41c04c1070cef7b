"""A plan executed on KVM of this machine, in a VM that is destroyed at the end of the call.

In: commands from `lowering` or `planfile`. Out: their results, the values read back, and the vCPUs
that ran, for `judging`.
"""

from __future__ import annotations

import errno as errnos
import resource
from collections.abc import Iterator
from contextlib import ExitStack, closing

from vmcfg.description.model import Gic
from vmcfg.kernel.abi import DEVICE_TYPES
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.host_pmus import host_pmus
from vmcfg.kernel.ioctls import Kvm, Vm
from vmcfg.kernel.version import running_release, version_of
from vmcfg.plans.command import Command
from vmcfg.plans.operations import CREATE_VCPU, CREATE_VM, has_pmu
from vmcfg.plans.phases import CREATE
from vmcfg.plans.reading_back import reads
from vmcfg.trial.outcome import (
    NOT_REACHED,
    Difference,
    Outcome,
    Run,
    Step,
    Task,
    without_pmu,
    without_pmu_named,
)
from vmcfg.trial.stand_in_gic import stand_in_gic


def perform(task: Task, *, go_on: bool = False, run: bool = True) -> Outcome:
    """Execute `task` and return every answer of KVM. Raises `NoKvm` if KVM cannot be used.

    It ends at the first rejected command, unless `go_on` is true. With `run`, every vCPU enters
    KVM_RUN once.
    """
    _raise_descriptor_limit()
    with ExitStack() as stack:
        host = stack.enter_context(closing(Kvm()))
        task = task._replace(commands=tuple(map(_resolved, task.commands)))
        if has_pmu(task.commands) and not host.capability(CAPABILITIES["KVM_CAP_ARM_PMU_V3"]):
            raise without_pmu()
        return _Performance(host, stack, go_on).outcome(task, run)


def _raise_descriptor_limit() -> None:
    """Raise the limit of open files: every vCPU is one, and 512 can exceed the usual limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _resolved(command: Command) -> Command:
    """Return a command with the number of its host PMU, if it names one. Raises `NoKvm` if the host
    does not have it.
    """
    name = command.host_name
    if name is None or command.is_resolved:
        return command
    pmus = host_pmus()
    if name not in pmus:
        raise without_pmu_named(name, pmus)
    return command._replace(payload=(pmus[name].type,))


def errno_name(error: OSError) -> str:
    """Return the name of an errno: ``EINVAL``."""
    return errnos.errorcode.get(error.errno or 0, str(error.errno))


class _Performance:
    """The execution of one task; the VM is closed with `stack`."""

    def __init__(self, host: Kvm, stack: ExitStack, go_on: bool) -> None:
        self.host = host
        self.stack = stack
        self.go_on = go_on
        self.vm: Vm | None = None
        self.refused = False

    def outcome(self, task: Task, run: bool) -> Outcome:
        create = [command for command in task.commands if command.row.phase == CREATE]
        rest = task.commands[len(create) :]
        steps = [self.step(command) for command in create]
        stand_in = []
        if task.monitors_gic and self.vm is not None:
            vcpus = sum(command.operation is CREATE_VCPU for command in create)
            gic = stand_in_gic(task.gic, self.gic_version(self.vm, task.gic), vcpus)
            here = version_of(running_release())
            # A VMM cannot set attributes that this kernel does not support either.
            stand_in = [self.step(command) for command in gic if command.row.since <= here]
        steps += [self.step(command) for command in rest]
        if self.refused and not self.go_on:
            return Outcome(running_release(), tuple(steps), tuple(stand_in), (), ())
        steps, differences = self.read_back(steps)
        runs = tuple(self.runs()) if run else ()
        return Outcome(running_release(), tuple(steps), tuple(stand_in), differences, runs)

    @staticmethod
    def gic_version(vm: Vm, gic: Gic | None) -> int:
        """Return the version of the VMM GIC: as described, or the newest on the host."""
        if gic is not None:
            return gic.version
        return 3 if vm.has_device(DEVICE_TYPES[3][1]) else 2

    def step(self, command: Command) -> Step:
        if self.refused and not self.go_on:
            return Step(command, NOT_REACHED)
        try:
            if command.operation is CREATE_VM:
                self.vm = self.stack.enter_context(closing(Vm(self.host, command.number)))
            elif self.vm is None or not self.has_object(self.vm, command):
                return Step(command, NOT_REACHED)
            else:
                command.operation.perform(self.vm, command)
        except OSError as error:
            self.refused = True
            return Step(command, errno_name(error))
        return Step(command, None)

    @staticmethod
    def has_object(vm: Vm, command: Command) -> bool:
        """Return whether the target of a command exists, or is created by it."""
        return command.operation.makes_target or command.target in vm.descriptors

    def read_back(self, steps: list[Step]) -> tuple[list[Step], tuple[Difference, ...]]:
        """Return the steps with the values that KVM returns, and the differences from the plan."""
        read: dict[int, list[str]] = {}
        differences = []
        here = version_of(running_release())
        for number, command in reads([step.command for step in steps], here):
            if (
                self.vm is None
                or steps[number].outcome is not None
                or command.target not in self.vm.descriptors
            ):
                continue
            got = _got(self.vm, command)
            read.setdefault(number, []).append(got)
            if got != command.value:
                differences.append(Difference(number, command.target, command.value, got))
        done = [
            step._replace(read=tuple(read.get(number, ()))) for number, step in enumerate(steps)
        ]
        return done, tuple(differences)

    def runs(self) -> Iterator[Run]:
        """Enter each vCPU once and return the results."""
        vm = self.vm
        if vm is None:
            return
        for target in vm.descriptors:
            if not target.startswith("vcpu:"):
                continue
            try:
                vm.run(target)
            except OSError as error:
                yield Run(target, errno_name(error))
            else:
                yield Run(target, None)


def _got(vm: Vm, command: Command) -> str:
    """Return the answer of KVM to a GET, as in a plan; or the name of the errno."""
    try:
        data = command.operation.read(vm, command)
    except OSError as error:
        return errno_name(error)
    value = command.row.value
    return value.text(value.payload(data))
