"""VMC317-319: the capabilities that KVM_ENABLE_CAP enables on the VM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmcfg.description.model import Capability
from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import NEVER_ASKED, Answer
from vmcfg.rules.kinds import machine_rule
from vmcfg.rules.repeated import repeated
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.vm_capabilities import VmCapability


def enabling(name: str) -> str:
    """Return the call that enables a capability."""
    return f"KVM_ENABLE_CAP({name})"


def known_capabilities() -> dict[str, VmCapability]:
    """Return the table of capabilities, which most descriptions do not need."""
    from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES

    return VM_CAPABILITIES


@machine_rule("VMC317", None, about="capabilities")
def duplicate_capability(machine: Machine) -> Iterator[Finding]:
    """A capability must be listed only once.

    For some capabilities, KVM takes the last arguments; for others, it rejects the second call.

    Source: kvm_main.c:kvm_vm_ioctl_enable_dirty_log_ring; tested on 6.1 to 7.3."""
    for index, earlier in repeated(each.name for each in machine.capabilities):
        related = ((("capabilities", earlier, "name"), "first listed here"),)
        message = f"duplicate capability {machine.capabilities[index].name}"
        at = ("capabilities", index, "name")
        kernel = _answer_to_second(machine.capabilities[earlier], machine.capabilities[index])
        yield Finding(at, message, hint="remove one of them", related=related, kernel=kernel)


def _answer_to_second(first: Capability, second: Capability) -> Answer:
    """Return the answer of KVM if a capability is enabled again."""
    known = known_capabilities()[first.name]
    is_enabled = known.errno_of is None or (first.args and known.errno_of(first.args[0]) is None)
    if known.errno_of_second is None or not is_enabled:
        return NEVER_ASKED
    return Answer(enabling(second.name), known.errno_of_second, "set")


@machine_rule("VMC318", Answer("KVM_ENABLE_CAP", "EINVAL", "set"), about="capabilities")
def invalid_capability_argument(machine: Machine) -> Iterator[Finding]:
    """A capability must have the arguments that KVM reads, with values that KVM accepts.

    `vmcfg explain capabilities` has the arguments of each capability. KVM reads at most one, and
    ignores others.

    Source: virt/kvm/kvm_main.c:kvm_vm_ioctl_enable_cap_generic; tested on 6.1 to 7.3."""
    for index, capability in enumerate(machine.capabilities):
        finding = _argument_finding(index, capability)
        if finding is not None:
            yield finding


def _argument_finding(index: int, capability: Capability) -> Finding | None:
    """Return what is wrong with the arguments of a capability, if anything."""
    name, args = capability
    known = known_capabilities()[name]
    at = ("capabilities", index, "args")
    accepted = Answer(enabling(name))
    wanted = 0 if known.errno_of is None else 1
    if len(args) > wanted:
        message = f"{name} takes {_arguments(wanted)}, not {len(args)}"
        hint = "remove 'args'" if wanted == 0 else "write only the first"
        # KVM ignores arguments that it does not read, and the struct has only four.
        errno = None if known.errno_of is None else known.errno_of(args[0])
        kernel = accepted if errno is None else Answer(enabling(name), errno, "set")
        return Finding(at, message, hint=hint, kernel=kernel)
    if known.errno_of is None:
        return None
    value = args[0] if args else 0
    errno = known.errno_of(value)
    if errno is not None or not args:
        message = f"{name} does not allow the argument {value:#x}"
        if not args:
            message = f"{name} requires an argument"
        kernel = accepted if errno is None else Answer(enabling(name), errno, "set")
        hint = f"write {known.allowed}, for example 'args: [{known.example}]'"
        place = (*at, 0) if args else ("capabilities", index, "name")
        return Finding(place, message, hint=hint, kernel=kernel)
    return None


def _arguments(count: int) -> str:
    return "no argument" if count == 0 else "one argument"


@machine_rule("VMC319", Answer("KVM_ENABLE_CAP", "EINVAL", "set"), about="capabilities")
def missing_required_capability(machine: Machine) -> Iterator[Finding]:
    """KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP must come after KVM_CAP_DIRTY_LOG_RING_ACQ_REL.

    Source: virt/kvm/kvm_main.c:kvm_vm_ioctl_enable_cap_generic; tested on 6.1 to 7.3."""
    earlier = set()
    for index, (name, _) in enumerate(machine.capabilities):
        required = known_capabilities()[name].requires
        if required is not None and required not in earlier:
            is_later = any(each.name == required for each in machine.capabilities)
            verb = "move" if is_later else "add"
            yield Finding(
                ("capabilities", index, "name"),
                f"{name} requires {required} before it",
                hint=f"{verb} {required} before this capability",
                kernel=Answer(enabling(name), "EINVAL", "set"),
            )
        earlier.add(name)


RULES = (duplicate_capability, invalid_capability_argument, missing_required_capability)
