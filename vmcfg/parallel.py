"""One function over many items, on several cores, with its results in the items' order.

Worker processes are forked, take every n-th chunk of the items, and write what they found to a pipe
of their own; who reads the pipes in turn has the results in order. A pipe holds little, so a worker
that is ahead waits, and memory does not grow with the number of items. Workers end with whoever
started them: at the end, at an interrupt, and by SIGPIPE where that one is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")

CHUNK = 16
"""How many items a worker takes at a time."""

WORTH_A_WORKER = 32
"""So many items a worker there must be, or starting one costs more than it saves."""

HEADER = 4
"""Bytes of a chunk's length."""


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results(
    work: Callable[[Item], tuple[Any, ...]], items: Sequence[Item], jobs: int
) -> Generator[tuple[Any, ...], None, None]:
    """``work(item)`` for each of `items`, in their order, by at most `jobs` processes; few items
    are done by this one.

    Results are tuples of numbers, texts and None. An exception of `work` comes after the results
    before it; a worker's is a RuntimeError that names it.
    """
    count = min(jobs, len(items) // WORTH_A_WORKER)
    if count < 2 or not hasattr(os, "fork"):
        yield from map(work, items)
        return
    import marshal

    workers: dict[int, Any] = {}
    """The read end of each worker's pipe, by its process."""
    try:
        for number in range(count):
            # An interrupt waits until a worker is known here, and in the worker until it knows that
            # it is one.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            pid, pipe = _started(work, items, number, count, list(workers.values()), before)
            workers[pid] = pipe
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        pids = list(workers)
        for chunk in range(-(-len(items) // CHUNK)):
            pid = pids[chunk % count]
            pipe = workers[pid]
            size = int.from_bytes(pipe.read(HEADER), "little")
            data = pipe.read(size)
            if not size or len(data) != size:
                raise ChildProcessError("a worker process was ended before its work was")
            found, failure = marshal.loads(data)
            yield from found
            if failure is not None:
                raise RuntimeError(failure)
    finally:
        for pid, pipe in workers.items():
            pipe.close()
            with contextlib.suppress(ProcessLookupError):
                # As by an interrupt: what it is writing is cleared away.
                os.kill(pid, signal.SIGINT)
        for pid in workers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _started(
    work: Callable[[Item], tuple[Any, ...]],
    items: Sequence[Item],
    number: int,
    count: int,
    others: Sequence[Any],
    mask: Any,
) -> tuple[int, Any]:
    """The process that does every `count`-th chunk of `items` from `number` on, and the pipe that
    it writes to.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(read)
            for other in others:
                # Held open here, a pipe would outlive its reader, and its writer would never know.
                os.close(other.fileno())
            _work(work, items, number, count, write)
        finally:
            # Whatever happened: nothing of what this process was copied from may run here.
            os._exit(0)
    os.close(write)
    return pid, os.fdopen(read, "rb")


def _work(
    work: Callable[[Item], tuple[Any, ...]],
    items: Sequence[Item],
    number: int,
    count: int,
    pipe: int,
) -> None:
    import marshal

    for start in range(number * CHUNK, len(items), count * CHUNK):
        found: list[tuple[Any, ...]] = []
        failure = None
        try:
            found.extend(map(work, items[start : start + CHUNK]))
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        data = marshal.dumps((found, failure))
        view = memoryview(len(data).to_bytes(HEADER, "little") + data)
        while view:
            view = view[os.write(pipe, view) :]
        if failure is not None:
            return
