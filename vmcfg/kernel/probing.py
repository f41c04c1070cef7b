"""The contents of a host file: what KVM on this host supports.

Like `ioctls`, it imports only the standard library and this room, so that `probe --script` can copy
it to a host.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any, NamedTuple

from vmcfg.kernel.abi import INTERRUPT_DEVICES, PMCR_EL0, SVE_VLS
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.host_pmus import HostPmu, host_pmus
from vmcfg.kernel.ioctls import Kvm, Vm
from vmcfg.kernel.registers import feature_id_index
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.version import running_release

GIC_TYPES = {"KVM_DEV_TYPE_ARM_VGIC_V3": 3, "KVM_DEV_TYPE_ARM_VGIC_V2": 2}
"""The vGICs that are created to query their attributes, with their versions."""


class Machine(NamedTuple):
    """What a host file contains besides the answers of KVM."""

    kernel: str
    machine: str
    page_size: int
    pmus: dict[str, HostPmu]


def probed_host(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the host file of this machine. Raises `NoKvm` if KVM cannot be used.

    `attributes` are the attributes to query. Each has the keys `target` ("vm", "vcpu", "gic", or
    "its"), `group`, `attr`, `group_id`, `attr_id`, and `gic`: the version of its GIC, or None.
    """
    with closing(Kvm()) as host:
        kernel, architecture = running_release(), os.uname().machine
        here = Machine(kernel, architecture, os.sysconf("SC_PAGE_SIZE"), host_pmus())
        return probed(host, here, attributes)


def probed(host: Kvm, machine: Machine, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the host file of `machine`, whose KVM is `host`."""
    with closing(host.new_vm()) as vm:
        # Some capabilities exist only for a VM: on /dev/kvm they fail with EINVAL.
        capabilities = {name: vm.capability(number) for name, number in CAPABILITIES.items()}
        devices = [name for name, number in INTERRUPT_DEVICES.items() if vm.has_device(number)]
    known = _known(host, attributes, capabilities, devices)
    event_counters = _event_counters(host, capabilities)
    vector_lengths = _sve_vector_lengths(host, capabilities)
    capabilities["KVM_CAP_MSI_DEVID"] = _msi_devid(host, devices)
    return {
        "format": "vmcfg.host",
        "format_version": "1.0",
        "kernel": machine.kernel,
        "machine": machine.machine,
        "api_version": host.api_version,
        "page_size": machine.page_size,
        "event_counters": event_counters,
        "sve_vector_lengths": vector_lengths,
        "capabilities": capabilities,
        "devices": devices,
        "attributes": [
            {
                "target": each["target"],
                "group": each["group"],
                "attr": each["attr"],
                "has": index in known,
            }
            for index, each in enumerate(attributes)
        ],
        "registers": _registers(host, capabilities),
        "pmus": [
            {"name": name, "type": pmu.type, "cpus": pmu.cpus} for name, pmu in machine.pmus.items()
        ],
    }


def _known(
    host: Kvm,
    attributes: list[dict[str, Any]],
    capabilities: dict[str, int],
    devices: list[str],
) -> set[int]:
    """Return the indexes of the attributes that the host supports."""
    known = set()
    gics = [name for name in GIC_TYPES if name in devices]
    # A VM can have only one GIC, so each is created in its own VM. Without a GIC, the other
    # attributes are still queried.
    for gic in gics or [""]:
        with closing(host.new_vm()) as vm:
            _furnish(vm, capabilities, devices, gic)
            for index, each in enumerate(attributes):
                target = str(each["target"])
                is_askable = target in vm.descriptors and each["gic"] in (None, GIC_TYPES.get(gic))
                if is_askable and vm.has_attr(target, each["group_id"], each["attr_id"]):
                    known.add(index)
    return known


def _event_counters(host: Kvm, capabilities: dict[str, int]) -> int | None:
    """Return the number of event counters of a vCPU, PMCR_EL0.N; None if it has no PMU."""
    if not capabilities["KVM_CAP_ARM_PMU_V3"]:
        return None
    with closing(host.new_vm()) as vm:
        _furnish(vm, capabilities, [], "")
        pmcr = int.from_bytes(vm.get_reg("vcpu", PMCR_EL0.id), "little")
    return pmcr >> 11 & 0x1F


def _sve_vector_lengths(host: Kvm, capabilities: dict[str, int]) -> list[int] | None:
    """Return the vector lengths of a vCPU with SVE in bits; None without SVE."""
    if not capabilities["KVM_CAP_ARM_SVE"]:
        return None
    with closing(host.new_vm()) as vm:
        vm.create_vcpu("vcpu", 0)
        vm.init_vcpu("vcpu", 1 << VCPU_FEATURES["PSCI_0_2"] | 1 << VCPU_FEATURES["SVE"])
        lengths = int.from_bytes(vm.get_reg("vcpu", SVE_VLS.id, 64), "little")
    return [128 * (bit + 1) for bit in range(512) if lengths >> bit & 1]


def _msi_devid(host: Kvm, devices: list[str]) -> int:
    """Return KVM_CAP_MSI_DEVID of a VM with an ITS, which only such a VM has; 0 without an ITS."""
    if "KVM_DEV_TYPE_ARM_VGIC_ITS" not in devices:
        return 0
    with closing(host.new_vm()) as vm:
        vm.create_device("its", INTERRUPT_DEVICES["KVM_DEV_TYPE_ARM_VGIC_ITS"])
        return vm.capability(CAPABILITIES["KVM_CAP_MSI_DEVID"])


def _registers(host: Kvm, capabilities: dict[str, int]) -> list[dict[str, str | None]]:
    """Return the registers of a vCPU without optional features, except a PMU.

    Each has its `name`, its `value`, and its `writable` bits, None if the host does not tell.
    """
    found: list[dict[str, str | None]] = []
    with closing(host.new_vm()) as vm:
        _furnish(vm, capabilities, [], "")
        masks = _writable_masks(vm)
        for name, register in SETTABLE.items():
            try:
                value = int.from_bytes(vm.get_reg("vcpu", register.id), "little")
            except OSError:
                continue  # the kernel does not know the register
            index = feature_id_index(register.id)
            writable = None if masks is None or index is None else hex(masks[index])
            found.append({"name": name, "value": hex(value), "writable": writable})
    return found


def _writable_masks(vm: Vm) -> list[int] | None:
    """Return the masks of KVM_ARM_GET_REG_WRITABLE_MASKS; None before Linux 6.7."""
    try:
        return vm.writable_masks()
    except OSError:
        return None


def _furnish(vm: Vm, capabilities: dict[str, int], devices: list[str], gic: str) -> None:
    """Create a vCPU, if possible with a PMU, and the devices whose attributes are queried."""
    vm.create_vcpu("vcpu", 0)
    features = 1 << VCPU_FEATURES["PSCI_0_2"]
    if capabilities["KVM_CAP_ARM_PMU_V3"]:
        features |= 1 << VCPU_FEATURES["PMU_V3"]
    vm.init_vcpu("vcpu", features)
    if gic:
        vm.create_device("gic", INTERRUPT_DEVICES[gic])
    if "KVM_DEV_TYPE_ARM_VGIC_ITS" in devices:
        vm.create_device("its", INTERRUPT_DEVICES["KVM_DEV_TYPE_ARM_VGIC_ITS"])
