"""On real kernels: requested MPIDRs, the limits of each identifier, and a VMM in C."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kvm import independent, machine, oracle
from tests.seeds import SEED
from vmcfg.checking.check import check
from vmcfg.formats.json_lines import jsonl
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.vm.identifier_limits import LIMITS, TESTED
from vmcfg.vm.identifiers import irq_line

HERE = Path(__file__).parent
MPIDRS_KEPT = (6, 10)
PPIS_BY_ID = (6, 7)
"""Older kernels lose the PPIs of vCPUs whose id and index differ."""

GIC = (
    "gic: {version: 3, nr_irqs: 992, distributor: 0x08000000, redistributors: [{base: 0x0a000000}]}"
)
RANDOM = 40
"""The number of random descriptions; VMCFG_SEED draws others."""


# Descriptions -------------------------------------------------------------------------------------


def described(mpidrs: list[str], policy: str, pmu: str = "irq: 23", rest: str = GIC) -> bytes:
    vcpus = "\n".join(f"  - mpidr: {each}" for each in mpidrs)
    text = (
        f'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\nvcpu_ids: {policy}\n'
        f"pmu: {{{pmu}}}\n{rest}\nvcpus:\n{vcpus}\n"
    )
    return text.encode()


def dotted(register: int) -> str:
    """Return the dotted MPIDR of 24 bits, without Aff3."""
    return f"0.{register >> 16 & 255}.{register >> 8 & 255}.{register & 255}"


def by_id(vcpu: int) -> str:
    return dotted(vcpu >> 4 << 8 | vcpu & 15)


TOPOLOGIES = {
    # Two clusters of two, with the core in Aff1: zephyr issue 57585.
    "zephyr, cores in Aff1": ["0.0.0.0", "0.0.1.0", "0.1.0.0", "0.1.1.0"],
    # Two clusters of two, with the core in Aff0: zephyr issue 32187.
    "zephyr, not contiguous": ["0.0.0.0", "0.0.0.1", "0.0.1.0", "0.0.1.1"],
    # Sockets of unequal size, with SMT on one of them: openvmm pull request 4387 cannot represent
    # this.
    "openvmm, irregular": ["0.0.0.0-1", "0.0.1.0-1", "0.0.2.0", "0.1.0.0", "0.1.3.0", "0.3.0.0-2"],
    # More than 16 vCPUs: a defect of openvmm pull request 4373.
    "openvmm, 112": ["0.0.0-6.0-15"],
    "reversed": [by_id(vcpu) for vcpu in reversed(range(48))],
    "reversed, 512": [by_id(vcpu) for vcpu in reversed(range(512))],
    "all 512 ids": ["0.0.0-31.0-15"],
    "512 that KVM does not assign": ["0.200.0-31.0-15"],
    "half and half, 512": [
        f"0.{vcpu % 2 * 77}.{vcpu >> 5}.{vcpu >> 1 & 15}" for vcpu in range(512)
    ],
    "sparse": [by_id(vcpu) for vcpu in (511, 300, 17, 256, 0, 255)],
    "ids that are in use": ["0.9.0.0", "0.9.0.1", "0.0.0.0", "0.9.0.2", "0.0.0.2"],
    "greatest": ["0.255.255.15", "0.255.255.14", "0.0.255.15", "0.255.0.0"],
}


ONE_POLICY = {
    "reversed, 512": ("derived",),
    "512 that KVM does not assign": ("sequential",),
    "half and half, 512": ("derived",),
}
"""Large VMs that are created with only one policy for the ids, because they take seconds."""


def random_ones() -> Iterator[tuple[str, bytes]]:
    dice = random.Random(SEED)
    for number in range(RANDOM):
        count = dice.choice([1, 2, 3, 5, 8, 13, 21, 34])
        share = dice.random()
        chosen: dict[str, None] = {}
        while len(chosen) < count:
            if dice.random() < share:
                chosen[by_id(dice.choice([dice.randrange(512), dice.randrange(count)]))] = None
            else:
                fields = (
                    dice.choice([0, 1, 255, dice.randrange(256)]),
                    dice.randrange(256),
                    dice.randrange(16),
                )
                chosen[dotted(fields[0] << 16 | fields[1] << 8 | fields[2])] = None
        mpidrs = dice.sample(list(chosen), count)
        pmu = dice.choice(["irq: 23", f"irq: spi:8-{7 + count}", ""])
        yield (
            f"random {SEED}.{number}",
            described(mpidrs, dice.choice(["derived", "sequential"]), pmu),
        )


@cache
def descriptions() -> dict[str, bytes]:
    found = {
        f"{name}, {policy}": described(mpidrs, policy)
        for name, mpidrs in TOPOLOGIES.items()
        for policy in ONE_POLICY.get(name, ("derived", "sequential"))
    }
    return found | dict(random_ones())


@cache
def asked_for(data: bytes) -> dict[int, tuple[int, ...]]:
    """Return the MPIDRs in a description by id, read without vmcfg."""
    return {vcpu: mpidr for vcpu, mpidr, _, _ in independent.vcpus(yaml.safe_load(data))}


def by_register(data: bytes) -> list[int]:
    """Return the ids of the vCPUs whose MPIDR is not the one that KVM assigns."""
    return [vcpu for vcpu, mpidr in asked_for(data).items() if mpidr != independent.of_id(vcpu)]


@cache
def named_job(data: bytes) -> dict[str, Any]:
    checked = check(data, "vm.yaml")
    assert checked.machine is not None
    assert not checked.diagnostics, checked.diagnostics
    plan = jsonl(lower(checked.machine, WHOLE_VM), checked.tree)
    return {
        "plan": [json.loads(line) for line in plan.splitlines()],
        "mpidrs": {vcpu: independent.register(mpidr) for vcpu, mpidr in asked_for(data).items()},
    }


GIC_OF_VMM = "gic: {version: 3, set_up_by: monitor, nr_irqs: 992}"
BLOCKS = {
    "as KVM numbers them": ("6.1", "vcpus: 20\npmu: {irq: 23}"),
    "without a gic": ("6.1", "vcpus: 4\npmu: {irq: 23}"),
    "one SPI each": ("6.1", f"vcpus: 4\npmu: {{irq: spi:8-11}}\n{GIC_OF_VMM}"),
    "timers moved": (
        "6.1",
        f"vcpus: 3\npmu: {{irq: 23}}\ntimers: {{virtual: 20, physical: 19}}\n{GIC_OF_VMM}",
    ),
    "steal time and a filter": (
        "6.1",
        "vcpus: 3\npmu: {irq: 23, filter: [{action: deny, events: 0x11}, {action: allow, "
        "events: 0x08-0x1b}]}\n"
        f"memory: [{{base: 0x090a0000, size: 64KiB}}]\nsteal_time: "
        f"{{base: 0x090a0000}}\n{GIC_OF_VMM}",
    ),
    "an SMCCC filter": (
        "6.4",
        f"vcpus: 2\npmu: {{irq: 23}}\nsmccc_filter: "
        f"[{{action: deny, base: 0x84000005, count: 1}}]\n{GIC_OF_VMM}",
    ),
    "a board with holes": (
        "6.10",
        "vcpus: [{mpidr: 0.0.1.0-1}, {mpidr: 0.0.0.0-2}, {mpidr: 0.2.0.0}]\npmu: {irq: 23}\n"
        + GIC_OF_VMM,
    ),
    "512 reversed, an SPI each": (
        "6.10",
        "pmu: {irq: spi:0-511}\n"
        + GIC_OF_VMM
        + "\nvcpus:\n"
        + "\n".join(f"  - mpidr: {by_id(vcpu)}" for vcpu in reversed(range(512))),
    ),
    "four counters": ("6.16", f"vcpus: 2\npmu: {{irq: 23, counters: 4}}\n{GIC_OF_VMM}"),
}
"""Descriptions for a VMM that sets up its own GIC, and the first kernel that supports them."""


def emitted(path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "vmcfg", "emit", str(path), *options]
    return subprocess.run(
        command, cwd=oracle.ROOT, check=True, capture_output=True, text=True
    ).stdout


@cache
def block_job(folder: Path, since: str, text: str) -> dict[str, Any]:
    path = folder / "vm.yaml"
    path.write_text(f'vmcfg: 1\nname: vm\nhost_kernel: "{since}"\nvcpu_ids: sequential\n{text}\n')
    vm = check(path.read_bytes(), "vm.yaml").machine
    assert vm is not None
    block = emitted(path, "--numbers") + emitted(path, "--get", "--numbers")
    return {"vcpus": len(vm.vcpus), "block": block}


# Answers of the kernels ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def vmm(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the program of the VMM in C, for arm64, statically linked."""
    path = tmp_path_factory.mktemp("vmm") / "vmm"
    flags = (
        "-std=c11",
        "-pedantic",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wshadow",
        "-O1",
        "-static",
        "-s",
    )
    source = HERE / "vmm.c"
    subprocess.run(
        [program("aarch64-linux-gnu-gcc"), *flags, "-o", str(path), str(source)], check=True
    )
    return path.read_bytes()


@cache
def said(series: str, gic: int, program: bytes, folder: Path) -> dict[str, Any]:
    """Return the answers of one boot of the kernel of a series."""
    version = oracle.version(series)
    jobs: dict[str, Any] = {"gic": gic, "named": {}, "blocks": {}}
    if gic == 3:
        jobs["named"] = {name: named_job(data) for name, data in descriptions().items()}
        jobs["blocks"] = {
            name: block_job(folder, since, text)
            for name, (since, text) in BLOCKS.items()
            if version >= tuple(map(int, since.split(".")))
        }
    files = {
        **oracle.package(),
        "/work/names_driver.py": (HERE / "names_driver.py").read_bytes(),
        "/work/jobs.json": json.dumps(jobs).encode(),
        "/work/vmm": program,
    }
    command = ["sh", "-c", "chmod +x vmm && exec python3 names_driver.py"]
    result = machine.run(oracle.kernel(series), files, command, gic_version=gic, timeout=1200)
    assert result.exit_code == 0, result.stderr.decode()
    answers: dict[str, Any] = json.loads(result.stdout)
    oracle.TALLY[series]["seconds in guests"] += round(answers["seconds"])
    for part in ("limits", "named", "blocks"):
        assert "error" not in answers[part], answers[part]["error"]
    return answers


Ask = Callable[..., "dict[str, Any]"]


@pytest.fixture
def ask(vmm: bytes, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Return a function that returns the answers of a kernel on a machine with that GIC."""
    folder = tmp_path_factory.getbasetemp()
    return lambda series, gic=3: said(series, gic, vmm, folder)


@pytest.mark.parametrize("series", oracle.FULL)
def test_every_vcpu_has_the_mpidr_that_was_asked_for(series: str, ask: Ask) -> None:
    answers = ask(series)["named"]
    assert set(answers) == set(descriptions())
    for name, answer in answers.items():
        # After it is set, as the vGIC finds it, and after the first run.
        assert {key: answer[key] for key in ("set", "typer", "run")} == {
            "set": {},
            "typer": {},
            "run": {},
        }, name
        assert answer["vcpus"] == len(asked_for(descriptions()[name])), name
        oracle.TALLY[series]["MPIDRs read back"] += answer["vcpus"]
        oracle.TALLY[series]["MPIDRs by register"] += len(by_register(descriptions()[name]))


@pytest.mark.parametrize("series", oracle.FULL)
def test_a_reset_loses_set_mpidrs_before_6_10_alone(series: str, ask: Ask) -> None:
    """vmcfg reports it for exactly the descriptions with such an MPIDR, and lost PPIs for exactly
    those with an id that is not an index.
    """
    version = oracle.version(series)
    answers = ask(series)["named"]
    assert set(answers) == set(descriptions())
    for name, answer in answers.items():
        data = descriptions()[name]
        lost = (
            {}
            if version >= MPIDRS_KEPT
            else {
                str(vcpu): independent.register(independent.of_id(vcpu))
                for vcpu in by_register(data)
            }
        )
        assert answer["reset"] == lost, name
        loses_ppis = version < PPIS_BY_ID and any(
            vcpu != index for index, vcpu in enumerate(sorted(asked_for(data)))
        )
        expected = [*(["VMC701"] if lost else []), *(["VMC706"] if loses_ppis else [])]
        found = sorted(each.rule for each in check(data, name, version).diagnostics)
        assert found == expected, name


@pytest.mark.parametrize("series", oracle.FULL)
def test_a_vmm_executes_the_numbers_as_one_block(
    series: str, ask: Ask, tmp_path_factory: pytest.TempPathFactory
) -> None:
    version = oracle.version(series)
    answers = ask(series)["blocks"]
    expected = {
        name for name, (since, _) in BLOCKS.items() if version >= tuple(map(int, since.split(".")))
    }
    assert set(answers) == expected
    for name, answer in answers.items():
        job = block_job(tmp_path_factory.getbasetemp(), *BLOCKS[name])
        lines = job["block"].count("\n")
        assert answer == {
            "exit code": 0,
            "output": f"{lines} of {lines} lines, {job['vcpus']} of {job['vcpus']} vCPUs\n",
        }, name
        oracle.TALLY[series]["lines executed by the VMM"] += lines


# Limits -------------------------------------------------------------------------------------------


def ids_are_below_512(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert [said[f"id {name}"] for name in ("511", "512", "2**31", "511 again")] == [
        None,
        "EINVAL",
        "EINVAL",
        "EEXIST",
    ]


def indexes_are_places(said: dict[str, Any], version: tuple[int, int]) -> None:
    # Before 6.7, the word for index 1 finds vCPU 2; the code after that uses this id as an index
    # again, and finds vCPU 3.
    assert said["of 0, 2 and 3"]["1"] == ([3] if version < (6, 7) else "EINVAL")
    # The processor numbers of the vGIC are ids.
    assert said["processor numbers"] == {"0": 0, "300": 300}


def words_name_ids_since_6_7(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert said["layout 2"] == 1
    older = version < (6, 7)
    assert said["of 0 and 300"] == {"0": [0], "1": "EINVAL", "300": "EINVAL" if older else [300]}
    two, three = ("EINVAL", "EINVAL") if older else ([2], [3])
    assert said["of 0, 2 and 3"] == {
        "0": [0],
        "1": [3] if older else "EINVAL",
        "2": two,
        "3": three,
        "4": "EINVAL",
    }
    assert irq_line(20, 300) == 2 << 24 | 20 | (300 & 255) << 16 | 1 << 28
    assert said["word of an SPI, vCPU 99"] is None


def mpidrs_in_attributes_are_those_of_now(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert said["by derived"] == 1
    assert said["by derived after"] == "EINVAL"
    assert said["not initialized, by derived"] == "EINVAL"
    assert said["twice"] == [0x8000_0000, 0x8000_0000]


def ids_give_mpidrs(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert said["by id"] == [independent.register(independent.of_id(vcpu)) for vcpu in range(512)]


def overrides_are_not_looked_at(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert (said["bit 31 not looked at"], said["all ones"]) == (0, 0xFFFF_FFFF_FFFF_FFFF)
    after = said["after a second KVM_ARM_VCPU_INIT"]
    assert after == (0x8000_0001 if version < MPIDRS_KEPT else 0x8000_0000)
    # CPU_ON of a guest finds the vCPU by the MPIDR that was set; before 6.10, the vCPU then reads
    # the one that KVM assigns.
    assert said["PSCI"] == {
        "returned": 0,
        "read": 0x8000_0001 if version < MPIDRS_KEPT else 0x8007_0003,
    }


def aff3_is_kept_and_not_in_typer(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert said["Aff3 kept"] == 0x1_8002_0305
    assert said["Aff3 found"] == 0x0002_0305


def aff0_over_15_is_accepted(said: dict[str, Any], version: tuple[int, int]) -> None:
    assert said["Aff0 kept"] == 0x8000_00C8
    assert said["Aff0 found"] == 0xC8
    # For Aff0 200, the range selector is 12 and the target is 8: KVM reads only the target. Then
    # 6.1 finds 200 for 8, because a shift wraps, and 8 gets no SGI. vCPU 1 has Aff0 200, and vCPU 8
    # has Aff0 8.
    for_either = [1] if version < (6, 7) else [8]
    assert said["SGI"] == {"2": [2], "8": for_either, "200": for_either}


def mpidrs_below_512_are_ids_with_other_mpidrs(
    said: dict[str, Any], version: tuple[int, int]
) -> None:
    ids_are_below_512(said, version)
    ids_give_mpidrs(said, version)


SHOWN: dict[str, Callable[[dict[str, Any], tuple[int, int]], None]] = {
    "vCPU id": ids_are_below_512,
    "compressed MPIDR as vCPU id (vcpu_ids: mpidr)": mpidrs_below_512_are_ids_with_other_mpidrs,
    "vCPU index": indexes_are_places,
    "KVM_IRQ_LINE word": words_name_ids_since_6_7,
    "compressed MPIDR: --api pmu-device-mpidr, and GICv3 REDIST_REGS, CPU_SYSREGS, and"
    " LEVEL_INFO": mpidrs_in_attributes_are_those_of_now,
    "MPIDR assigned to an id": ids_give_mpidrs,
    "MPIDR set by register": overrides_are_not_looked_at,
    "Aff3": aff3_is_kept_and_not_in_typer,
    "Aff0": aff0_over_15_is_accepted,
}
OF_GICV2 = "attr of GICv2 DIST_REGS and CPU_REGS"


def test_every_limit_with_the_source_tested_is_tested() -> None:
    assert {limit.name for limit in LIMITS if TESTED in limit.source} == {*SHOWN, OF_GICV2}


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("series", oracle.FULL)
def test_the_kernel_has_the_limit(series: str, name: str, ask: Ask) -> None:
    answer = ask(series)["limits"]
    # The patch would have used number 8, but that is the ITS.
    assert answer["device type 8"] is True
    SHOWN[name](answer, oracle.version(series))
    oracle.TALLY[series]["limits shown"] += 1


@pytest.mark.parametrize("series", oracle.FULL)
def test_the_kernel_has_the_limit_of_gicv2(series: str, ask: Ask) -> None:
    """The VM has vCPUs 1 and 3, created in this order."""
    answer = ask(series, 2)["limits"]
    assert answer["names"] == {str(name): None if name in (1, 3) else "EINVAL" for name in range(5)}
    assert answer["ids"] == {"7": None, "8": "EINVAL"}
    oracle.TALLY[series]["limits shown"] += 1
