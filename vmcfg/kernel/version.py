"""Kernel versions, compared as two numbers, and the version of the running kernel."""

from __future__ import annotations

import os
import re
import typing

# Python 3.7, which executes this in probe --script, cannot subscript `tuple`.
Version = typing.Tuple[int, int]  # noqa: UP006
"""A kernel version, compared as numbers: 6.10 is later than 6.9."""

LINUX_6_1: Version = (6, 1)
"""The oldest kernel that vmcfg supports."""

NEWEST: Version = (7, 3)
"""The newest kernel that vmcfg was tested with."""

LAST_OF_6: Version = (6, 19)
"""The last release before 7.0."""

NEVER: Version = (1 << 16, 0)
"""The version of what was never merged: later than every release."""


def version_text(version: Version) -> str:
    """Return the text of a version: ``6.10``."""
    return f"{version[0]}.{version[1]}"


def unknown_release(version: Version) -> str | None:
    """Return one sentence on a version of which no release is known; None for all others."""
    if version > NEWEST:
        return (
            f"Linux {version_text(version)} is newer than {version_text(NEWEST)}, the newest kernel"
            " that vmcfg was tested with."
        )
    if LAST_OF_6 < version < (7, 0):
        return (
            f"Linux {version_text(version)} does not exist: {version_text(LAST_OF_6)} is the last"
            " release before 7.0."
        )
    return None


def version_of(release: str) -> Version:
    """Return the first two numbers of a release such as ``6.12.107``. Raises `ValueError`."""
    major, minor, *_ = release.split(".")
    return int(major), int(minor.partition("-")[0])


def running_release() -> str:
    """Return the release of the running kernel, X.Y.Z.

    On Debian, `uname -r` of some kernels is X.Y.0: the version string then contains X.Y.Z.
    """
    uname = os.uname()
    return release_of(uname.release, uname.version)


def release_of(release: str, version: str) -> str:
    """Return X.Y.Z of a kernel with these two strings of uname()."""
    packaged = re.search(r"\bDebian ([0-9]+\.[0-9]+\.[0-9]+)-", version)
    found = packaged or re.match(r"([0-9]+(?:\.[0-9]+)*)", release)
    return found.group(1) if found else release
