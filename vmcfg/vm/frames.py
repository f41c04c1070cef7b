"""Guest-physical addresses: their number of bits, those that the GIC and steal time use, and ranges
that overlap.

Sizes have the names of arch/arm64/include/uapi/asm/kvm.h without KVM_VGIC_. Addresses must be
multiples of a granule (vgic-kvm-device.c:vgic_check_iorange).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmcfg.description.model import Gic
from vmcfg.findings.position import Path
from vmcfg.kernel import abi
from vmcfg.kernel.limits import GREATEST_PAGE_SIZE, IPA_BITS_GREATEST, IPA_BITS_LEAST
from vmcfg.vm.machine import Extent, Machine, redistributor_regions

if TYPE_CHECKING:
    from vmcfg.vm.overlaps import FreeAddresses

V3_DIST = abi.setting(abi.VGIC_V3_DIST)
V3_REDIST = abi.setting(abi.VGIC_V3_REDIST)
V3_REDIST_REGION = abi.setting(abi.VGIC_V3_REDIST_REGION)
V2_DIST = abi.setting(abi.VGIC_V2_DIST)
V2_CPU = abi.setting(abi.VGIC_V2_CPU)
ITS_ADDR = abi.setting(abi.ITS_ADDR)

V3_GRANULE = 0x10000
V3_DIST_SIZE = 0x10000

V3_REDIST_SIZE = 0x20000
"""One redistributor: two frames of 64 KiB."""

V3_ITS_SIZE = 0x20000

V2_GRANULE = 0x1000
V2_DIST_SIZE = 0x1000
V2_CPU_SIZE = 0x2000

STEAL_TIME_SIZE = 64
"""The size of the steal time of a vCPU, whose address must be a multiple of it
(pvtime.c:kvm_arm_pvtime_set_attr).
"""


class Frame:
    """A range of guest-physical addresses of the GIC, or of a device of the VMM.

    `at` is the path of its base, `attr` is the call that sets it, or empty for a device, and
    `region` is its index if it is a redistributor region.
    """

    __slots__ = ("alignment", "at", "attr", "base", "name", "region", "size")

    def __init__(
        self,
        *,
        at: Path,
        name: str,
        base: int,
        size: int,
        attr: str,
        alignment: int,
        region: int | None = None,
    ) -> None:
        self.at = at
        self.name = name
        self.base = base
        self.size = size
        self.attr = attr
        self.alignment = alignment
        self.region = region

    @property
    def end(self) -> int:
        """Return the address after its last byte."""
        return self.base + self.size

    @property
    def addresses(self) -> Extent:
        """Return its addresses as numbers."""
        return self.base, self.end

    @property
    def extent(self) -> str:
        """Return its first and last address."""
        return f"{self.base:#x}-{self.end - 1:#x}"

    def overlaps(self, base: int, end: int) -> bool:
        """Return whether it has an address from `base` to `end`, exclusive."""
        return self.base < end and base < self.end


def overlaps(extents: Sequence[Extent]) -> list[tuple[int, int]]:
    """Return each range that overlaps an earlier one, with that one, both by their index."""
    highest_end = 0
    for first, end in sorted(extents):
        if first < highest_end and first < end:
            # Few descriptions have ranges that overlap.
            from vmcfg.vm.overlaps import Claims

            return Claims(extents).clashes
        highest_end = max(highest_end, end)
    return []


def free_addresses(machine: Machine) -> FreeAddresses:
    """Return the addresses that are free of frames and memory slots, for hints."""
    from vmcfg.vm.overlaps import FreeAddresses

    used = [frame.addresses for frame in (*frames(machine), *device_frames(machine))]
    used += [slot.addresses for slot in machine.memory]
    return FreeAddresses(used, 1 << address_bits(machine))


def address_bits(machine: Machine) -> int:
    """Return the number of bits of a guest-physical address.

    VMC201 reports an impossible number. Here it is replaced by the nearest possible one, because
    2^ipa_bits might exceed the memory of the host.
    """
    return max(IPA_BITS_LEAST, min(machine.ipa_bits, IPA_BITS_GREATEST))


def address_space_text(machine: Machine) -> str:
    """Return the guest-physical address space in words; a size that nobody wrote is a default."""
    default = " (default)" if machine.has_default_ipa_bits else ""
    return f"the {address_bits(machine)}-bit address space{default}"


def steal_time_addresses(machine: Machine) -> range | None:
    """Return the address of the steal time of each vCPU; `stop` is the end. None without it."""
    if machine.steal_time is None:
        return None
    base = machine.steal_time.base
    return range(base, base + STEAL_TIME_SIZE * len(machine.vcpus), STEAL_TIME_SIZE)


def frames(machine: Machine) -> list[Frame]:
    """Return the frames of the GIC that are written, in plan order."""
    if machine.gic is None:
        return []
    if machine.gic.version == 2:
        return _v2_frames(machine.gic)
    return _v3_frames(machine, machine.gic)


def device_frames(machine: Machine) -> list[Frame]:
    """Return the frames of the devices of the VMM, except empty ones, in file order."""
    return [
        Frame(
            at=("devices", index, "base"),
            name=f"device '{device.name}'",
            base=device.base,
            size=device.size,
            attr="",
            alignment=GREATEST_PAGE_SIZE,
        )
        for index, device in enumerate(machine.devices)
        if device.base is not None and device.size
    ]


def _v2_frames(gic: Gic) -> list[Frame]:
    """Return the frames of a GICv2."""
    found = []
    if gic.distributor is not None:
        found.append(
            Frame(
                at=("gic", "distributor"),
                name="the distributor",
                base=gic.distributor,
                size=V2_DIST_SIZE,
                attr=V2_DIST,
                alignment=V2_GRANULE,
            )
        )
    if gic.cpu_interface is not None:
        found.append(
            Frame(
                at=("gic", "cpu_interface"),
                name="the CPU interface",
                base=gic.cpu_interface,
                size=V2_CPU_SIZE,
                attr=V2_CPU,
                alignment=V2_GRANULE,
            )
        )
    return found


def _v3_frames(machine: Machine, gic: Gic) -> list[Frame]:
    """Return the frames of a GICv3."""
    found = []
    if gic.distributor is not None:
        found.append(
            Frame(
                at=("gic", "distributor"),
                name="the distributor",
                base=gic.distributor,
                size=V3_DIST_SIZE,
                attr=V3_DIST,
                alignment=V3_GRANULE,
            )
        )
    found += _redistributor_frames(machine, gic)
    for index, base in enumerate(gic.its):
        found.append(
            Frame(
                at=("gic", "its", index),
                name=f"ITS {index}",
                base=base,
                size=V3_ITS_SIZE,
                attr=ITS_ADDR,
                alignment=V3_GRANULE,
            )
        )
    return found


def _redistributor_frames(machine: Machine, gic: Gic) -> list[Frame]:
    """Return the redistributor regions: as listed, or one for all vCPUs with only an address."""
    if isinstance(gic.redistributors, int):
        return [
            Frame(
                at=("gic", "redistributors"),
                name="the redistributor region",
                base=gic.redistributors,
                size=len(machine.vcpus) * V3_REDIST_SIZE,
                attr=V3_REDIST,
                alignment=V3_GRANULE,
            )
        ]
    regions = zip(redistributor_regions(gic), machine.redistributor_counts(), strict=True)
    return [
        Frame(
            at=("gic", "redistributors", index, "base"),
            name=f"redistributor region {index}",
            base=region.base,
            size=count * V3_REDIST_SIZE,
            attr=V3_REDIST_REGION,
            alignment=V3_GRANULE,
            region=index,
        )
        for index, (region, count) in enumerate(regions)
    ]
