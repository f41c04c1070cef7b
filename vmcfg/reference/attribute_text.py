"""A key in words, with all that KVM is told of it; and all that KVM is told, in one table."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.description.model import Field, every_field, kind_words
from vmcfg.kernel.abi import Attr
from vmcfg.kernel.version import LINUX_6_1, NEVER, version_text
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE


def attribute_lines(name: str, field: Field, rows: list[Row]) -> Iterator[str]:
    """A key of descriptions, and every row of the sequence that carries it."""
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
            yield f"    sets     {_group(row.attr)}, {_number(row)}, {row.value.word}"
        command = f"{row.operation.word} {row.target}"
        yield f"    command  {command}, phase {row.phase}{apis_note(row)}"
        yield f"    since    {_since(row)}"
        yield f"    source   {row.source}"
        for errno, words in row.errors.items():
            yield f"    {errno:8} {words}"


def _since(row: Row) -> str:
    """The first release that has what a row sends."""
    if row.since == NEVER:
        return "never merged"
    return "6.1 or earlier" if row.since == LINUX_6_1 else version_text(row.since)


def _number(row: Row) -> str:
    """A row's attribute by name and number; or that the number is the vCPU's name."""
    assert row.attr is not None
    if VCPU not in row.apis:
        return "the vCPU's name"
    return f"{row.attr.name} ({row.attr.id:#x})"


def _group(attr: Attr) -> str:
    return f"{attr.group} ({attr.group_id})"


def apis_note(row: Row) -> str:
    """With which --api a row is sent, where that is not the merged one."""
    return "" if VCPU in row.apis else f", with --api {' or '.join(row.apis)}"


def attributes_lines() -> Iterator[str]:
    """Every row of the sequence: a table turned over, whose columns are a line each, since none is
    short.
    """
    yield (
        "Everything that KVM is told, in order: its name in the uapi, its key, its value, its"
        " errors."
    )
    keys = every_field()
    for row in SEQUENCE:
        yield ""
        command = f"{row.operation.word} {row.target}"
        if row.attr is not None:
            command = f"{_group(row.attr)}, {_number(row)}: {command}"
        yield command
        yield f"  {row.doc}"
        yield f"  written  {row.field}: {kind_words(keys[row.field].kind)}"
        yield f"  value    {row.value.explained}"
        yield f"  read     {_read_back(row)}"
        yield f"  since    {_since(row)}"
        yield f"  source   {row.source}"
        for errno, words in row.errors.items():
            yield f"  {errno:8} {words}"
        if LINUX_6_1 < row.since < NEVER and row.attr is not None:
            yield f"  {row.absent:8} older kernels"


def _read_back(row: Row) -> str:
    """Where what a row sets can be read back."""
    if not row.operation.sets_value:
        return "-"
    if not row.readable:
        return "KVM has no GET for it"
    return "on every vCPU" if row.vm_wide else "yes"
