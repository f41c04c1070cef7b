"""The calls with which QEMU sets up a VM, written by hand, and those in a record.

The state of the GIC and most registers are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Line = dict[str, Any]

REGION_SIZE = 123
"""The number of vCPUs for which the first redistributor region of the virt board has room."""


class Options(NamedTuple):
    """What the options of QEMU choose."""

    vcpus: int = 2
    gic: int = 3
    has_pmu: bool = True
    has_its: bool = True
    has_steal_time: bool = True


OPTIONS = {
    "smp-1": Options(vcpus=1),
    "smp-2": Options(),
    "smp-130": Options(vcpus=130),
    "pmu-off": Options(has_pmu=False),
    "its-off": Options(has_its=False),
    "steal-time-off": Options(has_steal_time=False),
    "gicv2": Options(gic=2, has_its=False),
}
"""By the name of the record."""


def condensed(lines: list[Line], vm: int) -> list[str]:
    """Return the calls for one VM in a record, without registers and the state of the GIC."""
    found = []
    for line in lines:
        if line.get("vm") != vm or line["op"] in ("get-reg", "get-attr", "set-mp-state"):
            continue
        if line["op"] == "set-reg" and line["row"] != "vcpu.vector_lengths":
            continue
        is_state = line["row"] is None and line["op"] in ("set-attr", "has-attr")
        if is_state:
            continue
        name = line["attr"] if line["attr"] != "-" else ""
        test = " test" if line.get("test") else ""
        failed = f" {line['errno']}" if line["errno"] else ""
        words = [line["op"], line["target"], name, line["value"]]
        found.append(" ".join(filter(None, words)) + test + failed)
    return found


def expected(options: Options) -> list[str]:
    """Return the calls of QEMU 10.0 and 11.1 for its VM, traced by a library that logs ioctls.

    `-accel kvm -cpu host -m 1024`; the comments are its source files.
    """
    return list(_expected(options))


def _expected(options: Options) -> Iterator[str]:
    gicv3, gicv2 = "KVM_DEV_TYPE_ARM_VGIC_V3 7", "KVM_DEV_TYPE_ARM_VGIC_V2 5"
    ids = range(options.vcpus)
    # accel/kvm/kvm-all.c, hw/arm/virt.c
    yield "create-vm vm 0x28"
    yield "enable-cap vm KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 0x3"
    yield "enable-cap vm KVM_CAP_ARM_NISV_TO_USER -"
    if options.gic == 3:
        yield f"create-device gic {gicv3} test"
        yield f"create-device gic {gicv2} test ENODEV"
    else:
        yield f"create-device gic {gicv3} test ENODEV"
        yield f"create-device gic {gicv2} test"
    yield "add-memory vm slot=0,base=0x0,size=0x4000000,flags=0x2"
    yield "add-memory vm slot=1,base=0x4000000,size=0x4000000,flags=0x2"
    # target/arm/kvm.c: each vCPU in its own thread, one after the other
    pmu = ",PMU_V3" if options.has_pmu else ""
    features = f"PSCI_0_2{pmu},SVE,PTRAUTH_ADDRESS,PTRAUTH_GENERIC"
    for id in ids:
        yield f"create-vcpu vcpu:{id} {id:#x}"
        yield f"init-vcpu vcpu:{id} {features}"
        yield f"set-reg vcpu:{id} KVM_REG_ARM64_SVE_VLS 0xffff"
        yield f"finalize-vcpu vcpu:{id} 4"
        yield f"init-vcpu vcpu:{id} {features}"
    yield "add-memory vm slot=2,base=0x40000000,size=0x40000000"
    yield from _gic(options)
    if options.has_steal_time:
        size = -(-64 * options.vcpus // 0x1000) * 0x1000
        yield f"add-memory vm slot=3,base=0x90a0000,size={size:#x}"
    for id in ids:
        for name, value in _attributes(options, id):
            yield f"has-attr vcpu:{id} {name} -"
            yield f"set-attr vcpu:{id} {name} {value}"
    yield from _addresses(options)
    for id in ids:
        yield f"init-vcpu vcpu:{id} {features}"


def _gic(options: Options) -> Iterator[str]:
    # hw/intc/arm_gicv3_kvm.c, arm_gic_kvm.c, arm_gicv3_its_kvm.c
    if options.gic == 2:
        yield "create-device gic KVM_DEV_TYPE_ARM_VGIC_V2 5"
        yield "has-attr gic 0x0 -"
        yield "set-attr gic 0x0 288"
        yield "has-attr gic KVM_DEV_ARM_VGIC_CTRL_INIT -"
        yield "set-attr gic KVM_DEV_ARM_VGIC_CTRL_INIT -"
        yield "set-gsi-routing vm 256"
        return
    yield "create-device gic KVM_DEV_TYPE_ARM_VGIC_V3 7"
    yield "has-attr gic KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION -"
    yield "set-attr gic 0x0 288"
    yield "set-attr gic KVM_DEV_ARM_VGIC_CTRL_INIT -"
    yield "set-gsi-routing vm 256"
    if options.has_its:
        yield "create-device its:0 KVM_DEV_TYPE_ARM_VGIC_ITS 8"
        yield "set-attr its:0 KVM_DEV_ARM_VGIC_CTRL_INIT -"


def _attributes(options: Options, id: int) -> Iterator[tuple[str, str]]:
    """Yield the attributes of a vCPU, each with its value."""
    if options.has_pmu:
        yield "KVM_ARM_VCPU_PMU_V3_IRQ", "23"
        yield "KVM_ARM_VCPU_PMU_V3_INIT", "-"
    if options.has_steal_time:
        yield "KVM_ARM_VCPU_PVTIME_IPA", hex(0x90A0000 + 64 * id)


def _addresses(options: Options) -> Iterator[str]:
    # The end of the creation of the machine: hw/arm/virt.c:machvirt_init
    if options.gic == 2:
        yield "set-attr gic KVM_VGIC_V2_ADDR_TYPE_CPU 0x8010000"
        yield "set-attr gic KVM_VGIC_V2_ADDR_TYPE_DIST 0x8000000"
        return
    if options.has_its:
        yield "set-attr its:0 KVM_VGIC_ITS_ADDR_TYPE 0x8080000"
    first = min(options.vcpus, REGION_SIZE)
    region = "set-attr gic KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION"
    yield f"{region} {first << 52 | 0x80A0000:#x}"
    if options.vcpus > first:
        yield f"{region} {(options.vcpus - first) << 52 | 0x4000000000 | 1:#x}"
    yield "set-attr gic KVM_VGIC_V3_ADDR_TYPE_DIST 0x8000000"


NEWEST = "qemu-11.1-*-linux-7.2.jsonl.xz"


def marked(records: list[Path]) -> list[Any]:
    """Return records as parameters of a test: the short loop has only those of the newest QEMU on
    the newest kernel.
    """
    return [
        pytest.param(path, marks=() if path.match(NEWEST) else pytest.mark.slow) for path in records
    ]
