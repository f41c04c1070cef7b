"""What was probably meant by a value of the wrong shape, or by an entry that other tools write.

A hint is only as certain as the value: it shows the right form of exactly what is written, or an
example.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any, NamedTuple

from vmcfg.description.kinds import Choice, Misfit, Size
from vmcfg.description.model import Field
from vmcfg.escape import excerpt
from vmcfg.text.nodes import Mapping, Node, Sequence, word

TRUE = ("true", "yes", "on", "enabled")
FALSE = ("false", "no", "off", "none", "null", "disabled")


def shape_hint(path: str, node: Node) -> str | None:
    """Return the hint for a value at the dotted `path` that has the wrong shape.

    None if nothing better is known than the general hint.
    """
    hint = _HINTS.get(path)
    return None if hint is None else hint(node)


def _memory(node: Node) -> str | None:
    size = "2GiB"
    with contextlib.suppress(Misfit):
        Size().read(word(node), plain=True)
        size = word(node)
    return f"write the slots, such as [{{base: 0x40000000, size: {size}}}]"


def _its(node: Node) -> str | None:
    if isinstance(node, Mapping):
        addresses = [word(value) for value in node.values.values()]
        return f"write {excerpt(addresses[0])}" if len(addresses) == 1 and addresses[0] else None
    text = word(node).lower()
    if text in FALSE:
        return "remove 'its'"
    return "write the address of the ITS, such as 0x8080000" if text in TRUE else None


def _vcpus(node: Node) -> str | None:
    if not isinstance(node, Mapping):
        return None
    numbers = [word(value) for value in node.values.values() if word(value).isdecimal()]
    number = numbers[0] if len(node.values) == len(numbers) == 1 else "4"
    return f"write the number of vCPUs, such as 'vcpus: {number}', or a list of vCPUs by MPIDR"


def _features(node: Node) -> str | None:
    if isinstance(node, Mapping):
        chosen = [key for key, value in node.values.items() if word(value).lower() not in FALSE]
        return f"write [{', '.join(map(excerpt, chosen))}]" if chosen else "remove 'features'"
    text = word(node)
    if text.startswith("-"):
        return f"add a space after each '-', as in '- {excerpt(text.split()[0].lstrip('-'))}'"
    return f"write [{excerpt(text)}]"


def _pmu(node: Node) -> str | None:
    text = word(node).lower()
    if text in FALSE:
        return "remove 'pmu': vCPUs without a PMU interrupt have no PMU"
    if text in TRUE:
        return "write 'pmu: {irq: 23}' for a PMU with the usual interrupt"
    return f"write 'pmu: {{irq: {text}}}'" if text.isdecimal() else None


def _steal_time(node: Node) -> str | None:
    if isinstance(node, Sequence) and len(node.items) == 1:
        return f"write {excerpt(word(node.items[0]))} without brackets"
    text = word(node).lower()
    if text in FALSE:
        return "remove 'steal_time'"
    if text in TRUE:
        return "write the address of the first vCPU, such as 0x90a0000, in a memory slot"
    return None


_HINTS: dict[str, Callable[[Node], str | None]] = {
    "memory": _memory,
    "gic.its": _its,
    "vcpus": _vcpus,
    "features": _features,
    "pmu": _pmu,
    "steal_time": _steal_time,
}
"""The hints by dotted path."""


REDISTRIBUTOR = 0x20000
"""The size of a redistributor of a GICv3: 128 KiB."""

SIZES = ("size", "length", "len")


def other_entry(path: str, key: str, value: Node) -> str | None:
    """Return the hint for an unknown `key` whose value another key has in another unit."""
    if path != "gic.redistributors" or key.lower() not in SIZES:
        return None
    with contextlib.suppress(Misfit):
        size = Size().read(word(value), plain=True)
        if size and size % REDISTRIBUTOR == 0:
            return f"write 'count: {size // REDISTRIBUTOR}': each redistributor has 128 KiB"
    return "write 'count', the number of redistributors in the region: each has 128 KiB"


class Shorthand(NamedTuple):
    """An entry whose key is the value of another key: ``{deny: 0x11}`` for an action and events."""

    key: str
    hint: str


def shorthand(node: Mapping, known: MappingType[str, Field], kind: type[Any]) -> Shorthand | None:
    """Return the shorthand that an entry is; None if it is none.

    Its only key is not in `known`, but a value of the first required key, and its value is that of
    the second.
    """
    from vmcfg.description.model import required

    needed = required(kind)
    if len(node.values) != 1 or len(needed) < 2:
        return None
    (key, value), (first, second) = next(iter(node.values.items())), needed[:2]
    choices = known[first].kind
    if key in known or not isinstance(choices, Choice) or key not in choices.choices:
        return None
    rest = "".join(f", {name}: {known[name].examples[0]}" for name in needed[2:])
    return Shorthand(key, f"write {{{first}: {key}, {second}: {excerpt(word(value))}{rest}}}")
