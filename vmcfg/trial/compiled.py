"""The performer, compiled once for arm64 with the compiler of the user and kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from vmcfg import files, writing
from vmcfg.kernel.ioctls import NoKvm

SOURCE = Path(__file__).with_name("performer.c")

FLAGS = (
    "-std=c11",
    "-O1",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-pic",
    "-static",
    "-nostdlib",
)

COMPILERS = (
    "aarch64-linux-gnu-gcc",
    "clang --target=aarch64-linux-gnu -fuse-ld=lld",
    "gcc",
)
"""Compilers that are tried after $CC; the last one is for arm64 hosts."""

_MACHINE = slice(18, 20)
_ARM64 = (183).to_bytes(2, "little")


def performer() -> bytes:
    """Return the program. Raises `NoKvm` if there is no compiler for arm64."""
    source = SOURCE.read_bytes()
    chosen = os.environ.get("CC", "")
    key = hashlib.sha256(b"\0".join([source, chosen.encode(), *map(str.encode, FLAGS)]))
    kept = _cache() / f"performer-{key.hexdigest()[:16]}"
    try:
        program = kept.read_bytes()
    except OSError:
        program = b""
    if _is_for_arm64(program):
        return program
    program = _compiled(chosen)
    _keep(kept, program)
    return program


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vmcfg")


def _keep(path: Path, program: bytes) -> None:
    """Store the program, completely or not at all. Without a cache, it is compiled every time."""
    with contextlib.suppress(OSError, files.NoFile):
        path.parent.mkdir(parents=True, exist_ok=True)
        writing.write(str(path), program)


def _compiled(chosen: str) -> bytes:
    compilers = (*((chosen,) if chosen else ()), *COMPILERS)
    reasons = []
    for compiler in compilers:
        try:
            words = shlex.split(compiler)
        except ValueError:
            words = []
        if not words or shutil.which(words[0]) is None:
            continue
        with tempfile.TemporaryDirectory(prefix="vmcfg-") as folder:
            made = Path(folder, "performer")
            command = [*words, *FLAGS, "-o", str(made), str(SOURCE)]
            try:
                done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
            except OSError as error:
                reasons.append(f"{words[0]}: {error.strerror}")
                continue
            program = made.read_bytes() if made.exists() else b""
        if _is_for_arm64(program):
            return program
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reasons.append(
            f"{words[0]} does not make programs for arm64{f' ({said[-1]})' if said else ''}"
        )
    tried = f": {'; '.join(reasons)}" if reasons else ""
    raise NoKvm(
        f"there is no C compiler for arm64{tried}; install gcc-aarch64-linux-gnu, or clang and lld"
    )


def _is_for_arm64(program: bytes) -> bool:
    return program[:4] == b"\x7fELF" and program[_MACHINE] == _ARM64
