"""vmcfg show: every identifier of every vCPU, compared with the register layouts bit by bit; its
three formats; its exit codes.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.processes import run_vmcfg_as_text
from tests.terminals import printed_on_terminal
from vmcfg.checking.check import check
from vmcfg.vm.identifiers import Names, irq_line, names, notes
from vmcfg.vm.readings import readings

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "show-v1.schema.json").read_text()))

Json = dict[str, Any]
Vmcfg = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def show(tmp_path: Path) -> Vmcfg:
    """Return a function that runs show on the text of a description, in its own process."""

    def run(description: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "vm.yaml").write_text(description)
        return run_vmcfg_as_text(["show", "vm.yaml", *options], cwd=tmp_path)

    return run


def shown(description: str) -> list[Json]:
    machine = check(description.encode(), "vm.yaml").machine
    assert machine is not None
    return [each.as_json() for each in names(machine)]


# What it prints -----------------------------------------------------------------------------------

TWO = """\
vmcfg: 1
name: vm
host_kernel: "6.12"
vcpus:
  - {mpidr: 0.0.1.0, pmu_irq: 40}
  - {mpidr: 0.0.200.1, pmu_irq: 41}
"""


def test_json_is_the_documented_object_to_the_letter(show: Vmcfg) -> None:
    done = show(TWO, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "format": "vmcfg.show",
        "format_version": "1.0",
        "vm": "vm",
        "vcpus": [
            {
                "index": 0,
                "id": 0,
                "mpidr": "0.0.200.1",
                "mpidr_el1": "0x8000c801",
                "compressed": "0xc801",
                "reg": ["0xc801"],
                "intid": 41,
                "ppi": None,
                "spi": 9,
                "interrupts": [0, 9, 4],
                "gsiv": 41,
                "irq_line": "0x1000029",
                "irq_line_layout2": False,
                "boot": False,
                "mpidr_by_register": True,
            },
            {
                "index": 1,
                "id": 16,
                "mpidr": "0.0.1.0",
                "mpidr_el1": "0x80000100",
                "compressed": "0x100",
                "reg": ["0x100"],
                "intid": 40,
                "ppi": None,
                "spi": 8,
                "interrupts": [0, 8, 4],
                "gsiv": 40,
                "irq_line": "0x1000028",
                "irq_line_layout2": False,
                "boot": True,
                "mpidr_by_register": False,
            },
        ],
    }


@st.composite
def vcpus(draw: st.DrawFn) -> Names:
    """Draw the identifiers of any vCPU that KVM can have, even one that a guest cannot use."""
    mpidr = draw(st.integers(0, (1 << 32) - 1))
    cells = 2 if mpidr >> 24 else draw(st.sampled_from([1, 2]))
    intid = draw(st.none() | st.integers(16, 31) | st.integers(32, 1019))
    return Names(
        draw(st.integers(0, 511)), draw(st.integers(0, 511)), mpidr, intid, False, True, cells, 0
    )


@given(vcpus())
def test_every_name_is_the_vcpus_by_the_layout_of_its_bits(vcpu: Names) -> None:
    told = vcpu.as_json()
    aff3, aff2, aff1, aff0 = map(int, told["mpidr"].split("."))
    register = int(told["mpidr_el1"], 16)
    # MPIDR_EL1: Aff3 [39:32], RES1 [31], U [30], MT [24], Aff2 [23:16], Aff1 [15:8], Aff0 [7:0]
    # (Arm ARM, D24.2).
    fields = [register >> shift & 255 for shift in (32, 16, 8, 0)]
    assert fields == [aff3, aff2, aff1, aff0]
    assert register & ~0xFF_00FF_FFFF == 1 << 31
    assert int(told["compressed"], 16).to_bytes(4, "big") == bytes([aff3, aff2, aff1, aff0])
    cells = [int(cell, 16) for cell in told["reg"]]
    assert cells[-1] == register & 0xFFFFFF
    assert cells[:-1] in ([], [aff3])
    assert bool(aff3) <= (len(cells) == 2)


@given(vcpus())
def test_without_an_interrupt_it_has_no_words(vcpu: Names) -> None:
    told = vcpu._replace(intid=None).as_json()
    keys = ("intid", "ppi", "spi", "interrupts", "gsiv", "irq_line")
    assert {told[key] for key in keys} == {None}
    assert told["irq_line_layout2"] is False


@given(vcpus())
def test_the_interrupts_words_are_by_the_layout_of_their_bits(vcpu: Names) -> None:
    assume(vcpu.intid is not None)
    assert vcpu.intid is not None
    told = vcpu.as_json()
    ppi = vcpu.intid < 32
    assert (told["ppi"], told["spi"]) == (
        (vcpu.intid - 16, None) if ppi else (None, vcpu.intid - 32)
    )
    assert told["interrupts"] == [1 if ppi else 0, vcpu.intid - (16 if ppi else 32), 4]
    assert told["gsiv"] == told["intid"] == vcpu.intid
    # KVM_IRQ_LINE: vcpu2 [31:28], type [27:24], vcpu [23:16], number [15:0]
    # (Documentation/virt/kvm/api.rst 4.25).
    word = int(told["irq_line"], 16)
    assert word < 1 << 32
    assert (word >> 24 & 15, word & 0xFFFF) == (2 if ppi else 1, vcpu.intid)
    assert (word >> 28) * 256 + (word >> 16 & 255) == (vcpu.id if ppi else 0)
    assert told["irq_line_layout2"] == (word >> 28 > 0)


@given(vcpus())
def test_decode_goes_back_from_every_name(vcpu: Names) -> None:
    told = vcpu.as_json()

    def meaning(name: str, value: int) -> str:
        (reading,) = [each for each in readings(value) if each.name == name]
        assert reading.meaning is not None, reading
        return reading.meaning

    mpidr = f"MPIDR {told['mpidr']}"
    for name, value in (
        ("MPIDR_EL1", int(told["mpidr_el1"], 16)),
        ("compressed MPIDR", int(told["compressed"], 16)),
        ("attr of the PMU device, by MPIDR", int(told["compressed"], 16) << 32),
        ("attr of GICv3 REDIST_REGS", int(told["compressed"], 16) << 32 | 8),
        ("attr of GICv3 CPU_SYSREGS", int(told["compressed"], 16) << 32 | 0xC665),
        ("attr of GICv3 LEVEL_INFO", int(told["compressed"], 16) << 32 | 32),
        (
            "device tree reg of a CPU",
            sum(int(cell, 16) << 32 * at for at, cell in enumerate(reversed(told["reg"]))),
        ),
    ):
        said = meaning(name, value)
        assert re.search(rf"{re.escape(mpidr)}(?![0-9.])", said), (name, said)
    assert meaning("vCPU id", vcpu.id)
    assert f"vCPU index {vcpu.index}," in meaning("attr of the PMU device, by index", vcpu.index)
    if vcpu.intid is not None:
        interrupt = f"INTID {vcpu.intid} ("
        assert meaning("INTID", vcpu.intid).startswith(interrupt)
        said = meaning("KVM_IRQ_LINE word", int(told["irq_line"], 16))
        assert said.startswith(interrupt)
        assert (f" of vCPU id {vcpu.id} " in said) == (vcpu.intid < 32)
        assert ("LAYOUT_2" in said) == told["irq_line_layout2"]
        assert interrupt in meaning("device tree interrupts cell", told["interrupts"][1])


@given(
    st.lists(st.integers(0, 511), min_size=1, max_size=20, unique=True),
    st.sampled_from(["derived", "sequential"]),
)
def test_ids_indexes_and_registers_are_those_of_the_plan(mpidrs: list[int], policy: str) -> None:
    lines = "\n".join(f"  - mpidr: 0.0.{vcpu >> 4}.{vcpu & 15}" for vcpu in mpidrs)
    every = shown(
        f'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\nvcpu_ids: {policy}\npmu: {{irq: 23}}\n'
        f"vcpus:\n{lines}\n"
    )
    assert [each["index"] for each in every] == list(range(len(mpidrs)))
    expected = sorted(mpidrs) if policy == "derived" else list(range(len(mpidrs)))
    assert [each["id"] for each in every] == expected
    placed = sorted(mpidrs) if policy == "derived" else mpidrs
    assert [int(each["compressed"], 16) for each in every] == [
        vcpu >> 4 << 8 | vcpu & 15 for vcpu in placed
    ]
    assert [each["boot"] for each in every] == [vcpu == mpidrs[0] for vcpu in placed]
    assert [each["mpidr_by_register"] for each in every] == [
        a != b for a, b in zip(expected, placed, strict=True)
    ]


def test_a_ppi_of_a_gicv2_names_all_cpus_in_its_third_cell() -> None:
    gic = "gic: {version: 2, distributor: 0x08000000, cpu_interface: 0x08010000}"
    every = shown(f"vmcfg: 1\nname: vm\nvcpus: 3\npmu: {{irq: 23}}\n{gic}\n")
    assert [each["interrupts"] for each in every] == [[1, 7, 0x704]] * 3
    spis = shown(f"vmcfg: 1\nname: vm\nvcpus: 3\npmu: {{irq: spi:0-2}}\n{gic}\n")
    assert [each["interrupts"] for each in spis] == [[0, number, 4] for number in range(3)]


def test_aff3_makes_two_cells_of_every_reg() -> None:
    every = shown(
        'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\nvcpus: [{mpidr: 0.0.0.0}, {mpidr: 7.1.2.3}]\n'
    )
    assert [each["reg"] for each in every] == [["0x0", "0x0"], ["0x7", "0x10203"]]


def test_an_interrupt_that_has_no_word_has_none() -> None:
    assert [irq_line(intid, 0) for intid in (0, 15, 1020, 8192)] == [None] * 4
    vcpu = Names(0, 0, 0, 15, True, False, 1, 0)
    assert (vcpu.as_json()["interrupts"], vcpu.as_json()["irq_line"]) == (None, None)


def test_notes_say_what_a_word_needs() -> None:
    def told(text: str) -> str:
        machine = check(f"vmcfg: 1\nname: vm\n{text}".encode(), "vm.yaml").machine
        assert machine is not None
        return " ".join(notes(machine))

    assert told("vcpus: 256\npmu: {irq: 23}") == ""
    assert "of vCPU 256 requires KVM_CAP_ARM_IRQ_LINE_LAYOUT_2" in told(
        "vcpus: 257\npmu: {irq: 23}"
    )
    assert "of 256 vCPUs (id 256 and above) requires" in told("vcpus: 512\npmu: {irq: 23}")
    assert told("vcpus: 512\npmu: {irq: spi:0-511}") == ""
    sparse = "vcpus: [{mpidr: 0.0.0.0}, {mpidr: 0.0.0.2}]\npmu: {irq: 23}\n"
    assert "Linux before 6.7 reads an index" in told(sparse)
    assert told(sparse + 'host_kernel: "6.7"') == ""


def test_kernels_that_do_not_exist_have_a_note(show: Vmcfg) -> None:
    def said(kernel: str) -> str:
        return show(f'vmcfg: 1\nname: vm\nvcpus: 1\nhost_kernel: "{kernel}"\n').stdout

    assert "Linux 6.20 does not exist: 6.19 is the last release before 7.0." in said("6.20")
    newer = "is newer than 7.3, the newest kernel that vmcfg was tested with."
    assert f"Linux 7.4 {newer}" in said("7.4")
    assert f"Linux 8.0 {newer}" in said("8.0")
    for known in ("6.1", "6.19", "7.0", "7.3"):
        assert "Linux" not in said(known)


# Its formats --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_shown_by_the_schema_and_alike_in_csv(sample: Path, show: Vmcfg) -> None:
    text = sample.read_text()
    done = show(text, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    SCHEMA.validate(report)
    rows = list(csv.reader(io.StringIO(show(text, "--format", "csv").stdout)))
    assert rows[0] == list(report["vcpus"][0])
    words = {True: "true", False: "false", None: ""}
    for row, vcpu in zip(rows[1:], report["vcpus"], strict=True):
        for field, value in zip(row, vcpu.values(), strict=True):
            if isinstance(value, list):
                assert field.split(" ") == [str(each) for each in value]
            else:
                assert field == (
                    words[value] if value is None or isinstance(value, bool) else str(value)
                )


def test_the_schema_is_strict(show: Vmcfg) -> None:
    report = json.loads(show(TWO, "--format", "json").stdout)
    for each in (report, report["vcpus"][0]):
        for key in list(each):
            held = each.pop(key)
            assert not SCHEMA.is_valid(report), key
            each[key] = held
        each["else"] = 1
        assert not SCHEMA.is_valid(report)
        del each["else"]
    SCHEMA.validate(report)


HUMAN = """\
index  id  MPIDR      MPIDR_EL1   compressed  reg     INTID  PPI/SPI  KVM_IRQ_LINE
0      0   0.0.200.1  0x8000c801  0xc801      0xc801  41     SPI 9    0x1000029     set by register
1      16  0.0.1.0    0x80000100  0x100       0x100   40     SPI 8    0x1000028     boot
"""


def test_the_table_in_a_pipe(show: Vmcfg) -> None:
    done = show(TWO)
    assert (done.returncode, done.stdout, done.stderr) == (0, HUMAN, "")
    without = show("vmcfg: 1\nname: vm\nvcpus: 1\n").stdout.splitlines()
    assert without[1].split() == [
        "0",
        "0",
        "0.0.0.0",
        "0x80000000",
        "0x0",
        "0x0",
        "-",
        "-",
        "-",
        "boot",
    ]


def test_the_table_on_a_terminal(tmp_path: Path) -> None:
    """Rich draws the table, and does not cut or fold a number, regardless of the width."""
    (tmp_path / "vm.yaml").write_text(TWO)

    def drawn(**variables: str) -> str:
        return printed_on_terminal(tmp_path, "show", "vm.yaml", width=80, COLUMNS="20", **variables)

    colored = drawn()
    assert "\x1b[" in colored.splitlines()[0]
    for word in ("0x8000c801", "0x1000029", "set by register"):
        assert word in colored
    assert len(colored.splitlines()) == 3
    assert drawn(NO_COLOR="1") == HUMAN


def test_errors_show_nothing_and_warnings_do_not_stop(show: Vmcfg) -> None:
    wrong = show(TWO.replace("0.0.200.1", "0.0.1.0"))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "error[VMC301]" in wrong.stderr
    unreadable = show("vmcfg: 2\n")
    assert (unreadable.returncode, unreadable.stdout) == (1, "")
    warned = TWO.replace("40}", "26}").replace("41}", "26}")
    done = show(warned)
    assert done.returncode == 0
    assert "warning[VMC508]" in done.stderr
    assert done.stdout.count("PPI 10") == 2
    assert show(warned, "--strict").returncode == 1
    older = show(TWO, "--host-kernel", "6.1")
    assert (older.returncode, older.stdout) == (1, "")
    assert "error[VMC701]" in older.stderr


@pytest.mark.parametrize(("first", "others"), [("deny", "allowed"), ("allow", "denied")])
def test_what_the_first_filter_entry_decides_is_said(first: str, others: str, show: Vmcfg) -> None:
    entries = f"[{{action: {first}, events: 0x11}}, {{action: allow, events: 0x08}}]"
    done = show(f"vmcfg: 1\nname: vm\nvcpus: 2\npmu: {{irq: 23, filter: {entries}}}\n")
    assert done.stdout.endswith(f"\nEvents in no entry of 'pmu.filter' are {others}.\n")
