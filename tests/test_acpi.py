"""ACPI tables: the description that `vmcfg import` makes of them, and those that it rejects."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_draft import mpidrs_in_order
from vmcfg.arm.affinity import mpidr_text
from vmcfg.checking.check import check
from vmcfg.description.draft import Draft, NoDraft, description_text
from vmcfg.guest import acpi
from vmcfg.guest.acpi import MOST_ENTRIES, draft_of_tables

ROOT = Path(__file__).parent.parent
OF_QEMU = ROOT / "tests" / "imports" / "acpi"


def few(examples: int) -> settings:
    """Return settings for a few tables."""
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


# Tables, written without vmcfg: ACPI 6.5, sections 5.2.6, 5.2.12, and 5.2.25 ----------------------


def table(signature: bytes, revision: int, body: bytes) -> bytes:
    head = signature + struct.pack("<I", 36 + len(body)) + bytes([revision, 0]) + b"VMCFG "
    head += b"TESTS   " + struct.pack("<I", 1) + b"TEST" + struct.pack("<I", 1)
    whole = bytearray(head + body)
    whole[9] = -sum(whole) & 0xFF
    return bytes(whole)


def apic(*structures: bytes) -> bytes:
    return table(b"APIC", 5, bytes(8) + b"".join(structures))


def gicc(
    mpidr: int,
    pmu: int = 0,
    flags: int = 1,
    interface: int = 0,
    maintenance: int = 0,
    redistributor: int = 0,
    length: int = 80,
) -> bytes:
    fields = (0, 0, flags, 0, pmu, 0, interface, 0, 0, maintenance, redistributor, mpidr)
    packed = struct.pack("<BBHIIIIIQQQQIQQ", 0xB, length, 0, *fields)
    return packed + bytes(length - len(packed))


def gicd(version: int = 3, base: int = 0x800_0000) -> bytes:
    return struct.pack("<BBHIQIB3x", 0xC, 24, 0, 0, base, 0, version)


def gicr(base: int, size: int) -> bytes:
    return struct.pack("<BBHQI", 0xE, 16, 0, base, size)


def its(base: int) -> bytes:
    return struct.pack("<BBHIQI", 0xF, 20, 0, 0, base, 0)


def gtdt(
    physical: int = 30, virtual: int = 27, hyp: int = 26, hyp_virtual: int = 0, revision: int = 3
) -> bytes:
    body = struct.pack("<QIIIIIIIII", 0, 0, 29, 0, physical, 0, virtual, 0, hyp, 0)
    body += struct.pack("<QII", 0, 0, 0)
    if revision >= 3:
        body += struct.pack("<II", hyp_virtual, 0)
    return table(b"GTDT", revision, body)


REGION = gicr(0x80A_0000, 0xF6_0000)
MSI_FRAME = struct.pack("<BBHIQIHH", 0xD, 24, 0, 0, 0x802_0000, 0, 0, 0)
V3 = (
    "gic:\n  version: 3\n  distributor: 0x08000000\n"
    "  redistributors:\n    - base: 0x080a0000\n      count: 123\n"
)


def draft(*tables: bytes) -> Draft:
    return draft_of_tables([(f"table-{place}", each) for place, each in enumerate(tables)])


def written(*tables: bytes) -> str:
    """Return the description without its comments; its shape has no findings."""
    found = draft(*tables)
    found.name = "vm"
    text = description_text(found)
    assert_readable(text)
    return without_comments(text)


def without_comments(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))


def assert_readable(text: str) -> None:
    found = [each for each in check(text.encode(), "x").diagnostics if each.rule < "VMC2"]
    assert not found, f"{found}\n{text}"


HEAD = "vmcfg: 1\nname: vm\n"
TABLES: dict[str, tuple[tuple[bytes, ...], str]] = {
    "PPIs": (
        (apic(gicd(), gicc(0, 23), gicc(1, 23), REGION, MSI_FRAME, its(0x808_0000)), gtdt()),
        f"{HEAD}vcpus: 2\n{V3}  its: 0x08080000\npmu:\n  irq: 23\n",
    ),
    "SPIs, and Aff3": (
        (gtdt(), apic(gicd(), gicc(1 << 32, 41), gicc(1 << 32 | 1, 40), REGION)),
        f"{HEAD}vcpus:\n  - mpidr: 1.0.0.0\n    pmu_irq: spi:9\n"
        f"  - mpidr: 1.0.0.1\n    pmu_irq: spi:8\n{V3}",
    ),
    "GICv2": (
        (apic(gicd(2), gicc(0, interface=0x801_0000, length=76)),),
        f"{HEAD}vcpus: 1\ngic:\n  version: 2\n  distributor: 0x08000000\n"
        "  cpu_interface: 0x08010000\n",
    ),
    "a GIC that software identifies": (
        (apic(gicd(0), gicc(0, interface=0x801_0000)),),
        f"{HEAD}vcpus: 1\ngic:\n  version: 2\n  distributor: 0x08000000\n"
        "  cpu_interface: 0x08010000\n",
    ),
    "a GICv4, which is a GICv3 for guests": (
        (apic(gicd(4), gicc(0), REGION),),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "a redistributor per CPU": (
        (
            apic(
                gicd(),
                gicc(0, redistributor=0x80A_0000),
                gicc(1, redistributor=0x80C_0000),
                gicc(2, redistributor=0x900_0000, length=82),
            ),
        ),
        f"{HEAD}vcpus: 3\ngic:\n  version: 3\n  distributor: 0x08000000\n  redistributors:\n"
        "    - base: 0x080a0000\n      count: 2\n    - base: 0x09000000\n      count: 1\n",
    ),
    "a maintenance interrupt": (
        (apic(gicd(), gicc(0, maintenance=24), REGION),),
        f"{HEAD}vcpus: 1\n{V3}  maintenance_irq: 24\n",
    ),
    "other timers": (
        (apic(gicd(), gicc(0), REGION), gtdt(19, 20, 21, 22)),
        f"{HEAD}vcpus: 1\n{V3}timers:\n  virtual: 20\n  physical: 19\n  hyp_virtual: 22\n"
        "  hyp_physical: 21\n",
    ),
    "a GTDT of revision 2": (
        (apic(gicd(), gicc(0), REGION), gtdt(revision=2) + b"\x11" * 60),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
    "other tables": (
        (table(b"FACP", 6, bytes(240)), apic(gicd(), gicc(0), REGION)),
        f"{HEAD}vcpus: 1\n{V3}",
    ),
}


@pytest.mark.parametrize(("tables", "expected"), TABLES.values(), ids=TABLES)
def test_tables_are_described(tables: tuple[bytes, ...], expected: str) -> None:
    assert written(*tables) == expected


V3_WITH_ITS = f"{V3}  its: 0x08080000\n"
QEMU = {
    "qemu-7.2-gicv2": "vcpus: 2\ngic:\n  version: 2\n  distributor: 0x08000000\n"
    "  cpu_interface: 0x08010000\npmu:\n  irq: 23\n",
    "qemu-7.2-gicv3": f"vcpus: 4\n{V3_WITH_ITS}pmu:\n  irq: 23\n",
    "qemu-7.2-no-pmu-sockets": f"vcpus: 4\n{V3_WITH_ITS}",
    "qemu-10-gicv3": f"vcpus: 4\n{V3_WITH_ITS}pmu:\n  irq: 23\n",
    "qemu-11-gicv3": f"vcpus: 4\n{V3_WITH_ITS}pmu:\n  irq: 23\n",
}


@pytest.mark.parametrize(("name", "expected"), QEMU.items())
def test_tables_of_qemu_are_described(name: str, expected: str) -> None:
    tables = [(OF_QEMU / name / each).read_bytes() for each in ("APIC", "GTDT")]
    assert written(*tables) == HEAD + expected
    assert draft(*tables).warnings == []


def test_every_directory_of_tables_is_described() -> None:
    assert sorted(path.name for path in OF_QEMU.iterdir()) == sorted(QEMU)


WRONG_CHECKSUM = bytearray(apic(gicd(), gicc(0), REGION))
WRONG_CHECKSUM[9] ^= 1
WARNINGS: dict[str, tuple[bytes, str]] = {
    "a wrong checksum": (
        bytes(WRONG_CHECKSUM),
        "The checksum of the table APIC is wrong.",
    ),
    "no distributor": (
        apic(gicc(0)),
        "The table APIC contains no distributor of a GIC.",
    ),
    "a GICv5": (
        apic(gicd(5), gicc(0)),
        "The GIC has version 5, and a description can contain only a GICv2 or GICv3.",
    ),
    "CPUs for later": (
        apic(gicd(), gicc(0), gicc(1, flags=8), gicc(2, flags=0), REGION),
        "Not imported: CPUs that can be enabled later; the table APIC has 1.",
    ),
    "bits outside the affinities": (
        apic(gicd(), gicc(0x8000_0000), REGION),
        "The MPIDR 0x80000000 has bits outside the affinities.",
    ),
    "half a redistributor": (
        apic(gicd(), gicc(0), gicr(0x80A_0000, 0x3_0000)),
        "The redistributor region at 0x80a0000 has 0x30000 bytes, which is not a multiple of"
        " 0x20000.",
    ),
}


@pytest.mark.parametrize(("source", "expected"), WARNINGS.values(), ids=WARNINGS)
def test_what_a_description_cannot_contain_is_a_warning(source: bytes, expected: str) -> None:
    assert draft(source).warnings == [expected]
    assert written(source).startswith(f"{HEAD}vcpus: 1\n")


def test_what_tables_do_not_contain_is_a_note() -> None:
    notes = draft(apic(gicd(), gicc(0), REGION)).notes
    missing = "Without the table GTDT, the timers are not known: see 'timers'."
    assert notes == [*acpi.NOTES, acpi.NOTE_ABOUT_GIC, missing]
    assert missing not in draft(apic(gicd(), gicc(0), REGION), gtdt()).notes


RIGHT = apic(gicd(), gicc(0), REGION)
REJECTED = {
    "cut header": ((b"APIC",), "table-0 is incomplete: it has 4 of 36 bytes"),
    "cut": ((RIGHT[:-1],), f"table-0 is incomplete: it has {len(RIGHT) - 1} of {len(RIGHT)} bytes"),
    "short length": (
        (RIGHT[:4] + struct.pack("<I", 35) + RIGHT[8:],),
        "the length of the table APIC in table-0 is invalid: 35",
    ),
    "no APIC": ((gtdt(),), "there is no table APIC, which contains the CPUs"),
    "no CPUs": ((apic(gicd()),), "the table APIC contains no enabled CPU with a GIC"),
    "two tables": ((RIGHT, apic(gicc(1))), "there are two different tables APIC"),
    "a CPU of ACPI 5.0": (
        (apic(gicc(0)[:1] + b"\x28" + gicc(0)[2:40]),),
        "the table APIC is damaged: the structure at 0x2c has 40 bytes",
    ),
    "a structure of no bytes": (
        (apic(b"\0\0"),),
        "the table APIC is damaged: the structure at 0x2c has 0 bytes",
    ),
    "a structure that ends too late": (
        (apic(b"\0\x10"),),
        "the table APIC is damaged: the structure at 0x2c has 16 bytes",
    ),
    "a short GTDT": (
        (RIGHT, table(b"GTDT", 3, bytes(40))),
        "the table GTDT is damaged: it has 76 bytes",
    ),
    "many CPUs": (
        (apic(*[gicc(0)] * (MOST_ENTRIES + 1)),),
        f"the table APIC has more than {MOST_ENTRIES} structures of a kind",
    ),
}


@pytest.mark.parametrize(("tables", "expected"), REJECTED.values(), ids=REJECTED)
def test_rejected_tables_are_one_sentence(tables: tuple[bytes, ...], expected: str) -> None:
    with pytest.raises(NoDraft) as raised:
        draft(*tables)
    assert str(raised.value) == expected


# Laws ---------------------------------------------------------------------------------------------


@st.composite
def machines(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what tables contain of a VM."""
    count = draw(st.integers(1, 12))
    mpidrs = draw(
        st.lists(
            st.builds(
                lambda *fields: sum(field << 8 * place for place, field in enumerate(fields)),
                *[st.integers(0, 255)] * 4,
            ),
            min_size=count,
            max_size=count,
            unique=True,
        )
    )
    spis = draw(st.lists(st.integers(32, 1019), min_size=count, max_size=count, unique=True))
    return {
        "mpidrs": mpidrs,
        "irqs": draw(st.sampled_from([[None] * count, [23] * count, spis])),
        "regions": draw(
            st.lists(
                st.tuples(st.integers(0, (1 << 64) - 1), st.integers(1, 4095)),
                min_size=1,
                max_size=4,
            )
        ),
        "its": draw(st.lists(st.integers(0, (1 << 64) - 1), max_size=3)),
        "timers": draw(
            st.fixed_dictionaries(
                {
                    key: st.integers(16, 31)
                    for key in ("physical", "virtual", "hyp_physical", "hyp_virtual")
                }
            )
        ),
    }


@few(100)
@given(machines())
def test_a_description_has_what_the_tables_have(machine: dict[str, Any]) -> None:
    structures = [
        gicc(mpidr >> 24 << 32 | mpidr & 0xFFFFFF, irq or 0)
        for mpidr, irq in zip(machine["mpidrs"], machine["irqs"], strict=True)
    ]
    structures += [gicr(base, count * 0x2_0000) for base, count in machine["regions"]]
    structures += [its(base) for base in machine["its"]]
    timers = machine["timers"]
    timer_table = gtdt(
        timers["physical"], timers["virtual"], timers["hyp_physical"], timers["hyp_virtual"]
    )
    data = written(apic(gicd(), *structures), timer_table).encode()
    vm = check(data, "x").machine
    assert vm is not None and vm.gic is not None
    irq_of = dict(zip(machine["mpidrs"], machine["irqs"], strict=True))
    assert {vcpu.mpidr: vcpu.pmu_irq for vcpu in vm.vcpus} == irq_of
    assert mpidrs_in_order(data.decode()) == [mpidr_text(each) for each in machine["mpidrs"]]
    assert {key: vm.timers.intid(key) for key in timers} == timers
    regions = [(each.base, each.count) for each in vm.gic.redistributors]  # type: ignore[union-attr]
    assert (regions, list(vm.gic.its)) == (machine["regions"], machine["its"])


def assert_rejected_or_readable(*tables: bytes) -> None:
    try:
        found = draft(*tables)
    except NoDraft as error:
        assert "\n" not in str(error)
        return
    assert_readable(description_text(found))


WHOLE = apic(gicd(), gicc(0, 40), gicc(1, 41), REGION, its(0x808_0000))


def test_tables_that_are_cut_anywhere_are_rejected() -> None:
    for source in (WHOLE, gtdt()):
        for length in range(len(source)):
            with pytest.raises(NoDraft) as raised:
                draft(source[:length], WHOLE)
            assert f"table-0 is incomplete: it has {length} of" in str(raised.value)


@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_any_byte_of_the_tables_can_be_wrong(value: int) -> None:
    for source, other in ((WHOLE, gtdt()), (gtdt(), WHOLE)):
        for place in range(len(source)):
            changed = source[:place] + bytes([value]) + source[place + 1 :]
            assert_rejected_or_readable(changed, other)


@pytest.mark.slow
@pytest.mark.parametrize("structure", [b"\0\2", gicc(0), gicr(0, 1)], ids=["empty", "CPU", "GICR"])
def test_a_large_table_needs_little_memory(structure: bytes, tmp_path: Path) -> None:
    path = tmp_path / "APIC"
    path.write_bytes(apic(gicc(0), *[structure] * (((16 << 20) - 200) // len(structure))))
    done = subprocess.run(
        [sys.executable, "-m", "vmcfg", "import", str(path)],
        env={"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr


@few(200)
@given(st.data())
def test_lengths_can_lie(data: st.DataObject) -> None:
    changed = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(WHOLE) - 4))
        lie = data.draw(st.sampled_from([0, 1, 0xFFFF_FFFF]) | st.integers(0, 2 * len(WHOLE)))
        changed[place : place + 4] = struct.pack("<I", lie)
    assert_rejected_or_readable(bytes(changed), gtdt())
