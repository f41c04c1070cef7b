"""vmcfg decode: every reading of a number, possible or not, with the reason; compared with the
layouts of the bits.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.processes import run_vmcfg_as_text
from vmcfg.plans.apis import VCPU
from vmcfg.plans.command import Row
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.state import STATE_V3, StateRow
from vmcfg.reference.attribute_numbers import Numbers
from vmcfg.reference.attribute_text import errors_of
from vmcfg.vm.readings import READINGS, readings

ROOT = Path(__file__).parent.parent


def decode(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_vmcfg_as_text(["decode", *arguments])


def possible(value: int) -> dict[str, str]:
    return {each.name: each.meaning for each in readings(value) if each.meaning is not None}


def refused(value: int) -> dict[str, str]:
    return {each.name: each.reason for each in readings(value) if each.reason is not None}


REDIST = "attr of GICv3 REDIST_REGS"
SYSREGS = "attr of GICv3 CPU_SYSREGS"
LEVELS = "attr of GICv3 LEVEL_INFO"
GICV2 = "attr of GICv2 DIST_REGS, CPU_REGS"
BY_INDEX = "attr of the PMU device, by index"
BY_MPIDR = "attr of the PMU device, by MPIDR"
IRQ_LINE = "KVM_IRQ_LINE word"
CELL = "device tree interrupts cell"
REG = "device tree reg of a CPU"
GSI = "gsi of KVM_IRQFD"
ONE_REG = "ONE_REG id"
FUNCTION = "SMCCC function id"


@pytest.mark.parametrize(
    ("value", "name", "meaning"),
    [
        (16, "vCPU id", "MPIDR 0.0.1.0"),
        (511, "vCPU id", "MPIDR 0.0.31.15"),
        (0x80000100, "MPIDR_EL1", "MPIDR 0.0.1.0, which KVM assigns to vCPU id 16"),
        (0x80002000, "MPIDR_EL1", "MPIDR 0.0.32.0: KVM assigns it to no id"),
        (
            0x01_8002_0305,
            "MPIDR_EL1",
            "MPIDR 1.2.3.5: KVM assigns it to no id, and a guest with GICv3 cannot reach",
        ),
        (
            0xC1000000,
            "MPIDR_EL1",
            "MPIDR 0.0.0.0, which KVM assigns to vCPU id 0; U: uniprocessor; MT: Aff0 is a thread",
        ),
        (0x100, "compressed MPIDR", "MPIDR 0.0.1.0, which KVM assigns to vCPU id 16"),
        (0xC8, "compressed MPIDR", "with GICv3, SGIs do not reach a vCPU with Aff0 above 15"),
        (0x100_0000_0008, REDIST, "MPIDR 0.0.1.0, offset 0x8, GICR_TYPER"),
        (0x100_0001_0100, REDIST, "MPIDR 0.0.1.0, offset 0x10100, GICR_ISENABLER0"),
        (0x100_0000_C230, SYSREGS, "MPIDR 0.0.1.0, ICC_PMR_EL1"),
        (0x100_0000_0020, LEVELS, "MPIDR 0.0.1.0, line levels of INTIDs 32 to 63"),
        (0x3_0000_0104, GICV2, "vCPU id 3 (in mainline before 6.7 its index), offset 0x104"),
        (17, BY_INDEX, "vCPU index 17, by --api pmu-device, which was never merged"),
        (
            0x100_0000_0000,
            BY_MPIDR,
            "MPIDR 0.0.1.0, by --api pmu-device-mpidr, which was never merged",
        ),
        (0x2000017, IRQ_LINE, "INTID 23 (PPI 7) of vCPU id 0 (before 6.7 its index)"),
        (
            0x122C0017,
            IRQ_LINE,
            "INTID 23 (PPI 7) of vCPU id 300 (before 6.7 its index), which requires "
            "KVM_CAP_ARM_IRQ_LINE_",
        ),
        (0x1000028, IRQ_LINE, "INTID 40 (SPI 8)"),
        (0x1050028, IRQ_LINE, "INTID 40 (SPI 8), with a vCPU that KVM ignores"),
        (0x50001, IRQ_LINE, "the FIQ line of vCPU id 5"),
        (23, "INTID", "INTID 23 (PPI 7); also its GSIV"),
        (15, "INTID", "INTID 15 (SGI 15), which cannot be a PMU interrupt"),
        (8192, "INTID", "INTID 8192 (LPI), which cannot be a PMU interrupt"),
        (7, CELL, "after 1: INTID 23 (PPI 7), after 0: INTID 39 (SPI 7)"),
        (987, CELL, "after 0: INTID 1019 (SPI 987)"),
        (0x100, REG, "MPIDR 0.0.1.0, which KVM assigns to vCPU id 16; in one cell"),
        (0x1_0002_0305, REG, "MPIDR 1.2.3.5"),
        (40, "INTID", "the gsi of KVM_IRQFD is 8"),
        (8, GSI, "INTID 40 (SPI 8)"),
        (8, GSI, "KVM_IRQFD reports no error if the VM has no such interrupt"),
        (8, GSI, "KVM_IRQ_LINE takes 0x1000028"),
        (987, GSI, "INTID 1019 (SPI 987)"),
        (
            0x603000000013C005,
            ONE_REG,
            "arm64 system register, 64 bits: MPIDR_EL1; op0 3, op1 0, CRn 0, CRm 0, op2 5",
        ),
        (0x603000000013DCE0, ONE_REG, "PMCR_EL0; op0 3, op1 3, CRn 9, CRm 12, op2 0"),
        (0x603000000013C020, ONE_REG, "ID_AA64PFR0_EL1; op0 3, op1 0, CRn 0, CRm 4, op2 0"),
        (0x603000000013C039, ONE_REG, "ID_AA64MMFR1_EL1;"),
        (0x603000000013C01E, ONE_REG, "64 bits: ID_MMFR5_EL1; op0 3, op1 0, CRn 0, CRm 3, op2 6"),
        (0x603000000013FFFF, ONE_REG, "64 bits: op0 3, op1 7, CRn 15, CRm 15, op2 7"),
        (0x603000000013DF02, ONE_REG, "KVM_REG_ARM_TIMER_CVAL (CNTV_CVAL_EL0, with the encoding"),
        (0x6030000000100042, ONE_REG, "core register, 64 bits: PSTATE"),
        (0x60400000001000D0, ONE_REG, "core register, 128 bits: V31"),
        (0x60200000001000D5, ONE_REG, "core register, 32 bits: FPCR"),
        (0x6020000000110003, ONE_REG, "CCSIDR_EL1 for CSSELR_EL1 0x3"),
        (0x6030000000140001, ONE_REG, "64 bits: KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1"),
        (0x6030000000140009, ONE_REG, "number 0x9, unknown to Linux 7.3"),
        (0x6030000000160002, ONE_REG, "64 bits: KVM_REG_ARM_VENDOR_HYP_BMAP"),
        (0x606000000015FFFF, ONE_REG, "512 bits: KVM_REG_ARM64_SVE_VLS, the vector lengths"),
        (0x60800000001503E1, ONE_REG, "2048 bits: Z31, part 1"),
        (0x6050000000150420, ONE_REG, "256 bits: P1"),
        (0x6050000000150600, ONE_REG, "256 bits: FFR"),
        (0xC4000003, FUNCTION, "PSCI_0_2_FN64_CPU_ON: SMC64 function 0x3 of standard secure"),
        (0xC5000021, FUNCTION, "ARM_SMCCC_HV_PV_TIME_ST: SMC64 function 0x21 of standard hyper"),
        (0x86000005, FUNCTION, "SMC32 function 0x5 of the hypervisor"),
    ],
)
def test_what_a_number_can_be(value: int, name: str, meaning: str) -> None:
    assert meaning in possible(value)[name]


@pytest.mark.parametrize(
    ("offset", "name"),
    [
        (0x4, "GICR_IIDR"),
        (0x8, "GICR_TYPER"),
        (0x14, "GICR_WAKER"),
        (0x10280, "GICR_ICPENDR0"),
        *(
            (access.number, access.register.removesuffix("[31:0]"))
            for row in STATE_V3
            if isinstance(row, StateRow) and row.register.startswith("GICR_")
            for access in row.accesses(64)
            if not access.register.endswith("[63:32]")
        ),
    ],
)
def test_a_register_of_a_redistributor_has_its_name(offset: int, name: str) -> None:
    assert possible(offset)[REDIST] == f"MPIDR 0.0.0.0, offset {offset:#x}, {name}"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        (access.number, access.register)
        for row in STATE_V3
        if isinstance(row, StateRow) and row.register.startswith(("ICC_", "ICH_"))
        for access in row.accesses(64)
    ],
)
def test_a_register_of_the_cpu_interface_has_its_name(encoding: int, name: str) -> None:
    assert possible(encoding)[SYSREGS] == f"MPIDR 0.0.0.0, {name}"


@pytest.mark.parametrize(
    ("value", "name", "reason"),
    [
        (512, "vCPU id", "at most 511"),
        (512, "vCPU index", "at most 512 vCPUs"),
        (0x100, "MPIDR_EL1", "bit 31 is 1"),
        (0x82000000, "MPIDR_EL1", "bits [63:40] and [29:25] are 0"),
        (1 << 40 | 1 << 31, "MPIDR_EL1", "bits [63:40] and [29:25] are 0"),
        (1 << 32, "compressed MPIDR", "32 bits"),
        (0x100_0000_0009, REDIST, "multiple of 4"),
        (0x100_0002_0000, REDIST, "end at offset 0x20000"),
        (0x100_0000_C231, SYSREGS, "not a register of the CPU interface"),
        (0x100_0000_0400, LEVELS, "bits [31:10] are 0"),
        (0x100_0000_0021, LEVELS, "a multiple of 32"),
        (8 << 32, GICV2, "at most 8 vCPUs"),
        (1 << 40, GICV2, "bits [63:40] are 0"),
        (1 << 32, BY_INDEX, "bits [63:32] are reserved"),
        (0x100_0000_0001, BY_MPIDR, "bits [31:0] are 0"),
        (0x3000017, IRQ_LINE, "a type from 0 to 2, not 3"),
        (0x2000028, IRQ_LINE, "type 2 is a PPI, which INTID 40 (SPI 8) is not"),
        (0x1000017, IRQ_LINE, "type 1 is an SPI, which INTID 23 (PPI 7) is not"),
        (0x22000017, IRQ_LINE, "vCPU 512 does not exist"),
        (2, IRQ_LINE, "0 for IRQ or 1 for FIQ"),
        (1 << 32, IRQ_LINE, "32 bits"),
        (1020, "INTID", "INTID 1020 (reserved)"),
        (1 << 24, "INTID", "24 bits"),
        (988, CELL, "SPIs are 0 to 987"),
        (1 << 24, REG, "all others are 0"),
        (988, GSI, "the number of an SPI, 0 to 987"),
        (0x403000000013C005, ONE_REG, "bits [63:56] are 0x60 for arm64, not 0x40"),
        (0x603000001013C005, ONE_REG, "bits [51:28] are 0"),
        (0x603000000012C005, ONE_REG, "bits [27:16] are not a kind of register: 0x12"),
        (
            0x604000000013C005,
            ONE_REG,
            "this system register has 64 bits, but bits [55:52] mean 128",
        ),
        (0x6030000000100001, ONE_REG, "no core register begins at word 0x1"),
        (0x6020000000110100, ONE_REG, "bits [15:8] are 0"),
        (0x6050000000150620, ONE_REG, "no SVE register has number 0x620"),
        (0x44000003, FUNCTION, "bit 31 is 1 and bits [23:17] are 0"),
        (0x95C1BA5E, FUNCTION, "bit 31 is 1 and bits [23:17] are 0"),
        (1 << 32, FUNCTION, "32 bits"),
    ],
)
def test_what_a_number_cannot_be(value: int, name: str, reason: str) -> None:
    assert reason in refused(value)[name]


numbers = st.integers(0, (1 << 64) - 1) | st.integers(0, 2000) | st.integers(0, (1 << 32) - 1)


@given(numbers)
@example(0)
@example((1 << 64) - 1)
def test_every_reading_is_possible_or_has_a_reason(value: int) -> None:
    found = list(readings(value))
    assert [each.name for each in found] == [name for name, _ in READINGS]
    for each in found:
        assert each.possible == (each.meaning is not None) == (each.reason is None)
        assert (each.meaning or each.reason or "").strip()


@given(numbers)
def test_registers_and_words_are_possible_by_their_bits_alone(value: int) -> None:
    can_be = possible(value)
    res0 = [*range(40, 64), *range(25, 30)]
    assert ("MPIDR_EL1" in can_be) == (
        value >> 31 & 1 == 1 and not any(value >> bit & 1 for bit in res0)
    )
    kind, number, vcpu = value >> 24 & 15, value & 0xFFFF, (value >> 28) * 256 + (value >> 16 & 255)
    word = (
        (kind == 0 and number < 2)
        or (kind == 1 and 32 <= number < 1020)
        or (kind == 2 and 16 <= number < 32)
    )
    assert (IRQ_LINE in can_be) == (value < 1 << 32 and word and (kind != 2 or vcpu < 512))
    assert (REG in can_be) == (value >> 40 == 0 and value >> 24 & 255 == 0)
    assert (BY_MPIDR in can_be) == (value % (1 << 32) == 0)


# The command --------------------------------------------------------------------------------------


def test_what_it_can_be_comes_first(tmp_path: Path) -> None:
    done = decode("0x80000100")
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == "0x80000100 (2147483904)"
    marks = [line.split("  ")[0] for line in lines]
    assert marks == ["can be"] * 3 + ["cannot be"] * 14
    assert decode("2147483904").stdout == done.stdout


def test_json_has_every_reading() -> None:
    report = json.loads(decode("23", "--format", "json").stdout)
    assert (report["format"], report["format_version"], report["value"]) == (
        "vmcfg.decode",
        "1.0",
        "0x17",
    )
    assert [each["name"] for each in report["readings"]] == [name for name, _ in READINGS]
    for each in report["readings"]:
        assert set(each) == {"name", "possible", "meaning", "reason"}
        assert each["possible"] == (each["reason"] is None) == (each["meaning"] is not None)


def test_an_mpidr_is_shown_by_its_other_names() -> None:
    said = decode("0.0.1.0").stdout
    for word in (
        "vCPU id                           16\n",
        "0x80000100\n",
        "0x10000000000 plus the register offset",
    ):
        assert word in said
    aff3 = decode("7.1.2.3").stdout
    assert f"{7 << 32 | 1 << 31 | 0x10203:#x}" in aff3
    assert "cannot be  device tree reg of a CPU          one cell does not contain Aff3" in aff3
    assert "cannot be  vCPU id" in decode("0.0.0.16").stdout


def test_an_interrupt_is_shown_by_its_other_names() -> None:
    assert "0x2000017 plus the vCPU id in bits [31:28] and [23:16]" in decode("ppi:7").stdout
    assert "0x1000028\n" in decode("spi:8").stdout
    assert "0 8 and the flags" in decode("spi:8").stdout
    assert "can be     gsi of KVM_IRQFD              8, with the default" in decode("spi:8").stdout
    assert "cannot be  gsi of KVM_IRQFD" in decode("ppi:7").stdout


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("010", "write 8 or 10"),
        ("x", "invalid number 'x'"),
        ("", "invalid number ''"),
        ("0x1g", "invalid number '0x1g'"),
        ("18446744073709551616", "must be at most 0xffffffffffffffff"),
        ("0.0.1", "write all four"),
        ("0.0.0.256", "VALUE must be one MPIDR"),
        ("0.0.0.0-3", "VALUE must be one MPIDR"),
        ("ppi:16", "VALUE must be ppi:0 to ppi:15"),
        ("spi:988", "or spi:0 to spi:987"),
        ("spi:0-3", "must be one interrupt, not a range"),
        ("sgi:1", "invalid interrupt 'sgi:1'"),
    ],
)
def test_what_is_no_number_is_wrong_usage(value: str, message: str) -> None:
    done = decode(value)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())


def test_the_greatest_number_is_one() -> None:
    assert decode("18446744073709551615").returncode == 0


# Attributes by number -----------------------------------------------------------------------------


def attribute(*arguments: str) -> str:
    done = decode("--attr", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(done.stdout.split())


def test_numbers_of_a_log_are_an_attribute_with_its_key_its_type_and_its_errors() -> None:
    said = attribute("gic", "3", "0")
    assert said.startswith("KVM_DEV_ARM_VGIC_GRP_NR_IRQS (3), 0x0 (0x0): set-attr gic")
    for part in (
        "written gic.nr_irqs: ",
        "value u32, four bytes",
        "EINVAL the number is below 64",
        "EBUSY the number is already set",
        "EFAULT the kernel cannot read the address",
        "EIO the VM belongs to another process",
        "VMC404 invalid-nr-irqs",
    ):
        assert part in said
    assert attribute("gic", "0x3", "7") == said, "KVM ignores the number in this group"


@pytest.mark.parametrize("errno", ["22", "-22", "EINVAL", "einval"])
def test_an_errno_selects_one_meaning(errno: str) -> None:
    said = attribute("gic", "3", "0", "--errno", errno)
    assert said.startswith("errno 22: EINVAL KVM_DEV_ARM_VGIC_GRP_NR_IRQS")
    assert "EINVAL the number is below 64" in said
    assert "EBUSY" not in said
    assert "VMC404" in said


def test_rules_of_other_errors_are_not_named() -> None:
    said = attribute("vcpu", "0", "0", "--errno", "16")
    assert "EBUSY the interrupt is already set" in said
    assert "VMC" not in said


ROWS = [row for row in SEQUENCE if row.attr is not None and VCPU in row.apis]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_every_attribute_is_found_by_its_numbers(row: Row) -> None:
    assert row.attr is not None
    numbers = Numbers(row.target, row.attr.group_id, row.attr.id)
    assert numbers.row() is row
    assert numbers.errors().keys() >= errors_of(row).keys()


@pytest.mark.parametrize(
    ("numbers", "parts"),
    [
        ("gic 5 0x10000000008", ["GRP_REDIST_REGS (5)", "MPIDR 0.0.1.0, offset 0x8, GICR_TYPER"]),
        ("gic 7 0x400", ["GRP_LEVEL_INFO (7)", "An invalid number: bits [31:10] are 0"]),
        ("gic 1 0x300000104", ["GRP_DIST_REGS (1)", "vCPU id 3", "offset 0x104", "no key sets it"]),
        ("gic 4 3", ["VGIC_GRP_CTRL (4), 0x3", "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES"]),
        ("its 4 1", ["KVM_DEV_ARM_ITS_SAVE_TABLES, which saves"]),
        ("its 8 0x80", ["KVM_DEV_ARM_VGIC_GRP_ITS_REGS (8), 0x80", "Offset 0x80"]),
        ("its 0 3", ["has no such attribute in this group", "ENODEV the kernel does not support"]),
        ("vcpu 0 9", ["PMU_V3_CTRL (0), 0x9", "no such attribute", "ENXIO the kernel does not"]),
        ("vm 7 0", ["unknown group (7), 0x0: vm", "no such group"]),
        ("gic 5 0 --errno 16", ["errno 16: EBUSY", "a vCPU is in an ioctl"]),
        ("gic 5 0 --errno 12", ["ENOMEM vmcfg does not know a reason for this errno"]),
    ],
)
def test_other_numbers_are_state_or_unknown(numbers: str, parts: list[str]) -> None:
    said = attribute(*numbers.split())
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attr", "gic", "3"], "--attr"),
        (["--attr", "cpu", "3", "0"], "TARGET must be gic, its, vcpu, or vm, not 'cpu'"),
        (["--attr", "gic", "x", "0"], "invalid number 'x' for GROUP"),
        (["--attr", "gic", "3", "010"], "invalid number '010' for ATTR"),
        (["--attr", "gic", "3", "0", "--errno", "ENOPE"], "ERRNO must be a number"),
        (["--attr", "gic", "3", "0", "--errno", "9999"], "ERRNO must be a number"),
        (["--attr", "gic", "3", "0", "5"], "VALUE cannot be used with --attr"),
        (["--errno", "22", "5"], "--errno requires --attr"),
        ([], "Missing argument 'VALUE'"),
    ],
)
def test_wrong_numbers_are_wrong_usage(arguments: list[str], message: str) -> None:
    done = decode(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
