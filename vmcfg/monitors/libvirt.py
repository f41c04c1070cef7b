"""Domains of libvirt: written for a machine, and read as the command line that libvirt makes of
them.

Sources: the RELAX NG schema of libvirt 9.0 (domaincommon.rng), and its command lines, which
``virsh domxml-to-native`` prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from vmcfg.description.draft import Draft, NoDraft
from vmcfg.escape import printable
from vmcfg.monitors.qemu import Options, gic_version_of, memory_of, options_for
from vmcfg.monitors.qemu_command_line import draft_of_options, read_command_line
from vmcfg.monitors.qemu_words import PROGRAM
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Writing ------------------------------------------------------------------------------------------


def domain(machine: Machine) -> str:
    """Return the domain that creates `machine`, or the nearest VM, as XML."""
    options = options_for(machine)
    return "".join(f"{line}\n" for line in _domain_lines(options))


def _domain_lines(options: Options) -> Iterator[str]:
    """Yield the lines of a domain. The memory is required, even if a description has none."""
    yield "<domain type='kvm'>"
    yield f"  <name>{options.name}</name>"
    yield f"  <memory unit='KiB'>{memory_of(options) >> 10}</memory>"
    yield f"  <vcpu>{options.vcpus}</vcpu>"
    yield "  <os>"
    yield "    <type arch='aarch64' machine='virt'>hvm</type>"
    yield "  </os>"
    yield "  <features>"
    version = gic_version_of(options)
    if version is not None:
        yield f"    <gic version='{version}'/>"
    yield f"    <pmu state='{'on' if options.pmu else 'off'}'/>"
    yield "  </features>"
    features = list(_cpu_features(options))
    if not features:
        yield "  <cpu mode='host-passthrough'/>"
    else:
        yield "  <cpu mode='host-passthrough'>"
        yield from (f"    <feature policy='require' name='{name}'/>" for name in features)
        yield "  </cpu>"
    yield "</domain>"


def _cpu_features(options: Options) -> Iterator[str]:
    """Yield the features of the CPU for which libvirt has a name."""
    if options.sve:
        yield "sve"
        yield from (f"sve{length}" for length in options.vector_lengths)


# Reading ------------------------------------------------------------------------------------------


def draft_of_domain(xml: bytes) -> Draft:
    """Return the draft of the VM that libvirt creates for a domain.

    Raises `NoDraft` if this is not the XML of an arm64 domain with the machine virt, or if it
    contains entities.
    """
    words, others = words_of_domain(_root(xml))
    options, unknown = read_command_line(words)
    return draft_of_options(options, [*others, *unknown])


def _root(xml: bytes) -> Element:
    """Return the element `domain`. Raises `NoDraft` for other XML, or other text."""
    reader = _reader()
    try:
        root: Element = reader.fromstring(xml)
    except (reader.ParseError, LookupError, ValueError) as error:
        raise NoDraft(f"it is not XML of libvirt: {_one_line(error)}") from None
    if root.tag != "domain":
        raise NoDraft(f"its XML is '{printable(root.tag)}' and not 'domain'")
    return root


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__


def _reader() -> ModuleType:
    """Return the parser of XML, which follows no entity. Raises `NoDraft` without it."""
    try:
        from defusedxml import ElementTree
    except ImportError:
        raise NoDraft(
            "XML requires the Python package defusedxml: install it with"
            " pip install 'vmcfg[libvirt]', or Debian's python3-defusedxml"
        ) from None
    module: ModuleType = ElementTree
    return module


def words_of_domain(root: Element) -> tuple[list[str], list[str]]:
    """Return the words that libvirt makes of a domain, and sentences about what is not in them."""
    words = [PROGRAM]
    words += ["-name", f"guest={_escaped(_text(root, 'name'))}"]
    words += ["-accel", "kvm" if root.get("type", "kvm") == "kvm" else "tcg"]
    words += ["-machine", _machine(root)]
    words += ["-cpu", _cpu(root)]
    words += ["-smp", _vcpus(root)]
    words += ["-m", f"size={_memory(root)}B"]
    # These come last, as in the command line of libvirt.
    words += [each.get("value", "") for each in root.iterfind(f"{_QEMU}commandline/{_QEMU}arg")]
    return words, list(_others(root))


_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
"""The namespace of elements with which a domain adds words to the command line of QEMU."""


def _text(root: Element, path: str) -> str:
    """Return the text of an element, without spaces around it; empty without the element."""
    return (root.findtext(path) or "").strip()


def _escaped(text: str) -> str:
    """Return a value of an option of QEMU, in which a comma is written twice."""
    return text.replace(",", ",,")


def _machine(root: Element) -> str:
    kind = root.find("os/type")
    architecture = None if kind is None else kind.get("arch")
    if architecture not in (None, "aarch64"):
        raise NoDraft(f"its architecture is '{printable(architecture)}' and not 'aarch64'")
    properties = [_escaped("" if kind is None else kind.get("machine", ""))]
    gic = root.find("features/gic")
    if gic is not None and gic.get("version"):
        properties.append(f"gic-version={_escaped(gic.get('version', ''))}")
    return ",".join(properties)


_POLICIES = {"require": "on", "force": "on", "disable": "off", "forbid": "off"}


def _cpu(root: Element) -> str:
    """Return the value of -cpu. Without `cpu`, libvirt uses the CPU of the host with KVM."""
    cpu = root.find("cpu")
    mode = "host-passthrough" if cpu is None else cpu.get("mode", "custom")
    model = "host" if mode != "custom" else _text(root, "cpu/model") or "host"
    properties = [_escaped(model)]
    for feature in root.iterfind("cpu/feature"):
        value = _POLICIES.get(feature.get("policy", "require"))
        if value is not None:
            properties.append(f"{_escaped(feature.get('name', ''))}={value}")
    pmu = root.find("features/pmu")
    if pmu is not None:
        properties.append(f"pmu={pmu.get('state', 'on')}")
    return ",".join(properties)


def _vcpus(root: Element) -> str:
    vcpu = root.find("vcpu")
    if vcpu is None:
        return "1"
    return _escaped(vcpu.get("current") or (vcpu.text or "").strip())


_UNITS: dict[str, int] = {
    **dict.fromkeys(("b", "byte", "bytes"), 1),
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtpe", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtpe", 1)},
    **{letter: 1024**power for power, letter in enumerate("kmgtpe", 1)},
}
"""The bytes of each unit of memory, in lower case."""

RAM_STEP = 1 << 20
"""The size of the RAM is a multiple of it: libvirt rounds up."""


def _memory(root: Element) -> int:
    """Return the size of the RAM in bytes. Raises `NoDraft` if it is not a size."""
    memory = root.find("memory")
    if memory is None:
        raise NoDraft("its domain does not have 'memory'")
    text = (memory.text or "").strip()
    unit = _UNITS.get(memory.get("unit", "KiB").lower())
    if unit is None or not re.fullmatch(r"[0-9]{1,20}", text):
        raise NoDraft("the value of 'memory' is not a size")
    steps = -(-int(text) * unit // RAM_STEP)
    return steps * RAM_STEP


_MEMORY_DEVICES = {
    "devices/memory": "memory",
    "devices/shmem": "shmem",
    "maxMemory": "maxMemory",
    "launchSecurity": "launchSecurity",
}
"""The elements of a domain that change the memory of the VM, or the VM itself."""


def _others(root: Element) -> Iterator[str]:
    """Yield a sentence for each element that changes the VM in an unknown way."""
    for path, name in _MEMORY_DEVICES.items():
        if root.find(path) is not None:
            yield f"'<{name}>' changes the VM in a way that vmcfg does not know."
