"""vmcfg explain: the words of error logs, and keys by their last part. The numbers behind names of
the uapi are compared with the headers of Linux.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner

from vmcfg.arm.smccc import FUNCTIONS
from vmcfg.commands.explain import explain, explanation
from vmcfg.kernel import abi
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.registers import named_registers, register_text
from vmcfg.kernel.state import CTRL_GROUP, STATE_CTRLS, STATE_GROUPS
from vmcfg.plans.operations import OPERATIONS
from vmcfg.plans.order import CONSTRAINTS
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.answers import predictions
from vmcfg.reference.attribute_text import errors_of
from vmcfg.reference.errno_text import known_errnos
from vmcfg.reference.order_json import order_json
from vmcfg.reference.uapi_text import uapi_names


def explained(name: str) -> str:
    return " ".join("\n".join(explanation(name)).split())


# Keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ("mpidr", ["vcpus.mpidr"]),
        ("pmu_irq", ["vcpus.pmu_irq"]),
        ("vcpus[].pmu_irq", ["vcpus.pmu_irq"]),
        ("vcpus[3].pmu_irq", ["vcpus.pmu_irq"]),
        ("nr_irqs", ["gic.nr_irqs"]),
        ("filter[0].events", ["pmu.filter.events"]),
        ("irq", ["pmu.irq", "devices.irq"]),
        ("name", ["name"]),
        ("pmu", ["pmu"]),
    ],
)
def test_a_key_is_found_as_it_is_written(written: str, keys: list[str]) -> None:
    lines = list(explanation(written))
    assert re.findall(r"(?m)^([a-z_.]+): ", "\n".join(lines)) == keys


# Names of the uapi --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "KVM_ARM_VCPU_PMU_V3_IRQ",
            ["attribute 0x0 of group", "vcpus.pmu_irq", "s32", "EBUSY the interrupt", "VMC502"],
        ),
        (
            "KVM_ARM_VCPU_PMU_V3_CTRL",
            ["group 0 of the vCPU", "PMU_V3_FILTER (pmu.filter)", "VMC506", "VMC513"],
        ),
        ("KVM_DEV_ARM_VGIC_GRP_NR_IRQS", ["group 3 of the vGIC", "gic.nr_irqs", "VMC404"]),
        ("KVM_DEV_ARM_VGIC_CTRL_INIT", ["set-attr its", "(gic.its)", "set-attr gic", "(gic)"]),
        ("KVM_DEV_ARM_VGIC_GRP_CTRL", ["group 4 of the ITS and of the vGIC"]),
        ("KVM_CREATE_VCPU", ["ioctl, request 0xae41", "EEXIST the id", "VMC304"]),
        ("KVM_GET_ONE_REG", ["request 0x4010aeab", "vcpus.mpidr"]),
        ("KVM_RUN", ["ioctl", "VMC401", "VMC507"]),
        ("KVM_DEV_TYPE_ARM_VGIC_V3", ["device type 7", "gic.version", "E2BIG"]),
        ("KVM_DEV_TYPE_ARM_PMU_V3", ["never merged"]),
        ("KVM_ARM_VCPU_SVE", ["bit 4 of", "features: [sve]", "KVM_CAP_ARM_SVE"]),
        ("KVM_ARM_VCPU_PMU_V3", ["bit 3 of", "on every vCPU with a PMU interrupt"]),
        ("ptrauth", ["features: [ptrauth]", "KVM_ARM_VCPU_PTRAUTH_GENERIC"]),
        ("KVM_CAP_ARM_EL2", ["capability 240", "features: [el2]", "since 6.16"]),
        ("MPIDR_EL1", ["ONE_REG id 0x603000000013c005", "vcpus.mpidr", "ENOEXEC", "VMC701"]),
        ("KVM_REG_ARM_PSCI_VERSION", ["ONE_REG id 0x6030000000140000"]),
        ("PSCI_0_2_FN64_CPU_ON", ["function id 0xc4000003", "SMC64", "smccc_filter.base"]),
        ("0xc4000003", ["PSCI_0_2_FN64_CPU_ON: "]),
    ],
)
def test_a_name_of_the_uapi_is_explained(name: str, parts: list[str]) -> None:
    said = explained(name)
    for part in parts:
        assert part in said


def test_every_name_has_an_explanation() -> None:
    for name in uapi_names():
        assert next(explanation(name)).startswith(f"{name}: ")


def test_all_names_of_the_tables_are_known() -> None:
    named = {row.attr.title for row in SEQUENCE if row.attr is not None}
    named |= {row.attr.group for row in SEQUENCE if row.attr is not None}
    named |= {each.ioctl for each in OPERATIONS}
    named |= {f"KVM_ARM_VCPU_{name}" for name in VCPU_FEATURES}
    named |= {name for _, answer in predictions() for name in re.findall(r"\w+", answer.call)}
    assert named <= set(uapi_names())


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errno", known_errnos())
def test_an_errno_lists_every_command_and_rule(errno: str) -> None:
    said = explained(errno)
    assert said.startswith(f"{errno} (")
    assert said == explained(errno.lower())
    for row in SEQUENCE:
        if errno in errors_of(row):
            assert f"({row.field}) {' '.join(errors_of(row)[errno].split())}" in said
    for rule, answer in predictions():
        assert (f"{rule.id} {rule.name}: {answer}" in said) == (answer.errno == errno)


def test_the_errors_that_logs_have_are_known() -> None:
    assert {"EBUSY", "EINVAL", "ENXIO", "EEXIST", "E2BIG", "EFAULT", "EIO"} <= set(known_errnos())


def test_what_the_kernel_documentation_says_otherwise_is_explained() -> None:
    said = explained("attributes")
    assert "documentation says EBUSY also after a vCPU has run or a filter is set" in said
    assert "Without a vCPU, it succeeds, although the kernel documentation says ENODEV." in said


# Neither ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("KVM_ARM_VCPU_PMU_V3_IRK", "If you mean 'KVM_ARM_VCPU_PMU_V3_IRQ', write that."),
        ("EBUZY", "If you mean 'EBUSY', write that."),
        ("pmu_irk", "If you mean"),
        ("22", "Run 'vmcfg decode 22' to show what a number can be."),
        ("0x603000000013c005", "Run 'vmcfg decode 0x603000000013c005'"),
        ("xyzzy", "Run 'vmcfg explain' to list everything."),
        ("", "Run 'vmcfg explain' to list everything."),
    ],
)
def test_an_unknown_word_leads_to_a_known_one(name: str, advice: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        explanation(name)
    assert advice in caught.value.message


# Linux --------------------------------------------------------------------------------------------


def of_linux() -> dict[str, int]:
    """Return the numbers behind the names of the uapi, except those of headers that it lacks."""
    attrs = [row.attr for row in SEQUENCE if row.attr is not None]
    registers = {name: id for name, id in named_registers().items() if name.startswith("KVM_REG_")}
    return {
        **{name: id for name, id in FUNCTIONS.items() if name.startswith("PSCI_")},
        **registers,
        **CAPABILITIES,
        **abi.INTERRUPT_DEVICES,
        **{attr.group: attr.group_id for attr in attrs if attr is not abi.PMU_DEVICE_IRQ},
        **{attr.name: attr.id for attr in attrs if attr.name == attr.title},
        **{f"KVM_ARM_VCPU_{name}": bit for name, bit in VCPU_FEATURES.items()},
        **{name: number for (_, number), name in STATE_GROUPS.items()},
        **{name: number for (_, number), name in STATE_CTRLS.items()},
        CTRL_GROUP[0]: CTRL_GROUP[1],
    }


WRONG_IN_OLD_HEADERS = {
    "PSCI_1_1_FN_MEM_PROTECT_CHECK_RANGE",
    "PSCI_1_1_FN64_MEM_PROTECT_CHECK_RANGE",
}
"""Names that had the number of MEM_PROTECT, 0x13, in headers of Linux 6.1.4. DEN0022 and later
headers have 0x14.
"""


def test_numbers_are_those_of_the_headers_of_linux(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    """A name that the installed headers do not have is newer than they are."""
    asserted = "".join(
        f"#ifdef {name}\n"
        f'_Static_assert({name} == {number:#x}, "{name}");\n'
        f"int has_{name};\n"
        "#endif\n"
        for name, number in of_linux().items()
        if name not in WRONG_IN_OLD_HEADERS
    )
    source = tmp_path / "numbers.c"
    source.write_text(f"#include <linux/kvm.h>\n#include <linux/psci.h>\n{asserted}")
    compiler = program("aarch64-linux-gnu-gcc")
    compiled = tmp_path / "numbers.s"
    done = subprocess.run(
        [compiler, "-S", "-o", str(compiled), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    asserted_names = set(re.findall(r"\bhas_(\w+)", compiled.read_text()))
    assert len(asserted_names) > len(of_linux()) / 2


def test_functions_outside_the_uapi_follow_from_their_fields() -> None:
    """<linux/arm-smccc.h> defines them by type, convention, owner, and number."""
    owners = {"ARCH": 0, "TRNG": 4, "HV": 5, "VENDOR": 6, "VERSION": 0}
    smc64 = {"SOC_ID64", "RND64", "TIME_FEATURES", "TIME_ST", "MEMINFO", "SHARE", "UNSHARE"}
    smc64 |= {"MMIO_GUARD", "IMPL_VER", "IMPL_CPUS"}
    for name, id in FUNCTIONS.items():
        if name.startswith("ARM_SMCCC_"):
            stem = name.removesuffix("_FUNC_ID")
            assert id >> 31 == 1, name
            assert id >> 24 & 0x3F == owners[name.split("_")[2]], name
            assert (id >> 30 & 1) == any(stem.endswith(f"_{end}") for end in smc64), name
    assert len(set(FUNCTIONS.values())) == len(FUNCTIONS)


def test_every_register_is_read_back_by_its_id() -> None:
    for name, id in named_registers().items():
        text = register_text(id)
        assert re.search(rf"(?::| ){name}(?=[ ;,]|$)", text), text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE", "args: [0x200000]}]"),
        ("KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP", "after:    KVM_CAP_DIRTY_LOG_RING_ACQ_REL"),
        ("MIDR_EL1", "requires Linux 6.15; KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"),
        ("KVM_ARM_VCPU_PMU_V3_STRICT", "if 'pmu.strict' is true"),
    ],
)
def test_a_name_that_a_description_can_use_is_explained_with_its_limits(
    name: str, said: str
) -> None:
    assert said in "\n".join(explanation(name))


# The order as data --------------------------------------------------------------------------------

ORDER_SCHEMA = Path(__file__).parent.parent / "schemas/order-v1.schema.json"


def test_the_order_as_data_follows_its_schema_and_its_table() -> None:
    order = json.loads(order_json())
    jsonschema.validate(order, json.loads(ORDER_SCHEMA.read_text()))
    assert [row["row"] for row in order["rows"]] == [row.name for row in SEQUENCE]
    assert len(order["constraints"]) == len(CONSTRAINTS)
    places = {row["row"]: place for place, row in enumerate(order["rows"])}
    for constraint in order["constraints"]:
        before = [places[name] for name in constraint["before"]]
        after = [places[name] for name in constraint["after"]]
        assert before
        assert after
        assert max(before) < min(after) or constraint["ascending"], constraint


def test_only_the_order_is_data() -> None:
    result = CliRunner().invoke(explain, ["--format", "json", "VMC503"])
    assert result.exit_code == 2
    assert "--format json requires the topic 'order'" in result.output
    result = CliRunner().invoke(explain, ["--format", "json", "order"])
    assert result.output == order_json()
