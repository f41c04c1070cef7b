"""Everything that `vmcfg explain` explains except rules: keys, topics, and the words of error logs,
from the tables that vmcfg itself uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from vmcfg.arm.smccc import FUNCTION_NAMES
from vmcfg.description.model import every_field
from vmcfg.escape import printable
from vmcfg.nearest import nearest
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.attribute_text import attribute_lines, attributes_lines
from vmcfg.reference.capability_text import capabilities_lines
from vmcfg.reference.errno_text import errno_lines, known_errnos
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.identifier_text import identifiers_lines
from vmcfg.reference.layout import wrapped
from vmcfg.reference.order_text import order_lines
from vmcfg.reference.register_text import registers_lines
from vmcfg.reference.state_text import state_lines
from vmcfg.reference.uapi_text import uapi_lines, uapi_names

NEAR = 10
"""The distance from which the ids of two rules are not similar."""


class NotExplained(Exception):
    """Nothing has a name; the text says what to do instead."""


def explained(name: str, width: int) -> Iterator[str]:
    """Return the lines that explain a key, a topic, or a word of an error log. Raises
    `NotExplained`.
    """
    if name in TOPICS and name not in every_field():
        return TOPICS[name].lines(width)
    rows = [row for row in SEQUENCE if name == row.name]
    keys = _keys(name) or [row.field for row in rows]
    if keys:
        lines = _keys_lines(keys, rows, width)
        return chain(lines, [""], TOPICS[name].lines(width)) if name in TOPICS else lines
    if name in uapi_names():
        return uapi_lines(name, width)
    errno = name.upper()
    if errno in known_errnos():
        return errno_lines(errno, width)
    function = _function(name)
    if function is not None:
        return uapi_lines(function, width)
    raise NotExplained(f"{printable(name)!r} cannot be explained. {_advice(name)}")


def _keys(name: str) -> list[str]:
    """Return the dotted paths of the keys that `name` can mean: the path, or else all that end so.

    `vcpus[].pmu_irq` and `vcpus[3].pmu_irq` are `vcpus.pmu_irq`.
    """
    path = re.sub(r"\[[0-9]*\]", "", name)
    if path in every_field():
        return [path]
    return [key for key in every_field() if key.endswith(f".{path}")]


def _keys_lines(keys: list[str], rows: list[Row], width: int) -> Iterator[str]:
    """Yield the lines that explain each of some keys, with its rows or those of the same name."""
    for place, key in enumerate(keys):
        if place > 0:
            yield ""
        sent = rows or [row for row in SEQUENCE if key in (row.name, row.field)]
        yield from attribute_lines(key, every_field()[key], sent, width)


def _function(name: str) -> str | None:
    """Return the name of the SMCCC function with the id in `name`, if it has one."""
    try:
        return FUNCTION_NAMES.get(int(name, 0))
    except ValueError:
        return None


def _advice(name: str) -> str:
    """Return what to do instead of explaining `name`."""
    if re.fullmatch(r"[0-9]+|0x[0-9a-fA-F]+", name):
        return f"Run 'vmcfg decode {name}' to show what a number can be."
    if re.fullmatch(r"VMC[0-9]+", name.upper()):
        likely = _nearest_id(name.upper())
    else:
        likely = _nearest_word(name)
    if likely is None:
        return "Run 'vmcfg explain' to list everything."
    return f"If you mean {likely!r}, write that."


def _nearest_word(name: str) -> str | None:
    """Return the most similar word of all that can be explained, if one is similar."""
    rules = [word for rule in every_rule() for word in (rule.id, rule.name)]
    rows = [row.name for row in SEQUENCE]
    known = [*rules, *every_field(), *rows, *TOPICS, *uapi_names(), *known_errnos()]
    return nearest(name, known)


def _nearest_id(id: str) -> str | None:
    """Return the rule id next to one that does not exist, in the same hundred."""
    number = int(id[3:])
    others = [int(rule.id[3:]) for rule in every_rule()]
    near = {abs(other - number): f"VMC{other}" for other in others if other // 100 == number // 100}
    return next((near[distance] for distance in range(1, NEAR) if distance in near), None)


def everything(width: int) -> Iterator[str]:
    """Yield everything that can be explained, each with a summary."""
    yield "Rules:"
    for rule in every_rule():
        yield f"  {rule.id}  {rule.severity:7}  {rule.name}"
    yield ""
    yield "Keys:"
    for name, field in every_field().items():
        yield from wrapped(field.doc, width, f"  {name:24}  ")
    yield ""
    yield "Topics:"
    for name, topic in TOPICS.items():
        yield from wrapped(topic.summary, width, f"  {name:24}  ")
    yield ""
    yield from wrapped(
        "Names of the uapi: an attribute or its group, an ioctl, a device type, a feature bit of a"
        " vCPU, or a capability; also the name or id of an SMCCC function.",
        width,
    )
    yield from wrapped(", ".join(known_errnos()), width, "Errnos: ")


class Topic(NamedTuple):
    """Something to explain that is not a rule or a key."""

    summary: str
    lines: Callable[[int], Iterator[str]]


TOPICS = {
    "order": Topic("The order of the commands and its reasons.", order_lines),
    "attributes": Topic("All commands and KVM attributes in one table.", attributes_lines),
    "identifiers": Topic("The identifiers of a vCPU and their limits.", identifiers_lines),
    "capabilities": Topic("The capabilities that a VM can enable.", capabilities_lines),
    "registers": Topic("The registers that a VM can set.", registers_lines),
    "state": Topic(
        "The state of a vGIC: its registers, their order, and its reasons.", state_lines
    ),
}
