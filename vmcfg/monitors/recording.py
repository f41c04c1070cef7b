"""A command run and recorded: ``vmcfg record``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from vmcfg.escape import without_surrogates
from vmcfg.files import NoFile
from vmcfg.kernel.host_pmus import host_pmus
from vmcfg.kernel.version import running_release, version_of
from vmcfg.monitors.recorder import REQUESTS, Recorder
from vmcfg.monitors.tracer import Call, trace
from vmcfg.writing import Growing

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def record(
    command: Sequence[str], file: str, all_registers: bool, warn: Callable[[str], None]
) -> tuple[int, bool]:
    """Run a command, write its record to `file`, and return its exit code, and whether the record
    is complete.

    `warn` gets each sentence about what is not recorded. Raises `NotTraced`, and `NoFile` if the
    file cannot be created; the command has then executed nothing.
    """
    recording = _Recording(command, file, all_registers, warn)
    code = trace(command, REQUESTS, recording)
    return code, recording.end()


class _Recording:
    """A record that is being written."""

    def __init__(
        self,
        command: Sequence[str],
        file: str,
        all_registers: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._command = command
        self._file = file
        self._warn = warn
        self._growing: Growing | None = None
        release = running_release()
        self._recorder = Recorder(self._add, version_of(release), all_registers)
        self._release = release
        self.duplicated = self._recorder.duplicated
        self.forked = self._recorder.forked
        self.executed = self._recorder.executed

    def started(self) -> None:
        """Create the file with its header."""
        growing = Growing(self._file)
        growing.add(_line(self._header()))
        self._growing = growing

    def entered(self, call: Call) -> bool:
        """Note a call that is about to be made."""
        return self._recorder.entered(call)

    def returned(self, call: Call) -> None:
        """Write the line of a call."""
        self._recorder.returned(call)

    def warned(self, text: str) -> None:
        """Report a sentence about what is not recorded."""
        self._warn(text)

    def end(self) -> bool:
        """Write the end, and return whether the record is complete."""
        self._add(self._recorder.end())
        if self._growing is None:
            return False
        self._growing.close()
        return True

    def _header(self) -> dict[str, Any]:
        return {
            "op": "record",
            "format": "vmcfg.record",
            "format_version": "1.0",
            "kernel": self._release,
            "machine": os.uname().machine,
            "command": [without_surrogates(word) for word in self._command],
            "pmus": [
                {"name": name, "type": pmu.type, "cpus": pmu.cpus}
                for name, pmu in host_pmus().items()
            ],
        }

    def _add(self, line: dict[str, Any]) -> None:
        """Add a line. If that fails, the command runs on, without a record."""
        if self._growing is None:
            return
        try:
            self._growing.add(_line(line))
        except NoFile as error:
            self._growing.close()
            self._growing = None
            self._warn(f"{error}; the command runs on without a record")


def _line(content: dict[str, Any]) -> bytes:
    return f"{_dumps(content)}\n".encode()
