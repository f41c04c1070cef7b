"""VMC5xx: the PMU, above all its overflow interrupts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from vmcfg.arm.interrupts import (
    GREATEST_PPI,
    GREATEST_SPI,
    PPI_BASE,
    SPI_BASE,
    SPI_END,
    interrupt_text,
    is_ppi,
    is_spi,
)
from vmcfg.description.model import DEFAULT_TIMERS, MAINTENANCE, Pmu
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import NEVER_ASKED, WARNING, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.features import STRICT_PMU
from vmcfg.kernel.limits import (
    COUNTERS_GREATEST,
    EVENT_GREATEST,
    INTID_GREATEST,
    NEVER_FILTERED,
    NR_IRQS_GREATEST,
    U32_GREATEST,
)
from vmcfg.rules.gic import gicv5_hint, last_intid, more_intids_hint, nr_irqs_for
from vmcfg.rules.kinds import machine_rule, once_per_machine
from vmcfg.vm.machine import Machine, Vcpu

IRQ = abi.setting(abi.PMU_V3_IRQ)
INIT = abi.setting(abi.PMU_V3_INIT)
SET_PMU = abi.setting(abi.PMU_V3_SET_PMU)
SET_NR_COUNTERS = abi.setting(abi.PMU_V3_SET_NR_COUNTERS)
FILTER = abi.setting(abi.PMU_V3_FILTER)

VCPU_INIT = "KVM_ARM_VCPU_INIT"

USUAL = 23
"""The PPI of the PMU by the Base System Architecture."""

EL2_ONLY = {
    MAINTENANCE: "the GIC maintenance interrupt",
    DEFAULT_TIMERS["hyp_physical"]: "the EL2 physical timer",
    DEFAULT_TIMERS["hyp_virtual"]: "the EL2 virtual timer",
}
"""PPIs that the Arm Base System Architecture assigns to what only EL2 has."""

Users = list[tuple[int, Vcpu]]
"""PMU interrupts by INTID, each with its vCPU."""

MOST_SUGGESTED = 4
"""The maximum number of free interrupts in a hint, so that they fit on a line."""

NUMBERS = {"ppi": (0, GREATEST_PPI), "spi": (0, GREATEST_SPI), "": (PPI_BASE, SPI_END - 1)}
"""The first and the last number of a PMU interrupt, by its prefix as written."""


def _bad_number(written: int | IrqRange | None) -> int | None:
    """Return the first written number that is not a PPI or an SPI; None if all of them are."""
    if written is None:
        return None
    if isinstance(written, int):
        return None if PPI_BASE <= written < SPI_END else written
    least, greatest = NUMBERS[written.prefix]
    if written.first < least:
        return written.first
    if written.last > greatest:
        return max(greatest + 1, written.first)
    return None


@once_per_machine
def _users(machine: Machine) -> Users:
    """Return the PMU interrupts that are PPIs or SPIs (see VMC504), in the order of creation."""
    # Most vCPUs share what is written.
    all_written = {vcpu.irq_written for vcpu in machine.vcpus}
    right = {written for written in all_written if _bad_number(written) is None}
    return [
        (intid, vcpu)
        for vcpu in machine.vcpus
        if (intid := vcpu.pmu_irq) is not None and vcpu.irq_written in right
    ]


def _user_text(user: tuple[int, Vcpu]) -> str:
    """Return which vCPU has which interrupt, in words."""
    intid, vcpu = user
    return f"vCPU {vcpu.name} has {interrupt_text(intid)}"


def _irq_text(user: tuple[int, Vcpu]) -> str:
    """Return an interrupt with its vCPU, in words."""
    intid, vcpu = user
    return f"{interrupt_text(intid)} on vCPU {vcpu.name}"


def _uses_irq(user: tuple[int, Vcpu]) -> str:
    """Return whose PMU uses which interrupt, in words."""
    intid, vcpu = user
    return f"the PMU of vCPU {vcpu.name} uses {interrupt_text(intid)}"


def _by_origin(users: Users) -> dict[Path, tuple[int, Vcpu]]:
    """Return the first user of each written interrupt, by the place where it is written."""
    first: dict[Path, tuple[int, Vcpu]] = {}
    for user in users:
        first.setdefault(user[1].irq_at, user)
    return first


def _related(users: Users, except_at: Path) -> tuple[tuple[Path, str], ...]:
    """Return the other places of interrupts of these users, with the vCPU and its interrupt."""
    origins = _by_origin(users)
    return tuple((at, _user_text(user)) for at, user in origins.items() if at != except_at)


def _at(user: tuple[int, Vcpu]) -> Path:
    """Return where the interrupt of a user is written."""
    return user[1].irq_at


@machine_rule("VMC501", Answer(IRQ))
def mixed_pmu_irq_types(machine: Machine) -> Iterator[Finding]:
    """The PMU interrupts of a VM must be all PPIs or all SPIs.

    The kernel documentation requires this, but KVM accepts an SPI after a PPI. It rejects only a
    PPI after an SPI, with EINVAL. Each vCPU then gets its interrupt, but a device tree cannot
    describe both to one driver: a Linux guest reports "mismatched SPI/PPI" and has no PMU.

    Source: Documentation/virt/kvm/devices/vcpu.rst, section 1.1; pmu-emul.c:pmu_irq_is_valid;
    drivers/perf/arm_pmu_platform.c; tested with a guest on 6.1 to 7.3, with Linux on 6.12."""
    users = _users(machine)
    ppis = [user for user in users if is_ppi(user[0])]
    if not ppis or len(ppis) == len(users):
        return
    spis = [user for user in users if is_spi(user[0])]
    # The finding is about the type that is written later.
    rest, odd = (ppis, spis) if _at(ppis[0]) <= _at(spis[0]) else (spis, ppis)
    message = f"PMU interrupts mix PPIs and SPIs: {_irq_text(odd[0])}, {_irq_text(rest[0])}"
    intid = rest[0][0]
    hint = f"use {intid} on every vCPU" if is_ppi(intid) else "use a different SPI on every vCPU"
    at = _at(odd[0])
    yield Finding(
        at,
        message,
        label=_user_text(odd[0]),
        hint=hint,
        related=_related([rest[0], *odd[1:]], at),
        kernel=Answer(IRQ, "EINVAL", "set") if _kvm_rejects_mix(users) else None,
    )


def _kvm_rejects_mix(users: Users) -> bool:
    """Return whether KVM rejects one of these PPIs and SPIs if they are set in this order
    (pmu-emul.c:pmu_irq_is_valid).
    """
    if is_spi(users[0][0]):
        return True
    earlier: set[int] = set()
    for intid, _ in users:
        if is_ppi(intid) and earlier - {intid}:
            return True
        if is_spi(intid) and intid in earlier:
            return True
        earlier.add(intid)
    return False


@machine_rule("VMC502", Answer(IRQ, "EINVAL", "set"))
def mismatched_pmu_ppis(machine: Machine) -> Iterator[Finding]:
    """A PMU PPI must have the same number on every vCPU: to the guest it is one interrupt, with a
    private instance per vCPU.

    Source: Documentation/virt/kvm/devices/vcpu.rst, section 1.1; pmu-emul.c:pmu_irq_is_valid;
    tested on 6.1 to 7.3."""
    users = _users(machine)
    counts: dict[int, int] = {}
    for intid, _ in users:
        counts[intid] = counts.get(intid, 0) + 1
    if len(counts) < 2 or not all(map(is_ppi, counts)):
        return
    first_intid, _ = min(users, key=_at)
    # The number of most vCPUs is right; if there is no such number, the one that is written first.
    usual = max(counts, key=lambda intid: (counts[intid], intid == first_intid))
    right = next(user for user in users if user[0] == usual)
    wrong = [user for user in users if user[0] != usual]
    message = f"PMU PPIs must be equal: {_irq_text(wrong[0])}, {_irq_text(right)}"
    hint = f"use {usual} on every vCPU, for example with 'pmu: {{irq: {usual}}}'"
    at = _at(wrong[0])
    is_alone = len(wrong) == 1 and len(users) > 2
    yield Finding(
        at,
        message,
        label=_user_text(wrong[0]),
        hint=hint,
        related=_related([right, *wrong[1:]], at),
        fix=_rewritten(wrong[0][1].irq_written, usual) if is_alone else None,
    )


def _rewritten(written: int | IrqRange | None, ppi: int) -> str | None:
    """Return a PPI in the form of another interrupt as written; None if that is a range."""
    if isinstance(written, int):
        return str(ppi)
    if written is None or written.first != written.last:
        return None
    return f"ppi:{ppi - PPI_BASE}" if written.prefix else str(ppi)


def free_spi(machine: Machine) -> int | None:
    """Return the first free SPI after those that are used, or else the first one at all."""
    free = machine.free_spis()
    used = set(range(SPI_BASE, min(machine.nr_irqs(), SPI_END))).difference(free)
    last = max(used, default=SPI_BASE - 1)
    return next((intid for intid in free if intid > last), free[0] if free else None)


@machine_rule("VMC503", Answer(IRQ, "EINVAL", "set"))
def duplicate_pmu_spi(machine: Machine) -> Iterator[Finding]:
    """Two PMUs must not use the same SPI: unlike a PPI, an SPI exists only once per VM.

    Source: Documentation/virt/kvm/devices/vcpu.rst, section 1.1; pmu-emul.c:pmu_irq_is_valid;
    tested on 6.1 to 7.3."""
    users = _users(machine)
    intids = {intid for intid, _ in users}
    if len(intids) == len(users) or any(map(is_ppi, intids)):
        return
    by_intid: dict[int, list[Vcpu]] = {}
    for intid, vcpu in sorted(users, key=_at):
        by_intid.setdefault(intid, []).append(vcpu)
    # Ranges that were copied share many SPIs for one reason: only the first of them is reported.
    seen: set[tuple[Path, ...]] = set()
    for intid, vcpus in by_intid.items():
        places = tuple(vcpu.irq_at for vcpu in vcpus)
        if len(vcpus) > 1 and places not in seen:
            seen.add(places)
            others = list(dict.fromkeys(places[1:]))
            yield _shared_spi(intid, vcpus, _hint_to_separate(machine, others))


def _hint_to_separate(machine: Machine, places: list[Path]) -> str:
    """Return the hint for SPIs that are written at `places` and used by other vCPUs too."""
    found = _separate_spis(machine, places, machine.nr_irqs())
    if found is None:
        return _hint_of_more_spis(machine, places)
    irqs = found.irqs
    if len(irqs) == 1:
        return f"write {irqs[0]}" if "-" in irqs[0] else f"use another SPI, such as {irqs[0]}"
    return f"use different SPIs, such as {', '.join(irqs)}"


def _hint_of_more_spis(machine: Machine, places: list[Path]) -> str:
    """Return the hint for a GIC with too few SPIs: more of them if KVM has so many, else a PPI."""
    found = _separate_spis(machine, places, NR_IRQS_GREATEST)
    needed = None if found is None else nr_irqs_for(found.last)
    if found is None or needed is None or machine.gic is None:
        return f"{_usual_hint(machine)}: there are too few free SPIs, but each vCPU has its PPIs"
    return (
        f"set 'nr_irqs: {needed}' in 'gic', because there are too few SPIs, and write"
        f" {', '.join(found.irqs)}"
    )


class _SeparateSpis(NamedTuple):
    """SPIs as they can be written, one text per place, and the greatest INTID of them."""

    irqs: list[str]
    last: int


def _separate_spis(machine: Machine, places: list[Path], end: int) -> _SeparateSpis | None:
    """Return at each of the first `places` as many free SPIs below `end` as there are vCPUs."""
    wrong = set(places)
    used = machine.device_spis()
    used |= {intid for intid, vcpu in _users(machine) if vcpu.irq_at not in wrong}
    irqs = []
    last = 0
    for at in places[:MOST_SUGGESTED]:
        here = [vcpu for vcpu in machine.vcpus if vcpu.irq_at == at]
        written = here[0].irq_written
        assert written is not None
        first = _free_spis(intid_of(written), len(here), used, end)
        if first is None:
            return None
        mine = range(first, first + len(here))
        used.update(mine)
        last = max(last, mine[-1])
        spelling = written if isinstance(written, IrqRange) else IrqRange("", written, written)
        irqs.append(spelling.text(first - spelling.base, mine[-1] - spelling.base))
    return _SeparateSpis(irqs, last)


def _free_spis(first: int, count: int, used: set[int], end: int) -> int | None:
    """Return the first of `count` free SPIs in sequence below `end`: from `first` on, or else the
    lowest.
    """
    last = end - count + 1
    for start in chain(range(first, last), range(SPI_BASE, min(first, last))):
        if used.isdisjoint(range(start, start + count)):
            return start
    return None


def _shared_spi(intid: int, vcpus: list[Vcpu], hint: str) -> Finding:
    """Return the finding that several PMUs use one SPI."""
    first, second, *more = vcpus
    who = f"vCPUs {first.name} and {second.name} both"
    if more:
        who = f"{len(vcpus)} vCPUs, such as {first.name} and {second.name},"
    message = f"PMU SPIs must differ: {who} use {interrupt_text(intid)}"
    related = _related([(intid, vcpu) for vcpu in (first, *more)], second.irq_at)
    label = ""
    if first.irq_at != second.irq_at:
        label = _user_text((intid, second))
    return Finding(second.irq_at, message, label=label, hint=hint, related=related)


@machine_rule("VMC504", Answer(IRQ, "EINVAL", "set"))
def invalid_pmu_irq(machine: Machine) -> Iterator[Finding]:
    """A PMU interrupt must be a PPI (INTID 16 to 31) or an SPI (INTID 32 to 1019).

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_attr; tested on 6.1 to 7.3."""
    all_written = {vcpu.irq_written for vcpu in machine.vcpus} | {machine.pmu.irq}
    if all(_bad_number(irq) is None for irq in all_written):
        return
    written = {vcpu.irq_at: vcpu.irq_written for vcpu in machine.vcpus if vcpu.pmu_irq is not None}
    for at, irq in written.items():
        number = _bad_number(irq)
        if isinstance(irq, IrqRange) and irq.prefix and number is not None:
            yield _bad_prefixed(machine, at, irq, number)
        elif number is not None:
            yield _bad_intid(machine, at, number)
    is_used = ("pmu", "irq") in {vcpu.irq_at for vcpu in machine.vcpus}
    if not is_used and _bad_number(machine.pmu.irq) is not None:
        message = "'pmu.irq' is not a PPI or an SPI, and every vCPU has its own 'pmu_irq'"
        yield Finding(("pmu", "irq"), message, hint="remove 'irq'", kernel=NEVER_ASKED)


def _bad_prefixed(machine: Machine, at: Path, irq: IrqRange, number: int) -> Finding:
    """Return the finding about a number that no PPI or no SPI has."""
    intid = irq.base + number
    kind, greatest = ("PPI", GREATEST_PPI) if irq.prefix == "ppi" else ("SPI", GREATEST_SPI)
    message = (
        f"{kind} number of the PMU interrupt of {_whose(machine, at, intid)}"
        f" must be 0 to {greatest}, not {number}"
    )
    hint = _prefix_hint(irq.prefix, number)
    # As an INTID it can be another interrupt, which KVM accepts.
    is_accepted = PPI_BASE <= intid < SPI_END
    kernel = Answer(IRQ) if is_accepted else _answer_to(intid)
    is_certain = irq.prefix == "ppi" and is_ppi(number) and irq.first == irq.last
    return Finding(at, message, hint=hint, kernel=kernel, fix=str(number) if is_certain else None)


def _bad_intid(machine: Machine, at: Path, intid: int) -> Finding:
    """Return the finding about an INTID that is not a PPI or an SPI."""
    message = (
        f"PMU interrupt of {_whose(machine, at, intid)} must be a PPI or an SPI,"
        f" not {interrupt_text(intid)}"
    )
    hint = "use INTID 16 to 31 (PPI) or 32 to 1019 (SPI)"
    if intid < PPI_BASE:
        as_ppi, as_spi = intid + PPI_BASE, intid + SPI_BASE
        hint = (
            f"if you mean {interrupt_text(as_ppi)}, write 'ppi:{intid}';"
            f" if you mean {interrupt_text(as_spi)}, write 'spi:{intid}'"
        )
    hint = gicv5_hint(intid, hint)
    return Finding(at, message, hint=hint, kernel=_answer_to(intid))


def _whose(machine: Machine, at: Path, intid: int) -> str:
    """Return the vCPUs whose interrupt is written at a place, in words."""
    vcpus = [vcpu for vcpu in machine.vcpus if vcpu.irq_at == at and vcpu.pmu_irq == intid]
    if len(vcpus) == 1:
        return f"vCPU {vcpus[0].name}"
    return f"{len(vcpus)} vCPUs (first: {vcpus[0].name})"


def _answer_to(intid: int) -> Answer | None:
    """Return the answer of KVM to such a PMU interrupt, if the rule has another."""
    # KVM sees only the bits of an int, which are then another number.
    return NEVER_ASKED if intid > INTID_GREATEST else None


def _prefix_hint(prefix: str, number: int) -> str:
    """Return the hint for a number that is probably an INTID."""
    if prefix == "ppi" and is_ppi(number):
        ppi = number - PPI_BASE
        return f"if you mean INTID {number} (PPI {ppi}), write {number} or 'ppi:{ppi}'"
    if prefix == "spi" and is_spi(number):
        spi = number - SPI_BASE
        return f"if you mean INTID {number} (SPI {spi}), write {number} or 'spi:{spi}'"
    return "use ppi:0 to ppi:15 (INTID 16 to 31) or spi:0 to spi:987 (INTID 32 to 1019)"


@machine_rule("VMC505", Answer(VCPU_INIT, "EINVAL", "set", since=(6, 5)))
def missing_pmu_irq(machine: Machine) -> Iterator[Finding]:
    """Either all vCPUs must have a PMU interrupt, or none.

    Since Linux 6.5, all vCPUs of a VM must have the same features: KVM rejects a vCPU with PMU_V3
    after one without. Linux 6.1 accepts it.

    Source: arm.c:kvm_vcpu_init_changed; tested on 6.1 to 7.3."""
    without = [vcpu for vcpu in machine.vcpus if vcpu.pmu_irq is None]
    users = _users(machine)
    if not without or not users:
        return
    vcpu = min(without, key=lambda vcpu: vcpu.at)
    example = min(users, key=_at)
    intid, other = example
    message = (
        f"vCPU {vcpu.name} has no PMU interrupt, but vCPU {other.name} has"
        f" {interrupt_text(intid)}: all must have one, or none"
    )
    others = dict.fromkeys(each.at for each in without if each.at != vcpu.at)
    related = (
        (_at(example), _user_text(example)),
        *((at, "also without PMU interrupt") for at in others),
    )
    yield Finding(
        vcpu.at,
        message,
        label="no PMU interrupt",
        hint=_hint_to_add(machine, intid),
        related=related,
    )


def _hint_to_add(machine: Machine, intid: int) -> str:
    """Return the hint for vCPUs without a PMU interrupt if another vCPU has `intid`."""
    if not is_ppi(intid):
        return "add a 'pmu_irq' with its own SPI"
    if machine.pmu == Pmu():
        return f"add 'pmu: {{irq: {intid}}}', which applies to all vCPUs without 'pmu_irq'"
    return f"add 'irq: {intid}' to 'pmu', which applies to all vCPUs without 'pmu_irq'"


@machine_rule("VMC506", Answer(INIT, "EINVAL", "init"))
def pmu_spi_out_of_range(machine: Machine) -> Iterator[Finding]:
    """The SPI of a PMU must be lower than the number of INTIDs of the GIC.

    The limit is `gic.nr_irqs`. If it is not set, the limit is 256 if the plan sets up the GIC, or
    992, the KVM maximum, if the VMM does. KVM accepts any SPI at first and rejects it at PMU INIT,
    when it can no longer be changed.

    Source: vgic.c:kvm_vgic_set_owner; tested on 6.1 to 7.3."""
    limit = machine.nr_irqs()
    over = [user for user in _users(machine) if is_spi(user[0]) and user[0] >= limit]
    if not over:
        return
    bound, related = last_intid(machine)
    for at, user in _by_origin(over).items():
        greatest = max(intid for intid, vcpu in over if vcpu.irq_at == at)
        message = f"{_uses_irq(user)}, but {bound}"
        yield Finding(at, message, hint=more_intids_hint(machine, greatest), related=related)


@machine_rule("VMC507", Answer("KVM_RUN", "EINVAL", "run"))
def pmu_ppi_conflict(machine: Machine) -> Iterator[Finding]:
    """The PMU must not use a PPI that a timer or the GIC claims at the first KVM_RUN.

    Those are `timers.virtual` (default 27) and `timers.physical` (30). With the feature `el2`, they
    are also `timers.hyp_virtual` (28), `timers.hyp_physical` (26), and `gic.maintenance_irq` (25;
    there, KVM_RUN fails with EEXIST). KVM accepts the number and initializes the PMU. Then the
    timer cannot claim its PPI.

    Source: arch_timer.c:timer_irqs_are_valid; tested on 6.1 to 7.3, with EL2 on 6.16 and 7.3."""
    claimed = {claimed.intid: claimed for claimed in reversed(machine.claimed_ppis())}
    clashing = [user for user in _users(machine) if user[0] in claimed]
    if not clashing:
        return
    first = clashing[0]
    owner = claimed[first[0]]
    default = "" if owner.written else " by default"
    related = _related(clashing, _at(first))
    if owner.written:
        related = ((owner.at, owner.name), *related)
    yield Finding(
        _at(first),
        f"{_uses_irq(first)}, which {owner.name} also uses{default}",
        hint=_usual_hint(machine),
        related=related,
        kernel=Answer("KVM_RUN", "EEXIST", "run") if owner.at[0] == "gic" else None,
    )


def _usual_hint(machine: Machine) -> str:
    """Return the hint with a PPI that the PMU can use."""
    taken = {claimed.intid for claimed in machine.claimed_ppis()}
    if USUAL not in taken:
        return f"use {interrupt_text(USUAL)}, as QEMU, kvmtool, and crosvm do"
    free = next(intid for intid in range(USUAL, PPI_BASE, -1) if intid not in taken)
    return f"use {interrupt_text(free)}, which is free"


@machine_rule("VMC508", Answer(IRQ), WARNING)
def el2_ppi_as_pmu_irq(machine: Machine) -> Iterator[Finding]:
    """Without EL2, the PMU should not use INTID 25, 26, or 28 (PPI 9, 10, 12).

    The Arm Base System Architecture (BSA) assigns them to the GIC maintenance interrupt and the EL2
    timers. KVM accepts them, and a Linux guest without EL2 uses them for its PMU. With EL2, KVM
    rejects them (VMC507).

    Source: Arm Base System Architecture; tested with a guest on 6.1 to 7.3, with Linux on 6.12."""
    if machine.has_el2():
        return
    claimed = {claimed.intid for claimed in machine.claimed_ppis()}
    expected = EL2_ONLY.keys() - claimed
    clashing = [user for user in _users(machine) if user[0] in expected]
    if not clashing:
        return
    first = clashing[0]
    message = f"{_uses_irq(first)}, which the BSA assigns to {EL2_ONLY[first[0]]}"
    related = _related(clashing, _at(first))
    yield Finding(_at(first), message, hint=_usual_hint(machine), related=related)


@machine_rule("VMC509", Answer(IRQ), about="devices")
def pmu_spi_conflict(machine: Machine) -> Iterator[Finding]:
    """The PMU must not use the SPI of a VMM device.

    KVM accepts it and then silently drops the interrupts of the device, because the SPI has an
    owner in the kernel.

    Source: vgic.c:vgic_validate_injection, Linux 7.2; tested with a guest on 6.1 to 7.3."""
    users = [user for user in _users(machine) if is_spi(user[0])]
    if not machine.devices or not users:
        return
    used = machine.device_spis()
    clashing = [user for user in users if user[0] in used]
    if not clashing:
        return
    from vmcfg.vm.overlaps import Claims

    claims = Claims([device.spis for device in machine.devices])
    for at, user in _by_origin(clashing).items():
        intid, vcpu = user
        # Of devices that share an SPI, the first is named.
        index = claims.owner(intid)
        assert index is not None
        name = machine.devices[index].name
        message = (
            f"the PMU of vCPU {vcpu.name} and device '{name}' both use {interrupt_text(intid)}:"
            " KVM drops the interrupts of the device"
        )
        related = ((("devices", index, "irq"), f"device '{name}'"),)
        hint = "use another SPI for one of them"
        free = free_spi(machine)
        if free is not None:
            hint += f": {interrupt_text(free)} is free"
        yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC510", Answer(SET_PMU, "ENODEV", "set"))
def pmu_settings_without_pmu(machine: Machine) -> Iterator[Finding]:
    """`pmu.device`, `pmu.strict`, `pmu.counters`, and `pmu.filter` require vCPUs with a PMU,
    and therefore with a PMU interrupt.

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_attr; tested on 6.1 to 7.3."""
    if machine.has_pmu():
        return
    for key, call, errno in (
        ("device", SET_PMU, "ENODEV"),
        ("strict", VCPU_INIT, "EINVAL"),
        ("counters", SET_NR_COUNTERS, "ENODEV"),
        ("filter", FILTER, "ENODEV"),
    ):
        value = getattr(machine.pmu, key)
        # Not `not value`: 0 counters are a setting.
        if value is not None and value is not False and value != ():
            message = f"'pmu.{key}' is set, but no vCPU has a PMU interrupt and thus a PMU"
            hint = f"add 'irq: {USUAL}' to 'pmu'"
            kernel = Answer(call, errno, "set")
            if key == "strict" and machine.host_kernel < STRICT_PMU.since:
                kernel = NEVER_ASKED  # VMC704 has the answer
            yield Finding(("pmu", key), message, hint=hint, on="key", kernel=kernel)


HAS_SO_MANY_COUNTERS = "if the host PMU has at least this number of counters"


@machine_rule("VMC511", Answer(SET_NR_COUNTERS, condition=HAS_SO_MANY_COUNTERS), WARNING)
def counters_without_device(machine: Machine) -> Iterator[Finding]:
    """`pmu.counters` should be set only with `pmu.device`.

    The kernel documentation requires it, but KVM accepts the number without.

    Source: Documentation/virt/kvm/devices/vcpu.rst, section 1.5; tested on 7.2."""
    # With 'pmu.strict', VMC515 reports the missing device.
    is_without = machine.pmu.device is None and not machine.pmu.strict
    if machine.pmu.counters is not None and is_without:
        message = "'pmu.counters' requires 'pmu.device', according to the kernel documentation"
        hint = "add the host PMU, for example 'device: armv8_pmuv3_0'"
        # VMC512 has the answer to a number that no PMU has.
        kernel = NEVER_ASKED if machine.pmu.counters > COUNTERS_GREATEST else None
        yield Finding(("pmu", "counters"), message, hint=hint, on="key", kernel=kernel)


@machine_rule("VMC512", Answer(SET_NR_COUNTERS, "EINVAL", "set"))
def counters_out_of_range(machine: Machine) -> Iterator[Finding]:
    """A PMU can have at most 31 event counters, the maximum of PMCR_EL0.N.

    Host PMUs have fewer, often 6.

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters; tested on 7.2."""
    counters = machine.pmu.counters
    if counters is not None and counters > COUNTERS_GREATEST:
        message = f"'pmu.counters' must be at most {COUNTERS_GREATEST}, not {counters}"
        hint = "use the number of a host PMU, often 6, or remove 'counters'"
        # KVM sees only the bits of the attribute, which are then another number.
        kernel = NEVER_ASKED if counters > U32_GREATEST else None
        yield Finding(("pmu", "counters"), message, hint=hint, kernel=kernel)


@machine_rule("VMC513", Answer(FILTER, "EINVAL", "set"), about="pmu.filter")
def event_out_of_range(machine: Machine) -> Iterator[Finding]:
    """The events of a filter must be at most 0xffff, the maximum of PMUv3.

    On a host with PMUv3.0 the maximum is 0x3ff, and KVM rejects higher events.

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_attr; tested on 6.1 to 7.3."""
    for index, (_, events) in enumerate(machine.pmu.filter):
        if events.last > EVENT_GREATEST:
            message = f"PMU events must be at most {EVENT_GREATEST:#x}, not {events}"
            # KVM sees only the bits of the attribute, which are then another range.
            is_cut = max(events.first, events.last - events.first) > EVENT_GREATEST
            kernel = NEVER_ASKED if is_cut else None
            hint = f"use events from 0x0 to {EVENT_GREATEST:#x}"
            yield Finding(("pmu", "filter", index, "events"), message, hint=hint, kernel=kernel)


@machine_rule("VMC514", Answer(FILTER), WARNING, about="pmu.filter")
def unfilterable_event(machine: Machine) -> Iterator[Finding]:
    """An entry of the filter should contain an event other than SW_INCR (0x0) and CHAIN (0x1e).

    KVM never filters these two. A first entry that allows them still denies all other events.

    Source: pmu-emul.c:kvm_pmu_set_counter_event_type, Linux 7.2."""
    for index, (action, events) in enumerate(machine.pmu.filter):
        has_effect = index == 0 and action == "allow"
        if events.first == events.last and events.first in NEVER_FILTERED and not has_effect:
            name = NEVER_FILTERED[events.first]
            message = f"this filter entry has no effect: KVM never filters {name} ({events})"
            at = ("pmu", "filter", index, "events")
            yield Finding(at, message, hint="remove this entry")


@machine_rule("VMC515", Answer(INIT, "ENXIO", "init"), about="pmu.strict")
def strict_pmu_without_device(machine: Machine) -> Iterator[Finding]:
    """`pmu.strict` requires `pmu.device`: KVM then does not choose a host PMU.

    Without a PMU, KVM rejects `pmu.counters` with EINVAL, `pmu.filter` with ENXIO, and otherwise
    PMU INIT with ENXIO.

    Source: pmu-emul.c:kvm_arm_pmu_v3_set_attr, Linux 7.3; tested on 7.3."""
    pmu = machine.pmu
    if not pmu.strict or pmu.device is not None or not machine.has_pmu():
        return
    kernel = None
    if pmu.counters is not None:
        kernel = Answer(SET_NR_COUNTERS, "EINVAL", "set")
    elif pmu.filter:
        kernel = Answer(FILTER, "ENXIO", "set")
    message = "'pmu.strict' requires 'pmu.device': KVM does not choose a host PMU"
    hint = "add the host PMU, for example 'device: armv8_pmuv3_0', or remove 'strict'"
    yield Finding(("pmu", "strict"), message, hint=hint, on="key", kernel=kernel)


RULES = (
    mixed_pmu_irq_types,
    mismatched_pmu_ppis,
    duplicate_pmu_spi,
    invalid_pmu_irq,
    missing_pmu_irq,
    pmu_spi_out_of_range,
    pmu_ppi_conflict,
    el2_ppi_as_pmu_irq,
    pmu_spi_conflict,
    pmu_settings_without_pmu,
    counters_without_device,
    counters_out_of_range,
    event_out_of_range,
    unfilterable_event,
    strict_pmu_without_device,
)
