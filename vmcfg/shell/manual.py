"""Manual pages in roff, one of vmcfg and one of each command, for man(1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmcfg import __version__
from vmcfg.shell.command_line import (
    BREAKS,
    Command,
    Option,
    commands,
    description,
    exit_codes,
    group_options,
)

DATE = "2026-11-22"
"""The day of this version: a page is the same whenever it is made."""

ENVIRONMENT = (
    (
        "NO_COLOR",
        "Where it is set and not empty, nothing is coloured, unless --color says otherwise.",
    ),
    (
        "FORCE_COLOR",
        "Where it is set and not empty, findings are coloured in a pipe, too. NO_COLOR beats it.",
    ),
)


def pages() -> dict[str, str]:
    """The pages by their files' names."""
    every = commands()
    return {"vmcfg.1": _overview(every)} | {
        f"vmcfg-{command.name}.1": _page(command) for command in every
    }


def _text(text: str) -> str:
    """Running text: what roff takes for a command or for typography is neither."""
    escaped = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    )
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _overview(every: list[Command]) -> str:
    lines = [
        *_head(
            "vmcfg",
            "compile descriptions of arm64 KVM virtual machines into the commands that set them up",
        ),
        ".SH SYNOPSIS",
        ".B vmcfg",
        ".I COMMAND",
        "[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(description()),
        ".SH COMMANDS",
    ]
    for command in every:
        lines += [".TP", f"\\fBvmcfg\\-{_text(command.name)}\\fR(1)", _text(command.summary)]
    lines += [
        *_options(group_options()),
        *_exit_status(),
        ".SH ENVIRONMENT",
        *(
            line
            for name, words in ENVIRONMENT
            for line in (".TP", f".B {_text(name)}", _text(words))
        ),
        *_see_also(command.name for command in every),
    ]
    return "\n".join(lines) + "\n"


def _page(command: Command) -> str:
    lines = [
        *_head(
            f"vmcfg-{command.name}", command.summary[0].lower() + command.summary[1:].rstrip(".")
        ),
        ".SH SYNOPSIS",
        f".B vmcfg {_text(command.name)}",
        _text(command.usage),
        ".SH DESCRIPTION",
        *_paragraphs(command.paragraphs),
        *_options(command.options),
        *_exit_status(),
        *_see_also([]),
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, summary: str) -> list[str]:
    title = _text(name.upper())
    return [
        '.\\" Made by `python -m vmcfg.shell`: not to be edited.',
        f'.TH {title} 1 "{DATE}" "vmcfg {_text(__version__)}" "vmcfg"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
    ]


def _paragraphs(paragraphs: Iterable[str]) -> Iterator[str]:
    for place, paragraph in enumerate(paragraphs):
        if place:
            yield ".PP"
        if paragraph.startswith(BREAKS):
            yield ".nf"
            yield from (
                _text(line) for line in paragraph.removeprefix(BREAKS).strip("\n").split("\n")
            )
            yield ".fi"
        else:
            yield _text(paragraph)


def _options(options: Iterable[Option]) -> Iterator[str]:
    yield ".SH OPTIONS"
    for option in options:
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in option.names)
        taken = "" if option.metavar is None else f" \\fI{_text(option.metavar)}\\fR"
        yield ".TP"
        yield names + taken
        yield _text(option.help)


def _exit_status() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes():
        yield ".TP"
        yield f".B {code}"
        yield _text(meaning[0].upper() + meaning[1:] + ".")


def _see_also(names: Iterable[str]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    others = [f"\\fBvmcfg\\-{_text(name)}\\fR(1)" for name in names] or ["\\fBvmcfg\\fR(1)"]
    yield ", ".join(others)
