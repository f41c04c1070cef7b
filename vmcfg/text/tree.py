"""From bytes to nodes: the text of a file, checked and read as one document.

In: the bytes of a file. Out: one mapping at the root, read from UTF-8, without duplicate keys,
tags, and merge keys, with every alias resolved; or the findings that prevent it.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import DocumentStartEvent, ScalarEvent, StreamEndEvent

from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.finding import Finding, On
from vmcfg.findings.position import WHOLE, Path, Position, Span, Start
from vmcfg.findings.rule import Rule
from vmcfg.text.node_reader import NodeReader, Notes, Stop
from vmcfg.text.nodes import Mapping, Node, Sequence, as_written, lines_of, span_of
from vmcfg.text.rules import ENCODING, ONE_DOCUMENT, SYNTAX

if TYPE_CHECKING:
    from vmcfg.text.layers import LayeredPositions
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
    """A document after reading: `root` is its mapping, or None if there is none.

    With `defaults`, another document, `root` also has keys from there.
    """

    def __init__(self, file: str, data: bytes, parser: type[Any] = FASTEST_PARSER) -> None:
        self.file = file
        self.text = ""
        self.root: Mapping | None = None
        self._notes = Notes(file)
        self._positions: Positions | LayeredPositions | None = None
        self.defaults: Tree | None = None
        try:
            self._decode(data)
            self.root = self._document(parser)
        except Stop:
            pass

    def renamed(self, file: str, defaults_file: str = "") -> Tree:
        """Return this document as that of another file name, and its defaults likewise."""
        # Imported here: only a run over many descriptions needs it.
        from copy import copy

        other = copy(self)
        other.file = file
        if self.defaults is not None:
            other.defaults = self.defaults.renamed(defaults_file)
            other._positions = None
        return other

    def over(self, defaults: Tree, root: Mapping | None) -> Tree:
        """Return this document over `defaults`; `root` is the mapping that they have together."""
        from copy import copy

        other = copy(self)
        other.defaults = defaults
        other.root = root
        other._positions = None
        return other

    def layer(self, file: str) -> Tree:
        """Return the document that positions with this `file` are in: as written, without other
        keys.
        """
        if self.defaults is None:
            return self
        if file:
            return self.defaults
        from copy import copy

        own = copy(self)
        own.defaults = own._positions = None
        own.root = None if self.root is None else as_written(self.root)
        return own

    @property
    def texts(self) -> dict[str, str]:
        """Return the text of this document by its file, and after it that of its defaults."""
        texts = {self.file: self.text}
        if self.defaults is not None:
            texts[self.defaults.file] = self.defaults.text
        return texts

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """Return all VMC10x findings: the problems that prevent reading the file."""
        return self._notes.diagnostics

    def position(self, path: Path, on: On = "value") -> Position:
        """Return the position of `path`: of its value, its key, or the first key of its mapping."""
        if self.root is None:
            return Position(WHOLE, "")
        return self._positions_in(self.root).position(path, on)

    def start(self, path: Path) -> Start:
        """Return where the value of `path`, which exists, begins: less work than its position."""
        assert self.root is not None
        return self._positions_in(self.root).start(path)

    def _positions_in(self, root: Mapping) -> Positions | LayeredPositions:
        if self._positions is None:
            self._positions = self._new_positions(root)
        return self._positions

    def _new_positions(self, root: Mapping) -> Positions | LayeredPositions:
        # Imported here: to validate a description without problems, no position is needed.
        from vmcfg.text.positions import Positions

        lower = self.defaults
        if lower is None or lower.root is None:
            return Positions(root, self.text)
        from vmcfg.text.layers import LayeredPositions

        return LayeredPositions(root, self.text, Positions(lower.root, lower.text), lower.file)

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
            LINE_ENDS_OF_YAML, "is not allowed: YAML treats it as a line break, but editors do not"
        )
        self._refuse_characters(
            BYTE_ORDER_MARK,
            "is allowed only at the start of the file",
            "remove this invisible character",
        )

    def _not_utf8(self, data: bytes, at: int) -> Stop:
        """Note that the byte at an offset is not UTF-8."""
        hint = "save the file as UTF-8"
        if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            hint += ": this looks like UTF-16"
        else:
            # The snippet shows the part that can be read.
            self.text = data.decode("utf-8", "replace")
        before = data[:at].decode("utf-8", "replace")
        message = f"byte 0x{data[at]:02x} is not valid UTF-8"
        return self._notes.stop(ENCODING, Finding((), message, hint), _end_of(before))

    def _refuse_characters(self, characters: str, why: str, hint: str | None = None) -> None:
        found = re.search(characters, self.text)
        if found is None:
            return
        number = f"{ord(found[0]):04X}"
        message = f"U+{number} {why}"
        if hint is None:
            hint = f'write it as an escape in double quotes: "\\u{number.lower()}"'
        before = self.text[: found.start()]
        raise self._notes.stop(ENCODING, Finding((), message, hint), _end_of(before))

    # From text to nodes ---------------------------------------------------------------------------

    def _document(self, parser: type[Any]) -> Mapping | None:
        """Return the mapping in the text; if it is something else, note that and return None."""
        try:
            # A parser reads from its stream as soon as it is created, which can fail too.
            return self._root(parser(self.text).get_event)
        except yaml.reader.ReaderError:
            self._refuse_characters(CONTROL_CHARACTERS, "is not allowed: it is a control character")
            raise self._notes.stop(
                SYNTAX, Finding((), "the file is not valid YAML"), WHOLE
            ) from None
        except yaml.MarkedYAMLError as error:
            raise self._notes.stop(*_syntax_error(error, self.text)) from None

    def _root(self, get: Callable[[], Any]) -> Mapping | None:
        """Return the mapping of the only document; `get` returns the next event."""
        get()  # the start of the stream
        if isinstance(get(), StreamEndEvent):
            raise self._notes.stop(ONE_DOCUMENT, _empty("the file is empty"), WHOLE)
        node = NodeReader(get, self._notes).node(get(), (), 0)
        get()  # the end of the document
        after = get()
        if isinstance(after, DocumentStartEvent):
            message = "a file must contain one VM, but a second document begins here"
            hint = "remove this line, or move the second VM to its own file"
            self._notes.note(ONE_DOCUMENT, Finding((), message, hint), span_of(after))
        if isinstance(node, Mapping):
            return node
        self._notes.note(ONE_DOCUMENT, _no_mapping(node), WHOLE)
        return None


def _no_mapping(node: Node) -> Finding:
    """Return the finding that a document is not a mapping."""
    is_plain = isinstance(node, ScalarEvent) and not node.style
    words = node.value if isinstance(node, ScalarEvent) else ""
    if is_plain and not words:
        return _empty("the document is empty")
    kind = "a list" if isinstance(node, Sequence) else "a single value"
    message = f"the document must be a mapping with the key 'vmcfg', not {kind}"
    hint = "run 'vmcfg example minimal' to print a description to start from"
    if is_plain and re.match(r"\w+:\S", words):
        hint = "add a space after each colon: 'vmcfg: 1'"
    return Finding((), message, hint)


def _empty(what: str) -> Finding:
    hint = "run 'vmcfg example minimal' to print a description to start from"
    return Finding((), what, hint)


def _end_of(text: str) -> Span:
    """Return the span of the character after `text`."""
    lines = lines_of(text)
    line, column = len(lines), len(lines[-1]) + 1
    return Span(line, column, line, column + 1)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> tuple[Rule, Finding, Span]:
    """Return the finding for the error of a parser, and its span."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    # libyaml counts one line too many if the text does not end with a line break.
    span = min(Span(line, column, line, column + 1), _end_of(text))
    # Few files are not YAML.
    from vmcfg.text.syntax import syntax_finding

    finding, place = syntax_finding(error, lines_of(text), span)
    return SYNTAX, finding, place
