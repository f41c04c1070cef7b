"""The table of QEMU and the device tree that QEMU itself writes for the same options.

QEMU emulates arm64 here, so the options of KVM are left out. The device tree has the addresses, the
interrupts, and the MPIDRs of the board.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable

import pytest

from tests.test_qemu import imported, machine_of
from vmcfg.description.draft import description_text
from vmcfg.vm.machine import Machine, redistributor_regions

LINES = (
    "virt,gic-version=3,its=on -cpu host,pmu=on -smp 1",
    "virt,gic-version=3,its=off -cpu host,pmu=off -smp 17 -m 1536M",
    "virt,gic-version=3 -cpu host,pmu=on -smp 123 -m 2G",
    "virt,gic-version=3,its=on -cpu host,pmu=on -smp 130 -m 3G",
    "virt,gic-version=2 -cpu host,pmu=on -smp 8 -m 512M",
    "virt,gic-version=2 -cpu host,pmu=off -smp 1 -m 8K",
    "virt,gic-version=3,highmem=off -cpu host -smp 2 -m 3G",
    "virt-7.2,gic-version=3 -cpu host -smp cores=2,threads=2 -m 64M",
)


@pytest.fixture(scope="module")
def emulated(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Machine]:
    """Return a function that returns the VM in the device tree that QEMU writes for a line."""
    qemu = program("qemu-system-aarch64")
    from vmcfg.guest.devicetree import draft_of_blob

    blob = tmp_path_factory.mktemp("board") / "board.dtb"

    def machine(line: str) -> Machine:
        words = shlex.split(line.replace("-cpu host", "-cpu max"))
        command = [qemu, "-M", f"{words[0]},dumpdtb={blob}", "-accel", "tcg", *words[1:]]
        command += ["-display", "none", "-nic", "none"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return machine_of(description_text(draft_of_blob(blob.read_bytes())))

    return machine


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_the_board_of_qemu_is_as_in_the_table(
    line: str, emulated: Callable[[str], Machine]
) -> None:
    table = imported(["qemu-system-aarch64", "-accel", "kvm", "-M", *shlex.split(line)])
    board = emulated(line)
    assert [(vcpu.mpidr, vcpu.pmu_irq) for vcpu in board.vcpus] == [
        (vcpu.mpidr, vcpu.pmu_irq) for vcpu in table.vcpus
    ]
    assert board.memory[0] == table.memory[0]
    assert board.gic is not None and table.gic is not None
    for key in ("version", "distributor", "cpu_interface", "its"):
        assert getattr(board.gic, key) == getattr(table.gic, key)
    # A device tree has the room of a region, not the number of its vCPUs.
    assert [region.base for region in redistributor_regions(board.gic)] == [
        region.base for region in redistributor_regions(table.gic)
    ]


@pytest.mark.slow
def test_a_rounded_memory_is_also_in_the_device_tree(emulated: Callable[[str], Machine]) -> None:
    board = emulated("virt,gic-version=2 -cpu host -smp 1 -m 1025K")
    table = imported(shlex.split("qemu-system-aarch64 -M virt,gic-version=2 -cpu host -m 1025K"))
    assert board.memory[0].size == table.memory[0].size == 0x102000
