"""Runs in the guest: creates the VMs of jobs.json, addresses every vCPU by its identifiers, and
prints the answers of KVM as JSON.

It uses only the ioctls of vmcfg: plans are lines of `vmcfg emit --format jsonl`, and MPIDRs come
from other code.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import resource
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from vmcfg.kernel.ioctls import Kvm, Vm, _ioctl
from vmcfg.kernel.version import running_release as kernel_version

MPIDR_EL1 = 0x603000000013C005
IRQ_LINE = 0x4008AE61
IRQ_LINE_LAYOUT_2 = 174
VGIC_V2, VGIC_V3, ITS = 5, 7, 8
ADDR, DIST_REGS, CTRL, REDIST_REGS, LEVEL_INFO = 0, 1, 4, 5, 7
GICR_TYPER = 8
GICR_ISPENDR0 = 0x10200
PSCI_0_2, POWER_OFF = 1 << 2, 1

RUN, EXIT_MMIO = 0xAE80, 6
X0, PC = 0x6030000000100000, 0x6030000000100040
"""The ids of the first general register and of the program counter; Xn is 2n after X0."""
CODE, DEVICE = 0x40000000, 0x50000000
"""The address of the instructions, and one without memory, where a store ends the run."""
CPU_ON = 0xC4000003
HVC, STORE_X0_AT_X4, STORE_X1_AT_X0, READ_MPIDR_TO_X1, SEND_SGI_OF_X0 = (
    0xD4000002,  # hvc #0
    0xF9000080,  # str x0, [x4]
    0xF9000001,  # str x1, [x0]
    0xD53800A1,  # mrs x1, mpidr_el1
    0xD518CBA0,  # msr icc_sgi1r_el1, x0
)


def said(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or the name of its errno."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def errno_of(call: Callable[[], object]) -> str | None:
    """Return the name of the errno with which a call fails; None if it succeeds."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def mpidr(vm: Vm, vcpu: int) -> int:
    return int.from_bytes(vm.get_reg(f"vcpu:{vcpu}", MPIDR_EL1), "little")


def set_mpidr(vm: Vm, vcpu: int, register: int) -> None:
    vm.set_reg(f"vcpu:{vcpu}", MPIDR_EL1, register.to_bytes(8, "little"))


def typer(vm: Vm, compressed: int) -> int:
    """Return GICR_TYPER of the vCPU with that MPIDR, which is also its address."""
    halves = [
        vm.get_attr("gic", REDIST_REGS, compressed << 32 | GICR_TYPER + at, bytes(4))
        for at in (0, 4)
    ]
    return int.from_bytes(b"".join(halves), "little")


def compressed_of(register: int) -> int:
    return register >> 32 << 24 | register & 0xFFFFFF


def perform(vm: Vm, line: dict[str, Any]) -> None:
    """Execute one command of a plan, with the keys for the kernel."""
    op, target = line["op"], line["target"]
    if op == "create-vcpu":
        vm.create_vcpu(target, int(line["arg"], 16))
    elif op == "create-device":
        vm.create_device(target, line["device_id"])
    elif op == "init-vcpu":
        vm.init_vcpu(target, int(line["feature_words"][0], 16))
    elif op == "set-reg":
        vm.set_reg(target, int(line["reg_id"], 16), bytes.fromhex(line["data"]))
    elif op == "set-attr":
        data = line.get("data")
        vm.set_attr(
            target,
            line["group_id"],
            int(line["attr_id"], 16),
            None if data is None else bytes.fromhex(data),
        )
    else:
        raise AssertionError(op)


def named(host: Kvm, job: dict[str, Any]) -> dict[str, Any]:
    """Return the vCPUs of a plan whose MPIDR differs from the requested one: after it is set, as
    the vGIC finds it, after a run, and after a reset.
    """
    header, first, *lines, end = job["plan"]
    assert (header["op"], end["op"]) == ("plan", "end")
    wanted = {int(vcpu): register for vcpu, register in job["mpidrs"].items()}
    with closing(Vm(host, int(first["arg"], 16))) as vm:
        for line in lines:
            perform(vm, line)

        def differing() -> dict[int, int]:
            return {
                vcpu: got
                for vcpu, register in wanted.items()
                if (got := mpidr(vm, vcpu)) != register
            }

        found: dict[str, Any] = {"vcpus": len(wanted), "set": differing()}
        # Bits [55:32] are Aff2 to Aff0, bits [23:8] are the id of the vCPU
        # (vgic-mmio-v3.c:vgic_mmio_read_v3r_typer).
        found["typer"] = {
            vcpu: got
            for vcpu, register in wanted.items()
            if (got := said(partial(typer, vm, compressed_of(register)))) is None
            or isinstance(got, str)
            or (got >> 32, got >> 8 & 0xFFFF) != (register & 0xFFFFFF, vcpu)
        }
        for vcpu in wanted:
            vm.run(f"vcpu:{vcpu}")
        found["run"] = differing()
        for line in lines:
            if line["op"] == "init-vcpu":
                perform(vm, line)
        found["reset"] = differing()
    return found


def vm_of(host: Kvm, ids: list[int], gic: int = VGIC_V3, left_out: tuple[int, ...] = ()) -> Vm:
    """Return a VM with these vCPUs, created in that order, and an initialized GIC. The vCPUs of
    `left_out` are not initialized.
    """
    vm = Vm(host, 0)
    for vcpu in ids:
        vm.create_vcpu(f"vcpu:{vcpu}", vcpu)
    vm.create_device("gic", gic)
    for vcpu in ids:
        if vcpu not in left_out:
            vm.init_vcpu(f"vcpu:{vcpu}", PSCI_0_2 | (POWER_OFF if vcpu != ids[0] else 0))
    addresses = {
        VGIC_V3: ((2, 0x08000000), (3, 0x0A000000)),
        VGIC_V2: ((0, 0x08000000), (1, 0x08010000)),
    }
    for attr, address in addresses[gic]:
        vm.set_attr("gic", ADDR, attr, address.to_bytes(8, "little"))
    vm.set_attr("gic", CTRL, 0, None)
    return vm


def irq_line(vm: Vm, word: int, level: int = 1) -> str | None:
    """Return the errno with which KVM_IRQ_LINE with this word fails; None if it succeeds."""
    request = struct.pack("=II", word, level)
    return errno_of(partial(fcntl.ioctl, vm.descriptors["vm"], IRQ_LINE, request))


def reached(vm: Vm, vcpu: int) -> Any:
    """Return the ids of the vCPUs whose PPI 4 a KVM_IRQ_LINE word raises; or an errno."""
    word = 2 << 24 | 20 | (vcpu & 255) << 16 | vcpu >> 8 << 28
    refused = irq_line(vm, word)
    if refused is not None:
        return refused
    raised = []
    for target in vm.descriptors:
        if target.startswith("vcpu:"):
            number = int(target.removeprefix("vcpu:"))
            levels = vm.get_attr(
                "gic", LEVEL_INFO, compressed_of(mpidr(vm, number)) << 32, bytes(4)
            )
            if int.from_bytes(levels, "little") & 1 << 20:
                raised.append(number)
    irq_line(vm, word, 0)
    return raised


def load(vm: Vm, at: int, *instructions: int) -> None:
    """Write instructions to the memory of the guest, which is added first if there is none."""
    if not vm._memory:
        vm.add_memory(0, CODE, 0x10000)
    code = struct.pack(f"<{len(instructions)}I", *instructions)
    vm._memory[0][at - CODE : at - CODE + len(code)] = code


def stored(vm: Vm, vcpu: int) -> int:
    """Run a vCPU until it stores a value at an address without memory, and return the value."""
    descriptor = vm.descriptors[f"vcpu:{vcpu}"]
    with mmap.mmap(descriptor, vm.host.run_size, mmap.MAP_SHARED) as shared:
        _ioctl(descriptor, RUN)
        (reason,) = struct.unpack_from("=I", shared, 8)
        address, value, length, is_write = struct.unpack_from("=QQIB", shared, 32)
        assert (reason, address, length, is_write) == (EXIT_MMIO, DEVICE, 8, 1), (
            reason,
            hex(address),
        )
        return int(value)


def start_at(vm: Vm, vcpu: int, *registers: int) -> None:
    """Set the program counter of a vCPU to CODE, and X0 and the following registers."""
    for number, value in enumerate(registers):
        vm.set_reg(f"vcpu:{vcpu}", X0 + 2 * number, value.to_bytes(8, "little"))
    vm.set_reg(f"vcpu:{vcpu}", PC, CODE.to_bytes(8, "little"))


def started_by_psci(host: Kvm) -> dict[str, Any]:
    """Return the result of CPU_ON for a set MPIDR, and the MPIDR that the started vCPU reads."""
    with closing(vm_of(host, [0, 1])) as vm:
        set_mpidr(vm, 1, 0x8007_0003)
        load(vm, CODE, HVC, STORE_X0_AT_X4)
        load(vm, CODE + 0x1000, READ_MPIDR_TO_X1, STORE_X1_AT_X0)
        start_at(vm, 0, CPU_ON, 0x0007_0003, CODE + 0x1000, DEVICE, DEVICE)
        return {"returned": stored(vm, 0), "read": stored(vm, 1)}


def sgi_reached(host: Kvm, aff0: int) -> list[int]:
    """Return the ids of the vCPUs with pending SGI 1 after vCPU 0 has sent it to 0.0.0.`aff0`; vCPU
    1 is 0.0.0.200.
    """
    with closing(vm_of(host, [0, 1, 2, 8])) as vm:
        set_mpidr(vm, 1, 0x8000_00C8)
        load(vm, CODE, SEND_SGI_OF_X0, STORE_X0_AT_X4)
        # ICC_SGI1R_EL1: RS [47:44], INTID [27:24], Aff1 [23:16], TargetList [15:0].
        start_at(vm, 0, aff0 >> 4 << 44 | 1 << 24 | 1 << (aff0 & 15), 0, 0, 0, DEVICE)
        stored(vm, 0)
        pending = {}
        for vcpu in (0, 1, 2, 8):
            name = compressed_of(mpidr(vm, vcpu)) << 32 | GICR_ISPENDR0
            pending[vcpu] = int.from_bytes(
                vm.get_attr("gic", REDIST_REGS, name, bytes(4)), "little"
            )
        return [vcpu for vcpu, bits in pending.items() if bits & 1 << 1]


def limits(host: Kvm) -> dict[str, Any]:
    """Return the limits of the identifiers of a vCPU, each tested on a GICv3."""
    found: dict[str, Any] = {"layout 2": host.capability(IRQ_LINE_LAYOUT_2)}
    with closing(Vm(host, 0)) as vm:
        found["device type 8"] = vm.has_device(ITS)
        for name, vcpu in (("511", 511), ("512", 512), ("2**31", 1 << 31), ("511 again", 511)):
            found[f"id {name}"] = errno_of(partial(vm.create_vcpu, f"vcpu:{name}", vcpu))
    with closing(vm_of(host, [0, 300])) as vm:
        found["of 0 and 300"] = {str(word): reached(vm, word) for word in (0, 1, 300)}
        found["word of an SPI, vCPU 99"] = irq_line(vm, 1 << 24 | 99 << 16 | 40)
        typers = {
            name: typer(vm, each) for name, each in (("0", 0), ("300", 300 // 16 << 8 | 300 % 16))
        }
        found["processor numbers"] = {name: each >> 8 & 0xFFFF for name, each in typers.items()}
    with closing(vm_of(host, [0, 2, 3])) as vm:
        found["of 0, 2 and 3"] = {str(word): reached(vm, word) for word in range(5)}
    with closing(vm_of(host, [0, 1, 2], left_out=(2,))) as vm:
        found["by derived"] = said(lambda: typer(vm, 1) >> 32)
        found["not initialized, by derived"] = said(lambda: typer(vm, 2))
        set_mpidr(vm, 1, 0x1_8002_0305)
        found["Aff3 kept"] = mpidr(vm, 1)
        found["Aff3 found"] = typer(vm, 0x0102_0305) >> 32
        found["by derived after"] = said(lambda: typer(vm, 1))
        set_mpidr(vm, 1, 0x8000_00C8)
        found["Aff0 kept"] = mpidr(vm, 1)
        found["Aff0 found"] = typer(vm, 0xC8) >> 32
        set_mpidr(vm, 1, 0)
        found["bit 31 not looked at"] = mpidr(vm, 1)
        set_mpidr(vm, 1, 0xFFFF_FFFF_FFFF_FFFF)
        found["all ones"] = mpidr(vm, 1)
        set_mpidr(vm, 1, 0x8000_0000)
        found["twice"] = [mpidr(vm, 0), mpidr(vm, 1)]
        vm.init_vcpu("vcpu:1", PSCI_0_2 | POWER_OFF)
        found["after a second KVM_ARM_VCPU_INIT"] = mpidr(vm, 1)
    found["PSCI"] = started_by_psci(host)
    found["SGI"] = {str(aff0): sgi_reached(host, aff0) for aff0 in (2, 8, 200)}
    with closing(vm_of(host, list(range(512)))) as vm:
        found["by id"] = [mpidr(vm, vcpu) for vcpu in range(512)]
    return found


def limits_of_gicv2(host: Kvm) -> dict[str, Any]:
    """Return the vCPUs, of 1 and 3, that 8 bits in register groups of GICv2 can select."""
    with closing(vm_of(host, [1, 3], VGIC_V2)) as vm:
        names = {
            str(name): errno_of(partial(vm.get_attr, "gic", DIST_REGS, name << 32, bytes(4)))
            for name in range(5)
        }
    ids = {}
    with closing(Vm(host, 0)) as vm:
        for vcpu in (7, 8):
            ids[str(vcpu)] = errno_of(partial(vm.create_vcpu, f"vcpu:{vcpu}", vcpu))
    return {"names": names, "ids": ids}


def executed(job: dict[str, Any]) -> dict[str, Any]:
    """Return the exit code and the output of the VMM in C for a block of lines."""
    command = ["./vmm", str(job["vcpus"])]
    done = subprocess.run(command, input=job["block"], capture_output=True, text=True)
    return {"exit code": done.returncode, "output": done.stdout + done.stderr}


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    jobs = json.loads(Path("jobs.json").read_text())
    started = time.monotonic()
    report: dict[str, Any] = {"kernel": kernel_version()}
    with closing(Kvm()) as host:
        asked: dict[str, Callable[[], Any]] = {
            "limits": lambda: limits_of_gicv2(host) if jobs["gic"] == 2 else limits(host),
            "named": lambda: {name: named(host, job) for name, job in jobs["named"].items()},
            "blocks": lambda: {name: executed(job) for name, job in jobs["blocks"].items()},
        }
        for name, answer in asked.items():
            try:
                report[name] = answer()
            except Exception:  # noqa: PERF203  # one failed part must not hide the others
                report[name] = {"error": traceback.format_exc()}
    json.dump({**report, "seconds": time.monotonic() - started}, sys.stdout)


main()
