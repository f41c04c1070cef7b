"""ptrace and seccomp of Linux: the only module that stops other processes.

Every function raises `OSError` with the errno of the kernel. Numbers: <linux/ptrace.h>,
<linux/seccomp.h>, <linux/audit.h>, <linux/filter.h>, and the tables of system calls, Linux 7.3.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Sequence
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


class Abi(NamedTuple):
    """The system calls of one architecture: its number for seccomp, and the numbers of the calls.

    `dup2` is None if the architecture does not have it.
    """

    architecture: int
    ioctl: int
    fcntl: int
    dup: int
    dup2: int | None
    dup3: int


ABIS = {
    "x86_64": Abi(0xC000003E, ioctl=16, fcntl=72, dup=32, dup2=33, dup3=292),
    "aarch64": Abi(0xC00000B7, ioctl=29, fcntl=25, dup=23, dup2=None, dup3=24),
}
"""By the name of the machine in uname."""

F_DUPFD, F_DUPFD_CLOEXEC = 0, 1030
"""The commands of fcntl that duplicate a descriptor."""

_CONT, _SYSCALL, _SEIZE, _LISTEN = 7, 24, 0x4206, 0x4208
_GETEVENTMSG, _GET_SYSCALL_INFO = 0x4201, 0x420E

FORK, VFORK, CLONE, EXEC, SECCOMP, STOP = 1, 2, 3, 4, 7, 128
"""The events of stops, in bits [23:16] of a wait status."""

_OPTIONS = (
    1  # TRACESYSGOOD
    | sum(1 << event for event in (FORK, VFORK, CLONE, EXEC, SECCOMP))
    | 1 << 20  # EXITKILL: without its tracer, every stopped system call would fail with ENOSYS
)

SYSCALL_STOP = signal.SIGTRAP | 0x80
"""The signal of a stop at the return of a system call."""

_INFO_SIZE = 88
"""The size of struct ptrace_syscall_info."""

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39


class Entry(NamedTuple):
    """A system call that a thread is about to make."""

    number: int
    arguments: tuple[int, ...]


def _ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> int:
    result: int = _libc.ptrace(request, thread, address, data)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def seize(process: int) -> None:
    """Trace a process and everything that it will start; it is killed if this process ends."""
    _ptrace(_SEIZE, process, 0, _OPTIONS)


def go_on(thread: int, signal_number: int = 0) -> None:
    """Let a stopped thread run, and deliver a signal to it."""
    _ptrace(_CONT, thread, 0, signal_number)


def go_on_to_return(thread: int) -> None:
    """Let a stopped thread run until its system call returns."""
    _ptrace(_SYSCALL, thread)


def stay_stopped(thread: int) -> None:
    """Leave a thread stopped until SIGCONT, as without a tracer."""
    _ptrace(_LISTEN, thread)


def event_message(thread: int) -> int:
    """Return the message of the event at which a thread is stopped, such as a new thread."""
    message = ctypes.c_ulong()
    _ptrace(_GETEVENTMSG, thread, 0, ctypes.addressof(message))
    return message.value


def _info(thread: int) -> bytes:
    buffer = ctypes.create_string_buffer(_INFO_SIZE)
    _ptrace(_GET_SYSCALL_INFO, thread, _INFO_SIZE, ctypes.addressof(buffer))
    return buffer.raw


def entry(thread: int) -> Entry:
    """Return the system call of a thread that a filter has stopped."""
    number, *arguments = struct.unpack_from("=7Q", _info(thread), 24)
    return Entry(number, tuple(arguments))


def result(thread: int) -> int:
    """Return the result of a system call that has returned: an errno, negated, if it failed."""
    returned: int = struct.unpack_from("=q", _info(thread), 24)[0]
    return returned


class Memory:
    """The memory of a process, as long as it runs the same program."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._descriptor = -1

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes. Raises `OSError`."""
        if self._descriptor < 0:
            path = f"/proc/{self._process}/mem"
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            read = os.pread(self._descriptor, size, address)
        except OverflowError:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from None
        if len(read) < size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read

    def close(self) -> None:
        """Release the memory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


# The filter ---------------------------------------------------------------------------------------

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
"""Instructions of BPF: load a word of struct seccomp_data, jump if it is equal, return."""

_NUMBER, _ARCHITECTURE, _SECOND = 0, 4, 24
"""Offsets in struct seccomp_data: the system call, its ABI, and the low word of its second
argument.
"""

_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000


class _Instruction(NamedTuple):
    code: int
    if_equal: int
    otherwise: int
    value: int


def filter_program(abi: Abi, requests: Sequence[int]) -> bytes:
    """Return a filter that stops a thread only at the ioctls `requests` and where a descriptor is
    duplicated, and leaves programs of other ABIs alone.
    """
    always = [abi.dup, abi.dup3, *([] if abi.dup2 is None else [abi.dup2])]
    program = [
        _Instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _Instruction(_EQUAL, 1, 0, abi.architecture),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_LOAD, 0, 0, _NUMBER),
        *_if_second(abi.ioctl, requests),
        *_if_second(abi.fcntl, (F_DUPFD, F_DUPFD_CLOEXEC)),
        *_if_equal(always),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in program)


def _if_second(number: int, values: Sequence[int]) -> list[_Instruction]:
    """Return instructions that stop a system call with one of `values` as second argument."""
    inner = [
        _Instruction(_LOAD, 0, 0, _SECOND),
        *_if_equal(values),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    ]
    return [_Instruction(_EQUAL, 0, len(inner), number), *inner]


def _if_equal(values: Sequence[int]) -> list[_Instruction]:
    """Return instructions that stop the thread if the loaded word is one of `values`."""
    jumps = [
        _Instruction(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)
    ]
    # Without a match, the last jump falls through to a jump over the return.
    return [*jumps, _Instruction(0x05, 0, 0, 1), _Instruction(_RETURN, 0, 0, _TRACE)]


def install_filter(program: bytes) -> None:
    """Install a filter in this process, which its children inherit.

    Without the privilege to do so, this process gives up gaining privileges from set-user-ID
    programs.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    argument = ctypes.create_string_buffer(head, len(head))
    if _installs(argument):
        return
    if ctypes.get_errno() == errno.EACCES:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _installs(argument):
            return
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _installs(argument: ctypes.Array[ctypes.c_char]) -> bool:
    address = ctypes.addressof(argument)
    result: int = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0)
    return result == 0
