"""The directory of `vmcfg emit -o DIRECTORY/`: the file of each description, and the list of what
vmcfg wrote there.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from vmcfg import files, writing
from vmcfg.commands.emission import Run
from vmcfg.escape import printable

LIST = ".vmcfg-emit.json"
"""The name of the list in its directory."""

NAME, VERSION = "vmcfg.emitted", "1.0"


class Target(NamedTuple):
    """A description at `path`, its name in what is emitted, and the file for it.

    `name` and `file` are relative: to the PATH argument, and to the directory of -o.
    """

    path: str
    name: str
    file: str


def targets(run: Run, unreadable: Callable[[files.NoFile], None], suffix: str) -> list[Target]:
    """Return the descriptions of a run, each once, in the order of their names."""
    found: dict[str, Target] = {}
    for path in run.paths:
        below = files.descriptions([path], run.excluded, unreadable)
        for each in files.without(below, run.defaults_path):
            if path == "-":
                name = os.path.basename(run.stdin_filename)
            else:
                name = os.path.relpath(each, path) if each != path else os.path.basename(each)
            target = Target(each, name, _file(name, suffix))
            found.setdefault(each if each == "-" else os.path.normpath(each), target)
    return sorted(found.values())


def name_of_defaults(run: Run) -> str:
    """Return the name of the defaults in what is emitted: their path below a PATH argument, or the
    name of the file; empty without defaults.
    """
    if run.defaults_path is None:
        return ""
    path = os.path.abspath(run.defaults_path)
    for folder in filter(os.path.isdir, run.paths):
        below = os.path.relpath(path, folder)
        if not below.startswith(os.path.join(os.pardir, "")):
            return files.name_of(below)
    return files.name_of(os.path.basename(path))


def _file(name: str, suffix: str) -> str:
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    return f"{stem}.{suffix}"


def conflict(every: Sequence[Target], folder: str) -> str | None:
    """Return why two descriptions cannot both be written to `folder`; None if they all can."""
    first: dict[str, Target] = {}
    for target in every:
        other = first.setdefault(target.file, target)
        if other is not target:
            return f"{_both(other, target)} would be written to {_shown(folder, target.file)}."
    for target in every:
        for parent in _parents(target.file):
            if parent in first:
                both = _both(first[parent], target)
                shown = _shown(folder, parent)
                return f"{both} require {shown} as a file and as a directory."
    return None


def _both(one: Target, other: Target) -> str:
    return " and ".join(printable(files.name_of(each.path)) for each in (one, other))


def _shown(folder: str, file: str) -> str:
    return printable(files.name_of(os.path.join(folder, file)))


def _parents(file: str) -> Iterator[str]:
    while file := os.path.dirname(file):
        yield file


class EmittedFolder:
    """The files in `folder` that vmcfg wrote, each with its format.

    Raises `NoFile` if the list of them cannot be read.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, LIST)
        self.formats: dict[tuple[str, str], None] = dict.fromkeys(self._listed())
        """Pairs of a file and its format."""

    def _listed(self) -> list[tuple[str, str]]:
        if not os.path.lexists(self.path):
            return []
        try:
            listed = json.loads(files.read(self.path))
            assert listed["format"] == NAME
            pairs = [(_inside(each["file"]), str(each["format"])) for each in listed["files"]]
        except (ValueError, TypeError, LookupError, AssertionError, RecursionError):
            name = printable(files.name_of(self.path))
            raise files.NoFile(
                f"{name} is not a list that vmcfg wrote: remove it, and run 'vmcfg emit' again"
            ) from None
        return pairs

    def left_over(self, every: Sequence[Target], format_: str) -> list[str]:
        """Return the files of this format that exist, and that no description produces."""
        produced = {target.file for target in every}
        return sorted(
            file
            for file, its_format in self.formats
            if its_format == format_ and file not in produced and self._exists(file)
        )

    def _exists(self, file: str) -> bool:
        return os.path.isfile(os.path.join(self.folder, file))

    def add(self, every: Iterable[Target], format_: str) -> None:
        """Add files to the list and save it: before they are written, so that it has all of them
        even if the run is interrupted. Raises `NoFile`.
        """
        kept = {pair: None for pair in self.formats if self._exists(pair[0])}
        self.formats = kept | {(target.file, format_): None for target in every}
        self._save()

    def remove(self, left_over: Iterable[str], format_: str) -> None:
        """Remove files, and the directories that are then empty. Raises `NoFile`."""
        for file in left_over:
            try:
                os.unlink(os.path.join(self.folder, file))
            except OSError as error:
                shown = _shown(self.folder, file)
                raise files.NoFile(f"cannot remove {shown}: {error.strerror}") from None
            for parent in _parents(file):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(self.folder, parent))
            del self.formats[file, format_]
        self._save()

    def _save(self) -> None:
        lines = ",\n".join(
            json.dumps({"file": files.name_of(file), "format": format_}, ensure_ascii=True)
            for file, format_ in sorted(self.formats)
        )
        inner = f"[\n{lines}\n]" if lines else "[]"
        text = f'{{"format": "{NAME}", "format_version": "{VERSION}", "files": {inner}}}\n'
        data = text.encode()
        if not files.contains(self.path, data):
            writing.write(self.path, data)


def _inside(name: Any) -> str:
    """Return the relative path of a name in the list. Raises `ValueError` if it leads outside."""
    file = os.fsdecode(name.encode("utf-8", "surrogateescape"))
    steps = file.split("/")
    if os.path.isabs(file) or any(step in ("", ".", "..") for step in steps) or "\0" in file:
        raise ValueError(file)
    return file
