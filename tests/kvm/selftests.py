"""The tests of KVM in the source of Linux (tools/testing/selftests/kvm), compiled for arm64."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.kvm import machine, oracle, packages

LIBRARY = (
    *("assert", "elf", "guest_modes", "guest_sprintf", "io", "kvm_util", "memstress", "rbtree"),
    *("sparsebit", "string_override", "test_util", "ucall_common", "userfaultfd_util"),
)
"""The files of the library that are for every architecture."""

WARNINGS = ("-Wall", "-Wno-unknown-pragmas")


class Selftests(NamedTuple):
    """The directory of the tests, the command that compiles one, and the library."""

    folder: Path
    gcc: tuple[str, ...]
    archive: Path

    def program(self, source: Path, target: Path, *warnings: str) -> bytes:
        """Return the program of a source."""
        files = ("-o", str(target), str(source), str(self.archive))
        command = (*self.gcc, *warnings, "-static", "-s", "-pthread", "-no-pie", *files)
        subprocess.run(command, check=True)
        return target.read_bytes()


@cache
def selftests(gcc: str, ar: str, folder: Path) -> Selftests:
    """Return the tests of Debian's newest source of Linux; the library is compiled in `folder`."""
    linux = packages.linux_source()
    every = linux / "tools/testing/selftests"
    kvm = every / "kvm"
    (folder / "asm").mkdir(parents=True)
    tools = linux / "arch/arm64/tools"
    with (folder / "asm/sysreg-defs.h").open("wb") as header:
        generate = ["awk", "-f", str(tools / "gen-sysreg.awk"), str(tools / "sysreg")]
        subprocess.run(generate, stdout=header, check=True)
    include, of_architecture = machine.headers(oracle.kernel("6.12"))
    folders = [
        *(linux / "tools/include", linux / "tools/arch/arm64/include", include, of_architecture),
        *(kvm / "include", kvm / "include/aarch64", kvm / "lib", folder, every),
        every / "rseq",
    ]
    options = ["-std=gnu99", "-O1", "-D_GNU_SOURCE", "-DCONFIG_64BIT", "-fno-PIE"]
    options += ["-fno-stack-protector", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE"]
    command = (gcc, *options, *(f"-I{each}" for each in folders))
    sources = [kvm / f"lib/{name}.c" for name in LIBRARY]
    sources += [each for each in (kvm / "lib/aarch64").iterdir() if each.suffix in (".c", ".S")]
    subprocess.run([*command, "-w", "-c", *map(str, sources)], cwd=folder, check=True)
    archive = folder / "libkvm.a"
    objects = [str(each) for each in folder.glob("*.o")]
    subprocess.run([ar, "rc", str(archive), *objects], check=True)
    return Selftests(kvm / "aarch64", command, archive)
