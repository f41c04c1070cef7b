"""``vmcfg explain``: rules, attributes, the order and the names of a vCPU, from the tables themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from textwrap import wrap
from typing import NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import check
from vmcfg.description.model import Field, every_field, kind_words
from vmcfg.escape import printable
from vmcfg.findings.rule import Rule
from vmcfg.formats.unresolved import VALUES_ARE_KNOWN
from vmcfg.kernel.version import LINUX_6_1, NEVER, version_text
from vmcfg.plans.apis import API_DOCS, VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.order import CONSTRAINTS
from vmcfg.plans.phases import PHASE_DOCS
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports.concise import first_line
from vmcfg.rules import apis as api
from vmcfg.rules import hosts
from vmcfg.trial import rules as kernel
from vmcfg.vm.identifier_limits import LIMITS


@click.command()
@click.argument("name", required=False)
def explain(name: str | None) -> int:
    """Explain NAME: a rule (VMC503), an attribute (pmu.irq), or a topic.

    The topics are order, of the commands, and why; attributes, all that KVM is told, in one table; and identifiers, the
    names of a vCPU, and what each can't say. Without NAME, list what can be explained.
    """
    files.print_out("\n".join(_explained(name)) + "\n")
    return 0


def _explained(name: str | None) -> Iterator[str]:
    if name is None:
        return _everything()
    rules = {word: rule for rule in every_rule() for word in (rule.id, rule.name)}
    rule = rules.get(name.upper()) or rules.get(name.lower())
    if rule is not None:
        return _rule(rule)
    if name in TOPICS:
        return TOPICS[name].explained()
    known = every_field()
    rows = [row for row in SEQUENCE if name in (row.name, row.field)]
    field = known.get(name) or (known.get(rows[0].field) if rows else None)
    if field is not None:
        return _attribute(name if name in known else rows[0].field, field, rows)
    everything = [*rules, *known, *(row.name for row in SEQUENCE), *TOPICS]
    close = get_close_matches(name, everything, 1)
    likely = f" Did you mean {close[0]!r}?" if close else " 'vmcfg explain' lists everything."
    raise click.UsageError(f"There is nothing called {printable(name)!r} to explain.{likely}")


def _everything() -> Iterator[str]:
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


def _rule(rule: Rule) -> Iterator[str]:
    yield f"{rule.id} {rule.name} ({rule.severity})"
    yield ""
    yield inspect.cleandoc(rule.doc)
    yield ""
    if rule in hosts.RULES:
        yield "`--host` asks for it, of hosts that `vmcfg probe --format json` has described."
    elif rule in kernel.RULES:
        yield "`vmcfg try` finds it, by asking the kernel."
    elif rule in (*api.RULES, VALUES_ARE_KNOWN):
        yield "`vmcfg emit` finds it, for what it is asked to emit. The kernel is never asked."
    else:
        yield (
            f"The kernel: {rule.kernel}."
            if rule.kernel is not None
            else "The kernel is never asked."
        )
    examples = sorted(files.packed("tests/cases").glob(f"{rule.id}-*.yaml"))
    if examples:
        example = examples[0]
        data = example.read_bytes()
        yield ""
        yield "For example:"
        yield ""
        yield from (f"    {line}" for line in data.decode("utf-8", "backslashreplace").splitlines())
        yield ""
        for found in check(data, example.name).diagnostics:
            if found.rule == rule.id:
                yield f"    {''.join(text for text, _ in first_line(found))}"
                if found.hint is not None:
                    yield f"    hint: {found.hint}"


def _attribute(name: str, field: Field, rows: list[Row]) -> Iterator[str]:
    yield f"{name}: {field.doc}"
    yield ""
    yield f"  value    {kind_words(field.kind)}"
    if field.default is not None:
        yield f"  default  {field.default}"
    if field.examples:
        yield f"  example  {', '.join(map(str, field.examples))}"
    for row in rows:
        yield ""
        yield f"  {row.doc}"
        if row.attr is not None:
            yield f"    sets     {row.attr.group} ({row.attr.group_id}), {_number(row)}, {row.value.word}"
        only = "" if VCPU in row.apis else f", with --api {' or '.join(row.apis)}"
        yield f"    command  {row.operation.word} {row.target}, phase {row.phase}{only}"
        yield f"    since    {_since(row)}"
        yield f"    source   {row.source}"
        for errno, words in row.errors.items():
            yield f"    {errno:8} {words}"


def _since(row: Row) -> str:
    if row.since == NEVER:
        return "never merged"
    return "6.1 or earlier" if row.since == LINUX_6_1 else version_text(row.since)


def _number(row: Row) -> str:
    """A row's attribute by name and number; or that the number is the vCPU's name."""
    assert row.attr is not None
    return f"{row.attr.name} ({row.attr.id:#x})" if VCPU in row.apis else "the vCPU's name"


def _order() -> Iterator[str]:
    yield "What KVM is told, in this order:"
    phase = None
    for row in SEQUENCE:
        if row.phase != phase:
            phase = row.phase
            yield ""
            yield f"{phase}: {PHASE_DOCS[phase]}"
        what = row.operation.word if row.attr is None else f"{row.operation.word} {row.attr.title}"
        only = "" if VCPU in row.apis else f", with --api {' or '.join(row.apis)}"
        yield f"  {row.name:24} {what}{only}"
    yield ""
    yield "Why:"
    for constraint in CONSTRAINTS:
        before, after = (name + "*" if name.endswith(".") else name for name in constraint[:2])
        same = " of the same vCPU" if constraint.per_vcpu else ""
        which = before if constraint.by is not None else f"{before} before {after}{same}"
        yield f"  {which}: {constraint.why}"
        yield f"    ({constraint.source})"


def _attributes() -> Iterator[str]:
    """Every row of the sequence: a table turned over, whose columns are a line each, since none is short."""
    yield "Everything that KVM is told, in order: its name in the uapi, its key, its value, its errors."
    fields_ = every_field()
    for row in SEQUENCE:
        yield ""
        if row.attr is None:
            yield f"{row.operation.word} {row.target}"
        else:
            yield f"{row.attr.group} ({row.attr.group_id}), {_number(row)}: {row.operation.word} {row.target}"
        yield f"  {row.doc}"
        yield f"  written  {row.field}: {kind_words(fields_[row.field].kind)}"
        yield f"  value    {row.value.explained}"
        yield f"  read     {_read_back(row)}"
        yield f"  since    {_since(row)}"
        yield f"  source   {row.source}"
        for errno, words in row.errors.items():
            yield f"  {errno:8} {words}"
        if LINUX_6_1 < row.since < NEVER and row.attr is not None:
            yield f"  {row.absent:8} older kernels"


def _read_back(row: Row) -> str:
    if not row.operation.sets_value:
        return "-"
    if not row.readable:
        return "KVM has no GET for it"
    return "on every vCPU" if row.vm_wide else "yes"


def _identifiers() -> Iterator[str]:
    yield "A vCPU has several names, and each API takes another. `vmcfg show` lists them, `vmcfg decode` goes back."
    yield ""
    yield "How user space says of which vCPU a PMU interrupt is (emit --api):"
    for name, doc in API_DOCS.items():
        yield ""
        yield f"  {name}"
        yield from _indented(doc)
    yield ""
    yield "What each name can't say:"
    for limit in LIMITS:
        yield ""
        yield f"  {limit.name}"
        for text in (limit.holds, limit.bites, f"({limit.source})"):
            yield from _indented(text)


def _indented(text: str) -> list[str]:
    return wrap(text, 116, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


class Topic(NamedTuple):
    """Something to explain that is neither rule nor attribute."""

    summary: str
    explained: Callable[[], Iterator[str]]


TOPICS = {
    "order": Topic("Every command in its order, and why.", _order),
    "attributes": Topic(
        "Everything that KVM is told, with its uapi name, its key, since when, and its errors.",
        _attributes,
    ),
    "identifiers": Topic("The names of a vCPU, and what each can't say.", _identifiers),
}
