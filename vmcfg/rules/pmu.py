"""VMC5xx: the PMU's overflow interrupts."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE, SPI_END, interrupt_text, is_ppi, is_spi
from vmcfg.description.model import COUNTERS, DEFAULT_TIMERS, EVENTS, MAINTENANCE, Pmu
from vmcfg.description.written import IrqRange, intid_of
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import NEVER_ASKED, WARNING, Answer
from vmcfg.kernel import abi
from vmcfg.kernel.limits import INTID_GREATEST, U32_GREATEST
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


def _bad_number(written: int | IrqRange | None) -> int | None:
    """The first number as written that is neither a PPI nor an SPI, or None where all of them are."""
    if written is None:
        return None
    if isinstance(written, int):
        return None if PPI_BASE <= written < SPI_END else written
    least, most = {"ppi": (0, 15), "spi": (0, SPI_END - SPI_BASE - 1), "": (PPI_BASE, SPI_END - 1)}[
        written.prefix
    ]
    if written.first < least:
        return written.first
    return max(most + 1, written.first) if written.last > most else None


def _passed(machine: Machine) -> list[Vcpu]:
    """The vCPUs with a PMU interrupt that is a PPI or an SPI, as VMC504 asserts; in the order of creation."""
    return [
        vcpu
        for vcpu in machine.vcpus
        if vcpu.pmu_irq is not None and _bad_number(vcpu.irq_written) is None
    ]


def _first_by_place(vcpus: list[Vcpu]) -> dict[Path, Vcpu]:
    """The first vCPU of each interrupt as written."""
    first: dict[Path, Vcpu] = {}
    for vcpu in vcpus:
        first.setdefault(vcpu.irq_at, vcpu)
    return first


def _said(vcpu: Vcpu) -> str:
    assert vcpu.pmu_irq is not None
    return f"vCPU {vcpu.name} has {interrupt_text(vcpu.pmu_irq)}"


@machine_rule("VMC501", Answer(IRQ))
def pmu_irqs_of_one_kind(machine: Machine) -> Iterator[Finding]:
    """The PMU interrupts of a VM are all PPIs or all SPIs.

    KVM's document demands it (Documentation/virt/kvm/devices/vcpu.rst, 1.1), but its code takes an SPI after a PPI,
    and only refuses a PPI after an SPI with EINVAL. (pmu-emul.c:pmu_irq_is_valid; measured on 6.1, 6.12, 7.2)"""
    vcpus = _passed(machine)
    ppis = [vcpu for vcpu in vcpus if is_ppi(vcpu.pmu_irq or 0)]
    if not ppis or len(ppis) == len(vcpus):
        return
    spis = [vcpu for vcpu in vcpus if is_spi(vcpu.pmu_irq or 0)]
    odd, rest = (spis, ppis) if ppis[0].irq_at <= spis[0].irq_at else (ppis, spis)
    refused = vcpus[0] in spis or any(_refused(vcpus, place) for place in range(1, len(vcpus)))
    message = (
        f"{_said(odd[0])}, but {_said(rest[0])}: a VM's PMU interrupts are all PPIs or all SPIs"
    )
    irq = rest[0].pmu_irq or 0
    hint = f"write {irq} for all" if is_ppi(irq) else "give each vCPU an SPI of its own"
    others = list(_first_by_place(rest[:1] + odd[1:]).values())
    related = tuple((vcpu.irq_at, _said(vcpu)) for vcpu in others if vcpu.irq_at != odd[0].irq_at)
    kernel = Answer(IRQ, "EINVAL", "set") if refused else None
    yield Finding(odd[0].irq_at, message, hint, related=related, kernel=kernel)


def _refused(vcpus: list[Vcpu], place: int) -> bool:
    """Whether KVM refuses the interrupt of `vcpus[place]` after those before it (pmu-emul.c:pmu_irq_is_valid)."""
    irq = vcpus[place].pmu_irq or 0
    earlier = {vcpu.pmu_irq for vcpu in vcpus[:place]}
    return bool(earlier - {irq}) if is_ppi(irq) else irq in earlier


@machine_rule("VMC502", Answer(IRQ, "EINVAL", "set"))
def pmu_ppis_agree(machine: Machine) -> Iterator[Finding]:
    """A PPI is the same number on every vCPU: it is one interrupt to the guest, private to each.

    (Documentation/virt/kvm/devices/vcpu.rst, 1.1; pmu-emul.c:pmu_irq_is_valid; measured on 6.1, 6.12, 7.2)"""
    vcpus = _passed(machine)
    numbers = {vcpu.pmu_irq for vcpu in vcpus}
    if len(numbers) < 2 or not all(is_ppi(number or 0) for number in numbers):
        return
    first = min(vcpus, key=lambda vcpu: vcpu.irq_at)
    counts = [vcpu.pmu_irq for vcpu in vcpus]
    usual = max(numbers, key=lambda number: (counts.count(number), number == first.pmu_irq))
    model = next(vcpu for vcpu in vcpus if vcpu.pmu_irq == usual)
    odd = [vcpu for vcpu in vcpus if vcpu.pmu_irq != usual]
    message = f"{_said(odd[0])}, but {_said(model)}: a PPI is the same on every vCPU"
    places = _first_by_place([model, *odd[1:]])
    related = tuple((at, _said(vcpu)) for at, vcpu in places.items() if at != odd[0].irq_at)
    hint = f"write {usual} for all, or once as 'pmu: {{irq: {usual}}}'"
    written = odd[0].irq_written
    fix = None
    if len(odd) == 1 and len(vcpus) > 2 and len(numbers) == 2:
        if isinstance(written, int):
            fix = str(usual)
        elif written is not None and written.first == written.last:
            fix = f"ppi:{(usual or 0) - PPI_BASE}" if written.prefix else str(usual)
    yield Finding(odd[0].irq_at, message, hint, related=related, fix=fix)


@machine_rule("VMC503", Answer(IRQ, "EINVAL", "set"))
def pmu_spis_distinct(machine: Machine) -> Iterator[Finding]:
    """An SPI is one vCPU's only: there is one of each number in a VM.

    (Documentation/virt/kvm/devices/vcpu.rst, 1.1; pmu-emul.c:pmu_irq_is_valid; measured on 6.1, 6.12, 7.2)"""
    vcpus = _passed(machine)
    if len({vcpu.pmu_irq for vcpu in vcpus}) == len(vcpus) or any(
        is_ppi(vcpu.pmu_irq or 0) for vcpu in vcpus
    ):
        return
    users: dict[int, list[Vcpu]] = {}
    for vcpu in sorted(vcpus, key=lambda vcpu: vcpu.irq_at):
        users.setdefault(vcpu.pmu_irq or 0, []).append(vcpu)
    for irq, sharing in users.items():
        if len(sharing) == 1:
            continue
        first, second = sharing[:2]
        message = f"{interrupt_text(irq)} of vCPU {second.name} is vCPU {first.name}'s already: an SPI is one vCPU's only"
        if first.irq_at == second.irq_at:
            who = f"{len(sharing)} vCPUs, {first.name} and {second.name} first"
            message = f"{interrupt_text(irq)} is given to {who}: an SPI is one vCPU's only"
        taken = set(users)
        free = next(
            (number for number in range(SPI_BASE, machine.nr_irqs()) if number not in taken), None
        )
        hint = (
            f"give each vCPU an SPI of its own; no PMU has {interrupt_text(free)} yet"
            if free
            else "give each vCPU an SPI of its own"
        )
        places = _first_by_place([first, *sharing[2:]])
        related = tuple((at, _said(vcpu)) for at, vcpu in places.items() if at != second.irq_at)
        yield Finding(second.irq_at, message, hint, related=related)


@machine_rule("VMC504", Answer(IRQ, "EINVAL", "set"))
def pmu_irqs_are_ppis_or_spis(machine: Machine) -> Iterator[Finding]:
    """A PMU interrupt is a PPI (INTID 16 to 31) or an SPI (INTID 32 to 1019).

    (pmu-emul.c:kvm_arm_pmu_v3_set_attr; measured on 6.1, 6.12, 7.2)"""
    for at, vcpu in _first_by_place(
        [vcpu for vcpu in machine.vcpus if vcpu.pmu_irq is not None]
    ).items():
        written = vcpu.irq_written
        bad = _bad_number(written)
        if bad is None or written is None:
            continue
        intid = bad if isinstance(written, int) else written.base + bad
        vcpus = [each for each in machine.vcpus if each.irq_at == at and each.pmu_irq == intid]
        who = (
            f"vCPU {vcpus[0].name} has"
            if len(vcpus) == 1
            else f"{len(vcpus)} vCPUs, {vcpus[0].name} first, have"
        )
        kernel = fix = None
        if isinstance(written, IrqRange) and written.prefix:
            kind, most = (
                written.prefix.upper(),
                15 if written.prefix == "ppi" else SPI_END - SPI_BASE - 1,
            )
            article = "a" if kind == "PPI" else "an"
            message = f"{who} {written.prefix}:{bad}, but {article} {kind}'s number is 0 to {most}"
            hint = _prefix_hint(written.prefix, bad)
            kernel = Answer(IRQ) if PPI_BASE <= intid < SPI_END else None
            fix = (
                str(bad)
                if written.prefix == "ppi" and is_ppi(bad) and written.first == written.last
                else None
            )
        else:
            message = (
                f"{who} {interrupt_text(bad)} as PMU interrupt, which is neither a PPI nor an SPI"
            )
            hint = "write a PPI, INTID 16 to 31, or an SPI, INTID 32 to 1019"
            if bad < PPI_BASE:
                hint = f"PPI {bad} is INTID {bad + PPI_BASE} (ppi:{bad}); SPI {bad} is INTID {bad + SPI_BASE} (spi:{bad})"
        if intid > INTID_GREATEST:
            kernel = NEVER_ASKED  # what an int has no bits for is cut, and then is another number
        yield Finding(at, message, hint, kernel=kernel, fix=fix)
    unused = all(vcpu.irq_at != ("pmu", "irq") for vcpu in machine.vcpus)
    if unused and _bad_number(machine.pmu.irq) is not None:
        message = "pmu.irq is neither a PPI nor an SPI; every vCPU has an interrupt of its own"
        yield Finding(("pmu", "irq"), message, "remove it", kernel=NEVER_ASKED)


def _prefix_hint(prefix: str, number: int) -> str:
    if prefix == "ppi" and is_ppi(number):
        return (
            f"PPI {number - PPI_BASE} is INTID {number}: write {number}, or ppi:{number - PPI_BASE}"
        )
    if prefix == "spi" and is_spi(number):
        return (
            f"SPI {number - SPI_BASE} is INTID {number}: write {number}, or spi:{number - SPI_BASE}"
        )
    return "ppi:0 is INTID 16, ppi:15 is INTID 31; spi:0 is INTID 32, spi:987 is INTID 1019"


@machine_rule("VMC505", Answer(VCPU_INIT, "EINVAL", "set", since=(6, 5)))
def all_vcpus_have_pmu_irqs(machine: Machine) -> Iterator[Finding]:
    """Either every vCPU has a PMU interrupt, or none has.

    vCPU features are VM-wide since 6.5: a vCPU with PMU_V3 beside one without is refused on 6.12 and 7.2, and
    taken on 6.1. (arm.c:kvm_vcpu_init_changed; measured)"""
    without = [vcpu for vcpu in machine.vcpus if vcpu.pmu_irq is None]
    having = _passed(machine)
    if not without or not having:
        return
    vcpu = min(without, key=lambda vcpu: vcpu.at)
    example = min(having, key=lambda vcpu: vcpu.irq_at)
    message = f"vCPU {vcpu.name} has no PMU interrupt, but {_said(example)}: all have one, or none"
    irq = example.pmu_irq or 0
    shared = f"add 'irq: {irq}' to pmu" if machine.pmu != Pmu() else f"add 'pmu: {{irq: {irq}}}'"
    hint = (
        f"{shared}, for all that have none"
        if is_ppi(irq)
        else "give it an SPI of its own: 'pmu_irq'"
    )
    others = dict.fromkeys(each.at for each in without if each.at != vcpu.at)
    related = ((example.irq_at, _said(example)), *((at, "none here either") for at in others))
    yield Finding(vcpu.at, message, hint, related=related)


@machine_rule("VMC506", Answer(INIT, "EINVAL", "init"))
def pmu_spis_below_nr_irqs(machine: Machine) -> Iterator[Finding]:
    """A PMU's SPI is below the GIC's number of INTIDs.

    That is `gic.nr_irqs`; where it is not written, 256 if the plan sets up the GIC, and 992, the most that KVM takes,
    if the monitor does. KVM takes any SPI at first and refuses at PMU INIT, when it can no longer be changed.
    (vgic.c:kvm_vgic_set_owner; measured on 6.1, 6.12, 7.2)"""
    limit = machine.nr_irqs()
    over = [
        vcpu
        for vcpu in _passed(machine)
        if is_spi(vcpu.pmu_irq or 0) and (vcpu.pmu_irq or 0) >= limit
    ]
    for at, vcpu in _first_by_place(over).items():
        most = max(each.pmu_irq or 0 for each in over if each.irq_at == at)
        written = machine.gic is not None and machine.gic.nr_irqs is not None
        bound = (
            f"nr_irqs is {limit}"
            if written or machine.sets_up_gic()
            else f"KVM takes {limit} INTIDs at most"
        )
        message = f"{_said(vcpu)}, but {bound}: the last SPI is {interrupt_text(limit - 1)}"
        needed = -(-(most + 1) // 32) * 32
        hint = (
            f"write 'nr_irqs: {needed}' under gic, or a lower SPI"
            if needed <= 992 and machine.gic
            else "write a lower SPI"
        )
        related = ((("gic", "nr_irqs"), f"{limit} INTIDs"),) if written else ()
        yield Finding(at, message, hint, related=related)


@machine_rule("VMC507", Answer("KVM_RUN", "EINVAL", "run"))
def pmu_ppi_is_no_timers(machine: Machine) -> Iterator[Finding]:
    """A PMU's PPI is none that a timer or the GIC takes at the first KVM_RUN.

    Those are `timers.virtual` and `timers.physical`, 27 and 30 where they are not written; with the feature `el2` also
    `timers.hyp_virtual` (28), `timers.hyp_physical` (26) and `gic.maintenance_irq` (25, where KVM says EEXIST). KVM
    takes the number and initialises the PMU; the timer then finds its PPI taken. (arch_timer.c:timer_irqs_are_valid;
    measured on 6.1, 6.12, 7.2, with EL2 on 7.2)"""
    claimed = {claimed.intid: claimed for claimed in reversed(machine.claimed_ppis())}
    clashing = [vcpu for vcpu in _passed(machine) if vcpu.pmu_irq in claimed]
    if not clashing:
        return
    places = _first_by_place(clashing)
    vcpu = next(iter(places.values()))
    owner = claimed[vcpu.pmu_irq or 0]
    message = f"{_said(vcpu)}, but that is taken by {owner.name}"
    related = [(at, _said(each)) for at, each in places.items() if at != vcpu.irq_at]
    if owner.written:
        related.insert(0, (owner.at, owner.name))
    kernel = Answer("KVM_RUN", "EEXIST", "run") if owner.at[0] == "gic" else None
    yield Finding(vcpu.irq_at, message, _usual_hint(machine), related=tuple(related), kernel=kernel)


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
    claimed = {claimed.intid for claimed in machine.claimed_ppis()}
    clashing = [vcpu for vcpu in _passed(machine) if vcpu.pmu_irq in EL2_ONLY.keys() - claimed]
    if not clashing or machine.has_el2():
        return
    places = _first_by_place(clashing)
    vcpu = next(iter(places.values()))
    message = f"{_said(vcpu)}, which guests take for {EL2_ONLY[vcpu.pmu_irq or 0]}"
    related = tuple((at, _said(each)) for at, each in places.items() if at != vcpu.irq_at)
    yield Finding(vcpu.irq_at, message, _usual_hint(machine), related=related)


@machine_rule("VMC509", Answer(IRQ))
def pmu_spis_are_no_devices(machine: Machine) -> Iterator[Finding]:
    """A PMU's SPI is none of the monitor's own devices'.

    KVM takes it, and then drops the device's interrupt without an error: the SPI has an owner in the kernel.
    (vgic.c:vgic_validate_injection, linux 7.2)"""
    devices = {
        intid_of(device.irq): index for index, device in reversed(list(enumerate(machine.devices)))
    }
    clashing = [
        vcpu for vcpu in _passed(machine) if vcpu.pmu_irq in devices and is_spi(vcpu.pmu_irq)
    ]
    for at, vcpu in _first_by_place(clashing).items():
        index = devices[vcpu.pmu_irq or 0]
        name = machine.devices[index].name
        message = (
            f"{_said(vcpu)}, which is the device {name}'s: KVM would drop the device's interrupts"
        )
        yield Finding(
            at,
            message,
            "give one of the two another SPI",
            related=((("devices", index, "irq"), f"the device {name}"),),
        )


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
            kernel = Answer(call, "ENODEV", "set")
            yield Finding(("pmu", key), message, "add 'irq: 23' to pmu", "key", kernel=kernel)


@machine_rule("VMC511", Answer(SET_NR_COUNTERS), WARNING)
def counters_have_a_device(machine: Machine) -> Iterator[Finding]:
    """`pmu.counters` is written with `pmu.device`.

    KVM's document demands it (Documentation/virt/kvm/devices/vcpu.rst, 1.5); its code takes the number without.
    (measured on 7.2)"""
    if machine.pmu.counters is not None and machine.pmu.device is None:
        message = "pmu.counters is written without pmu.device, which KVM's document demands"
        yield Finding(
            ("pmu", "counters"), message, "name the host's PMU: 'device: armv8_pmuv3_0'", "key"
        )


@machine_rule("VMC512", Answer(SET_NR_COUNTERS, "EINVAL", "set"))
def counters_in_range(machine: Machine) -> Iterator[Finding]:
    """A PMU has at most 31 event counters, which is what PMCR_EL0.N can say.

    A host's PMU has fewer, often 6. (pmu-emul.c:kvm_arm_pmu_v3_set_nr_counters; measured on 7.2)"""
    if machine.pmu.counters is not None and machine.pmu.counters > COUNTERS.greatest:
        message = f"pmu.counters is {machine.pmu.counters}, but a PMU has at most {COUNTERS.greatest} event counters"
        kernel = (
            NEVER_ASKED if machine.pmu.counters > U32_GREATEST else None
        )  # what it has no bits for is cut
        yield Finding(("pmu", "counters"), message, kernel=kernel)


@machine_rule("VMC513", Answer(FILTER, "EINVAL", "set"))
def filters_fit_the_events(machine: Machine) -> Iterator[Finding]:
    """A filter's events are at most 0xffff, the last that PMUv3 has.

    A host with PMUv3.0 has 0x3ff as its last, and refuses what is beyond. (pmu-emul.c:kvm_arm_pmu_v3_set_attr; measured
    on 6.1, 6.12, 7.2)"""
    for index, (_, events) in enumerate(machine.pmu.filter):
        if events.last > EVENTS.greatest:
            message = f"the filter's events {events} end beyond {EVENTS.greatest:#x}, the last that a PMU has"
            # What the attribute has no bits for is cut, and then is another range.
            kernel = (
                None
                if events.first <= EVENTS.greatest and events.last - events.first <= EVENTS.greatest
                else NEVER_ASKED
            )
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
