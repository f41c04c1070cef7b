"""The lists of operations, targets, and types in the manual page of `vmcfg emit` hold for plans."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmcfg.checking.check import check
from vmcfg.plans.apis import APIS
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM
from vmcfg.plans.reading_back import read_back
from vmcfg.reference.plan_fields import BY_DEFAULT, operation_texts, type_texts

SAMPLES = sorted((Path(__file__).parent.parent / "sample-configs").glob("*.yaml"))
OPERATIONS = {each.word: each for each in operation_texts()}
FORMS = {each.word: each.form for each in type_texts()}
SHAPES = {"N": "-?[0-9]+", "0xN": "0x(?:0|[1-9a-f][0-9a-f]*)", "NAME": "[A-Z0-9_]+"}
"""The regular expressions of the parts of a form."""


def shape(form: str) -> str:
    """Return the regular expression of a value of that form."""
    repeated = re.sub(r"\[([^]]+)\.\.\.\]", r"(?:\1)*", form)
    optional = re.sub(r"\[([^]]+)\]", r"(?:\1)?", repeated)
    shaped = re.sub(r"\b(?:0xN|NAME|N)\b", lambda part: SHAPES[part[0]], optional)
    return shaped.replace(" or ", "|")


def commands(sample: Path) -> list[tuple[str, Command]]:
    """Return every command of a sample, with the option that prints it."""
    machine = check(sample.read_bytes(), sample.name).machine
    assert machine is not None
    return [
        *((BY_DEFAULT, each) for each in lower(machine, ATTRIBUTES).commands),
        *(
            ("with --scope vm", each)
            for api in APIS
            for each in lower(machine, WHOLE_VM, api=api).commands
        ),
        *(("with --get", each) for each in read_back(machine).commands),
    ]


def test_every_type_has_one_form() -> None:
    assert len(FORMS) == len(type_texts())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_fields_of_the_samples_are_listed(sample: Path) -> None:
    for option, command in commands(sample):
        word, target, _, _, type_, value = command.fields()
        listed = OPERATIONS[word]
        assert option == listed.printed or listed.printed == BY_DEFAULT
        kind = re.sub("(?<=^its:)[0-9]+$", "N", re.sub("(?<=^vcpu:)[0-9]+$", "ID", target))
        assert kind in listed.targets.split(", ")
        assert type_ in listed.types.split(", ")
        only_the_host_knows = not command.is_resolved and re.fullmatch("-|pmu:[a-z0-9_]+", value)
        assert only_the_host_knows or re.fullmatch(shape(FORMS[type_]), value), command.text()
