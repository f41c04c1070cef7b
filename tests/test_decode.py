"""vmcfg decode: every reading of a number, possible or not, with the reason; compared with the
layouts of the bits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmcfg.vm.readings import READINGS, readings

ROOT = Path(__file__).parent.parent


def decode(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmcfg", "decode", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


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
    ],
)
def test_what_a_number_can_be(value: int, name: str, meaning: str) -> None:
    assert meaning in possible(value)[name]


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
    assert marks == ["can be"] * 2 + ["cannot be"] * 12
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
