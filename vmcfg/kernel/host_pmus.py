"""The PMUs of the CPUs of this host, as the kernel lists them."""

from __future__ import annotations

import os
from typing import NamedTuple


class HostPmu(NamedTuple):
    """A PMU of the host: its number for SET_PMU, and its CPUs."""

    type: int
    cpus: str


def host_pmus(folder: str = "/sys/bus/event_source/devices") -> dict[str, HostPmu]:
    """Return the PMUs of CPUs by name: those with a list of CPUs in sysfs."""
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        told = [_first_line(os.path.join(folder, name, file)) for file in ("type", "cpus")]
        if all(told):
            found[name] = HostPmu(int(told[0]), told[1])
    return found


def _first_line(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 4096).decode().strip()
    finally:
        os.close(descriptor)
