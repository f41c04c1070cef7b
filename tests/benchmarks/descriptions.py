"""The descriptions for the benchmarks: vCPUs one by one, in block style, a line per value."""

from __future__ import annotations

from pathlib import Path

SPI_BASE = 32
PROBLEM = "cpus: 4 \n"
"""A line with one finding for each of the three programs: an unknown key, with a space at its end.
"""


def listed(vcpus: int, *, spis: bool = False, irq_first: bool = False) -> str:
    """Return a description of this number of vCPUs, 16 per cluster, with one PPI, or SPIs."""
    lines = ["---", "vmcfg: 1", f"name: vm-of-{vcpus}", "vcpus:"]
    for number in range(vcpus):
        pair = [
            f"mpidr: 0.0.{number >> 4}.{number & 15}",
            f"pmu_irq: {SPI_BASE + number if spis else 23}",
        ]
        first, second = reversed(pair) if irq_first else pair
        lines += [f"  - {first}", f"    {second}"]
    return "\n".join(lines) + "\n"


def many(folder: Path, count: int) -> tuple[list[Path], list[Path]]:
    """Write `count` descriptions of 4 vCPUs to `folder`, and return their paths in order, and the
    paths of the three with the problem.

    These are the first, the middle, and the last one: a program that reports them has read the
    others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"vm-{number:06}.yaml" for number in range(count)]
    wrong = [paths[0], paths[count // 2], paths[-1]]
    for path in paths:
        text = listed(4).replace("name: vm-of-4\n", f"name: {path.stem}\n")
        path.write_text(text + (PROBLEM if path in wrong else ""))
    return paths, wrong
