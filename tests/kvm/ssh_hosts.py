"""Booted arm64 kernels with KVM as hosts that ssh reaches: OpenSSH here, Dropbear there.

A host has Python 3.11 of Debian 12, and python3.7, which is PyPy of Debian 11: no Debian that can
still be fetched has CPython 3.7. It has nothing of vmcfg.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.kvm import machine, packages

HOSTS = {"kvm-1": "6.1", "kvm-2": "6.12", "kvm-3": "7.2"}
"""The hosts of fleet/inventory.yml, and the kernels that they have in the tests."""

SUITE = machine.BASE_SUITE
PACKAGES = ("dropbear-bin", "libtomcrypt1", "libtommath1", "libgmp10", "libtinfo6")
MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
)
"""The modules of a network card, in the order in which they are loaded. Some kernels contain the
first ones.
"""

START = """\
for module in /modules/*; do insmod "$module"; done
ifconfig lo 127.0.0.1
ifconfig eth0 10.0.2.15 netmask 255.255.255.0
mkdir -p /dev/pts /etc/dropbear /tmp
mount -t devpts devpts /dev/pts
chmod 700 /root /root/.ssh
dropbearkey -t ed25519 -f /etc/dropbear/key
exec /usr/sbin/dropbear -E -F -s -r /etc/dropbear/key -p 22
"""

PYTHON_3_7 = """\
#!/bin/sh
exec /usr/lib/pypy3/bin/pypy3-c --jit off "$@"
"""
"""Code of a just-in-time compiler is slow in emulation."""

SECONDS = 240
"""The maximum time until a host accepts a connection."""


class Host(NamedTuple):
    """A host: its kernel, the port of this machine that is its port 22, and the private key."""

    kernel: machine.Kernel
    port: int
    key: Path

    def options(self) -> list[str]:
        """Return the options of ssh with which it needs no configuration and no known hosts."""
        return [
            *("-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR", "-o", "BatchMode=yes"),
        ]

    def ssh(self, command: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
        """Return the result of a command on the host."""
        address = ["-p", str(self.port), "root@127.0.0.1", command]
        return subprocess.run(
            ["ssh", *self.options(), *address],
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={"PATH": os.environ["PATH"]},
        )


@contextlib.contextmanager
def booted(kernel: machine.Kernel, folder: Path) -> Iterator[Host]:
    """Boot a kernel as a host, and wait until it accepts connections. Its key is in `folder`."""
    key = folder / f"key-{kernel.series}"
    create = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(key)]
    subprocess.run(create, check=True, stdin=subprocess.DEVNULL)
    port = _free_port()
    tree = dict(_programs()) | _modules(kernel)
    tree["/root/.ssh/authorized_keys"] = key.with_suffix(key.suffix + ".pub").read_bytes()
    tree["/etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\n"
    tree["/etc/group"] = b"root:x:0:\n"
    with machine.serving(kernel, tree, ["sh", "-c", START], port) as guest:
        host = Host(kernel, port, key)
        _wait(host, guest)
        yield host


def _wait(host: Host, guest: machine.Serving) -> None:
    deadline = time.monotonic() + SECONDS
    while (done := host.ssh("true")).returncode != 0:
        if guest.process.poll() is not None or time.monotonic() > deadline:
            raise guest.explain(f"kernel {host.kernel} is not reached: {done.stderr.strip()}")
        time.sleep(1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@cache
def _programs() -> Mapping[str, bytes]:
    """Return Dropbear and Python 3.7, by their paths on a host."""
    files = {"/usr/bin/python3.7": PYTHON_3_7.encode()}
    for name in PACKAGES:
        files |= _files_of(SUITE, name, r"^(usr/)?(s?bin|lib)/")
    for name in ("pypy3", "pypy3-lib"):
        files |= _files_of("bullseye", name, r"^usr/lib/pypy3/(?!.*/test/)")
    return files | _files_of("bullseye", "libffi7", r"/libffi\.so\.7\.")


def _files_of(suite: str, name: str, pattern: str) -> dict[str, bytes]:
    """Return the files of a package, each library by the name that programs ask for: libz.so.1."""
    root = packages.files_of(suite, "arm64", name, pattern).root
    return {
        re.sub(r"(\.so\.[0-9]+)\.[0-9.]+$", r"\1", f"/{path.relative_to(root)}"): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@cache
def _modules(kernel: machine.Kernel) -> dict[str, bytes]:
    """Return the modules of the network card, by their paths on a host, in order."""
    name = kernel.package.replace("linux-binary-", "linux-modules-").replace("+", r"\+")
    wanted = "|".join(MODULES)
    pattern = rf"lib/modules/.*/({wanted})\.ko(\.xz)?$"
    files = {}
    for path, content in _files_of(kernel.suite, name.replace(".", r"\."), pattern).items():
        module = Path(path).name.partition(".")[0]
        code = lzma.decompress(content) if path.endswith(".xz") else content
        files[f"/modules/{MODULES.index(module)}-{module}.ko"] = code
    return files
