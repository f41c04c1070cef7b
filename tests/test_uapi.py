"""Numbers of vmcfg.kernel and vmcfg.arm, from other sources than those tables: the headers of
Linux, and tables written by hand for what the installed headers do not have.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_explain import of_linux
from vmcfg.arm.smccc import FUNCTIONS
from vmcfg.kernel import abi, limits
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.kernel.registers import CORE_REGISTERS, SYSTEM_REGISTERS, named_registers
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.monitors.ptrace import ABIS
from vmcfg.plans.values import EVENT_FILTER, SMCCC_RANGE

OWN = {
    "CAPABILITY_ARGUMENTS",
    "FEATURE_ID_MASKS",
    "ARM_GET_REG_WRITABLE_MASKS",
    "SET_USER_MEMORY_REGION2",
}
"""Numbers of `abi` that have no name in the headers, or only in newer ones."""

NAMED = {f"KVM_{name}": value for name, value in vars(abi).items() if isinstance(value, int)}

ASSERTED = {
    **{name: value for name, value in NAMED.items() if name[4:] not in OWN},
    "KVM_PMU_EVENT_ALLOW": abi.PMU_EVENT_ACTIONS["allow"],
    "KVM_PMU_EVENT_DENY": abi.PMU_EVENT_ACTIONS["deny"],
    "sizeof(((struct kvm_enable_cap *)0)->args) / 8": abi.CAPABILITY_ARGUMENTS,
    "sizeof(struct kvm_pmu_event_filter)": 8,
    "KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_FW": named_registers()[
        "KVM_REG_ARM_PSCI_VERSION"
    ],
    "KVM_REG_ARM64_SVE_VLS": abi.SVE_VLS.id,
    # KVM_MAX_VCPUS is not in the uapi; the longest vector is.
    "KVM_ARM64_SVE_VQ_MAX * 128": limits.VECTOR_LENGTH_GREATEST,
    "KVM_ARM64_SVE_VQ_MIN * 128": limits.VECTOR_LENGTH_STEP,
    **{
        f"ARM64_SYS_REG({', '.join(map(str, encoding))})": named_registers()[name.split()[0]]
        for encoding, name in SYSTEM_REGISTERS.items()
    },
}
"""Expressions over the headers of Linux 6.1, with their values."""

CORE = {
    **{f"X{n}": f"regs.regs[{n}]" for n in range(31)},
    "SP": "regs.sp",
    "PC": "regs.pc",
    "PSTATE": "regs.pstate",
    "SP_EL1": "sp_el1",
    "ELR_EL1": "elr_el1",
    "SPSR_EL1": "spsr[KVM_SPSR_EL1]",
    "SPSR_ABT": "spsr[KVM_SPSR_ABT]",
    "SPSR_UND": "spsr[KVM_SPSR_UND]",
    "SPSR_IRQ": "spsr[KVM_SPSR_IRQ]",
    "SPSR_FIQ": "spsr[KVM_SPSR_FIQ]",
    **{f"V{n}": f"fp_regs.vregs[{n}]" for n in range(32)},
    "FPSR": "fp_regs.fpsr",
    "FPCR": "fp_regs.fpcr",
}
"""The member of struct kvm_regs of each core register."""


def test_numbers_are_those_of_the_headers(program: Callable[[str], str], tmp_path: Path) -> None:
    lines = [f'_Static_assert({name} == {value:#x}, "{name}");' for name, value in ASSERTED.items()]
    for number, (name, bits) in CORE_REGISTERS.items():
        member = CORE[name]
        lines.append(f'_Static_assert(KVM_REG_ARM_CORE_REG({member}) == {number}, "{name}");')
        lines.append(
            f'_Static_assert(sizeof(((struct kvm_regs *)0)->{member}) == {bits // 8}, "{name}");'
        )
    source = tmp_path / "numbers.c"
    source.write_text("#include <stddef.h>\n#include <linux/kvm.h>\n" + "\n".join(lines))
    done = subprocess.run(
        [program("aarch64-linux-gnu-gcc"), "-fsyntax-only", str(source)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_core_register_is_compared() -> None:
    assert set(CORE) == {name for name, _ in CORE_REGISTERS.values()}


NEWER = {
    "PSCI_1_3_FN_SYSTEM_OFF2": 0x84000015,
    "PSCI_1_3_FN64_SYSTEM_OFF2": 0xC4000015,
    "KVM_REG_ARM_VENDOR_HYP_BMAP_2": 0x6030000000160003,
    "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP": 225,
    "KVM_CAP_COUNTER_OFFSET": 227,
    "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE": 228,
    "KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES": 229,
    "KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES": 230,
    "KVM_CAP_USER_MEMORY2": 231,
    "KVM_CAP_GUEST_MEMFD": 234,
    "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS": 239,
    "KVM_CAP_ARM_EL2": 240,
    "KVM_CAP_ARM_EL2_E2H0": 241,
    "KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED": 243,
    "KVM_CAP_GUEST_MEMFD_FLAGS": 244,
    "KVM_CAP_ARM_SEA_TO_USER": 245,
    "KVM_CAP_ARM_PMU_V3_STRICT": 251,
    "KVM_DEV_TYPE_ARM_VGIC_V5": 16,
    "KVM_ARM_VM_SMCCC_CTRL": 0,
    "KVM_ARM_VM_SMCCC_FILTER": 0,
    "KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ": 9,
    "KVM_ARM_VCPU_TIMER_IRQ_HVTIMER": 2,
    "KVM_ARM_VCPU_TIMER_IRQ_HPTIMER": 3,
    "KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS": 4,
    "KVM_ARM_VCPU_HAS_EL2": 7,
    "KVM_ARM_VCPU_HAS_EL2_E2H0": 8,
    "KVM_ARM_VCPU_PMU_V3_STRICT": 9,
}
"""The numbers that the headers of Linux 6.1 do not have, read in those of 7.3.4."""


def test_newer_numbers_are_those_of_newer_headers(program: Callable[[str], str]) -> None:
    numbers = of_linux()
    asked = "".join(f"#ifndef {name}\nlacks {name}\n#endif\n" for name in numbers)
    done = subprocess.run(
        [program("aarch64-linux-gnu-gcc"), "-E", "-P", "-"],
        input=f"#include <linux/kvm.h>\n#include <linux/psci.h>\n{asked}",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lacking = re.findall(r"(?m)^lacks (\w+)", done.stdout)
    assert set(lacking) <= set(NEWER), "read these numbers in headers that have them"
    assert {name: numbers[name] for name in NEWER} == NEWER


def test_actions_of_the_smccc_filter_are_those_of_the_uapi() -> None:
    """enum kvm_smccc_filter_action of Linux 6.4: HANDLE, DENY, FWD_TO_USER."""
    assert abi.SMCCC_ACTIONS == {"handle": 0, "deny": 1, "forward": 2}


def test_structs_have_the_layout_of_the_uapi() -> None:
    assert EVENT_FILTER.data((0x1234, 0x5678, 1)).hex() == "3412785601000000"
    assert SMCCC_RANGE.data((0x84000001, 0x10203, 2)).hex() == "010000840302010002" + "00" * 15


# The Arm architecture -----------------------------------------------------------------------------

ID_REGISTERS = """
MIDR_EL1 0 0
MPIDR_EL1 0 5
REVIDR_EL1 0 6
ID_PFR0_EL1 1 0
ID_PFR1_EL1 1 1
ID_DFR0_EL1 1 2
ID_AFR0_EL1 1 3
ID_MMFR0_EL1 1 4
ID_MMFR1_EL1 1 5
ID_MMFR2_EL1 1 6
ID_MMFR3_EL1 1 7
ID_ISAR0_EL1 2 0
ID_ISAR1_EL1 2 1
ID_ISAR2_EL1 2 2
ID_ISAR3_EL1 2 3
ID_ISAR4_EL1 2 4
ID_ISAR5_EL1 2 5
ID_MMFR4_EL1 2 6
ID_ISAR6_EL1 2 7
MVFR0_EL1 3 0
MVFR1_EL1 3 1
MVFR2_EL1 3 2
ID_PFR2_EL1 3 4
ID_DFR1_EL1 3 5
ID_MMFR5_EL1 3 6
ID_AA64PFR0_EL1 4 0
ID_AA64PFR1_EL1 4 1
ID_AA64PFR2_EL1 4 2
ID_AA64ZFR0_EL1 4 4
ID_AA64SMFR0_EL1 4 5
ID_AA64FPFR0_EL1 4 7
ID_AA64DFR0_EL1 5 0
ID_AA64DFR1_EL1 5 1
ID_AA64DFR2_EL1 5 2
ID_AA64AFR0_EL1 5 4
ID_AA64AFR1_EL1 5 5
ID_AA64ISAR0_EL1 6 0
ID_AA64ISAR1_EL1 6 1
ID_AA64ISAR2_EL1 6 2
ID_AA64ISAR3_EL1 6 3
ID_AA64MMFR0_EL1 7 0
ID_AA64MMFR1_EL1 7 1
ID_AA64MMFR2_EL1 7 2
ID_AA64MMFR3_EL1 7 3
ID_AA64MMFR4_EL1 7 4
"""
"""CRm and op2 of the registers with op0 3 and op1, CRn 0 (Arm DDI 0487, AArch64 System register
encodings).
"""

OTHER_REGISTERS = {
    "ZCR_EL1": (3, 0, 1, 2, 0),
    "CLIDR_EL1": (3, 1, 0, 0, 1),
    "AIDR_EL1": (3, 1, 0, 0, 7),
    "CSSELR_EL1": (3, 2, 0, 0, 0),
    "CTR_EL0": (3, 3, 0, 0, 1),
    "PMCR_EL0": (3, 3, 9, 12, 0),
    "CNTKCTL_EL1": (3, 0, 14, 1, 0),
    "KVM_REG_ARM_PTIMER_CNT": (3, 3, 14, 0, 1),
    "KVM_REG_ARM_PTIMER_CTL": (3, 3, 14, 2, 1),
    "KVM_REG_ARM_PTIMER_CVAL": (3, 3, 14, 2, 2),
    "KVM_REG_ARM_TIMER_CTL": (3, 3, 14, 3, 1),
    "KVM_REG_ARM_TIMER_CVAL": (3, 3, 14, 0, 2),
    "KVM_REG_ARM_TIMER_CNT": (3, 3, 14, 3, 2),
}


def test_system_registers_have_the_encodings_of_the_architecture() -> None:
    lines = [line.split() for line in ID_REGISTERS.split("\n") if line]
    expected = {name: (3, 0, 0, int(crm), int(op2)) for name, crm, op2 in lines} | OTHER_REGISTERS
    found = {name.partition(" ")[0]: encoding for encoding, name in SYSTEM_REGISTERS.items()}
    assert found == expected
    assert named_registers()["PMCR_EL0"] == abi.PMCR_EL0.id == 0x603000000013DCE0
    assert named_registers()["MPIDR_EL1"] == abi.MPIDR_EL1.id == 0x603000000013C005


def test_registers_of_the_whole_vm_are_those_of_6_12() -> None:
    """The others are banked per vCPU: sys_regs.c:access_clidr, hypercalls.c."""
    assert {name for name, each in SETTABLE.items() if each.per_vcpu} == {"CLIDR_EL1"}
    assert {name for name, each in SETTABLE.items() if not each.is_kept} == {
        f"KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_{number}" for number in (1, 2, 3)
    }
    needing = {name for name, each in SETTABLE.items() if each.capability is not None}
    assert needing == {"MIDR_EL1", "REVIDR_EL1", "AIDR_EL1"}


FUNCTIONS_OUTSIDE_THE_UAPI = {
    "ARM_SMCCC_VERSION_FUNC_ID": 0x80000000,
    "ARM_SMCCC_ARCH_FEATURES_FUNC_ID": 0x80000001,
    "ARM_SMCCC_ARCH_SOC_ID": 0x80000002,
    "ARM_SMCCC_ARCH_SOC_ID64": 0xC0000002,
    "ARM_SMCCC_ARCH_WORKAROUND_1": 0x80008000,
    "ARM_SMCCC_ARCH_WORKAROUND_2": 0x80007FFF,
    "ARM_SMCCC_ARCH_WORKAROUND_3": 0x80003FFF,
    "ARM_SMCCC_TRNG_VERSION": 0x84000050,
    "ARM_SMCCC_TRNG_FEATURES": 0x84000051,
    "ARM_SMCCC_TRNG_GET_UUID": 0x84000052,
    "ARM_SMCCC_TRNG_RND32": 0x84000053,
    "ARM_SMCCC_TRNG_RND64": 0xC4000053,
    "ARM_SMCCC_HV_PV_TIME_FEATURES": 0xC5000020,
    "ARM_SMCCC_HV_PV_TIME_ST": 0xC5000021,
    "ARM_SMCCC_VENDOR_HYP_CALL_UID_FUNC_ID": 0x8600FF01,
    "ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID": 0x86000000,
    "ARM_SMCCC_VENDOR_HYP_KVM_PTP_FUNC_ID": 0x86000001,
    "ARM_SMCCC_VENDOR_HYP_KVM_HYP_MEMINFO_FUNC_ID": 0xC6000002,
    "ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID": 0xC6000003,
    "ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID": 0xC6000004,
    "ARM_SMCCC_VENDOR_HYP_KVM_MMIO_GUARD_FUNC_ID": 0xC6000007,
    "ARM_SMCCC_VENDOR_HYP_KVM_DISCOVER_IMPL_VER_FUNC_ID": 0xC6000040,
    "ARM_SMCCC_VENDOR_HYP_KVM_DISCOVER_IMPL_CPUS_FUNC_ID": 0xC6000041,
    "PSCI_1_1_FN_MEM_PROTECT_CHECK_RANGE": 0x84000014,
    "PSCI_1_1_FN64_MEM_PROTECT_CHECK_RANGE": 0xC4000014,
}
"""By <linux/arm-smccc.h> of Linux 7.2, DEN0028, DEN0098, DEN0057, and DEN0022."""


def test_functions_outside_the_uapi_have_their_ids() -> None:
    assert {
        name: FUNCTIONS[name] for name in FUNCTIONS_OUTSIDE_THE_UAPI
    } == FUNCTIONS_OUTSIDE_THE_UAPI
    others = set(FUNCTIONS) - set(FUNCTIONS_OUTSIDE_THE_UAPI)
    # tests/test_explain.py compares these with <linux/psci.h>.
    assert [name for name in sorted(others) if not name.startswith("PSCI_")] == []


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("POWER_OFF", 0),
        ("EL1_32BIT", 1),
        ("PSCI_0_2", 2),
        ("PMU_V3", 3),
        ("SVE", 4),
        ("PTRAUTH_ADDRESS", 5),
        ("PTRAUTH_GENERIC", 6),
        ("HAS_EL2", 7),
        ("HAS_EL2_E2H0", 8),
        ("PMU_V3_STRICT", 9),
    ],
)
def test_features_have_the_bits_of_the_uapi(name: str, bit: int) -> None:
    assert VCPU_FEATURES[name] == bit


@pytest.mark.parametrize(
    ("machine", "compiler"), [("x86_64", "gcc"), ("aarch64", "aarch64-linux-gnu-gcc")]
)
def test_system_calls_have_the_numbers_of_their_architecture(
    machine: str, compiler: str, program: Callable[[str], str]
) -> None:
    abi = ABIS[machine]
    numbers = {f"SYS_{name}": getattr(abi, name) for name in ("ioctl", "fcntl", "dup", "dup3")}
    numbers |= {"SYS_dup2": abi.dup2, f"AUDIT_ARCH_{machine.upper()}": abi.architecture}
    source = "#include <sys/syscall.h>\n#include <linux/audit.h>\n"
    for name, number in numbers.items():
        if number is None:
            source += f"#ifdef {name}\n#error {name} exists\n#endif\n"
        else:
            source += f'_Static_assert({name} == {number}U, "{name}");\n'
    done = subprocess.run(
        [program(compiler), "-fsyntax-only", "-x", "c", "-"],
        input=source,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_architecture_is_compared() -> None:
    assert set(ABIS) == {"x86_64", "aarch64"}
