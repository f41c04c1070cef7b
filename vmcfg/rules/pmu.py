"""VMC5xx: the PMU, above all its overflow interrupts."""

from __future__ import annotations

from collections.abc import Iterator

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
from vmcfg.kernel.limits import (
    COUNTERS_GREATEST,
    EVENT_GREATEST,
    INTID_GREATEST,
    NR_IRQS_GREATEST,
    NR_IRQS_STEP,
    U32_GREATEST,
)
from vmcfg.rules.kinds import machine_rule
from vmcfg.vm.machine import Machine, Vcpu

IRQ = abi.setting(abi.PMU_V3_IRQ)
INIT = abi.setting(abi.PMU_V3_INIT)
SET_PMU = abi.setting(abi.PMU_V3_SET_PMU)
SET_NR_COUNTERS = abi.setting(abi.PMU_V3_SET_NR_COUNTERS)
FILTER = abi.setting(abi.PMU_V3_FILTER)

VCPU_INIT = "KVM_ARM_VCPU_INIT"

USUAL = 23
"""The PMU's PPI by the Base System Architecture."""

EL2_ONLY = {
    MAINTENANCE: "the GIC's maintenance interrupt",
    DEFAULT_TIMERS["hyp_physical"]: "the EL2 physical timer's",
    DEFAULT_TIMERS["hyp_virtual"]: "the EL2 virtual timer's",
}
"""PPIs that a guest's firmware and kernel know for what EL2 uses."""

Users = list[tuple[int, Vcpu]]
"""PMU interrupts by INTID, each with the vCPU that has it."""

NUMBERS = {"ppi": (0, GREATEST_PPI), "spi": (0, GREATEST_SPI), "": (PPI_BASE, SPI_END - 1)}
"""The first and last number of a PMU interrupt, by the prefix with which it is written."""


def _bad_number(written: int | IrqRange | None) -> int | None:
    """The first number as written that is not a PPI or an SPI; None if all of them are."""
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


def _users(machine: Machine) -> Users:
    """The PMU interrupts that are PPIs or SPIs, as VMC504 asserts; in the order of creation."""
    return [
        (intid, vcpu)
        for vcpu in machine.vcpus
        if (intid := vcpu.pmu_irq) is not None and _bad_number(vcpu.irq_written) is None
    ]


def _has_irq(user: tuple[int, Vcpu]) -> str:
    """Which vCPU has which interrupt, in words."""
    intid, vcpu = user
    return f"vCPU {vcpu.name} has {interrupt_text(intid)}"


def _by_origin(users: Users) -> dict[Path, tuple[int, Vcpu]]:
    """The first user of each interrupt as written, by where that is."""
    first: dict[Path, tuple[int, Vcpu]] = {}
    for user in users:
        first.setdefault(user[1].irq_at, user)
    return first


def _related(users: Users, except_at: Path) -> tuple[tuple[Path, str], ...]:
    """Where else interrupts of these users are written, with who has which."""
    origins = _by_origin(users)
    return tuple((at, _has_irq(user)) for at, user in origins.items() if at != except_at)


def _at(user: tuple[int, Vcpu]) -> Path:
    """Where a user's interrupt is written."""
    return user[1].irq_at


@machine_rule("VMC501", Answer(IRQ))
def pmu_irqs_of_one_kind(machine: Machine) -> Iterator[Finding]:
    """The PMU interrupts of a VM are all PPIs or all SPIs.

    KVM's document demands it (Documentation/virt/kvm/devices/vcpu.rst, 1.1), but its code takes an SPI after a PPI,
    and only refuses a PPI after an SPI with EINVAL. (pmu-emul.c:pmu_irq_is_valid; measured on 6.1, 6.12, 7.2)"""
    users = _users(machine)
    ppis = [user for user in users if is_ppi(user[0])]
    if not ppis or len(ppis) == len(users):
        return
    spis = [user for user in users if is_spi(user[0])]
    # What is written later is the odd one.
    rest, odd = (ppis, spis) if _at(ppis[0]) <= _at(spis[0]) else (spis, ppis)
    message = (
        f"{_has_irq(odd[0])}, but {_has_irq(rest[0])}:"
        " a VM's PMU interrupts are all PPIs or all SPIs"
    )
    intid = rest[0][0]
    hint = f"write {intid} for all" if is_ppi(intid) else "give each vCPU an SPI of its own"
    related = _related([rest[0], *odd[1:]], _at(odd[0]))
    kernel = Answer(IRQ, "EINVAL", "set") if _kvm_refuses_mix(users) else None
    yield Finding(_at(odd[0]), message, hint=hint, related=related, kernel=kernel)


def _kvm_refuses_mix(users: Users) -> bool:
    """Whether KVM refuses one of these PPIs and SPIs if they are set in this order
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
def pmu_ppis_agree(machine: Machine) -> Iterator[Finding]:
    """A PPI is the same number on every vCPU: it is one interrupt to the guest, private to each.

    (Documentation/virt/kvm/devices/vcpu.rst, 1.1; pmu-emul.c:pmu_irq_is_valid; measured on 6.1, 6.12, 7.2)"""
    users = _users(machine)
    counts: dict[int, int] = {}
    for intid, _ in users:
        counts[intid] = counts.get(intid, 0) + 1
    if len(counts) < 2 or not all(map(is_ppi, counts)):
        return
    first_intid, _ = min(users, key=_at)
    # Most vCPUs are right; where no number has most, the one that is written first is.
    usual = max(counts, key=lambda intid: (counts[intid], intid == first_intid))
    right = next(user for user in users if user[0] == usual)
    wrong = [user for user in users if user[0] != usual]
    message = f"{_has_irq(wrong[0])}, but {_has_irq(right)}: a PPI is the same on every vCPU"
    hint = f"write {usual} for all, or once as 'pmu: {{irq: {usual}}}'"
    at = _at(wrong[0])
    related = _related([right, *wrong[1:]], at)
    is_alone = len(wrong) == 1 and len(users) > 2
    fix = _rewritten(wrong[0][1].irq_written, usual) if is_alone else None
    yield Finding(at, message, hint=hint, related=related, fix=fix)


def _rewritten(written: int | IrqRange | None, ppi: int) -> str | None:
    """A PPI, written as another interrupt is; None where that is a range."""
    if isinstance(written, int):
        return str(ppi)
    if written is None or written.first != written.last:
        return None
    return f"ppi:{ppi - PPI_BASE}" if written.prefix else str(ppi)


@machine_rule("VMC503", Answer(IRQ, "EINVAL", "set"))
def pmu_spis_distinct(machine: Machine) -> Iterator[Finding]:
    """An SPI is one vCPU's only: there is one of each number in a VM.

    (Documentation/virt/kvm/devices/vcpu.rst, 1.1; pmu-emul.c:pmu_irq_is_valid; measured on 6.1, 6.12, 7.2)"""
    users = _users(machine)
    intids = {intid for intid, _ in users}
    if len(intids) == len(users) or any(map(is_ppi, intids)):
        return
    by_intid: dict[int, list[Vcpu]] = {}
    for intid, vcpu in sorted(users, key=_at):
        by_intid.setdefault(intid, []).append(vcpu)
    free = next(
        (intid for intid in range(SPI_BASE, machine.nr_irqs()) if intid not in intids), None
    )
    hint = "give each vCPU an SPI of its own"
    if free is not None:
        hint += f"; no PMU has {interrupt_text(free)} yet"
    for intid, vcpus in by_intid.items():
        if len(vcpus) > 1:
            yield _shared_spi(intid, vcpus, hint)


def _shared_spi(intid: int, vcpus: list[Vcpu], hint: str) -> Finding:
    """The finding that several vCPUs have one SPI."""
    first, second, *more = vcpus
    message = (
        f"{interrupt_text(intid)} of vCPU {second.name} is vCPU {first.name}'s already:"
        " an SPI is one vCPU's only"
    )
    if first.irq_at == second.irq_at:
        who = f"{len(vcpus)} vCPUs, {first.name} and {second.name} first"
        message = f"{interrupt_text(intid)} is given to {who}: an SPI is one vCPU's only"
    related = _related([(intid, vcpu) for vcpu in (first, *more)], second.irq_at)
    return Finding(second.irq_at, message, hint=hint, related=related)


@machine_rule("VMC504", Answer(IRQ, "EINVAL", "set"))
def pmu_irqs_are_ppis_or_spis(machine: Machine) -> Iterator[Finding]:
    """A PMU interrupt is a PPI (INTID 16 to 31) or an SPI (INTID 32 to 1019).

    (pmu-emul.c:kvm_arm_pmu_v3_set_attr; measured on 6.1, 6.12, 7.2)"""
    written = {vcpu.irq_at: vcpu.irq_written for vcpu in machine.vcpus if vcpu.pmu_irq is not None}
    for at, irq in written.items():
        number = _bad_number(irq)
        if isinstance(irq, IrqRange) and irq.prefix and number is not None:
            yield _bad_prefixed(machine, at, irq, number)
        elif number is not None:
            yield _bad_intid(machine, at, number)
    is_used = ("pmu", "irq") in {vcpu.irq_at for vcpu in machine.vcpus}
    if not is_used and _bad_number(machine.pmu.irq) is not None:
        message = "pmu.irq is neither a PPI nor an SPI; every vCPU has an interrupt of its own"
        yield Finding(("pmu", "irq"), message, hint="remove it", kernel=NEVER_ASKED)


def _bad_prefixed(machine: Machine, at: Path, irq: IrqRange, number: int) -> Finding:
    """The finding about the number of a PPI or an SPI that there is not."""
    intid = irq.base + number
    one, greatest = ("a PPI", GREATEST_PPI) if irq.prefix == "ppi" else ("an SPI", GREATEST_SPI)
    message = (
        f"{_whose(machine, at, intid)} {irq.prefix}:{number}, but {one}'s number is 0 to {greatest}"
    )
    hint = _prefix_hint(irq.prefix, number)
    # As an INTID it may be another interrupt that KVM takes.
    is_taken = PPI_BASE <= intid < SPI_END
    kernel = Answer(IRQ) if is_taken else _answer_to(intid)
    is_certain = irq.prefix == "ppi" and is_ppi(number) and irq.first == irq.last
    return Finding(at, message, hint=hint, kernel=kernel, fix=str(number) if is_certain else None)


def _bad_intid(machine: Machine, at: Path, intid: int) -> Finding:
    """The finding about an INTID that is neither a PPI nor an SPI."""
    whose = _whose(machine, at, intid)
    message = f"{whose} {interrupt_text(intid)} as PMU interrupt, which is neither a PPI nor an SPI"
    hint = "write a PPI, INTID 16 to 31, or an SPI, INTID 32 to 1019"
    if intid < PPI_BASE:
        as_ppi, as_spi = intid + PPI_BASE, intid + SPI_BASE
        hint = (
            f"PPI {intid} is INTID {as_ppi} (ppi:{intid});"
            f" SPI {intid} is INTID {as_spi} (spi:{intid})"
        )
    return Finding(at, message, hint=hint, kernel=_answer_to(intid))


def _whose(machine: Machine, at: Path, intid: int) -> str:
    """Which vCPUs have an interrupt that is written at a place, in words."""
    vcpus = [vcpu for vcpu in machine.vcpus if vcpu.irq_at == at and vcpu.pmu_irq == intid]
    if len(vcpus) == 1:
        return f"vCPU {vcpus[0].name} has"
    return f"{len(vcpus)} vCPUs, {vcpus[0].name} first, have"


def _answer_to(intid: int) -> Answer | None:
    """What KVM answers to such a PMU interrupt, where that is not what the rule says."""
    # What an int has no bits for is cut, and then is another number.
    return NEVER_ASKED if intid > INTID_GREATEST else None


def _prefix_hint(prefix: str, number: int) -> str:
    """What was probably meant by a number that there is not: an INTID."""
    if prefix == "ppi" and is_ppi(number):
        ppi = number - PPI_BASE
        return f"PPI {ppi} is INTID {number}: write {number}, or ppi:{ppi}"
    if prefix == "spi" and is_spi(number):
        spi = number - SPI_BASE
        return f"SPI {spi} is INTID {number}: write {number}, or spi:{spi}"
    return "ppi:0 is INTID 16, ppi:15 is INTID 31; spi:0 is INTID 32, spi:987 is INTID 1019"


@machine_rule("VMC505", Answer(VCPU_INIT, "EINVAL", "set", since=(6, 5)))
def all_vcpus_have_pmu_irqs(machine: Machine) -> Iterator[Finding]:
    """Either every vCPU has a PMU interrupt, or none has.

    vCPU features are VM-wide since 6.5: a vCPU with PMU_V3 beside one without is refused on 6.12 and 7.2, and
    taken on 6.1. (arm.c:kvm_vcpu_init_changed; measured)"""
    without = [vcpu for vcpu in machine.vcpus if vcpu.pmu_irq is None]
    users = _users(machine)
    if not without or not users:
        return
    vcpu = min(without, key=lambda vcpu: vcpu.at)
    example = min(users, key=_at)
    message = (
        f"vCPU {vcpu.name} has no PMU interrupt, but {_has_irq(example)}: all have one, or none"
    )
    hint = "give it an SPI of its own: 'pmu_irq'"
    intid, _ = example
    if is_ppi(intid):
        shared = f"'pmu: {{irq: {intid}}}'" if machine.pmu == Pmu() else f"'irq: {intid}' to pmu"
        hint = f"add {shared}, for all that have none"
    others = dict.fromkeys(each.at for each in without if each.at != vcpu.at)
    related = ((_at(example), _has_irq(example)), *((at, "none here either") for at in others))
    yield Finding(vcpu.at, message, hint=hint, related=related)


@machine_rule("VMC506", Answer(INIT, "EINVAL", "init"))
def pmu_spis_below_nr_irqs(machine: Machine) -> Iterator[Finding]:
    """A PMU's SPI is below the GIC's number of INTIDs.

    That is `gic.nr_irqs`; where it is not written, 256 if the plan sets up the GIC, and 992, the most that KVM takes,
    if the monitor does. KVM takes any SPI at first and refuses at PMU INIT, when it can no longer be changed.
    (vgic.c:kvm_vgic_set_owner; measured on 6.1, 6.12, 7.2)"""
    limit = machine.nr_irqs()
    over = [user for user in _users(machine) if is_spi(user[0]) and user[0] >= limit]
    if not over:
        return
    is_written = machine.gic is not None and machine.gic.nr_irqs is not None
    bound = f"KVM takes {limit} INTIDs at most"
    if is_written or machine.sets_up_gic():
        bound = f"nr_irqs is {limit}"
    related = ((("gic", "nr_irqs"), f"{limit} INTIDs"),) if is_written else ()
    for at, user in _by_origin(over).items():
        message = f"{_has_irq(user)}, but {bound}: the last SPI is {interrupt_text(limit - 1)}"
        greatest = max(intid for intid, vcpu in over if vcpu.irq_at == at)
        # The end of the 32 INTIDs that hold the greatest.
        needed = greatest - greatest % NR_IRQS_STEP + NR_IRQS_STEP
        hint = "write a lower SPI"
        if needed <= NR_IRQS_GREATEST and machine.gic is not None:
            hint = f"write 'nr_irqs: {needed}' under gic, or a lower SPI"
        yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC507", Answer("KVM_RUN", "EINVAL", "run"))
def pmu_ppi_is_no_timers(machine: Machine) -> Iterator[Finding]:
    """A PMU's PPI is none that a timer or the GIC takes at the first KVM_RUN.

    Those are `timers.virtual` and `timers.physical`, 27 and 30 where they are not written; with the feature `el2` also
    `timers.hyp_virtual` (28), `timers.hyp_physical` (26) and `gic.maintenance_irq` (25, where KVM says EEXIST). KVM
    takes the number and initialises the PMU; the timer then finds its PPI taken. (arch_timer.c:timer_irqs_are_valid;
    measured on 6.1, 6.12, 7.2, with EL2 on 7.2)"""
    claimed = {claimed.intid: claimed for claimed in reversed(machine.claimed_ppis())}
    clashing = [user for user in _users(machine) if user[0] in claimed]
    if not clashing:
        return
    first = clashing[0]
    owner = claimed[first[0]]
    message = f"{_has_irq(first)}, but that is taken by {owner.name}"
    related = _related(clashing, _at(first))
    if owner.written:
        related = ((owner.at, owner.name), *related)
    kernel = Answer("KVM_RUN", "EEXIST", "run") if owner.at[0] == "gic" else None
    yield Finding(_at(first), message, hint=_usual_hint(machine), related=related, kernel=kernel)


def _usual_hint(machine: Machine) -> str:
    """A PPI that a PMU can have."""
    taken = {claimed.intid for claimed in machine.claimed_ppis()}
    if USUAL not in taken:
        return f"{interrupt_text(USUAL)} is what QEMU, kvmtool and crosvm use"
    free = next(intid for intid in range(USUAL, PPI_BASE, -1) if intid not in taken)
    return f"{interrupt_text(free)} is free"


@machine_rule("VMC508", Answer(IRQ), WARNING)
def pmu_ppi_is_not_el2s(machine: Machine) -> Iterator[Finding]:
    """Without EL2, a PMU's PPI is not 25, 26 or 28 either.

    KVM takes them, but guests expect the GIC's maintenance interrupt and the EL2 timers there. (BSA; measured on 6.1,
    6.12, 7.2)"""
    if machine.has_el2():
        return
    claimed = {claimed.intid for claimed in machine.claimed_ppis()}
    expected = EL2_ONLY.keys() - claimed
    clashing = [user for user in _users(machine) if user[0] in expected]
    if not clashing:
        return
    first = clashing[0]
    message = f"{_has_irq(first)}, which guests take for {EL2_ONLY[first[0]]}"
    related = _related(clashing, _at(first))
    yield Finding(_at(first), message, hint=_usual_hint(machine), related=related)


@machine_rule("VMC509", Answer(IRQ))
def pmu_spis_are_no_devices(machine: Machine) -> Iterator[Finding]:
    """A PMU's SPI is none of the monitor's own devices'.

    KVM takes it, and then drops the device's interrupt without an error: the SPI has an owner in the kernel.
    (vgic.c:vgic_validate_injection, linux 7.2)"""
    # Of devices that share an SPI, the first is named.
    devices: dict[int, int] = {}
    for index, device in enumerate(machine.devices):
        devices.setdefault(intid_of(device.irq), index)
    clashing = [user for user in _users(machine) if user[0] in devices and is_spi(user[0])]
    for at, user in _by_origin(clashing).items():
        index = devices[user[0]]
        name = machine.devices[index].name
        message = (
            f"{_has_irq(user)}, which is the device {name}'s:"
            " KVM would drop the device's interrupts"
        )
        hint = "give one of the two another SPI"
        related = ((("devices", index, "irq"), f"the device {name}"),)
        yield Finding(at, message, hint=hint, related=related)


@machine_rule("VMC510", Answer(SET_PMU, "ENODEV", "set"))
def pmu_settings_have_a_pmu(machine: Machine) -> Iterator[Finding]:
    """`pmu.device`, `pmu.counters` and `pmu.filter` are written for vCPUs with a PMU, and so with a PMU interrupt.

    (pmu-emul.c:kvm_arm_pmu_v3_set_attr; measured on 6.1, 6.12, 7.2)"""
    if machine.has_pmu():
        return
    for key, call in (("device", SET_PMU), ("counters", SET_NR_COUNTERS), ("filter", FILTER)):
        if getattr(machine.pmu, key) not in (None, ()):
            message = (
                f"pmu.{key} is written, but no vCPU has a PMU interrupt, and so none has a PMU"
            )
            hint = f"add 'irq: {USUAL}' to pmu"
            kernel = Answer(call, "ENODEV", "set")
            yield Finding(("pmu", key), message, hint=hint, on="key", kernel=kernel)


@machine_rule("VMC511", Answer(SET_NR_COUNTERS), WARNING)
def counters_have_a_device(machine: Machine) -> Iterator[Finding]:
    """`pmu.counters` is written with `pmu.device`.

    KVM's document demands it (Documentation/virt/kvm/devices/vcpu.rst, 1.5); its code takes the number without.
    (measured on 7.2)"""
    if machine.pmu.counters is not None and machine.pmu.device is None:
        message = "pmu.counters is written without pmu.device, which KVM's document demands"
        hint = "name the host's PMU: 'device: armv8_pmuv3_0'"
        yield Finding(("pmu", "counters"), message, hint=hint, on="key")


@machine_rule("VMC512", Answer(SET_NR_COUNTERS, "EINVAL", "set"))
def counters_in_range(machine: Machine) -> Iterator[Finding]:
    """A PMU has at most 31 event counters, which is what PMCR_EL0.N can say.

    A host's PMU has fewer, often 6. (pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters; measured on 7.2)"""
    counters = machine.pmu.counters
    if counters is not None and counters > COUNTERS_GREATEST:
        message = (
            f"pmu.counters is {counters}, but a PMU has at most {COUNTERS_GREATEST} event counters"
        )
        # What the attribute has no bits for is cut, and then is another number.
        kernel = NEVER_ASKED if counters > U32_GREATEST else None
        yield Finding(("pmu", "counters"), message, kernel=kernel)


@machine_rule("VMC513", Answer(FILTER, "EINVAL", "set"))
def filters_fit_the_events(machine: Machine) -> Iterator[Finding]:
    """A filter's events are at most 0xffff, the last that PMUv3 has.

    A host with PMUv3.0 has 0x3ff as its last, and refuses what is beyond. (pmu-emul.c:kvm_arm_pmu_v3_set_attr; measured
    on 6.1, 6.12, 7.2)"""
    for index, (_, events) in enumerate(machine.pmu.filter):
        if events.last > EVENT_GREATEST:
            message = (
                f"the filter's events {events} end beyond {EVENT_GREATEST:#x},"
                " the last that a PMU has"
            )
            # What the attribute has no bits for is cut, and then is another range.
            is_cut = max(events.first, events.last - events.first) > EVENT_GREATEST
            kernel = NEVER_ASKED if is_cut else None
            yield Finding(("pmu", "filter", index, "events"), message, kernel=kernel)


RULES = (
    pmu_irqs_of_one_kind,
    pmu_ppis_agree,
    pmu_spis_distinct,
    pmu_irqs_are_ppis_or_spis,
    all_vcpus_have_pmu_irqs,
    pmu_spis_below_nr_irqs,
    pmu_ppi_is_no_timers,
    pmu_ppi_is_not_el2s,
    pmu_spis_are_no_devices,
    pmu_settings_have_a_pmu,
    counters_have_a_device,
    counters_in_range,
    filters_fit_the_events,
)
