"""The independent compiler of the kernel tests compared with plans of vmcfg, without a kernel.

tests/kvm/independent.py reads descriptions a second time, without any table of vmcfg. If only one
of the two knows an attribute, or if they read a description differently, these tests fail.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.kvm import edges, independent
from tests.strategies import descriptions, json_text
from vmcfg.checking.check import check
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

SAMPLES = sorted((Path(__file__).parent.parent / "sample-configs").glob("*.yaml"))


def few(examples: int) -> settings:
    """Return settings for a few descriptions: the kernel tests use more."""
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


def assert_same_plan(text: bytes, name: str) -> None:
    """Assert that both compile a description, which has a machine, to the same plan."""
    machine = check(text, name).machine
    assert machine is not None
    plan = [" ".join(command.fields()) for command in lower(machine, WHOLE_VM).commands]
    pairs = zip_longest(plan, independent.plan(text), fillvalue="nothing")
    for number, (ours, theirs) in enumerate(pairs, 1):
        assert ours == theirs, (
            f"{name}: command {number} is {ours!r} in the plan of vmcfg and {theirs!r} in that of"
            " tests/kvm/independent.py. Read the description and the kernel documentation, and"
            " correct the one that is wrong; write a new attribute into independent.py by hand,"
            f" without the tables of vmcfg. The description:\n{text.decode()}"
        )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_have_the_same_plan(sample: Path) -> None:
    assert_same_plan(sample.read_bytes(), sample.name)


@few(15)
@given(descriptions())
def test_right_descriptions_have_the_same_plan(description: dict[str, Any]) -> None:
    assert_same_plan(json_text(description).encode(), "random")


@pytest.mark.slow
@few(100)
@given(edges.descriptions((2, 3), 52))
def test_descriptions_near_the_edges_have_the_same_plan(description: dict[str, Any]) -> None:
    text = edges.text(description)
    assume(check(text, "random").machine is not None)
    assert_same_plan(text, "random")
