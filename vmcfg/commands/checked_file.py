"""What one file came to in a run of `vmcfg validate`: read, checked, fixed where that is asked for,
and its report.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.escape import printable
from vmcfg.findings.rule import ERROR, WARNING
from vmcfg.kernel.version import Version
from vmcfg.reports.form import Report

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host


class FileResult(NamedTuple):
    """What one file came to, in numbers, texts and None alone, so that a worker process can send
    it.

    `product` goes to standard output by itself: a difference, or a corrected text. `report` is what
    is printed of the findings, `failure` why the file could not be read or written. `fixed` counts
    the fixes that were made, `fixable` those that remain, and `rules` are the ids of all findings.
    """

    product: bytes = b""
    report: str = ""
    failure: str | None = None
    files: int = 0
    errors: int = 0
    warnings: int = 0
    fixed: int = 0
    fixable: int = 0
    rules: tuple[str, ...] = ()


class FileCheck:
    """How each file of a run is checked, and what is done with it.

    `diff` shows what `fix` would change. Differences are made for a terminal where `for_terminal`
    is true.
    """

    __slots__ = ("diff", "fix", "for_terminal", "host_kernel", "hosts", "name_of", "report")

    def __init__(
        self,
        *,
        name_of: Callable[[str], str],
        host_kernel: Version | None,
        hosts: "Sequence[Host]",
        report: Report,
        fix: bool,
        diff: bool,
        for_terminal: bool,
    ) -> None:
        self.name_of = name_of
        self.host_kernel = host_kernel
        self.hosts = hosts
        self.report = report
        self.fix = fix
        self.diff = diff
        self.for_terminal = for_terminal

    def result(self, path: str) -> FileResult:
        """What the file at `path` comes to."""
        try:
            data = files.read(path)
        except files.NoFile as error:
            return FileResult(failure=str(error))
        checked = self.check(path, data)
        if not self.fix:
            return self.counted(checked, checked)
        try:
            return self.fixed(path, data, checked)
        except files.NoFile as error:
            return self.counted(checked, checked)._replace(failure=str(error))

    def fields(self, path: str) -> tuple[Any, ...]:
        """The fields of `result`, as a worker process sends them."""
        return tuple(self.result(path))

    def check(self, path: str, data: bytes) -> Checked:
        """The check of a text that is, or would be, at `path`."""
        return check(data, self.name_of(path), self.host_kernel, self.hosts)

    def counted(self, counted: Checked, reported: Checked) -> FileResult:
        """A file that was read: the findings of `counted` are counted, those of `reported`
        reported.
        """
        report = ""
        if reported.diagnostics:
            report = self.report.part(reported.diagnostics, reported.tree.text)
        return FileResult(
            report=report,
            files=1,
            errors=counted.count(ERROR),
            warnings=counted.count(WARNING),
            fixable=sum(found.fix is not None for found in counted.diagnostics),
            rules=tuple([found.rule for found in reported.diagnostics]),
        )

    def fixed(self, path: str, data: bytes, checked: Checked) -> FileResult:
        """A file with every certain fix: in the file, on standard output, or as a difference."""
        from vmcfg.checking import fixes

        text, left, count = fixes.fixed(data, checked, lambda text: self.check(path, text))
        if self.diff:
            # Nothing is written, so what was found still counts; what the difference leaves is
            # reported.
            difference = fixes.difference(checked.tree.file, data, text, self.for_terminal)
            return self.counted(checked, left)._replace(product=difference)
        result = self.counted(left, left)._replace(fixed=count)
        if path == "-":
            return result._replace(product=text)
        if count:
            if files.read(path) != data:
                name = printable(checked.tree.file)
                raise files.NoFile(f"cannot fix {name}: it has changed meanwhile")
            files.write(path, text)
        return result
