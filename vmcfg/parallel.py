"""One function over many items on several CPUs, with the results in the order of the items.

Each of n forked worker processes handles every n-th chunk of items and writes its results to its
own pipe. Reading the pipes in turn returns the results in order. A pipe buffers little: a worker
that is ahead waits, and memory does not grow with the number of items. Workers end with their
parent: at its end, at an interrupt, or by SIGPIPE if it is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")

CHUNK = 16
"""The number of items that a worker handles at a time."""

WORTH_A_WORKER = 32
"""The number of items per worker below which starting it costs more than it saves."""

HEADER = 4
"""The number of bytes of the length of a chunk."""


def cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results(
    work: Callable[[Item], tuple[Any, ...]], items: Sequence[Item], jobs: int
) -> Generator[tuple[Any, ...], None, None]:
    """Return ``work(item)`` for `items`, in order, from at most `jobs` processes, or from this one.

    Results are tuples of numbers, texts, and None. An exception of `work` is raised after the
    results before it; in a worker, it becomes a RuntimeError with its text.
    """
    count = min(jobs, len(items) // WORTH_A_WORKER)
    if count < 2 or not hasattr(os, "fork"):
        yield from map(work, items)
        return
    import marshal

    workers: dict[int, Any] = {}
    """The read end of the pipe of each worker, by process id."""
    try:
        for number in range(count):
            # Delay interrupts until the parent has stored the worker, and the worker has started.
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
                raise ChildProcessError("a worker process ended before its work was complete")
            found, failure = marshal.loads(data)
            yield from found
            if failure is not None:
                raise RuntimeError(failure)
    finally:
        for pid, pipe in workers.items():
            pipe.close()
            with contextlib.suppress(ProcessLookupError):
                # As at an interrupt, the worker removes its temporary files.
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
    """Return a process for every `count`-th chunk of `items` from `number`, and its pipe."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(read)
            for other in others:
                # If it stayed open here, the writer of the pipe would not notice a dead reader.
                os.close(other.fileno())
            _work(work, items, number, count, write)
        finally:
            # In every case: no exit handler of the parent may run here.
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
