"""The registers that a description can set, in words."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.kernel.settable_registers import SETTABLE, SettableRegister
from vmcfg.kernel.version import LINUX_6_1, version_text
from vmcfg.reference.layout import WIDEST, wrapped


def registers_lines(width: int = WIDEST) -> Iterator[str]:
    """Yield each register for the key `registers`, with its id and what it requires."""
    yield from wrapped(
        "The key 'registers' sets them with KVM_SET_ONE_REG before the VM runs, in file order."
        " Registers of the whole VM are set once, through the vCPU with the lowest id.",
        width,
    )
    yield ""
    yield from wrapped(
        "A kernel that is older than the version below accepts an ID register only with the value"
        " of the host, and does not have the firmware register. No kernel accepts an ID register"
        " with a field that exceeds that of the host.",
        width,
    )
    yield ""
    for register in SETTABLE.values():
        start = f"  {register.name:36} {register.id:#x}  "
        yield from wrapped(register_limits(register), width, start)


def register_limits(register: SettableRegister) -> str:
    """Return what a register requires, and which values it can have, in words."""
    return "; ".join(_limits(register)) or "any kernel"


def _limits(register: SettableRegister) -> Iterator[str]:
    """Yield what a register requires, and which values it can have."""
    if register.since > LINUX_6_1:
        yield f"Linux {version_text(register.since)}"
    if register.per_vcpu:
        yield "on each vCPU"
    if register.capability is not None:
        yield register.capability
    if register.values is not None:
        yield ", ".join(map(hex, register.values))
    if register.bits is not None:
        yield f"at most {register.bits:#x}"
