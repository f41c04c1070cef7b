"""``vmcfg explain``: rules, keys, topics, and the words of error logs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from vmcfg import files
from vmcfg.commands.options import help_option
from vmcfg.reference.every_rule import rule_named
from vmcfg.reference.layout import WIDEST
from vmcfg.reference.rule_text import rule_lines
from vmcfg.reports.terminal import columns

FORMATS = ("human", "json")


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    show_default=True,
    help="Output format; json only for the topic 'order'.",
)
@help_option
def explain(name: str | None, format_: str) -> int:
    """Explain NAME: a rule (VMC503), a key (gic.nr_irqs or nr_irqs), a topic, or a word of an error
    log.

    Topics: order (the order of the commands and its reasons), attributes (all commands and KVM
    attributes in one table), identifiers (the identifiers of a vCPU and their limits), capabilities
    and registers (those that a VM can enable or set), state (what saves and restores a vGIC). Words
    of error logs: a name of the uapi (KVM_ARM_VCPU_PMU_V3_IRQ, KVM_CREATE_VCPU, KVM_ARM_VCPU_SVE),
    an errno (EBUSY), an SMCCC function (PSCI_0_2_FN64_CPU_ON, 0xc4000003). Without NAME, list
    everything that can be explained.
    """
    if format_ == "json":
        if name != "order":
            raise click.UsageError("--format json requires the topic 'order'.")
        from vmcfg.reference.order_json import order_json

        files.print_out(order_json())
        return 0
    files.print_out("\n".join(explanation(name, columns(sys.stdout))) + "\n")
    return 0


def explanation(name: str | None, width: int = WIDEST) -> Iterator[str]:
    """Return the lines that explain something, in text of at most `width` columns.

    If `name` is None, the lines list everything that can be explained. Raises `click.UsageError`
    if there is nothing of that name.
    """
    rule = None if name is None else rule_named(name)
    if rule is not None:
        return rule_lines(rule, width)
    from vmcfg.reference.explanations import NotExplained, everything, explained

    try:
        return everything(width) if name is None else explained(name, width)
    except NotExplained as error:
        raise click.UsageError(str(error)) from None
