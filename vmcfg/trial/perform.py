"""A task executed on KVM of this machine, in a VM that is destroyed at the end of the call.

In: a task. Out: the results of its calls, the values read back, and the vCPUs that ran, for
`judging`.
"""

from __future__ import annotations

import errno as errnos
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.host_pmus import host_pmus
from vmcfg.kernel.ioctls import Kvm, Vm
from vmcfg.kernel.version import running_release, version_of
from vmcfg.trial.outcome import (
    NOT_REACHED,
    Difference,
    Outcome,
    Run,
    Step,
    without_pmu,
    without_pmu_named,
)
from vmcfg.trial.task import CREATE_VM, Call, Get, StandInGic, Task


def perform(task: Task, *, go_on: bool = False, run: bool = True) -> Outcome:
    """Execute `task` and return every answer of KVM. Raises `NoKvm` if KVM cannot be used.

    It ends at the first rejected call, unless `go_on` is true. With `run`, every vCPU enters
    KVM_RUN once.
    """
    _raise_descriptor_limit()
    with ExitStack() as stack:
        host = stack.enter_context(closing(Kvm()))
        task = task._replace(calls=tuple(map(_resolved, task.calls)))
        if task.has_pmu and not host.capability(CAPABILITIES["KVM_CAP_ARM_PMU_V3"]):
            raise without_pmu()
        return _Performance(host, stack, go_on).outcome(task, run)


def _raise_descriptor_limit() -> None:
    """Raise the limit of open files: every vCPU is one, and 512 can exceed the usual limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _resolved(call: Call) -> Call:
    """Return a call with the number of its host PMU, if it names one. Raises `NoKvm` if the host
    does not have it.
    """
    if call.pmu is None:
        return call
    pmus = host_pmus()
    if call.pmu not in pmus:
        raise without_pmu_named(call.pmu, pmus)
    return call._replace(data=pmus[call.pmu].type.to_bytes(4, "little", signed=True))


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
        self.release = running_release()

    def outcome(self, task: Task, run: bool) -> Outcome:
        created = task.created
        steps = [self.step(call) for call in task.calls[:created]]
        stand_in = []
        if task.gics and self.vm is not None:
            here = version_of(self.release)
            gic = self.gic(self.vm, task.gics)
            # A VMM cannot set attributes that this kernel does not support either.
            stand_in = [self.step(call) for call in gic.calls if call.kind.since <= here]
        steps += [self.step(call) for call in task.calls[created:]]
        if self.refused and not self.go_on:
            return Outcome(self.release, tuple(steps), tuple(stand_in), (), ())
        steps, differences = self.read_back(steps, task.gets)
        runs = tuple(self.runs()) if run else ()
        return Outcome(self.release, tuple(steps), tuple(stand_in), differences, runs)

    @staticmethod
    def gic(vm: Vm, gics: tuple[StandInGic, ...]) -> StandInGic:
        """Return the GIC to set up: the first that the host supports, or the last."""
        for gic in gics[:-1]:
            if vm.has_device(gic.device):
                return gic
        return gics[-1]

    def step(self, call: Call) -> Step:
        if self.refused and not self.go_on:
            return Step(call, NOT_REACHED)
        try:
            if call.operation == CREATE_VM:
                self.vm = self.stack.enter_context(closing(Vm(self.host, call.number)))
            elif self.vm is None or not self.has_object(self.vm, call):
                return Step(call, NOT_REACHED)
            else:
                execute(self.vm, call)
        except OSError as error:
            self.refused = True
            return Step(call, errno_name(error))
        return Step(call, None)

    @staticmethod
    def has_object(vm: Vm, call: Call) -> bool:
        """Return whether the target of a call exists, or is created by it."""
        return call.makes_target or call.target in vm.descriptors

    def read_back(
        self, steps: list[Step], gets: tuple[Get, ...]
    ) -> tuple[list[Step], tuple[Difference, ...]]:
        """Return the steps with the values that KVM returns, and the differences from the plan."""
        read: dict[int, list[str]] = {}
        differences = []
        here = version_of(self.release)
        for get in gets:
            call = get.call
            if (
                self.vm is None
                or here < get.since
                or steps[get.step].outcome is not None
                or call.target not in self.vm.descriptors
            ):
                continue
            got, want = _got(self.vm, get), call.kind.text(call.data)
            read.setdefault(get.step, []).append(got)
            if got != want:
                differences.append(Difference(get.step, call.target, want, got))
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


def execute(vm: Vm, call: Call) -> None:
    """Execute a call on an existing VM. Raises `OSError`."""
    EXECUTED[call.operation](vm, call)


def _add_memory(vm: Vm, call: Call) -> None:
    slot = call.slot
    vm.add_memory(slot.number, slot.base, slot.size, slot.flags)


def _enable_cap(vm: Vm, call: Call) -> None:
    vm.enable_cap(call.number, list(struct.unpack(f"<{len(call.data) // 8}Q", call.data)))


EXECUTED: dict[str, Callable[[Vm, Call], None]] = {
    "enable-cap": _enable_cap,
    "add-memory": _add_memory,
    "create-vcpu": lambda vm, call: vm.create_vcpu(call.target, call.number),
    "create-device": lambda vm, call: vm.create_device(call.target, call.number),
    "init-vcpu": lambda vm, call: vm.init_vcpu(call.target, call.number),
    "finalize-vcpu": lambda vm, call: vm.finalize_vcpu(call.target, call.number),
    "set-reg": lambda vm, call: vm.set_reg(call.target, call.number, call.data),
    "set-attr": lambda vm, call: vm.set_attr(
        call.target, call.group, call.number, call.data or None
    ),
}
"""How each operation on a VM is executed."""


def _got(vm: Vm, get: Get) -> str:
    """Return the answer of KVM to a GET, as in a plan; or the name of the errno."""
    call = get.call
    try:
        if call.operation == "get-reg":
            data = vm.get_reg(call.target, call.number, len(get.start))
        else:
            data = vm.get_attr(call.target, call.group, call.number, get.start)
    except OSError as error:
        return errno_name(error)
    return call.kind.text(data)
