"""Reading any input: both parsers find the same, and none has a traceback, hang, or crash."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.strategies import descriptions, json_text, mutants
from vmcfg.checking import check as checking
from vmcfg.checking.check import Checked, check
from vmcfg.description.model import Either, ListOf, every_field
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.reports import concise, human, styled
from vmcfg.text.node_reader import DEEPEST, MOST_NODES
from vmcfg.text.nodes import lines_of
from vmcfg.text.pure_parser import PurePythonParser
from vmcfg.text.tree import FASTEST_PARSER, Tree

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
CASES = sorted((ROOT / "tests" / "cases").glob("*.yaml"))
TEXTS = [pytest.param(path, id=path.stem) for path in (*SAMPLES, *CASES)]
SMALL = [path.read_bytes() for path in (*SAMPLES, *CASES) if path.stat().st_size < 1200]
MINIMAL = (ROOT / "sample-configs" / "minimal.yaml").read_bytes()
START = b"vmcfg: 1\nname: vm\nvcpus: 1\n"


NOT_YAML = "VMC100"
ENDS = {NOT_YAML, "VMC101", "VMC104", "VMC106", "VMC107"}
"""The findings after which vmcfg stops reading."""


def generated(examples: int) -> settings:
    """Return settings for this number of inputs."""
    return settings(max_examples=examples)


def checked_by(parser: type[Any], data: bytes) -> Checked:
    """Return the result of `check` with this parser."""
    with patch.object(checking, "Tree", partial(Tree, parser=parser)):
        return check(data, "vm.yaml")


def assert_sound(checked: Checked) -> None:
    """Assert that there is a machine or a finding, that every position is in the text, and that
    every finding can be drawn.
    """
    assert checked.machine is not None or checked.diagnostics
    lines = lines_of(checked.tree.text)
    for found in checked.diagnostics:
        for span in (found.span, *(each.span for each in found.related)):
            line, column, end_line, end_column = span
            assert (line, column) <= (end_line, end_column), found
            # One column after the end of a line is the position of something that is missing there.
            assert 1 <= line <= end_line <= len(lines), found
            assert 1 <= column <= len(lines[line - 1]) + 1, found
            assert 1 <= end_column <= len(lines[end_line - 1]) + 2, found
        assert_drawn(found, checked.tree.texts)


def assert_drawn(found: Diagnostic, texts: Mapping[str, str]) -> None:
    for drawn in (styled.plain(human.human(found, texts)), concise.concise(found) + "\n"):
        assert drawn.endswith("\n")
        assert drawn.replace("\n", "").isprintable()
    json.dumps(found.as_json())


def rules(checked: Checked) -> set[str]:
    return {found.rule for found in checked.diagnostics}


def assert_same(data: bytes) -> None:
    """Assert that both parsers find the same, or that both reject the text if it is not YAML."""
    fastest, pure = checked_by(FASTEST_PARSER, data), checked_by(PurePythonParser, data)
    assert_sound(fastest)
    assert_sound(pure)
    if NOT_YAML in rules(fastest) | rules(pure):
        # Which of two fatal findings comes first depends on how far a parser looks ahead.
        # libyaml ends a tag at a comma or a bracket, but PyYAML does not: a tag is an error in any
        # case.
        assert (ENDS | {"VMC105"}) & rules(fastest)
        assert (ENDS | {"VMC105"}) & rules(pure)
    else:
        assert (fastest.diagnostics, fastest.machine) == (pure.diagnostics, pure.machine)


# Both parsers -------------------------------------------------------------------------------------


def test_the_fastest_parser_is_libyamls() -> None:
    assert yaml.__with_libyaml__, "without libyaml these tests would compare one parser with itself"
    assert FASTEST_PARSER is not PurePythonParser


def report(program: str, paths: Iterable[Path]) -> Any:
    """Return the findings in `paths` that `program`, a Python text that runs vmcfg, prints."""
    command = [sys.executable, "-c", program, "validate", "--format", "json", *map(str, paths)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert printed.stderr == b""
    return json.loads(printed.stdout)


def test_without_libyaml_the_command_finds_the_same() -> None:
    run = "from vmcfg.cli import main; main()"
    fast = report(run, (*SAMPLES, *CASES))
    pure = report(f"import yaml; yaml.__with_libyaml__ = False; {run}", (*SAMPLES, *CASES))
    syntax, other = (
        [each for each in fast["diagnostics"] if (each["rule"] == "VMC100") is is_]
        for is_ in (True, False)
    )
    assert other == [each for each in pure["diagnostics"] if each["rule"] != "VMC100"]
    assert [each["file"] for each in syntax] == [
        each["file"] for each in pure["diagnostics"] if each["rule"] == "VMC100"
    ]
    assert fast["files"] == pure["files"] == len(SAMPLES) + len(CASES)


@pytest.mark.parametrize("path", TEXTS)
def test_parsers_agree_on_files(path: Path) -> None:
    assert_same(path.read_bytes())


@pytest.mark.parametrize("path", TEXTS)
def test_parsers_agree_on_files_with_other_line_ends(path: Path) -> None:
    data = path.read_bytes().replace(b"\r\n", b"\n")
    for end in (b"\r\n", b"\r"):
        assert_same(b"\xef\xbb\xbf" + data.replace(b"\n", end))


def test_a_byte_order_mark_and_carriage_returns_change_nothing() -> None:
    plain = check(MINIMAL, "vm.yaml")
    for written in (b"\xef\xbb\xbf" + MINIMAL, MINIMAL.replace(b"\n", b"\r\n")):
        found = check(written, "vm.yaml")
        assert (found.machine, found.diagnostics) == (plain.machine, plain.diagnostics)


@pytest.mark.parametrize("name", ["anchors", "monitors-gic"])
def test_parsers_agree_on_a_sample_cut_anywhere(name: str) -> None:
    data = (ROOT / "sample-configs" / f"{name}.yaml").read_bytes()
    for end in range(len(data)):
        assert_same(data[:end])


TOLD_APART = [
    "[",
    "'",
    "v\tmcfg\n",
    "&a \t",
    "word\n\t",
    "word\n---\n",
    "a\n: b\n",
    "%FOO\n---\nvmcfg: 1\n",
    "x-a:\t1\n",
    "x-a: 1\t# one\n",
    "x-a: b\tc\n",
    "x-a: b\n  \tc\n",
    "x-a: b\n\tc\n",
    "x-a: b\n\t\n",
    "x-a:\n  y: b\n \tc\n",
    "x-a:\n  y: b\n   \tc\n",
    "x-a: [b\n\tc]\n",
    "x-a: b\n\n\n  c d\n",
    "ipa_bits: 40\n\ufeff",
    "gic: {version: 3, set_up_by: }\n",
    "gic: {version: 3, set_up_by:}\n",
    "gic: {version: 3, set_up_by:\n\n\n  }\n",
    "gic: {version: 3, ? : plan}\n",
    "gic: {version}\n",
    "pmu: {irq: 1? 2}\n",
    "pmu: {irq: a?b}\n",
    "pmu: {irq: a:?b}\n",
    "pmu: {irq: a:b}\n",
    "memory: [base: ]\n",
    "memory: [base: 0,size: 1]\n",
    "memory: [\t{base: 0,\tsize: 1}\t]\n",
]
"""Texts that the two parsers of PyYAML read differently or place differently; each is read alone
and after a valid description.
"""


@pytest.mark.parametrize("text", TOLD_APART, ids=repr)
def test_parsers_agree_where_pyyamls_do_not(text: str) -> None:
    assert_same(text.encode())
    assert_same(START + text.encode())


BYTES = st.sampled_from(
    [bytes([byte]) for byte in b" \t\n\r:-?,[]{}&*!|>'\"%@`#<~\\0\x00\x1f\x7f\x80\xc3\xff"]
    + b"\xc2\x85 \xe2\x80\xa8 \xef\xbb\xbf \xf0\x9f\x90\x8b ---\n ...\n &a *a <<: ?a -a".split(b" ")
)


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """Draw a sample or case with a few bytes inserted, removed, or repeated."""
    data = draw(st.sampled_from(SMALL))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 6)))
        middle = draw(st.one_of(st.just(b""), BYTES, BYTES, st.just(data[at:until] * 2)))
        data = data[:at] + middle + data[until:]
    return data


@generated(600)
@given(altered())
def test_parsers_agree_on_altered_bytes(data: bytes) -> None:
    assert_same(data)


@generated(150)
@given(mutants(descriptions(most_vcpus=3)), st.sampled_from(["block", "flow", "json"]))
def test_parsers_agree_on_changed_descriptions(document: Any, form: str) -> None:
    if form == "json":
        text = json_text(document)
    else:
        # yaml.dump writes the forms that people write, such as aliases.
        text = yaml.dump(
            document, default_flow_style=form == "flow", allow_unicode=True, sort_keys=False
        )
    assert_same(text.encode())


WORDS = r"""
vmcfg:_1\n name:_vm\n vcpus:_2\n gic:_ __version:_3\n
x-y:_ k:_v\n -_ ?_ :_ __ _ \n \t [ ] { } , &a_ *a_ !!str_ !_
|\n >-\n ' " #c\n --- ... %YAML_1.2\n %TAG_!_a\n
<< 1 0.0.0.0 a \\ \\x -\n :\n ?\n \x07 \u2028 \ufeff \u00e9 \U0001f40b
"""
"""Pieces of YAML; `_` is a space, and the rest are escapes of Python."""

YAML_WORDS = st.sampled_from(
    [word.replace("_", " ").encode().decode("unicode_escape") for word in WORDS.split()]
)


@generated(600)
@given(st.lists(YAML_WORDS, max_size=14).map("".join))
def test_parsers_agree_on_words_of_yaml(text: str) -> None:
    assert_same(text.encode())


# Any input ----------------------------------------------------------------------------------------


@generated(300)
@given(st.binary(max_size=60))
@example(b"")
@example(b"\xff\xfe" + "vmcfg: 1".encode("utf-16-le"))
@example(b"\xef\xbb\xbf")
@example(b"\xed\xa0\x80")
@example(b"\x00")
def test_any_bytes_give_a_machine_or_a_finding(data: bytes) -> None:
    assert_same(data)
    assert_same(START + data)


@generated(100)
@given(st.text(max_size=30))
def test_any_text_as_any_value_is_drawn(text: str) -> None:
    written = json_text(text.encode("utf-8", "replace").decode())
    assert_same(
        b"vmcfg: 1\nname: " + written.encode() + b"\n" + written.encode() + b": 1\nvcpus: 1\n"
    )


DEEP = {
    "lists": (b"[", b""),
    "lists closed": (b"[", b"]"),
    "mappings": (b"{a: ", b""),
    "mappings closed": (b"{a: ", b"}"),
    "items": (b"- ", b""),
    "keys": (b"? ", b""),
    "list in mapping": (b"[{a: ", b""),
    "anchored": (b"&a [", b""),
    "tagged": (b"!a [", b""),
    "pairs": (b"[a: ", b""),
}


@pytest.mark.parametrize("opened", DEEP)
@pytest.mark.parametrize(
    "before", [b"", b"x-deep: ", START + b"x-deep:\n  ", START + b"gic: "], ids=repr
)
@pytest.mark.parametrize("parser", [FASTEST_PARSER, PurePythonParser], ids=["fastest", "pure"])
def test_deep_nesting_is_one_clear_finding(opened: str, before: bytes, parser: type[Any]) -> None:
    opening, closing = DEEP[opened]
    # The first 64 tags are found one by one, each drawn in its line, which is slow.
    deep = 1_000 if opened == "tagged" else 100_000
    checked = checked_by(parser, before + opening * deep + closing * deep)
    assert_sound(checked)
    tags = [found for found in checked.diagnostics if found.rule == "VMC105"]
    assert len(tags) == (DEEPEST + (not before) if opened == "tagged" else 0)
    assert [found.rule for found in checked.diagnostics if found not in tags] in (
        ["VMC100"],
        ["VMC104"],
        ["VMC107"],
    )


@pytest.mark.parametrize("parser", [FASTEST_PARSER, PurePythonParser], ids=["fastest", "pure"])
def test_nesting_is_taken_up_to_its_bound(parser: type[Any]) -> None:
    for deep, found_rules in ((DEEPEST - 1, []), (DEEPEST, ["VMC107"])):
        checked = checked_by(parser, START + b"x-deep: " + b"[" * deep + b"]" * deep)
        assert [found.rule for found in checked.diagnostics] == found_rules


def test_aliases_multiply_up_to_their_bound() -> None:
    lists = [b"x-0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    lists += [
        b"x-%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 40)
    ]
    data = START + b"\n".join(lists) + b"\n"
    assert_same(data)
    assert [found.rule for found in check(data, "vm.yaml").diagnostics] == ["VMC107"]
    few = START + b"\n".join(lists[:4]) + b"\n"
    assert check(few, "vm.yaml").diagnostics == []


def test_an_alias_of_something_large_is_used_up_to_the_bound() -> None:
    large = START + b"x-0: &a [" + b"1, " * 999 + b"1]\nx-1: ["
    uses = MOST_NODES // 1001
    assert check(large + b"*a, " * uses + b"]", "vm.yaml").diagnostics == []
    assert [
        found.rule for found in check(large + b"*a, " * (uses + 1) + b"]", "vm.yaml").diagnostics
    ] == ["VMC107"]


DIGITS = {
    "decimal": b"9" * 5000,
    "hexadecimal": b"0x" + b"f" * 5000,
    "zeros": b"0" * 5000,
    "octal": b"0o" + b"7" * 5000,
    "binary": b"0b" + b"1" * 5000,
    "negative": b"-" + b"9" * 5000,
    "underscores": b"1_" * 2500 + b"0",
    "sexagesimal": b"1" + b":30" * 2500,
    "fraction": b"9" * 2500 + b"." + b"9" * 2500,
    "dotted": b"0.0.0." + b"9" * 5000,
    "range": b"spi:" + b"9" * 2500 + b"-" + b"9" * 2500,
    "size": b"9" * 5000 + b"GiB",
    "date": b"2" * 5000 + b"-01-01",
}


def holding(path: str, value: bytes) -> bytes:
    """Return a description with `value` at a dotted path of the model; list indices are 0."""
    full = {
        each: field.kind.full if isinstance(field.kind, Either) else field.kind
        for each, field in every_field().items()
    }
    lists = {each for each, kind in full.items() if isinstance(kind, ListOf)}
    *outer, key = path.split(".")
    text, done = value, [*outer, key]
    while done:
        name = done.pop()
        text = b"{%s: %s}" % (name.encode(), text)
        if ".".join(done) in lists:
            text = b"[%s]" % text
    own = text[1:-1]
    others = [line for line in START.splitlines() if not own.startswith(line.partition(b" ")[0])]
    return b"\n".join([*others, own]) + b"\n"


SCALAR_FIELDS = [path for path, field in every_field().items() if not isinstance(field.kind, type)]


@pytest.mark.parametrize("path", SCALAR_FIELDS)
def test_five_thousand_digits_are_refused_in_every_field(path: str) -> None:
    for digits in DIGITS.values():
        for value in (digits, b'"' + digits + b'"'):
            checked = check(holding(path, value), "vm.yaml")
            assert_sound(checked)
            pointers = {
                re.sub("/[0-9]+", "", found.pointer)[1:].replace("/", ".")
                for found in checked.diagnostics
            }
            assert path in pointers, (path, digits[:10], checked.diagnostics)


@pytest.mark.parametrize("path", SCALAR_FIELDS)
def test_digits_of_any_script_are_refused_in_every_field(path: str) -> None:
    for digits in (
        "\u0661\u0662",
        "\uff11",
        "\u00b2",
        "\U0001d7d8",
        "1\u0661",
        "0x\uff11",
        "spi:\u0661",
        "\u0661GiB",
    ):
        checked = check(holding(path, json_text(digits).encode()), "vm.yaml")
        assert_sound(checked)
        assert any(found.rule.startswith("VMC1") for found in checked.diagnostics), (path, digits)


@pytest.mark.parametrize(
    "data", [b"name:\tvm\n\tvcpus: 1\n", b"\t" + START, START + b"gic:\n\tversion: 3\n"]
)
def test_tabs_are_told(data: bytes) -> None:
    checked = check(data, "vm.yaml")
    assert_sound(checked)
    assert [found.rule for found in checked.diagnostics] == ["VMC100"]
    assert "tabs" in (checked.diagnostics[0].hint or "")


LONG = {
    "key": b"x-" + b"k" * 200_000 + b": 1\n",
    "quoted key": b'"x-' + b"k" * 200_000 + b'": 1\n',
    "value": b"x-v: " + b"v" * 1_000_000 + b"\n",
    "wrong value": b"ipa_bits: " + b"v" * 1_000_000 + b"\n",
    "unknown key": b"k" * 900 + b": 1\n",
    "comment": b"#" * 1_000_000 + b"\n",
    "lines": b"\n" * 200_000,
    "anchors": b"x-a: [" + b", ".join(b"&a%d 1" % n for n in range(20_000)) + b"]\n",
    "duplicates": b"name: vm\n" * 5_000,
    "documents": b"---\n" * 20_000,
    "unknown keys": b"".join(b"k%d: 1\n" % n for n in range(300)),
    "open quote": b"x-q: '" + b"q\n\n" * 100_000,
    "block scalar": b"x-b: |\n" + b" b\n" * 100_000,
    "question marks": b"? " * 1000 + b"\n",
    "colons": b": " * 1000 + b"\n",
}


@pytest.mark.parametrize("what", LONG)
def test_long_inputs_are_read_to_their_end(what: str) -> None:
    assert_sound(check(START + LONG[what], "vm.yaml"))
