"""A command and everything that it starts, traced until the last of it has ended.

In: a command, and the ioctls at which it is stopped. Out: each of these calls, in the order in
which they return, to a `Watcher`. Unknown here: KVM, and what the ioctls mean.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Sequence, Set
from typing import Protocol

from vmcfg.monitors import ptrace


class NotTraced(Exception):
    """The command could not be run or traced; the text is one sentence with the reason."""


class Call:
    """An ioctl of a thread, which has not returned yet, or has returned `result`.

    `note` is for the watcher.
    """

    __slots__ = (
        "_memory",
        "argument",
        "descriptor",
        "note",
        "process",
        "request",
        "result",
        "thread",
    )

    def __init__(
        self, thread: int, process: int, entry: ptrace.Entry, memory: ptrace.Memory
    ) -> None:
        self.thread = thread
        self.process = process
        self._memory = memory
        descriptor, request, self.argument = entry.arguments[:3]
        # The kernel reads both as 32 bits.
        self.descriptor = descriptor & 0xFFFFFFFF
        self.request = request & 0xFFFFFFFF
        self.result = 0
        self.note: object = None

    def memory(self, address: int, size: int) -> bytes:
        """Return memory of the thread, which must be stopped. Raises `OSError`."""
        return self._memory.read(address, size)


class Watcher(Protocol):
    """What is called while a command is traced. Processes and threads are numbers of the kernel."""

    def started(self) -> None:
        """Note that the command runs. The first instruction is still to come."""

    def entered(self, call: Call) -> bool:
        """Note a call that a thread is about to make. Return whether to wait for its result."""

    def returned(self, call: Call) -> None:
        """Note the result of a call."""

    def duplicated(self, process: int, old: int, new: int) -> None:
        """Note that the descriptor `new` of a process is now the same file as `old`."""

    def forked(self, parent: int, child: int) -> None:
        """Note that a process has started another one, which has the same descriptors."""

    def executed(self, process: int, descriptors: set[int]) -> None:
        """Note that a process runs another program, with only these descriptors still open."""

    def warned(self, text: str) -> None:
        """Note a sentence about what is not recorded, and why."""


_NOT_FORWARDED = {
    signal.SIGCHLD,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGPIPE,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
}
"""Signals that are about this process, or that the command gets from the terminal, too."""

_STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)

_WALL = 0x40000000
"""__WALL of <linux/wait.h>: threads, too."""

_RESTARTED = range(512, 517)
"""ERESTARTSYS and its kin: a signal interrupted the call, which the kernel then makes again."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores from its start on, which its children would inherit."""


def trace(command: Sequence[str], requests: Sequence[int], watcher: Watcher) -> int:
    """Run a command, and return its exit code: 128 and the signal if it was killed.

    It is stopped only at the ioctls `requests`, and where it duplicates descriptors. Signals to
    this process go to the command. Raises `NotTraced`, and what `watcher.started` raises.
    """
    machine = os.uname().machine
    if machine not in ptrace.ABIS:
        raise NotTraced(
            f"programs can be recorded on arm64 and x86-64, and this machine is {machine}"
        )
    blocked = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    handled = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        return _Tracer(ptrace.ABIS[machine], watcher).run(command, requests, before)
    finally:
        # Signals that came too late for the command are not for this process either.
        while signal.sigtimedwait(blocked, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, handled)


class _Tracer:
    """The processes of one command."""

    def __init__(self, abi: ptrace.Abi, watcher: Watcher) -> None:
        self.abi = abi
        self.watcher = watcher
        self.command = 0
        """The process of the command itself."""
        self.has_started = False
        self.exit_code: int | None = None
        self.threads: dict[int, int] = {}
        """Every traced thread, with its process."""
        self.memories: dict[int, ptrace.Memory] = {}
        """The memory of each process."""
        self.calls: dict[int, Call] = {}
        """The ioctls that have not returned, by thread."""
        self.duplications: dict[int, int] = {}
        """The descriptors that are being duplicated, by thread."""
        self.gave_up_privileges = False
        self.warned: set[str] = set()
        self.is_stopped = False
        """Whether the command is stopped, as after Ctrl-Z."""
        self.shall_stop = False

    def run(self, command: Sequence[str], requests: Sequence[int], mask: Set[int]) -> int:
        program = ptrace.filter_program(self.abi, requests)
        go, errors = os.pipe(), os.pipe()
        self.command = os.fork()
        if self.command == 0:
            _become(command, program, go, errors, mask)
        os.close(go[0])
        os.close(errors[1])
        try:
            self._begin(go[1])
            self._follow()
            problem = os.read(errors[0], 4096).decode()
        finally:
            os.close(errors[0])
        if not self.has_started:
            raise NotTraced(problem or "the command ended before it ran")
        return 0 if self.exit_code is None else self.exit_code

    def _begin(self, go: int) -> None:
        """Trace the new process, which waits for the end of the pipe `go`."""
        try:
            ptrace.seize(self.command)
        except OSError as error:
            os.kill(self.command, signal.SIGKILL)
            os.waitpid(self.command, 0)
            raise NotTraced(
                "this system does not allow vmcfg to trace the command (ptrace:"
                f" {error.strerror}): in a container, allow ptrace; elsewhere, the sysctl"
                " kernel.yama.ptrace_scope must not be 3"
            ) from None
        finally:
            os.close(go)
        self.threads[self.command] = self.command

    def _follow(self) -> None:
        """Handle every stop until no traced thread is left."""
        waited_for = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        while self.threads:
            try:
                thread, status = os.waitpid(-1, _WALL | os.WNOHANG)
            except ChildProcessError:
                break
            if thread == 0:
                self._signaled(signal.sigwaitinfo(waited_for))
            elif os.WIFSTOPPED(status):
                # A thread that was killed meanwhile cannot be asked, and reports its end.
                with contextlib.suppress(ProcessLookupError):
                    self._stopped(thread, status)
            else:
                self._ended(thread, status)

    # Signals ----------------------------------------------------------------------------------

    def _signaled(self, info: signal.struct_siginfo) -> None:
        """Handle a signal to this process."""
        number = info.si_signo
        if number == signal.SIGCHLD:
            return
        if number in _STOPPING:
            self.shall_stop = True
            self._stop_too()
        elif number not in _NOT_FORWARDED:
            is_running = self.exit_code is None
            # The terminal sends its signals to the command, too.
            if not (is_running and info.si_code > 0):
                receivers = [self.command] if is_running else set(self.threads.values())
                for process in receivers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, number)
        if number == signal.SIGCONT:
            self.shall_stop = False

    def _stop_too(self) -> None:
        """Stop this process if the terminal stopped it and the command has stopped: the shell waits
        for this process.
        """
        if self.shall_stop and self.is_stopped:
            self.shall_stop = False
            self.is_stopped = False
            os.kill(os.getpid(), signal.SIGSTOP)

    # Threads and processes --------------------------------------------------------------------

    def _ended(self, thread: int, status: int) -> None:
        self._forget(thread)
        if thread == self.command:
            killed = os.WIFSIGNALED(status)
            self.exit_code = 128 + os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)

    def _stopped(self, thread: int, status: int) -> None:
        """Handle a stop of a thread, and let it run."""
        if thread not in self.threads:
            self._add(thread)
        number, event = os.WSTOPSIG(status), status >> 16
        if number == ptrace.SYSCALL_STOP:
            self._returned(thread)
        elif event == ptrace.SECCOMP:
            self._entered(thread)
        elif event == ptrace.STOP and number in _STOPPING:
            ptrace.stay_stopped(thread)
            if thread == self.command:
                self.is_stopped = True
                self._stop_too()
        elif event:
            if event in (ptrace.FORK, ptrace.VFORK, ptrace.CLONE):
                self._add(ptrace.event_message(thread))
            elif event == ptrace.EXEC:
                self._executed(thread)
            self._resume(thread)
        else:
            self._resume(thread, number)

    def _resume(self, thread: int, number: int = 0) -> None:
        """Let a thread run on: until its call returns, if it is in one."""
        if number == 0 and (thread in self.calls or thread in self.duplications):
            ptrace.go_on_to_return(thread)
        else:
            ptrace.go_on(thread, number)

    def _add(self, thread: int) -> None:
        """Add a new thread, or the first thread of a new process."""
        if thread in self.threads:
            return
        told = _status(thread)
        process, parent = int(told.get("Tgid", thread)), int(told.get("PPid", 0))
        is_new = process not in self.threads.values()
        self.threads[thread] = process
        if is_new:
            self.watcher.forked(parent, process)

    def _executed(self, process: int) -> None:
        """Note that a process runs another program; its other threads are gone."""
        former = ptrace.event_message(process)
        if former != process:
            self._forget(former)
        self._forget(process)
        self.threads[process] = process
        if not self.has_started:
            self.has_started = True
            self.gave_up_privileges = _has_given_up(process) and not _has_given_up(os.getpid())
            try:
                self.watcher.started()
            except BaseException:
                os.kill(process, signal.SIGKILL)
                raise
        self.watcher.executed(process, _open_descriptors(process))
        self._look_at_program(process)

    def _forget(self, thread: int) -> None:
        self.threads.pop(thread, None)
        self.calls.pop(thread, None)
        self.duplications.pop(thread, None)
        memory = self.memories.pop(thread, None)
        if memory is not None:
            memory.close()

    def _memory_of(self, process: int) -> ptrace.Memory:
        return self.memories.setdefault(process, ptrace.Memory(process))

    def _look_at_program(self, process: int) -> None:
        """Warn about a program that cannot be recorded, or that does not work in a record."""
        path = f"/proc/{process}/exe"
        name = _link(path)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                head = os.read(descriptor, 5)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if head == b"\x7fELF\x01":
                self._warn(f"{name} is a 32-bit program: its calls are not recorded")
            if self.gave_up_privileges and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                self._warn(
                    f"{name} is a set-user-ID program, which gets no privileges here: run 'sudo"
                    " vmcfg record' instead"
                )

    def _warn(self, text: str) -> None:
        """Warn once."""
        if text not in self.warned:
            self.warned.add(text)
            self.watcher.warned(text)

    # System calls -----------------------------------------------------------------------------

    def _entered(self, thread: int) -> None:
        """Note the system call at which the filter stopped a thread."""
        entry = ptrace.entry(thread)
        if entry.number == self.abi.ioctl:
            process = self.threads[thread]
            call = Call(thread, process, entry, self._memory_of(process))
            if self.watcher.entered(call):
                self.calls[thread] = call
        else:
            self.duplications[thread] = entry.arguments[0] & 0xFFFFFFFF
        self._resume(thread)

    def _returned(self, thread: int) -> None:
        """Note the result of the system call of a thread."""
        result = ptrace.result(thread)
        call = self.calls.pop(thread, None)
        old = self.duplications.pop(thread, None)
        if call is not None and -result not in _RESTARTED:
            call.result = result
            self.watcher.returned(call)
        if old is not None and result >= 0:
            self.watcher.duplicated(self.threads[thread], old, result)
        ptrace.go_on(thread)


# The child ----------------------------------------------------------------------------------------


def _become(
    command: Sequence[str],
    program: bytes,
    go: tuple[int, int],
    errors: tuple[int, int],
    mask: Set[int],
) -> None:
    """Become the command as soon as this process is traced. Never returns."""
    problem = "cannot install a seccomp filter"
    try:
        os.close(go[1])
        os.read(go[0], 1)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        ptrace.install_filter(program)
        problem = f"cannot run {command[0]}"
        os.execvp(command[0], list(command))
    except OSError as error:
        os.write(errors[1], f"{problem}: {error.strerror}".encode(errors="replace"))
    finally:
        os._exit(127)


# What /proc tells ---------------------------------------------------------------------------------


def _status(thread: int) -> dict[str, str]:
    """Return the lines of /proc/THREAD/status; none if the thread has ended."""
    try:
        descriptor = os.open(f"/proc/{thread}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        text = os.read(descriptor, 1 << 16).decode(errors="replace")
    finally:
        os.close(descriptor)
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _has_given_up(process: int) -> bool:
    """Return whether a process can never gain privileges (PR_SET_NO_NEW_PRIVS)."""
    return _status(process).get("NoNewPrivs") == "1"


def _open_descriptors(process: int) -> set[int]:
    try:
        return {int(name) for name in os.listdir(f"/proc/{process}/fd")}
    except OSError:
        return set()


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "a program"
