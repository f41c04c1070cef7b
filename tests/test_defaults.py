"""`--defaults FILE`: a description split into two files means the same as in one, and each finding
is in the file that wrote the value, once per run.

What every format prints for the descriptions in tests/defaults is in tests/printed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Vmcfg
from tests.processes import run_vmcfg_as_text
from tests.strategies import Json, descriptions, json_text, near_misses
from tests.test_schema import matches
from vmcfg import files, writing
from vmcfg.checking.check import Checked, check
from vmcfg.checking.defaults import defaults_in
from vmcfg.commands.found_in_defaults import FoundInDefaults
from vmcfg.description.defaults import OF_EACH_FILE
from vmcfg.findings.diagnostic import Diagnostic, Related
from vmcfg.formats.registry import PLAN_FORMATS
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

ROOT = Path(__file__).parent.parent
HERE = ROOT / "tests" / "defaults"
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
MERGED = ("gic", "pmu", "timers", "steal_time", "sve")
MANY = 70
"""Enough for two processes."""

HEAD = "vmcfg: 1\nname: {name}\nvcpus: 4\n"
DEFAULTS = "vmcfg: 1\nhost_kernel: '6.12'\npmu: {irq: 23}\n"

Parts = tuple[dict[str, Json], dict[str, Json]]
"""Defaults, and the rest of a description."""


def checked_in_parts(parts: Parts) -> Checked:
    """Return the check of a description with its defaults."""
    lower, upper = (json_text(part).encode() for part in parts)
    return check(upper, "vm.yaml", defaults=defaults_in(lower, "defaults.yaml"))


@st.composite
def parts_of(draw: st.DrawFn, whole: dict[str, Json]) -> Parts:
    """Draw defaults and the rest of a description: some keys in each, also within mappings; and
    some in both, of which the defaults do not count.
    """
    lower: dict[str, Json] = {"vmcfg": 1}
    upper: dict[str, Json] = {key: whole[key] for key in OF_EACH_FILE if key in whole}
    for key, value in whole.items():
        if key in OF_EACH_FILE:
            continue
        where = draw(st.sampled_from(["upper", "lower", "both", "inside"]))
        if where == "inside" and key in MERGED and isinstance(value, dict) and value:
            in_lower = draw(st.sets(st.sampled_from(list(value))))
            lower[key] = {name: inner for name, inner in value.items() if name in in_lower}
            upper[key] = {name: inner for name, inner in value.items() if name not in in_lower}
            for part in (lower, upper):
                if not part[key]:
                    del part[key]
        elif where == "both":
            upper[key] = value
            lower[key] = type(value)() if isinstance(value, (dict, list)) else value
        else:
            (upper if where == "upper" else lower)[key] = value
    return lower, upper


def written(checked: Checked, form: str) -> str:
    assert checked.machine is not None, checked.diagnostics
    pmus = {checked.machine.pmu.device or "": 8}
    plan = lower(checked.machine, WHOLE_VM, pmu_types=pmus)
    options = dict.fromkeys(("numbers", "comments", "main", "prefix"), False)
    text = PLAN_FORMATS[form].written(plan, checked.tree, options)
    return re.sub(r',"origin":\{[^}]*\}|\.origin = "[^"]*", ', "", text)


def assert_same_plans(whole: dict[str, Json], parts: Parts) -> None:
    in_one = check(json_text(whole).encode(), "vm.yaml")
    in_two = checked_in_parts(parts)
    for form in ("text", "jsonl", "json", "sh", "c"):
        assert written(in_two, form) == written(in_one, form)
    assert_origins_are_where_the_values_are(in_two, parts)


def assert_origins_are_where_the_values_are(checked: Checked, parts: Parts) -> None:
    assert checked.machine is not None
    plan = lower(checked.machine, WHOLE_VM)
    text = PLAN_FORMATS["jsonl"].written(plan, checked.tree, {})
    for line in text.splitlines()[1:-1]:
        origin = json.loads(line).get("origin")
        if origin is None:
            continue
        value: Any = parts[0 if origin.get("file") == "defaults.yaml" else 1]
        for step in origin["pointer"].split("/")[1:]:
            value = value[int(step)] if isinstance(value, list) else value[step]


# The law ------------------------------------------------------------------------------------------


@given(data=st.data(), whole=descriptions())
def test_two_files_mean_what_one_file_means(data: st.DataObject, whole: dict[str, Json]) -> None:
    assert_same_plans(whole, data.draw(parts_of(whole)))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_in_two_files_means_the_same(sample: Path) -> None:
    whole = yaml.safe_load(sample.read_text())
    own = {key: whole[key] for key in OF_EACH_FILE}
    rest = {key: value for key, value in whole.items() if key not in OF_EACH_FILE}
    assert_same_plans(whole, ({"vmcfg": 1, **rest}, own))
    inner = {
        key: dict(list(value.items())[:1])
        for key, value in rest.items()
        if key in MERGED and isinstance(value, dict)
    }
    outer = {
        key: dict(list(value.items())[1:]) if key in inner else value for key, value in rest.items()
    }
    assert_same_plans(whole, ({"vmcfg": 1, **inner}, {**own, **outer}))
    assert_same_plans(whole, ({"vmcfg": 1, **outer}, {**own, **inner}))


@given(data=st.data(), whole=near_misses())
def test_two_files_break_the_rules_that_one_file_breaks(
    data: st.DataObject, whole: dict[str, Json]
) -> None:
    def words(found: list[Diagnostic]) -> Counter[tuple[str, str]]:
        return Counter((each.rule, each.message) for each in found)

    in_one = check(json_text(whole).encode(), "vm.yaml").diagnostics
    parts = data.draw(parts_of(whole))
    in_two = checked_in_parts(parts)
    if any(each.rule < "VMC2" for each in in_one):
        # With findings about the defaults alone, the others wait.
        assert in_two.machine is None
        assert in_two.diagnostics
    else:
        assert words(in_two.diagnostics) == words(in_one)
    texts = in_two.tree.texts
    for each in in_two.diagnostics:
        for file, span in ((each.file, each.span), *((at.file, at.span) for at in each.related)):
            assert span.end_line == 1
            assert span.end_column <= len(texts[file]) + 1


def test_what_is_merged_and_what_is_not() -> None:
    """An item of a list or a scalar replaces all of the defaults; `x-` keys are not inherited."""
    lower = {
        "vmcfg": 1,
        "x-mine": [1],
        "memory": [{"base": 0, "size": "1GiB"}],
        "gic": {"version": 3, "distributor": 1, "its": ["0x8080000", "0x80a0000"]},
        "timers": {"virtual": 27},
    }
    upper = {
        "vmcfg": 1,
        "name": "vm",
        "vcpus": 1,
        "memory": [{"base": 1 << 32, "size": "2GiB"}],
        "gic": {"distributor": "0x8000000", "redistributors": "0x9000000", "its": 0xA00_0000},
        "timers": {"physical": 30},
    }
    machine = checked_in_parts((lower, upper)).machine
    assert machine is not None
    assert [(slot.base, slot.size) for slot in machine.memory] == [(1 << 32, 2 << 30)]
    assert machine.gic is not None
    assert (machine.gic.version, machine.gic.distributor) == (3, 0x800_0000)
    assert machine.gic.its == (0xA00_0000,)
    assert (machine.timers.virtual, machine.timers.physical) == (27, 30)


# Positions ----------------------------------------------------------------------------------------


def found_in(description: str, defaults: str) -> list[str]:
    """Return the findings of a check in two files, each as `file:line:column rule`."""
    checked = check(
        description.encode(), "vm.yaml", defaults=defaults_in(defaults.encode(), "defaults.yaml")
    )
    return [
        f"{each.file}:{each.span.line}:{each.span.column} {each.rule}"
        for each in checked.diagnostics
    ]


VM = HEAD.format(name="vm")


def test_a_missing_key_is_where_its_mapping_is() -> None:
    incomplete = "vmcfg: 1\ngic: {nr_irqs: 64}\n"
    assert found_in(VM, incomplete) == ["defaults.yaml:2:7 VMC111"]
    assert found_in(VM + "gic: {its: 0x8080000}\n", incomplete) == ["vm.yaml:4:7 VMC111"]
    assert found_in("vmcfg: 1\n", DEFAULTS) == ["vm.yaml:1:1 VMC111", "vm.yaml:1:1 VMC111"]


def test_each_file_needs_its_version() -> None:
    assert found_in(VM.removeprefix("vmcfg: 1\n"), DEFAULTS) == ["vm.yaml:1:1 VMC111"]
    assert found_in(VM, "ipa_bits: 40\n") == ["defaults.yaml:1:1 VMC111"]


def test_aliases_of_both_files() -> None:
    defaults = "vmcfg: 1\nx-irq: &irq ppi:23\npmu: {irq: *irq}\ntimers: &timers {virtual: 24}\n"
    description = VM + "timers: &mine {physical: 24}\nx-too: *mine\n"
    checked = check(
        description.encode(), "vm.yaml", defaults=defaults_in(defaults.encode(), "defaults.yaml")
    )
    timer, interrupt = sorted(checked.diagnostics, key=lambda each: each.file, reverse=True)
    assert (timer.file, timer.span[:2], timer.related[0].file) == (
        "vm.yaml",
        (4, 26),
        "defaults.yaml",
    )
    assert (interrupt.file, interrupt.span[:2]) == ("defaults.yaml", (2, 8))
    assert [(at.file, at.span[:2]) for at in interrupt.related] == [("defaults.yaml", (3, 12))]


def test_values_of_two_anchors_with_the_same_pointer_are_two_values() -> None:
    """Its hint does not say that both timers get one value from one anchor."""
    defaults = "vmcfg: 1\nx-ppi: &ppi 24\ntimers: {physical: *ppi}\n"
    description = VM + "x-ppi: &ppi 24\ntimers: {virtual: *ppi}\n"
    checked = check(description.encode(), "vm.yaml", defaults=defaults_in(defaults.encode(), "d"))
    (found,) = checked.diagnostics
    assert found.pointer == "/x-ppi"
    assert found.hint == "remove 'physical': the default is INTID 30 (PPI 14)"


def test_mappings_where_the_format_has_none_are_not_merged() -> None:
    wrong = "memory: {base: 0}\nvcpu_ids: {a: 1}\n"
    assert found_in(VM + wrong, "vmcfg: 1\n" + wrong) == [
        "defaults.yaml:2:9 VMC109",
        "defaults.yaml:3:11 VMC109",
        "vm.yaml:4:9 VMC109",
        "vm.yaml:5:11 VMC109",
    ]


def test_a_misspelled_key_is_not_the_one_in_the_defaults() -> None:
    """Its hint does not say that the key is already there, and it is fixed."""
    defaults = defaults_in(b"vmcfg: 1\ngic: {version: 3, nr_irqs: 64}\n", "defaults.yaml")
    description = VM + "gic: {nr_irq: 96, set_up_by: monitor}\n"
    (found,) = check(description.encode(), "vm.yaml", defaults=defaults).diagnostics
    assert (found.rule, found.hint and found.hint[:40]) == (
        "VMC110",
        "if you mean 'nr_irqs', write that; allow",
    )
    assert found.fix is not None
    assert found.fix.text == "nr_irqs"


def test_with_wrong_defaults_only_own_values_are_wrong() -> None:
    """A key is not reported as missing that wrong defaults might contain, and no rule over several
    values guesses.
    """
    wrong = "vmcfg: 1\nhost_kernel: 6.10\ngic: {version: 3, distibutor: 0x8000000}\n"
    alone = ["defaults.yaml:2:14 VMC122", "defaults.yaml:3:19 VMC110"]
    assert found_in(VM + "gic: {its: 0x8080000}\nipa_bits: 99\n", wrong) == alone
    assert found_in(VM + "gic: {its: here}\n", wrong) == [*alone, "vm.yaml:4:12 VMC120"]
    assert found_in("vmcfg: 1\nname: vm\n", wrong) == [*alone, "vm.yaml:1:1 VMC111"]
    reversed_ = "vmcfg: 1\nname: vm\nvcpus: [{mpidr: 0.0.0.3-1}]\n"
    assert found_in(reversed_, wrong) == [*alone, "vm.yaml:3:17 VMC303"]
    assert found_in("[]\n", wrong) == [*alone, "vm.yaml:1:1 VMC102"]
    assert found_in(VM + "gic: {its: here}\n", "- 1\n") == [
        "defaults.yaml:1:1 VMC102",
        "vm.yaml:4:12 VMC120",
    ]


# Runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with two descriptions and right defaults."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(HEAD.format(name=name))
    (tmp_path / "defaults.yaml").write_text(DEFAULTS)
    return tmp_path


def many(folder: Path) -> None:
    """Write descriptions for several processes; each has its own number of vCPUs."""
    for number in range(MANY):
        text = f"vmcfg: 1\nname: vm{number}\nvcpus: {1 + number % 7}\n"
        if number % 5 == 0:
            text += "timers: {virtual: 24}\n"
        (folder / f"vm{number:03}.yaml").write_text(text)
    (folder / "defaults.yaml").write_text(
        "vmcfg: 1\npmu: {irq: ppi:23}\ntimers: {physical: 24}\nipa_bits: 99\n"
    )


@pytest.mark.parametrize("form", ["human", "concise", "json", "sarif", "github", "gitlab", "junit"])
def test_a_finding_in_the_defaults_is_reported_once_with_any_number_of_processes(
    vmcfg_here: Vmcfg, tmp_path: Path, form: str
) -> None:
    many(tmp_path)
    arguments = ["validate", "--defaults", "defaults.yaml", "--format", form, "."]
    one, two, three = (vmcfg_here(*arguments, "--jobs", str(jobs)) for jobs in (1, 2, 3))
    assert one == two == three
    assert one[0] == 1
    assert one[1].count("PPI number of the PMU interrupt") == (2 if form == "junit" else 1)
    # Its other place is in a description: another one each time.
    words = "'timers.physical' is INTID 24"
    assert one[1].count(words) >= MANY // 5


def test_the_totals_count_a_finding_in_the_defaults_once(vmcfg_here: Vmcfg, tmp_path: Path) -> None:
    many(tmp_path)
    arguments = ["validate", "--defaults", "defaults.yaml", "--summary"]
    code, out, err = vmcfg_here(*arguments, "--format", "json", ".")
    assert err == f"{MANY} files checked: {2 + MANY // 5} errors, 1 fixable with --fix\n"
    report = matches("diagnostics", out)
    assert (code, report["files"], report["errors"]) == (1, MANY, 2 + MANY // 5)
    assert len(report["diagnostics"]) == report["errors"]


def test_findings_of_one_rule_at_one_place_are_not_the_same() -> None:
    found = check(b"vmcfg: 1\nname: vm\nvcpus: 4\nipa_bits: 99\n", "vm.yaml").diagnostics[0]
    twice = [found, found._replace(message="another")]
    seen = FoundInDefaults(defaults_in(b"vmcfg: 1\n", "vm.yaml"))
    here = Related("a.yaml", found.span, "")
    assert [each.message for each in seen.new([(each, here) for each in twice])] == [
        found.message,
        "another",
    ]
    assert seen.new([(each, here) for each in twice]) == []


def test_fingerprints_of_a_finding_in_the_defaults_differ_between_descriptions(
    vmcfg_here: Vmcfg, tmp_path: Path
) -> None:
    many(tmp_path)
    _, out, _ = vmcfg_here("validate", "--defaults", "defaults.yaml", "--format", "gitlab", ".")
    fingerprints = [each["fingerprint"] for each in json.loads(out)]
    assert len(set(fingerprints)) == len(fingerprints) == 2 + MANY // 5


def test_the_defaults_are_never_a_description(vmcfg_here: Vmcfg, folder: Path) -> None:
    (folder / "link.yaml").symlink_to("defaults.yaml")
    for name in ("defaults.yaml", "./defaults.yaml", "link.yaml", str(folder / "defaults.yaml")):
        done = vmcfg_here("validate", "--summary", "--defaults", name, ".")
        assert done == (0, "", "2 files checked: no problems\n"), name
        assert vmcfg_here("emit", "--defaults", name, ".", "-o", f"{folder}-out/")[0] == 0
    assert {path.name for path in Path(f"{folder}-out").glob("*.plan")} == {"a.plan", "b.plan"}


def test_only_the_defaults_are_checked_alone(vmcfg_here: Vmcfg, folder: Path) -> None:
    """As a hook of pre-commit does, which passes the files that changed."""
    arguments = ["validate", "--defaults", "defaults.yaml", "--format", "concise", "defaults.yaml"]
    assert vmcfg_here(*arguments) == (0, "", "")
    (folder / "defaults.yaml").write_text("vmcfg: 1\nname: vm\n")
    code, out, _ = vmcfg_here(*arguments)
    assert (code, out[:36]) == (1, "defaults.yaml:2:1: error[VMC112] 'na")
    assert vmcfg_here("emit", "--defaults", "defaults.yaml", "defaults.yaml", "-o", ".")[0] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "--defaults", "-", "a.yaml"],
        ["emit", "--defaults", "-", "a.yaml"],
        ["diff", "--defaults", "-", "a.yaml", "b.yaml"],
        ["show", "--defaults", "defaults.yaml", "defaults.yaml"],
        ["emit", "--defaults", "defaults.yaml", "./defaults.yaml"],
        ["try", "--defaults", "defaults.yaml", "defaults.yaml"],
        ["try", "--defaults", "defaults.yaml", "--examples"],
        ["try", "--defaults", "defaults.yaml", "--plan", "a.plan"],
        ["diff", "--defaults", "defaults.yaml", "a.yaml", "defaults.yaml"],
        ["validate", "--defaults", "defaults.yaml", "--stdin-filename", "defaults.yaml", "-"],
        ["emit", "--defaults", "defaults.yaml", "a.yaml", "-o", "defaults.yaml"],
    ],
    ids=" ".join,
)
def test_wrong_usage(vmcfg_here: Vmcfg, folder: Path, arguments: list[str]) -> None:
    code, out, err = vmcfg_here(*arguments)
    assert (code, out, err.count("Error: ")) == (2, "", 1)
    assert (folder / "defaults.yaml").read_text() == DEFAULTS


def test_defaults_that_cannot_be_read(
    vmcfg_here: Vmcfg, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def errors(name: str) -> tuple[int, str]:
        code, out, err = vmcfg_here("validate", "--defaults", name, "a.yaml")
        assert out == ""
        return code, err

    assert errors("absent.yaml") == (
        3,
        "vmcfg: cannot read absent.yaml: No such file or directory\n",
    )
    assert errors(".") == (3, "vmcfg: cannot read .: Is a directory\n")
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    (folder / "defaults.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    assert errors("defaults.yaml") == (
        3,
        "vmcfg: cannot read defaults.yaml: it is larger than 1 MiB\n",
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [(b"a: [\n", "VMC100"), (b"\xff\n", "VMC101"), (b"", "VMC102"), (b"- 1\n", "VMC102")],
)
def test_defaults_that_are_not_a_mapping_are_one_finding(
    vmcfg_here: Vmcfg, folder: Path, text: bytes, rule: str
) -> None:
    (folder / "defaults.yaml").write_bytes(text)
    arguments = ["--defaults", "defaults.yaml"]
    code, out, err = vmcfg_here("validate", *arguments, "--format", "concise", ".")
    assert (code, out.count("\n"), err) == (1, 1, "")
    assert re.match(rf"defaults\.yaml:\d+:\d+: error\[{rule}\] ", out)
    for command in (["show", "a.yaml"], ["emit", "a.yaml"], ["emit", ".", "-o", "out/"]):
        code, out, err = vmcfg_here(command[0], *arguments, *command[1:])
        assert (code, out, err.count("error[")) == (1, "", 1)
    code, out, err = vmcfg_here("diff", *arguments, "a.yaml", "b.yaml")
    assert (code, out, err.count("error[")) == (3, "", 1)
    assert not (folder / "out").exists()


def run(*arguments: str, cwd: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run vmcfg with a text as standard input."""
    return run_vmcfg_as_text(arguments, cwd=cwd, input=text)


def test_standard_input_has_defaults(folder: Path) -> None:
    text = (folder / "a.yaml").read_text()
    done = run("emit", "--defaults", "defaults.yaml", "-", cwd=folder, text=text)
    assert (done.returncode, done.stdout.count(" s32 23\n"), done.stderr) == (0, 4, "")
    wrong = text.replace("4", "no")
    done = run("validate", "--defaults", "defaults.yaml", "-", cwd=folder, text=wrong)
    assert (done.returncode, done.stdout.splitlines()[0][:25]) == (1, "<stdin>:3:8: error[VMC120")


# Fixes --------------------------------------------------------------------------------------------

FIXABLE = "vmcfg: 1 # ours\r\nhost_kernel: 6.12\r\npmu: {irq: ppi:23}\r\ntimers: {virtal: 27}\r\n"
FIXED = FIXABLE.replace("6.12", '"6.12"').replace("ppi:23", "23").replace("virtal", "virtual")


def test_fix_rewrites_the_defaults_once(
    vmcfg_here: Vmcfg, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for what only a description shows, which itself needs a fix before."""
    (folder / "defaults.yaml").write_bytes(FIXABLE.encode())
    (folder / "a.yaml").write_text("vmcfg: 1\nname: no\nvcpus: 4\n")
    paths = []
    write = writing.write

    def noted(path: str, data: bytes) -> None:
        paths.append(path)
        write(path, data)

    monkeypatch.setattr(writing, "write", noted)
    arguments = ["validate", "--fix", "--summary", "--defaults", "defaults.yaml", "."]
    summary = "2 files checked: 4 fixed, no problems left\n"
    assert vmcfg_here(*arguments) == (0, "", f"{summary}2 of 3 files changed\n")
    assert sorted(map(os.path.basename, paths)) == ["a.yaml", "defaults.yaml"]
    assert (folder / "defaults.yaml").read_bytes() == FIXED.encode()
    assert vmcfg_here(*arguments)[2].endswith("no problems\n0 of 3 files changed\n")
    assert len(paths) == 2


def test_a_fix_due_to_one_description_is_not_one_of_the_defaults(
    vmcfg_here: Vmcfg, folder: Path
) -> None:
    """The interrupt that differs from that of the other vCPUs is right for other descriptions."""
    (folder / "a.yaml").write_text(
        "vmcfg: 1\nname: a\nvcpus: [{mpidr: 0.0.0.0-2, pmu_irq: 22}, {mpidr: 0.0.0.3}]\n"
    )
    code, out, _ = vmcfg_here(
        "validate", "--fix", "--format", "json", "--defaults", "defaults.yaml", "."
    )
    (found,) = matches("diagnostics", out)["diagnostics"]
    assert (code, found["rule"], found["file"]) == (1, "VMC502", "defaults.yaml")
    assert "fix" not in found
    assert (folder / "defaults.yaml").read_text() == DEFAULTS


def test_the_differences_of_the_defaults_are_printed_and_count(
    vmcfg_here: Vmcfg, folder: Path
) -> None:
    (folder / "defaults.yaml").write_bytes(FIXABLE.encode())
    code, out, err = vmcfg_here(
        "validate", "--fix", "--diff", "--summary", "--defaults", "defaults.yaml", "."
    )
    assert code == 1
    assert [line for line in out.splitlines() if line[:1] in "+-"] == [
        "--- a/defaults.yaml",
        "+++ b/defaults.yaml",
        "-host_kernel: 6.12",
        "-pmu: {irq: ppi:23}",
        "-timers: {virtal: 27}",
        '+host_kernel: "6.12"',
        "+pmu: {irq: 23}",
        "+timers: {virtual: 27}",
    ]
    assert err == "2 files checked: 3 errors, 3 fixable with --fix\n"
    assert (folder / "defaults.yaml").read_bytes() == FIXABLE.encode()


def test_standard_input_is_fixed_with_its_defaults(folder: Path) -> None:
    (folder / "defaults.yaml").write_text("vmcfg: 1\npmu: {irq: ppi:23}\n")
    text = "vmcfg: 1\nname: no\nvcpus: 4\n"
    done = run("validate", "--fix", "--defaults", "defaults.yaml", "-", cwd=folder, text=text)
    assert (done.returncode, done.stdout) == (0, text.replace("no", '"no"'))
    assert (folder / "defaults.yaml").read_text() == "vmcfg: 1\npmu: {irq: 23}\n"


def test_defaults_that_cannot_be_written_change_no_description(
    vmcfg_here: Vmcfg, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "defaults.yaml").write_bytes(FIXABLE.encode())
    (folder / "a.yaml").write_text("vmcfg: 1\nname: no\nvcpus: 4\n")
    read = files.read
    times = Counter[str]()

    def changed_meanwhile(path: str) -> bytes:
        times[path] += 1
        return b"vmcfg: 1\n" if path == "defaults.yaml" and times[path] > 1 else read(path)

    monkeypatch.setattr(files, "read", changed_meanwhile)
    code, out, err = vmcfg_here("validate", "--fix", "--defaults", "defaults.yaml", ".")
    assert (code, out) == (3, "")
    assert err == "vmcfg: cannot fix defaults.yaml: it was changed at the same time\n"
    assert (folder / "a.yaml").read_text() == "vmcfg: 1\nname: no\nvcpus: 4\n"


# Commands -----------------------------------------------------------------------------------------


def origins(text: str) -> set[str]:
    """Return the files of the origins in a plan in JSON Lines; `own` for the description."""
    found = [json.loads(line).get("origin") for line in text.splitlines()]
    return {each.get("file", "own") for each in found if each is not None}


def test_origins_name_the_defaults_below_the_path(vmcfg_here: Vmcfg, folder: Path) -> None:
    """The bytes do not depend on how the arguments are written."""
    arguments = ["emit", "--format", "jsonl", "--defaults"]
    assert vmcfg_here(*arguments, "defaults.yaml", ".", "-o", f"{folder}-one/")[0] == 0
    whole = str(folder)
    assert vmcfg_here(*arguments, f"{whole}/defaults.yaml", whole, "-o", f"{folder}-two/")[0] == 0
    one, two = (Path(f"{folder}-{name}/a.jsonl").read_text() for name in ("one", "two"))
    assert one == two
    assert origins(one) == {"defaults.yaml"}
    (folder / "lab").mkdir()
    (folder / "a.yaml").rename(folder / "lab/a.yaml")
    assert vmcfg_here(*arguments, "./defaults.yaml", "lab", "-o", f"{folder}-three/")[0] == 0
    assert origins(Path(f"{folder}-three/a.jsonl").read_text()) == {"defaults.yaml"}
    _, alone, _ = vmcfg_here(*arguments, "./defaults.yaml", "lab/a.yaml")
    assert origins(alone) == {"./defaults.yaml"}


def test_many_plans_are_the_same_with_any_number_of_processes(
    vmcfg_here: Vmcfg, tmp_path: Path
) -> None:
    many(tmp_path)
    (tmp_path / "defaults.yaml").write_text("vmcfg: 1\npmu: {irq: 23}\n")
    for jobs in ("1", "2"):
        out = f"{tmp_path}-{jobs}/"
        done = vmcfg_here("emit", "--defaults", "defaults.yaml", "--jobs", jobs, ".", "-o", out)
        assert done == (0, "", f"{MANY} of {MANY} files changed\n")
    one, two = (
        {path.name: path.read_bytes() for path in Path(f"{tmp_path}-{jobs}").iterdir()}
        for jobs in ("1", "2")
    )
    assert one == two
    assert len(one) == MANY + 1


def test_a_stale_plan_names_the_place_in_the_defaults(vmcfg_here: Vmcfg, folder: Path) -> None:
    arguments = ["emit", "--defaults", "defaults.yaml", ".", "-o", f"{folder}-out/"]
    assert vmcfg_here(*arguments)[0] == 0
    (folder / "defaults.yaml").write_text(DEFAULTS.replace("23", "22"))
    code, out, _ = vmcfg_here(*arguments, "--check")
    assert code == 1
    assert out.count(" (defaults.yaml:3:12)\n") == 2


def test_texts_for_people_and_for_c_name_the_defaults(vmcfg_here: Vmcfg, folder: Path) -> None:
    _, text, _ = vmcfg_here("emit", "--comments", "--defaults", "defaults.yaml", "a.yaml")
    assert "# defaults.yaml:3:12 vCPU 0.0.0.0. INTID 23 (PPI 7)." in text
    _, source, _ = vmcfg_here("emit", "--format", "c", "--defaults", "defaults.yaml", "a.yaml")
    assert source.count('.origin = "defaults.yaml:3:12", ') == 8


def test_show_has_defaults(vmcfg_here: Vmcfg, folder: Path) -> None:
    _, out, _ = vmcfg_here("show", "--format", "json", "--defaults", "defaults.yaml", "a.yaml")
    assert [each["intid"] for each in matches("show", out)["vcpus"]] == [23] * 4


def test_both_sides_of_a_difference_have_defaults(vmcfg_here: Vmcfg, folder: Path) -> None:
    arguments = ["diff", "--defaults", "defaults.yaml", "a.yaml", "b.yaml"]
    assert vmcfg_here(*arguments) == (0, "", "")
    (folder / "b.yaml").write_text(HEAD.format(name="b") + "pmu: {irq: 22}\n")
    code, out, _ = vmcfg_here(*arguments)
    assert (code, out.count("(vCPU 0.0.0.3, defaults.yaml:3:12, b.yaml:4:12)\n")) == (1, 1)
    code, out, _ = vmcfg_here(*arguments, "--format", "json")
    changed = matches("diff", out)["differences"][0]
    assert changed["old"]["origin"]["file"] == "defaults.yaml"
    assert "file" not in changed["new"]["origin"]


def test_a_difference_reports_a_finding_in_the_defaults_once(
    vmcfg_here: Vmcfg, folder: Path
) -> None:
    (folder / "defaults.yaml").write_text("vmcfg: 1\nipa_bits: 99\n")
    code, out, err = vmcfg_here("diff", "--defaults", "defaults.yaml", "a.yaml", "b.yaml")
    assert (code, out, err.count("error[VMC201]")) == (3, "", 1)


def test_a_difference_without_a_description_has_no_use_for_defaults(
    vmcfg_here: Vmcfg, folder: Path
) -> None:
    _, plan, _ = vmcfg_here("emit", "--format", "jsonl", "--defaults", "defaults.yaml", "a.yaml")
    (folder / "a.jsonl").write_text(plan)
    assert vmcfg_here("diff", "--defaults", "defaults.yaml", "a.jsonl", "b.yaml")[0] == 0
    code, _, err = vmcfg_here("diff", "--defaults", "defaults.yaml", "a.jsonl", "a.jsonl")
    assert (code, err.count("--defaults requires a description")) == (2, 1)


def test_git_does_not_compare_the_defaults(vmcfg_here: Vmcfg, folder: Path) -> None:
    of_git = ["x", "0000", "100644", "y", "0000", "100644"]
    arguments = ["diff", "--git", "--defaults", "defaults.yaml"]
    assert vmcfg_here(*arguments, "defaults.yaml", *of_git) == (
        0,
        "vmcfg diff defaults.yaml: not compared: it is the file of --defaults\n",
        "",
    )
    of_git[0], of_git[3] = "a.yaml", "b.yaml"
    assert vmcfg_here(*arguments, "vm.yaml", *of_git) == (0, "", "")


HOSTS = str(ROOT / "tests" / "hosts")


def test_hosts_judge_what_both_files_say(vmcfg_here: Vmcfg, folder: Path) -> None:
    (folder / "defaults.yaml").write_text("vmcfg: 1\nfeatures: [el2]\n")
    arguments = ["validate", "--format", "json", "--host", HOSTS, "--defaults", "defaults.yaml"]
    code, out, _ = vmcfg_here(*arguments, ".")
    found = matches("diagnostics", out)["diagnostics"]
    assert code == 1
    assert {each["file"] for each in found} == {"defaults.yaml"}
    assert len({each["rule"] for each in found}) == len(found)
    assert [each["rule"] for each in found if not each.get("hosts")] == []


def test_places_in_sarif_are_in_the_right_file(vmcfg_here: Vmcfg, tmp_path: Path) -> None:
    """The table of rules in a report is too long for a golden."""
    for path in (HERE / "vms").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    _, out, _ = vmcfg_here("validate", "--format", "sarif", "--defaults", "defaults.yaml", ".")

    def place(of: Json) -> tuple[str, int, int]:
        physical = of["physicalLocation"]
        region = physical["region"]
        return physical["artifactLocation"]["uri"], region["startLine"], region["startColumn"]

    results = json.loads(out)["runs"][0]["results"]
    assert [
        (each["ruleId"], place(each["locations"][0]), *map(place, each["relatedLocations"]))
        for each in results
    ] == [
        ("VMC404", ("defaults.yaml", 5, 12), ("on-both-sides.yaml", 3, 7)),
        ("VMC504", ("defaults.yaml", 8, 12), ("on-both-sides.yaml", 3, 7)),
        ("VMC408", ("on-both-sides.yaml", 6, 17), ("defaults.yaml", 6, 16)),
        ("VMC602", ("defaults.yaml", 9, 20), ("on-both-sides.yaml", 5, 19)),
        ("VMC201", ("own.yaml", 4, 11)),
    ]
