"""The example of each rule: a description that breaks it, chosen from the cases of the tests."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "examples"

EXAMPLES = {
    "VMC100": "unclosed-list",
    "VMC101": "latin-1",
    "VMC102": "two-documents",
    "VMC103": "duplicate-key",
    "VMC104": "list-as-key",
    "VMC105": "tag",
    "VMC106": "no-such-anchor",
    "VMC107": "aliases-multiply",
    "VMC108": "merge-key",
    "VMC109": "forgotten-dash",
    "VMC110": "misspelt",
    "VMC111": "no-vcpus",
    "VMC120": "octal",
    "VMC121": "65-bits",
    "VMC122": "kernel-is-float",
    "VMC123": "action",
    "VMC124": "name-with-space",
    "VMC125": "integer",
    "VMC126": "cell",
    "VMC127": "decimal-unit",
    "VMC128": "three-numbers",
    "VMC129": "events",
    "VMC201": "ipa-bits",
    "VMC202": "unaligned-base",
    "VMC203": "overlap",
    "VMC204": "beyond",
    "VMC205": "128-tib",
    "VMC206": "4-kib",
    "VMC207": "8-tib",
    "VMC301": "duplicate-mpidr",
    "VMC302": "fewer-interrupts",
    "VMC303": "backwards",
    "VMC304": "number",
    "VMC305": "no-vcpu",
    "VMC306": "aff0-300",
    "VMC307": "aff3",
    "VMC308": "aff0-16",
    "VMC309": "aff0-16",
    "VMC310": "nine-vcpus",
    "VMC311": "twice",
    "VMC312": "mpidr-as-id",
    "VMC313": "el1-32bit-with-mte",
    "VMC314": "e2h0",
    "VMC315": "no-sve",
    "VMC316": "gap",
    "VMC317": "twice",
    "VMC318": "chunk-size",
    "VMC319": "bitmap-first",
    "VMC320": "twice",
    "VMC321": "psci",
    "VMC322": "midr",
    "VMC323": "bytes",
    "VMC401": "too-few",
    "VMC402": "count",
    "VMC403": "no-region",
    "VMC404": "1024",
    "VMC405": "distributor",
    "VMC406": "beyond",
    "VMC407": "redistributors-over-distributor",
    "VMC408": "in-memory",
    "VMC409": "no-distributor",
    "VMC410": "cpu-interface",
    "VMC411": "spi",
    "VMC412": "without-el2",
    "VMC413": "ppi",
    "VMC414": "same-name",
    "VMC416": "over-memory",
    "VMC417": "one-line",
    "VMC418": "nothing",
    "VMC501": "spi-after-ppi",
    "VMC502": "ppis-differ",
    "VMC503": "spi-twice",
    "VMC504": "sgi",
    "VMC505": "one-without",
    "VMC506": "over-256",
    "VMC507": "virtual-timers",
    "VMC508": "maintenance",
    "VMC509": "uart",
    "VMC510": "no-interrupt",
    "VMC511": "no-device",
    "VMC512": "forty",
    "VMC513": "beyond",
    "VMC514": "sw-incr",
    "VMC515": "no-device",
    "VMC601": "spi",
    "VMC602": "default",
    "VMC603": "unaligned",
    "VMC604": "no-slot",
    "VMC605": "in-distributor",
    "VMC606": "wraps",
    "VMC607": "overlap",
    "VMC608": "reserved",
    "VMC609": "range",
    "VMC610": "denied",
    "VMC611": "lost-0x",
    "VMC701": "set-mpidr",
    "VMC702": "counters",
    "VMC703": "5.10",
    "VMC704": "el2",
    "VMC706": "clusters",
    "VMC708": "chunk-size",
    "VMC709": "id-register",
    "VMC710": "no-mpidr-0",
}
"""The case in tests/cases that explains a rule: short, and typical of the rule. VMC501:
"spi-after-ppi" means VMC501-spi-after-ppi.yaml.

Rules that only hosts, options, or a kernel can break (`Rule.found_by`) have no case and no entry.
"""


def example_name(rule_id: str) -> str | None:
    """Return the file name of the example of a rule; None if the rule has no example."""
    case = EXAMPLES.get(rule_id)
    return None if case is None else f"{rule_id}-{case}.yaml"


def example_of(rule_id: str) -> Path | None:
    """Return the path of the example of a rule; None if the rule has no example."""
    name = example_name(rule_id)
    return None if name is None else FOLDER / name


def chosen_cases(cases: Path) -> list[Path]:
    """Return the cases in the directory `cases` that are examples, in the order of their rules."""
    return [cases / f"{rule_id}-{case}.yaml" for rule_id, case in EXAMPLES.items()]
