"""The words of a command line of QEMU: which options there are, with which properties.

Here is how an option is written, and which options do not matter to KVM. The meaning of the others
is in `qemu_command_line`. A command line that libvirt wrote is read, too.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from vmcfg.description.draft import NoDraft
from vmcfg.escape import printable

PROGRAM = "qemu-system-aarch64"

_OTHER_NAMES = ("qemu-system-arm64", "qemu-kvm")

_FLAG_NAMES = """
S async-teardown audio-help daemonize enable-kvm enable-sync-profile full-screen h help jitdump
mem-prealloc no-acpi no-fd-bootchk no-hpet no-reboot no-shutdown no-user-config nodefaults
nographic old-param only-migratable perfmap portrait preconfig s semihosting singlestep snapshot
usb version win2k-hack xen-attach xen-domid-restrict
"""

_FLAGS = frozenset(_FLAG_NAMES.split())
"""The options without a value (qemu-options.hx)."""

_IGNORED_NAMES = """
D L S acpitable action add-fd append async-teardown audio audio-help audiodev bios blockdev boot
cdrom chardev chroot compat d daemonize debugcon dfilter display drive dtb dump-vmstate echr
enable-sync-profile fda fdb fsdev full-screen fw_cfg g gdb h hda hdb hdc hdd help incoming initrd
iscsi jitdump k kernel loadvm mem-path mem-prealloc mon monitor msg mtdblock net netdev nic
no-acpi no-fd-bootchk no-hpet no-reboot no-shutdown no-user-config nodefaults nographic numa
object only-migratable option-rom overcommit parallel perfmap pflash pidfile plugin portrait
preconfig prom-env qmp qmp-pretty qtest qtest-log rotate rtc run-with runas s sandbox sd seed
semihosting semihosting-config serial shim singlestep smbios snapshot spice tpmdev trace usb
usbdevice uuid version vga virtfs vnc watchdog-action
"""

_IGNORED = frozenset(_IGNORED_NAMES.split())
"""The options that KVM does not see, or that do not change the numbers of a description."""

_MEMORY_DEVICES = ("pc-dimm", "nvdimm", "virtio-mem", "virtio-pmem", "ivshmem", "cxl-type3")
"""The devices that add memory slots."""

_DEFAULTS_OF = re.compile(r"(.*-arm-cpu|virt-.*machine|.*gic.*|kvm-accel)([.,].*)?")
"""The values of -global that change properties of the CPUs, the machine, or the GIC."""


class Words:
    """The options that matter, each with its properties in their order.

    Properties of several options with the same name are merged; a later one overrides an earlier
    one. `others` are words that change the VM in an unknown way.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.machine: dict[str, str] = {}
        self.accel: dict[str, str] = {}
        self.accelerators: list[str] = []
        self.cpu: dict[str, str] = {}
        self.smp: dict[str, str] = {}
        self.memory: dict[str, str] = {}
        self.others: list[str] = []


def read_words(words: Sequence[str]) -> Words:
    """Return the options of a command line: the program and its arguments.

    Variables and other programs before it are ignored. Raises `NoDraft` if it is another program.
    """
    read = Words()
    for option, value in _options(_arguments(words)):
        reader = _READERS.get(option)
        if reader is not None:
            reader(read, value)
        elif option not in _IGNORED:
            read.others.append(f"-{option}")
    return read


def words_of_text(data: bytes) -> list[str]:
    """Return the words of a command line: as a shell reads them, or, as in /proc/PID/cmdline, each
    with a NUL after it. Raises `NoDraft` if a quote has no end.
    """
    text = data.decode("utf-8", "surrogateescape")
    if "\0" in text:
        return text.removesuffix("\0").split("\0")
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    try:
        # Unlike a shell, shlex does not remove a backslash at the end of a line.
        return shlex.split("\n".join(lines).replace("\\\n", " "))
    except ValueError as error:
        raise NoDraft(f"it is not a command line: {str(error).lower().rstrip('.')}") from None


def _arguments(words: Sequence[str]) -> Sequence[str]:
    """Return the words after the name of the program, or all if they begin with an option."""
    for number, word in enumerate(words):
        program = word.rpartition("/")[2]
        if program == PROGRAM or program in _OTHER_NAMES:
            return words[number + 1 :]
        if program.startswith("qemu-system-"):
            raise NoDraft(f"'{printable(program)}' is not QEMU for arm64, '{PROGRAM}'")
        if word.startswith("-"):
            return words[number:]
    raise NoDraft("it is not a command line of QEMU")


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option without its hyphens, and its value. Other words are disk images."""
    remaining = iter(arguments)
    for word in remaining:
        if word.startswith("-") and word != "-":
            option = word.lstrip("-")
            yield option, "" if option in _FLAGS else next(remaining, "")


def _properties(text: str, implied: str) -> dict[str, str]:
    """Return the properties of an option: ``virt,its=off``.

    The first can be only a value, that of `implied`. Two commas are one comma of a value. Any other
    property without a value is on.
    """
    found: dict[str, str] = {}
    for number, part in enumerate(text.replace(",,", "\0").split(",")):
        name, equals, value = part.replace("\0", ",").partition("=")
        if equals:
            found[name] = value
        elif number == 0:
            found[implied] = name
        elif name:
            found[name] = "on"
    return found


def _machine(read: Words, value: str) -> None:
    properties = _properties(value, "type")
    accelerators = properties.pop("accel", None)
    if accelerators is not None:
        read.accelerators += accelerators.split(":")
    read.machine |= properties


def _accel(read: Words, value: str) -> None:
    properties = _properties(value, "accel")
    read.accelerators.append(properties.pop("accel", ""))
    read.accel |= properties


def _enable_kvm(read: Words, value: str) -> None:
    read.accelerators.append("kvm")


def _cpu(read: Words, value: str) -> None:
    # The last -cpu replaces the others.
    read.cpu = _properties(value, "model")


def _smp(read: Words, value: str) -> None:
    read.smp |= _properties(value, "cpus")


def _memory(read: Words, value: str) -> None:
    read.memory |= _properties(value, "size")


def _name(read: Words, value: str) -> None:
    read.name = _properties(value, "guest").get("guest", read.name)


def _device(read: Words, value: str) -> None:
    driver = _driver(value)
    if driver.startswith(_MEMORY_DEVICES) or driver.endswith("-arm-cpu"):
        read.others.append(f"-device {driver}")


def _driver(value: str) -> str:
    """Return the driver of a device, which can be written as JSON."""
    if not value.startswith("{"):
        return _properties(value, "driver").get("driver", "")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    driver = found.get("driver") if isinstance(found, dict) else None
    return driver if isinstance(driver, str) else ""


def _global(read: Words, value: str) -> None:
    driver = _properties(value, "driver").get("driver", value)
    if _DEFAULTS_OF.fullmatch(driver) or _DEFAULTS_OF.fullmatch(value):
        read.others.append(f"-global {value}")


_READERS: dict[str, Callable[[Words, str], None]] = {
    "machine": _machine,
    "M": _machine,
    "accel": _accel,
    "enable-kvm": _enable_kvm,
    "cpu": _cpu,
    "smp": _smp,
    "m": _memory,
    "name": _name,
    "device": _device,
    "global": _global,
}
