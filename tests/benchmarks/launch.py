"""Start one command, wait for it, and measure it, in a process that is so small that its memory
does not affect the peak of the child.

Linux includes the memory of the parent at the time of exec in the peak of a child. Therefore, this
program imports only these modules, and runs with `python -S`. Arguments: the number of cores for
the child, then its command line. Output on descriptor 3: CPU seconds, wall seconds, peak in KiB,
exit code.
"""

import os
import sys
import time

cores, *argv = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
began = time.perf_counter()
pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, 3)])
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - began
cpu = usage.ru_utime + usage.ru_stime
told = f"{cpu} {wall} {usage.ru_maxrss} {os.waitstatus_to_exitcode(status)}"
os.write(3, told.encode())
