"""Kernel versions, compared as two numbers, and the version of the running kernel."""

from __future__ import annotations

import os
import re

Version = tuple[int, int]
"""A kernel version, compared as numbers: 6.10 is later than 6.9."""

LINUX_6_1: Version = (6, 1)
"""The oldest kernel that vmcfg supports."""

NEVER: Version = (1 << 16, 0)
"""The version of what was never merged: later than every release."""


def version_text(version: Version) -> str:
    """Return the text of a version: ``6.10``."""
    return f"{version[0]}.{version[1]}"


def version_of(release: str) -> Version:
    """Return the first two numbers of a release such as ``6.12.107``. Raises `ValueError`."""
    major, minor, *_ = release.split(".")
    return int(major), int(minor.partition("-")[0])


def running_release() -> str:
    """Return the release of the running kernel, X.Y.Z.

    On Debian, `uname -r` of some kernels is X.Y.0: the version string then contains X.Y.Z.
    """
    uname = os.uname()
    packaged = re.search(r"\bDebian ([0-9]+\.[0-9]+\.[0-9]+)-", uname.version)
    found = packaged or re.match(r"([0-9]+(?:\.[0-9]+)*)", uname.release)
    return found.group(1) if found else uname.release
