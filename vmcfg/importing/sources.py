"""The kinds of sources: how each is recognized by its content, and the function that reads it.

To add a kind: write a function that returns its `Draft`, import that function where it is called,
and add one `Source` to SOURCES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmcfg.escape import printable
from vmcfg.files import Input, NoFile, print_error

if TYPE_CHECKING:
    from vmcfg.description.draft import Draft


class Wanted(NamedTuple):
    """What the user wants of a source.

    `vm` is the number of the VM in a record, or None for the one with the most vCPUs. With
    `everything`, registers and capabilities of a record are imported, too.
    """

    vm: int | None = None
    everything: bool = False


class Source(NamedTuple):
    """A kind of source.

    `name` is the word for --from, and `words` say what it is, for messages. `recognizes` gets the
    first bytes of a file, at most `files.BYTES_OF_HEAD`. `draft` reads one file; if `takes_many`,
    all files that the user names. `options` are those of `vmcfg import` that only this kind has.
    """

    name: str
    words: str
    recognizes: Callable[[bytes], bool]
    draft: Callable[[Sequence[Input], Wanted], Draft]
    takes_many: bool = False
    options: tuple[str, ...] = ()


# Device trees ------------------------------------------------------------------------------------


def _is_blob(head: bytes) -> bool:
    return head.startswith(b"\xd0\x0d\xfe\xed")


def _draft_of_blob(inputs: Sequence[Input], wanted: Wanted) -> Draft:
    from vmcfg.guest.devicetree import draft_of_blob

    return draft_of_blob(inputs[0].read())


def _is_device_tree_source(head: bytes) -> bool:
    without_comments = re.sub(rb"/\*.*?\*/|//[^\n]*", b" ", head, flags=re.DOTALL)
    return re.match(rb"\s*(?:/dts-v1/|/plugin/|/memreserve/|/\s*\{)", without_comments) is not None


def _draft_of_device_tree_source(inputs: Sequence[Input], wanted: Wanted) -> Draft:
    from vmcfg.guest.devicetree import draft_of_source

    return draft_of_source(inputs[0].read())


# ACPI --------------------------------------------------------------------------------------------


def _is_table(head: bytes) -> bool:
    # The signature of any table: a user can name a directory's files with *.
    return re.match(rb"[A-Z0-9_]{4}.{4}.{28}", head, flags=re.DOTALL) is not None and (
        head[:4] in (b"APIC", b"GTDT") or int.from_bytes(head[4:8], "little") == len(head)
    )


def _draft_of_tables(inputs: Sequence[Input], wanted: Wanted) -> Draft:
    from vmcfg.guest.acpi import draft_of_tables

    return draft_of_tables([(each.name, each.read()) for each in inputs])


# Records -----------------------------------------------------------------------------------------


def _is_record(head: bytes) -> bool:
    from vmcfg.plans.header import begins_with

    return begins_with(head, "record")


def _draft_of_record(inputs: Sequence[Input], wanted: Wanted) -> Draft:
    from vmcfg.monitors.record_draft import draft_of_record
    from vmcfg.monitors.record_file import read_record

    record = read_record(inputs[0].lines(), inputs[0].name)
    if not record.is_complete:
        print_error(f"vmcfg: {record.incomplete_text()}\n")
    return draft_of_record(record, wanted.everything, wanted.vm)


# VMMs --------------------------------------------------------------------------------------------


def _is_domain(head: bytes) -> bool:
    before = rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*"
    return re.match(before + rb"<domain[\s>]", head, flags=re.DOTALL) is not None


def _draft_of_domain(inputs: Sequence[Input], wanted: Wanted) -> Draft:
    from vmcfg.monitors.libvirt import draft_of_domain

    return draft_of_domain(inputs[0].read())


def _is_command_line(head: bytes) -> bool:
    program = re.search(rb"(?:^|[\s/\0])qemu-(?:system-[a-z0-9]+|kvm)[\s\0]", head)
    return program is not None and not head.lstrip().startswith((b"<", b"{"))


def _draft_of_command_line(inputs: Sequence[Input], wanted: Wanted) -> Draft:
    from vmcfg.monitors.qemu_command_line import draft_of_command_line
    from vmcfg.monitors.qemu_words import words_of_text

    return draft_of_command_line(words_of_text(inputs[0].read()))


SOURCES = {
    source.name: source
    for source in (
        Source("dtb", "a device tree blob", _is_blob, _draft_of_blob),
        Source("dts", "a device tree source", _is_device_tree_source, _draft_of_device_tree_source),
        Source("acpi", "the ACPI tables APIC and GTDT", _is_table, _draft_of_tables, True),
        Source(
            "record",
            "a record of 'vmcfg record'",
            _is_record,
            _draft_of_record,
            options=("vm", "all"),
        ),
        Source("libvirt", "a domain of libvirt", _is_domain, _draft_of_domain),
        Source("qemu", "a command line of QEMU", _is_command_line, _draft_of_command_line),
    )
}
"""The kinds of sources by name, in the order in which they are tried."""


def source_of(name: str, head: bytes) -> Source:
    """Return the kind of the file `name` that begins with `head`. Raises `NoFile` if unknown."""
    for source in SOURCES.values():
        if source.recognizes(head):
            return source
    if not head:
        raise NoFile(f"cannot import {printable(name)}: it is empty")
    *others, last = [source.words for source in SOURCES.values()]
    raise NoFile(
        f"cannot import {printable(name)}: its kind is unknown; use {', '.join(others)}, or {last}"
    )
