"""Bytes to nodes: a file's text, checked and read as the one document that it must hold.

What comes in: a file's bytes. What goes out: one mapping at the root, read from UTF-8, without
duplicate keys, tags and merge keys, with every alias resolved; or findings that say what is in the
way.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import DocumentStartEvent, ScalarEvent, StreamEndEvent

from vmcfg.escape import excerpt
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.finding import Finding, On
from vmcfg.findings.position import WHOLE, Path, Position, Span
from vmcfg.findings.rule import Rule
from vmcfg.text.node_reader import NodeReader, Notes, Stop
from vmcfg.text.nodes import Mapping, Node, Sequence, lines_of, span_of
from vmcfg.text.rules import ENCODING, ONE_DOCUMENT, SYNTAX

if TYPE_CHECKING:
    from vmcfg.text.positions import Positions

LINE_ENDS_OF_YAML = "[\x85\u2028\u2029]"

BYTE_ORDER_MARK = "\ufeff"

CONTROL_CHARACTERS = "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"


def _fastest_parser() -> type[Any]:
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return CParser
    from vmcfg.text.pure_parser import PurePythonParser

    return PurePythonParser


FASTEST_PARSER = _fastest_parser()


class Tree:
    """A document read: `root` is its mapping, or None if there is none."""

    def __init__(self, file: str, data: bytes, parser: type[Any] = FASTEST_PARSER) -> None:
        self.file = file
        self.text = ""
        self.root: Mapping | None = None
        self._notes = Notes(file)
        self._positions: Positions | None = None
        try:
            self._decode(data)
            self.root = self._document(parser)
        except Stop:
            pass

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All VMC10x findings: what is in the way of reading the file."""
        return self._notes.diagnostics

    def position(self, path: Path, on: On = "value") -> Position:
        """Where `path` stands: its value, its key, or the first key of the mapping there."""
        if self.root is None:
            return Position(WHOLE, "")
        if self._positions is None:
            # Imported here: of a right description, nothing has to be placed to validate it.
            from vmcfg.text.positions import Positions

            self._positions = Positions(self.root, self.text)
        return self._positions.position(path, on)

    # From bytes to text ---------------------------------------------------------------------------

    def _decode(self, data: bytes) -> None:
        data = data.removeprefix(BOM_UTF8)
        try:
            self.text = data.decode()
        except UnicodeDecodeError as error:
            raise self._not_utf8(data, error.start) from None
        if self.text.isascii():
            return
        self._refuse_characters(
            LINE_ENDS_OF_YAML, "editors don't count this as the end of a line, but YAML does"
        )
        self._refuse_characters(
            BYTE_ORDER_MARK,
            "a byte order mark stands at the start of a file or nowhere",
            "delete it",
        )

    def _not_utf8(self, data: bytes, at: int) -> Stop:
        """Note that the byte at an offset is not UTF-8."""
        hint = "save the file as UTF-8"
        if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            hint += "; this looks like UTF-16"
        else:
            # What can be read is shown around the place.
            self.text = data.decode("utf-8", "replace")
        before = data[:at].decode("utf-8", "replace")
        message = f"byte 0x{data[at]:02x} is not UTF-8"
        return self._notes.stop(ENCODING, Finding((), message, hint), _end_of(before))

    def _refuse_characters(self, characters: str, why: str, hint: str | None = None) -> None:
        found = re.search(characters, self.text)
        if found is None:
            return
        number = f"{ord(found[0]):04X}"
        message = f"U+{number} may not stand in a description: {why}"
        if hint is None:
            hint = f'between double quotes, write it as an escape: "\\u{number.lower()}"'
        before = self.text[: found.start()]
        raise self._notes.stop(ENCODING, Finding((), message, hint), _end_of(before))

    # From text to nodes ---------------------------------------------------------------------------

    def _document(self, parser: type[Any]) -> Mapping | None:
        """The mapping that the text is; None if it is something else, which is then noted."""
        try:
            # Each parser reads its stream when it is made: this too may find that it is not YAML.
            return self._root(parser(self.text).get_event)
        except yaml.reader.ReaderError:
            self._refuse_characters(CONTROL_CHARACTERS, "it is a control character")
            raise self._notes.stop(SYNTAX, Finding((), "the text is not YAML"), WHOLE) from None
        except yaml.MarkedYAMLError as error:
            raise self._notes.stop(*_syntax_error(error, self.text)) from None

    def _root(self, get: Callable[[], Any]) -> Mapping | None:
        """The only document's mapping; `get` gives the next event."""
        get()  # the start of the stream
        if isinstance(get(), StreamEndEvent):
            raise self._notes.stop(ONE_DOCUMENT, _empty("the file is empty"), WHOLE)
        node = NodeReader(get, self._notes).node(get(), (), 0)
        get()  # the end of the document
        after = get()
        if isinstance(after, DocumentStartEvent):
            message = "a second document begins here: a file describes one VM"
            hint = "remove this line, or write the second VM to a file of its own"
            self._notes.note(ONE_DOCUMENT, Finding((), message, hint), span_of(after))
        if isinstance(node, Mapping):
            return node
        self._notes.note(ONE_DOCUMENT, _no_mapping(node), WHOLE)
        return None


def _no_mapping(node: Node) -> Finding:
    """What is wrong with a document that is not a mapping."""
    is_plain = isinstance(node, ScalarEvent) and not node.style
    words = node.value if isinstance(node, ScalarEvent) else ""
    if is_plain and not words:
        return _empty("the document is empty")
    kind = "a list" if isinstance(node, Sequence) else "a single value"
    message = f"the document is {kind}; a description is a mapping that begins with 'vmcfg: 1'"
    hint = None
    if is_plain and re.match(r"\w+:\S", words):
        hint = "a space belongs after each colon: 'vmcfg: 1'"
    return Finding((), message, hint)


def _empty(what: str) -> Finding:
    hint = "vmcfg example prints one to begin with"
    return Finding((), f"there is no description here: {what}", hint)


def _end_of(text: str) -> Span:
    """The character after `text`."""
    lines = lines_of(text)
    line, column = len(lines), len(lines[-1]) + 1
    return Span(line, column, line, column + 1)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> tuple[Rule, Finding, Span]:
    """The finding that a parser's error is, and where it stands."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    # libyaml counts a line more where a text ends without a line break.
    span = min(Span(line, column, line, column + 1), _end_of(text))
    problem = excerpt(error.problem or "unreadable", 120)
    hint = _syntax_hint(error, lines_of(text)[span.line - 1], span)
    return SYNTAX, Finding((), f"the text is not YAML: {problem}", hint), span


def _syntax_hint(error: yaml.MarkedYAMLError, line: str, span: Span) -> str | None:
    """What probably is wrong; `line` is the one in which the parser stopped, at `span`."""
    spaced = re.search(r"\b(ppi|spi): +([0-9]+)", line)
    if spaced and "mapping values" in (error.problem or ""):
        return f"no space belongs after the colon: {spaced[1]}:{spaced[2]}"
    if "\t" in line[: span.column]:
        return "YAML is indented with spaces, not tabs"
    if error.context and error.context_mark and error.context_mark.line + 1 != span.line:
        began = error.context_mark.line + 1
        return f"{excerpt(error.context, 120)} that begins in line {began}"
    return None
