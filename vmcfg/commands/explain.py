"""``vmcfg explain``: rules, keys, the order of the commands, and the identifiers of a vCPU, from
the tables that vmcfg itself uses.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

import click

from vmcfg import files
from vmcfg.arm.smccc import FUNCTION_NAMES
from vmcfg.commands.options import help_option
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
from vmcfg.reference.layout import WIDEST, wrapped
from vmcfg.reference.order_json import order_json
from vmcfg.reference.order_text import order_lines
from vmcfg.reference.register_text import registers_lines
from vmcfg.reference.rule_text import rule_lines
from vmcfg.reference.state_text import state_lines
from vmcfg.reference.uapi_text import uapi_lines, uapi_names
from vmcfg.reports.terminal import columns

FORMATS = ("human", "json")

NEAR = 10
"""The distance from which the ids of two rules are not similar."""


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    show_default=True,
    help="Output format; json only for the topic 'order'.",
)
@help_option
def explain(name: str | None, format_: str) -> int:
    """Explain NAME: a rule (VMC503), a key (gic.nr_irqs or nr_irqs), a topic, or a word of an error
    log.

    Topics: order (the order of the commands and its reasons), attributes (all commands and KVM
    attributes in one table), identifiers (the identifiers of a vCPU and their limits), capabilities
    and registers (those that a VM can enable or set), state (what saves and restores a vGIC). Words
    of error logs: a name of the uapi (KVM_ARM_VCPU_PMU_V3_IRQ, KVM_CREATE_VCPU, KVM_ARM_VCPU_SVE),
    an errno (EBUSY), an SMCCC function (PSCI_0_2_FN64_CPU_ON, 0xc4000003). Without NAME, list
    everything that can be explained.
    """
    if format_ == "json":
        if name != "order":
            raise click.UsageError("--format json requires the topic 'order'.")
        files.print_out(order_json())
        return 0
    files.print_out("\n".join(explanation(name, columns(sys.stdout))) + "\n")
    return 0


def explanation(name: str | None, width: int = WIDEST) -> Iterator[str]:
    """Return the lines that explain something, in text of at most `width` columns.

    If `name` is None, the lines list everything that can be explained. Raises `click.UsageError`
    if there is nothing of that name.
    """
    if name is None:
        return _list(width)
    rules = {word: rule for rule in every_rule() for word in (rule.id, rule.name)}
    rule = rules.get(name.upper()) or rules.get(name.lower())
    if rule is not None:
        return rule_lines(rule, width)
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
    raise click.UsageError(f"{printable(name)!r} cannot be explained. {_advice(name, [*rules])}")


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


def _advice(name: str, rules: list[str]) -> str:
    """Return what to do instead of explaining `name`."""
    if re.fullmatch(r"[0-9]+|0x[0-9a-fA-F]+", name):
        return f"Run 'vmcfg decode {name}' to show what a number can be."
    if re.fullmatch(r"VMC[0-9]+", name.upper()):
        likely = _nearest_id(name.upper(), rules)
    else:
        likely = _nearest_word(name, rules)
    if likely is None:
        return "Run 'vmcfg explain' to list everything."
    return f"If you mean {likely!r}, write that."


def _nearest_word(name: str, rules: list[str]) -> str | None:
    """Return the most similar word of all that can be explained, if one is similar."""
    rows = [row.name for row in SEQUENCE]
    known = [*rules, *every_field(), *rows, *TOPICS, *uapi_names(), *known_errnos()]
    return nearest(name, known)


def _nearest_id(id: str, rules: list[str]) -> str | None:
    """Return the rule id next to one that does not exist, in the same hundred."""
    number = int(id[3:])
    near = {
        abs(int(rule[3:]) - number): rule
        for rule in rules
        if re.fullmatch(r"VMC[0-9]+", rule) and int(rule[3:]) // 100 == number // 100
    }
    return next((near[distance] for distance in range(1, NEAR) if distance in near), None)


def _list(width: int) -> Iterator[str]:
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
