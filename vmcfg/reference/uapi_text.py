"""A name of the uapi in words: what it is, the commands that use it, and the rules about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from vmcfg.arm.smccc import FUNCTIONS, fields_text
from vmcfg.findings.rule import Answer
from vmcfg.kernel import abi
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import FEATURES, VCPU_FEATURES
from vmcfg.kernel.registers import named_registers, register_text
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.state import CTRL_GROUP, STATE_CTRLS, STATE_GROUPS
from vmcfg.kernel.version import LINUX_6_1, version_text
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES
from vmcfg.plans.command import Row
from vmcfg.plans.operations import CREATE_DEVICE, OPERATIONS, READING
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.answers import prediction_lines, predictions
from vmcfg.reference.attribute_text import row_lines
from vmcfg.reference.capability_text import capability_lines
from vmcfg.reference.errno_text import all_errors, short_text
from vmcfg.reference.layout import WIDEST, wrapped
from vmcfg.reference.register_text import register_limits

FEATURE_PREFIX = "KVM_ARM_VCPU_"

IMPLIED = {
    "POWER_OFF": "on every vCPU except the first one in the file",
    "PSCI_0_2": "on every vCPU",
    "PMU_V3": "on every vCPU with a PMU interrupt",
    "PMU_V3_STRICT": "on every vCPU if 'pmu.strict' is true",
}
"""Which vCPUs have a bit of KVM_ARM_VCPU_INIT that no word in `features` means."""

EXPLAIN_STATE = "see 'vmcfg explain state'"

TARGETS = {"vm": "VM", "gic": "vGIC", "its": "ITS", "vcpu": "vCPU", "pmu": "PMU device"}
"""The kinds of targets in words."""


@cache
def _headings() -> dict[str, str]:
    """Return what each name of the uapi is, in words."""
    attrs = [row.attr for row in SEQUENCE if row.attr is not None]
    groups = {attr.group: f"attribute group {attr.group_id} {_of(attr.group)}" for attr in attrs}
    states = {
        name: f"attribute group {number} of the {TARGETS[target]}, with its state: {EXPLAIN_STATE}"
        for (target, number), name in STATE_GROUPS.items()
    }
    group, group_number = CTRL_GROUP
    controls = {
        name: f"attribute {number:#x} of group {group} ({group_number}) of the {TARGETS[target]}:"
        f" {EXPLAIN_STATE}"
        for (target, number), name in STATE_CTRLS.items()
    }
    attributes = {
        attr.name: f"attribute {attr.id:#x} of group {attr.group} ({attr.group_id})"
        for attr in attrs
        if attr.name == attr.title
    }
    ioctls = {each.ioctl: f"ioctl, request {each.request:#x}" for each in OPERATIONS}
    devices = {
        name: f"device type {number} of KVM_CREATE_DEVICE"
        for name, number in abi.INTERRUPT_DEVICES.items()
    }
    registers = {
        name: f"ONE_REG id {id:#x}, {register_text(id)}" for name, id in named_registers().items()
    }
    features = {
        f"{FEATURE_PREFIX}{name}": f"bit {bit} of the features of KVM_ARM_VCPU_INIT"
        for name, bit in VCPU_FEATURES.items()
    }
    capabilities = {
        name: f"capability {number} of KVM_CHECK_EXTENSION; 'vmcfg probe' prints its value"
        for name, number in CAPABILITIES.items()
    }
    words = dict.fromkeys(FEATURES, "feature of vCPUs")
    functions = {
        name: f"SMCCC function id {id:#x}, for the key smccc_filter.base"
        for name, id in FUNCTIONS.items()
    }
    run = {"KVM_RUN": f"ioctl, request {abi.RUN:#x}, which no plan contains"}
    pmu = {abi.PMU_TYPE: "device type without a number: it was never merged"}
    return {
        **groups,
        **states,
        **controls,
        **attributes,
        **ioctls,
        **run,
        **devices,
        **pmu,
        **registers,
        **features,
        **words,
        **capabilities,
        **functions,
    }


def _of(group: str) -> str:
    """Return which targets have a group of attributes, in words."""
    having = [row.target for row in SEQUENCE if row.attr is not None and row.attr.group == group]
    return " and ".join(f"of the {TARGETS[target]}" for target in dict.fromkeys(having))


def uapi_names() -> list[str]:
    """Return every name of the uapi that can be explained."""
    return list(_headings())


def uapi_lines(name: str, width: int = WIDEST) -> Iterator[str]:
    """Yield the lines that explain a name of `uapi_names`."""
    yield from wrapped(f"{name}: {_headings()[name]}", width)
    if name in FUNCTIONS:
        yield from wrapped(fields_text(FUNCTIONS[name]), width, "  ")
    yield from _feature_lines(name, width)
    if name in VM_CAPABILITIES:
        example = VM_CAPABILITIES[name].example
        args = f", args: [{example}]" if example else ""
        yield from wrapped(f"capabilities: [{{name: {name}{args}}}]", width, "  written  ")
        yield from capability_lines(name, width, "  ")
    if name in SETTABLE:
        yield from wrapped(f"registers: [{{name: {name}, value: ...}}]", width, "  written  ")
        yield from wrapped(register_limits(SETTABLE[name]), width, "  requires ")
    rows = [row for row in SEQUENCE if name in _names_of(row)]
    if len(rows) == 1:
        yield ""
        yield from row_lines(rows[0], all_errors(rows[0]), width)
    elif rows:
        yield ""
        yield "Commands with it, each with its key:"
        for row in rows:
            yield from wrapped(short_text(row), width, "  ", "    ")
    titles = {row.attr.title for row in rows if row.attr is not None and row.attr.group == name}
    answers = [each for each in predictions() if _names_in(each[1]) & {name, *titles}]
    yield from prediction_lines(name, answers, width)


def _names_in(answer: Answer) -> set[str]:
    """Return the names in the call of an answer: ``KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)``
    has two.
    """
    return set(re.findall(r"\w+", answer.call))


def _feature_lines(name: str, width: int) -> Iterator[str]:
    """Yield how a description sets a bit of KVM_ARM_VCPU_INIT, or uses a capability."""
    bit = name.removeprefix(FEATURE_PREFIX)
    if bit in IMPLIED:
        yield from wrapped(IMPLIED[bit], width, "  set      ")
    for feature in FEATURES.values():
        if name != feature.word and bit not in feature.bits and name not in feature.capabilities:
            continue
        since = "6.1 or earlier" if feature.since == LINUX_6_1 else version_text(feature.since)
        bits = [f"{FEATURE_PREFIX}{each}" for each in feature.bits]
        yield from wrapped(f"features: [{feature.word}]", width, "  written  ")
        yield from wrapped(", ".join(bits), width, "  bits     ")
        yield from wrapped(", ".join(feature.capabilities), width, "  requires ")
        yield from wrapped(since, width, "  since    ")


def _names_of(row: Row) -> Iterator[str]:
    """Yield every name of the uapi that the command of a row contains."""
    yield row.operation.ioctl
    if row.readable and row.operation in READING:
        yield READING[row.operation].ioctl
    if row.attr is not None:
        yield row.attr.group
        yield row.attr.name
    if row.register is not None:
        yield row.register.name
    if row.operation is CREATE_DEVICE:
        yield from _device_types(row)


def _device_types(row: Row) -> Iterator[str]:
    """Yield the names of the device types that a row can create."""
    if row.target == "gic":
        yield from (name for name, _ in abi.DEVICE_TYPES.values())
    elif row.target == "its":
        yield abi.ITS_TYPE[0]
    else:
        yield abi.PMU_TYPE
