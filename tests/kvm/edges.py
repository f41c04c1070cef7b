"""Hypothesis strategies of descriptions for kernels: valid ones, invalid ones, and both near the
boundaries.

Each value is valid alone (no VMC1xx, no VMC3xx about ranges), so that there is always a machine.
Most values are drawn from those that a whole VM can have, and some from just outside.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

ODDS = 14
"""On average, one in so many values is drawn from outside the valid ones."""

KIB64 = 0x10000


def mostly(right: SearchStrategy[Any], odd: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Return values of `right`, and about one in ODDS of `odd`."""
    return st.integers(1, ODDS).flatmap(lambda number: odd if number == ODDS else right)


def spelled(number: int) -> SearchStrategy[int | str]:
    """Return the forms of a number: as it is, as text, in hex."""
    return st.sampled_from([number, str(number), hex(number)])


def intid(number: int) -> SearchStrategy[int | str]:
    """Return the forms of an INTID: in full, or as the number of a PPI or an SPI."""
    forms: list[int | str] = [number, str(number)]
    if 16 <= number < 32:
        forms.append(f"ppi:{number - 16}")
    if number >= 32:
        forms.append(f"spi:{number - 32}")
    return st.sampled_from(forms)


GOOD_PPIS = st.sampled_from([16, 20, 22, 23, 24, 29, 31])
ODD_PPIS = st.sampled_from([25, 26, 27, 28, 30])
ODD_INTIDS = st.sampled_from([0, 1, 7, 15, 1020, 1023, 1024, 8192])
SPIS = st.one_of(st.integers(32, 95), st.sampled_from([255, 256, 511, 512, 991, 992, 1019]))


@st.composite
def descriptions(
    draw: st.DrawFn, gic_versions: tuple[int, ...], most_ipa_bits: int
) -> dict[str, Any]:
    """Draw descriptions for a host that supports GICs of these versions and this number of bits of
    guest-physical addresses.
    """
    version = draw(st.sampled_from(gic_versions))
    few = 8 if version == 2 else 9
    count = draw(
        mostly(st.integers(1, few), st.sampled_from([9] if version == 2 else [16, 17, 33]))
    )
    written: dict[str, Any] = {
        "vmcfg": 1,
        "name": "edge",
        "host_kernel": draw(st.sampled_from(["6.1", "6.12", "7.2", "7.3"])),
    }
    if draw(st.booleans()):
        written["ipa_bits"] = draw(
            spelled(draw(mostly(st.integers(36, most_ipa_bits), st.sampled_from([32, 33]))))
        )
    bits = int(str(written.get("ipa_bits", 40)), 0)
    gic = (
        draw(st.sampled_from(["plan", "plan", "plan", "monitor", "none"]))
        if version == 3
        else "plan"
    )
    written["vcpus"] = draw(vcpus(count))
    if draw(st.integers(1, 4)) == 1:
        written["vcpu_ids"] = draw(st.sampled_from(["sequential", "mpidr"]))
    if draw(st.booleans()):
        written["memory"] = draw(memory(bits))
    if gic != "none":
        written["gic"] = draw(gics(version, gic, count, bits))
    draw(interrupts(written, count))
    if draw(st.booleans()):
        written["timers"] = draw(timers())
    if draw(st.integers(1, 3)) == 1:
        draw(the_rest(written))
    if draw(st.integers(1, 3)) == 1:
        draw(objects(written))
    return written


@st.composite
def the_rest(draw: st.DrawFn, written: dict[str, Any]) -> None:
    """Add any of these to a description: device, counters, and filters of the PMU, steal time,
    SMCCC filters, features, and devices.
    """
    if draw(st.booleans()):
        pmu = written.setdefault("pmu", {})
        if draw(st.booleans()):
            pmu["device"] = HOST_PMU
        if draw(st.booleans()):
            pmu["counters"] = draw(spelled(draw(st.integers(0, MOST_COUNTERS))))
        if draw(st.booleans()):
            pmu["filter"] = draw(st.lists(event_filters(), min_size=1, max_size=3))
    if draw(st.booleans()):
        slots = written.setdefault("memory", [{"base": "0x40000000", "size": "64KiB"}])
        start, size = (int(str(slots[0]["base"]), 0), 0x10000)
        at = mostly(
            st.just(start),
            st.sampled_from([start + 32, start + size - 64, start + size, start - 64, 0x10000]),
        )
        base = draw(spelled(max(0, draw(at))))
        written["steal_time"] = draw(st.sampled_from([base, {"base": base}]))
    if draw(st.booleans()):
        written["smccc_filter"] = draw(st.lists(smccc_filters(), min_size=1, max_size=3))
    if draw(st.booleans()):
        written["features"] = draw(
            st.lists(st.sampled_from(["sve", "ptrauth"]), min_size=1, max_size=2, unique=True)
        )
    if draw(st.booleans()):
        written["devices"] = [
            {"name": "uart", "irq": draw(intid(draw(mostly(st.integers(200, 250), SPIS))))},
            draw(st.sampled_from(OTHER_DEVICES)),
        ]


@st.composite
def objects(draw: st.DrawFn, written: dict[str, Any]) -> None:
    """Add any of these to a description: vector lengths, capabilities, registers, a read-only slot,
    and the strict PMU.
    """
    if draw(st.booleans()):
        written["capabilities"] = draw(st.lists(capabilities(), min_size=1, max_size=3))
    if draw(st.booleans()):
        written["registers"] = draw(st.lists(registers(), min_size=1, max_size=3))
    if draw(st.booleans()):
        features = written.get("features", [])
        written["features"] = features if "sve" in features else [*features, "sve"]
        written["sve"] = {"vector_lengths": draw(vector_lengths())}
    if draw(st.booleans()) and "memory" in written:
        draw(st.sampled_from(written["memory"]))["readonly"] = draw(st.booleans())
    if draw(st.booleans()):
        pmu = written.setdefault("pmu", {})
        pmu["strict"] = True
        if draw(mostly(st.just(True), st.just(False))):
            pmu["device"] = HOST_PMU


@st.composite
def capabilities(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an entry of capabilities: its argument can be missing, superfluous, or invalid."""
    name = draw(st.sampled_from(sorted(ARGUMENTS)))
    values = ARGUMENTS[name]
    odd = st.lists(st.sampled_from(ODD_ARGUMENTS), max_size=2)
    args = draw(mostly(st.sampled_from(values), odd))
    return {"name": name, "args": args} if args else {"name": name}


ARGUMENTS: dict[str, list[list[int]]] = {
    "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE": [[0], [0x1000], [0x20_0000], [0x4000_0000]],
    "KVM_CAP_ARM_NISV_TO_USER": [[]],
    "KVM_CAP_ARM_SEA_TO_USER": [[]],
    "KVM_CAP_ARM_SYSTEM_SUSPEND": [[]],
    "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS": [[]],
    "KVM_CAP_DIRTY_LOG_RING_ACQ_REL": [[0x1000], [0x1_0000], [0x10_0000]],
    "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP": [[]],
    "KVM_CAP_HALT_POLL": [[0], [200_000]],
    "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2": [[0], [1], [3]],
}
"""Valid arguments of each capability, on hosts with 4 KiB pages."""

ODD_ARGUMENTS = [0, 1, 2, 4, 0x800, 0x3000, 0x20_0000, 0x1_0000_0000, (1 << 64) - 1]


@st.composite
def registers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an entry of registers, of those whose valid values do not depend on the host."""
    name = draw(st.sampled_from(sorted(VALUES)))
    odd = st.sampled_from([0, 1, 4, 0x1_0004, 1 << 63])
    value = draw(mostly(st.sampled_from(VALUES[name]), odd))
    return {"name": name, "value": draw(spelled(value))}


VALUES = {
    "KVM_REG_ARM_PSCI_VERSION": [0x2, 0x1_0000, 0x1_0001, 0x1_0002, 0x1_0003],
    "KVM_REG_ARM_STD_BMAP": [0, 1],
    "KVM_REG_ARM_STD_HYP_BMAP": [0, 1],
    "KVM_REG_ARM_VENDOR_HYP_BMAP": [0, 1, 2, 3],
    "KVM_REG_ARM_VENDOR_HYP_BMAP_2": [0],
}


def vector_lengths() -> SearchStrategy[list[int]]:
    """Return lists of vector lengths: those of the emulated machine up to one, and others."""
    right = st.integers(1, len(VECTOR_LENGTHS)).map(lambda count: VECTOR_LENGTHS[:count])
    odd = st.lists(st.sampled_from([128, 192, 256, 512, 2048, 2176]), min_size=1, max_size=3)
    return mostly(right, odd)


VECTOR_LENGTHS = [128 * number for number in range(1, 17)]
"""The lengths of the emulated machine."""

OTHER_DEVICES: list[dict[str, Any]] = [
    {"name": "msi", "irq": "spi:150-160"},
    {"name": "rtc", "irq": 161, "base": "0x09000000", "size": "4KiB"},
    {"name": "flash", "base": 0, "size": "64MiB"},
]
"""Devices with a range of SPIs, with a frame, or with both."""

HOST_PMU = "armv8_pmuv3"
"""The only PMU of the emulated machine."""

MOST_COUNTERS = 6
"""The number of its counters."""


@st.composite
def event_filters(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an entry of pmu.filter, with events from 0 to 0xffff."""
    ends = sorted(
        draw(
            st.tuples(
                *[st.sampled_from([0, 1, 0x11, 0x3FF, 0x400, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF])] * 2
            )
        )
    )
    form = draw(st.sampled_from(["{0:#x}", "{0:#x}-{1:#x}", "{0}-{1}"]))
    return {"action": draw(st.sampled_from(["allow", "deny"])), "events": form.format(*ends)}


@st.composite
def smccc_filters(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an entry of smccc_filter: it can overlap, be reserved or empty, or exceed 32 bits."""
    base = draw(
        mostly(
            st.sampled_from(
                [0x8400_0000, "PSCI_0_2_FN_MIGRATE", "ARM_SMCCC_TRNG_RND64", 0x8600_0000]
            ),
            ODD_FUNCTIONS,
        )
    )
    count = draw(
        mostly(st.sampled_from([1, 1, 2, 5, 6, 0x100]), st.sampled_from([0x1_0000, 0xFFFF_FFFF]))
    )
    return {
        "action": draw(st.sampled_from(["handle", "deny", "forward"])),
        "base": base,
        "count": count,
    }


ODD_FUNCTIONS = st.sampled_from(
    [0, 0x7FFF_FFFF, 0x8000_0000, 0x8000_FFFF, 0xBFFF_FFFF, 0xC000_0000, 0xFFFF_FFFF]
)


@st.composite
def vcpus(draw: st.DrawFn, count: int) -> Any:
    """Draw this number of vCPUs: as a number, by MPIDRs of any kind, or by ranges of them."""
    form = draw(st.sampled_from(["number", "list", "list", "range"]))
    if form == "number":
        return draw(spelled(count))
    if form == "range" and count in (4, 8, 16):
        half = count // 2 - 1
        return [
            {
                "mpidr": draw(
                    st.sampled_from(
                        [f"0.0.0-1.0-{half}", f"0.0.{draw(st.integers(0, 31))}.0-{count - 1}"]
                    )
                )
            }
        ]
    levels = (
        st.just(0),
        st.just(0),
        st.sampled_from([0, 0, 0, 1, 2, 31, 32, 255]),
        st.integers(0, 15),
    )
    odd_levels = (
        st.sampled_from([0, 1, 255]),
        st.sampled_from([0, 1, 255]),
        levels[2],
        st.sampled_from([0, 15, 16, 255]),
    )
    affinities = draw(mostly(st.just(st.tuples(*levels)), st.just(st.tuples(*odd_levels))))
    unique = draw(mostly(st.just(True), st.just(False)))
    found = draw(st.lists(affinities, min_size=count, max_size=count, unique=unique))
    return [{"mpidr": ".".join(map(str, each))} for each in found]


@st.composite
def memory(draw: st.DrawFn, bits: int) -> list[dict[str, Any]]:
    """Draw one to three slots: separate, adjacent, overlapping, or too high for the bits."""
    bases = st.sampled_from([0, 0x4000_0000, 0x8000_0000, 0xC000_0000, (1 << bits) - 0x4000_0000])
    odd_bases = st.sampled_from(
        [0x4000_1000, 0x4000_0001, 0x0800_0000, 0x4000_0000 + KIB64, 1 << bits, (1 << 64) - KIB64]
    )
    sizes = st.sampled_from([KIB64, "64KiB", "1GiB", "1MiB", 0x4000_0000])
    odd_sizes = st.sampled_from(["4KiB", 1, 0, "2GiB", "7TiB", "8TiB", 0x7FF_FFFF_F000, "16TiB"])
    slots = draw(
        st.lists(
            st.tuples(mostly(bases, odd_bases), mostly(sizes, odd_sizes)), min_size=1, max_size=3
        )
    )
    if draw(mostly(st.just(True), st.just(False))):
        slots = list({base: (base, size) for base, size in slots}.values())
    return [{"base": draw(spelled(base)), "size": size} for base, size in slots]


@st.composite
def gics(draw: st.DrawFn, version: int, set_up_by: str, count: int, bits: int) -> dict[str, Any]:
    """Draw a GIC: its frames can overlap, be too small, or be incomplete."""
    written: dict[str, Any] = {"version": version}
    if set_up_by == "monitor":
        written["set_up_by"] = "monitor"
        if draw(st.booleans()):
            return written
    if draw(st.booleans()):
        nr_irqs = mostly(
            st.integers(2, 31).map(lambda number: number * 32), st.sampled_from([65, 100, 991])
        )
        written["nr_irqs"] = draw(nr_irqs)
    granule = KIB64 if version == 3 else 0x1000
    end = 1 << bits
    odd = st.sampled_from(
        [
            granule // 2,
            0x0800_0000 + granule // 16,
            end - granule,
            end,
            end - 2 * granule,
            0x4000_0000,
            0,
        ]
    )
    if draw(mostly(st.just(True), st.just(False))):
        written["distributor"] = draw(spelled(draw(mostly(st.just(0x0800_0000), odd))))
    if not draw(mostly(st.just(True), st.just(False))):
        return written
    if version == 3 and draw(st.integers(1, 4)) == 1:
        base = mostly(
            st.just(0x0900_0000),
            st.one_of(odd, st.sampled_from([0x0800_0000, 0x07FF_0000, 0x080A_0000])),
        )
        written["its"] = draw(
            mostly(
                st.just([0x0910_0000, 0x0912_0000]),
                st.one_of(base, st.lists(base, min_size=1, max_size=2)),
            )
        )
    if version == 3 and draw(st.integers(1, 6)) == 1:
        written["maintenance_irq"] = draw(
            intid(draw(mostly(st.just(25), st.sampled_from([15, 16, 27, 31, 32]))))
        )
    if version == 2:
        written["cpu_interface"] = draw(
            spelled(
                draw(
                    mostly(
                        st.just(0x0801_0000),
                        st.one_of(odd, st.sampled_from([0x0800_0000, 0x0800_1000, 0x07FF_F000])),
                    )
                )
            )
        )
        return written
    near = st.one_of(
        odd,
        st.sampled_from([0x0800_0000, 0x0801_0000, 0x07FF_0000, 0x0800_0000 - 0x2_0000 * count]),
    )
    if draw(st.integers(1, 3)) == 1:
        written["redistributors"] = draw(spelled(draw(mostly(st.just(0x080A_0000), near))))
        return written
    first = draw(mostly(st.integers(1, count), st.sampled_from([count - 1 or 1, 123, 4095])))
    regions: list[dict[str, Any]] = [
        {"base": draw(mostly(st.just(0x080A_0000), near)), "count": first}
    ]
    if first < count and draw(mostly(st.just(True), st.just(False))):
        base = draw(
            mostly(
                st.just(0x1000_0000),
                st.sampled_from([0x080A_0000 + first * 0x2_0000, 0x080B_0000, end - 0x2_0000]),
            )
        )
        regions.append({"base": base} | draw(st.sampled_from([{}, {"count": count - first}])))
    elif draw(st.booleans()) and first >= count:
        del regions[0]["count"]
    written["redistributors"] = regions
    return written


@st.composite
def interrupts(draw: st.DrawFn, written: dict[str, Any], count: int) -> None:
    """Add PMU interrupts to a description: none, one for all, or one each; all of one type, mixed,
    or invalid INTIDs.
    """
    form = draw(st.sampled_from(["none", "ppi", "ppi", "spis", "spis", "one spi", "each"]))
    gic = written.get("gic", {"set_up_by": "monitor"})
    end = gic.get("nr_irqs", 992 if "set_up_by" in gic else 256)
    spis = mostly(SPIS, st.sampled_from([end - 1, end, end + 1, min(end + 31, 1019)]))
    if form == "ppi":
        written["pmu"] = {
            "irq": draw(intid(draw(mostly(GOOD_PPIS, st.one_of(ODD_PPIS, ODD_INTIDS)))))
        }
    elif form == "spis":
        first = draw(
            mostly(
                st.integers(32, 64),
                st.sampled_from([31, end - count, end - count + 1, 992 - count, 1020 - count]),
            )
        )
        last = first + count - 1
        forms = [f"{first}-{last}"] + ([f"spi:{first - 32}-{last - 32}"] if first >= 32 else [])
        written["pmu"] = {"irq": draw(st.sampled_from(forms)) if count > 1 else first}
    elif form == "one spi":
        written["pmu"] = {"irq": draw(intid(draw(spis)))}
    entries = written["vcpus"]
    if form == "each" and isinstance(entries, list) and len(entries) == count:
        kind = draw(st.sampled_from(["spi", "spi", "mixed", "any"]))
        numbers = {
            "spi": spis,
            "mixed": st.one_of(GOOD_PPIS, SPIS),
            "any": st.one_of(GOOD_PPIS, ODD_PPIS, SPIS, ODD_INTIDS),
        }
        unique = draw(mostly(st.just(kind == "spi"), st.just(False)))
        for entry, number in zip(
            entries,
            draw(st.lists(numbers[kind], min_size=count, max_size=count, unique=unique)),
            strict=True,
        ):
            if draw(mostly(st.just(True), st.just(False))) or kind == "spi":
                entry["pmu_irq"] = draw(intid(number))


@st.composite
def timers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw PPIs of some timers: usually different, sometimes equal or not PPIs."""
    keys = draw(
        st.lists(
            st.sampled_from(["virtual", "physical", "hyp_virtual", "hyp_physical"]),
            max_size=4,
            unique=True,
        )
    )
    unique = draw(mostly(st.just(True), st.just(False)))
    known = st.sampled_from([27, 30]) if not unique else st.integers(16, 31)
    ppis = draw(st.lists(known, min_size=len(keys), max_size=len(keys), unique=unique))
    odd = st.sampled_from([0, 15, 32, 1019])
    return {
        key: draw(intid(draw(mostly(st.just(ppi), odd))))
        for key, ppi in zip(keys, ppis, strict=True)
    }


def text(description: dict[str, Any]) -> bytes:
    """Return a description as JSON, which is YAML."""
    return json.dumps(description).encode()
