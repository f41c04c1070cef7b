"""The calls of QEMU that set up a VM, as they were traced without vmcfg, and those in a record."""

from __future__ import annotations

from typing import Any, NamedTuple

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
