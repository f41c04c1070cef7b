"""What a program told KVM, compared with a description, a plan, or another record.

In: two sides, each with its `Setup`. Out: the differences that ``vmcfg diff`` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import NamedTuple

from vmcfg.description.model import DEFAULT_TIMERS, MAINTENANCE
from vmcfg.kernel.features import FEATURES
from vmcfg.monitors.record_file import Record
from vmcfg.monitors.setup import (
    MP_STATE,
    Interval,
    Setup,
    Told,
    extent,
    feature_names,
    known_features,
    left_over,
    of_commands,
    of_record,
)
from vmcfg.plans.difference import ADDED, CHANGED, REMOVED, REORDERED
from vmcfg.plans.lowering import lower
from vmcfg.plans.order import CONSTRAINTS, KVM, Constraint
from vmcfg.plans.plan import ATTRIBUTES, WHOLE_VM, Scope
from vmcfg.plans.planfile import PlanFile
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.vm.frames import STEAL_TIME_SIZE, steal_time_addresses
from vmcfg.vm.machine import Machine

Open = Callable[[Told], bool]
"""A function that returns whether a description leaves open what a program told KVM."""


class Side(NamedTuple):
    """One side of a comparison.

    `is_open` is None for a record, which leaves nothing open. `steal_times` are the addresses of
    the steal time of a description.
    """

    setup: Setup
    scope: Scope = WHOLE_VM
    is_open: Open | None = None
    steal_times: tuple[int, ...] = ()


class Difference(NamedTuple):
    """One difference. `old` or `new` is None if that side does not have it; `why` is the reason if
    the command is not what differs.
    """

    kind: str
    old: Told | None
    new: Told | None
    why: str | None = None

    @property
    def told(self) -> Told:
        """Return the new command, or the old one if there is no new one."""
        told = self.new or self.old
        assert told is not None
        return told


# Sides ----------------------------------------------------------------------------------------


def record_side(record: Record, vm: int | None = None) -> Side:
    """Return a VM of a record: `vm`, or that with the most vCPUs. Raises `NoFile`."""
    return Side(of_record(record, record.chosen_vm(vm)))


def machine_side(machine: Machine) -> Side:
    """Return a description, with the values of a GIC that the VMM sets up."""
    gic = machine.gic
    described = machine
    if gic is not None and not machine.sets_up_gic():
        described = machine._replace(gic=gic._replace(set_up_by="plan"))
    commands = [
        command
        for command in lower(described, WHOLE_VM).commands
        if machine.sets_up_gic() or command.row.name not in ("gic.init", "its.init")
    ]
    setup = of_commands(commands)
    is_open = _open_things(setup, machine.sets_up_gic(), has_open_ipa=machine.has_default_ipa_bits)
    return Side(setup, WHOLE_VM, is_open, tuple(steal_time_addresses(machine) or ()))


def plan_side(plan: PlanFile) -> Side:
    """Return a plan."""
    setup = of_commands(plan.commands)
    sets_up_gic = not plan.monitors_gic
    steal_times = [
        told.payload[0]
        for told in setup.settings.values()
        if told.row_name == "vcpu.steal_time" and told.payload is not None
    ]
    is_open = _open_things(setup, sets_up_gic, has_open_ipa=plan.scope == ATTRIBUTES)
    return Side(setup, plan.scope, is_open, tuple(steal_times))


_ALWAYS_OPEN = ("vm.capability", "vm.feature", "vcpu.register", "vcpu.vector_lengths")
"""The rows of keys that a description leaves open if they are not in it."""

_OPEN_IN_GIC = ("gic.nr_irqs", "gic.maintenance_irq")


def _open_things(setup: Setup, sets_up_gic: bool, *, has_open_ipa: bool) -> Open:
    """Return what a description with this setup leaves open."""
    finalized = {told.value for told in setup.settings.values() if told.row_name == "vcpu.finalize"}

    def is_open(told: Told) -> bool:
        name = told.row_name
        if name.startswith(("gic.", "its.")):
            return not sets_up_gic or name in _OPEN_IN_GIC
        if name == "vcpu.finalize":
            return told.value not in finalized
        if name == "vm.create":
            return has_open_ipa
        if name == "":
            return told.op in ("enable-cap", "set-reg")
        return name in _ALWAYS_OPEN

    return is_open


# Comparing ------------------------------------------------------------------------------------


def compared(old: Side, new: Side, everything: bool = False) -> list[Difference]:
    """Return the differences between two sides, in the order of plans.

    With `everything`, also what a description leaves open, and how vCPUs start.
    """
    scope = ATTRIBUTES if ATTRIBUTES in (old.scope, new.scope) else WHOLE_VM
    left, right = (_in_scope(side.setup, scope, everything) for side in (old, new))
    if not everything:
        left, right = _with_same_features(left, right, old, new)
    found = [
        *_settings(left, right),
        *_redistributors(left, right),
        *_filters(left, right),
    ]
    if not everything:
        found = [each for each in found if not _is_open(each, old, new)]
    if scope == WHOLE_VM:
        found += _memory(old, new, everything)
    found += _order(left, right)
    return sorted(found, key=_place)


def _in_scope(setup: Setup, scope: Scope, everything: bool) -> Setup:
    """Return the parts of a setup that are compared."""

    def counts(told: Told) -> bool:
        if told.op == MP_STATE:
            return everything and scope == WHOLE_VM
        if scope == WHOLE_VM:
            return True
        is_made = told.row is not None and told.row.creates
        return not is_made and told.op in ("set-attr", "set-reg")

    return setup._replace(
        settings={
            key: _started(told, everything) for key, told in setup.settings.items() if counts(told)
        },
        first={key: told for key, told in setup.first.items() if counts(told)},
    )


def _started(told: Told, everything: bool) -> Told:
    """Return an init-vcpu without the feature that only says how the vCPU starts."""
    if told.op != "init-vcpu" or everything:
        return told
    return _with_features(told, lambda name: name != "POWER_OFF")


def _with_features(told: Told, has: Callable[[str], bool]) -> Told:
    names = known_features(filter(has, feature_names(told)))
    return told._replace(compared=",".join(names))


_OF_FEATURES = {bit for feature in FEATURES.values() for bit in feature.bits}
"""The bits of KVM_ARM_VCPU_INIT that the key `features` sets."""


def _with_same_features(left: Setup, right: Setup, old: Side, new: Side) -> tuple[Setup, Setup]:
    """Return both setups without the features that one side leaves open."""
    if old.is_open is not None:
        return left, _without_open_features(right, left)
    if new.is_open is not None:
        return _without_open_features(left, right), right
    return left, right


def _without_open_features(setup: Setup, described: Setup) -> Setup:
    """Return `setup` without the features that no vCPU of a description has."""
    written = {
        name
        for told in described.settings.values()
        if told.op == "init-vcpu"
        for name in feature_names(told)
    }
    is_open = _OF_FEATURES - written
    settings = {
        key: _with_features(told, lambda name: name not in is_open and name != "POWER_OFF")
        if told.op == "init-vcpu"
        else told
        for key, told in setup.settings.items()
    }
    return setup._replace(settings=settings)


_DEFAULTS = {
    **{f"timer.{name}": str(intid) for name, intid in DEFAULT_TIMERS.items()},
    "gic.maintenance_irq": str(MAINTENANCE),
}
"""The values of KVM, by row: a program that does not set them has the same."""


def _is_open(difference: Difference, old: Side, new: Side) -> bool:
    """Return whether a side leaves open what only the other side has, or whether a description has
    a default of KVM.
    """
    told = difference.told
    is_described = (old if difference.new is None else new).is_open is not None
    is_alone = difference.old is None or difference.new is None
    if is_alone and is_described and _DEFAULTS.get(told.row_name) == told.value:
        return True
    if difference.old is None and old.is_open is not None:
        return old.is_open(difference.told)
    if difference.new is None and new.is_open is not None:
        return new.is_open(difference.told)
    if difference.told.row_name == "vm.create":
        return any(
            side.is_open is not None and side.is_open(difference.told) for side in (old, new)
        )
    return False


def _settings(left: Setup, right: Setup) -> Iterator[Difference]:
    """Yield the things that only one side has, or whose values differ."""
    for key in dict.fromkeys((*left.settings, *right.settings)):
        before, after = left.settings.get(key), right.settings.get(key)
        difference = _between(before, after)
        if difference is not None:
            yield difference


def _between(before: Told | None, after: Told | None) -> Difference | None:
    if before is None or after is None:
        return Difference(REMOVED if after is None else ADDED, before, after)
    if before.compared == after.compared or before.value == after.value != "null":
        return None
    return Difference(CHANGED, before, after)


def _filters(left: Setup, right: Setup) -> Iterator[Difference]:
    """Yield the entries of the PMU event filter that differ, in order."""
    for before, after in zip_longest(left.filters, right.filters):
        difference = _between(before, after)
        if difference is not None:
            yield difference


def _redistributors(left: Setup, right: Setup) -> Iterator[Difference]:
    """Yield the regions that differ, if the redistributor of a vCPU is elsewhere."""
    order = left.vcpus or right.vcpus
    frames = [
        dict(zip(setup.vcpus or order, setup.redistributor_frames(len(order)), strict=False))
        for setup in (left, right)
    ]
    both = [name for name in frames[0] if name in frames[1]]
    elsewhere = [name for name in both if frames[0][name] != frames[1][name]]
    if not elsewhere:
        return
    before, after = left.redistributors, right.redistributors
    found = [_between(before.get(key), after.get(key)) for key in dict.fromkeys((*before, *after))]
    differing = [each for each in found if each is not None]
    if differing or not before:
        yield from differing
        return
    # The regions are the same: the vCPUs were created in another order.
    yield Difference(
        CHANGED,
        next(iter(before.values())),
        next(iter(after.values())),
        f"the redistributor of vCPU {elsewhere[0]} is at another address, because the vCPUs were"
        " created in another order",
    )


# Memory ---------------------------------------------------------------------------------------


def _memory(old: Side, new: Side, everything: bool) -> Iterator[Difference]:
    """Yield the memory slots that the other side does not have, regardless of their numbers."""
    before, after = old.setup.memory, new.setup.memory
    gone = _uncovered(before, after, old.steal_times)
    come = _uncovered(after, before, new.steal_times)
    if not everything:
        # Slots beyond those of a description are open: flash, ROM, RAM if it has none.
        gone = [] if new.is_open is not None else gone
        come = [] if old.is_open is not None else come
    paired: list[Told] = []
    for told in gone:
        other = next((each for each in after if _overlap(told, each)), None)
        if other is not None:
            paired.append(other)
        yield Difference(REMOVED if other is None else CHANGED, told, other)
    for told in come:
        if told in paired:
            continue
        other = next((each for each in before if _overlap(told, each)), None)
        if other is None or other not in gone:
            yield Difference(ADDED if other is None else CHANGED, other, told)


def _uncovered(
    slots: Iterable[Told], others: Iterable[Told], steal_times: Iterable[int]
) -> list[Told]:
    """Return the slots of which the other side lacks a part.

    Of a slot that holds steal time, only that is needed.
    """
    covered: dict[bool, list[Interval]] = {False: [], True: []}
    for each in others:
        covered[_is_readonly(each)].append(extent(each))
    found = []
    for slot in slots:
        start, end = extent(slot)
        held = [
            (address, address + STEAL_TIME_SIZE)
            for address in steal_times
            if start <= address < end
        ]
        wanted = held or [(start, end)]
        if any(left_over(wanted, covered[_is_readonly(slot)])):
            found.append(slot)
    return found


def _is_readonly(slot: Told) -> bool:
    return slot.payload is not None and bool(slot.payload[3] & 2)


def _overlap(slot: Told, other: Told) -> bool:
    (start, end), (first, after) = extent(slot), extent(other)
    return start < after and first < end


# Order ----------------------------------------------------------------------------------------


def _order(left: Setup, right: Setup) -> Iterator[Difference]:
    """Yield the commands that only one side has too late, although KVM requires an order."""
    for constraint in CONSTRAINTS:
        if constraint.kind != KVM:
            continue
        late, early = _breach(left, constraint), _breach(right, constraint)
        if (late is None) == (early is None):
            continue
        if early is not None:
            yield Difference(REORDERED, _same(left, right, early), early, constraint.why)
        if late is not None:
            yield Difference(REORDERED, late, _same(right, left, late), constraint.why)


def _same(setup: Setup, other: Setup, told: Told) -> Told | None:
    """Return the command of `setup` for the same thing as `told` of the other side."""
    key = next(key for key, each in other.first.items() if each is told)
    return setup.first.get(key)


def _breach(setup: Setup, constraint: Constraint) -> Told | None:
    """Return the first command that comes after one that it must precede."""
    later: list[Told] = []
    for told in setup.first.values():
        is_before = _stands_for(constraint.before, told)
        if is_before and any(_must_precede(told, each, constraint) for each in later):
            return told
        if _stands_for(constraint.after, told):
            later.append(told)
    return None


def _stands_for(name: str, told: Told) -> bool:
    return told.row_name.startswith(name) if name.endswith(".") else told.row_name == name


def _must_precede(told: Told, other: Told, constraint: Constraint) -> bool:
    """Return whether a constraint puts `told` before `other`, which came first."""
    is_same_device = told.target == other.target
    if constraint.per_vcpu and not is_same_device:
        return False
    if told.target.startswith("its:") and other.target.startswith("its:") and not is_same_device:
        return False
    if told.payload is None or other.payload is None:
        return constraint.by is None and constraint.related is None
    if constraint.by is not None:
        return constraint.by(told.payload) < constraint.by(other.payload)
    return constraint.related is None or constraint.related(told.payload, other.payload)


# The order of the output --------------------------------------------------------------------------

_ROWS = {row.name: place for place, row in enumerate(SEQUENCE)}


def _place(difference: Difference) -> tuple[int, int, str, bool, int]:
    told = difference.told
    kind, _, number = told.target.partition(":")
    place = _ROWS.get(told.row_name, len(_ROWS))
    return place, int(number or 0), kind, difference.kind != REMOVED, told.seq
