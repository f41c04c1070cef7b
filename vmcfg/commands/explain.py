"""``vmcfg explain``: rules, attributes, the order and the names of a vCPU, from the tables
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from vmcfg import files
from vmcfg.description.model import every_field
from vmcfg.escape import printable
from vmcfg.nearest import nearest
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.attribute_text import attribute_lines, attributes_lines
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.identifier_text import identifiers_lines
from vmcfg.reference.order_text import order_lines
from vmcfg.reference.rule_text import rule_lines


@click.command()
@click.argument("name", required=False)
def explain(name: str | None) -> int:
    """Explain NAME: a rule (VMC503), an attribute (pmu.irq), or a topic.

    The topics are order, of the commands, and why; attributes, all that KVM is told, in one table;
    and identifiers, the names of a vCPU, and what each can't say. Without NAME, list what can be
    explained.
    """
    files.print_out("\n".join(explanation(name)) + "\n")
    return 0


def explanation(name: str | None) -> Iterator[str]:
    """The lines that explain a rule, an attribute or a topic; without a name, those that list them
    all.
    """
    if name is None:
        return _list()
    rules = {word: rule for rule in every_rule() for word in (rule.id, rule.name)}
    rule = rules.get(name.upper()) or rules.get(name.lower())
    if rule is not None:
        return rule_lines(rule)
    if name in TOPICS:
        return TOPICS[name].lines()
    keys = every_field()
    rows = [row for row in SEQUENCE if name in (row.name, row.field)]
    key = rows[0].field if rows and name not in keys else name
    if key in keys:
        return attribute_lines(key, keys[key], rows)
    likely = nearest(name, [*rules, *keys, *(row.name for row in SEQUENCE), *TOPICS])
    advice = "'vmcfg explain' lists everything." if likely is None else f"Did you mean {likely!r}?"
    raise click.UsageError(f"There is nothing called {printable(name)!r} to explain. {advice}")


def _list() -> Iterator[str]:
    """Everything that can be explained, each with a few words."""
    yield "Rules:"
    for rule in every_rule():
        yield f"  {rule.id}  {rule.severity:7}  {rule.name}"
    yield ""
    yield "Attributes:"
    for name, field in every_field().items():
        yield f"  {name:24}  {field.doc}"
    yield ""
    yield "Topics:"
    for name, topic in TOPICS.items():
        yield f"  {name:24}  {topic.summary}"


class Topic(NamedTuple):
    """Something to explain that is neither rule nor attribute."""

    summary: str
    lines: Callable[[], Iterator[str]]


TOPICS = {
    "order": Topic("Every command in its order, and why.", order_lines),
    "attributes": Topic(
        "Everything that KVM is told, with its uapi name, its key, since when, and its errors.",
        attributes_lines,
    ),
    "identifiers": Topic("The names of a vCPU, and what each can't say.", identifiers_lines),
}
