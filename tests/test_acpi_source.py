"""The ACPI tables of a VM: iasl has nothing to say, and `vmcfg import` reads the VM in them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.strategies import descriptions, json_text
from tests.test_tree_source import CASES, COMPLETE, GICV2, GICV3, HEAD, SAMPLES, machine_of
from vmcfg.arm.affinity import AFFINITIES, mpidr_register
from vmcfg.description.draft import description_text
from vmcfg.guest.acpi import draft_of_tables
from vmcfg.guest.acpi_source import gtdt, madt
from vmcfg.guest.rules import findings_for_guest
from vmcfg.vm.frames import frames
from vmcfg.vm.machine import Machine

HERE = Path(__file__).parent
WRITERS = {"madt": madt, "gtdt": gtdt}

CLEAN = "Compilation successful. 0 Errors, 0 Warnings, 0 Remarks"


@pytest.fixture(scope="module", autouse=True)
def iasl(program: Callable[[str], str]) -> str:
    return program("iasl")


def run_iasl(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["iasl", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def compiled(text: str, folder: Path, name: str = "table") -> bytes:
    """Return the table; iasl has no error, warning, or remark."""
    (folder / f"{name}.dsl").write_text(text)
    (folder / f"{name}.aml").unlink(missing_ok=True)
    output = run_iasl(folder, "-p", name, f"{name}.dsl")
    assert CLEAN in output, output
    return (folder / f"{name}.aml").read_bytes()


def imported(machine: Machine, folder: Path) -> Machine:
    """Return the VM that `vmcfg import` reads in the tables of `machine`."""
    tables = [(name, compiled(write(machine), folder)) for name, write in WRITERS.items()]
    return machine_of(description_text(draft_of_tables(tables)))


def assert_equal(machine: Machine, read: Machine) -> None:
    """Assert that `read` is what a guest can see of `machine`, in the same order."""
    assert [(vcpu.mpidr, vcpu.pmu_irq) for vcpu in read.vcpus] == [
        (vcpu.mpidr, vcpu.pmu_irq) for vcpu in machine.vcpus
    ]
    assert [frame.addresses for frame in frames(read)] == [
        frame.addresses for frame in frames(machine)
    ]
    assert read.gic_version() == machine.gic_version()
    for timer in ("virtual", "physical"):
        assert read.timers.intid(timer) == machine.timers.intid(timer)


@pytest.mark.parametrize("name", sorted(COMPLETE))
@pytest.mark.parametrize("table", WRITERS)
def test_iasl_compiles_it_and_what_it_disassembles(name: str, table: str, tmp_path: Path) -> None:
    machine = machine_of((SAMPLES | CASES)[name])
    first = compiled(WRITERS[table](machine), tmp_path)
    run_iasl(tmp_path, "-p", "again", "-d", "table.aml")
    assert compiled((tmp_path / "again.dsl").read_text(), tmp_path, "second") == first


@pytest.mark.parametrize("name", sorted(set(COMPLETE) - {"irregular"}))
def test_import_reads_the_vm(name: str, tmp_path: Path) -> None:
    machine = machine_of((SAMPLES | CASES)[name])
    read = imported(machine, tmp_path)
    # A table has no ids: those of the sample 'irregular' are in another order.
    assert_equal(machine, read)
    # It has no number of INTIDs either, but all PMU interrupts are valid.
    assert max(vcpu.pmu_irq or 0 for vcpu in read.vcpus) < read.nr_irqs()


@pytest.mark.parametrize("name", sorted(set(SAMPLES) & set(COMPLETE)))
@pytest.mark.parametrize("table", WRITERS)
def test_the_tables_of_a_sample_are_stored(
    name: str, table: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    text = WRITERS[table](machine_of(SAMPLES[name]))
    same_as_file(HERE / "tables" / f"{name}.{table}", text.encode())


def test_no_table_without_a_sample() -> None:
    stored = {path.name for path in (HERE / "tables").iterdir()}
    assert stored == {
        f"{name}.{table}" for name in set(SAMPLES) & set(COMPLETE) for table in WRITERS
    }


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(document=descriptions(most_vcpus=8))
def test_import_and_emit_return_the_same_tables(
    document: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    machine = machine_of(json_text(document))
    assume(not list(findings_for_guest(machine)))
    read = imported(machine, tmp_path_factory.mktemp("tables"))
    # A table has no ids.
    assume([vcpu.id for vcpu in read.vcpus] == [vcpu.id for vcpu in machine.vcpus])
    assert_equal(machine, read)
    assert [write(read) for write in WRITERS.values()] == [
        write(machine) for write in WRITERS.values()
    ]


def field(text: str, name: str) -> list[int]:
    """Return the values of a field, in the order of the table."""
    lines = [line.partition(":") for line in text.splitlines()]
    return [int(value, 16) for left, _, value in lines if left.split("]")[-1].strip() == name]


def test_each_vcpu_has_its_mpidr_and_its_spi() -> None:
    vcpus = "vcpus:\n  - {mpidr: 0.0.1.0, pmu_irq: spi:9}\n  - {mpidr: 0.0.0.0, pmu_irq: spi:20}\n"
    machine = machine_of(f"{HEAD}{vcpus}{GICV3}")
    text = madt(machine)
    found = dict(zip(field(text, "ARM MPIDR"), field(text, "Performance Interrupt"), strict=True))
    assert found == {0x100: 41, 0: 52}


def test_mpidrs_have_all_four_affinities() -> None:
    machine = machine_of(f"{HEAD}vcpus: [{{mpidr: 1.2.3.4}}]\n{GICV2}")
    assert field(madt(machine), "ARM MPIDR") == [mpidr_register(0x01020304) & AFFINITIES]
    assert field(madt(machine), "ARM MPIDR") == [0x1_0002_0304]


def test_a_gicv2_has_a_cpu_interface_per_vcpu() -> None:
    text = madt(machine_of(f"{HEAD}vcpus: 3\n{GICV2}"))
    assert field(text, "Base Address") == [0x0800_0000] + 3 * [0x0801_0000]
    assert field(text, "CPU Interface Number") == [0, 1, 2]
    assert field(text, "Version") == [2]


def test_a_guest_with_el2_has_its_timers_and_the_interrupt_of_its_gic() -> None:
    timers = "timers: {hyp_physical: 20, hyp_virtual: 21}\n"
    with_el2 = machine_of(f"{HEAD}vcpus: 1\nfeatures: [el2]\n{GICV3}{timers}")
    without = machine_of(f"{HEAD}vcpus: 1\n{GICV3}")
    for name, expected, absent in (
        ("Non-Secure EL2 Interrupt", 20, 0),
        ("Virtual EL2 Timer GSIV", 21, 0),
    ):
        assert field(gtdt(with_el2), name) == [expected]
        assert field(gtdt(without), name) == [absent]
    assert field(madt(with_el2), "Virtual GIC Interrupt") == [25]
    assert field(madt(without), "Virtual GIC Interrupt") == [0]


def test_the_tables_of_qemu_say_the_same(tmp_path: Path) -> None:
    """Its tables are in tests/imports: ours for the description in them agree where both speak."""
    from_qemu = [
        (name, (HERE / "imports/acpi/qemu-10-gicv3" / name).read_bytes())
        for name in ("APIC", "GTDT")
    ]
    machine = machine_of(description_text(draft_of_tables(from_qemu)))
    for (name, data), write in zip(from_qemu, WRITERS.values(), strict=True):
        (tmp_path / "qemu.aml").write_bytes(data)
        run_iasl(tmp_path, "-p", "qemu", "-d", "qemu.aml")
        text = (tmp_path / "qemu.dsl").read_text()
        ours = write(machine)
        for what in COMMON[name]:
            expected = field(text, what)
            assert expected, what
            assert field(ours, what) == expected, what


COMMON = {
    "APIC": (
        "ARM MPIDR",
        "Base Address",
        "CPU Interface Number",
        "Flags (decoded below)",
        "Length",
        "Performance Interrupt",
        "Performance Interrupt Trigger Mode",
        "Processor Enabled",
        "Processor UID",
        "Redistributor Base Address",
        "Translation ID",
        "Version",
        "Virtual GIC Interrupt",
    ),
    "GTDT": (
        "Counter Block Address",
        "Counter Read Block Address",
        "NEL1 Flags (decoded below)",
        "Non-Secure EL1 Interrupt",
        "Platform Timer Count",
        "Polarity",
        "Trigger Mode",
        "Virtual Timer Interrupt",
    ),
}
