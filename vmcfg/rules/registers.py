"""VMC320-322: the registers that are set before the VM runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import Answer
from vmcfg.rules.kinds import machine_rule
from vmcfg.rules.repeated import repeated
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.settable_registers import SettableRegister


def setting_register(name: str) -> str:
    """Return the call that sets a register."""
    return f"KVM_SET_ONE_REG({name})"


def settable_registers() -> dict[str, SettableRegister]:
    """Return the table of registers, which most descriptions do not need."""
    from vmcfg.kernel.settable_registers import SETTABLE

    return SETTABLE


@machine_rule("VMC320", None, about="registers")
def duplicate_register(machine: Machine) -> Iterator[Finding]:
    """A register must be listed only once."""
    for index, earlier in repeated(each.name for each in machine.registers):
        related = ((("registers", earlier, "name"), "first listed here"),)
        message = f"duplicate register {machine.registers[index].name}"
        at = ("registers", index, "name")
        yield Finding(at, message, hint="remove one of them", related=related)


@machine_rule("VMC321", Answer("KVM_SET_ONE_REG", "EINVAL", "set"), about="registers")
def invalid_register_value(machine: Machine) -> Iterator[Finding]:
    """A firmware register must have a value that some kernel accepts.

    KVM_REG_ARM_PSCI_VERSION is 0x2 (PSCI 0.2) or 0x10000 to 0x10003 (PSCI 1.0 to 1.3). A bitmap of
    hypercalls has only the bits of the uapi.

    Source: hypercalls.c:kvm_arm_set_fw_reg, Linux 7.3; tested on 6.1 to 7.3."""
    for index, (name, value) in enumerate(machine.registers):
        register = settable_registers()[name]
        allowed = None
        if register.values is not None and value not in register.values:
            allowed = _one_of(list(register.values))
        elif register.bits is not None and value & ~register.bits:
            allowed = f"at most {register.bits:#x}"
        if allowed is not None:
            at = ("registers", index, "value")
            message = f"{name} must be {allowed}, not {value:#x}"
            kernel = Answer(setting_register(name), "EINVAL", "set")
            yield Finding(at, message, hint=f"use {allowed}", kernel=kernel)


def _one_of(values: list[int]) -> str:
    *others, last = map(hex, values)
    return f"{', '.join(others)}, or {last}"


IF_OTHER = "if the value is not that of the host"


@machine_rule(
    "VMC322", Answer("KVM_SET_ONE_REG", "EINVAL", "set", condition=IF_OTHER), about="registers"
)
def register_without_capability(machine: Machine) -> Iterator[Finding]:
    """MIDR_EL1, REVIDR_EL1, and AIDR_EL1 require KVM_CAP_ARM_WRITABLE_IMP_ID_REGS.

    Without it, KVM accepts only the value of the host.

    Source: sys_regs.c:set_imp_id_reg, Linux 7.3; tested on 6.16 to 7.3."""
    enabled = {capability.name for capability in machine.capabilities}
    for index, (name, _) in enumerate(machine.registers):
        needed = settable_registers()[name].capability
        if needed is not None and needed not in enabled:
            yield Finding(
                ("registers", index, "name"),
                f"{name} requires {needed}",
                hint=f"add {{name: {needed}}} to 'capabilities'",
                kernel=Answer(setting_register(name), "EINVAL", "set", condition=IF_OTHER),
            )


RULES = (duplicate_register, invalid_register_value, register_without_capability)
