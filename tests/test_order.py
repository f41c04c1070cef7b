"""Every sample's plan against the constraints of `vmcfg.order`, and they against the table that they check."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from vmcfg.checking.check import check
from vmcfg.plans.apis import APIS, VCPU
from vmcfg.plans.command import Command
from vmcfg.plans.lowering import lower
from vmcfg.plans.order import CONSTRAINTS, Constraint
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.sequence import SEQUENCE

FOLDER = Path(__file__).parent.parent / "sample-configs"


def plan_of(path: Path, api: str = VCPU) -> list[Command]:
    machine = check(path.read_bytes(), path.name).machine
    assert machine is not None
    return list(lower(machine, WHOLE_VM, api=api).commands)


PLANS = {path.stem: plan_of(path) for path in sorted(FOLDER.glob("*.yaml"))}
PLANS |= {
    f"irregular, {api}": plan_of(FOLDER / "irregular.yaml", api) for api in APIS if api != VCPU
}


def stands_for(name: str, row: str) -> bool:
    """Whether a constraint's `name` means the row of that name."""
    return row.startswith(name) if name.endswith(".") else row == name


def broken(commands: list[Command], constraint: Constraint) -> list[tuple[str, str]]:
    """The pairs of commands, as text, that stand the wrong way round by `constraint`."""
    found = []
    of_after: dict[str, Command] = {}
    """Of those that should come later, the first that was met: by target where vCPUs count one by one."""
    for command in commands:
        key = command.target if constraint.per_vcpu else ""
        if constraint.by is not None and command.row.name == constraint.before:
            earlier = of_after.get(key)
            assert command.payload is not None
            rank = constraint.by(command.payload)
            if earlier is not None and rank <= constraint.by(earlier.payload or ()):
                found.append((" ".join(earlier.fields()), " ".join(command.fields())))
            of_after[key] = command
        elif constraint.by is None:
            if stands_for(constraint.before, command.row.name) and key in of_after:
                found.append((" ".join(of_after[key].fields()), " ".join(command.fields())))
            if stands_for(constraint.after, command.row.name):
                of_after.setdefault(key, command)
    return found


def said(constraint: Constraint) -> str:
    return f"{constraint.before}<{constraint.after}"


@pytest.mark.parametrize("sample", PLANS)
def test_plan_keeps_every_constraint(sample: str) -> None:
    assert {
        said(each): wrong for each in CONSTRAINTS if (wrong := broken(PLANS[sample], each))
    } == {}


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=said)
def test_constraint_names_rows_that_exist(constraint: Constraint) -> None:
    for name in (constraint.before, constraint.after):
        assert [row.name for row in SEQUENCE if stands_for(name, row.name)], name
    assert constraint.by is None or constraint.before == constraint.after


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=said)
def test_constraint_bites(constraint: Constraint) -> None:
    """Some sample has commands of both rows; with those that should come later moved to the front, it is broken."""

    def later_first(commands: list[Command]) -> list[Command]:
        if constraint.by is not None:
            return commands[::-1]
        return sorted(
            commands, key=lambda command: not stands_for(constraint.after, command.row.name)
        )

    assert any(broken(later_first(commands), constraint) for commands in PLANS.values())


@pytest.mark.parametrize("constraint", [each for each in CONSTRAINTS if each.by is None], ids=said)
def test_one_command_out_of_place_is_enough(constraint: Constraint) -> None:
    """The last command that should come earlier, moved behind the first that should come later, is found."""
    tried = 0
    for commands in PLANS.values():
        for early in reversed(commands):
            if not stands_for(constraint.before, early.row.name):
                continue
            rest = [command for command in commands if command is not early]
            for place, late in enumerate(rest):
                same = not constraint.per_vcpu or late.target == early.target
                if same and stands_for(constraint.after, late.row.name):
                    assert broken([*rest[: place + 1], early, *rest[place + 1 :]], constraint)
                    tried += 1
                    break
            break
    assert tried


def test_constraints_are_given_once_with_their_authority() -> None:
    assert len({each[:2] for each in CONSTRAINTS}) == len(CONSTRAINTS)
    for each in CONSTRAINTS:
        assert each.why, each
        assert each.source, each


def test_constraints_have_no_circle() -> None:
    """Some order keeps them all: the table's own, in which each `before` stands above each `after`."""
    places = {row.name: place for place, row in enumerate(SEQUENCE)}
    for each in CONSTRAINTS:
        before = [place for name, place in places.items() if stands_for(each.before, name)]
        after = [place for name, place in places.items() if stands_for(each.after, name)]
        assert max(before) < min(after) or each.by is not None, said(each)


@pytest.mark.parametrize("row", SEQUENCE, ids=lambda row: row.name)
def test_row_is_used_by_a_sample(row: object) -> None:
    assert any(command.row is row for commands in PLANS.values() for command in commands)


def test_rows_stand_in_the_order_of_the_phases() -> None:
    places = [PHASES.index(row.phase) for row in SEQUENCE]
    assert places == sorted(places)
    assert len({row.name for row in SEQUENCE}) == len(SEQUENCE)


@pytest.mark.parametrize("sample", PLANS)
def test_vcpus_are_gone_over_by_ascending_id(sample: str) -> None:
    lowest = PLANS[sample][
        [command.row.name for command in PLANS[sample]].index("vcpu.create")
    ].target
    for row in SEQUENCE:
        targets = [
            command.target
            for command in PLANS[sample]
            if command.row is row and row.target == "vcpu"
        ]
        ids = [int(target.removeprefix("vcpu:")) for target in targets]
        if row.vm_wide:
            assert set(targets) <= {lowest}, row.name
        else:
            assert all(one < next_one for one, next_one in pairwise(ids)), row.name
