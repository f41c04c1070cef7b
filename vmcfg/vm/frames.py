"""The frames of the GIC and of steal time: which guest-physical addresses they take."""

from __future__ import annotations

from vmcfg.findings.position import Path
from vmcfg.kernel import abi
from vmcfg.vm.machine import Machine, redistributor_regions

V3_DIST = abi.setting(abi.VGIC_V3_DIST)

V3_REDIST = abi.setting(abi.VGIC_V3_REDIST)

V3_REDIST_REGION = abi.setting(abi.VGIC_V3_REDIST_REGION)

V2_DIST = abi.setting(abi.VGIC_V2_DIST)

V2_CPU = abi.setting(abi.VGIC_V2_CPU)

ITS_ADDR = abi.setting(abi.ITS_ADDR)

REDISTRIBUTOR = 0x20000
"""A redistributor's two frames of 64 KiB."""

ITS_SIZE = 0x20000


class Frame:
    """A stretch of guest-physical addresses that the GIC answers.

    `at` is where its base is written, `attr` the call that sets it, `region` its index where it is
    a redistributor region of several.
    """

    __slots__ = ("alignment", "at", "attr", "base", "name", "region", "size")

    def __init__(
        self,
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
        """One more than its last byte."""
        return self.base + self.size

    @property
    def extent(self) -> str:
        """Its first and last address."""
        return f"{self.base:#x}..{self.end - 1:#x}"


def frames(machine: Machine) -> list[Frame]:
    """The frames of the GIC that are written, in the order in which KVM is told of them."""
    gic = machine.gic
    if gic is None:
        return []
    found = []
    dist_size, granule, dist_attr = (0x10000, 0x10000, V3_DIST)
    if gic.version == 2:
        dist_size, granule, dist_attr = (0x1000, 0x1000, V2_DIST)
    if gic.distributor is not None:
        found.append(
            Frame(
                ("gic", "distributor"),
                "the distributor",
                gic.distributor,
                dist_size,
                dist_attr,
                granule,
            )
        )
    if gic.version == 3:
        attr = V3_REDIST_REGION
        for index, (region, count) in enumerate(
            zip(redistributor_regions(gic), machine.redistributor_counts(), strict=True)
        ):
            at = ("gic", "redistributors", index, "base")
            found.append(
                Frame(
                    at,
                    f"redistributor region {index}",
                    region.base,
                    count * REDISTRIBUTOR,
                    attr,
                    granule,
                    index,
                )
            )
        if isinstance(gic.redistributors, int):
            size = len(machine.vcpus) * REDISTRIBUTOR
            attr = V3_REDIST
            found.append(
                Frame(
                    ("gic", "redistributors"),
                    "the redistributor region",
                    gic.redistributors,
                    size,
                    attr,
                    granule,
                )
            )
        for index, base in enumerate(gic.its):
            found.append(
                Frame(("gic", "its", index), f"ITS {index}", base, ITS_SIZE, ITS_ADDR, granule)
            )
    elif gic.cpu_interface is not None:
        attr = V2_CPU
        found.append(
            Frame(
                ("gic", "cpu_interface"),
                "the CPU interface",
                gic.cpu_interface,
                0x2000,
                attr,
                granule,
            )
        )
    return found


STEAL_TIME_SIZE = 64
