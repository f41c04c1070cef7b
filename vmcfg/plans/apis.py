"""The interfaces by which user space can say of which vCPU a PMU interrupt is: the merged one, and
two that were not.
"""

from __future__ import annotations

from typing import Literal

Api = Literal["vcpu", "pmu-device", "pmu-device-mpidr"]

VCPU: Api = "vcpu"
PMU_DEVICE: Api = "pmu-device"
PMU_DEVICE_MPIDR: Api = "pmu-device-mpidr"
APIS: tuple[Api, ...] = (VCPU, PMU_DEVICE, PMU_DEVICE_MPIDR)

API_DOCS: dict[Api, str] = {
    VCPU: (
        "The PMU interrupt is an attribute of each vCPU's own file descriptor: the merged API,"
        " since Linux 4.6."
    ),
    PMU_DEVICE: (
        "The PMU interrupt is an attribute of one device, and bits 31..0 of the attribute's number"
        " are the vCPU's index, its place in the order of creation: version 8 of the patch,"
        " December 2015. Never merged: no kernel takes it. The device's type has no number: 8, the"
        " patch's next free one, is the ITS today."
    ),
    PMU_DEVICE_MPIDR: (
        "The PMU interrupt is an attribute of one device, and bits 63..32 of the attribute's number"
        " are the vCPU's MPIDR, Aff3.Aff2.Aff1.Aff0 a byte each, as in the GICv3 API: proposed in"
        " January 2016 in place of pmu-device. Never merged: no kernel takes it. The device's type"
        " has no number: 8, the patch's next free one, is the ITS today."
    ),
}
"""What each API is."""
