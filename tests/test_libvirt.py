"""Domains of libvirt: written, judged by libvirt itself, and imported.

libvirt turns a domain into a command line of QEMU without a daemon. Here, it emulates arm64: the
type of the domain is 'qemu', and its CPU is 'max'. These two words are replaced in the result.
"""

from __future__ import annotations

import pwd
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import not_here
from tests.test_qemu import assert_contains, imported, machine_of
from vmcfg.checking.check import check
from vmcfg.description.draft import NoDraft, description_text
from vmcfg.monitors.libvirt import domain, draft_of_domain
from vmcfg.monitors.libvirt_rules import findings_for_libvirt
from vmcfg.monitors.qemu import gic_version_of, options_for
from vmcfg.vm.machine import Machine

SAMPLES = Path(__file__).parent.parent / "sample-configs"

STEAL_TIME = "steal_time: 0x090a0000\n"
PAGE = "  - {base: 0x090a0000, size: 64KiB}\n"
GICV2 = "gic: {version: 2, distributor: 0x08000000, cpu_interface: 0x08010000}\n"
GICV3 = "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000, its: 0x08080000}\n"

DESCRIPTIONS = {
    "nothing": f"vcpus: 1\nmemory:\n{PAGE}{STEAL_TIME}",
    "pmu": f"vcpus: 4\npmu: {{irq: 23}}\nmemory:\n{PAGE}{STEAL_TIME}",
    "gicv2": f"vcpus: 8\n{GICV2}memory:\n{PAGE}{STEAL_TIME}",
    "gicv3": f"vcpus: 2\n{GICV3}pmu: {{irq: ppi:7}}\nmemory:\n{PAGE}{STEAL_TIME}",
    "of-the-monitor": (
        "vcpus: 16\ngic: {version: 3, set_up_by: monitor}\n"
        f"memory:\n  - {{base: 0x40000000, size: 512MiB}}\n{PAGE}{STEAL_TIME}"
    ),
    "without-gic": f"vcpus: 40\npmu: {{irq: 23}}\nmemory:\n{PAGE}{STEAL_TIME}",
    "much-memory": (
        f"vcpus: 2\nipa_bits: 41\n{STEAL_TIME}"
        f"memory:\n  - {{base: 0x40000000, size: 600GiB}}\n{PAGE}"
    ),
    "odd-mebibytes": (
        f"vcpus: 3\n{GICV2}memory:\n  - {{base: 0x40000000, size: 333MiB}}\n{PAGE}{STEAL_TIME}"
    ),
    "sve": f"vcpus: 2\nfeatures: [sve]\nmemory:\n{PAGE}{STEAL_TIME}",
    "sve-lengths": (
        "vcpus: 2\nfeatures: [sve, ptrauth]\nsve: {vector_lengths: [128, 256, 512]}\n"
        f"memory:\n{PAGE}{STEAL_TIME}"
    ),
    "listed": (
        "vcpus: [{mpidr: 0.0.0.0-15, pmu_irq: 23}, {mpidr: 0.0.1.0-3, pmu_irq: 23}]\n"
        f"memory:\n{PAGE}{STEAL_TIME}"
    ),
    "regions": (SAMPLES / "qemu-virt-130.yaml")
    .read_text()
    .partition("name:")[2]
    .partition("\n")[2],
}
"""Descriptions without findings for libvirt, without their first two lines."""


def described(name: str) -> Machine:
    text = f"vmcfg: 1\nname: {name}\n{DESCRIPTIONS[name]}"
    machine = machine_of(text)
    assert check(text.encode(), name).diagnostics == []
    return machine


# The judges ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def native(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[str]]:
    """Return a function that returns the command line that libvirt makes of a domain."""
    virsh = program("virsh")
    program("qemu-system-aarch64")
    need_user("libvirt-qemu")
    root = tmp_path_factory.mktemp("libvirt")

    def words(xml: str) -> list[str]:
        emulated = xml.replace("<domain type='kvm'>", "<domain type='qemu'>")
        emulated = emulated.replace(
            "<cpu mode='host-passthrough'/>", "<cpu mode='custom'><model>max</model></cpu>"
        ).replace("<cpu mode='host-passthrough'>", "<cpu mode='custom'><model>max</model>")
        (root / "domain.xml").write_text(emulated)
        uri = f"qemu:///embed?root={root}"
        done = subprocess.run(
            [virsh, "-c", uri, "domxml-to-native", "qemu-argv", str(root / "domain.xml")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [
            re.sub(r"^max(?=,|$)", "host", {"tcg": "kvm"}.get(word, word))
            for word in shlex.split(done.stdout)
        ]

    return words


def need_user(name: str) -> None:
    """Skip the test without this user; if CI is set, the test fails."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        not_here(f"there is no user {name}: run tests/run as root, which creates it")


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_domain_is_valid_by_the_schema_of_libvirt(
    name: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    program("xmllint")
    right, wrong = tmp_path / "right.xml", tmp_path / "wrong.xml"
    right.write_text(domain(described(name)))
    wrong.write_text(domain(described(name)).replace("<pmu state=", "<pmu status="))
    codes = [
        subprocess.run([program("virt-xml-validate"), str(path)], capture_output=True).returncode
        for path in (right, wrong)
    ]
    assert codes[0] == 0 and codes[1] != 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_command_line_of_libvirt_is_for_the_same_vm(
    name: str, native: Callable[[str], list[str]]
) -> None:
    """A description, its domain, the command line of libvirt, and the description of that."""
    machine = described(name)
    assert list(findings_for_libvirt(machine)) == []
    words = native(domain(machine))
    by_libvirt = imported(words)
    assert_contains(by_libvirt, machine)
    if gic_version_of(options_for(machine)) is not None:
        # Without KVM, libvirt writes GICv2 where the host would decide.
        assert by_libvirt == machine_of(description_text(draft_of_domain(domain(machine).encode())))


# What libvirt cannot express ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "message", "hint"),
    [
        (
            f"vcpus: 2\n{GICV3.replace(', its: 0x08080000', '')}memory:\n{PAGE}{STEAL_TIME}",
            "/gic",
            "libvirt has no element that omits the ITS of a GICv3",
            "add 'its: 0x08080000' to 'gic', or use '--format qemu'",
        ),
        (
            "vcpus: 2\n",
            "",
            "libvirt has no element that disables steal time, which QEMU enables",
            "add 'steal_time: 0x090a0000', and '{base: 0x090a0000, size: 64KiB}' to 'memory', or"
            " use '--format qemu'",
        ),
        (
            "vcpus: 2\nfeatures: [el1_32bit]\n",
            "/features/0",
            "libvirt has no element for a 32-bit EL1",
            "remove 'el1_32bit', or use '--format qemu'",
        ),
        (
            f"vcpus: 2\nipa_bits: 32\nmemory:\n{PAGE}{STEAL_TIME}",
            "/ipa_bits",
            "libvirt has no element for 32 address bits",
            "remove 'ipa_bits', or use '--format qemu'",
        ),
        (
            "vcpus: 2\nmemory:\n  - {base: 0x40000000, size: 0x1010000}\n" + PAGE + STEAL_TIME,
            "/memory/0/size",
            "libvirt rounds up the size of the RAM, 0x1010000 bytes, to 1 MiB",
            "use a multiple of 0x100000",
        ),
    ],
)
def test_an_option_without_element_is_a_finding(
    text: str, at: str, message: str, hint: str
) -> None:
    from vmcfg.checking.check import with_findings

    checked = check(f"vmcfg: 1\nname: vm\n{text}".encode(), "vm.yaml")
    assert checked.machine is not None
    found = with_findings(checked, findings_for_libvirt(checked.machine)).diagnostics
    told = [(each.rule, each.pointer, each.message, each.hint) for each in found]
    assert told == [("VMC840", at, message, hint)]


@pytest.mark.slow
def test_libvirt_rounds_the_memory_up(native: Callable[[str], list[str]]) -> None:
    xml = domain(described("pmu")).replace(">131072<", ">131073<")
    assert native(xml)[native(xml).index("-m") + 1] == "129"


@pytest.mark.slow
@pytest.mark.parametrize("feature", ["kvm-steal-time", "pauth", "aarch64", "pmu"])
def test_libvirt_does_not_know_these_features(
    feature: str, native: Callable[[str], list[str]]
) -> None:
    xml = domain(described("sve")).replace("name='sve'", f"name='{feature}'")
    with pytest.raises(AssertionError) as raised:
        native(xml)
    assert f"unknown CPU feature: {feature}" in str(raised.value)


# Reading ------------------------------------------------------------------------------------------

WHOLE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- virsh dumpxml -->
<domain type="kvm" id="3" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>web,1</name>
  <uuid>037d7e17-c4f6-4e5a-9fa1-6c116b469ad6</uuid>
  <memory unit="MB">1000</memory>
  <currentMemory unit="KiB">524288</currentMemory>
  <vcpu placement="static" current="2">4</vcpu>
  <os firmware="efi"><type arch="aarch64" machine="virt-7.2">hvm</type></os>
  <features><acpi/><gic version="3"/><pmu state="off"/></features>
  <cpu mode="host-passthrough" check="none">
    <topology sockets="1" dies="1" cores="4" threads="1"/>
    <feature policy="disable" name="sve"/>
  </cpu>
  <devices><emulator>/usr/bin/qemu-system-aarch64</emulator><disk type="file"/></devices>
  <qemu:commandline>
    <qemu:arg value="-cpu"/><qemu:arg value="host,pmu=off,sve=off,kvm-steal-time=off"/>
    <qemu:arg value="-machine"/><qemu:arg value="its=off"/>
  </qemu:commandline>
</domain>
"""


def test_a_whole_domain_is_read() -> None:
    draft = draft_of_domain(WHOLE.encode())
    assert draft.warnings == []
    line = (
        "qemu-system-aarch64 -name web-1 -M virt-7.2,accel=kvm,gic-version=3,its=off -smp 2"
        " -m 954M -cpu host,pmu=off,sve=off,kvm-steal-time=off"
    )
    assert machine_of(description_text(draft)) == imported(shlex.split(line))


@pytest.mark.parametrize(
    ("policy", "has_sve"),
    [
        ('policy="require" ', True),
        ('policy="force" ', True),
        ("", True),
        ('policy="disable" ', False),
        ('policy="forbid" ', False),
    ],
)
def test_a_feature_of_the_cpu_has_a_policy(policy: str, has_sve: bool) -> None:
    without_arguments = re.sub(r"(?s)<qemu:commandline>.*</qemu:commandline>", "", WHOLE)
    xml = without_arguments.replace('policy="disable" ', policy)
    features = machine_of(description_text(draft_of_domain(xml.encode()))).features
    assert ("sve" in features) == has_sve


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("aarch64", "x86_64", "its architecture is 'x86_64' and not 'aarch64'"),
        ("virt-7.2", "raspi3b", "its machine is 'raspi3b', and vmcfg knows only 'virt'"),
        ('"MB">1000', '"MB">much', "the value of 'memory' is not a size"),
        ('"MB"', '"pages"', "the value of 'memory' is not a size"),
        ("</domain>", "", "it is not XML of libvirt: no element found"),
        ("domain", "network", "its XML is 'network' and not 'domain'"),
        ("UTF-8", "none", "it is not XML of libvirt"),
        ("<!-- virsh dumpxml -->", '<!DOCTYPE d [<!ENTITY e "e">]>', "it is not XML of libvirt"),
        (
            "<!-- virsh dumpxml -->",
            '<!DOCTYPE d SYSTEM "file:///etc/passwd">',
            "it is not XML of libvirt",
        ),
    ],
)
def test_what_is_no_such_domain_is_a_sentence(old: str, new: str, reason: str) -> None:
    changed = WHOLE.replace(old, new)
    if "DOCTYPE" in new and "ENTITY" in new:
        changed = changed.replace("web,1", "&e;")
    if "SYSTEM" in new:
        changed = changed.replace("web,1", "&x;")
    with pytest.raises(NoDraft) as raised:
        draft_of_domain(changed.encode())
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("element", "named"),
    [
        ("<devices><memory model='dimm'/></devices>", "<memory>"),
        ("<maxMemory slots='2'>9</maxMemory>", "<maxMemory>"),
        ("<launchSecurity type='cca'/>", "<launchSecurity>"),
    ],
)
def test_what_changes_the_vm_in_an_unknown_way_is_named(element: str, named: str) -> None:
    xml = WHOLE.replace("<devices>", element.replace("</devices>", ""), 1)
    if not element.startswith("<devices>"):
        xml = WHOLE.replace("<devices>", f"{element}<devices>")
    assert draft_of_domain(xml.encode()).warnings == [
        f"'{named}' changes the VM in a way that vmcfg does not know."
    ]


def test_another_model_of_cpu_is_named() -> None:
    xml = WHOLE.replace('mode="host-passthrough"', 'mode="custom"').replace(
        "<topology", "<model>cortex-a57</model><topology"
    )
    xml = xml.replace('value="host,', 'value="cortex-a57,')
    (warning,) = draft_of_domain(xml.encode()).warnings
    assert warning.startswith("'-cpu cortex-a57' changes the VM")
