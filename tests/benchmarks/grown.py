"""Descriptions in which one structure has any number of entries: right ones, and ones with a
finding for each entry.

Each function takes the number of entries and returns the text. What KVM limits has one finding
beyond its limit, such as 257 redistributor regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Text = Callable[[int], str]
"""Returns the description with this number of entries."""

HEAD = "vmcfg: 1\nname: grown\n"
VCPUS = "vcpus: 4\n"
PMU = "pmu:\n  irq: 23\n  filter:\n"
GICV3 = "ipa_bits: 52\ngic:\n  version: 3\n  distributor: 0x08000000\n"
ONE_REGION = "  redistributors: [{base: 0x080a0000, count: 4}]\n"
FRAMES = 0x1_0000_0000
"""An address above all frames of the GIC."""


def _list(head: str, items: Iterable[str]) -> str:
    """Return a description that ends with a list of `items`, one per line."""
    return HEAD + head + "".join(f"    - {item}\n" for item in items)


def _each(head: str, item: Callable[[int], str]) -> Text:
    """Return the function that makes a description with `item(0)`, `item(1)`, and so on."""
    return lambda count: _list(head, map(item, range(count)))


def _same(head: str, item: str) -> Text:
    """Return the function that makes a description with equal entries."""
    return lambda count: _list(head, [item] * count)


def _keys(head: str, line: Callable[[int], str]) -> Text:
    """Return the function that makes a description with the lines `line(0)`, `line(1)`, and so
    on.
    """
    return lambda count: HEAD + head + "".join(f"{line(number)}\n" for number in range(count))


def _in_one_line(count: int) -> str:
    """Return features, all unknown, in one line."""
    return f"{HEAD}{VCPUS}features: [{', '.join(['sev'] * count)}]\n"


def _slips(count: int) -> str:
    """Return unknown keys, and after them those that are one typo away from a key."""
    typos = [f"{key[:-1]}{letter}" for key in ("memory", "timers", "features") for letter in "0123"]
    return (
        HEAD
        + VCPUS
        + "".join(f"{key}: 1\n" for key in [*map("key-{}".format, range(count)), *typos])
    )


def _aliased(events: str) -> Text:
    """Return the function that makes a filter whose entries are aliases of these events."""
    first, other = f"{{action: deny, events: &it {events}}}", "{action: deny, events: *it}"
    return lambda count: _list(VCPUS + PMU, [first, *[other] * (count - 1)])


RIGHT: dict[str, Text] = {
    "memory": _each(
        VCPUS + "ipa_bits: 52\nmemory:\n",
        lambda number: f"{{base: {number * 0x20000:#x}, size: 64KiB}}",
    ),
    "regions": _each(
        VCPUS + GICV3 + "  redistributors:\n",
        lambda number: f"{{base: {FRAMES + number * 0x20000:#x}, count: 1}}",
    ),
    "ITSs": _each(
        VCPUS + GICV3 + ONE_REGION + "  its:\n", lambda number: f"{FRAMES + number * 0x20000:#x}"
    ),
    "filter": _each(
        VCPUS + PMU, lambda number: f"{{action: deny, events: {0x20 + number % 0xFF00:#x}}}"
    ),
    "SMCCC filter": _each(
        VCPUS + "host_kernel: '6.4'\nsmccc_filter:\n",
        lambda number: f"{{action: deny, base: {0x8600_0000 + number:#x}, count: 1}}",
    ),
    "devices": _each(
        VCPUS + "devices:\n",
        lambda number: f"{{name: d{number}, base: {FRAMES + number * 0x1000:#x}, size: 4KiB}}",
    ),
    "memory with steal time": lambda count: (
        RIGHT["memory"](count) + f"steal_time: {{base: {(count - 1) * 0x20000:#x}}}\n"
    ),
    "vCPUs": _each(
        "vcpus:\n", lambda number: f"mpidr: 0.{number >> 12}.{number >> 4 & 255}.{number & 15}"
    ),
    "aliases": _aliased("0x11"),
    "anchors": _each(VCPUS + PMU, lambda number: f"&a{number} {{action: deny, events: 0x11}}"),
    "keys for the user": _keys(VCPUS, lambda number: f"x-{number}: 1"),
}
"""Descriptions without a finding for each entry."""

WRONG: dict[str, Text] = {
    "memory, all overlap": _same(
        VCPUS + "ipa_bits: 52\nmemory:\n", "{base: 0x40000000, size: 64KiB}"
    ),
    "memory, misaligned": _each(
        VCPUS + "ipa_bits: 52\nmemory:\n",
        lambda number: f"{{base: {number * 0x20000 + 1:#x}, size: 0}}",
    ),
    "memory over frames": _each(
        VCPUS + GICV3 + ONE_REGION + "memory:\n",
        lambda number: f"{{base: {number * 0x1000:#x}, size: 4KiB}}",
    ),
    "regions, all overlap": _same(
        VCPUS + GICV3 + "  redistributors:\n", "{base: 0x080a0000, count: 1}"
    ),
    "regions without count": _each(
        VCPUS + GICV3 + "  redistributors:\n",
        lambda number: f"{{base: {FRAMES + number * 0x20000:#x}}}",
    ),
    "ITSs, all overlap": _same(VCPUS + GICV3 + ONE_REGION + "  its:\n", "0x100000000"),
    "ITSs, each in a slot": lambda count: (
        RIGHT["ITSs"](count) + f"memory: [{{base: {FRAMES:#x}, size: 1TiB}}]\n"
    ),
    "ITSs, each in its slot": lambda count: (
        RIGHT["ITSs"](count)
        + "memory:\n"
        + "".join(
            f"  - {{base: {FRAMES + number * 0x20000:#x}, size: 64KiB}}\n"
            for number in range(count)
        )
    ),
    "ITSs, misaligned": _each(
        VCPUS + GICV3 + ONE_REGION + "  its:\n",
        lambda number: f"{FRAMES + number * 0x20000 + 8:#x}",
    ),
    "filter, reversed": _same(VCPUS + PMU, "{action: deny, events: 0x1b-0x08}"),
    "filter, no effect": _same(VCPUS + PMU, "{action: deny, events: 0x1e}"),
    "filter, other words": _same(VCPUS + PMU, "{action: drop, events: cycles}"),
    "filter, shorthand": _same(VCPUS + PMU, "{deny: 0x11}"),
    "filter, missing key": _same(VCPUS + PMU, "{action: deny}"),
    "SMCCC filter, all overlap": _same(
        VCPUS + "smccc_filter:\n", "{action: deny, base: 0x86000000, count: 1}"
    ),
    "SMCCC filter, reserved": _each(
        VCPUS + "smccc_filter:\n",
        lambda number: f"{{action: deny, base: {0x8000_0000 + number:#x}, count: 0x10000}}",
    ),
    "devices, all equal": _same(
        VCPUS + "devices:\n", "{name: uart, irq: spi:1, base: 0x09000000, size: 64KiB}"
    ),
    "devices, each with all SPIs": _each(
        "vcpus: 512\npmu: {irq: spi:0-511}\ndevices:\n",
        lambda number: f"{{name: d{number}, irq: spi:0-959}}",
    ),
    "devices, each with fewer SPIs": _each(
        VCPUS + "devices:\n", lambda number: f"{{name: d{number}, irq: spi:{number % 900}-900}}"
    ),
    "devices, over memory": lambda count: (
        RIGHT["devices"](count) + f"memory: [{{base: {FRAMES:#x}, size: 1TiB}}]\n"
    ),
    "devices, reversed": _same(VCPUS + "devices:\n", "{name: uart, irq: spi:9-1}"),
    "devices, incomplete": _same(VCPUS + "devices:\n", "{name: uart}"),
    "memory without steal time": lambda count: (
        RIGHT["memory"](count).replace("vcpus: 4", "vcpus: 512") + "steal_time: {base: 0x10000}\n"
    ),
    "features, in one line": _in_one_line,
    "features, all equal": _same(VCPUS + "features:\n", "sve"),
    "features, unknown": _same(VCPUS + "features:\n", "sev"),
    "vCPUs, all equal": _same("vcpus:\n", "mpidr: 0.0.0.0"),
    "vCPUs, reversed": _same("vcpus:\n", "mpidr: 0.0.0.3-1"),
    "vCPUs, no MPIDR": _same("vcpus:\n", "pmu_irq: 23"),
    "vCPUs, a typo": _same("vcpus:\n", "{mpidr: 0.0.0.0, pmu_irg: 23}"),
    "vCPUs, typed words": _same("vcpus:\n", "{mpidr: 0x100, pmu_irq: 010}"),
    "unknown keys": _keys(VCPUS, lambda number: f"key-{number:06}: 1"),
    "unknown keys, alike": _keys(VCPUS, lambda number: f"memory{number:06}: 1"),
    "unknown keys, one typo away": _slips,
    "unknown keys in 'gic'": lambda count: _keys(
        VCPUS + "gic:\n  version: 3\n", lambda number: f"  its{number:06}: 1"
    )(count),
    "duplicate keys": _keys(VCPUS, lambda number: "ipa_bits: 40"),
    "merge keys": _keys(VCPUS, lambda number: "<<: 1"),
    "tags": _same(VCPUS + "features:\n", "!!str sve"),
    "aliases of an invalid value": _aliased("0x1b-0x08"),
    "keys without colon": _keys(VCPUS, lambda number: f"key{number}"),
}
"""Descriptions with a finding for each entry, or with one that has each entry as its reason."""


def is_split(text: Text) -> bool:
    """Return whether a description can have all of its entries in its defaults."""
    return text(1).startswith(HEAD + VCPUS)


def split(text: str) -> tuple[bytes, bytes]:
    """Return a description with 4 vCPUs in two texts: everything else as its defaults, and it."""
    return b"vmcfg: 1\n" + text.removeprefix(HEAD + VCPUS).encode(), (HEAD + VCPUS).encode()
