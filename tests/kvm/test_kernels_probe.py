"""The commands on a real kernel: probe in all its forms, and the report and exit codes of try."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest

from tests.kvm import machine, oracle
from tests.kvm.images import run
from vmcfg.kernel.abi import INTERRUPT_DEVICES
from vmcfg.kernel.features import FEATURES, STRICT_PMU, VCPU_FEATURES
from vmcfg.kernel.host import HostRegister
from vmcfg.kernel.register_fields import Field, fields_of
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.version import NEVER
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules.registers_on_hosts import limits_of
from vmcfg.trial.boot import answers_in
from vmcfg.trial.emulated import CPU

RUNS = {
    "probe": "python3 -m vmcfg probe --format json",
    "script": "python3 -m vmcfg probe --script > /tmp/script; cd /; python3 - < /tmp/script",
    "same": "python3 -m vmcfg probe --format json > /tmp/host; python3 -m vmcfg probe "
    "--compare /tmp/host",
    "changed": 'sed s/.KVM_CAP_NR_VCPUS.:.[0-9]*/\\"KVM_CAP_NR_VCPUS\\":99/ /tmp/host > /tmp/other;'
    " python3 -m vmcfg probe --compare /tmp/other",
    "try": "python3 -m vmcfg try --format json minimal.yaml",
    "plan": "python3 -m vmcfg emit --scope vm --format jsonl spi.yaml | python3 -m vmcfg try "
    "-v --plan -",
    "cut plan": "python3 -m vmcfg emit --scope vm --format jsonl spi.yaml | head -n 9 | "
    "python3 -m vmcfg try --plan -",
    "refused": "python3 -m vmcfg try --format json --unchecked VMC502-ppis-differ.yaml",
    "not run": "python3 -m vmcfg try --format json --no-run minimal.yaml",
    "not permitted": 'chmod 600 /dev/kvm; chmod -R a+rX /work; python3 -c "import os; '
    "os.setuid(65534);"
    " os.execvp('python3', ['python3', '-m', 'vmcfg', 'try', 'minimal.yaml'])\"",
    "no /dev/kvm": "rm /dev/kvm; python3 -m vmcfg try minimal.yaml",
}


def script(commands: Iterable[str]) -> str:
    """Return a shell script that prints exit code, output, and errors of each command."""
    return "".join(
        f'({command}) > /tmp/out 2> /tmp/err; printf "%s\\n" "$?"; base64 -w 0 /tmp/out; echo; '
        f"base64 -w 0 /tmp/err; echo\n"
        for command in commands
    )


IN_THE_GUEST = ("6.1", "7.3")
"""The kernels on which vmcfg itself runs; on the others, the image is probed."""

CARRIED = (
    "sample-configs/minimal.yaml",
    "sample-configs/spi.yaml",
    "tests/cases/VMC502-ppis-differ.yaml",
)


@cache
def results(series: str) -> dict[str, tuple[int, str, str]]:
    """Return exit code, standard output, and standard error of each run, all in one boot."""
    from base64 import b64decode

    files = oracle.package() | {
        f"/work/{path.rpartition('/')[2]}": (oracle.ROOT / path).read_bytes() for path in CARRIED
    }
    command = ["sh", "-c", script(RUNS.values())]
    done = machine.run(oracle.kernel(series), files, command, cpu=CPU)
    lines = done.stdout.decode().split("\n")
    said = zip(RUNS, lines[0::3], lines[1::3], lines[2::3], strict=False)
    return {
        name: (int(code), b64decode(out).decode(), b64decode(err).decode())
        for name, code, out, err in said
    }


@cache
def host_file(series: str) -> dict[str, Any]:
    """Return the host file of the machine with the kernel of a series."""
    if series in IN_THE_GUEST:
        code, out, err = results(series)["probe"]
    else:
        done = run("probe", "--image", str(oracle.kernel(series).image), "--format", "json")
        code, out, err = done.returncode, done.stdout, done.stderr
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def schema(name: str) -> dict[str, Any]:
    path = oracle.ROOT / "schemas" / f"{name}-v1.schema.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("series", oracle.SERIES)
def test_probe_makes_a_host_file(series: str) -> None:
    host = host_file(series)
    jsonschema.validate(host, schema("host"))
    assert host["kernel"].startswith(series + ".")
    assert host["machine"] == "aarch64"
    assert host["api_version"] == 12
    assert host["capabilities"]["KVM_CAP_ARM_VM_IPA_SIZE"] == oracle.most_ipa_bits(series)
    assert host["capabilities"]["KVM_CAP_MAX_VCPUS"] == 512
    assert host["event_counters"] == 6
    assert host["sve_vector_lengths"] == list(range(128, 2049, 128))
    assert {"KVM_DEV_TYPE_ARM_VGIC_V3", "KVM_DEV_TYPE_ARM_VGIC_ITS"} <= set(host["devices"])
    assert [(pmu["name"], pmu["cpus"]) for pmu in host["pmus"]] == [("armv8_pmuv3", "0")]


GICV5 = "KVM_DEV_TYPE_ARM_VGIC_V5"


@pytest.mark.parametrize("series", oracle.SERIES)
def test_no_kernel_has_a_gicv5_on_a_host_with_gicv3(series: str) -> None:
    """KVM_CREATE_DEVICE with KVM_CREATE_DEVICE_TEST fails with ENODEV: probe accepts no other errno
    as an answer, and QEMU emulates no GICv5.
    """
    assert GICV5 not in host_file(series)["devices"]


def test_the_type_of_a_gicv5_is_that_of_the_headers(program: Callable[[str], str]) -> None:
    folders = machine.headers(oracle.kernel(oracle.SERIES[-1]))
    compiler = [
        program("aarch64-linux-gnu-gcc"),
        *(f"-isystem{folder}" for folder in folders),
        *("-include", "linux/kvm.h", "-fsyntax-only", "-x", "c", "-"),
    ]

    def compiles(number: int) -> bool:
        source = f'_Static_assert({GICV5} == {number}, "");'
        done = subprocess.run(compiler, input=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "static assertion failed" in done.stderr, done.stderr
        return done.returncode == 0

    number = INTERRUPT_DEVICES[GICV5]
    assert [compiles(each) for each in (number, number + 1)] == [True, False]


NOT_SINCE = {
    "KVM_CAP_ARM_EL2": "its kernel was not booted with kvm-arm.mode=nested",
    "KVM_CAP_ARM_EL2_E2H0": "its kernel was not booted with kvm-arm.mode=nested",
    "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE": "its value is the size, which is 0 at first",
}
"""Capabilities that the emulated machine does not have on every kernel that supports them."""


@pytest.mark.parametrize("series", oracle.SERIES)
def test_a_kernel_has_exactly_what_is_there_since_it(series: str) -> None:
    host = host_file(series)
    version = oracle.version(series)
    has = {
        (each["target"], each["group"], each["attr"]): each["has"] for each in host["attributes"]
    }
    compared = 0
    for row in SEQUENCE:
        if row.attr is None or row.since == NEVER:
            continue
        # The machine has only a GICv3.
        expected = version >= row.since and row.gic_version != 2
        assert has[row.target, row.attr.group, row.attr.name] == expected, row
        compared += 1
    capabilities = {each.name: each.since for each in VM_CAPABILITIES.values()}
    for feature in (*FEATURES.values(), STRICT_PMU):
        capabilities |= dict.fromkeys(feature.capabilities, feature.since)
    for name, since in capabilities.items():
        if name not in NOT_SINCE:
            assert bool(host["capabilities"][name]) == (version >= since), name
            compared += 1
    oracle.TALLY[series]["rows and capabilities compared"] += compared


@pytest.mark.parametrize("series", IN_THE_GUEST)
def test_the_script_needs_nothing_and_says_the_same(series: str) -> None:
    code, out, err = results(series)["script"]
    assert (code, err) == (0, "")
    assert json.loads(out) == host_file(series)


@pytest.mark.parametrize("series", IN_THE_GUEST)
def test_compare_says_what_changed(series: str) -> None:
    assert results(series)["same"] == (0, "", "")
    code, out, _ = results(series)["changed"]
    assert (code, out) == (1, "capability KVM_CAP_NR_VCPUS: was 99, is 1\n")


@pytest.mark.parametrize("series", IN_THE_GUEST)
def test_try_reports(series: str) -> None:
    code, out, err = results(series)["try"]
    report = json.loads(out)
    jsonschema.validate(report, schema("try"))
    assert (code, err) == (0, "vmcfg: the VMM sets up the GIC; try uses a GICv3 instead\n")
    assert report["kernel"].startswith(series + ".")
    assert (report["performed"], report["read_back"]) == (9, 4)
    assert report["run"] == [
        {"target": "vcpu:0", "errno": None},
        {"target": "vcpu:1", "errno": None},
    ]
    assert report["diagnostics"] == report["differences"] == []
    assert json.loads(results(series)["not run"][1]) == report | {"run": []}


@pytest.mark.parametrize("series", IN_THE_GUEST)
def test_a_plan_is_performed_whole_or_not_at_all(series: str) -> None:
    code, out, _ = results(series)["plan"]
    assert code == 0
    assert "KVM_ARM_VCPU_PMU_V3_IRQ s32" in out
    code, out, err = results(series)["cut plan"]
    assert (code, out) == (3, "")
    assert (
        err == "vmcfg: <stdin>, line 9: a plan with 8 commands must end with"
        ' {"op":"end","count":8}: this one is truncated\n'
    )


@pytest.mark.parametrize("series", IN_THE_GUEST)
def test_a_prediction_that_holds_is_no_failure(series: str) -> None:
    code, out, _ = results(series)["refused"]
    report = json.loads(out)
    jsonschema.validate(report, schema("try"))
    assert code == 0
    assert [(each["rule"], each["held"]) for each in report["predictions"]] == [("VMC502", True)]


@pytest.mark.parametrize("series", IN_THE_GUEST)
def test_without_kvm_there_is_one_sentence(series: str) -> None:
    code, out, err = results(series)["not permitted"]
    assert (code, out) == (3, "")
    assert err == "vmcfg: no permission to open /dev/kvm: run as root or as a member of its group\n"
    code, out, err = results(series)["no /dev/kvm"]
    assert (code, out) == (3, "")
    assert (
        err == "vmcfg: /dev/kvm does not exist: the kernel has no KVM, or was not booted at EL2\n"
    )


_SIGNED_PMU = (
    ".PerfMon must be at most 6 on the host, not 14",
    ".PMUVer must be at most 6 on the host, not 14",
)
"""These kernels read the version of the PMU as a signed number, as no other kernel does."""

ALSO_ACCEPTED = {
    # A guest without AArch64 at EL0 or EL1.
    "6.12": (".EL0 must be at least 1, not 0", ".EL1 must be at least 1, not 0"),
    **dict.fromkeys(("6.16", "6.17", "6.18", "6.19"), _SIGNED_PMU),
}
"""What a kernel accepts and should not, by series: the limits of the rule."""


def values(field: Field, host: int) -> Iterator[int]:
    """Return a register with other values of a field: 0, the maximum, and those next to the one of
    the host.
    """
    there = (host & field.mask) >> field.shift
    for other in {0, there - 1, there + 1, (1 << field.width) - 1} - {there}:
        if 0 <= other < 1 << field.width:
            yield host & ~field.mask | other << field.shift


def answers_to_registers(series: str) -> dict[str, list[tuple[int, int | None]]]:
    """Return the values to which one vCPU has set each ID register, with the errno of each."""
    features = 1 << VCPU_FEATURES["PSCI_0_2"] | 1 << VCPU_FEATURES["PMU_V3"]
    lines = ["create-vm vm 0 0x0 0 -", "create-vcpu vcpu:0 0 0x0 0 -"]
    lines.append(f"init-vcpu vcpu:0 0 {features:#x} 0 -")
    places: dict[str, list[tuple[int, int]]] = {}
    for register in host_file(series)["registers"]:
        name, start = register["name"], int(register["value"], 0)
        tried = [value for field in fields_of(name) for value in values(field, start)]
        tried += [start ^ 1 << bit for bit in range(64)] if tried else []
        places[name] = []
        for value in [start, *tried]:
            places[name].append((value, len(lines)))
            # The next value is tried from that of the host.
            lines += [set_register(SETTABLE[name].id, each) for each in (value, start)]
    plan = "".join(f"{line}\n" for line in ("plan 0 0 0", *lines, "end"))
    with machine.counted(series):
        answers = answers_in(oracle.guest_of(series, oracle.GICV3), [plan]).plans[0]
    assert not answers.missed
    return {
        name: [(value, answers.failed.get(line)) for value, line in tried]
        for name, tried in places.items()
    }


def set_register(number: int, value: int) -> str:
    """Return a line of a plan that sets a register of 64 bits."""
    return f"set-reg vcpu:0 0 {number:#x} 8 {value.to_bytes(8, 'little').hex()}"


@pytest.mark.parametrize("series", oracle.SERIES)
def test_registers_are_limited_as_the_rule_says(series: str) -> None:
    registers = {each["name"]: each for each in host_file(series)["registers"]}
    tried = answers_to_registers(series)
    without_masks = oracle.version(series) < (6, 7)
    wrong = []
    for name, answers in tried.items():
        value, writable = (registers[name][key] for key in ("value", "writable"))
        assert (writable is None) == (without_masks or name.startswith("KVM_REG_")), name
        if writable is None:
            continue
        there = HostRegister(int(value, 0), int(writable, 0))
        for guest, errno in answers:
            limits = list(limits_of(name, guest, there))
            if limits and any(words in limits[0].words for words in ALSO_ACCEPTED.get(series, ())):
                continue
            if (errno is None) == bool(limits):
                wrong.append((name, hex(guest), errno, limits))
    assert wrong == []
    assert sum(map(len, tried.values())) > 200
