"""vmcfg in a process of its own, without the start of an interpreter.

A fork of this process has its own directory, environment, and standard streams, and ends as
`python -m vmcfg` does; it takes a quarter of the time. What depends on the start itself, such as
closed descriptors or variables of Python, needs a new interpreter.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

from vmcfg import __main__

PART = 1 << 16


def run_vmcfg(
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
) -> CompletedProcess[bytes]:
    """Return the exit code, the output, and the errors of vmcfg with these arguments."""
    with tempfile.TemporaryFile() as given:
        given.write(input or b"")
        given.seek(0)
        output, of_child = os.pipe()
        errors, errors_of_child = os.pipe()
        with warnings.catch_warnings():
            # Newer interpreters warn of the threads of pytest-xdist, which the child never uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _become_vmcfg(arguments, cwd, env, (given.fileno(), of_child, errors_of_child))
    os.close(of_child)
    os.close(errors_of_child)
    try:
        printed = _read(output, errors)
        _, status = os.waitpid(child, 0)
    except BaseException:
        # The time of the test is over.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return CompletedProcess(list(arguments), os.waitstatus_to_exitcode(status), *printed)


def run_vmcfg_as_text(
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str = "",
) -> CompletedProcess[str]:
    """Return the same with text in UTF-8."""
    done = run_vmcfg(arguments, cwd=cwd, env=env, input=input.encode())
    return CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _become_vmcfg(
    arguments: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    streams: Sequence[int],
) -> NoReturn:
    """Run vmcfg in this process and end it."""
    code: object = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.stdin = os.fdopen(0, encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        if cwd is not None:
            os.chdir(cwd)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        sys.argv = ["vmcfg", *arguments]
        __main__.main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _read(*descriptors: int) -> list[bytes]:
    """Return what is written to some pipes until they are closed; close them."""
    parts: dict[int, list[bytes]] = {each: [] for each in descriptors}
    with selectors.DefaultSelector() as waiting:
        for each in descriptors:
            waiting.register(each, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                part = os.read(key.fd, PART)
                if part:
                    parts[key.fd].append(part)
                else:
                    waiting.unregister(key.fd)
                    os.close(key.fd)
    return [b"".join(each) for each in parts.values()]
