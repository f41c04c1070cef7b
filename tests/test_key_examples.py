"""`vmcfg explain KEY`: a key is found as it is written, and a user can copy its examples."""

from __future__ import annotations

import re

import pytest

from vmcfg.checking.check import check
from vmcfg.commands.explain import explanation
from vmcfg.description.model import every_field

HEAD = {"vmcfg": "1", "name": "vm", "host_kernel": '"7.3"', "vcpus": "4"}
GICV3 = {"version": "3", "distributor": "0x08000000", "redistributors": "0x080a0000"}
PMU = {"irq": "23", "device": "armv8_pmuv3_0"}
EVENTS = {"action": "deny", "events": "0x11"}
CALLS = {"action": "deny", "base": "0x84000005", "count": "1"}

AROUND: dict[str, object] = {
    "vcpus": [{"mpidr": "0.0.0-31.0-15"}],
    "memory": [{"base": "0x40000000", "size": "1GiB"}],
    "gic": GICV3,
    "gic.redistributors.": {**GICV3, "redistributors": [{"base": "0x080a0000", "count": "4"}]},
    "gic.cpu_interface": {"version": "2", "distributor": "0x08000000"},
    "pmu": PMU,
    "pmu.filter.": {**PMU, "filter": [EVENTS]},
    "timers": {},
    "steal_time": {},
    "smccc_filter": [CALLS],
    "sve": {},
    "capabilities": [{"name": "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE", "args": "[0x200000]"}],
    "registers": [{"name": "KVM_REG_ARM_PSCI_VERSION", "value": "0x10001"}],
    "devices": [{"name": "rtc", "irq": "spi:2"}],
    "devices.base": [{"name": "rtc", "size": "64KiB"}],
    "devices.size": [{"name": "rtc", "base": "0x09010000"}],
}
"""What is around a nested key, by the beginning of its path: the longest one counts."""

NEEDED: dict[str, dict[str, object]] = {
    "gic.maintenance_irq": {"features": "[el2]"},
    "steal_time": {"memory": "[{base: 0x090a0000, size: 64KiB}]"},
    "sve": {"features": "[sve]"},
}
"""The other keys that a key requires, by the beginning of its path."""


def examples(key: str) -> list[str]:
    """Return the examples of a key as `vmcfg explain` prints them."""
    printed = "\n".join(explanation(key, 1000))
    lines = re.search(r"(?m)^  example  (.+(?:\n {11}.+)*)", printed)
    return " ".join(lines[1].split()).split(" or ") if lines else []


def longest(table: dict[str, object], key: str) -> object:
    """Return the entry of the longest beginning of `key`."""
    return table[max((each for each in table if key.startswith(each)), key=len)]


def with_value(around: object, path: list[str], value: str) -> object:
    """Return data with `value` at a path; of a list, in its first item."""
    if not path:
        return value
    if isinstance(around, list):
        return [with_value(around[0], path, value), *around[1:]]
    assert isinstance(around, dict)
    first, *rest = path
    return {**around, first: with_value(around.get(first), rest, value)}


def flow(data: object) -> str:
    """Return data as YAML on one line."""
    if isinstance(data, dict):
        return f"{{{', '.join(f'{key}: {flow(value)}' for key, value in data.items())}}}"
    if isinstance(data, list):
        return f"[{', '.join(map(flow, data))}]"
    return str(data)


@pytest.mark.parametrize(
    ("key", "example"), [(key, each) for key in every_field() for each in examples(key)]
)
def test_a_printed_example_is_accepted(key: str, example: str) -> None:
    top, *path = key.split(".")
    value = with_value(longest(AROUND, key), path, example) if path else example
    needed = {
        name: other
        for begin, others in NEEDED.items()
        if key.startswith(begin)
        for name, other in others.items()
    }
    text = "".join(
        f"{name}: {flow(each)}\n" for name, each in {**HEAD, **needed, top: value}.items()
    )
    assert check(text.encode(), "vm.yaml").diagnostics == [], text


def test_every_single_value_has_an_example() -> None:
    without = {key for key in every_field() if not examples(key)}
    assert without == {"gic", "pmu", "timers", "sve"}


@pytest.mark.parametrize("key", every_field())
def test_a_key_is_explained_as_it_is_written(key: str) -> None:
    """Findings, and descriptions themselves, name a key without what is above it."""
    written = key.rpartition(".")[2]
    keys = every_field()
    same = [path for path in keys if path.rpartition(".")[2] == written]
    expected = [written] if written in keys else same
    printed = "\n".join(explanation(written, 1000))
    assert re.findall(r"(?m)^(\S+): ", printed) == expected
    if len(expected) == 1:
        assert printed == "\n".join(explanation(expected[0], 1000))
