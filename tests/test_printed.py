"""What commands print, word for word: the files in tests/printed.

The findings are in tests/cases, and the plans of the samples in tests/golden.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_mistakes import FILES as MISTAKES
from vmcfg import cli
from vmcfg.commands.explain import explanation
from vmcfg.description.model import every_field
from vmcfg.kernel.register_fields import fields_of
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.errno_text import known_errnos

ROOT = Path(__file__).parent.parent
PRINTED = ROOT / "tests" / "printed"

NUMBERS = (
    *("0", "1", "7", "16", "23", "31", "32", "255", "256", "511", "512", "987", "1019", "1020"),
    *("0x100", "0x1c801", "0x80000000", "0x80000100", "0x8000c801", "0x81000000", "0xc0000000"),
    *("0x1000017", "0x2000028", "0x12000017", "0x84000003", "0xc4000003", "0xc5000021"),
    *("0x603000000013c005", "0x603000000013dce0", "0x6030000000100000", "0x60200000001000d4"),
    *("0x6030000000140000", "0x6030000000160003", "0x6080000000150000", "0x6020000000110000"),
    *("0x1000000", "0x8000000000", "0x10000000000", "0x8000000000000000", "0xffffffff", "0x601000"),
    *("0x1000028", "0x1050028", "0x2000017", "0x2050017", "0x2ff0017", "0xf2000017", "0x3000017"),
    *("0x606000000015ffff", "0xff00000000000000", "0xffffffffffffffff", "8192", "4294967319"),
)
OTHERS = ("0.0.0.0", "0.0.1.0", "0.0.32.0", "0.0.200.1", "1.2.3.4", "ppi:0", "ppi:7", "spi:8")
ATTRIBUTES = (
    *("gic 0 0", "gic 0 2", "gic 0 5", "gic 3 0", "gic 4 0", "gic 4 3", "gic 9 0", "gic 1 0x100"),
    *("gic 2 0x800000004", "gic 5 0x10000000008", "gic 6 0x1c230", "gic 7 0x20"),
    *("its 0 4", "its 4 0", "its 4 1", "its 8 0x80", "vcpu 0 0", "vcpu 0 1", "vcpu 0 2"),
    *("vcpu 0 3", "vcpu 0 4", "vcpu 1 0", "vcpu 1 3", "vcpu 2 0", "vm 0 0", "vm 3 7", "gic 4 9"),
)
SIDES = (
    ("minimal", "spi"),
    ("spi", "uniform"),
    ("qemu-virt", "kvmtool"),
    ("clusters", "irregular"),
    ("pmu-filter", "nested"),
    ("gicv2", "monitors-gic"),
    ("memory-tags", "migratable"),
)

RULES_OF_EACH_KIND = (105, 107, 205, 301, 407, 415, 503, 511, 604, 701, 705, 713, 718, 902, 904)
"""Rules about text, machines, hosts, outputs, and kernels, with and without an example."""

FIXABLE = "tests/cases/VMC110-misspelt.yaml"
PPIS = "tests/cases/VMC502-ppis-differ.yaml"
WARNED = "tests/cases/VMC508-maintenance.yaml"
RIGHT = "sample-configs/minimal.yaml"
HOST_FILE = "tests/hosts/has-everything.json"
VALIDATED = (
    RIGHT,
    f"--summary {RIGHT}",
    f"--summary --format concise {RIGHT} {PPIS} {FIXABLE} {WARNED} absent.yaml",
    f"--summary --strict --format concise {WARNED}",
    f"--summary --format concise {WARNED}",
    f"--summary --fix --diff {FIXABLE} {RIGHT} {PPIS}",
    f"--summary --fix --diff --format concise {FIXABLE} {WARNED}",
    f"{PPIS} {WARNED} {RIGHT}",
    f"--host-kernel 7.0 --format concise tests/cases/VMC701-set-mpidr.yaml {PPIS}",
    "--host tests/hosts/has-everything.json --format concise sample-configs/full.yaml",
    "--host tests/hosts --format concise sample-configs/nested.yaml sample-configs/strict-pmu.yaml",
    "--format json tests/cases/VMC120-octal.yaml absent.yaml",
    "--format json --host tests/hosts sample-configs/nested.yaml",
    f"--format github {FIXABLE} {WARNED} tests/cases/VMC407-regions.yaml absent.yaml",
    "--format concise --exclude VMC* tests/cases",
    "--format concise --exclude tests/cases/VMC[2-9]* --exclude VMC1[1-9]* tests/cases",
    f"--exclude *.yaml {RIGHT}",
    f"--color always {PPIS}",
    f"--color never --format concise {PPIS}",
)
DEFAULTS = "--defaults tests/defaults/vms/defaults.yaml"
WITH_DEFAULTS = (
    *(f"validate --format {form} {DEFAULTS} tests/defaults/vms" for form in ("human", "concise")),
    f"validate --fix --diff --format concise {DEFAULTS} tests/defaults/vms",
    *(
        f"validate --format {form} {DEFAULTS} tests/defaults/vms"
        for form in ("json", "github", "gitlab", "junit")
    ),
    "validate --format concise --defaults tests/defaults/wrong.yaml tests/defaults/vms/own.yaml",
    "validate --format junit --defaults tests/defaults/wrong.yaml tests/defaults/vms/own.yaml",
    f"emit --format jsonl {DEFAULTS} tests/defaults/vms/right.yaml",
    f"emit --comments --phase configure {DEFAULTS} tests/defaults/vms/right.yaml",
    f"emit {DEFAULTS} tests/defaults/vms/on-both-sides.yaml",
    f"show {DEFAULTS} tests/defaults/vms/own.yaml",
    f"show --map {DEFAULTS} tests/defaults/vms/on-both-sides.yaml",
    f"diff {DEFAULTS} tests/defaults/vms/right.yaml tests/defaults/vms/on-both-sides.yaml",
    f"diff {DEFAULTS} --unchecked tests/defaults/vms/right.yaml tests/defaults/vms/own.yaml",
    "validate --defaults - sample-configs/minimal.yaml",
    "validate --defaults absent.yaml sample-configs/minimal.yaml",
    "emit --defaults sample-configs/minimal.yaml sample-configs/minimal.yaml",
)
EMITTED = (
    RIGHT,
    f"--scope vm {RIGHT}",
    f"--numbers --scope vm {RIGHT}",
    f"--phase pmu-init {RIGHT}",
    f"--phase late,create --scope vm {RIGHT}",
    f"--phase late {RIGHT}",
    f"--format json --phase gic-init {RIGHT}",
    f"--format jsonl --phase pmu-init {RIGHT}",
    PPIS,
    f"--unchecked {PPIS}",
    WARNED,
    f"--strict {WARNED}",
    "--unchecked tests/cases/VMC100-tab.yaml",
    "--unchecked tests/cases/VMC304-513-vcpus.yaml",
    "--unchecked tests/cases/VMC504-beyond-32-bits.yaml",
    "--numbers sample-configs/strict-pmu.yaml",
    "--host tests/hosts/has-everything.json --numbers sample-configs/full.yaml",
    f"--host tests/hosts --format json --phase pmu-init {RIGHT}",
    "--format sh sample-configs/strict-pmu.yaml",
    "--format c sample-configs/strict-pmu.yaml",
    "--host-kernel 6.1 sample-configs/nested.yaml",
    "--api pmu-device sample-configs/pmu-filter.yaml",
    f"--api pmu-device --format c {RIGHT}",
    f"--api pmu-device --device-type 77 --numbers --scope vm {RIGHT}",
    f"--api pmu-device --device-type 0 --phase create --scope vm {RIGHT}",
    f"--api pmu-device --device-type 4294967295 --phase create --scope vm {RIGHT}",
    f"--api pmu-device-mpidr --get {RIGHT}",
    f"--get --numbers {RIGHT}",
    f"--get --format jsonl --phase pmu-init {RIGHT}",
    "--get --phase late sample-configs/crosvm.yaml",
    "absent.yaml",
    "sample-configs",
)
WRONG_USAGE = (
    f"validate --diff {RIGHT}",
    f"validate --fix --diff --format json {RIGHT}",
    f"validate --fix - {RIGHT}",
    f"validate --host absent.json {RIGHT}",
    f"validate --host tests/kvm {RIGHT}",
    f"validate --host-kernel 6 {RIGHT}",
    f"validate --host-kernel 5.10 {RIGHT}",
    f"emit --numbers --format json {RIGHT}",
    f"emit --comments --format c {RIGHT}",
    f"emit --main {RIGHT}",
    f"emit --get --format c {RIGHT}",
    f"emit --get --scope vm {RIGHT}",
    f"emit --phase later {RIGHT}",
    f"emit --phase , {RIGHT}",
    f"emit --device-type 7 {RIGHT}",
    f"emit --api pmu-device --scope vm --format c {RIGHT}",
    f"emit -o absent/plan {RIGHT}",
    f"emit --minimal --format c -o absent/ {RIGHT} {PPIS}",
    f"emit --kselftest --format c -o absent/ {PPIS}",
    f"emit --check --prune -o absent/ {RIGHT}",
    f"emit --prune -o absent {RIGHT}",
    f"emit --check {RIGHT}",
    f"emit {RIGHT} {PPIS}",
    f"try {RIGHT} --plan plan",
    f"try --host {HOST_FILE} --examples",
    f"try --cpu max {RIGHT}",
    f"diff {RIGHT}",
    "diff - -",
    f"diff --git {RIGHT} a b",
    "diff --git name",
    f"diff {PPIS} {RIGHT}",
    f"diff absent.yaml {RIGHT}",
    "show absent.yaml",
    f"show {PPIS}",
    f"show --strict {WARNED}",
    "decode",
    "decode 1.2.3",
    "decode 0.0.0.0-3",
    "decode ppi:16",
    "decode spi:988",
    "decode 0x10000000000000000",
    "decode --errno EINVAL 7",
    "decode 7 --attr gic 0 0",
    "decode --attr pmu 0 0",
    "decode --attr gic x 0",
    "decode 010",
    "decode 1:2",
    "decode --attr gic 0 0 --errno EFOO",
    "explain zzz",
    "explain VMC999",
    "explain VMC516",
    "explain VMC50",
    "vallidate x",
    "zzzzz",
)


COMMANDS = {
    "explain-topics": [
        ["explain", topic] for topic in ("order", "identifiers", "capabilities", "registers")
    ],
    "explain-rules": [["explain", f"VMC{number}"] for number in RULES_OF_EACH_KIND],
    "explain-attributes": [["explain", "attributes"]],
    "decode": [["decode", each] for each in (*NUMBERS, *OTHERS)],
    "decode-json": [["decode", "--format", "json", each] for each in ("23", "0x80000100", "spi:8")],
    "decode-attr": [["decode", "--attr", *each.split()] for each in ATTRIBUTES],
    "decode-attr-json": [
        ["decode", "--format", "json", "--attr", *each.split()]
        for each in ("gic 0 2", "gic 2 0x800000004", "vm 3 7", "its 4 1")
    ],
    "show": [
        ["show", f"sample-configs/{name}.yaml"]
        for name in ("minimal", "spi", "irregular", "gicv2", "clusters", "full")
    ],
    "show-json": [["show", "--format", "json", "sample-configs/irregular.yaml"]],
    "show-csv": [["show", "--format", "csv", "sample-configs/full.yaml"]],
    "diff": [
        ["diff", f"sample-configs/{old}.yaml", f"sample-configs/{new}.yaml"] for old, new in SIDES
    ],
    "diff-json": [
        ["diff", "--format", "json", "sample-configs/minimal.yaml", "sample-configs/spi.yaml"]
    ],
    "emit-sh": [
        ["emit", "--format", "sh", f"sample-configs/{name}.yaml"] for name in ("minimal", "nested")
    ],
    "emit-sh-vm": [["emit", "--format", "sh", "--scope", "vm", "sample-configs/migratable.yaml"]],
    "emit-get": [
        ["emit", "--get", f"sample-configs/{name}.yaml"]
        for name in ("irregular", "qemu-virt", "gicv2", "nested", "migratable", "full")
    ],
    "emit-comments": [
        ["emit", "--comments", "--scope", "vm", f"sample-configs/{name}.yaml"]
        for name in ("minimal", "gicv2", "migratable", "memory-tags")
    ]
    + [["emit", "--comments", "--get", "sample-configs/qemu-virt.yaml"]],
    "emit-apis": [
        ["emit", "--api", api, "--scope", "vm", "sample-configs/irregular.yaml"]
        for api in ("pmu-device", "pmu-device-mpidr")
    ],
    "emit-c-attributes": [
        ["emit", "--format", "c", "sample-configs/spi.yaml"],
        ["emit", "--format", "c", "--host", HOST_FILE, "sample-configs/full.yaml"],
    ],
    "emit-c-vm": [
        ["emit", "--format", "c", "--scope", "vm", "--host", HOST_FILE, "sample-configs/full.yaml"],
    ],
    "emit-c-main": [["emit", "--format", "c", "--main", "sample-configs/minimal.yaml"]],
    "example": [["example"], ["example", "minimal"], ["example", "zzz"], ["example", "minimla"]],
    "validate": [["validate", *arguments.split()] for arguments in VALIDATED],
    "emit": [["emit", *arguments.split()] for arguments in EMITTED],
    "defaults": [arguments.split() for arguments in WITH_DEFAULTS],
    "usage": [arguments.split() for arguments in WRONG_USAGE],
    "validate-forms": [
        ["validate", "--format", form, "tests/cases/VMC502-ppis-differ.yaml"]
        for form in ("human", "concise", "json", "github")
    ],
}
"""The commands whose output is in each file."""


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return a command as in a shell, what it prints, and its exit code if that is not 0."""
    sys.argv = ["vmcfg", *arguments]
    code = cli._run()
    output, errors = capsys.readouterr()
    # It begins with the name of the program, here pytest.
    errors = re.sub(r"(?m)^Usage: .*\n\n", "", errors)
    ending = f"(exit code {code})\n" if code else ""
    return f"$ vmcfg {' '.join(arguments)}\n{output}{errors}{ending}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_what_it_was(
    name: str,
    same_as_file: Callable[[Path, bytes], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [])
    text = "".join(printed(arguments, capsys) for arguments in COMMANDS[name])
    same_as_file(PRINTED / f"{name}.txt", text.encode())


NAMES = (
    *("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_SET_ONE_REG", "KVM_SET_DEVICE_ATTR", "KVM_RUN"),
    *("KVM_ENABLE_CAP", "KVM_DEV_TYPE_ARM_VGIC_V2", "KVM_DEV_TYPE_ARM_VGIC_ITS"),
    *("KVM_DEV_TYPE_ARM_PMU_V3", "KVM_ARM_VCPU_PMU_V3_CTRL", "KVM_ARM_VCPU_PMU_V3_IRQ"),
    *("KVM_DEV_ARM_VGIC_GRP_CTRL", "KVM_DEV_ARM_VGIC_CTRL_INIT"),
    *("KVM_DEV_ARM_VGIC_GRP_REDIST_REGS", "KVM_DEV_ARM_VGIC_GRP_ITS_REGS"),
    *("KVM_ARM_VCPU_POWER_OFF", "KVM_ARM_VCPU_PMU_V3_STRICT"),
    *("KVM_ARM_VCPU_PTRAUTH_ADDRESS", "KVM_CAP_ARM_EL2", "KVM_CAP_HALT_POLL", "KVM_CAP_ARM_MTE"),
    *("KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP", "KVM_CAP_NR_MEMSLOTS", "MPIDR_EL1", "MIDR_EL1"),
    *("PMCR_EL0", "CLIDR_EL1", "ID_AA64PFR0_EL1", "KVM_REG_ARM_PSCI_VERSION"),
    *(
        "KVM_REG_ARM_STD_BMAP",
        "KVM_REG_ARM64_SVE_VLS",
        "PSCI_0_2_FN64_CPU_ON",
    ),
    *("ARM_SMCCC_HV_PV_TIME_ST", "ARM_SMCCC_TRNG_RND32", "KVM_REG_ARM_TIMER_CVAL"),
)
"""Names of the uapi, some of each kind. The attributes are in explain-attributes.txt, too."""

EXPLAINED = {
    "explain-keys": [*every_field(), *(row.name for row in SEQUENCE), "irq", "name", "base"],
    "explain-uapi": NAMES,
    "explain-errnos": known_errnos(),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanations_are_what_they_were(
    name: str, same_as_file: Callable[[Path, bytes], None]
) -> None:
    texts = ["\n".join(explanation(each, 100)) for each in EXPLAINED[name]]
    same_as_file(PRINTED / f"{name}.txt", "\n\n".join([*texts, ""]).encode())


def test_fields_of_id_registers_are_what_they_were(
    same_as_file: Callable[[Path, bytes], None],
) -> None:
    """No other test looks at each of them; tests/kvm compares some with kernels."""
    lines = [
        f"{register}.{field.name} [{field.shift + field.width - 1}:{field.shift}]"
        f" {'signed' if field.is_signed else 'unsigned'}, {field.safe},"
        f" from {field.lowest}, always {field.always}\n"
        for register in SETTABLE
        for field in fields_of(register)
    ]
    same_as_file(PRINTED / "register-fields.txt", "".join(lines).encode())


def test_nothing_is_left_in_the_directory() -> None:
    left = {path.stem for path in PRINTED.iterdir()} - {
        *COMMANDS,
        *EXPLAINED,
        *MISTAKES,
        "register-fields",
    }
    assert not left, f"no test compares these with anything: remove {sorted(left)} in tests/printed"
