"""What a host's KVM has, by asking: the content of a host file.

Like `ioctls` it needs only the standard library and this room, so that `probe --script` can carry
it to a host.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from vmcfg.kernel.abi import INTERRUPT_DEVICES
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.host_pmus import host_pmus
from vmcfg.kernel.ioctls import Kvm, Vm
from vmcfg.kernel.version import running_release

GIC_TYPES = {"KVM_DEV_TYPE_ARM_VGIC_V3": 3, "KVM_DEV_TYPE_ARM_VGIC_V2": 2}
"""The vGICs that are made to ask for their attributes, and their versions."""


def probed_host(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """The host file of this machine; `attributes` are those to ask for. Raises `NoKvm` where KVM
    can't be asked.

    Each of them has the keys `target` ("vm", "vcpu", "gic" or "its"), `group`, `attr`, `group_id`,
    `attr_id`, and `gic`, the version of the GIC that has it, or None.
    """
    with closing(Kvm()) as host:
        api_version = host.api_version
        with closing(Vm(host, 0)) as vm:
            # Some are a VM's alone: /dev/kvm itself says EINVAL.
            capabilities = {name: vm.capability(number) for name, number in CAPABILITIES.items()}
            devices = [name for name, number in INTERRUPT_DEVICES.items() if vm.has_device(number)]
        known = _known(host, attributes, capabilities, devices)
    return {
        "format": "vmcfg.host",
        "format_version": "1.0",
        "kernel": running_release(),
        "machine": os.uname().machine,
        "api_version": api_version,
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
        "pmus": [
            {"name": name, "type": pmu.type, "cpus": pmu.cpus} for name, pmu in host_pmus().items()
        ],
    }


def _known(
    host: Kvm,
    attributes: list[dict[str, Any]],
    capabilities: dict[str, int],
    devices: list[str],
) -> set[int]:
    """The indexes of the attributes that the host has."""
    known = set()
    gics = [name for name in GIC_TYPES if name in devices]
    # A VM has one GIC, so each is made in a VM of its own; without any, the rest is asked for all
    # the same.
    for gic in gics or [""]:
        with closing(Vm(host, 0)) as vm:
            _furnish(vm, capabilities, devices, gic)
            for index, each in enumerate(attributes):
                target = str(each["target"])
                is_askable = target in vm.descriptors and each["gic"] in (None, GIC_TYPES.get(gic))
                if is_askable and vm.has_attr(target, each["group_id"], each["attr_id"]):
                    known.add(index)
    return known


def _furnish(vm: Vm, capabilities: dict[str, int], devices: list[str], gic: str) -> None:
    """Give a VM a vCPU, with a PMU if the host has one for guests, and the devices whose attributes
    are asked for.
    """
    vm.create_vcpu("vcpu", 0)
    features = 1 << VCPU_FEATURES["PSCI_0_2"]
    if capabilities["KVM_CAP_ARM_PMU_V3"]:
        features |= 1 << VCPU_FEATURES["PMU_V3"]
    vm.init_vcpu("vcpu", features)
    if gic:
        vm.create_device("gic", INTERRUPT_DEVICES[gic])
    if "KVM_DEV_TYPE_ARM_VGIC_ITS" in devices:
        vm.create_device("its", INTERRUPT_DEVICES["KVM_DEV_TYPE_ARM_VGIC_ITS"])
