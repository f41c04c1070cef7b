"""The registers of hosts: their fields, their limits, and the values that several hosts accept."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import run_vmcfg_as_text
from vmcfg.checking.check import check
from vmcfg.kernel.common_registers import CommonRegisters, common_registers
from vmcfg.kernel.host import Host, HostRegister, read_host
from vmcfg.kernel.register_fields import fields_of
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.rules.registers_on_hosts import limits_of

ROOT = Path(__file__).parent.parent
HOSTS = ROOT / "tests" / "hosts"
LINUX_7_3 = read_host((HOSTS / "linux-7.3.json").read_bytes(), "linux-7.3.json")
ALL_BITS = (1 << 64) - 1
WITH_FIELDS = [name for name in SETTABLE if fields_of(name)]


def host(name: str, writable: int = ALL_BITS, **registers: int) -> Host:
    """Return a host whose registers are those of a real one, except `registers`."""
    changed = {each: HostRegister(value, writable) for each, value in registers.items()}
    return LINUX_7_3._replace(name=name, registers=LINUX_7_3.registers | changed)


def common(*hosts: Host) -> CommonRegisters:
    return common_registers(hosts)


def test_the_fields_of_a_register_do_not_overlap() -> None:
    for name in WITH_FIELDS:
        fields = fields_of(name)
        assert sum(field.mask for field in fields) < 1 << 64
        for before, after in pairwise(fields):
            assert before.shift + before.width <= after.shift, name


def test_most_fields_are_limited_by_the_lower_value() -> None:
    hosts = host("a", ID_AA64ISAR0_EL1=0x120), host("b", ID_AA64ISAR0_EL1=0x210)
    assert common(*hosts) == CommonRegisters({"ID_AA64ISAR0_EL1": 0x110}, [])


@pytest.mark.parametrize(
    ("register", "shift", "one", "other", "both"),
    [
        ("ID_AA64PFR0_EL1", 16, 0xF, 0x1, 0xF),  # FP is signed: -1 is none
        ("ID_AA64MMFR0_EL1", 28, 0xF, 0x0, 0xF),  # TGRAN4 is signed
        ("ID_AA64MMFR0_EL1", 40, 0x2, 0x3, 0x1),  # TGRAN4_2: 1 is none
        ("ID_AA64MMFR1_EL1", 24, 0x0, 0x1, 0x1),  # SpecSEI: the host that can have it decides
        ("CTR_EL0", 14, 0x3, 0x2, 0x2),  # L1Ip: VIPT is right for all
        ("CTR_EL0", 28, 0x1, 0x0, 0x0),  # IDC
    ],
)
def test_other_fields_have_their_own_safe_value(
    register: str, shift: int, one: int, other: int, both: int
) -> None:
    hosts = (host(str(part), **{register: part << shift}) for part in (one, other))
    assert common(*hosts) == CommonRegisters({register: both << shift}, [])


def test_the_oldest_version_of_psci_is_for_all() -> None:
    psci = "KVM_REG_ARM_PSCI_VERSION"
    hosts = host("a", **{psci: 0x10003}), host("b", **{psci: 0x10001}), host("c", **{psci: 0x10002})
    assert common(*hosts) == CommonRegisters({psci: 0x10001}, [])


def test_a_service_must_exist_on_all_hosts() -> None:
    bitmap = "KVM_REG_ARM_VENDOR_HYP_BMAP"
    assert common(host("a", **{bitmap: 3}), host("b", **{bitmap: 1})).values == {bitmap: 1}


def test_a_field_that_a_host_cannot_change_is_a_reason() -> None:
    hosts = (
        host("a.json", ID_AA64ISAR0_EL1=0x10),
        host("b.json", writable=0, ID_AA64ISAR0_EL1=0x20),
    )
    assert common(*hosts) == CommonRegisters(
        {},
        [
            "ID_AA64ISAR0_EL1 cannot be the same on all hosts: AES is always 2 on b.json, but 1 on"
            " others"
        ],
    )


def test_a_kernel_without_the_register_is_a_reason() -> None:
    old = host("old.json", ID_AA64ISAR0_EL1=0x10)._replace(kernel=(6, 1))
    hosts = old, host("new.json", ID_AA64ISAR0_EL1=0x20)
    assert common(*hosts).reasons == [
        "ID_AA64ISAR0_EL1 cannot be the same on all hosts: old.json runs Linux 6.1, before 6.7"
    ]


def test_the_model_of_the_cpu_is_a_reason() -> None:
    hosts = host("a.json", MIDR_EL1=0x410FD4C1), host("b.json", MIDR_EL1=0x413FD0C1)
    assert common(*hosts).reasons == [
        "MIDR_EL1 cannot be the same on all hosts: 0x410fd4c1 on a.json, 0x413fd0c1 on b.json"
    ]


@given(st.sampled_from(WITH_FIELDS), st.lists(st.integers(0, ALL_BITS), min_size=2, max_size=4))
def test_all_hosts_accept_the_common_value(name: str, values: list[int]) -> None:
    lowest = sum(field.lowest << field.shift for field in fields_of(name))
    fields = sum(field.mask for field in fields_of(name))
    lifted = [value & fields | lowest for value in values]
    hosts = [host(str(index), **{name: value}) for index, value in enumerate(lifted)]
    result = common(*hosts)
    assert result.reasons == []
    best = result.values.get(name, lifted[0])
    for each in hosts:
        assert list(limits_of(name, best, each.registers[name])) == []


def test_bits_outside_of_all_fields_are_those_of_the_host() -> None:
    there = HostRegister(0x10, ALL_BITS)
    assert list(limits_of("ID_AA64ISAR0_EL1", 0x10, there)) == []
    (only,) = limits_of("ID_AA64ISAR0_EL1", 0x11, there)
    assert only == (": bits 0x1 must be those of the host", 0x1)


def test_features_of_the_vm_have_fields_that_a_host_file_does_not_have() -> None:
    text = (
        'vmcfg: 1\nname: vm\nvcpus: 1\nhost_kernel: "7.3"\nfeatures: [{}]\n'
        "registers: [{{name: ID_AA64ISAR1_EL1, value: 0x10}}]\n"
    )

    def rules(feature: str) -> list[str]:
        there = host("a", ID_AA64ISAR1_EL1=0)
        checked = check(text.format(feature).encode(), "vm.yaml", hosts=[there])
        return [each.rule for each in checked.diagnostics if each.rule == "VMC725"]

    assert rules("sve") == ["VMC725"]
    assert rules("ptrauth") == []
    assert rules("el2") == []


# The command --------------------------------------------------------------------------------------


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_vmcfg_as_text(["probe", *arguments], cwd=HOSTS)


def test_the_command_prints_a_key_of_a_description() -> None:
    done = probe("--common", "linux-6.12.json", "linux-7.3.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "# The registers that differ between 2 hosts, with values for all of them\n"
        "registers:\n"
        "  - {name: KVM_REG_ARM_PSCI_VERSION, value: 0x10001}\n"
    )
    description = f"vmcfg: 1\nname: vm\nvcpus: 1\n{done.stdout}".encode()
    hosts = [read_host((HOSTS / name).read_bytes(), name) for name in ("linux-6.12.json",)]
    assert check(description, "vm.yaml", hosts=[*hosts, LINUX_7_3]).diagnostics == []


def test_equal_hosts_have_nothing_to_set(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes((HOSTS / "linux-7.3.json").read_bytes())
    done = probe("--common", str(tmp_path), "linux-7.3.json")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["# (none)"])


def test_a_reason_is_a_comment_and_exit_code_1(tmp_path: Path) -> None:
    told = json.loads((HOSTS / "linux-7.3.json").read_text())
    for each in told["registers"]:
        if each["name"] == "MIDR_EL1":
            each["value"] = "0x1"
    (tmp_path / "other.json").write_text(json.dumps(told))
    done = probe("--common", "linux-7.3.json", str(tmp_path / "other.json"))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("# MIDR_EL1 cannot be the same on all hosts: ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--common"], 2, "--common requires at least two host files."),
        (["--common", "linux-7.3.json"], 2, "--common requires at least two host files."),
        (["linux-7.3.json"], 2, "HOST requires --common."),
        (["--common", "has-everything.json", "linux-7.3.json"], 3, "has no registers"),
    ],
)
def test_wrong_use_is_a_sentence(arguments: list[str], code: int, words: str) -> None:
    done = probe(*arguments)
    assert done.returncode == code
    assert words in done.stderr
