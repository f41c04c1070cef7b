"""vmcfg try --script, with a stand-in for KVM: its report is that of vmcfg try on the same host.

tests/kvm executes it on real kernels, by a Python 3.7.
"""

from __future__ import annotations

import ast
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import stand_in_kvm
from tests.conftest import ROOT, Vmcfg
from tests.stand_in_kvm import StandInKvm
from tests.test_try import EVERYTHING, TWO, written
from vmcfg.commands import probe
from vmcfg.kernel.version import NEVER, NEWEST, version_text
from vmcfg.trial import script
from vmcfg.trial.perform import EXECUTED

RELEASES = ("6.1.0", "6.3.1", "6.12.41-vendor", "7.2.13", "7.9.0", "8.0.1")
"""Kernels on which findings differ, and ones after the newest."""

Same = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInKvm]:
    kernel = StandInKvm()
    stand_in_kvm.add_pmu(tmp_path / "pmus", "armv8_pmuv3", 10, "0-3")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    stand_in_kvm.install(monkeypatch, kernel, tmp_path / "pmus")
    yield kernel
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert kernel.still_open() == [], "the script leaves descriptors of KVM open"


@pytest.fixture
def run(
    kvm: StandInKvm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[[str], tuple[int, str, str]]:
    """Return a function that executes a script: exit code, standard output, standard error."""

    def run(text: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            stand_in_kvm.execute(text, monkeypatch, kvm, tmp_path / "pmus")
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def same(kvm: StandInKvm, vmcfg_here: Vmcfg, run: Callable[[str], tuple[int, str, str]]) -> Same:
    """Return a function that compares the script of some arguments with `try --format json`, and
    returns what both print.
    """

    def same(*arguments: str) -> tuple[int, str, str]:
        kvm.values.clear()
        expected = vmcfg_here("try", "--format", "json", *arguments)
        calls = kvm.calls[:]
        kvm.calls.clear()
        kvm.values.clear()
        text = vmcfg_here("try", "--script", *arguments)[1]
        assert kvm.calls == [], "--script uses KVM of this host"
        done = run(text)
        assert done == expected
        assert kvm.calls == calls
        kvm.calls.clear()
        return expected

    return same


# The same report ----------------------------------------------------------------------------------


def test_every_operation_is_executed_as_by_try(kvm: StandInKvm, same: Same) -> None:
    code, output, _ = same(written(EVERYTHING))
    report = json.loads(output)
    assert (code, report["performed"], report["read_back"]) == (0, 41, 23)
    assert report["kernel"] == "7.2.13"


def test_a_gic_stands_in_as_in_try(kvm: StandInKvm, same: Same) -> None:
    assert same(written(TWO))[2].endswith("try uses a GICv3 instead\n")
    kvm.devices = {5}
    assert same(written(TWO))[2].endswith("try uses a GICv2 instead\n")


def test_rejections_and_other_values_are_judged_as_by_try(kvm: StandInKvm, same: Same) -> None:
    kvm.refused["vcpu:1 SET_DEVICE_ATTR 0 0 17000000"] = errno.EBUSY
    code, output, _ = same(written(TWO))
    assert code == 1
    assert json.loads(output)["diagnostics"][0]["rule"] == "VMC901"
    kvm.refused = {"vcpu:0 RUN": errno.EINVAL, "vcpu:1 RUN": errno.EINVAL}
    kvm.returned["vcpu:1 GET_DEVICE_ATTR 0 0"] = (24).to_bytes(4, "little")
    code, output, _ = same(written(TWO))
    assert code == 1
    assert [each["rule"] for each in json.loads(output)["diagnostics"]] == ["VMC902", "VMC903"]
    kvm.refused = {"kvm CREATE_VM 0x28": errno.EINVAL}
    _, output, _ = same(written(TWO))
    assert "(default) fails with EINVAL" in json.loads(output)["diagnostics"][0]["message"]


@pytest.mark.parametrize("release", RELEASES)
def test_the_findings_of_every_case_are_those_for_the_kernel(
    release: str, kvm: StandInKvm, same: Same
) -> None:
    kvm.release = release
    _, output, _ = same("--no-run", str(ROOT / "tests/cases"))
    assert len(json.loads(output)["tries"]) > 250


@pytest.mark.parametrize("release", RELEASES)
def test_predictions_are_those_for_the_kernel(release: str, kvm: StandInKvm, same: Same) -> None:
    kvm.release = release
    examples = ROOT / "vmcfg/reference/examples"
    topics = [str(path) for topic in "567" for path in sorted(examples.glob(f"VMC{topic}*.yaml"))]
    _, output, _ = same("--unchecked", *topics)
    predictions = [each["predictions"] for each in json.loads(output)["tries"] if "run" in each]
    assert len(list(filter(None, predictions))) > 15


NEEDS_6_4 = f"{TWO}smccc_filter: [{{action: deny, base: 0x84000005, count: 1}}]\n"


@pytest.mark.parametrize(("release", "code"), [("6.3.9", 1), ("6.4.0", 0), ("6.10.1", 0)])
def test_without_host_kernel_the_findings_are_those_for_the_kernel_there(
    release: str, code: int, kvm: StandInKvm, same: Same
) -> None:
    kvm.release = release
    got, output, _ = same(written(NEEDS_6_4))
    assert got == code
    assert len(json.loads(output)["diagnostics"]) == code


def test_a_host_kernel_on_the_command_line_counts_everywhere(kvm: StandInKvm, same: Same) -> None:
    kvm.release = "6.12.1"
    assert same("--host-kernel", "6.1", written(NEEDS_6_4))[0] == 1


def test_options_count_on_the_host(kvm: StandInKvm, same: Same) -> None:
    assert json.loads(same("--no-run", written(TWO))[1])["run"] == []
    warned = TWO.replace("23", "25")
    assert same(written(warned))[0] == 0
    assert same("--strict", written(warned))[0] == 1


def test_a_host_file_gives_findings_for_that_host(kvm: StandInKvm, same: Same) -> None:
    host = str(ROOT / "tests/hosts/linux-6.12.json")
    code, output, _ = same("--host", host, written(TWO + "features: [el2]\n"))
    assert code == 1
    assert json.loads(output)["diagnostics"][0]["hosts"]


def test_values_from_defaults_are_judged_in_their_file(kvm: StandInKvm, same: Same) -> None:
    written("vmcfg: 1\npmu: {irq: 23}\n", "defaults.yaml")
    bare = written("{vmcfg: 1, name: vm, vcpus: 2}\n")
    assert same("--defaults", "defaults.yaml", bare)[0] == 0
    kvm.refused["vcpu:1 SET_DEVICE_ATTR 0 0 17000000"] = errno.EBUSY
    code, output, _ = same("--defaults", "defaults.yaml", bare)
    assert code == 1
    assert json.loads(output)["diagnostics"][0]["file"] == "defaults.yaml"
    written("vmcfg: 1\npmu: {irq: 27}\n", "defaults.yaml")
    assert same("--defaults", "defaults.yaml", "--unchecked", bare)[0] == 1


def test_a_plan_is_executed_with_its_lines(kvm: StandInKvm, same: Same, vmcfg_here: Vmcfg) -> None:
    emitted = vmcfg_here("emit", "--scope", "vm", "--format", "jsonl", written(TWO))[1]
    plan = written(emitted, "vm.plan")
    assert same("--plan", plan)[0] == 0
    kvm.refused["vcpu:1 SET_DEVICE_ATTR 0 0 17000000"] = errno.EBUSY
    code, output, _ = same("--plan", plan)
    (found,) = json.loads(output)["diagnostics"]
    assert (code, found["line"]) == (1, 8)
    assert found["hint"].startswith("change line 4, column 12 of the description")


def test_a_name_may_have_any_characters(kvm: StandInKvm, same: Same) -> None:
    same(written(TWO, "v\u00e4\"'{0}\\m.yaml"), written(TWO, "{x}.yaml"))


# Exit codes ---------------------------------------------------------------------------------------


def test_a_host_without_kvm_is_3(kvm: StandInKvm, same: Same) -> None:
    kvm.refused["open /dev/kvm"] = errno.ENOENT
    code, output, errors = same(written(TWO))
    assert (code, output) == (3, "")
    assert errors.startswith("vmcfg: /dev/kvm does not exist")
    assert same(written(TWO), written(TWO, "other.yaml"))[0] == 3


def test_a_host_without_the_pmu_is_3(kvm: StandInKvm, same: Same) -> None:
    code, output, errors = same(written(TWO.replace("irq: 23", "irq: 23, device: other")))
    assert (code, output) == (3, "")
    assert errors == "vmcfg: this host does not have the PMU 'other': it has armv8_pmuv3\n"


def test_errors_on_every_kernel_are_found_when_the_script_is_created(
    kvm: StandInKvm, vmcfg_here: Vmcfg, run: Callable[[str], tuple[int, str, str]]
) -> None:
    code, text, errors = vmcfg_here("try", "--script", written(TWO.replace("23", "27")))
    assert code == 1
    assert "vm.yaml:4:12: error[VMC507]" in errors
    # In a pipe, only the exit code of the script remains.
    code, output, _ = run(text)
    assert code == 1
    assert [each["rule"] for each in json.loads(output)["diagnostics"]] == ["VMC507"]
    assert vmcfg_here("try", "--script", written(NEEDS_6_4))[::2] == (0, "")


def test_a_file_that_cannot_be_read_is_3_in_both(
    kvm: StandInKvm, vmcfg_here: Vmcfg, run: Callable[[str], tuple[int, str, str]]
) -> None:
    missing = "vmcfg: cannot read missing.yaml: No such file or directory\n"
    code, text, errors = vmcfg_here("try", "--script", "missing.yaml")
    assert (code, errors) == (3, missing)
    assert run(text) == (3, "", missing)
    code, text, errors = vmcfg_here("try", "--script", written(TWO), "missing.yaml")
    assert (code, errors) == (3, missing)
    code, output, errors = run(text)
    assert (code, errors.startswith(missing)) == (3, True)
    assert len(json.loads(output)["tries"]) == 1


def test_the_script_is_written_to_a_file_completely_or_not_at_all(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    text = vmcfg_here("try", "--script", written(TWO))[1]
    assert vmcfg_here("try", "--script", "-o", "try.py", written(TWO)) == (0, "", "")
    assert Path("try.py").read_text() == text
    assert vmcfg_here("try", "--script", "-o", "other.py", "missing.yaml")[0] == 3
    assert not Path("other.py").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--script", "--examples"), "--examples cannot be used with --script."),
        (("--script", "-v", "vm.yaml"), "--verbose cannot be used with --script."),
        (("--script", "--image", "Image", "vm.yaml"), "--image cannot be used with --script."),
        (("--script", "--format", "ktap", "vm.yaml"), "--format ktap cannot be used with"),
        (("-o", "x.py", "vm.yaml"), "--output requires --script."),
        (("--script", "-o", "vm.yaml", "vm.yaml"), "is a description, which the script"),
    ],
)
def test_options_that_contradict_are_usage_errors(
    arguments: tuple[str, ...], message: str, vmcfg_here: Vmcfg
) -> None:
    written(TWO)
    code, output, errors = vmcfg_here("try", *arguments)
    assert (code, output) == (2, "")
    assert message in errors


# What it requires ---------------------------------------------------------------------------------

CARRIED = tuple(dict.fromkeys((*script.CARRIED, *probe.CARRIED)))


def test_the_modules_need_nothing_after_python_3_7() -> None:
    files = [str(ROOT / f"{name.replace('.', '/')}.py") for name in CARRIED]
    # The script brings typing.Literal along; annotations are not evaluated.
    options = ["--target=3.7-", "--violations", "--no-tips", "--exclude", "typing.Literal"]
    vermin = "import sys, vermin; sys.exit(vermin.main())"
    done = subprocess.run(
        [sys.executable, "-c", vermin, *options, *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CARRIED)
def test_a_module_evaluates_no_type_after_python_3_7(name: str) -> None:
    source = (ROOT / f"{name.replace('.', '/')}.py").read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    assigned = [each.value for each in ast.walk(tree) if isinstance(each, ast.Assign)]
    subscripted = {
        each.value.id
        for value in assigned
        for each in ast.walk(value)
        if isinstance(each, ast.Subscript) and isinstance(each.value, ast.Name)
    }
    # Python before 3.9 cannot subscript these.
    assert not subscripted & {"tuple", "list", "dict", "set", "type", "Callable", "Mapping"}


def test_the_script_needs_only_the_standard_library(vmcfg_here: Vmcfg, tmp_path: Path) -> None:
    text = vmcfg_here("try", "--script", written(TWO))[1]
    without_literal = "import typing\ndel typing.Literal\n"  # as in Python 3.7
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"],
        input=without_literal + text,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )
    if os.uname().machine == "aarch64":
        assert done.returncode in (0, 3), done.stderr
    else:
        assert done.returncode == 3
        assert done.stderr.endswith("not arm64: run this on an arm64 host\n")


def test_every_operation_of_a_plan_can_be_executed() -> None:
    from vmcfg.plans.operations import CREATE_VM, OPERATIONS, READING

    made = {each.word for each in OPERATIONS} - {each.word for each in READING.values()}
    assert set(EXECUTED) == made - {CREATE_VM.word}


def test_every_version_that_a_row_knows_has_its_trial() -> None:
    from vmcfg.plans.sequence import SEQUENCE

    known = {version for row in SEQUENCE for version in (row.since, row.read_since)}
    assert known - {NEVER} <= set(script.KERNELS)
    assert list(script.KERNELS) == sorted(set(script.KERNELS))


def test_no_finding_is_about_a_kernel_after_the_newest(vmcfg_here: Vmcfg) -> None:
    """The script has the findings for one version after the newest: they must hold for all."""
    later = version_text(script.LATER)
    assert script.LATER > NEWEST
    told = []
    for version in (later, "9.3"):
        cases = str(ROOT / "tests/cases")
        output = vmcfg_here("validate", "--format", "json", "--host-kernel", version, cases)[1]
        told.append(output.replace(f"Linux {version}", "Linux X").replace(f"is {version}", "is X"))
    assert told[0] == told[1]
