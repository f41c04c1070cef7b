"""What vmcfg prints about its own defects."""

from __future__ import annotations

import os
import sys

TRACEBACK = "VMCFG_TRACEBACK"
"""The environment variable that adds the traceback."""

REPORT = (
    "This is a defect of vmcfg: please report it with the description and the command."
    f" Set {TRACEBACK}=1 to print the traceback."
)


def defect_text(error: BaseException) -> str:
    """Return what to print about an unexpected exception: what failed, and a request to report it.

    With VMCFG_TRACEBACK=1 in the environment, it contains the traceback.
    """
    words = str(error)
    if not words.startswith("internal error"):
        words = f"internal error: {type(error).__name__}: {words} ({' '.join(sys.argv[1:])})"
    text = f"{words}\n{REPORT}"
    if os.environ.get(TRACEBACK) == "1":
        from traceback import format_exception

        text = f"{''.join(format_exception(error))}{text}"
    return text
