"""The draft of what a user names: files, a directory of ACPI tables, or a command line."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence

from vmcfg.description.draft import UNNAMED, Draft, NoDraft, valid_name
from vmcfg.escape import printable
from vmcfg.files import Input, NoFile, name_of, opened
from vmcfg.importing.sources import SOURCES, Source, Wanted, source_of

COMMAND_LINE = "qemu"
"""The kind of the words of a command line."""


class OptionOfOtherSource(Exception):
    """An option or a number of files that is not valid for the kind of the source."""


def draft_of_files(paths: Sequence[str], kind: str | None, wanted: Wanted) -> Draft:
    """Return the draft of the files `paths`; ``-`` is standard input.

    `kind` is the name of their kind, or None to recognize it. A directory means the ACPI tables in
    it. The draft always has a name: that of the source, or else one from the first path. Raises
    `NoFile` and `OptionOfOtherSource`.
    """
    with contextlib.ExitStack() as stack:
        inputs = [stack.enter_context(opened(path)) for path in _files(paths)]
        source = SOURCES[kind] if kind is not None else _kind_of_all(inputs)
        draft = _draft(source, inputs, wanted)
    draft.name = draft.name or _name_from(paths[0])
    return draft


def draft_of_words(words: Sequence[str], wanted: Wanted) -> Draft:
    """Return the draft of a command line. Raises `NoFile` and `OptionOfOtherSource`."""
    written = b"".join(os.fsencode(word) + b"\0" for word in words)
    given = Input("the command line", io.BytesIO(written))
    source = SOURCES.get(COMMAND_LINE) or source_of(given.name, given.head)
    draft = _draft(source, [given], wanted)
    draft.name = draft.name or UNNAMED
    return draft


def _draft(source: Source, inputs: Sequence[Input], wanted: Wanted) -> Draft:
    _refuse_what_others_have(source, len(inputs), wanted)
    try:
        return source.draft(inputs, wanted)
    except NoDraft as error:
        names = ", ".join(printable(each.name) for each in inputs[:3])
        raise NoFile(f"cannot import {names}: {error}") from None


def _refuse_what_others_have(source: Source, number: int, wanted: Wanted) -> None:
    """Raise `OptionOfOtherSource` for an option, or several files, that the kind does not have."""
    if number > 1 and not source.takes_many:
        raise OptionOfOtherSource(
            "Import one source at a time: only ACPI tables can be several files, not"
            f" {source.words}."
        )
    given = {"vm": wanted.vm is not None, "all": wanted.everything}
    for option, is_given in given.items():
        if is_given and option not in source.options:
            raise OptionOfOtherSource(f"--{option} is valid only for a record, not {source.words}.")


def _kind_of_all(inputs: Sequence[Input]) -> Source:
    """Return the kind of the inputs: that of the first. Raises `NoFile` if they differ."""
    first, *others = [source_of(each.name, each.head) for each in inputs]
    for other, given in zip(others, inputs[1:], strict=True):
        if other is not first:
            raise NoFile(
                f"cannot import {printable(given.name)} with {printable(inputs[0].name)}:"
                f" one is {other.words}, the other is {first.words}"
            )
    return first


def _files(paths: Sequence[str]) -> Iterator[str]:
    """Yield `paths` with each directory replaced by the ACPI tables in it."""
    for path in paths:
        if path != "-" and os.path.isdir(path):
            yield from _tables_in(path)
        else:
            yield path


def _tables_in(folder: str) -> list[str]:
    """Return the files of a directory that begin like an APIC or a GTDT. Raises `NoFile`."""
    name = printable(name_of(folder))
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise NoFile(f"cannot read {name}: {error.strerror}") from None
    paths = [os.path.join(folder, entry) for entry in entries]
    tables = [path for path in paths if os.path.isfile(path) and _is_wanted_table(path)]
    if "#address-cells" in entries:
        raise NoFile(
            f"cannot import {name}: it is a device tree as a directory; use /sys/firmware/fdt, or"
            f" the output of dtc -I fs -O dtb {name}"
        )
    if not tables:
        raise NoFile(f"cannot import {name}: it does not contain the ACPI tables APIC or GTDT")
    return tables


def _is_wanted_table(path: str) -> bool:
    with opened(path) as given:
        return given.head[:4] in (b"APIC", b"GTDT")


def _name_from(path: str) -> str:
    """Return a name for the VM of a source without one: that of its file without the extension,
    or that of its directory, made valid.
    """
    if path == "-":
        return UNNAMED
    name = os.path.basename(os.path.abspath(path))
    if not os.path.isdir(path):
        name, _ = os.path.splitext(name)
    return valid_name(name_of(name)) or UNNAMED
