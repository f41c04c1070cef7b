"""Kernel images for arm64: recognized, unpacked, and their version.

In: the path of an image or of a kernel tree. Out: the image as QEMU takes it, uncompressed.
"""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import NamedTuple

from vmcfg.escape import printable
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.version import release_of

IN_TREE = "arch/arm64/boot/Image"
"""The image in a directory where Linux was compiled."""

_BANNER = re.compile(rb"Linux version ([0-9]+\.[0-9]+\S*) \([^\n]*?(#[0-9][^\n]*)\n")


class KernelImage(NamedTuple):
    """An uncompressed image (Linux 7.2, Documentation/arch/arm64/booting.rst) and its version."""

    name: str
    content: bytes
    release: str


def kernel_image(path: str) -> KernelImage:
    """Return the image at `path`. Raises `NoKvm` if it cannot be read or is not for arm64."""
    where = Path(path)
    if where.is_dir():
        where = where / IN_TREE
    name = printable(str(where))
    try:
        content = where.read_bytes()
    except OSError as error:
        raise NoKvm(f"cannot read the kernel image {name}: {error.strerror}") from None
    content = _unpacked(content, name)
    if content[0x38:0x3C] != b"ARM\x64":
        raise NoKvm(f"{name} {_what(content)}: an arm64 image such as {IN_TREE} is required")
    banner = _BANNER.search(content)
    if banner is None:
        raise NoKvm(f"{name} contains no version of Linux: it is not a complete kernel image")
    release, version = (each.decode("ascii", "replace") for each in banner.groups())
    return KernelImage(name, content, release_of(release, version))


def _what(content: bytes) -> str:
    """Return what is wrong with a file that is not an image."""
    if content[0x202:0x206] == b"HdrS":
        return "is a kernel for x86"
    if content[:4] == b"\x7fELF":
        return "is an ELF file, such as vmlinux"
    return "is not a kernel image" if content else "is empty"


def _unpacked(content: bytes, name: str) -> bytes:
    """Return an image without the compression of gzip or of EFI zboot (Linux 7.2,
    drivers/firmware/efi/libstub/zboot-header.S). Raises `NoKvm`.
    """
    if content[:2] == b"\x1f\x8b":
        return _decompressed(content, "gzip", name)
    if content[:2] == b"MZ" and content[4:8] == b"zimg":
        start, size = (int.from_bytes(content[at : at + 4], "little") for at in (8, 12))
        method = content[24:56].split(b"\0")[0].decode("ascii", "replace")
        return _decompressed(content[start : start + size], method, name)
    return content


def _decompressed(content: bytes, method: str, name: str) -> bytes:
    try:
        if method == "gzip":
            return zlib.decompressobj(31).decompress(content)
        if method in ("lzma", "xzkern", "xz"):
            return lzma.LZMADecompressor().decompress(content)
        if method in ("zstd", "zstd22") and (program := shutil.which("zstd")):
            done = subprocess.run([program, "-dcq"], input=content, capture_output=True)
            return done.stdout
    except (zlib.error, lzma.LZMAError) as error:
        raise NoKvm(f"{name} is damaged: its {method} data cannot be unpacked: {error}") from None
    raise NoKvm(
        f"{name} is compressed with {printable(method)}, which cannot be unpacked here: use the"
        f" uncompressed {IN_TREE}"
    )
