"""``vmcfg explain``: rules, keys, the order of the commands, and the identifiers of a vCPU, from
the tables that vmcfg itself uses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import click

from vmcfg import files
from vmcfg.commands.options import help_option
from vmcfg.description.model import every_field
from vmcfg.escape import printable
from vmcfg.nearest import nearest
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.attribute_text import attribute_lines, attributes_lines
from vmcfg.reference.capability_text import capabilities_lines
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.identifier_text import identifiers_lines
from vmcfg.reference.layout import WIDEST, wrapped
from vmcfg.reference.order_text import order_lines
from vmcfg.reference.register_text import registers_lines
from vmcfg.reference.rule_text import rule_lines
from vmcfg.reports.terminal import columns


@click.command()
@click.argument("name", required=False)
@help_option
def explain(name: str | None) -> int:
    """Explain NAME: a rule (VMC503), a key (gic.nr_irqs or nr_irqs), or a topic.

    Topics: order (the order of the commands and its reasons), attributes (all commands and KVM
    attributes in one table), identifiers (the identifiers of a vCPU and their limits), capabilities
    and registers (those that a VM can enable or set). Without NAME, list everything that can be
    explained.
    """
    files.print_out("\n".join(explanation(name, columns(sys.stdout))) + "\n")
    return 0


def explanation(name: str | None, width: int = WIDEST) -> Iterator[str]:
    """Return the lines that explain a rule, a key, or a topic, in text of at most `width` columns.

    If `name` is None, the lines list everything that can be explained. Raises `click.UsageError`
    if there is nothing of that name.
    """
    if name is None:
        return _list(width)
    rules = {word: rule for rule in every_rule() for word in (rule.id, rule.name)}
    rule = rules.get(name.upper()) or rules.get(name.lower())
    if rule is not None:
        return rule_lines(rule, width)
    keys = every_field()
    if name in TOPICS and name not in keys:
        return TOPICS[name].lines(width)
    rows = _rows_of(name)
    key = rows[0].field if rows and name not in keys else name
    if key in keys:
        lines = attribute_lines(key, keys[key], rows, width)
        return chain(lines, [""], TOPICS[key].lines(width)) if key in TOPICS else lines
    as_written = [path for path in keys if path.endswith(f".{name}")]
    if as_written:
        return _keys_lines(as_written, width)
    likely = nearest(name, [*rules, *keys, *(row.name for row in SEQUENCE), *TOPICS])
    advice = "Run 'vmcfg explain' to list everything."
    if likely is not None:
        advice = f"If you mean {likely!r}, write that."
    raise click.UsageError(f"{printable(name)!r} is not a rule, a key, or a topic. {advice}")


def _rows_of(name: str) -> list[Row]:
    """Return the rows of the sequence with that name, and those that carry the key of that name."""
    return [row for row in SEQUENCE if name in (row.name, row.field)]


def _keys_lines(paths: Iterable[str], width: int) -> Iterator[str]:
    """Yield the lines that explain several keys, such as each `irq`."""
    keys = every_field()
    for place, path in enumerate(paths):
        if place:
            yield ""
        yield from attribute_lines(path, keys[path], _rows_of(path), width)


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
}
