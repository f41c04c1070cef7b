"""The number of INTIDs that a device tree or ACPI tables imply: they do not contain it."""

from __future__ import annotations

from collections.abc import Iterable

from vmcfg.kernel.limits import NR_IRQS_DEFAULT, NR_IRQS_GREATEST, NR_IRQS_STEP

NOTE_ABOUT_NR_IRQS = (
    "The default of 'gic.nr_irqs' is too low for the PMU interrupts: it is the lowest number that"
    " has all of them."
)


def least_nr_irqs(irqs: Iterable[int | str | None]) -> int | None:
    """Return the lowest `gic.nr_irqs` that has these interrupts; None if the default has them.

    Interrupts that no GIC of KVM has do not count: they are text, or beyond its maximum.
    """
    intids = [irq for irq in irqs if isinstance(irq, int) and irq < NR_IRQS_GREATEST]
    end = max(intids, default=0) + 1
    return None if end <= NR_IRQS_DEFAULT else -(-end // NR_IRQS_STEP) * NR_IRQS_STEP
