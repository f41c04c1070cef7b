"""Values as written, before ranges are expanded: MPIDRs, interrupts, and PMU events."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from vmcfg.arm.affinity import compressed_mpidr
from vmcfg.arm.interrupts import PPI_BASE, SPI_BASE


class EventRange(NamedTuple):
    """PMU events from `first` to `last`, with inclusive ends."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first:#x}" if self.first == self.last else f"{self.first:#x}-{self.last:#x}"


class MpidrRange(NamedTuple):
    """MPIDRs written with ranges: the first and the last of each affinity field, Aff3 first."""

    first: tuple[int, int, int, int]
    last: tuple[int, int, int, int]

    def __str__(self) -> str:
        fields = zip(self.first, self.last, strict=True)
        return ".".join(
            str(first) if first == last else f"{first}-{last}" for first, last in fields
        )

    def forward(self) -> str:
        """Return the MPIDRs as written, with reversed ranges corrected."""
        ends = [sorted(ends) for ends in zip(self.first, self.last, strict=True)]
        return ".".join(str(low) if low == high else f"{low}-{high}" for low, high in ends)

    def mpidrs(self) -> Iterator[int]:
        """Return the compressed MPIDRs; the rightmost field changes fastest."""
        ranges = [range(low, high + 1) for low, high in zip(self.first, self.last, strict=True)]
        for affinities in product(*ranges):
            yield compressed_mpidr(*affinities)

    def total(self) -> int:
        """Return the number of MPIDRs in the ranges; 0 if one is reversed."""
        count = 1
        for first, last in zip(self.first, self.last, strict=True):
            count *= max(0, last - first + 1)
        return count


class IrqRange(NamedTuple):
    """Interrupts written with a prefix or as a range.

    The prefix is ``ppi``, ``spi``, or empty; the numbers are `first` to `last`.
    """

    prefix: str
    first: int
    last: int

    @property
    def base(self) -> int:
        """Return the INTID of number 0."""
        return {"": 0, "ppi": PPI_BASE, "spi": SPI_BASE}[self.prefix]

    @property
    def intid(self) -> int:
        """Return the INTID of the first."""
        return self.base + self.first

    def text(self, first: int, last: int) -> str:
        """Return the text of interrupts from `first` to `last` with this prefix."""
        prefix = f"{self.prefix}:" if self.prefix else ""
        return f"{prefix}{first}" if first == last else f"{prefix}{first}-{last}"

    def total(self) -> int:
        """Return the number of interrupts in the range; 0 if it is reversed."""
        return max(0, self.last - self.first + 1)


def intid_of(written: int | IrqRange) -> int:
    """Return the INTID of one interrupt as written."""
    return written if isinstance(written, int) else written.intid
