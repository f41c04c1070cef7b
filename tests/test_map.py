"""vmcfg show --map: the rows cover both spaces without unmarked overlaps, name every user, and are
readable in 80 columns.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests import strategies
from tests.processes import run_vmcfg_as_text
from tests.terminals import printed_on_terminal
from vmcfg.checking.check import Checked, check
from vmcfg.commands.map_output import map_json, map_lines, vcpus_text
from vmcfg.reports.styled import plain
from vmcfg.vm.machine import Vcpu
from vmcfg.vm.map import OVERLAPS_SHOWN, Map, Row, _rows, map_of

HERE = Path(__file__).parent
ROOT = HERE.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "map-v1.schema.json").read_text()))

WIDTH = 80


def checked_text(text: str) -> Checked:
    return check(text.encode(), "vm.yaml")


def mapped(checked: Checked) -> Map:
    assert checked.machine is not None
    tree = checked.tree
    return map_of(checked.machine, checked.diagnostics, lambda path: tree.position(path).pointer)


def drawn(text: str, width: int = WIDTH) -> str:
    checked = checked_text(text)
    assert checked.machine is not None
    return plain(map_lines(checked.machine, mapped(checked), width))


# What it prints -----------------------------------------------------------------------------------

OVERLAPPING = """\
vmcfg: 1
name: overlapping
memory:
  - {base: 0x08000000, size: 1GiB}
  - {base: 0xfff0000000, size: 1GiB}
vcpus: 4
gic:
  version: 3
  distributor: 0x08000000
  redistributors: [{base: 0x080a0000, count: 2}, {base: 0x080b0000, count: 4}]
steal_time: {base: 0x080a0000}
devices:
  - {name: uart, base: 0x080a0000, size: 64KiB}
"""

SHARED = """\
vmcfg: 1
name: shared
vcpus:
  - {mpidr: 0.0.0.0, pmu_irq: 40}
  - {mpidr: 0.0.0.1, pmu_irq: 40}
  - {mpidr: 0.0.0.2, pmu_irq: 41}
  - {mpidr: 0.0.0.3, pmu_irq: 30}
  - {mpidr: 0.0.0.4, pmu_irq: 7}
  - {mpidr: 0.0.0.5, pmu_irq: 8192}
gic: {version: 3, nr_irqs: 64, distributor: 0x08000000, redistributors: 0x080a0000}
timers: {virtual: 30}
devices:
  - {name: uart, irq: 41}
  - {name: msi, irq: spi:31-40}
"""

SIXTY_FOUR = """\
vmcfg: 1
name: sixty-four
ipa_bits: 40
memory: [{base: 0x40000000, size: 64GiB}, {base: 0x090a0000, size: 64KiB}]
vcpus: 64
pmu: {irq: spi:16-79}
gic:
  version: 3
  nr_irqs: 256
  distributor: 0x08000000
  redistributors: [{base: 0x080a0000, count: 123}]
  its: 0x08080000
steal_time: 0x090a0000
devices:
  - {name: uart, irq: spi:1, base: 0x09000000, size: 4KiB}
  - {name: virtio, irq: spi:128-159, base: 0x0a000000, size: 16KiB}
"""

DESCRIPTIONS = {
    **{sample.stem: sample.read_text() for sample in SAMPLES},
    "64-vcpus": SIXTY_FOUR,
    "overlapping": OVERLAPPING,
    "shared": SHARED,
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_map_is_the_stored_one_in_80_columns(
    name: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    text = drawn(DESCRIPTIONS[name])
    same_as_file(HERE / "maps" / f"{name}.map", text.encode())
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_narrow_terminal_has_the_words_on_their_own_lines(
    same_as_file: Callable[[Path, bytes], None],
) -> None:
    for name in ("64-vcpus", "overlapping"):
        text = drawn(DESCRIPTIONS[name], width=46)
        same_as_file(HERE / "maps" / f"{name}.46.map", text.encode())
        assert max(map(len, text.splitlines())) <= 46


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_json_has_every_row_by_the_schema(name: str) -> None:
    checked = checked_text(DESCRIPTIONS[name])
    found = mapped(checked)
    report = json.loads(map_json(found))
    SCHEMA.validate(report)
    for rows, told, base in (
        (found.addresses, report["addresses"], 16),
        (found.intids, report["intids"], 10),
    ):
        ends = [(int(str(row["first"]), base), int(str(row["last"]), base)) for row in told]
        assert ends == [(row.first, row.last) for row in rows]
        assert [row["name"] for row in told] == [row.name or None for row in rows]
        assert [row["vcpus"] for row in told] == [[v.name for v in row.vcpus] for row in rows]


def test_the_schema_is_strict() -> None:
    report = json.loads(map_json(mapped(checked_text(SIXTY_FOUR))))
    for each in (report, report["addresses"][0], report["intids"][0]):
        for key in list(each):
            held = each.pop(key)
            assert not SCHEMA.is_valid(report), key
            each[key] = held
        each["else"] = 1
        assert not SCHEMA.is_valid(report)
        del each["else"]
    SCHEMA.validate(report)


def test_findings_are_at_the_rows_of_their_places() -> None:
    def marked(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
        return {row.name: row.findings for row in rows if row.findings}

    frames = mapped(checked_text(OVERLAPPING))
    assert marked(frames.addresses) == {
        "memory slot 0": ("VMC408",),
        "memory slot 1": ("VMC204",),
        "redistributor region 1": ("VMC407",),
        "device 'uart'": ("VMC416",),
        "steal time": ("VMC605",),
    }
    alias = SHARED.replace("name: shared", "name: shared\nx-irq: &irq 8192").replace(
        "pmu_irq: 8192", "pmu_irq: *irq"
    )
    assert mapped(checked_text(alias)).intids[-1].findings == ("VMC504",)


# Laws ---------------------------------------------------------------------------------------------


def assert_covered(rows: list[Row], end: int) -> None:
    """Assert that rows cover 0 to `end` in order, and overlap only where they are marked."""
    assert [(row.first, -row.last) for row in rows] == sorted(
        (row.first, -row.last) for row in rows
    )
    reached = 0
    for row in rows:
        assert row.first <= row.last
        assert row.first <= reached or row.outside
        assert row.outside == (row.last >= end)
        reached = max(reached, row.last + 1)
    assert reached >= end
    users = [row for row in rows if row.inside is None]
    for row in users:
        others = [other for other in users if other is not row and overlap(row, other)]
        shared = [name for name in row.overlaps if name not in {each.name for each in others}]
        assert bool(others) == (len(row.overlaps) > len(shared))
        assert shared in ([], ["PMU"])
        assert not (others and row.kind == "free")


def overlap(one: Row, other: Row) -> bool:
    return one.first <= other.last and other.first <= one.last


@pytest.mark.slow
@given(strategies.descriptions() | strategies.shapes())
def test_rows_cover_both_spaces_and_name_every_user(description: Any) -> None:
    checked = checked_text(strategies.json_text(description))
    assume(checked.machine is not None)
    assert checked.machine is not None
    found = mapped(checked)
    assert_covered(found.addresses, 1 << found.bits)
    assert_covered(found.intids, found.nr_irqs)
    told = {
        (vcpu.id, row.first + (place if row.first < row.last else 0))
        for row in found.intids
        if row.kind == "pmu"
        for place, vcpu in enumerate(row.vcpus)
    }
    assert told == {(v.id, v.pmu_irq) for v in checked.machine.vcpus if v.pmu_irq is not None}
    for row in found.intids:
        if row.kind == "pmu" and row.first >= 32 and len(row.vcpus) > 1 and row.first < 1020:
            assert ("PMU" in row.overlaps) == (row.first == row.last)
    SCHEMA.validate(json.loads(map_json(found)))


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair)))
    )
)
def test_any_ranges_are_covered_and_their_overlaps_marked(ranges: list[tuple[int, int]]) -> None:
    users = [Row(first, last, "device", f"d{place}") for place, (first, last) in enumerate(ranges)]
    rows = _rows(users, (0, 16), (16, 32))
    assert_covered(rows, 32)
    assert sorted(row.name for row in rows if row.name) == sorted(row.name for row in users)
    assert not any(row.first < 16 <= row.last for row in rows if row.kind == "free")
    by_name = {row.name: row for row in rows}
    for row in rows:
        assert len(row.overlaps) <= OVERLAPS_SHOWN
        assert [name for name in row.overlaps if not overlap(row, by_name[name])] == []
    for one, other in pairwise(row for row in rows if row.kind == "free"):
        assert one.last < other.first


def vcpu(mpidr: int) -> Vcpu:
    return Vcpu(0, mpidr, False, None, (), (), None)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=40))
def test_vcpus_are_listed_in_order_as_in_a_description(affinities: list[tuple[int, ...]]) -> None:
    numbers = [int.from_bytes(bytes(each), "big") for each in affinities]
    listed = vcpus_text([vcpu(number) for number in numbers])
    expanded: list[tuple[int, ...]] = []
    for block in listed.split(", "):
        fields = [[int(end) for end in field.split("-")] for field in block.split(".")]
        ranges = [range(ends[0], ends[-1] + 1) for ends in fields]
        expanded += [
            (a, b, c, d) for a in ranges[0] for b in ranges[1] for c in ranges[2] for d in ranges[3]
        ]
    assert expanded == affinities


def test_512_vcpus_are_one_range() -> None:
    vcpus = [vcpu((number >> 4) << 8 | number & 15) for number in range(512)]
    assert vcpus_text(vcpus) == "0.0.0-31.0-15"


# The command --------------------------------------------------------------------------------------


def show(tmp_path: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "vm.yaml").write_text(text)
    return run_vmcfg_as_text(["show", "--map", "vm.yaml", *options], cwd=tmp_path)


def test_errors_are_printed_with_the_map(tmp_path: Path) -> None:
    right = show(tmp_path, SIXTY_FOUR)
    assert (right.returncode, right.stdout, right.stderr) == (0, drawn(SIXTY_FOUR), "")
    wrong = show(tmp_path, SHARED)
    assert (wrong.returncode, wrong.stdout) == (1, drawn(SHARED))
    assert "error[VMC509]" in wrong.stderr
    as_json = show(tmp_path, SHARED, "--format", "json")
    assert (as_json.returncode, as_json.stdout) == (
        1,
        map_json(mapped(checked_text(SHARED))),
    )
    unreadable = show(tmp_path, "vmcfg: 2\n")
    assert (unreadable.returncode, unreadable.stdout) == (1, "")
    warned = "vmcfg: 1\nname: vm\nvcpus: 1\npmu: {irq: 26}\n"
    assert show(tmp_path, warned).returncode == 0
    strict = show(tmp_path, warned, "--strict")
    assert (strict.returncode, strict.stdout) == (1, drawn(warned))


def test_csv_is_a_usage_error(tmp_path: Path) -> None:
    done = show(tmp_path, SIXTY_FOUR, "--format", "csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--map requires --format human or json." in done.stderr


def test_the_map_has_the_width_and_the_colors_of_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text(SIXTY_FOUR)

    def printed(width: int, **variables: str) -> str:
        return printed_on_terminal(tmp_path, "show", "--map", "vm.yaml", width=width, **variables)

    assert printed(46, NO_COLOR="1") == drawn(SIXTY_FOUR, 46)
    assert printed(120, NO_COLOR="1") == drawn(SIXTY_FOUR, 120)
    assert "\x1b[1mGuest-physical addresses" in printed(80)
