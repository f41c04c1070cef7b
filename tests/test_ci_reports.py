"""Reports for CI systems: JUnit, read by junitparser, and Code Quality of GitLab."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml
from junitparser import TestSuite as Suite

from tests.conftest import not_here
from tests.kvm import debian
from tests.processes import run_vmcfg
from vmcfg.checking.check import check
from vmcfg.reports import gitlab, junit
from vmcfg.reports.form import Totals

ROOT = Path(__file__).parent.parent
CASES = sorted((ROOT / "tests/cases").glob("*.yaml"))

WRONG = b"""\
vmcfg: 1
name: vm
vcpus:
  - {mpidr: 0.0.0.0, pmu_irq: spi:8}
  - {mpidr: 0.0.0.1, pmu_irq: spi:8}
pmu: {irq: 5}
"""
ODD_NAME = "a<b>&\"'\n\x1b\udcff.yaml"


def validate(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    return run_vmcfg(["validate", *arguments], cwd=folder, env={"PATH": "/usr/bin:/bin"})


def counts() -> Counter[str]:
    """Return the findings of all cases and samples by severity, as --format json has them."""
    report = json.loads(validate("--format", "json", "tests/cases", "sample-configs").stdout)
    return Counter(found["severity"] for found in report["diagnostics"])


def test_junit_of_everything_is_read() -> None:
    done = validate("--format", "junit", "tests/cases", "sample-configs", "missing.yaml")
    suites = JUnitXml.fromstring(done.stdout)
    assert isinstance(suites, JUnitXml)
    results = Counter(type(result) for suite in suites for case in suite for result in case.result)
    expected = counts()
    assert results == {Failure: expected["error"], Error: 1}
    names = [suite.name for suite in suites]
    assert (
        len(names)
        == len(set(names))
        == len(CASES) + len(list(ROOT.glob("sample-configs/*.yaml"))) + 1
    )
    assert done.returncode == 3
    tests = sum(suite.tests for suite in suites)
    right = sum(case.name == "no findings" for suite in suites for case in suite)
    assert tests == expected["error"] + expected["warning"] + right + 1


def jenkins_schema() -> Path:
    """Return the schema of Jenkins, junit-10.xsd, from the source of this pytest on PyPI."""
    schema = Path(debian.cache_folder(), f"junit-10-of-pytest-{pytest.__version__}.xsd")
    if schema.exists():
        return schema
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "pytest"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*pip, "-d", folder, f"pytest=={pytest.__version__}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            not_here(f"NO SCHEMA WAS TESTED: {done.stderr}")
        (source,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(source) as archive:
            (name,) = (each for each in archive.getnames() if each.endswith("/junit-10.xsd"))
            stream = archive.extractfile(name)
            assert stream is not None
            debian.store(schema, stream.read())
    return schema


@pytest.mark.slow
def test_junit_is_valid_by_the_schema_of_jenkins(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    (tmp_path / "odd<&\"'\x1b.yaml").write_bytes(WRONG)
    everything = ("tests/cases", "sample-configs", str(tmp_path), "missing.yaml")
    report = validate("--format", "junit", *everything).stdout
    command = [program("xmllint"), "--noout", "--nonet", "--schema", str(jenkins_schema()), "-"]
    done = subprocess.run(command, input=report, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"- validates\n")


def test_the_numbers_of_a_suite_are_those_of_its_tests() -> None:
    found = check(WRONG, "vm.yaml")
    suite = suites_of(junit.REPORT.part(found.diagnostics, found.tree.texts))[0]
    told = suite.tests, suite.failures
    suite.update_statistics()  # type: ignore[no-untyped-call]
    assert told == (suite.tests, suite.failures)
    assert told[1] == len([each for each in found.diagnostics if each.severity == "error"]) > 0


def suites_of(part: str) -> list[Suite]:
    assert junit.REPORT.whole is not None
    text = "".join(junit.REPORT.whole([part], Totals(1, 0, 0, ())))
    return list(JUnitXml.fromstring(text.encode()))


@given(st.text(st.characters(exclude_categories=[]), max_size=20))
@settings(max_examples=200)
def test_any_name_is_xml(name: str) -> None:
    found = check(WRONG, name)
    (suite,) = suites_of(junit.REPORT.part(found.diagnostics, found.tree.texts))
    assert suite.tests == len(found.diagnostics)


def code_quality(text: bytes, file: str = "vm.yaml") -> list[dict[str, Any]]:
    found = check(text, file)
    assert gitlab.REPORT.whole is not None
    parts = [gitlab.REPORT.part(found.diagnostics, found.tree.texts)] if found.diagnostics else []
    report: list[dict[str, Any]] = json.loads(
        "".join(gitlab.REPORT.whole(parts, Totals(1, 0, 0, ())))
    )
    return report


def test_gitlab_of_everything_has_the_required_fields() -> None:
    """Those of https://docs.gitlab.com/ci/testing/code_quality/, each with its values."""
    done = validate("--format", "gitlab", "tests/cases", "sample-configs", "missing.yaml")
    report = json.loads(done.stdout)
    assert len(report) == sum(counts().values()) + 1
    for each in report:
        assert set(each) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert each["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert not Path(each["location"]["path"]).is_absolute()
        lines = each["location"]["lines"]
        assert 1 <= lines["begin"] <= lines["end"]
    assert len({each["fingerprint"] for each in report}) == len(report)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_fingerprints_stay_when_lines_move(case: Path) -> None:
    text = case.read_bytes()
    before = [each["fingerprint"] for each in code_quality(text)]
    moved = [each["fingerprint"] for each in code_quality(b"# a comment\n\n" + text)]
    assert moved == before


def test_another_file_rule_or_value_is_another_finding() -> None:
    first = code_quality(WRONG)
    others = [
        *code_quality(WRONG, "other.yaml"),
        *code_quality(WRONG.replace(b"spi:8", b"spi:9")),
    ]
    known = {each["fingerprint"] for each in first}
    assert len(known) == len(first) > 1
    same = [each for each in others if each["fingerprint"] in known]
    # That pmu.irq is unused and wrong does not depend on the SPIs.
    assert {each["check_name"][:6] for each in same} <= {"VMC504"}


def test_odd_names_are_escaped() -> None:
    assert code_quality(WRONG, ODD_NAME)[0]["location"]["path"].isprintable()


def test_nothing_is_an_empty_list() -> None:
    assert code_quality(b"vmcfg: 1\nname: vm\nvcpus: 1\n") == []


@pytest.mark.parametrize(("format_", "suffix"), [("junit", "xml"), ("gitlab", "json")])
def test_a_report_is_stored(
    format_: str, suffix: str, tmp_path: Path, same_as_file: Callable[[Path, bytes], None]
) -> None:
    """Errors, a related place, and a file without findings, word for word."""
    (tmp_path / "wrong.yaml").write_bytes(WRONG)
    (tmp_path / "right.yaml").write_bytes(b"vmcfg: 1\nname: right\nvcpus: 1\n")
    report = validate("--format", format_, "right.yaml", "wrong.yaml", folder=tmp_path).stdout
    same_as_file(ROOT / "tests" / "reports" / f"wrong.{suffix}", report)
