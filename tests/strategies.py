"""Hypothesis strategies of VM descriptions, as JSON data.

`descriptions` are valid: no rule finds an error in one. `shapes` follow only the model: every value
fits its field, or is just outside, and values can contradict each other. In `near_misses`, this is
so for one value, which alone decides whether the description is valid. `mutants` are documents with
a few changes, as people make them. `json_text` writes each of them so that a YAML reader reads the
same data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.description.kinds import (
    Choice,
    Events,
    FunctionId,
    Interrupt,
    KernelVersion,
    Mpidr,
    Name,
    Number,
    Size,
)
from vmcfg.description.model import Description, Either, ListOf, every_field, fields, required

Json = Any
"""The type that json.loads returns, without floats: a description never contains one."""

INT64 = 1 << 64
WHALE = "\U0001f40b"
"""A character above U+FFFF: two UTF-16 units, one code point."""


def json_text(document: Json, compact: bool = False) -> str:
    """Return `document` as one line of JSON, in ASCII except for characters above U+FFFF: JSON can
    escape these only as two surrogates.
    """
    text = json.dumps(document, separators=(",", ":") if compact else None, ensure_ascii=False)
    return "".join(
        char if " " <= char <= "~" or char > "\uffff" else f"\\u{ord(char):04x}" for char in text
    )


# Valid descriptions -------------------------------------------------------------------------------


@st.composite
def descriptions(draw: st.DrawFn, most_vcpus: int = 24) -> dict[str, Json]:
    """Draw descriptions without findings; together, they contain every form of every key."""
    gic = draw(st.sampled_from([None, "monitor", 2, 3, 3]))
    count = draw(st.integers(1, 8 if gic == 2 else most_vcpus))
    nr_irqs = 32 * draw(st.integers(-(-(32 + count) // 32), 31))
    written: dict[str, Json] = {
        "vmcfg": 1,
        "name": draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")),
    }
    written["vcpus"] = draw(_vcpus(count))
    if draw(st.booleans()):
        written["vcpu_ids"] = "sequential"
    if draw(st.booleans()):
        written["ipa_bits"] = draw(st.integers(40, 52))
    kernels = ["6.10", "6.12", "7.2"] if isinstance(written["vcpus"], list) else ["6.4", "6.12"]
    written["host_kernel"] = draw(st.sampled_from(kernels))
    if draw(st.booleans()):
        written["memory"] = [
            {"base": "0x40000000", "size": "1GiB"},
            {"base": 0x8000_0000, "size": 0x10000},
        ]
    timers = draw(st.permutations(range(16, 32)))
    if gic is not None:
        written["gic"] = draw(_gic(gic, count, nr_irqs))
    draw(_interrupts(written, count, nr_irqs if gic is not None else 992, timers[2:]))
    if draw(st.booleans()):
        written["timers"] = {"virtual": timers[0], "physical": f"ppi:{timers[1] - 16}"}
    return written


@st.composite
def _vcpus(draw: st.DrawFn, count: int) -> Json:
    """Draw a number, or entries for as many vCPUs in any order, with MPIDRs for a GICv3."""
    if draw(st.booleans()):
        return count
    ids = draw(st.lists(st.integers(0, 511), min_size=count, max_size=count, unique=True))
    mpidrs = [mpidr_of_id(number) | draw(st.sampled_from([0, 0, 0, 7 << 16])) for number in ids]
    return [{"mpidr": mpidr_text(mpidr)} for mpidr in mpidrs]


@st.composite
def _gic(draw: st.DrawFn, gic: Json, count: int, nr_irqs: int) -> Json:
    written: dict[str, Json] = {"nr_irqs": nr_irqs}
    if gic == "monitor":
        return {**written, "version": 3, "set_up_by": "monitor"}
    written |= {"version": gic, "distributor": draw(st.sampled_from(["0x08000000", 0x0800_0000]))}
    if gic == 2:
        return {**written, "cpu_interface": "0x08010000"}
    first = draw(st.integers(1, count))
    forms = [
        "0x080a0000",
        [{"base": "0x080a0000"}],
        [{"base": 0x080A_0000, "count": first}, {"base": "0x10000000"}],
        [{"base": "0x080a0000", "count": count}],
    ]
    return {**written, "redistributors": draw(st.sampled_from(forms))}


@st.composite
def _interrupts(
    draw: st.DrawFn, written: dict[str, Json], count: int, nr_irqs: int, ppis: list[int]
) -> None:
    """Add PMU interrupts to a description: none, one PPI, or one SPI per vCPU; in 'pmu' or in the
    entry of each vCPU.
    """
    form = draw(st.sampled_from(["none", "ppi", "spi"]))
    if form == "none":
        return
    free = [ppi for ppi in ppis if ppi not in (25, 26, 27, 28, 30)]
    first = draw(st.integers(32, nr_irqs - count))
    entries = written["vcpus"]
    if isinstance(entries, list) and draw(st.booleans()):
        for place, entry in enumerate(entries):
            entry["pmu_irq"] = free[0] if form == "ppi" else f"spi:{first + place - 32}"
    elif form == "ppi":
        written["pmu"] = {"irq": draw(st.sampled_from([free[0], f"ppi:{free[0] - 16}"]))}
    else:
        last = first + count - 1
        written["pmu"] = {
            "irq": draw(st.sampled_from([f"{first}-{last}", f"spi:{first - 32}-{last - 32}"]))
        }


# Values that the model allows ---------------------------------------------------------------------


def _number_texts() -> SearchStrategy[str]:
    """Return texts that are numbers, and texts that are almost numbers: with leading zeros, a digit
    too many, an upper-case X, signs, or spaces.
    """
    digits = st.one_of(
        st.integers(0, 5000),
        st.sampled_from([0, 9, 10, INT64 - 1, INT64, 10**19 - 1, 10**19, 10**60]),
    )
    return st.one_of(
        digits.map(str),
        digits.map(hex),
        digits.map(lambda number: f"0x{number:016X}"),
        digits.map(lambda number: f"0x{number:017x}"),
        digits.map(lambda number: f"0{number}"),
        st.sampled_from(
            [
                "",
                "0x",
                "0X10",
                "+1",
                "-1",
                " 1",
                "1 ",
                "1\n",
                "1_0",
                "1:30",
                "1.0",
                "1e3",
                "\u0661",
                "²",
            ]
        ),
    )


_AFFINITY_TEXTS = [
    "0",
    "0",
    "1",
    "15",
    "16",
    "0-3",
    "255",
    "256",
    "3-1",
    "99999",
    "100000",
    "01",
    "",
    "-",
    "1-",
    "0x1",
]


def _texts(kind: type) -> SearchStrategy[str]:
    """Return texts near those that a kind of scalar accepts."""
    if kind is Name:
        return st.one_of(
            st.text("Aa0._- \n/é", max_size=4),
            st.integers(61, 65).map("n".__mul__),
            st.just("edge-gateway"),
        )
    if kind is KernelVersion:
        number = st.sampled_from(["0", "6", "12", "99999", "100000", "06", "", "6.1"])
        return st.tuples(number, st.sampled_from([".", ".", ".", ",", ""]), number).map("".join)
    if kind is Size:
        unit = st.sampled_from(
            ["", "KiB", "MiB", "GiB", "TiB", "K", "MB", " MiB", "kib", "PiB", "KiB\n"]
        )
        return st.tuples(
            st.one_of(_number_texts(), st.sampled_from(["9999999999", "10000000000"])), unit
        ).map("".join)
    if kind is Mpidr:
        four = st.lists(st.sampled_from(_AFFINITY_TEXTS[:9]), min_size=4, max_size=4)
        any_ = st.lists(st.sampled_from(_AFFINITY_TEXTS), min_size=3, max_size=5)
        return st.one_of(four, any_).map(".".join)
    if kind is Interrupt:
        prefix = st.sampled_from(["", "", "ppi:", "spi:", "sgi:", "PPI:", "ppi", "spi: ", ":"])
        last = st.one_of(st.just(""), st.just(""), st.just("-"), _number_texts().map("-".__add__))
        return st.tuples(prefix, _number_texts(), last).map("".join)
    if kind is Events:
        last = st.one_of(st.just(""), st.just("-"), _number_texts().map("-".__add__))
        return st.tuples(_number_texts(), last).map("".join)
    return _number_texts()


def _numbers(least: int, greatest: int) -> SearchStrategy[int]:
    """Return integers of a field, and those just outside."""
    edges = [
        least - 1,
        least,
        greatest,
        greatest + 1,
        -1,
        0,
        INT64 - 1,
        INT64,
        -INT64,
        10**19,
        10**400,
    ]
    return st.one_of(st.integers(least, greatest), st.sampled_from(edges))


def scalars(kind: Any) -> SearchStrategy[Json]:
    """Return values near those that a scalar kind of the model accepts."""
    if isinstance(kind, Choice):
        written = [*kind.choices, *map(str, kind.choices)]
        numbers = [number for number in kind.choices if isinstance(number, int)]
        spelled = [f"0x{number:0{width}x}" for number in numbers for width in (1, 2, 16, 17)]
        return st.sampled_from(
            [*written, *spelled, *[f"0{number}" for number in numbers], 0, 4, "", "Plan"]
        )
    if isinstance(kind, Number):
        return st.one_of(_numbers(kind.least, kind.greatest), _texts(Number))
    if isinstance(kind, FunctionId):
        names = st.sampled_from(["PSCI_0_2_FN64_CPU_ON", "ARM_SMCCC_TRNG_RND64"])
        other_names = st.sampled_from(["psci_0_2_fn64_cpu_on", "CPU_ON", "PSCI_0_2_FN64_CPU_ON\n"])
        return st.one_of(_numbers(kind.least, kind.greatest), _texts(Number), names, other_names)
    if isinstance(kind, (Size, Interrupt, Events)):
        greatest = (
            INT64 - 1
            if isinstance(kind, Size)
            else 0xFFFF
            if isinstance(kind, Events)
            else (1 << 31) - 1
        )
        return st.one_of(_numbers(0, greatest), _texts(type(kind)))
    return _texts(type(kind))


def values(kind: Any) -> SearchStrategy[Json]:
    """Return values of any kind of the model; scalars are near those that the kind accepts."""
    if isinstance(kind, Either):
        return st.one_of(scalars(kind.scalar), values(kind.full))
    if isinstance(kind, ListOf):
        return st.lists(values(kind.item), max_size=3)
    return mappings(kind) if isinstance(kind, type) else scalars(kind)


@cache
def mappings(kind: Any) -> SearchStrategy[dict[str, Json]]:
    """Return mappings of a class of the model: with every required key and any of the others."""
    known = fields(kind)
    needed = {key: values(known[key].kind) for key in required(kind)}
    return st.fixed_dictionaries(
        needed,
        optional={key: values(field.kind) for key, field in known.items() if key not in needed},
    )


def shapes() -> SearchStrategy[dict[str, Json]]:
    """Return documents with keys of the model, each with a value near those of its field."""
    return mappings(Description)


def everything(kind: Any = Description) -> dict[str, Json]:
    """Return a mapping with every key and its example in the model; lists if the model has one."""
    written = {}
    for key, field in fields(kind).items():
        lists = [example for example in field.examples if isinstance(example, list)]
        written[key] = [*lists, *field.examples][0] if field.examples else everything(field.kind)
    return written


@st.composite
def near_misses(draw: st.DrawFn) -> dict[str, Json]:
    """Draw documents with every key, in which one value is near those that its field accepts, and
    all others are valid.
    """
    document: Json = json.loads(json.dumps(everything()))
    path, field = draw(st.sampled_from(sorted(every_field().items(), key=lambda each: each[0])))
    *outer, key = path.split(".")
    container = document
    for step in outer:
        container = container[step]
        container = container[0] if isinstance(container, list) else container
    container[key] = draw(values(field.kind))
    return document  # type: ignore[no-any-return]  # it was a dict before it became JSON


# Changes ------------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    [
        "x-mine",
        "x-",
        "xmine",
        "X-mine",
        "$schema",
        "<<",
        "cpus",
        "irq",
        "base",
        "pmu_irq",
        "version",
        "",
        "~",
        "a/b",
        "name ",
    ]
) | st.text(max_size=3)


def anything() -> SearchStrategy[Json]:
    """Return small JSON values of every kind, with texts that YAML readers can read as numbers."""
    words = [
        "yes",
        "no",
        "null",
        "~",
        "true",
        "0.0.0.0",
        "23",
        "0x17",
        "023",
        "1:30",
        "6.10",
        "2026-01-02",
        "\U0001f40b",
    ]
    scalar = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 70),
        st.sampled_from([1 << 31, INT64, -INT64, 10**4000]),
        st.sampled_from(words),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    )
    return st.recursive(
        scalar,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
        max_leaves=6,
    )


def _inside(document: Json) -> list[tuple[Json, Any]]:
    """Return every position in a document: the container, and the key or index in it."""
    found: list[tuple[Json, Any]] = []
    pending = [document]
    while pending:
        container = pending.pop()
        steps = list(container) if isinstance(container, dict) else range(len(container))
        for step in steps:
            found.append((container, step))
            if isinstance(container[step], (dict, list)):
                pending.append(container[step])
    return found


def _remove(draw: st.DrawFn, container: Json, step: Any) -> None:
    del container[step]


def _replace(draw: st.DrawFn, container: Json, step: Any) -> None:
    container[step] = draw(anything())


def _rename(draw: st.DrawFn, container: Json, step: Any) -> None:
    if isinstance(container, dict):
        value = container.pop(step)
        container[draw(_KEYS)] = value


def _add(draw: st.DrawFn, container: Json, step: Any) -> None:
    if isinstance(container, dict):
        container.setdefault(draw(_KEYS), draw(anything()))
    else:
        container.insert(step, draw(anything()))


def _wrap(draw: st.DrawFn, container: Json, step: Any) -> None:
    container[step] = draw(st.sampled_from([[container[step]], {"base": container[step]}]))


def _respell(draw: st.DrawFn, container: Json, step: Any) -> None:
    """Change a value: a number to text or the reverse, by 1, or with characters added around it."""
    value = container[step]
    if isinstance(value, int):
        container[step] = draw(
            st.sampled_from([str(value), hex(value), value + 1, -value, value << 40, f"{value}.0"])
        )
    elif isinstance(value, str):
        container[step] = draw(
            st.sampled_from(
                [value + "\n", " " + value, value.upper(), value[:-1], f"[{value}]", ""]
            )
        )


CHANGES: tuple[Callable[[st.DrawFn, Json, Any], None], ...] = (
    _remove,
    _replace,
    _rename,
    _add,
    _wrap,
    _respell,
)


@st.composite
def mutants(draw: st.DrawFn, documents: SearchStrategy[Json]) -> Json:
    """Draw documents of another strategy, each with one to three changes at any position."""
    document = json.loads(json.dumps(draw(documents)))
    for _ in range(draw(st.integers(1, 3))):
        places = _inside(document)
        if places:
            container, step = draw(st.sampled_from(places))
            draw(st.sampled_from(CHANGES))(draw, container, step)
    return document
