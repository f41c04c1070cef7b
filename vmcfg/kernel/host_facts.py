"""A host file as lines, and the differences between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Change(NamedTuple):
    """A fact that differs: its kind, its name, and both values, of which one can be "absent"."""

    what: str
    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.what} {self.name}: was {self.old}, is {self.new}"


def facts(host: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return a host file as lines: the kind, the name, and the value of each fact."""
    yield "kernel", "version", str(host["kernel"])
    yield "kernel", "machine", str(host["machine"])
    if "api_version" in host:
        yield "kernel", "KVM API version", str(host["api_version"])
    if "page_size" in host:
        yield "kernel", "page size", str(host["page_size"])
    if host.get("sve_vector_lengths") is not None:
        yield "sve", "vector lengths", " ".join(map(str, host["sve_vector_lengths"]))
    if host.get("event_counters") is not None:
        yield "pmu", "event counters", str(host["event_counters"])
    for name, value in host["capabilities"].items():
        yield "capability", name, str(value)
    for name in host["devices"]:
        yield "device", name, "yes"
    for each in host["attributes"]:
        name = f"{each['target']} {each['group']} {each['attr']}"
        yield "attribute", name, "yes" if each["has"] else "no"
    for each in host.get("registers", []):
        writable = "" if each["writable"] is None else f", writable {each['writable']}"
        yield "register", each["name"], f"{each['value']}{writable}"
    for pmu in host["pmus"]:
        yield "pmu", str(pmu["name"]), f"type {pmu['type']}, CPUs {pmu['cpus']}"


def changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    """Return the differences between an earlier host file and a new one."""
    old, new = ({fact[:2]: fact[2] for fact in facts(host)} for host in (before, now))
    for what, name in sorted(old.keys() | new.keys()):
        was, is_ = old.get((what, name), "absent"), new.get((what, name), "absent")
        if was != is_:
            yield Change(what, name, was, is_)
