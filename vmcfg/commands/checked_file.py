"""One file in a run of `vmcfg validate`: read, checked, possibly fixed, and reported."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vmcfg import files
from vmcfg.checking.check import Checked, CheckFailed, Defaults, check
from vmcfg.escape import printable
from vmcfg.findings.rule import ERROR, WARNING
from vmcfg.kernel.version import Version
from vmcfg.reports.form import Report
from vmcfg.text.tree import Tree

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host


class FileResult(NamedTuple):
    """The result of one file. It has only numbers, texts, and None, for worker processes to send.

    `product` is a difference or a corrected text for standard output. `report` is the text about
    the findings, and `failure` is the reason why `file` could not be read or written. `fixed` and
    `fixable` count the fixes that were made and that remain; `rules` are the ids of all findings.
    `vm` is the name of the VM of a regular file, which can be read again; otherwise it is empty.
    `in_defaults` are the findings wholly in the defaults, in bytes; `report` and the numbers are
    about the others.
    """

    product: bytes = b""
    report: str = ""
    failure: str | None = None
    file: str = ""
    files: int = 0
    errors: int = 0
    warnings: int = 0
    fixed: int = 0
    fixable: int = 0
    rules: tuple[str, ...] = ()
    vm: str = ""
    in_defaults: bytes = b""


class FileCheck:
    """How each file of a run is checked, fixed, and reported.

    `diff` prints what `fix` would change. If `for_terminal` is true, differences are escaped.
    """

    __slots__ = (
        "defaults",
        "diff",
        "fix",
        "for_terminal",
        "host_kernel",
        "hosts",
        "name_of",
        "report",
        "standard_input",
    )

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
        defaults: Defaults | None = None,
    ) -> None:
        self.name_of = name_of
        self.host_kernel = host_kernel
        self.hosts = hosts
        self.report = report
        self.fix = fix
        self.diff = diff
        self.for_terminal = for_terminal
        self.defaults = defaults
        self.standard_input: bytes | None = None

    def result(self, path: str, same_name: str | None = None) -> FileResult:
        """Return the result of the file at `path`.

        If `same_name` is not None, the file at that path has a VM of the same name.
        """
        try:
            data = self.read(path)
            first = None if same_name is None else self.tree(same_name)
        except files.NoFile as error:
            return self.failed(path, str(error))
        try:
            checked = self.check(path, data, first)
        except CheckFailed as error:
            from vmcfg.commands.defects import defect_text

            return self.failed(path, defect_text(error))
        if not self.fix:
            return self.counted(path, checked, checked)
        try:
            return self.fixed(path, data, checked, first)
        except files.NoFile as error:
            failed = self.failed(path, str(error))
            counted = self.counted(path, checked, checked)
            return counted._replace(failure=failed.failure, file=failed.file)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file. Standard input can be read again. Raises `files.NoFile`."""
        if path != "-":
            return files.read(path)
        if self.standard_input is None:
            self.standard_input = files.read(path)
        return self.standard_input

    def failed(self, path: str, reason: str) -> FileResult:
        """Return the result of a file that could not be read, checked, or written."""
        return FileResult(failure=reason, file=self.name_of(path))

    def fields(self, path: str) -> tuple[Any, ...]:
        """Return the fields of `result`, as a worker process sends them."""
        return tuple(self.result(path))

    def check(self, path: str, data: bytes, first: Tree | None = None) -> Checked:
        """Return the check of a text that is or would be at `path`.

        If `first` is not None, it is a description with a VM of the same name.
        """
        name = self.name_of(path)
        checked = check(data, name, self.host_kernel, self.hosts, self.defaults)
        if first is None or checked.machine is None:
            return checked
        from vmcfg.checking.shared_names import with_duplicate_name

        return with_duplicate_name(checked, first)

    def tree(self, path: str) -> Tree:
        """Return the text at `path` as nodes. Raises `files.NoFile`."""
        return Tree(self.name_of(path), files.read(path))

    def counted(self, path: str, counted: Checked, reported: Checked) -> FileResult:
        """Return the result of a file: findings of `counted` are counted, those of `reported`
        reported.
        """
        in_defaults = b""
        if self.defaults is not None:
            counted, reported, in_defaults = self.without_defaults(counted, reported)
        report = ""
        if reported.diagnostics:
            report = self.report.part(reported.diagnostics, reported.tree.texts)
        elif self.report.right is not None:
            report = self.report.right(reported.tree.file)
        return FileResult(
            report=report,
            files=1,
            errors=counted.count(ERROR),
            warnings=counted.count(WARNING),
            fixable=sum(found.fix is not None for found in counted.diagnostics),
            rules=tuple([found.rule for found in reported.diagnostics]),
            vm=reported.machine.name if reported.machine else "",
            in_defaults=in_defaults,
        )

    def without_defaults(
        self, counted: Checked, reported: Checked
    ) -> tuple[Checked, Checked, bytes]:
        """Return both checks without the findings wholly in the defaults, and those that are
        reported.
        """
        from vmcfg.commands.found_in_defaults import packed, split

        assert self.defaults is not None
        told = split(reported, self.defaults)
        others = split(counted, self.defaults).others
        return (
            counted._replace(diagnostics=others),
            reported._replace(diagnostics=told.others),
            packed(told.in_defaults),
        )

    def fixed(
        self, path: str, data: bytes, checked: Checked, first: Tree | None = None
    ) -> FileResult:
        """Return the result with every fix: in the file, on standard output, or as a difference."""
        from vmcfg.checking import fixes

        text, left, count = fixes.fixed(data, checked, lambda text: self.check(path, text, first))
        if self.diff:
            # Nothing is written, so all findings count; those without fix are reported.
            difference = fixes.difference(checked.tree.file, data, text, self.for_terminal)
            return self.counted(path, checked, left)._replace(product=difference)
        result = self.counted(path, left, left)._replace(fixed=count)
        if path == "-":
            return result._replace(product=text)
        if count:
            if files.read(path) != data:
                name = printable(checked.tree.file)
                raise files.NoFile(f"cannot fix {name}: it was changed at the same time")
            from vmcfg.writing import write

            write(path, text)
        return result


class SharedNames:
    """The names of the VMs of a run so far, each with the path of its first file."""

    __slots__ = ("_first", "file_check")

    def __init__(self, file_check: FileCheck) -> None:
        self.file_check = file_check
        self._first: dict[str, str] = {}

    def earlier(self, path: str, vm: str) -> str | None:
        """Return the path of an earlier file with a VM of the name `vm`; None if there is none."""
        first = self._first.setdefault(vm, path) if vm else path
        if first == path:
            return None
        # Only files can be read again: a name in a pipe or in standard input is that of no file.
        if not os.path.isfile(first):
            self._first[vm] = path
            return None
        return first if os.path.isfile(path) else None

    def compared(self, path: str, result: FileResult) -> FileResult:
        """Return `result` of the file at `path`, with a finding if an earlier VM has its name."""
        first = self.earlier(path, result.vm)
        if first is None:
            return result
        again = self.file_check.result(path, same_name=first)
        # The second check does not find again what the first one has fixed.
        return again._replace(fixed=again.fixed + result.fixed)
