"""A key in words, with every command that carries its value; and all commands in one table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from vmcfg.description.model import Field, every_field, kind_words
from vmcfg.kernel.abi import Attr
from vmcfg.kernel.version import LINUX_6_1, NEVER, version_text
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.layout import WIDEST, wrapped


def attribute_lines(name: str, field: Field, rows: list[Row], width: int = WIDEST) -> Iterator[str]:
    """Yield the lines that explain a key and every row of the sequence that carries its value."""
    yield from wrapped(f"{name}: {field.doc}", width)
    yield ""
    yield from wrapped(kind_words(field.kind), width, "  value    ")
    if field.default is not None:
        yield from wrapped(field.default, width, "  default  ")
    if field.examples:
        examples = " or ".join(map(flow_text, field.examples))
        yield from wrapped(examples, width, "  example  ")
    for row in rows:
        yield ""
        yield from wrapped(row.doc, width, "  ")
        if row.guest:
            yield from wrapped(row.guest, width, "    guest    ")
        if row.attr is not None:
            sets = f"{group_text(row.attr)}, {number_text(row)}, {row.value.word}"
            yield from wrapped(sets, width, "    sets     ")
        command = f"{row.operation.word} {row.target}, phase {row.phase}{apis_note(row)}"
        yield from wrapped(command, width, "    command  ")
        yield from wrapped(since_text(row), width, "    since    ")
        yield from wrapped(row.source, width, "    source   ")
        for errno, words in row.errors.items():
            yield from wrapped(words, width, f"    {errno:8} ")


def since_text(row: Row) -> str:
    """Return the first Linux release that accepts the command of a row."""
    if row.since == NEVER:
        return "never merged"
    return "6.1 or earlier" if row.since == LINUX_6_1 else version_text(row.since)


def number_text(row: Row) -> str:
    """Return the name and number of a row's attribute; a number that identifies the vCPU differs
    from command to command.
    """
    assert row.attr is not None
    if VCPU not in row.apis:
        return "a number that identifies the vCPU"
    return f"{row.attr.name} ({row.attr.id:#x})"


def group_text(attr: Attr) -> str:
    """Return the name and number of an attribute's group."""
    return f"{attr.group} ({attr.group_id})"


def flow_text(value: object) -> str:
    """Return JSON data as a person writes it in YAML, on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {flow_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    # Version 6.12 must stay text.
    is_float = isinstance(value, str) and re.fullmatch(r"[0-9]+\.[0-9]+", value)
    return f'"{value}"' if is_float else str(value)


def apis_note(row: Row) -> str:
    """Return the values of --api with which a row is sent, if these are not the default one."""
    return "" if VCPU in row.apis else f", with --api {' or '.join(row.apis)}"


def command_text(row: Row) -> str:
    """Return what a row sends: the command, and the attribute that it sets, if any."""
    command = f"{row.operation.word} {row.target}"
    if row.attr is None:
        return command
    return f"{group_text(row.attr)}, {number_text(row)}: {command}"


def attributes_lines(width: int = WIDEST) -> Iterator[str]:
    """Yield every row of the sequence; each of its columns is a line, because all are long."""
    yield from wrapped(
        "All commands in their order, with the name of each attribute in the uapi, the key that it"
        " is set from, its value, and the meaning of each errno.",
        width,
    )
    for row in SEQUENCE:
        yield ""
        yield from row_lines(row, errors_of(row), width)


def row_lines(row: Row, errors: Mapping[str, str], width: int = WIDEST) -> Iterator[str]:
    """Yield a row of the sequence with these meanings of errnos."""
    yield from wrapped(command_text(row), width, rest="  ")
    yield from wrapped(row.doc, width, "  ")
    if row.guest:
        yield from wrapped(row.guest, width, "  guest    ")
    written = f"{row.field}: {kind_words(every_field()[row.field].kind)}"
    yield from wrapped(written, width, "  written  ")
    yield from wrapped(row.value.explained, width, "  value    ")
    yield from wrapped(read_back_text(row), width, "  read     ")
    yield from wrapped(since_text(row), width, "  since    ")
    yield from wrapped(row.source, width, "  source   ")
    for errno, words in errors.items():
        yield from wrapped(words, width, f"  {errno:8} ")


def read_back_text(row: Row) -> str:
    """Return where the value that a row sets can be read."""
    if not row.operation.sets_value:
        return "-"
    if not row.readable:
        return "KVM cannot return it"
    return "on every vCPU" if row.vm_wide else "yes"


def errors_of(row: Row) -> dict[str, str]:
    """Return the meaning of each errno of a row, including kernels without its attribute."""
    errors = dict(row.errors)
    if LINUX_6_1 < row.since < NEVER and row.attr is not None:
        errors.setdefault(row.absent, f"the kernel is older than {version_text(row.since)}")
    return errors
