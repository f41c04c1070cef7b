"""An errno in words: which commands fail with it, and which rules predict it."""

from __future__ import annotations

import errno as numbers
from collections.abc import Iterator

from vmcfg.kernel.version import NEVER
from vmcfg.plans.command import Row
from vmcfg.plans.operations import CREATE_VM, READING
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.values import NO_VALUE
from vmcfg.reference.answers import prediction_lines, predictions
from vmcfg.reference.attribute_text import errors_of
from vmcfg.reference.layout import WIDEST, wrapped

UNREADABLE = "the kernel cannot read the address of the value"

UNUSABLE = (
    "the VM belongs to another process, or it is unusable because the first KVM_RUN could not set"
    " up its GIC"
)

ANY_CALL = {"EFAULT": UNREADABLE, "EIO": UNUSABLE}
"""What KVM answers to calls of all kinds (kvm_main.c:kvm_device_ioctl,
vgic-init.c:kvm_vgic_map_resources).
"""


def all_errors(row: Row) -> dict[str, str]:
    """Return the meaning of each errno of a row, including those of calls of all kinds."""
    errors = errors_of(row)
    if row.since == NEVER:
        return errors
    if row.operation in READING and row.value is not NO_VALUE:
        errors.setdefault("EFAULT", UNREADABLE)
    if row.operation is not CREATE_VM:
        errors.setdefault("EIO", UNUSABLE)
    return errors


def errno_name(text: str) -> str | None:
    """Return the name of an errno, which is written as name or as number, possibly negative."""
    word = text.removeprefix("-")
    if word.isdecimal() and word.isascii() and len(word) <= 4:
        return numbers.errorcode.get(int(word))
    return word.upper() if word.upper() in numbers.errorcode.values() else None


def known_errnos() -> list[str]:
    """Return the names of all errnos that a row, a rule, or any call has, in alphabetical order."""
    of_rows = {errno for row in SEQUENCE for errno in errors_of(row)}
    of_rules = {answer.errno for _, answer in predictions() if answer.errno is not None}
    return sorted(of_rows | of_rules | ANY_CALL.keys())


def errno_lines(errno: str, width: int = WIDEST) -> Iterator[str]:
    """Yield the commands that fail with an errno and its meanings, then the rules about it."""
    yield f"{errno} ({getattr(numbers, errno)})"
    if errno in ANY_CALL:
        yield ""
        yield from wrapped(ANY_CALL[errno], width, "Calls of all kinds: ", "  ")
    rows = [row for row in SEQUENCE if errno in errors_of(row)]
    if rows:
        yield ""
        yield f"Commands that fail with {errno}, each with its key:"
    for row in rows:
        yield from wrapped(short_text(row), width, "  ", "    ")
        yield from wrapped(errors_of(row)[errno], width, "    ")
    answers = [each for each in predictions() if each[1].errno == errno]
    yield from prediction_lines(errno, answers, width)


def short_text(row: Row) -> str:
    """Return the command of a row with its attribute or register, and the key of its value."""
    named = row.attr.title if row.attr is not None else ""
    if row.register is not None:
        named = row.register.name
    words = [row.operation.word, row.target, named, f"({row.field})"]
    return " ".join(filter(None, words))
