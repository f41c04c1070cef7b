"""The interfaces that identify the vCPU of a PMU interrupt: one that was merged, and two that were
not.
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
        "The PMU interrupt is an attribute of the file descriptor of each vCPU: the merged API, in"
        " Linux since 4.6."
    ),
    PMU_DEVICE: (
        "The PMU interrupt is an attribute of one device. Bits [31:0] of the attribute number are"
        " the vCPU index, its position in the order of creation. This is version 8 of the patch,"
        " December 2015. It was never merged: no released kernel supports it. Its device type has"
        " no number: 8, which was the next free number, is the ITS today."
    ),
    PMU_DEVICE_MPIDR: (
        "The PMU interrupt is an attribute of one device. Bits [63:32] of the attribute number are"
        " the MPIDR of the vCPU, Aff3.Aff2.Aff1.Aff0 with one byte each, as in the GICv3 API. This"
        " was proposed in January 2016 instead of pmu-device. It was never merged: no released"
        " kernel supports it. Its device type has no number: 8, which was the next free number, is"
        " the ITS today."
    ),
}
"""The description of each API."""
