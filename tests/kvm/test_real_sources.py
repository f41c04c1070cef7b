"""Device trees and ACPI tables of real boards and of QEMU: each is imported, or rejected in one
sentence.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import libfdt
import pytest

from tests.kvm import machine, oracle, packages
from tests.test_tree_source import compiled, facts
from vmcfg.checking.check import check
from vmcfg.description.draft import Draft, NoDraft, description_text
from vmcfg.guest.acpi import draft_of_tables
from vmcfg.guest.devicetree import draft_of_blob
from vmcfg.guest.tree_source import source
from vmcfg.importing.drafting import draft_of_words
from vmcfg.importing.sources import Wanted
from vmcfg.monitors.libvirt import draft_of_domain
from vmcfg.trial.emulated import Emulated
from vmcfg.vm.machine import Machine

IMPORTS = Path(__file__).parent.parent / "imports"

SUITES = {"bookworm": "7.2", "trixie": "10.0", "sid": "11."}
"""The suites of Debian whose QEMU writes device trees, with its version."""


def lines_of(draft: Draft) -> list[str]:
    """Return the lines of a description, which is readable, without its comments."""
    text = description_text(draft)
    found = [each for each in check(text.encode(), "x").diagnostics if each.rule < "VMC2"]
    assert not found, f"{found}\n{text}"
    return [line for line in text.splitlines() if not line.startswith("#")]


# Boards -------------------------------------------------------------------------------------------

BOARDS = {
    "juno-r2.dtb": [
        "vcpus:",
        "  - mpidr: 0.0.0.0",
        "    pmu_irq: spi:2",
        "  - mpidr: 0.0.0.1",
        "    pmu_irq: spi:6",
        "  - mpidr: 0.0.1.0",
        "    pmu_irq: spi:18",
        "  - mpidr: 0.0.1.1",
        "    pmu_irq: spi:22",
        "  - mpidr: 0.0.1.2",
        "    pmu_irq: spi:26",
        "  - mpidr: 0.0.1.3",
        "    pmu_irq: spi:30",
        "memory:",
        "  - base: 0x80000000",
        "    size: 2032MiB",
        "  - base: 0x880000000",
        "    size: 6GiB",
        "gic:",
        "  version: 2",
        "  distributor: 0x2c010000",
        "  cpu_interface: 0x2c02f000",
    ],
    "tegra210-p2371-2180.dtb": [
        "vcpus: 4",
        "memory:",
        "  - base: 0x80000000",
        "    size: 4GiB",
        "gic:",
        "  version: 2",
        "  distributor: 0x50041000",
        "  cpu_interface: 0x50042000",
        "pmu:",
        "  irq: spi:144-147",
    ],
    "rk3399-rock-pi-4b.dtb": [
        "vcpus:",
        "  - mpidr: 0.0.0.0-3",
        "  - mpidr: 0.0.1.0-1",
        "gic:",
        "  version: 3",
        "  distributor: 0xfee00000",
        "  redistributors:",
        "    - base: 0xfef00000",
        "      count: 6",
        "  its: 0xfee20000",
        "pmu:",
        "  irq: 23",
    ],
}
"""Some boards, written from their sources by hand: SPIs with affinity, a controller that passes
interrupts on to the GIC, and PPIs of partitions.
"""


@pytest.mark.slow
def test_every_board_of_a_kernel_package_is_imported_or_rejected() -> None:
    package = packages.files_of("bookworm", "arm64", r"linux-image-6\.1\.0-[0-9]+-arm64", r"\.dtb$")
    boards = sorted(package.root.rglob("*.dtb"))
    assert len(boards) > 500
    results: Counter[str] = Counter()
    cannot: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    for path in boards:
        try:
            draft = draft_of_blob(path.read_bytes())
        except NoDraft as error:
            assert "\n" not in str(error)
            results[f"rejected: {error}"] += 1
            continue
        results["imported"] += 1
        cannot.update(
            {re.sub(r"\b0x[0-9a-f]+|\S+@\S+", "N", warning) for warning in draft.warnings}
        )
        checked = check(description_text(draft).encode(), "x")
        rules.update({each.rule for each in checked.diagnostics})
        lines = lines_of(draft)
        if path.name in BOARDS:
            assert lines[2:] == BOARDS[path.name]
    assert {path.name for path in boards} >= set(BOARDS)
    _note(package.version, "boards", results)
    _note(package.version, "what a description cannot contain", cannot)
    _note(package.version, "findings", rules)
    assert set(results) == {"imported"}


def _note(version: str, what: str, counted: Counter[str]) -> None:
    """Add counts to what is printed at the end of the run."""
    counts = ", ".join(f"{count} x {reason}" for reason, count in counted.most_common())
    oracle.IMPORTED.append(f"device trees of Linux {version}: {what}: {counts or 'none'}")


# QEMU ---------------------------------------------------------------------------------------------

V3 = [
    "gic:",
    "  version: 3",
    "  distributor: 0x08000000",
    "  redistributors:",
    "    - base: 0x080a0000",
    "      count: 123",
]
SECOND_REGION = ["    - base: 0x4000000000", "      count: 512"]
ITS = ["  its: 0x08080000"]
V2 = ["gic:", "  version: 2", "  distributor: 0x08000000", "  cpu_interface: 0x08010000"]
PMU = ["pmu:", "  irq: 23"]
OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "GICv3": (
        ["-M", "virt,gic-version=3", "-cpu", "max", "-smp", "4"],
        ["vcpus: 4", *V3, *ITS, *PMU],
    ),
    "GICv2": (
        ["-M", "virt,gic-version=2", "-cpu", "cortex-a72", "-smp", "8"],
        ["vcpus: 8", *V2, *PMU],
    ),
    "no ITS, no PMU": (
        ["-M", "virt,gic-version=3,its=off", "-cpu", "max,pmu=off", "-smp", "1"],
        ["vcpus: 1", *V3],
    ),
    "130 CPUs": (
        ["-M", "virt,gic-version=3", "-cpu", "max", "-smp", "130"],
        ["vcpus: 130", *V3, *SECOND_REGION, *ITS, *PMU],
    ),
    "EL2": (
        ["-M", "virt,gic-version=3,virtualization=on", "-cpu", "max", "-smp", "2"],
        ["vcpus: 2", *V3, *ITS, *PMU, "features: [el2]"],
    ),
    "clusters": (
        ["-M", "virt,gic-version=3", "-cpu", "max", "-smp", "8,sockets=2,clusters=2,cores=2"],
        ["vcpus: 8", *V3, *ITS, *PMU],
    ),
}


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("options", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_device_trees_of_qemu_are_described(
    options: list[str], expected: list[str], suite: str, tmp_path: Path
) -> None:
    qemu = packages.qemu(suite)
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=60)
    assert f"version {SUITES[suite]}" in version.stdout
    draft = dumped(qemu, options, tmp_path / "guest.dtb")
    assert draft.warnings == []
    memory = ["memory:", "  - base: 0x40000000", "    size: 1GiB"]
    head = ["vmcfg: 1", "name: linux-dummy-virt", expected[0], *memory]
    assert lines_of(draft) == head + expected[1:]
    described = check(description_text(draft).encode(), "x").machine
    assert described is not None
    emitted = facts(libfdt.Fdt(compiled(source(described))))
    of_qemu = facts(libfdt.Fdt((tmp_path / "guest.dtb").read_bytes()))
    if suite == "bookworm":
        # The tree of QEMU 7.2 has no interrupt of the EL2 virtual timer; that of 10.0 has one.
        emitted["timer"] = emitted["timer"][: len(of_qemu["timer"])]
    assert emitted == of_qemu


def dumped(qemu: Path, options: list[str], path: Path) -> Draft:
    """Return the draft of the device tree that QEMU writes to `path` with these options."""
    machine_option, machine_name, *others = options
    dump = [machine_option, f"{machine_name},dumpdtb={path}", *others]
    subprocess.run(
        [qemu, *dump, "-m", "1G", "-display", "none", "-nic", "none"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return draft_of_blob(path.read_bytes())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_command_line_of_qemu_and_its_device_tree_are_the_same_vm(
    name: str, tmp_path: Path
) -> None:
    options, _ = OPTIONS[name]
    tree = dumped(packages.qemu("sid"), options, tmp_path / "guest.dtb").data
    with_kvm = ["host" + word[3:] if word.startswith("max") else word for word in options]
    words = ["qemu-system-aarch64", "-accel", "kvm", *with_kvm, "-m", "1G"]
    told = draft_of_words(words, Wanted()).data
    text, of_tree = (description_text(Draft("vm", each)) for each in (told, tree))
    machines = [check(each.encode(), "x").machine for each in (text, of_tree)]
    for machine_ in machines:
        assert machine_ is not None and machine_.gic is not None
    identified = [identifiers(each) for each in machines if each is not None]
    assert identified[0] == identified[1]


def identifiers(vm: Machine) -> list[object]:
    """Return what both sources contain: MPIDRs, interrupts, and the bases of the frames."""
    assert vm.gic is not None
    regions = vm.gic.redistributors
    bases = [each.base for each in regions] if isinstance(regions, tuple) else regions
    return [
        [(vcpu.mpidr, vcpu.pmu_irq) for vcpu in vm.vcpus],
        (vm.gic.version, vm.gic.distributor, vm.gic.cpu_interface, bases, vm.gic.its),
        [vm.timers.intid(timer) for timer in ("virtual", "physical")],
        vm.memory[0],
        vm.has_el2(),
    ]


NO_EL2 = "virtualization=off,mte=off"

ACPI = {
    "qemu-7.2-gicv3": ("bookworm", NO_EL2, "max", 4),
    "qemu-7.2-gicv2": ("bookworm", f"{NO_EL2},gic-version=2", "cortex-a72", 2),
    "qemu-7.2-no-pmu-sockets": ("bookworm", "mte=off", "max,pmu=off", 4),
    "qemu-10-gicv3": ("trixie", NO_EL2, "max", 4),
    "qemu-11-gicv3": ("sid", NO_EL2, "max", 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ACPI)
def test_acpi_tables_of_guests_with_uefi_are_those_of_the_tests(
    name: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    suite, machine_name, cpu, smp = ACPI[name]
    firmware = packages.files_of("bookworm", "all", "qemu-efi-aarch64", r"/QEMU_EFI\.fd$")
    (bios,) = firmware.root.rglob("QEMU_EFI.fd")
    kernel = oracle.kernel("6.12")
    result = machine.boot(
        kernel,
        machine.base_initrd(kernel),
        {},
        ["tar", "-c", "-C", "/sys/firmware/acpi/tables", "APIC", "GTDT"],
        packages.qemu(suite),
        Emulated(machine_name, cpu, cpus=smp),
        timeout=600,
        options=("-bios", str(bios)),
    )
    assert result.exit_code == 0, result.stderr
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        tables = [(each.name, archive.extractfile(each)) for each in archive]
        contents = [(name, stream.read()) for name, stream in tables if stream is not None]
    assert draft_of_tables(contents).warnings == []
    for table, content in contents:
        same_as_file(IMPORTS / "acpi" / name / table, content)


# libvirt ------------------------------------------------------------------------------------------

DOMAINS = "*/tests/qemuxmlconfdata/*aarch64*.xml"
"""The domains of libvirt's own tests."""


def test_every_domain_of_libvirts_tests_is_imported_or_rejected() -> None:
    folder = packages.source_of("trixie", "libvirt", DOMAINS)
    paths = sorted(path for path in folder.rglob("*.xml") if path.exists())
    assert len(paths) > 100
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            draft = draft_of_domain(path.read_bytes())
        except NoDraft as why:
            assert "\n" not in str(why)
            counts["rejected"] += 1
            continue
        assert "vmcfg: 1" in lines_of(draft), path
        counts["imported"] += 1
    assert counts["imported"] > counts["rejected"]
    oracle.IMPORTED.append(f"domains of libvirt's tests: {len(paths)}: {dict(counts)}")
