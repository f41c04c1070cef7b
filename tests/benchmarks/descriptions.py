"""The descriptions that are measured: vCPUs listed singly, in block style, a line for each
value.
"""

from __future__ import annotations

from pathlib import Path

SPI_BASE = 32
MISTAKE = "cpus: 4 \n"
"""A line that each of the three programs has one finding about: an unknown key, with a blank at its
end.
"""


def listed(vcpus: int, *, spis: bool = False, irq_first: bool = False) -> str:
    """A description of so many vCPUs, 16 a cluster, with one PPI for all or an SPI each."""
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
    """`count` descriptions of 4 vCPUs in `folder`, in the order of their names; and the three that
    hold the mistake.

    Those are the first, the middle and the last: who reports them has read the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"vm-{number:06}.yaml" for number in range(count)]
    wrong = [paths[0], paths[count // 2], paths[-1]]
    for path in paths:
        path.write_text(listed(4) + (MISTAKE if path in wrong else ""))
    return paths, wrong
