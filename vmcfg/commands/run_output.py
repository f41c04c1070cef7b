"""The output of a run over many files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vmcfg import files
from vmcfg.commands.checked_file import FileResult
from vmcfg.commands.exit_codes import FAILED, FOUND
from vmcfg.findings.rule import ERROR, WARNING
from vmcfg.reports.form import Report, Texts, Totals
from vmcfg.reports.terminal import is_terminal, wants_color

if TYPE_CHECKING:
    from vmcfg.checking.check import Defaults
    from vmcfg.commands.found_in_defaults import FoundInDefaults
    from vmcfg.findings.diagnostic import Diagnostic
    from vmcfg.reports.progress import Progress


def human_report(stream: Any, color: str) -> Report:
    """Return the form of report for people, for a stream."""

    def drawn(diagnostics: list[Diagnostic], texts: Texts) -> str:
        # Most runs find nothing, and importing the drawing code takes a tenth of a start.
        from vmcfg.reports.human import drawn_for

        return drawn_for(stream, color, diagnostics, texts)

    def help_after(rules: Iterable[str]) -> str:
        from vmcfg.reports.human import help_line

        return help_line(rules, wants_color(color, stream))

    return Report(drawn, after=help_after)


class RunOutput:
    """The output of a run, with its counts so far.

    If the product of the run goes to standard output (`streams_product`), findings go to standard
    error. The last line is a summary on a terminal or if `summary` is true. `work` is the verb for
    what the run does with each file.
    """

    def __init__(
        self,
        report: Report,
        streams_product: bool,
        summary: bool,
        color: bool,
        work: str = "check",
    ) -> None:
        self.report = report
        self.summary = summary or is_terminal(sys.stderr)
        self.print_findings = files.print_error if streams_product else files.print_out
        self.findings_stream = sys.stderr if streams_product else sys.stdout
        self.color = color
        self.work = work
        self.parts: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.files = 0
        self.errors = 0
        self.warnings = 0
        self.fixed = 0
        self.changed = 0
        self.fixable = 0
        self.rules: dict[str, None] = {}
        self.progress: Progress | None = None
        self.found_in_defaults: FoundInDefaults | None = None
        self.is_only_defaults = False
        """Whether the paths lead to the file of defaults, and to no description."""

    def print_failure(self, error: files.NoFile) -> None:
        """Report a file that cannot be read or written. The run continues."""
        self.failures.append((error.file, str(error)))
        self.make_room(sys.stderr)
        files.print_error(f"vmcfg: {error}\n")

    def begin(self, total: int, defaults: Defaults | None = None) -> None:
        """Start the output of `total` files: with the findings about their `defaults` alone."""
        if defaults is not None:
            from vmcfg.commands.found_in_defaults import FoundInDefaults

            self.found_in_defaults = FoundInDefaults(defaults)
            self._add_of_defaults(defaults.diagnostics)
        if is_terminal(sys.stderr):
            from vmcfg.reports.progress import Progress

            self.progress = Progress(total, self.color)

    def add(self, result: FileResult) -> None:
        """Print and count the result of one file."""
        self.files += result.files
        self.errors += result.errors
        self.warnings += result.warnings
        self.fixed += result.fixed
        self.changed += bool(result.fixed)
        self.fixable += result.fixable
        self.rules.update(dict.fromkeys(result.rules))
        if result.failure is not None:
            self.print_failure(files.NoFile(result.failure, result.file))
        if result.product:
            self.make_room(sys.stdout)
            files.put_out(result.product)
        if result.in_defaults and self.found_in_defaults is not None:
            from vmcfg.commands.found_in_defaults import unpacked

            self._add_of_defaults(self.found_in_defaults.new(unpacked(result.in_defaults)))
        if result.report and self.report.whole is not None:
            self.parts.append(result.report)
        elif result.report:
            self._print_part(result.report)
        if self.progress is not None:
            self.progress.advance()

    def _print_part(self, part: str) -> None:
        self.make_room(self.findings_stream)
        self.print_findings(part)

    def _add_of_defaults(self, found: list[Diagnostic]) -> None:
        """Count findings in the defaults, and print them unless the report is made at the end."""
        for each in found:
            self.errors += each.severity == ERROR
            self.warnings += each.severity == WARNING
            self.fixable += each.fix is not None
            self.rules[each.rule] = None
        if found and self.report.whole is None:
            self._print_part(self._part_of_defaults(found))

    def _part_of_defaults(self, found: list[Diagnostic]) -> str:
        """Return the report about findings in the defaults; with `right`, also if there are
        none.
        """
        assert self.found_in_defaults is not None
        tree = self.found_in_defaults.defaults.tree
        if found:
            return self.report.part(found, tree.texts)
        return "" if self.report.right is None else self.report.right(tree.file)

    def end(self, strict: bool) -> int:
        """Print the end of the output. Return the exit code."""
        if self.report.whole is not None:
            totals = Totals(self.files, self.errors, self.warnings, tuple(self.failures))
            if self.found_in_defaults is not None:
                part = self._part_of_defaults(self.found_in_defaults.every)
                self.parts[:0] = [part] if part else []
            for piece in self.report.whole(self.parts, totals):
                files.print_out(piece)
        elif self.report.after is not None and self.rules:
            self.print_findings(self.report.after(self.rules))
        if not self.files and not self.failures and not self.is_only_defaults:
            raise files.NoFile(f"nothing to {self.work}: no *.yaml or *.yml files found")
        if self.summary and self.files:
            from vmcfg.reports.human import summary

            line = summary(self.files, self.errors, self.warnings, self.fixed, self.fixable)
            files.print_error(f"{line}\n")
        if self.failures:
            return FAILED
        return FOUND if self.errors or (strict and self.warnings) else 0

    def make_room(self, stream: Any) -> None:
        """Remove the progress bar if the next output goes to the same terminal."""
        if self.progress is not None and (stream is sys.stderr or is_terminal(stream)):
            self.progress.clear()
