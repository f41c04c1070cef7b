"""The plan of every sample satisfies `plans.order`, and its constraints match `plans.sequence`."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from vmcfg.checking.check import check
from vmcfg.plans.apis import APIS, VCPU, Api
from vmcfg.plans.command import Command, Row
from vmcfg.plans.lowering import lower
from vmcfg.plans.order import CONSTRAINTS, Constraint
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.sequence import SEQUENCE

FOLDER = Path(__file__).parent.parent / "sample-configs"


def plan_of(path: Path, api: Api = VCPU) -> list[Command]:
    machine = check(path.read_bytes(), path.name).machine
    if machine is None:
        pytest.fail(f"{path.name} is not valid: run 'vmcfg validate sample-configs/{path.name}'")
    return list(lower(machine, WHOLE_VM, api=api).commands)


PLANS = {path.stem: plan_of(path) for path in sorted(FOLDER.glob("*.yaml"))}
PLANS |= {
    f"irregular, {api}": plan_of(FOLDER / "irregular.yaml", api) for api in APIS if api != VCPU
}


def stands_for(name: str, row: str) -> bool:
    """Return whether the `name` in a constraint refers to the row `row`."""
    return row.startswith(name) if name.endswith(".") else row == name


def broken(commands: list[Command], constraint: Constraint) -> list[tuple[str, str]]:
    """Return the pairs of commands, as text, whose order `constraint` forbids."""
    found = []
    of_after: dict[str, Command] = {}
    """The first command that must come later: by target if the constraint is per vCPU."""
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
    for each in CONSTRAINTS:
        for first, second in broken(PLANS[sample], each):
            pytest.fail(
                f"the plan of {sample} has '{first}' before '{second}', but plans/order.py requires"
                f" {each.before} before {each.after}: {each.why}. Move the row in plans/sequence.py"
            )


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=said)
def test_constraint_names_rows_that_exist(constraint: Constraint) -> None:
    for name in (constraint.before, constraint.after):
        assert any(stands_for(name, row.name) for row in SEQUENCE), (
            f"plans/order.py names {name!r}, but plans/sequence.py has no such row"
        )
    assert constraint.by is None or constraint.before == constraint.after, (
        f"plans/order.py orders {said(constraint)} by a value: both names must be the same row"
    )


@pytest.mark.parametrize("row", SEQUENCE[1:], ids=lambda row: row.name)
def test_row_has_a_constraint(row: Row) -> None:
    """Each row requires at least the object that it is set on; only the VM requires nothing."""
    assert any(stands_for(each.after, row.name) for each in CONSTRAINTS), (
        f"{row.name} has no constraint: write one in vmcfg/plans/order.py with what must be before"
        f" {row.name}, the reason, and the source"
    )


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=said)
def test_constraint_bites(constraint: Constraint) -> None:
    """If the later commands of a sample are moved to the front, the constraint is broken."""

    def later_first(commands: list[Command]) -> list[Command]:
        if constraint.by is not None:
            return commands[::-1]
        return sorted(
            commands, key=lambda command: not stands_for(constraint.after, command.row.name)
        )

    assert any(broken(later_first(commands), constraint) for commands in PLANS.values()), (
        f"no sample has commands of both {constraint.before} and {constraint.after}, so nothing"
        " checks this constraint: add the missing commands to a file in sample-configs"
    )


@pytest.mark.parametrize("constraint", [each for each in CONSTRAINTS if each.by is None], ids=said)
def test_one_command_out_of_place_is_enough(constraint: Constraint) -> None:
    """The last command of `before` is found if it is after the first command of `after`."""
    tried = 0
    for commands in PLANS.values():
        constrained = {
            command.target for command in commands if stands_for(constraint.after, command.row.name)
        }
        for early in reversed(commands):
            if not stands_for(constraint.before, early.row.name):
                continue
            if constraint.per_vcpu and early.target not in constrained:
                continue
            rest = [command for command in commands if command is not early]
            for place, late in enumerate(rest):
                same = not constraint.per_vcpu or late.target == early.target
                if same and stands_for(constraint.after, late.row.name):
                    assert broken([*rest[: place + 1], early, *rest[place + 1 :]], constraint), (
                        f"{said(constraint)} is not broken by one command out of place: correct its"
                        " `per_vcpu` in plans/order.py"
                    )
                    tried += 1
                    break
            break
    assert tried, (
        f"no sample has commands of both {constraint.before} and {constraint.after}: add what is"
        " missing to a file in sample-configs"
    )


def test_constraints_are_given_once_with_their_authority() -> None:
    for name, count in Counter(map(said, CONSTRAINTS)).items():
        assert count == 1, f"plans/order.py has {name} {count} times: leave one"
    for each in CONSTRAINTS:
        assert each.why, (
            f"{said(each)} in plans/order.py has no `why`: write what KVM does otherwise"
        )
        assert each.source, f"{said(each)} in plans/order.py has no `source`: write file:function"


PER_VCPU = {
    "vcpu.create<vcpu.steal_time",
    "vcpu.init<vcpu.mpidr",
    "vcpu.init<pmu.",
    "vcpu.init<vcpu.finalize",
    "vcpu.init<vcpu.vector_lengths",
    "vcpu.vector_lengths<vcpu.finalize",
    "vcpu.init<vcpu.register",
    "pmu.device<pmu.init",
    "pmu.counters<pmu.init",
    "pmu.filter<pmu.init",
    "pmu.irq<pmu.init",
}


def test_constraints_are_per_vcpu_where_kvm_looks_at_one_vcpu() -> None:
    """Without it, a VMM that sets up one vCPU after the other would break the constraint."""
    assert {said(each) for each in CONSTRAINTS if each.per_vcpu} == PER_VCPU


def test_constraints_have_no_circle() -> None:
    """The order of the table satisfies all constraints: each `before` is above its `after`."""
    places = {row.name: place for place, row in enumerate(SEQUENCE)}
    for each in CONSTRAINTS:
        before = [place for name, place in places.items() if stands_for(each.before, name)]
        after = [place for name, place in places.items() if stands_for(each.after, name)]
        assert max(before, default=-1) < min(after, default=len(SEQUENCE)) or each.by is not None, (
            f"plans/order.py requires {each.before} before {each.after}: {each.why}. Move the rows"
            " in plans/sequence.py, or correct the constraint"
        )


@pytest.mark.parametrize("row", SEQUENCE, ids=lambda row: row.name)
def test_row_is_used_by_a_sample(row: Row) -> None:
    assert any(command.row is row for commands in PLANS.values() for command in commands), (
        f"no sample's plan has the command {row.name}: add {row.field!r} to a file in"
        " sample-configs, such as full.yaml"
    )


def test_rows_stand_in_the_order_of_the_phases() -> None:
    for above, below in pairwise(SEQUENCE):
        assert PHASES.index(above.phase) <= PHASES.index(below.phase), (
            f"plans/sequence.py has {below.name} (phase {below.phase}) below {above.name} (phase"
            f" {above.phase}): move one of them to the rows of its phase"
        )
    for name, count in Counter(row.name for row in SEQUENCE).items():
        assert count == 1, f"plans/sequence.py has {count} rows called {name}: rename one"


@pytest.mark.parametrize("sample", PLANS)
def test_vcpus_are_gone_over_by_ascending_id(sample: str) -> None:
    created = [command.target for command in PLANS[sample] if command.row.name == "vcpu.create"]
    assert created, f"the plan of {sample} creates no vCPU"
    lowest = created[0]
    for row in SEQUENCE:
        targets = [
            command.target
            for command in PLANS[sample]
            if command.row is row and row.target == "vcpu"
            # Registers are in file order: most of them are one per VM.
            if row.name != "vcpu.register"
        ]
        ids = [int(target.removeprefix("vcpu:")) for target in targets]
        if row.vm_wide:
            assert set(targets) <= {lowest}, (
                f"the plan of {sample} sets {row.name}, which is one per VM, on {targets}:"
                f" select the first vCPU only"
            )
        else:
            assert ids == sorted(set(ids)), (
                f"the plan of {sample} has {row.name} for vCPUs {ids}: select them by ascending id"
            )
