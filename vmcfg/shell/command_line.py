"""The command line as data: every command with its arguments, its options, and their values.

It is read from the commands themselves; completion and manual pages are generated from it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import click

from vmcfg import files
from vmcfg.cli import COMMANDS, EPILOG, vmcfg
from vmcfg.commands.emit import Phases
from vmcfg.description.model import every_field
from vmcfg.plans.phases import PHASES
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.explanations import TOPICS

ValueKind = Literal["free", "words", "list", "files", "descriptions"]
"""The kinds of values: any text, one of several words, a comma-separated list, a file, or a
description.
"""
FREE: ValueKind = "free"
WORDS: ValueKind = "words"
LIST: ValueKind = "list"
FILES: ValueKind = "files"
DESCRIPTIONS: ValueKind = "descriptions"


class Values(NamedTuple):
    """The values of an option or argument. `words` are all of them for the kinds WORDS and LIST."""

    kind: ValueKind
    words: tuple[str, ...] = ()


class Option(NamedTuple):
    """An option with all its names. `metavar` and `values` are None for a flag."""

    names: tuple[str, ...]
    metavar: str | None
    values: Values | None
    help: str


class Argument(NamedTuple):
    """A positional argument."""

    metavar: str
    values: Values
    many: bool


class Command(NamedTuple):
    """One command; `paragraphs` are those of its help, each on one line, except those that begin
    with BREAKS.
    """

    name: str
    summary: str
    paragraphs: tuple[str, ...]
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    usage: str


BREAKS = "\b"
"""What begins a paragraph in click whose line breaks are kept."""


def commands() -> list[Command]:
    """Return every command in the order of the documentation."""
    context = click.Context(vmcfg, info_name="vmcfg")
    return [_command(name, context) for name in COMMANDS]


def _command(name: str, of_vmcfg: click.Context) -> Command:
    command = vmcfg.get_command(of_vmcfg, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=of_vmcfg)
    arguments, options = [], []
    for param in command.get_params(context):
        if isinstance(param, click.Argument):
            arguments.append(_argument(name, param, context))
        elif isinstance(param, click.Option) and not param.hidden:
            options.append(_option(name, param, context))
    return Command(
        name=name,
        summary=COMMANDS[name],
        paragraphs=_paragraphs(command.help),
        arguments=tuple(arguments),
        options=tuple(options),
        usage=" ".join(command.collect_usage_pieces(context)),
    )


def group_options() -> list[Option]:
    """Return the options of vmcfg itself."""
    context = click.Context(vmcfg, info_name="vmcfg")
    return [
        _option("", param, context)
        for param in vmcfg.get_params(context)
        if isinstance(param, click.Option)
    ]


def description() -> tuple[str, ...]:
    """Return the paragraphs in the help of vmcfg itself."""
    return _paragraphs(vmcfg.help)


def exit_codes() -> list[tuple[str, str]]:
    """Return each exit code with its meaning."""
    return re.findall(r"(?m)^ +([0-9]+) +(.+)$", EPILOG)


def _paragraphs(text: str | None) -> tuple[str, ...]:
    paragraphs = re.split(r"\n{2,}", inspect.cleandoc(text or ""))
    return tuple(
        each if each.startswith(BREAKS) else " ".join(each.split()) for each in paragraphs if each
    )


def _argument(command: str, param: click.Argument, context: click.Context) -> Argument:
    metavar = _metavar(param, context)
    return Argument(metavar, _values(command, param, metavar), param.nargs != 1)


def _option(command: str, param: click.Option, context: click.Context) -> Option:
    names = tuple(sorted((*param.opts, *param.secondary_opts), key=len))
    help_line = param.help or ""
    if param.is_flag or param.count:
        return Option(names, None, None, help_line)
    metavar = _metavar(param, context)
    return Option(names, metavar, _values(command, param, metavar), help_line)


def _metavar(param: click.Parameter, context: click.Context) -> str:
    # Since click 8.2, it requires the context.
    wants_context = "ctx" in inspect.signature(param.make_metavar).parameters
    if wants_context:
        return param.make_metavar(context)
    return param.make_metavar()  # type: ignore[call-arg]


def _values(command: str, param: click.Parameter, metavar: str) -> Values:
    if isinstance(param.type, click.Choice):
        return Values(WORDS, tuple(map(str, param.type.choices)))
    if isinstance(param.type, Phases):
        return Values(LIST, PHASES)
    if (command, param.name) in _NAMES:
        return Values(WORDS, tuple(_NAMES[command, param.name]()))
    if re.search(r"\bPATH\b|^A B$", metavar):
        return Values(DESCRIPTIONS)
    if re.search(r"\b(?:FILE|SOURCE)\b", metavar):
        return Values(FILES)
    return Values(FREE)


def _explained() -> Iterator[str]:
    yield from (rule.id for rule in every_rule())
    yield from every_field()
    yield from TOPICS


def _samples() -> Iterator[str]:
    yield from sorted(path.stem for path in files.packed("sample-configs").glob("*.yaml"))


_NAMES = {("explain", "name"): _explained, ("example", "name"): _samples}
"""The words of the arguments whose type does not contain them."""
