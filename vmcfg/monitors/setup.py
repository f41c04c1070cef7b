"""What a VM was told, in a form that does not depend on who told it: one value per thing.

In: the commands of a plan, or the calls of a record. Out: a `Setup`, for `comparison` and `import`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.state import CTRL_GROUP, STATE_GROUPS
from vmcfg.monitors.attributes import is_of_vm
from vmcfg.monitors.record_file import Call, Record
from vmcfg.plans.command import Command, Row
from vmcfg.plans.values import Payload
from vmcfg.vm.frames import V3_REDIST_SIZE

Key = tuple[str, ...]
"""What a command sets: the same on both sides is compared."""

Interval = tuple[int, int]
"""A range of addresses: the first, and the one after the last."""

MP_STATE = "set-mp-state"

REGION_ROW, REDISTRIBUTORS_ROW = "gic.v3.region", "gic.v3.redistributors"

FILTER_ROW, SMCCC_ROW = "pmu.filter", "vm.smccc_filter"

_UNREADABLE = "null"
"""The value of a call that could not be read."""


class Told(NamedTuple):
    """One command or call, by the six fields of a plan line. `compared` is what decides whether
    it is the same as another, and `seq` is its number in the plan or record.

    `command` is the command of a plan, with its origin; None in a record.
    """

    op: str
    target: str
    group: str
    attr: str
    type: str
    value: str
    row: Row | None
    payload: Payload | None
    mpidr: str | None
    seq: int
    compared: str
    command: Command | None = None

    @property
    def row_name(self) -> str:
        """Return the name of its row; empty if no plan has it."""
        return "" if self.row is None else self.row.name


class Setup(NamedTuple):
    """What one VM was told.

    `settings` has the last command for each thing; `memory` has the slots that exist at the end (if
    the program removes all of them at the end, those that exist before that),
    `filters` the entries of the PMU event filter, and `redistributors` the regions by index, or the
    one address. `first` has the first command for each thing, in order. `vcpus` are the MPIDRs in
    the order of creation.
    """

    settings: dict[Key, Told]
    memory: list[Told]
    filters: list[Told]
    redistributors: dict[Key, Told]
    first: dict[Key, Told]
    vcpus: list[str]

    def redistributor_frames(self, count: int) -> list[int | None]:
        """Return the address of the redistributor of each of `count` vCPUs by index; None where no
        region has room.
        """
        places: list[int] = []
        for told in sorted(self.redistributors.values(), key=_region_order):
            if told.payload is None:
                continue
            word = told.payload[0]
            if told.row_name == REGION_ROW:
                base, room = word & 0xFFFFFFFF0000, word >> 52
            else:
                base, room = word, count
            places += [base + V3_REDIST_SIZE * number for number in range(min(room, count))]
        return [places[index] if index < len(places) else None for index in range(count)]


def _region_order(told: Told) -> int:
    is_region = told.row_name == REGION_ROW and told.payload is not None
    return told.payload[0] & 0xFFF if is_region and told.payload is not None else -1


# Commands and calls ---------------------------------------------------------------------------


def of_commands(commands: Sequence[Command]) -> Setup:
    """Return what the commands of a plan tell a VM."""
    return _setup(_told_command(seq, command) for seq, command in enumerate(commands, 1))


def _told_command(seq: int, command: Command) -> Told:
    told = Told(
        *command.fields(), command.row, command.payload, command.mpidr, seq, "", command=command
    )
    return told._replace(compared=_compared(told, {}))


def of_record(record: Record, vm: int) -> Setup:
    """Return what a program told one of its VMs."""
    calls = record.calls_of(vm)
    mpidrs = _last_mpidrs(calls)
    return _setup(_told_call(call, mpidrs, record.pmus) for call in calls if _counts(call))


def _last_mpidrs(calls: Iterable[Call]) -> dict[str, str]:
    """Return the MPIDR of each vCPU at the end, by target."""
    return {call.target: call.mpidr for call in calls if call.mpidr is not None}


def _counts(call: Call) -> bool:
    """Return whether a call sets something that is not the state of a running VM."""
    if call.op in ("has-attr", "get-attr", "get-reg", "set-gsi-routing") or call.line.get("test"):
        return False
    group = call.line["group"]
    if group in STATE_GROUPS.values():
        return False
    return not (group == CTRL_GROUP[0] and call.row is None)


def _told_call(call: Call, mpidrs: Mapping[str, str], pmus: Mapping[int, str]) -> Told:
    line = call.line
    value = _UNREADABLE if line["value"] is None else line["value"]
    told = Told(
        call.op,
        call.target,
        line["group"] or "-",
        line["attr"] or "-",
        line["type"] or "-",
        value,
        call.row,
        None if call.command is None else call.command.payload,
        mpidrs.get(call.target),
        call.seq,
        "",
    )
    return told._replace(compared=_compared(told, pmus))


def _compared(told: Told, pmus: Mapping[int, str]) -> str:
    """Return the part of a value that decides whether it is the same as another."""
    payload = told.payload
    if payload is None:
        return told.value
    if told.op == "create-vm":
        # 0 means 40 bits of addresses (mmu.c:kvm_init_ipa_range).
        bits = payload[0] & 0xFF or 40
        return hex(payload[0] & ~0xFF | bits)
    if told.op == "create-vcpu":
        return ""
    if told.op == "enable-cap":
        arguments = list(payload[1:])
        while arguments and arguments[-1] == 0:
            arguments.pop()
        return ",".join(map(hex, arguments))
    if told.row_name == "pmu.device" and payload[0] in pmus:
        return f"pmu:{pmus[payload[0]]}"
    return told.value


# Things ---------------------------------------------------------------------------------------


def _setup(every: Iterable[Told]) -> Setup:
    told = _without_teardown(list(every))
    names = _numbers_of_itss(told) | _names_of_vcpus(told)
    setup = Setup({}, [], [], {}, {}, [])
    slots: dict[str, Told] = {}
    filters: dict[str, list[Told]] = {}
    for each in told:
        key = _key(each, names)
        if key is None:
            continue
        setup.first.setdefault(key, each)
        if each.op == "create-vcpu":
            setup.vcpus.append(each.mpidr or each.target)
        if each.op == "add-memory":
            _set_slot(slots, each)
        elif each.row_name == FILTER_ROW:
            filters.setdefault(each.target, []).append(each)
        elif each.row_name in (REGION_ROW, REDISTRIBUTORS_ROW):
            setup.redistributors[key] = each
        else:
            setup.settings[key] = each
    return setup._replace(memory=list(slots.values()), filters=_once(filters.values()))


def _without_teardown(told: list[Told]) -> list[Told]:
    """Return what a VM was told before its end, at which a program can remove all memory slots."""
    slots: dict[str, Told] = {}
    for each in told:
        if each.op == "add-memory":
            _set_slot(slots, each)
    end = len(told)
    if not slots:
        while end and _removes_slot(told[end - 1]):
            end -= 1
    return told[:end]


def _removes_slot(told: Told) -> bool:
    return told.op == "add-memory" and told.payload is not None and told.payload[2] == 0


def _set_slot(slots: dict[str, Told], told: Told) -> None:
    """Add, replace, or remove a memory slot."""
    if told.payload is None:
        slots[f"?{told.seq}"] = told
        return
    number, _, size, _ = told.payload
    slots.pop(str(number), None)
    if size:
        slots[str(number)] = told


def _once(filters: Iterable[list[Told]]) -> list[Told]:
    """Return the entries of a filter: once if they were sent through several vCPUs."""
    lists = list(filters)
    values = [[each.value for each in entries] for entries in lists]
    if values and all(each == values[0] for each in values):
        return lists[0]
    return sorted((each for entries in lists for each in entries), key=lambda each: each.seq)


def _numbers_of_itss(told: Iterable[Told]) -> dict[str, str]:
    """Return the number of each ITS in the order of their addresses."""
    addresses = {
        each.target: each.payload[0]
        for each in told
        if each.row_name == "its.address" and each.payload is not None
    }
    in_order = sorted(addresses, key=lambda target: addresses[target])
    return {target: f"its:{number}" for number, target in enumerate(in_order)}


def _names_of_vcpus(told: Iterable[Told]) -> dict[str, str]:
    """Return the MPIDR of each vCPU by target; of several with the same one, also the target."""
    mpidrs = {each.target: each.mpidr for each in told if each.mpidr is not None}
    counts = Counter(mpidrs.values())
    return {
        target: mpidr if counts[mpidr] == 1 else f"{mpidr} {target}"
        for target, mpidr in mpidrs.items()
    }


def _key(told: Told, names: Mapping[str, str]) -> Key | None:
    """Return what a command sets; None if it only identifies a vCPU."""
    op, row = told.op, told.row
    subject = names.get(told.target, told.target)
    if row is not None and row.name == "vcpu.mpidr":
        return None
    if op == "add-memory":
        number = "" if told.payload is None else str(told.payload[0])
        return op, number
    if op == "create-device" or told.row_name == REGION_ROW:
        index = str(_region_order(told)) if told.row_name == REGION_ROW else ""
        return op, subject, told.row_name, index
    if op == "set-reg" and is_of_vm(told.attr):
        return op, "vm", told.attr
    if row is None:
        return op, subject, told.group, told.attr
    if row.name == SMCCC_ROW and told.payload is not None:
        return op, row.name, str(told.payload[0])
    if row.name == FILTER_ROW:
        return op, row.name, subject, told.value
    if row.name == "vcpu.finalize":
        return op, row.name, subject, told.value
    # A vCPU only carries what is one per VM.
    return op, "vm" if row.vm_wide else subject, told.group, told.attr


def feature_names(told: Told) -> list[str]:
    """Return the names of the features of an init-vcpu."""
    return [] if told.value in ("-", _UNREADABLE) else told.value.split(",")


def known_features(names: Iterable[str]) -> list[str]:
    """Return names of features, in the order of their bits."""
    wanted = set(names)
    known = [name for name in VCPU_FEATURES if name in wanted]
    return [*known, *sorted(wanted - set(known))]


# Addresses ------------------------------------------------------------------------------------


def extent(told: Told) -> Interval:
    """Return the addresses of a memory slot."""
    if told.payload is None:
        return 0, 0
    _, base, size, _ = told.payload
    return base, base + size


def left_over(wanted: Iterable[Interval], present: Iterable[Interval]) -> Iterator[Interval]:
    """Yield the parts of `wanted` that no interval of `present` contains."""
    intervals = sorted(present)
    for start, end in wanted:
        place = start
        for first, after in intervals:
            if after <= place or first >= end:
                continue
            if first > place:
                yield place, first
            place = max(place, after)
        if place < end:
            yield place, end
