"""What the performer prints, read from a console among anything else that appears there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from vmcfg.kernel.host_pmus import HostPmu
from vmcfg.kernel.version import release_of
from vmcfg.trial.plan_lines import Answers

MARK = b"vmcfg:"
DONE = MARK + b"done"

_FNV_START, _FNV_PRIME = 0x811C9DC5, 0x01000193

_ONE = re.compile(r"(missed|chosen|unknown|no-memory) ([0-9]{1,9})")
_TWO = re.compile(r"(failed|run) ([0-9]{1,9}) ([0-9]{1,5})")
_GOT = re.compile(r"got ([0-9]{1,9}) ((?:[0-9a-f]{2}){1,2048})")
_PMU = re.compile(r"pmu (\S+) ([0-9]{1,9}) (\S+)")
_OF = re.compile(r"of ([0-9a-f]{8})")
_END = re.compile(r"end ([0-9]{1,9}) ([0-9]{1,10})")


class Garbled(Exception):
    """The output of the performer is damaged; the text is one sentence without the console."""


class Transcript(NamedTuple):
    """The output of the performer. `no_kvm` is the errno of opening /dev/kvm."""

    release: str
    pmus: Mapping[str, HostPmu]
    no_kvm: int | None
    plans: Mapping[int, Answers]
    is_done: bool
    page_size: int


def transcript(console: bytes) -> Transcript | None:
    """Return what the performer printed; None if it did not start. Raises `Garbled`."""
    lines = [line.rstrip(b"\r") for line in console.split(b"\n")]
    told = [line[len(MARK) :].decode("ascii", "replace") for line in lines if line.startswith(MARK)]
    if not told:
        return None
    words = dict.fromkeys(("release", "version"), "")
    pmus: dict[str, HostPmu] = {}
    no_kvm = None
    page_size = 0
    plans: dict[int, Answers] = {}
    at = 0
    while at < len(told):
        word, _, rest = told[at].partition(" ")
        if word in words:
            words[word] = rest
        elif pmu := _PMU.fullmatch(told[at]):
            pmus[pmu[1]] = HostPmu(int(pmu[2]), pmu[3])
        elif word == "page-size" and rest.isdecimal():
            page_size = int(rest)
        elif word == "none" and rest.isdecimal():
            no_kvm = int(rest)
        elif word == "plan" and rest.isdecimal():
            at = _read_plan(told, at, int(rest), plans)
        elif word != "done":
            raise Garbled(f"the guest printed an unknown line: {told[at]!r}")
        at += 1
    if not re.match(r"[0-9]+\.[0-9]+", words["release"]):
        raise Garbled("the guest did not print its kernel version")
    release = release_of(words["release"], words["version"])
    return Transcript(release, pmus, no_kvm, plans, told[-1] == "done", page_size)


def _read_plan(told: list[str], first: int, number: int, plans: dict[int, Answers]) -> int:
    """Add the answers to a plan that begins at line `first`. Return the number of its last line.

    A plan that does not end is not added.
    """
    total = _FNV_START
    for at in range(first + 1, len(told)):
        end = _END.fullmatch(told[at])
        if end is None:
            for byte in b"%s%s\n" % (MARK, told[at].encode("ascii", "replace")):
                total = (total ^ byte) * _FNV_PRIME & 0xFFFFFFFF
            continue
        if (int(end[1]), int(end[2])) != (number, total):
            raise Garbled(f"the answers of the guest to plan {number} are damaged")
        plans[number] = _answers(told[first + 1 : at])
        return at
    return len(told)


def _answers(lines: list[str]) -> Answers:
    numbers: dict[str, list[int]] = {}
    errnos: dict[str, dict[int, int]] = {"failed": {}, "run": {}}
    got: dict[int, bytes] = {}
    is_without_pmu = False
    key = ""
    for line in lines:
        if one := _ONE.fullmatch(line):
            numbers.setdefault(one[1], []).append(int(one[2]))
        elif two := _TWO.fullmatch(line):
            errnos[two[1]][int(two[2])] = int(two[3])
        elif value := _GOT.fullmatch(line):
            got[int(value[1])] = bytes.fromhex(value[2])
        elif line == "without-pmu":
            is_without_pmu = True
        elif of := _OF.fullmatch(line):
            key = of[1]
        else:
            raise Garbled(f"the guest printed an unknown answer: {line!r}")
    return Answers(
        errnos["failed"],
        frozenset(numbers.get("missed", ())),
        frozenset(numbers.get("chosen", ())),
        got,
        errnos["run"],
        next(iter(numbers.get("unknown", ())), None),
        next(iter(numbers.get("no-memory", ())), None),
        is_without_pmu,
        key,
    )
