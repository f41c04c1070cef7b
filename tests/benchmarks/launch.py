"""One command started, waited for and measured, by a process so small that its own memory doesn't
show in the child's.

Linux counts what the parent held at the time of exec into a child's peak; hence no imports but
these, and `python -S`. Arguments: how many cores the child may use, then its command line. On
descriptor 3: CPU seconds, wall seconds, peak in KiB, exit code.
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
