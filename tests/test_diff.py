"""vmcfg diff: its differences, output, and exit codes; and Git with vmcfg as a diff driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.processes import run_vmcfg_as_text
from vmcfg.checking.check import check
from vmcfg.plans.difference import differences
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM, Plan

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "diff-v1.schema.json").read_text()))

GIC = """\
vmcfg: 1
name: vm
gic:
  version: 3
  distributor: 0x08000000
  redistributors:
    - base: 0x080a0000
      count: 2
vcpus:
  - mpidr: 0.0.0.0
    pmu_irq: 23
  - mpidr: 0.0.0.1
    pmu_irq: 23
"""
FILTERED = """\
vmcfg: 1
name: vm
vcpus: 1
pmu:
  irq: 23
  filter:
    - {action: deny, events: 0x11}
    - {action: allow, events: 0x12}
    - {action: deny, events: 0x13}
"""

Vmcfg = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def vmcfg(tmp_path: Path) -> Vmcfg:
    """Return a function that runs vmcfg in its own directory and its own process."""

    def run(*arguments: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
        return run_vmcfg_as_text(arguments, cwd=tmp_path, input=standard_input)

    return run


@pytest.fixture
def compare(vmcfg: Vmcfg, tmp_path: Path) -> Callable[[str, str], list[str]]:
    """Return a function that compares two texts and returns the lines; JSON must have the same."""

    def run(old: str, new: str) -> list[str]:
        (tmp_path / "a.yaml").write_text(old)
        (tmp_path / "b.yaml").write_text(new)
        done = vmcfg("diff", "a.yaml", "b.yaml")
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        assert done.returncode == bool(lines)
        told = vmcfg("diff", "--format", "json", "a.yaml", "b.yaml")
        assert told.returncode == done.returncode
        report = json.loads(told.stdout)
        SCHEMA.validate(report)
        assert [
            f"{each['kind']}: {each['op']} {each['target']}" for each in report["differences"]
        ] == [" ".join(line.split()[:3]) for line in lines]
        return lines

    return run


def plan(text: str | bytes) -> Plan:
    machine = check(text.encode() if isinstance(text, str) else text, "vm.yaml").machine
    assert machine is not None
    return lower(machine, WHOLE_VM)


Compare = Callable[[str, str], "list[str]"]


def test_another_style_of_the_same_is_no_difference(compare: Compare) -> None:
    restyled = (
        'name: "vm"\nvmcfg: 0x1\n# the same\ngic: {distributor: 134217728, version: 3,\n'
        "  redistributors: [{count: 2, base: 0x080a0000}]}\nvcpus: 2\npmu: {irq: ppi:7}\n"
    )
    assert compare(GIC, restyled) == []


def test_a_changed_value_has_both_places(compare: Compare) -> None:
    assert compare(GIC, "# moved down\n" + GIC.replace("pmu_irq: 23", "pmu_irq: 22")) == [
        "changed: set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23 -> 22"
        " (vCPU 0.0.0.0, a.yaml:11:14, b.yaml:12:14)",
        "changed: set-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23 -> 22"
        " (vCPU 0.0.0.1, a.yaml:13:14, b.yaml:14:14)",
    ]


def test_what_is_only_in_one_is_added_or_removed(compare: Compare) -> None:
    more = GIC.replace("  distributor", "  nr_irqs: 256\n  distributor")
    assert compare(GIC, more) == [
        "added: set-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 256 (b.yaml:5:12)",
    ]
    assert compare(more, GIC) == [
        "removed: set-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 256 (a.yaml:5:12)",
    ]


def test_slots_and_regions_are_known_by_their_index(compare: Compare) -> None:
    memory = "memory:\n  - {base: 0x40000000, size: 1GiB}\n  - {base: 0x90000000, size: 64KiB}\n"
    assert compare(
        GIC + memory, GIC + memory.replace("1GiB", "2GiB").replace("0x90000000", "0xc0000000")
    ) == [
        "changed: add-memory vm - - memory slot=0,base=0x40000000,size=0x40000000"
        " -> slot=0,base=0x40000000,size=0x80000000 (a.yaml:15:5, b.yaml:15:5)",
        "changed: add-memory vm - - memory slot=1,base=0x90000000,size=0x10000"
        " -> slot=1,base=0xc0000000,size=0x10000 (a.yaml:16:5, b.yaml:16:5)",
    ]
    split = GIC.replace("count: 2", "count: 1\n    - base: 0x09000000\n      count: 1")
    assert [line.partition(" (")[0] for line in compare(GIC, split)] == [
        "changed: set-attr gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION u64"
        " 0x200000080a0000 -> 0x100000080a0000",
        "added: set-attr gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION u64 "
        "0x10000009000001",
    ]


def test_a_vcpu_with_another_id_is_another(compare: Compare) -> None:
    before = GIC + 'host_kernel: "6.7"\n'
    found = compare(before, before.replace("0.0.0.1", "0.0.1.0"))
    kinds = [" ".join(line.split()[:3]) for line in found]
    assert kinds == [
        "removed: create-vcpu vcpu:1",
        "added: create-vcpu vcpu:16",
        "removed: init-vcpu vcpu:1",
        "added: init-vcpu vcpu:16",
        "removed: set-attr vcpu:1",
        "added: set-attr vcpu:16",
        "removed: set-attr vcpu:1",
        "added: set-attr vcpu:16",
    ]


def test_filters_that_change_places_are_reordered(compare: Compare) -> None:
    lines = FILTERED.splitlines(keepends=True)
    moved = "".join([*lines[:6], lines[7], lines[8], lines[6]])
    assert compare(FILTERED, moved) == [
        "reordered: set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_FILTER "
        "kvm_pmu_event_filter"
        " base_event=0x11,nevents=1,action=1 (vCPU 0.0.0.0, command 4 -> 6, a.yaml:7:7, "
        "b.yaml:9:7)",
    ]
    dropped = "".join([*lines[:7], lines[8]])
    assert [line.split()[0] for line in compare(FILTERED, dropped)] == ["removed:"]
    assert [line.split()[0] for line in compare(FILTERED, FILTERED.replace("0x12", "0x14"))] == [
        "changed:"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_differs_from_all_others_and_not_from_itself(sample: Path) -> None:
    mine = plan(sample.read_bytes())
    assert differences(mine.commands, mine.commands) == []
    for other in SAMPLES:
        theirs = plan(other.read_bytes())
        found = differences(mine.commands, theirs.commands)
        told = [command.fields() for command in mine.commands]
        if other == sample or told == [command.fields() for command in theirs.commands]:
            assert found == []
            continue
        # The differences, applied to the first plan, result in the second.
        gone = {each.old.seq for each in found if each.old is not None}
        came = {each.new.seq for each in found if each.new is not None}
        left = [fields for seq, fields in enumerate(told, 1) if seq not in gone]
        kept = [
            command.fields() for seq, command in enumerate(theirs.commands, 1) if seq not in came
        ]
        assert left == kept
        assert found


def test_findings_are_on_standard_error_and_nothing_is_compared(
    vmcfg: Vmcfg, tmp_path: Path
) -> None:
    (tmp_path / "right.yaml").write_text(GIC)
    (tmp_path / "wrong.yaml").write_text(GIC.replace("pmu_irq: 23", "pmu_irq: 8"))
    for paths in (("right.yaml", "wrong.yaml"), ("wrong.yaml", "right.yaml")):
        done = vmcfg("diff", *paths)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("wrong.yaml:11:14: error[VMC504] ")
    unchecked = vmcfg("diff", "--unchecked", "right.yaml", "wrong.yaml")
    assert unchecked.returncode == 1
    assert "KVM_ARM_VCPU_PMU_V3_IRQ s32 23 -> 8" in unchecked.stdout
    assert "error[VMC504]" in unchecked.stderr


def test_strict_and_host_kernel_are_those_of_emit(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GIC.replace("23", "25"))
    assert vmcfg("diff", "a.yaml", "a.yaml").returncode == 0
    assert vmcfg("diff", "--strict", "a.yaml", "a.yaml").returncode == 3
    (tmp_path / "b.yaml").write_text(
        'vmcfg: 1\nname: vm\nhost_kernel: "6.12"\nvcpus: [{mpidr: 0.0.200.1}]\n'
    )
    assert vmcfg("diff", "b.yaml", "b.yaml").returncode == 0
    done = vmcfg("diff", "--host-kernel", "6.1", "b.yaml", "b.yaml")
    assert (done.returncode, "VMC701" in done.stderr) == (3, True)


def test_an_unreadable_file_is_3(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GIC)
    done = vmcfg("diff", "a.yaml", "b.yaml")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "vmcfg: cannot read b.yaml: No such file or directory\n"


def test_an_empty_file_is_no_description(vmcfg: Vmcfg, tmp_path: Path) -> None:
    """/dev/null is the name of a missing file only with --git."""
    (tmp_path / "a.yaml").write_text(GIC)
    done = vmcfg("diff", "/dev/null", "a.yaml")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("/dev/null:1:1: error[VMC102] ")


def test_standard_input_is_one_of_two(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GIC)
    done = vmcfg("diff", "a.yaml", "-", standard_input=GIC.replace("0x080a", "0x080b"))
    assert done.returncode == 1
    assert done.stdout.endswith("(a.yaml:7:7, <stdin>:7:7)\n")
    assert vmcfg("diff", "-", "-").returncode == 2
    for wrong in ((), ("a.yaml",), ("a.yaml", "a.yaml", "a.yaml"), ("--git", "a.yaml", "a.yaml")):
        assert vmcfg("diff", *wrong).returncode == 2


class Git:
    """A repository in which Git compares *.vmcfg.yaml with vmcfg."""

    def __init__(self, git: str, folder: Path) -> None:
        self.git = git
        self.folder = folder / "repository"
        self.folder.mkdir()
        program = folder / "vmcfg"
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m vmcfg "$@"\n'
        )
        program.chmod(0o755)
        self.env = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        for name in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@b"}
        self("init", "-q")
        self("config", "diff.vmcfg.command", "vmcfg diff --git")
        (self.folder / ".gitattributes").write_text("*.vmcfg.yaml diff=vmcfg\n")

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.git, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def commit(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / f"{name}.vmcfg.yaml").write_text(text)
        self("add", ".")
        self("commit", "-qm", "change")


@pytest.fixture
def git(program: Callable[[str], str], tmp_path: Path) -> Git:
    return Git(program("git"), tmp_path)


def test_git_shows_commands(git: Git) -> None:
    git.commit(edge=GIC)
    (git.folder / "edge.vmcfg.yaml").write_text(GIC.replace("0x080a0000", "0x080b0000"))
    assert git("diff") == (
        "vmcfg diff a/edge.vmcfg.yaml b/edge.vmcfg.yaml\n"
        "changed: set-attr gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION "
        "u64 0x200000080a0000"
        " -> 0x200000080b0000 (a/edge.vmcfg.yaml:7:7, b/edge.vmcfg.yaml:7:7)\n"
    )
    (git.folder / "edge.vmcfg.yaml").write_text("# only a comment\n" + GIC)
    assert git("diff") == ""
    git("commit", "-qam", "comment")
    assert "vmcfg diff" not in git("show", "--ext-diff")


def test_git_shows_files_that_come_go_and_move(git: Git) -> None:
    git.commit(old=GIC)
    git.commit(new=GIC.replace("name: vm", "name: other"))
    shown = git("show", "--ext-diff", "--format=")
    assert shown.splitlines()[:2] == [
        "vmcfg diff /dev/null b/new.vmcfg.yaml",
        "added: create-vm vm - - u64 0x28",
    ]
    git("rm", "-q", "new.vmcfg.yaml")
    shown = git("diff", "--cached")
    assert shown.startswith(
        "vmcfg diff a/new.vmcfg.yaml /dev/null\nremoved: create-vm vm - - u64 0x28\n"
    )
    git("commit", "-qm", "gone")
    git("mv", "old.vmcfg.yaml", "moved.vmcfg.yaml")
    (git.folder / "moved.vmcfg.yaml").write_text(GIC.replace("0x08000000", "0x08010000"))
    shown = git("diff", "-M", "HEAD")
    assert shown.startswith(
        "vmcfg diff a/old.vmcfg.yaml b/moved.vmcfg.yaml\nchanged: set-attr gic "
    )
    assert shown.endswith("(a/old.vmcfg.yaml:5:16, b/moved.vmcfg.yaml:5:16)\n")


def test_git_goes_on_after_a_wrong_revision(git: Git) -> None:
    git.commit(one=GIC, two=GIC)
    (git.folder / "one.vmcfg.yaml").write_text("vmcfg: 1\n")
    (git.folder / "two.vmcfg.yaml").write_text(GIC.replace("0x08000000", "0x08010000"))
    shown = git("diff")
    assert "b/one.vmcfg.yaml:1:1: error[VMC111] " in shown
    assert (
        "vmcfg diff a/one.vmcfg.yaml b/one.vmcfg.yaml: not compared because of the findings above\n"
        in shown
    )
    assert "vmcfg diff a/two.vmcfg.yaml b/two.vmcfg.yaml\nchanged: " in shown


def test_git_tells_of_an_unmerged_file(git: Git) -> None:
    git.commit(edge=GIC)
    git("checkout", "-qb", "other")
    git.commit(edge=GIC.replace("23", "22"))
    git("checkout", "-q", "-")
    git.commit(edge=GIC.replace("23", "21"))
    merged = subprocess.run(
        [git.git, "merge", "-q", "other"], cwd=git.folder, env=git.env, capture_output=True
    )
    assert merged.returncode == 1
    assert "vmcfg diff: edge.vmcfg.yaml is not merged\n" in git("diff", "--cached")


def test_the_report_is_as_documented(vmcfg: Vmcfg, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GIC)
    (tmp_path / "b.yaml").write_text(GIC.replace("pmu_irq: 23", "pmu_irq: 22", 2))
    report: dict[str, Any] = json.loads(
        vmcfg("diff", "--format", "json", "a.yaml", "b.yaml").stdout
    )
    assert report["old"] == {"file": "a.yaml", "kind": "description", "vm": "vm"}
    assert report["differences"][0] == {
        "kind": "changed",
        "op": "set-attr",
        "target": "vcpu:0",
        "group": "KVM_ARM_VCPU_PMU_V3_CTRL",
        "attr": "KVM_ARM_VCPU_PMU_V3_IRQ",
        "type": "s32",
        "mpidr": "0.0.0.0",
        "old": {
            "seq": 9,
            "value": "23",
            "origin": {"pointer": "/vcpus/0/pmu_irq", "line": 11, "column": 14},
        },
        "new": {
            "seq": 9,
            "value": "22",
            "origin": {"pointer": "/vcpus/0/pmu_irq", "line": 11, "column": 14},
        },
    }
