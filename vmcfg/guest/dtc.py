"""Device tree sources, compiled by dtc without access to other files."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile

from vmcfg.description.draft import NoDraft
from vmcfg.escape import excerpt

MOST_SECONDS = 20
"""The maximum CPU time of dtc."""

MOST_BYTES = 256 << 20
"""The maximum memory of dtc."""


def blob_of_source(data: bytes) -> bytes:
    """Return the blob of a device tree source. Raises `NoDraft` if it cannot be compiled."""
    _refuse_other_files(data)
    program = shutil.which("dtc")
    if program is None:
        raise NoDraft(
            "a device tree source requires dtc: install the package device-tree-compiler of Debian"
        )
    # A file, because writing to a pipe would end vmcfg if dtc ends first.
    with tempfile.TemporaryFile() as source:
        source.write(data)
        source.seek(0)
        done = subprocess.run(
            [program, "-q", "-I", "dts", "-O", "dtb", "-o", "-", "-"],
            stdin=source,
            capture_output=True,
            preexec_fn=_limit,
            check=False,
        )
    if done.returncode == 0:
        return done.stdout
    if done.returncode < 0:
        raise NoDraft(
            f"dtc requires more than {MOST_SECONDS} s or {MOST_BYTES >> 20} MiB for the device tree"
            " source"
        )
    raise NoDraft(f"dtc rejects the device tree source: {_first_error(done.stderr)}")


def _refuse_other_files(data: bytes) -> None:
    """Raise `NoDraft` if the source includes files: it can be from anywhere."""
    included = re.search(rb"/incbin/|/include/|^[ \t]*#[ \t]*include\b", data, re.MULTILINE)
    if included:
        word = included[0].strip().decode()
        raise NoDraft(
            f"the device tree source includes other files ({word}): compile it with dtc, and import"
            " the blob"
        )


def _limit() -> None:
    """Limit the memory and the CPU time of dtc."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))


def _first_error(written: bytes) -> str:
    """Return the first error of dtc, without the name of the file."""
    lines = written.decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if re.search(r"(?i)error", line)] or lines or ["no reason"]
    return excerpt(re.sub(r"^(?:Error: )?<stdin>:", "line ", errors[0]).strip(), 120)
