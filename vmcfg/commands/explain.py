"""``vmcfg explain``: rules, attributes and the order, from the tables themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from difflib import get_close_matches

import click

from vmcfg import files
from vmcfg.checking import check
from vmcfg.console import first_line
from vmcfg.model import Either, Field, ListOf, every_field, fields
from vmcfg.order import CONSTRAINTS
from vmcfg.report import Rule
from vmcfg.rules import every_rule, kernel
from vmcfg.scalars import Choice, Interrupt, KernelVersion, Mpidr, Name, Number, Size
from vmcfg.sequence import LINUX_6_1, PHASE_DOCS, SEQUENCE, Row


@click.command()
@click.argument("name", required=False)
def explain(name: str | None) -> int:
    """Explain NAME: a rule (VMC503), an attribute (pmu.irq), or the order of the commands (order).

    Without NAME, list what can be explained.
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
    if name == "order":
        return _order()
    known = every_field()
    rows = [row for row in SEQUENCE if name in (row.name, row.field)]
    field = known.get(name) or (known.get(rows[0].field) if rows else None)
    if field is not None:
        return _attribute(name if name in known else rows[0].field, field, rows)
    everything = [*rules, *known, *(row.name for row in SEQUENCE), "order"]
    close = get_close_matches(name, everything, 1)
    likely = f" Did you mean {close[0]!r}?" if close else " 'vmcfg explain' lists everything."
    raise click.UsageError(f"There is nothing called {files.printable(name)!r} to explain.{likely}")


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
    yield f"  {'order':24}  Every command in its order, and why."


def _rule(rule: Rule) -> Iterator[str]:
    yield f"{rule.id} {rule.name} ({rule.severity})"
    yield ""
    yield inspect.cleandoc(rule.doc)
    yield ""
    if rule in kernel.RULES:
        yield "`vmcfg try` finds it, by asking the kernel."
    else:
        yield f"The kernel: {rule.kernel}." if rule.kernel is not None else "The kernel is never asked."
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
    yield f"  value    {_value(field.kind)}"
    if field.default is not None:
        yield f"  default  {field.default}"
    if field.examples:
        yield f"  example  {', '.join(map(str, field.examples))}"
    for row in rows:
        yield ""
        yield f"  {row.doc}"
        if row.attr is not None:
            yield f"    sets     {row.attr.group} ({row.attr.group_id}), {row.attr.name} ({row.attr.id:#x}), {row.type}"
        yield f"    command  {row.op} {row.target}, phase {row.phase}"
        yield f"    since    {'6.1 or earlier' if row.since == LINUX_6_1 else '{}.{}'.format(*row.since)}"
        yield f"    source   {row.source}"
        for errno, words in row.errors.items():
            yield f"    {errno:8} {words}"


def _value(kind: object) -> str:
    """What may be written for a key, in words."""
    if isinstance(kind, Number):
        least, greatest = (f"{kind.least:#x}", f"{kind.greatest:#x}") if kind.hex else (kind.least, kind.greatest)
        return f"a whole number from {least} to {greatest}, decimal or 0x"
    if isinstance(kind, Choice):
        return " or ".join(map(str, kind.choices))
    if isinstance(kind, Interrupt):
        return "an INTID, ppi:N or spi:N" + ("; or a range: 40-43, spi:8-11" if kind.ranges else "")
    if isinstance(kind, ListOf):
        return f"a list of {kind.word}"
    if isinstance(kind, type):
        return f"a mapping of {', '.join(fields(kind))}"
    words = {
        Name: "1 to 63 letters, digits, '.', '_' or '-'",
        KernelVersion: 'two numbers, in quotes: "6.12"',
        Size: "a number of bytes, or of KiB, MiB, GiB or TiB",
        Mpidr: "four decimal numbers with dots; any of them a range",
    }
    if type(kind) in words:
        return words[type(kind)]
    assert isinstance(kind, Either)
    return f"{_value(kind.scalar)}; or {_value(kind.many)}"


def _order() -> Iterator[str]:
    yield "What KVM is told, in this order:"
    phase = None
    for row in SEQUENCE:
        if row.phase != phase:
            phase = row.phase
            yield ""
            yield f"{phase}: {PHASE_DOCS[phase]}"
        what = row.op if row.attr is None else f"{row.op} {row.attr.name}"
        yield f"  {row.name:22} {what}"
    yield ""
    yield "Why:"
    for constraint in CONSTRAINTS:
        before, after = (name + "*" if name.endswith(".") else name for name in constraint[:2])
        same = " of the same vCPU" if constraint.per_vcpu else ""
        which = before if constraint.by is not None else f"{before} before {after}{same}"
        yield f"  {which}: {constraint.why}"
        yield f"    ({constraint.source})"
