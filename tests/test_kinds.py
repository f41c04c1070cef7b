"""The kinds of scalars: each has all its methods, and rules check what a kind accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

import vmcfg
from tests.strategies import Json, everything, json_text
from vmcfg.checking.check import check
from vmcfg.description import kinds
from vmcfg.description.kinds import ScalarKind
from vmcfg.description.model import Either, every_field
from vmcfg.findings.rule import ERROR

KINDS = ScalarKind.__subclasses__()


@pytest.mark.parametrize("method", ["read", "words", "schema"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_every_method(kind: type[ScalarKind], method: str) -> None:
    assert method in vars(kind), (
        f"the kind {kind.__name__} has no method {method}: write it in vmcfg/description/kinds.py,"
        f" see the docstring of ScalarKind.{method}"
    )


def test_a_number_that_yaml_takes_for_infinite_has_a_hint() -> None:
    """YAML 1.2 reads 1e400 as a number, but not as an integer."""
    for key in ("ipa_bits", "vcpus", "vmcfg"):
        document = {"vmcfg": 1, "name": "vm", "vcpus": 1, key: 1}
        text = json_text(document).replace(f'"{key}": 1', f'"{key}": 1e400')
        assert [found.rule for found in vmcfg.check(text)] == [
            "VMC123" if key == "vmcfg" else "VMC120"
        ]


# Bounds of numbers --------------------------------------------------------------------------------

# Kinds do not check bounds. A rule must do it, because a rule has the answer of the kernel.


def out_of_bounds(schema: dict[str, Any]) -> list[int]:
    """Return numbers outside the bounds of a schema: 0, the next ones, and a power of two."""
    least, greatest = schema["minimum"], schema["maximum"]
    outside = {least - 1, 0, greatest + 1, 1 << greatest.bit_length()}
    return sorted(
        number for number in outside if 0 <= number < 1 << 64 and not least <= number <= greatest
    )


def bounded_fields() -> dict[str, dict[str, Any]]:
    """Return the keys with a number, by dotted path, each with the schema of its number."""
    found = {}
    for path, field in every_field().items():
        kind = field.kind.scalar if isinstance(field.kind, Either) else field.kind
        if isinstance(kind, ScalarKind) and "maximum" in kind.schema():
            found[path] = kind.schema()
    return found


@pytest.mark.parametrize(
    ("before", "short", "full", "after"),
    [
        (
            "gic: {version: 3, distributor: 0x8000000, redistributors: 0x80a0000, its: ",
            "0x9100000",
            "[0x9100000]",
            "}\n",
        ),
        (
            "memory: [{base: 0x90a0000, size: 64KiB}]\nsteal_time: ",
            "0x90a0000",
            "{base: 0x90a0000}",
            "\n",
        ),
    ],
)
def test_a_bare_address_means_the_full_form(before: str, short: str, full: str, after: str) -> None:
    machines = []
    for written in (short, full):
        text = f"vmcfg: 1\nname: vm\nvcpus: 2\n{before}{written}{after}"
        checked = check(text.encode(), "vm.yaml")
        assert checked.diagnostics == []
        machines.append(checked.machine)
    assert machines[0] == machines[1]


def with_value(path: str, value: Json) -> Json:
    """Return a document with every key, with this value at a dotted path."""
    document = json.loads(json.dumps(everything()))
    *outer, key = path.split(".")
    mapping = document
    for step in outer:
        inside = mapping[step]
        mapping = inside[0] if isinstance(inside, list) else inside
    if value is not None:
        mapping[key] = value
    return document


def errors(document: Json) -> set[tuple[str, str]]:
    found = vmcfg.check(json_text(document))
    return {(each.rule, each.message) for each in found if each.severity == ERROR}


OUTSIDE = [
    pytest.param(path, number, id=f"{path}-{number:#x}")
    for path, schema in bounded_fields().items()
    for number in out_of_bounds(schema)
]


@pytest.mark.parametrize(("path", "number"), OUTSIDE)
def test_a_rule_checks_the_bounds_of_a_number(path: str, number: int) -> None:
    as_it_was = errors(with_value(path, None))
    assert {rule for rule, _ in as_it_was} & {"VMC109", "VMC120", "VMC121"} == set()
    new = errors(with_value(path, str(number))) - as_it_was
    assert new, (
        f"{path}: {number} is out of bounds, but no rule reports it: write one in vmcfg/rules that"
        " checks the bounds of the key"
    )
    assert not any(rule == "VMC121" for rule, _ in new)
    assert errors(with_value(path, number)) - as_it_was == new, "quotes make no difference"


def test_numbers_are_read_without_bounds() -> None:
    """This is why the test before this one is necessary."""
    assert kinds.Number(1, 2).read("3", plain=False) == 3
    assert kinds.Number(1, 2).read("3", plain=True) == 3
    with pytest.raises(kinds.Misfit, match="must be at most 0xffffffffffffffff, not 18446"):
        kinds.Number(1, 2).read(str(1 << 64), plain=True)
