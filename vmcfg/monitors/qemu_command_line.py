"""Command lines of QEMU: written from `Options`, and read into them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from vmcfg.description.draft import Draft, NoDraft, valid_name
from vmcfg.escape import printable
from vmcfg.kernel.limits import IPA_BITS_GREATEST
from vmcfg.monitors.qemu import (
    HIGH_MMIO_SIZE,
    MOST_VCPUS,
    HighRanges,
    Options,
    description_data,
    gic_version_of,
    memory_of,
    options_for,
    vm_of,
)
from vmcfg.monitors.qemu_words import PROGRAM, Words, read_words
from vmcfg.vm.machine import Machine

# Writing ------------------------------------------------------------------------------------------


def command_line(machine: Machine) -> str:
    """Return the command line that creates `machine`, or the nearest VM, as a line for a shell."""
    return f"{shlex.join(words_of(options_for(machine)))}\n"


def words_of(options: Options) -> list[str]:
    """Return the words of the command line with `options`.

    Only what every recorded version of QEMU accepts is written.
    """
    words = [PROGRAM]
    if options.name is not None:
        words += ["-name", options.name]
    words += ["-accel", "kvm"]
    words += ["-machine", _joined("virt", _machine_properties(options))]
    words += ["-cpu", _joined("host", _cpu_properties(options))]
    words += ["-smp", str(options.vcpus)]
    if options.memory is not None:
        words += ["-m", _size_text(options.memory)]
    return words


def _machine_properties(options: Options) -> dict[str, str | bool | None]:
    version = options.gic_version
    return {
        "gic-version": None if version is None else str(version),
        "its": options.its,
        "highmem": None if options.high.is_used else False,
    }


def _cpu_properties(options: Options) -> dict[str, str | bool | None]:
    return {
        "aarch64": options.aarch64,
        "pmu": options.pmu,
        "kvm-steal-time": options.steal_time,
        "sve": options.sve,
        **{f"sve{length}": True for length in options.vector_lengths},
        "pauth": options.ptrauth,
    }


def _joined(kind: str, properties: dict[str, str | bool | None]) -> str:
    """Return the value of an option: its kind, and the properties that have a value."""
    parts = [kind]
    for name, value in properties.items():
        if value is not None:
            text = value if isinstance(value, str) else ("on" if value else "off")
            parts.append(f"{name}={text}")
    return ",".join(parts)


def _size_text(size: int) -> str:
    """Return a size for -m."""
    for unit, bits in (("M", 20), ("K", 10)):
        if size % (1 << bits) == 0:
            return f"{size >> bits}{unit}"
    return f"{size}B"


# Reading ------------------------------------------------------------------------------------------


def draft_of_command_line(words: Sequence[str]) -> Draft:
    """Return the draft of the VM that a command line of QEMU creates with KVM.

    `words` are the program and its arguments. Raises `NoDraft` if these do not start an arm64 QEMU
    with the machine virt.
    """
    options, others = read_command_line(words)
    return draft_of_options(options, others)


def draft_of_options(options: Options, others: Sequence[str]) -> Draft:
    """Return the draft of the VM with `options`; `others` are sentences about other options."""
    return Draft(
        name=options.name,
        data=description_data(vm_of(options)),
        notes=list(_notes(options)),
        warnings=list(others),
    )


def read_command_line(words: Sequence[str]) -> tuple[Options, list[str]]:
    """Return the options of a command line, and sentences about what changes the VM beyond them.

    Raises `NoDraft` if it does not start an arm64 QEMU with the machine virt.
    """
    read = read_words(words)
    reading = _Reading(_options_of_type(read))
    reading.unknown(read.others)
    reading.read(read.machine, _MACHINE, "-machine")
    reading.read(read.accel, _ACCEL, "-accel")
    _read_cpu(reading, read.cpu)
    _read_sizes(reading, read)
    if "kvm" not in read.accelerators:
        reading.others.append(
            "The command line does not use KVM; this is the VM that it would create with KVM."
        )
    name = None if read.name is None else valid_name(read.name)
    options = reading.options._replace(name=name)
    _check_limits(options)
    return options, reading.others


def _check_limits(options: Options) -> None:
    """Raise `NoDraft` if QEMU or KVM has no such VM."""
    if not 1 <= options.vcpus <= MOST_VCPUS.value:
        raise NoDraft(f"it has {options.vcpus} vCPUs; QEMU supports 1 to {MOST_VCPUS.value}")
    ipa_bits = vm_of(options).ipa_bits
    if ipa_bits > IPA_BITS_GREATEST:
        raise NoDraft(
            f"its VM requires {ipa_bits} address bits; KVM supports at most {IPA_BITS_GREATEST}"
        )


_TYPE = re.compile(r"virt(?:-([0-9]{1,4})\.([0-9]{1,4}))?")

_OLDER_TYPES: tuple[tuple[tuple[int, int], Callable[[Options], Options]], ...] = (
    ((7, 2), lambda options: options._replace(high=options.high._replace(is_compact=False))),
    ((5, 2), lambda options: options._replace(steal_time=False)),
    ((3, 0), lambda options: options._replace(high=options.high._replace(ecam=False))),
    ((2, 8), lambda options: options._replace(its=False)),
    ((2, 7), lambda options: options._replace(pmu=False)),
)
"""What the types of the machine before a version change (hw/arm/virt.c:virt_machine_7_1_options and
the functions for older ones).
"""


def _options_of_type(read: Words) -> Options:
    """Return the options that the type of the machine implies.

    Raises `NoDraft` for other machines than virt.
    """
    written = read.machine.get("type")
    if written is None:
        raise NoDraft("it does not contain '-machine virt'")
    type_ = _TYPE.fullmatch(written)
    if type_ is None:
        raise NoDraft(f"its machine is '{printable(written)}', and vmcfg knows only 'virt'")
    options = Options()
    if type_[1] is not None:
        version = int(type_[1]), int(type_[2])
        for before, change in _OLDER_TYPES:
            options = change(options) if version < before else options
    return options


class _Property(NamedTuple):
    """A property with its option, for messages: ``-machine its=off``."""

    option: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.option} {self.name}={self.text}"


class _Reading:
    """The options that were read so far, and sentences about what changes the VM beyond them."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.others: list[str] = []

    def unknown(self, words: Sequence[str]) -> None:
        """Note words that change the VM in an unknown way."""
        for each in words:
            self.others.append(
                f"'{printable(each)}' changes the VM in a way that vmcfg does not know."
            )

    def read(self, properties: dict[str, str], readers: dict[str, _Reader], option: str) -> None:
        """Read properties into the options."""
        for name, text in properties.items():
            written = _Property(option, name, text)
            reader = readers.get(name)
            if reader is None:
                self.unknown([str(written)])
            else:
                self.options = reader(self, written)


_Reader = Callable[[_Reading, _Property], Options]
"""A function that returns the options with a property."""


def _ignored(reading: _Reading, written: _Property) -> Options:
    return reading.options


def _changes(reading: _Reading, written: _Property) -> Options:
    """Note a property whose effect is unknown."""
    reading.unknown([str(written)])
    return reading.options


def _harmless_if(*texts: str) -> _Reader:
    """Return the reader of a property that changes the VM unless it has one of these values."""

    def read(reading: _Reading, written: _Property) -> Options:
        known = written.text in texts
        return reading.options if known else _changes(reading, written)

    return read


_SWITCHES = {
    **dict.fromkeys(("on", "yes", "true", "y"), True),
    **dict.fromkeys(("off", "no", "false", "n"), False),
}
_ON = tuple(text for text, is_on in _SWITCHES.items() if is_on)
_OFF = tuple(text for text, is_on in _SWITCHES.items() if not is_on)


def _is_on(written: _Property) -> bool:
    """Return whether a property is on. Raises `NoDraft` for another value."""
    if written.text not in _SWITCHES:
        raise NoDraft(f"the value in '{printable(str(written))}' must be 'on' or 'off'")
    return _SWITCHES[written.text]


def _switch(key: str) -> _Reader:
    """Return the reader of a property that sets an option on or off."""

    def read(reading: _Reading, written: _Property) -> Options:
        changed: dict[str, Any] = {key: _is_on(written)}
        return reading.options._replace(**changed)

    return read


def _high_switch(key: str) -> _Reader:
    """Return the reader of a property that sets one of `HighRanges` on or off."""

    def read(reading: _Reading, written: _Property) -> Options:
        high = reading.options.high._replace(**{key: _is_on(written)})
        return reading.options._replace(high=high)

    return read


def _mmio_size(reading: _Reading, written: _Property) -> Options:
    size = _bytes(written, "B")
    if size < HIGH_MMIO_SIZE.value or size & (size - 1):
        raise NoDraft(
            f"the value in '{printable(str(written))}' is not a power of two from 512 GiB on"
        )
    return reading.options._replace(high=reading.options.high._replace(mmio_size=size))


def _gic_version(reading: _Reading, written: _Property) -> Options:
    if written.text in ("host", "max"):
        return reading.options._replace(gic_version=None)
    if written.text in ("2", "3"):
        return reading.options._replace(gic_version=int(written.text))
    return _changes(reading, written)


def _msi(reading: _Reading, written: _Property) -> Options:
    if written.text == "auto":
        return reading.options
    return reading.options._replace(its=written.text == "its")


_IRQCHIP = _harmless_if(*_ON, "split")

_IGNORED_OF_MACHINE = """
type acpi append aux-ram-share boot boot.menu boot.once boot.order boot.strict
default-bus-bypass-iommu dt-compatible dtb dtb-kaslr-seed dtb-randomness dump-guest-core dumpdtb
firmware graphics hmat initrd iommu kernel mem-merge memory-backend nvdimm pflash0 pflash1
phandle-start ras shim smp-cache spcr suppress-vmdesc usb virtio-mmio-transports
x-change-vmfd-on-reset x-oem-id x-oem-table-id memory.size memory.max-size memory.slots smp.cpus
smp.sockets smp.dies smp.clusters smp.modules smp.cores smp.threads smp.maxcpus
"""

_MACHINE: dict[str, _Reader] = {
    **dict.fromkeys(_IGNORED_OF_MACHINE.split(), _ignored),
    "gic-version": _gic_version,
    "its": _switch("its"),
    "msi": _msi,
    "mte": _switch("mte"),
    "virtualization": _switch("el2"),
    "secure": _harmless_if(*_OFF),
    "kernel-irqchip": _IRQCHIP,
    "kernel_irqchip": _IRQCHIP,
    "highmem": _high_switch("is_used"),
    "highmem-redists": _high_switch("redistributors"),
    "highmem-ecam": _high_switch("ecam"),
    "highmem-mmio": _high_switch("mmio"),
    "highmem-mmio-size": _mmio_size,
    "compact-highmem": _high_switch("is_compact"),
}
"""The properties of the machine. The sizes of memory and the number of vCPUs are read later."""

_IGNORED_OF_ACCEL = """
device honor-guest-pat kvm-shadow-mem notify-vmexit notify-window one-insn-per-tb split-wx tb-size
thread
"""

_ACCEL: dict[str, _Reader] = {
    **dict.fromkeys(_IGNORED_OF_ACCEL.split(), _ignored),
    "kernel-irqchip": _IRQCHIP,
    "kernel_irqchip": _IRQCHIP,
    "dirty-ring-size": _harmless_if("0"),
    "eager-split-size": _harmless_if("0"),
}

_MODELS = ("host", "max")
"""The models of CPUs that are the CPU of the host with KVM."""

_IGNORED_OF_CPU = """
backcompat-cntfrq cntfrq debug-level kvm-no-adjvtime lpa2 migratable mp-affinity pauth-impdef
pauth-qarma3 pauth-qarma5
"""

_CPU: dict[str, _Reader] = {
    **dict.fromkeys(_IGNORED_OF_CPU.split(), _ignored),
    "pmu": _switch("pmu"),
    "kvm-steal-time": _switch("steal_time"),
    "sve": _switch("sve"),
    "pauth": _switch("ptrauth"),
    "aarch64": _switch("aarch64"),
}


def _read_cpu(reading: _Reading, properties: dict[str, str]) -> None:
    """Read the properties of -cpu."""
    model = properties.get("model")
    if model not in _MODELS:
        # What a model other than that of the host has is not in the table.
        reading.options = reading.options._replace(sve=False, ptrauth=False)
        if model is not None:
            reading.unknown([f"-cpu {model}"])
        else:
            reading.others.append("The command line has no '-cpu', and the default is not for KVM.")
    lengths = []
    others = {}
    for name, text in properties.items():
        length = re.fullmatch(r"sve([0-9]{3,4})", name)
        if length is not None and text in _ON:
            lengths.append(int(length[1]))
        elif name != "model":
            others[name] = text
    reading.options = reading.options._replace(vector_lengths=tuple(sorted(lengths)))
    reading.read(others, _CPU, "-cpu")


# Sizes and numbers --------------------------------------------------------------------------------


def _read_sizes(reading: _Reading, read: Words) -> None:
    """Read the size of the memory and the number of vCPUs, which have two options each."""
    memory = {name: _Property("-m", name, text) for name, text in read.memory.items()}
    smp = {name: _Property("-smp", name, text) for name, text in read.smp.items()}
    for name, text in read.machine.items():
        option, _, key = name.partition(".")
        if option == "memory" and key:
            memory[{"max-size": "maxmem"}.get(key, key)] = _Property("-machine", name, text)
        elif option == "smp" and key:
            smp[key] = _Property("-machine", name, text)
    _read_memory(reading, memory)
    numbers = {name: _number(written) for name, written in smp.items()}
    reading.options = reading.options._replace(vcpus=_vcpus(numbers))


def _read_memory(reading: _Reading, memory: dict[str, _Property]) -> None:
    options = reading.options
    if "size" in memory:
        options = options._replace(memory=_bytes_of_memory(memory["size"]) or None)
    if "maxmem" in memory:
        later = max(0, _bytes_of_memory(memory["maxmem"]) - memory_of(options))
        slots = _number(memory["slots"]) if "slots" in memory else 0
        # QEMU leaves room to align the memory of each slot.
        high: HighRanges = options.high._replace(devices_size=later + (slots << 30))
        options = options._replace(high=high)
    reading.options = options


def _bytes_of_memory(written: _Property) -> int:
    return _bytes(written, "M" if written.option == "-m" else "B")


_UNITS = {"B": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})(?:\.([0-9]{1,19}))?([bBkKmMgGtTpPeE]?)")


def _bytes(written: _Property, unit: str) -> int:
    """Return a size in bytes, written with a unit or in `unit`. Raises `NoDraft` for other text."""
    found = _SIZE.fullmatch(written.text)
    if found is None:
        raise NoDraft(f"the value in '{printable(str(written))}' is not a size")
    whole, fraction, suffix = found.groups()
    bits = _UNITS[(suffix or unit).upper()]
    number = int(whole, 16) if whole[:2].lower() == "0x" else int(whole)
    size = number << bits
    if fraction:
        size += (int(fraction) << bits) // 10 ** len(fraction)
    return size


def _number(written: _Property) -> int:
    """Return a number of vCPUs or slots. Raises `NoDraft` for another value."""
    if not re.fullmatch(r"[0-9]{1,6}", written.text):
        raise NoDraft(f"the value in '{printable(str(written))}' is not a number")
    return int(written.text)


def _vcpus(numbers: dict[str, int]) -> int:
    """Return the number of vCPUs: as written, or the product of the levels of the topology."""
    written = numbers.get("cpus") or numbers.get("maxcpus")
    if written:
        return written
    vcpus = 1
    for level in ("sockets", "dies", "clusters", "modules", "cores", "threads"):
        vcpus *= numbers.get(level) or 1
    return vcpus


# What a command line leaves open ------------------------------------------------------------------


def _notes(options: Options) -> Iterator[str]:
    """Yield sentences about what the host decides."""
    if gic_version_of(options) is None:
        yield "The host decides the version of the GIC."
    decided_by_host = {
        "the PMU": options.pmu,
        "steal time": options.steal_time,
        "SVE": options.sve,
        "pointer authentication": options.ptrauth,
    }
    names = [name for name, value in decided_by_host.items() if value is None]
    if names:
        yield f"QEMU enables this only if the host supports it: {', '.join(names)}."
