"""A host as described by `vmcfg probe --format json`, for checks without the host itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from vmcfg.escape import printable
from vmcfg.files import NoFile
from vmcfg.kernel.version import Version, version_of


class HostPmu(NamedTuple):
    """A PMU of the host: its name, its type number, and its CPUs as the kernel lists them."""

    name: str
    type: int
    cpus: str


class HostRegister(NamedTuple):
    """A register of a vCPU on the host, and the bits that can be written; None if not known."""

    value: int
    writable: int | None


class Host(NamedTuple):
    """What KVM on one host supports.

    `lacking` are the attributes that KVM_HAS_DEVICE_ATTR denies, by target, group, and name.
    `page_size` is in bytes, `event_counters` is PMCR_EL0.N of a vCPU, and `sve_vector_lengths` are
    in bits. They are None in host files of earlier versions, and without a PMU or SVE. `registers`
    are those of a vCPU with a PMU and without optional features, by name.
    """

    name: str
    kernel: Version
    capabilities: dict[str, int]
    devices: frozenset[str]
    lacking: frozenset[tuple[str, str, str]]
    pmus: tuple[HostPmu, ...]
    page_size: int | None = None
    event_counters: int | None = None
    sve_vector_lengths: tuple[int, ...] | None = None
    registers: dict[str, HostRegister] = {}  # noqa: RUF012


def host_file(data: bytes, file: str) -> dict[str, Any]:
    """Return the JSON object of the host file in `data`. Raises `NoFile` if it is not one."""
    if not data.strip():
        raise NoFile(
            f"{printable(file)} is empty: run 'vmcfg probe --format json' on the host to create a"
            " host file"
        )
    try:
        host = json.loads(data)
    except (ValueError, RecursionError):
        host = None
    if not isinstance(host, dict) or host.get("format") != "vmcfg.host":
        raise NoFile(
            f"{printable(file)} is not a host file: run 'vmcfg probe --format json' on the host"
            " to create one"
        )
    if not str(host.get("format_version")).startswith("1."):
        raise NoFile(
            f"'format_version' of host file {printable(file)} must be 1.x,"
            f" not {host.get('format_version')}"
        )
    return host


def read_host(data: bytes, file: str) -> Host:
    """Return the host in a host file, named after `file`. Raises `NoFile` if it is not one."""
    told = host_file(data, file)
    lengths = told.get("sve_vector_lengths")
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
            told.get("page_size"),
            told.get("event_counters"),
            None if lengths is None else tuple(lengths),
            {each["name"]: _register(each) for each in told.get("registers", [])},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NoFile(
            f"{printable(file)} is not a complete host file: {type(error).__name__} {error};"
            " run 'vmcfg probe --format json' on the host again"
        ) from None


def _register(told: dict[str, str | None]) -> HostRegister:
    value, writable = told["value"], told["writable"]
    if value is None:
        raise ValueError("register without value")
    return HostRegister(int(value, 0), None if writable is None else int(writable, 0))


def common_pmu_types(hosts: Sequence[Host]) -> dict[str, int]:
    """Return the numbers of PMUs by name: of those with the same number on all hosts."""
    if not hosts:
        return {}
    first, *others = [{pmu.name: pmu.type for pmu in host.pmus} for host in hosts]
    return {
        name: number
        for name, number in first.items()
        if all(other.get(name) == number for other in others)
    }
