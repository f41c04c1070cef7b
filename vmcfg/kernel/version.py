"""A kernel's version: compared as two numbers, and the running one's."""

from __future__ import annotations

import os
import re

Version = tuple[int, int]
"""A kernel's version, compared as numbers: 6.10 is later than 6.9."""

LINUX_6_1: Version = (6, 1)
"""The oldest kernel that vmcfg plans for."""

NEVER: Version = (1 << 16, 0)
"""The release that has what was never merged: later than every kernel's version."""


def version_text(version: Version) -> str:
    """A version as it is written: ``6.10``."""
    return f"{version[0]}.{version[1]}"


def version_of(release: str) -> Version:
    """The first two numbers of a kernel's release, such as ``6.12.107``. Raises `ValueError`."""
    major, minor, *_ = release.split(".")
    return int(major), int(minor.partition("-")[0])


def running_release() -> str:
    """The running kernel's release, X.Y.Z. Debian's `uname -r` says only X.Y.0 of some; its version
    says the rest.
    """
    uname = os.uname()
    packaged = re.search(r"\bDebian ([0-9]+\.[0-9]+\.[0-9]+)-", uname.version)
    found = packaged or re.match(r"([0-9]+(?:\.[0-9]+)*)", uname.release)
    return found.group(1) if found else uname.release
