"""Guests without an operating system, in VMs of emitted plans: one boot for all of a kernel.

`run_guest.c` executes a plan and runs `guest.S` in it, on every vCPU. Which interrupts a vCPU must
take is read from the description without vmcfg.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.kvm import independent, machine, oracle
from vmcfg.checking.check import check
from vmcfg.formats.json_lines import jsonl
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM

HERE = Path(__file__).parent
COMPILER = "aarch64-linux-gnu-gcc"
CODE = 0x40000000
"""Where the guest is loaded and starts."""

DISTRIBUTOR = 0x08000000
REDISTRIBUTORS = 0x080A0000
SGI = 3
"""The SGI that vCPUs send to themselves."""

ENOUGH = 30.0
"""Seconds for interrupts that arrive; they do after less than one."""

SHORT = 1.5
"""Seconds for interrupts that do not."""

MPIDR, TYPER, LOST, READY, TAKEN, OVERFLOWS, DONE = range(0, 0x38, 8)
"""The offsets of reports in guest.S."""

PRIVATE_BY_ID = (6, 7)
"""The first kernel that finds a vCPU for its PPI by its id. Older kernels use the id as an index
(vgic.c:kvm_vgic_inject_irq), so that timer and PMU PPIs of a vCPU with another index are lost.
"""

CYCLES = 1 << 31
"""The bit of the cycle counter in PMOVSCLR_EL0."""

Vcpus = Mapping[int, tuple[int, ...]]
"""INTIDs by the id of a vCPU."""


class Job(NamedTuple):
    """What run-guest is given: a plan, where vCPUs start, the files to load with their addresses,
    and the maximum of seconds.
    """

    plan: str
    starts: str
    loads: tuple[tuple[str, int], ...]
    seconds: float


def plan_of(text: bytes) -> str:
    """Return the emitted plan of a description, despite its findings."""
    checked = check(text, "vm.yaml")
    assert checked.machine is not None
    return jsonl(lower(checked.machine, WHOLE_VM), checked.tree)


class Case(NamedTuple):
    """A description and how its guest is run.

    `gic` and `vcpus` complete the description. `timers` are the INTIDs of the virtual and the
    physical timer that the guest starts. `device` is the SPI that the VMM raises, and that the
    first vCPU enables instead of its PMU; a PMU with this SPI then does not overflow. `edge` are
    the vCPUs that leave SPIs edge-triggered. `rules` are the findings about the description.
    `taken` returns the INTIDs that the vCPUs take on a kernel, if these are not those of the
    description.
    """

    vcpus: str
    gic: str = ""
    regions: tuple[int, ...] = (REDISTRIBUTORS,)
    timers: tuple[int, int] = (0, 0)
    device: int = 0
    has_sgi: bool = False
    edge: tuple[int, ...] = ()
    rules: tuple[str, ...] = ()
    taken: Callable[[tuple[int, int]], Vcpus] | None = None

    @property
    def text(self) -> bytes:
        """Return the description."""
        gic = self.gic or f"redistributors: [{{base: {REDISTRIBUTORS:#x}}}]"
        return (
            'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\n'
            f"memory: [{{base: {CODE:#x}, size: 1MiB}}]\n"
            f"gic: {{version: 3, distributor: {DISTRIBUTOR:#x}, {gic}}}\n{self.vcpus}\n"
        ).encode()

    def pmu_irqs(self) -> dict[int, int]:
        """Return the PMU interrupt of each vCPU by its id."""
        described = independent.vcpus(yaml.safe_load(self.text))
        return {vcpu: irq or 0 for vcpu, _, irq, _ in described}

    def mpidrs(self) -> dict[int, int]:
        """Return the MPIDR_EL1 of each vCPU by its id."""
        described = independent.vcpus(yaml.safe_load(self.text))
        return {vcpu: independent.register(mpidr) for vcpu, mpidr, _, _ in described}

    def sources(self) -> dict[int, tuple[int, int, int, int, int]]:
        """Return what each vCPU enables, by its id: the INTIDs of the PMU, of the virtual and the
        physical timer, of a device, and of an SGI; 0 if there is none.
        """
        irqs = self.pmu_irqs()
        sgi = SGI if self.has_sgi else 0
        found = {
            vcpu: (irq if irq != self.device else 0, *self.timers, 0, sgi)
            for vcpu, irq in irqs.items()
        }
        if self.device:
            found[min(irqs)] = (0, 0, 0, self.device, 0)
        return found

    def described(self) -> dict[int, tuple[int, ...]]:
        """Return the INTIDs that each vCPU should take, by its id."""
        return {vcpu: tuple(sorted(filter(None, irqs))) for vcpu, irqs in self.sources().items()}

    def expected(self, version: tuple[int, int]) -> dict[int, tuple[int, ...]]:
        """Return the INTIDs that each vCPU takes on a kernel, by its id."""
        if self.taken:
            return dict(self.taken(version))
        found = self.described()
        if not self.loses_ppis(version):
            return found
        return {
            vcpu: tuple(irq for irq in found[vcpu] if vcpu == index or not 16 <= irq < 32)
            for index, vcpu in enumerate(sorted(found))
        }

    def loses_ppis(self, version: tuple[int, int]) -> bool:
        """Return whether a kernel loses PPIs because the id and the index of a vCPU differ."""
        ids = sorted(self.mpidrs())
        return version < PRIVATE_BY_ID and ids != list(range(len(ids)))

    def starts(self) -> str:
        """Return the lines for run-guest: where each vCPU starts, and its registers."""
        regions = (*self.regions, 0)[:2]
        lines = [
            f"vcpu:{vcpu} {CODE:#x} {' '.join(map(str, irqs))}"
            f" {DISTRIBUTOR} {regions[0]} {regions[1]} {int(vcpu in self.edge)}"
            for vcpu, irqs in self.sources().items()
        ]
        if self.device:
            lines.append(f"raise {self.device}")
        return "\n".join([*lines, ""])

    def job(self, version: tuple[int, int]) -> Job:
        """Return how its guest is run."""
        seconds = ENOUGH if self.expected(version) == self.described() else SHORT
        return Job(plan_of(self.text), self.starts(), (("guest.bin", CODE),), seconds)


class Told(NamedTuple):
    """What run-guest printed: reports by vCPU id, in order, as offset and value; the other lines
    by vCPU id; whether the VMM could raise the line; and why it ended.
    """

    reports: Mapping[int, list[tuple[int, int]]]
    states: Mapping[int, str]
    raised: str | None
    end: str

    def values(self, vcpu: int, offset: int) -> list[int]:
        """Return the values that a vCPU reported at one offset."""
        return [value for at, value in self.reports[vcpu] if at == offset]

    def taken(self, vcpu: int) -> tuple[int, ...]:
        """Return the INTIDs that a vCPU took, in ascending order. An SGI counts once: one that
        arrives before the last one is taken is the same.
        """
        irqs = self.values(vcpu, TAKEN)
        sgis = {irq for irq in irqs if irq < 16}
        return tuple(sorted([*sgis, *(irq for irq in irqs if irq >= 16)]))


def told(output: str) -> Told:
    """Read the output of run-guest for one VM."""
    reports: dict[int, list[tuple[int, int]]] = defaultdict(list)
    states: dict[int, str] = {}
    raised, end = None, ""
    for line in output.splitlines():
        if found := re.fullmatch(r"vcpu:(\d+) (0x[0-9a-f]+|0) (0x[0-9a-f]+|0)", line):
            reports[int(found[1])].append((int(found[2], 0), int(found[3], 0)))
        elif found := re.fullmatch(r"vcpu:(\d+) (.+)", line):
            states[int(found[1])] = found[2]
        elif found := re.fullmatch(r"raise \d+: (.+)", line):
            raised = found[1]
        elif found := re.fullmatch(r"end (.+)", line):
            end = found[1]
    return Told(reports, states, raised, end)


def by_id(irqs: Vcpus) -> str:
    """Return INTIDs with the ids of their vCPUs; of many vCPUs, the first and the last."""
    words = [f"{vcpu}: {'+'.join(map(str, each)) or 'none'}" for vcpu, each in sorted(irqs.items())]
    return ", ".join(words if len(words) <= 4 else [words[0], "...", words[-1]])


@cache
def programs(compiler: str, folder: Path) -> dict[str, bytes]:
    """Return the VMM and the guest as files, compiled in `folder`."""
    vmm, linked, guest = (folder / name for name in ("run-guest", "guest.elf", "guest.bin"))
    strict = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-O1", "-static", "-s")
    source = HERE / "run_guest.c"
    subprocess.run([compiler, *strict, "-pthread", "-o", vmm, source], check=True)
    bare = ("-nostdlib", "-static", "-Wl,--build-id=none", f"-Wl,-Ttext={CODE:#x}")
    subprocess.run([compiler, *bare, "-o", linked, HERE / "guest.S"], check=True)
    objcopy = compiler.removesuffix("gcc") + "objcopy"
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", linked, guest], check=True)
    return {"/work/run-guest": vmm.read_bytes(), "/work/guest.bin": guest.read_bytes()}


def run(series: str, jobs: Mapping[str, Job], files: Mapping[str, bytes]) -> dict[str, str]:
    """Return what run-guest prints for each job on the kernel of a series, from one boot."""
    script = ["chmod +x run-guest"]
    given = dict(files)
    for number, (name, job) in enumerate(jobs.items()):
        given[f"/work/plan.{number}"] = job.plan.encode()
        given[f"/work/starts.{number}"] = job.starts.encode()
        loads = " ".join(f"{file} {address:#x}" for file, address in job.loads)
        script.append(f"echo '== {name}'")
        script.append(f"./run-guest {job.seconds} plan.{number} starts.{number} {loads}")
    given["/work/script"] = "\n".join([*script, "exit 0", ""]).encode()
    result = machine.run(oracle.kernel(series), given, ["sh", "script"], timeout=900)
    assert result.exit_code == 0, result.stderr.decode()
    parts = re.split(r"(?m)^== (.+)\n", result.stdout.decode(errors="replace"))[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
