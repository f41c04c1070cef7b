"""The Python parser of PyYAML, changed to read every text as libyaml does, for systems without it.

The two differ about tabs, plain scalars between brackets, directives, and the position of empty
values. Here libyaml is right, because nearly every system has it.
"""

from __future__ import annotations

from typing import Any

from yaml.events import ScalarEvent
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner, ScannerError
from yaml.tokens import FlowEntryToken, FlowMappingEndToken, FlowSequenceEndToken, ScalarToken


class PurePythonParser(Reader, Scanner, Parser):
    """The parser for PyYAML without libyaml."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)

    def scan_directive(self) -> Any:
        """Return the next directive; one that libyaml does not know is an error here too."""
        token = super().scan_directive()
        if token.name not in ("YAML", "TAG"):
            raise ScannerError(None, None, "found unknown directive name", token.start_mark)
        return token

    def scan_to_next_token(self) -> None:
        """Skip to the next token, over tabs too if no key can begin there, as libyaml does."""
        while True:
            super().scan_to_next_token()
            if self.peek() != "\t" or (self.allow_simple_key and not self.flow_level):
                return
            self.forward()

    def scan_plain(self) -> ScalarToken:
        """Return the next plain scalar as libyaml reads it.

        Tabs are blanks; between brackets, '?' is a letter and ':,' is an error.
        """
        start = end = self.get_mark()
        written = gap = ""
        broken = False
        while self.peek() != "#" and not (self.check_document_start() or self.check_document_end()):  # type: ignore[no-untyped-call]
            length = self._plain_length(start)
            if length:
                written += gap + self.prefix(length)
                self.forward(length)
                end = self.get_mark()
            gap, goes_on = self._plain_gap(start)
            broken = goes_on or (broken and not length)
            if not gap or (not self.flow_level and self.column <= self.indent):
                break
        if broken:
            self.allow_simple_key = True
        return ScalarToken(written, True, start, end)

    def _plain_length(self, start: Any) -> int:
        """Return the length of the part of the scalar that ends at the next blank."""
        length = 0
        while (char := self.peek(length)) not in "\0 \t\r\n":
            after = self.peek(length + 1)
            if self.flow_level and char == ":" and after in ",?[]{}":
                self.forward(length)
                raise ScannerError(
                    "while scanning a plain scalar", start, "found unexpected ':'", self.get_mark()
                )
            if (char == ":" and after in "\0 \t\r\n") or (self.flow_level and char in ",[]{}"):
                break
            length += 1
        return length

    def _plain_gap(self, start: Any) -> tuple[str, bool]:
        """Return the text that replaces the blanks and breaks from here, and whether one is a
        break.
        """
        blanks = ""
        breaks = 0
        while (char := self.peek()) in " \t\r\n":
            if char in "\r\n":
                self.scan_line_break()  # type: ignore[no-untyped-call]
                breaks += 1
                continue
            if breaks and char == "\t" and self.column <= self.indent:
                problem = "found a tab character that violates indentation"
                raise ScannerError("while scanning a plain scalar", start, problem, self.get_mark())
            blanks += char
            self.forward()
        return ("\n" * (breaks - 1) or " ", True) if breaks else (blanks, False)

    def process_empty_scalar(self, mark: Any) -> ScalarEvent:
        """Return the event of an omitted value; between brackets, it is at the next token."""
        following = self.peek_token()  # type: ignore[no-untyped-call]
        if self.flow_level or isinstance(
            following, (FlowEntryToken, FlowMappingEndToken, FlowSequenceEndToken)
        ):
            mark = following.start_mark
        return ScalarEvent(None, None, (True, False), "", mark, mark)
