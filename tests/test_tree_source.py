"""The device tree of a VM: dtc prints nothing about it, and `vmcfg import` reads the VM in it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import libfdt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.strategies import descriptions, json_text
from vmcfg.arm.affinity import AFFINITIES, mpidr_register
from vmcfg.checking.check import check
from vmcfg.description.draft import description_text
from vmcfg.guest.devicetree import draft_of_blob, draft_of_source
from vmcfg.guest.rules import findings_for_guest
from vmcfg.guest.tree_source import source
from vmcfg.monitors.qemu_command_line import command_line
from vmcfg.monitors.rules import findings_for_qemu
from vmcfg.vm.frames import frames
from vmcfg.vm.machine import Machine

HERE = Path(__file__).parent
SAMPLES = {path.stem: path.read_bytes() for path in (HERE.parent / "sample-configs").glob("*.yaml")}
CASES = {path.stem: path.read_bytes() for path in (HERE / "right").glob("*.yaml")}

HEAD = 'vmcfg: 1\nname: vm\nhost_kernel: "7.2"\n'
GICV3 = "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000}\n"
GICV2 = "gic: {version: 2, distributor: 0x08000000, cpu_interface: 0x08010000}\n"


def machine_of(text: bytes | str) -> Machine:
    machine = check(text if isinstance(text, bytes) else text.encode(), "vm.yaml").machine
    assert machine is not None
    return machine


def is_complete(machine: Machine) -> bool:
    """Return whether a device tree of it can be written."""
    return not list(findings_for_guest(machine))


def compiled(text: str, program: str = "dtc") -> bytes:
    """Return the blob; dtc has no error and no warning, of all that it can check."""
    done = subprocess.run(
        [program, "-I", "dts", "-O", "dtb", "-o", "-", "-"],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    assert done.stderr == b"", done.stderr.decode()
    assert done.returncode == 0
    return done.stdout


def imported(machine: Machine) -> Machine:
    """Return the VM that `vmcfg import` reads in the device tree of `machine`."""
    return machine_of(description_text(draft_of_blob(compiled(source(machine)))))


def nodes_with(text: str, pattern: str) -> list[str]:
    return re.findall(pattern, text)


COMPLETE = [name for name, text in (SAMPLES | CASES).items() if is_complete(machine_of(text))]


@pytest.fixture(scope="module", autouse=True)
def dtc(program: Callable[[str], str]) -> str:
    return program("dtc")


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_dtc_accepts_it_and_import_reads_the_vm(name: str) -> None:
    machine = machine_of((SAMPLES | CASES)[name])
    read = imported(machine)
    assert_equal(machine, read)
    assert source(read) == source(machine)


@pytest.mark.parametrize("name", sorted(set(SAMPLES) & set(COMPLETE)))
def test_what_import_reads_in_the_source_is_valid(name: str) -> None:
    machine = machine_of(SAMPLES[name])
    text = description_text(draft_of_source(source(machine).encode()))
    # A tree does not contain the host kernel.
    checked = check(text.encode(), "imported.yaml", host_kernel=machine.host_kernel)
    assert [each.rule for each in checked.diagnostics if each.severity == "error"] == []
    assert checked.machine is not None
    assert source(checked.machine) == source(machine)


@pytest.mark.parametrize("name", sorted(set(SAMPLES) & set(COMPLETE)))
def test_the_tree_of_a_sample_is_stored(
    name: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    same_as_file(HERE / "trees" / f"{name}.dts", source(machine_of(SAMPLES[name])).encode())


def test_no_tree_without_a_sample() -> None:
    assert {path.stem for path in (HERE / "trees").iterdir()} == set(SAMPLES) & set(COMPLETE)


def assert_equal(machine: Machine, read: Machine) -> None:
    """Assert that `read` is what a guest can see of `machine`."""
    irqs = {vcpu.mpidr: vcpu.pmu_irq for vcpu in machine.vcpus}
    assert {vcpu.mpidr: vcpu.pmu_irq for vcpu in read.vcpus} == irqs
    assert [frame.addresses for frame in frames(read)] == [
        frame.addresses for frame in frames(machine)
    ]
    assert read.gic_version() == machine.gic_version()
    # The timers, and the maintenance interrupt, which a guest without EL2 does not have.
    assert read.has_el2() == machine.has_el2()
    claimed = {each.name: each.intid for each in machine.claimed_ppis()}
    assert {each.name: each.intid for each in read.claimed_ppis()} == claimed
    assert read.name == machine.name
    if machine.steal_time is None:
        writable = [slot.addresses for slot in machine.memory if not slot.readonly]
        assert [slot.addresses for slot in read.memory] == writable


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(descriptions(), st.booleans(), st.permutations(range(16, 32)))
def test_import_and_emit_return_the_same_tree(
    document: dict[str, object], has_el2: bool, ppis: list[int]
) -> None:
    if has_el2:
        keys = ("virtual", "physical", "hyp_virtual", "hyp_physical")
        timers = dict(zip(keys, ppis[: len(keys)], strict=True))
        document = {**document, "features": ["el2"], "timers": timers}
    machine = machine_of(json_text(document))
    assume(is_complete(machine))
    tree = source(machine)
    read = imported(machine)
    assert_equal(machine, read)
    assert source(read) == tree


def test_each_spi_belongs_to_its_cpu() -> None:
    machine = machine_of(
        HEAD + GICV3 + "vcpus:\n"
        "  - {mpidr: 0.0.1.0, pmu_irq: spi:9}\n"
        "  - {mpidr: 0.0.0.0, pmu_irq: spi:20}\n"
    )
    blob = libfdt.Fdt(compiled(source(machine)))
    pmu = blob.path_offset("/pmu")
    interrupts = blob.getprop(pmu, "interrupts").as_uint32_list()
    affinity = blob.getprop(pmu, "interrupt-affinity").as_uint32_list()
    regs = [blob.getprop(blob.node_offset_by_phandle(each), "reg").as_uint32() for each in affinity]
    assert dict(zip(regs, interrupts[1::3], strict=True)) == {0: 20, 0x100: 9}
    # Level-triggered SPIs.
    assert interrupts[0::3] == [0, 0]
    assert interrupts[2::3] == [4, 4]


def test_cpus_are_named_by_their_affinities() -> None:
    mpidrs = ("0.0.0.0", "1.2.3.4", "0.0.200.255")
    vcpus = "".join(f"  - mpidr: {mpidr}\n" for mpidr in mpidrs)
    machine = machine_of(f"{HEAD}vcpus:\n{vcpus}{GICV2}")
    blob = libfdt.Fdt(compiled(source(machine)))
    found = {
        int.from_bytes(blob.getprop(blob.path_offset(f"/cpus/cpu@{reg:x}"), "reg"), "big")
        for reg in (0, 0x1_0002_0304, 0xC8FF)
    }
    assert found == {mpidr_register(vcpu.mpidr) & AFFINITIES for vcpu in machine.vcpus}


@pytest.mark.parametrize(
    ("vcpus", "flags"), [(1, 0x104), (4, 0xF04), (8, 0xFF04)], ids=["one", "four", "eight"]
)
def test_ppis_of_a_gicv2_have_the_mask_of_their_cpus(vcpus: int, flags: int) -> None:
    tree = source(machine_of(f"{HEAD}vcpus: {vcpus}\npmu: {{irq: 23}}\n{GICV2}"))
    assert f"interrupts = <1 7 {flags:#x}>;" in tree


def test_a_guest_with_el2_has_its_timers_its_gic_and_its_conduit() -> None:
    text = f"{HEAD}vcpus: 2\nfeatures: [el2]\n{GICV3}timers: {{hyp_physical: 20}}\n"
    tree = source(machine_of(text))
    assert "<1 4 4>,\n\t\t\t<1 12 4>;" in tree
    assert "interrupts = <1 9 4>;" in tree
    assert 'method = "smc";' in tree
    without = source(machine_of(f"{HEAD}vcpus: 2\n{GICV3}"))
    assert "<1 12 4>" not in without
    assert "<1 9 4>" not in without
    assert 'method = "hvc";' in without


@pytest.mark.parametrize(
    ("base", "left"),
    [
        ("0x40000000", [(0x4001_0000, 0x5000_0000)]),
        ("0x40020000", [(0x4000_0000, 0x4002_0000), (0x4003_0000, 0x5000_0000)]),
        ("0x4ffff000", [(0x4000_0000, 0x4FFF_0000)]),
        ("0x4000ffc0", [(0x4002_0000, 0x5000_0000)]),
    ],
    ids=["first", "inside", "last", "across"],
)
def test_pages_with_steal_time_are_no_memory(base: str, left: list[tuple[int, int]]) -> None:
    text = f"vcpus: 2\n{GICV3}memory: [{{base: 0x40000000, size: 256MiB}}]\nsteal_time: {base}\n"
    machine = machine_of(HEAD + text)
    assert [slot.addresses for slot in imported(machine).memory] == left


def test_read_only_memory_is_none_for_the_guest() -> None:
    slots = "{base: 0, size: 64KiB, readonly: true}, {base: 0x40000000, size: 1GiB}"
    machine = machine_of(f"{HEAD}vcpus: 2\n{GICV3}memory: [{slots}]\n")
    assert re.findall("memory@[0-9a-f]+", source(machine)) == ["memory@40000000"]


@pytest.mark.parametrize(
    ("gic", "where"),
    [
        ("", "VMC850 1:1"),
        ("gic: {version: 3, set_up_by: monitor}\n", "VMC850 5:1"),
        ("gic: {version: 2, set_up_by: monitor}\n", "VMC850 5:1"),
        ("gic: {version: 3, set_up_by: monitor, distributor: 0x08000000}\n", "VMC850 5:1"),
    ],
    ids=["no-gic", "gicv3", "gicv2", "no-redistributors"],
)
def test_what_the_guest_cannot_know_is_a_finding(gic: str, where: str) -> None:
    from vmcfg.checking.check import with_findings

    checked = check(f"{HEAD}vcpus: 2\n{gic}".encode(), "vm.yaml")
    assert checked.machine is not None
    found = with_findings(checked, findings_for_guest(checked.machine)).diagnostics
    assert [f"{each.rule} {each.span.line}:{each.span.column}" for each in found] == [where]
    # Its hint leads to a tree.
    if gic:
        keys = re.findall(r"'(\w+: 0x[0-9a-f]+)'", found[0].hint or "")
        assert keys
        added = gic.replace("}", f", {', '.join(keys)}}}")
        assert is_complete(machine_of(f"{HEAD}vcpus: 2\n{added}"))


# QEMU ---------------------------------------------------------------------------------------------

DESCRIBED = {
    **{path.stem: path.read_bytes() for path in (HERE / "qemu").glob("*.yaml")},
    **{
        name: SAMPLES[name]
        for name in COMPLETE
        if name in SAMPLES and not list(findings_for_qemu(machine_of(SAMPLES[name])))
    },
}
"""Descriptions that QEMU can run."""

WITH_GIC = sorted(name for name, text in DESCRIBED.items() if is_complete(machine_of(text)))


@pytest.fixture(scope="module")
def tree_of_qemu(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Machine], libfdt.Fdt]:
    """Return a function that returns the device tree that QEMU makes of its options.

    QEMU emulates arm64 here, so the options of KVM are left out.
    """
    qemu = program("qemu-system-aarch64")
    path = tmp_path_factory.mktemp("qemu") / "board.dtb"

    def tree(machine: Machine) -> libfdt.Fdt:
        _, *words = shlex.split(command_line(machine))
        line = shlex.join(words).replace("-accel kvm", "-accel tcg")
        line = line.replace("-cpu host", "-cpu max")
        line = re.sub(r",(?:aarch64|sve\w*|pauth|kvm-[a-z-]+)=\w+|-drive \S+|,mte=on", "", line)
        line = line.replace("-machine virt", f"-machine virt,dumpdtb={path}")
        # Much RAM must not be reserved.
        size = re.search(r"-m (\S+)", line)
        if size:
            line += f" -object memory-backend-ram,id=ram,size={size[1]},reserve=off"
            line = line.replace("-machine virt", "-machine virt,memory-backend=ram")
        command = [qemu, *shlex.split(line), "-display", "none", "-nic", "none"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return libfdt.Fdt(path.read_bytes())

    return tree


def nodes_below(tree: libfdt.Fdt, above: int) -> Iterator[int]:
    """Yield every node below one, except those that are not there."""
    node = tree.first_subnode(above, [libfdt.NOTFOUND])
    while node >= 0:
        if tree.getprop(node, "status", [libfdt.NOTFOUND]) != b"disabled\0":
            yield node
            yield from nodes_below(tree, node)
        node = tree.next_subnode(node, [libfdt.NOTFOUND])


def facts(tree: libfdt.Fdt) -> dict[str, list[int] | list[str]]:
    """Return what two trees of a VM must have in common."""
    by_compatible: dict[str, list[int]] = {}
    for node in nodes_below(tree, 0):
        compatible = tree.getprop(node, "compatible", [libfdt.NOTFOUND])
        if not isinstance(compatible, int):
            by_compatible.setdefault(compatible.as_stringlist()[0], []).append(node)

    def cells(kind: str, name: str) -> list[int]:
        found: list[int] = []
        for each in by_compatible.get(kind, []):
            value = tree.getprop(each, name, [libfdt.NOTFOUND])
            found += [] if isinstance(value, int) else value.as_uint32_list()
        return found

    regs = [
        int.from_bytes(tree.getprop(node, "reg"), "big")
        for node in nodes_below(tree, tree.path_offset("/cpus"))
        if tree.get_name(node).startswith("cpu@")
    ]
    gic = cells("arm,gic-v3", "reg") or cells("arm,cortex-a15-gic", "reg")
    return {
        "CPUs": sorted(regs),
        "timer": cells("arm,armv8-timer", "interrupts"),
        "PMU": cells("arm,armv8-pmuv3", "interrupts"),
        "GIC": [high << 32 | low for high, low in zip(gic[::4], gic[1::4], strict=True)],
        "ITS": cells("arm,gic-v3-its", "reg")[:2],
        "maintenance": cells("arm,gic-v3", "interrupts"),
        "conduits": [
            conduit
            for node in by_compatible["arm,psci-1.0"]
            for conduit in tree.getprop(node, "method").as_stringlist()
        ],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_GIC)
def test_the_tree_of_qemu_says_the_same(
    name: str, tree_of_qemu: Callable[[Machine], libfdt.Fdt]
) -> None:
    machine = machine_of(DESCRIBED[name])
    of_qemu, ours = facts(tree_of_qemu(machine)), facts(libfdt.Fdt(compiled(source(machine))))
    assert ours["CPUs"]
    assert ours == of_qemu
