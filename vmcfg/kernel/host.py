"""A host as `vmcfg probe --format json` describes it, for checks without the host."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from vmcfg.escape import printable
from vmcfg.files import NoFile
from vmcfg.kernel.version import Version, version_of


class HostPmu(NamedTuple):
    """One of the host's PMUs: its name, the number of its type, and the CPUs that have it, as the
    kernel lists them.
    """

    name: str
    type: int
    cpus: str


class Host(NamedTuple):
    """What one host's KVM has. `attributes` are those that KVM_HAS_DEVICE_ATTR denies, by target,
    group and name.
    """

    name: str
    kernel: Version
    capabilities: dict[str, int]
    devices: frozenset[str]
    lacking: frozenset[tuple[str, str, str]]
    pmus: tuple[HostPmu, ...]


def host_file(data: bytes, file: str) -> dict[str, Any]:
    """The host file in `data`. Raises `NoFile` where it is none."""
    try:
        host = json.loads(data)
    except (ValueError, RecursionError):
        host = None
    if not isinstance(host, dict) or host.get("format") != "vmcfg.host":
        raise NoFile(
            f"{printable(file)} is no host file: make one with 'vmcfg probe --format json'"
        )
    if not str(host.get("format_version")).startswith("1."):
        raise NoFile(
            f"{printable(file)} is a host file of another version: {host.get('format_version')}"
        )
    return host


def read_host(data: bytes, file: str) -> Host:
    """The host that a host file describes; it is called by the file's name. Raises `NoFile` where
    it is none.
    """
    told = host_file(data, file)
    try:
        return Host(
            file,
            version_of(told["kernel"]),
            dict(told["capabilities"]),
            frozenset(told["devices"]),
            frozenset(
                (each["target"], each["group"], each["attr"])
                for each in told["attributes"]
                if not each["has"]
            ),
            tuple(HostPmu(pmu["name"], pmu["type"], pmu["cpus"]) for pmu in told["pmus"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NoFile(
            f"{printable(file)} is not a whole host file: {type(error).__name__} {error}"
        ) from None
