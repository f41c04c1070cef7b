"""``vmcfg emit``: the plan, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.commands.exit_codes import FOUND
from vmcfg.commands.options import (
    color_option,
    host_kernel_option,
    host_option,
    hosts_of,
    stdin_filename_option,
    strict_option,
)
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic, diagnose, in_order
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.formats.unresolved import VALUES_ARE_KNOWN, unknown_values
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import APIS, VCPU
from vmcfg.plans.lowering import lower
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import ATTRIBUTES, SCOPES, WHOLE_VM, Plan
from vmcfg.plans.reading_back import read_back
from vmcfg.reports.human import drawn_for
from vmcfg.rules import apis as api_rules
from vmcfg.text.tree import Tree

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host


FORMATS = ("text", "json", "jsonl", "sh", "c")

PERFORMED_AS_IT_STANDS = ("sh", "c")
"""The formats that leave nothing to resolve."""


class Phases(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """Phases of a plan, with commas between them."""

    name = "P[,P...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The phases named, checked."""
        if isinstance(value, tuple):
            return value
        phases = tuple(str(value).split(","))
        for phase in phases:
            if phase not in PHASES:
                self.fail(f"{phase!r} is not a phase; they are {', '.join(PHASES)}", param, ctx)
        return phases


@click.command()
@click.argument("path", metavar="PATH|-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="text",
    help="How the plan is written.",
)
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    help="attributes (the default): what is set; vm: also what makes the objects.",
)
@click.option(
    "--phase",
    "phases",
    type=Phases(),
    help=f"Only the commands of these phases: {', '.join(PHASES)}.",
)
@click.option(
    "--api",
    type=click.Choice(APIS),
    default=VCPU,
    help="How a PMU interrupt's vCPU is named: vcpu (the default, merged in Linux 4.6), or one of the two that were"
    " never merged. See 'vmcfg explain identifiers'.",
)
@click.option(
    "--device-type",
    type=click.IntRange(0, (1 << 32) - 1),
    metavar="N",
    help="The number that your kernel gives KVM_DEV_TYPE_ARM_PMU_V3, which no released one does.",
)
@click.option(
    "--get",
    is_flag=True,
    help="The commands that read back what the plan sets, with the values expected.",
)
@click.option("--numbers", is_flag=True, help="Text in numbers, for a C program to scan.")
@click.option(
    "--comments",
    is_flag=True,
    help="Text with lines that say what each command is and where it comes from.",
)
@click.option(
    "--main",
    "main_",
    is_flag=True,
    help="C with a main() that makes the VM, and prints what KVM says.",
)
@click.option("--unchecked", is_flag=True, help="Report findings and emit all the same.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the plan to FILE, which is replaced in one step or not at all.",
)
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@color_option
def emit(
    path: str,
    format_: str,
    scope: str | None,
    phases: tuple[str, ...] | None,
    api: str,
    device_type: int | None,
    get: bool,
    numbers: bool,
    comments: bool,
    main_: bool,
    unchecked: bool,
    output: str | None,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    color: str,
) -> int:
    """Print the ordered commands that set up the VM that PATH describes.

    Findings go to standard error. Where there are errors nothing is printed, and no file is written.
    """
    _refuse_odd_options(format_, scope, numbers, comments)
    if main_:
        _refuse_odd_main(format_, scope, phases)
    if device_type is not None and (api == VCPU or get or not (main_ or scope == WHOLE_VM)):
        raise click.UsageError(
            "--device-type is for what makes the PMU device: --api pmu-device[-mpidr] --scope vm."
        )
    if get and (format_ == "c" or scope == WHOLE_VM):
        raise click.UsageError(
            f"--get goes with no {'--format c' if format_ == 'c' else '--scope vm'}."
        )
    if output is not None and output != "-" and files.same(path, output):
        raise click.UsageError(f"-o {printable(files.name_of(output))} is the description itself.")
    hosts = hosts_of(host_paths)
    checked = check(
        files.read(path), stdin_filename if path == "-" else files.name_of(path), host_kernel, hosts
    )
    checked = _held_to_api(checked, api)
    if checked.diagnostics:
        files.print_error(drawn_for(sys.stderr, color, checked.diagnostics, checked.tree.text))
    if checked.machine is None or not (unchecked or checked.stands(strict)):
        return FOUND
    scope = scope or (WHOLE_VM if main_ else ATTRIBUTES)
    if get:
        plan = read_back(checked.machine, phases or PHASES, unchecked, api)
    else:
        plan = lower(
            checked.machine, scope, phases or PHASES, unchecked, api, device_type, _pmu_types(hosts)
        )
    if numbers or format_ in PERFORMED_AS_IT_STANDS:
        unknown = _unknown(plan, checked.tree, "--numbers" if numbers else f"--format {format_}")
        if unknown:
            files.print_error(drawn_for(sys.stderr, color, unknown, checked.tree.text))
            return FOUND
    written = _written(plan, checked.tree, format_, numbers, comments, main_)
    # ASCII, wherever it goes: only the description's own name can be anything else.
    ascii_only = written.encode("ascii", "backslashreplace")
    if output is None or output == "-":
        files.print_out(ascii_only.decode())
    else:
        files.write(output, ascii_only)
    return 0


def _pmu_types(hosts: Sequence[Host]) -> dict[str, int]:
    """The numbers of the PMUs that have one and the same on all hosts, by name."""
    every = [{pmu.name: pmu.type for pmu in host.pmus} for host in hosts]
    return (
        {
            name: number
            for name, number in every[0].items()
            if all(each.get(name) == number for each in every)
        }
        if every
        else {}
    )


def _refuse_odd_options(format_: str, scope: str | None, numbers: bool, comments: bool) -> None:
    if format_ != "text" and (numbers or comments):
        raise click.UsageError(
            f"--{'numbers' if numbers else 'comments'} goes with --format text, not {format_}."
        )
    if numbers and scope == WHOLE_VM:
        raise click.UsageError(
            "--numbers has no words for --scope vm: making a VM is not one number in one place."
        )


def _refuse_odd_main(format_: str, scope: str | None, phases: tuple[str, ...] | None) -> None:
    if format_ != "c":
        raise click.UsageError(f"--main goes with --format c, not {format_}.")
    if scope == ATTRIBUTES or phases is not None:
        raise click.UsageError(
            f"--main makes a whole VM: it goes with no {'--phase' if phases else '--scope attributes'}."
        )


def _held_to_api(checked: Checked, api: str) -> Checked:
    """What was checked, with what the API has no words for among the findings."""
    if checked.machine is None or api == VCPU:
        return checked
    found = [
        diagnose(
            checked.tree.file, rule, finding, checked.tree.position(finding.path, finding.on), ()
        )
        for rule, finding in api_rules.unsaid(checked.machine, api)
    ]
    return checked._replace(diagnostics=in_order(checked.diagnostics + found))


def _unknown(plan: Plan, tree: Tree, option: str) -> list[Diagnostic]:
    """A finding for each command that has a number which only the host knows, and which `option` can't leave open."""
    found = []
    for command in unknown_values(plan):
        if command.row.op == "create-device":
            at: Path = next(vcpu.irq_at for vcpu in plan.machine.vcpus if vcpu.pmu_irq is not None)
            message = f"no kernel has a number for KVM_DEV_TYPE_ARM_PMU_V3, which {option} can't leave open"
            hint = "give your kernel's with --device-type N"
        else:
            at = command.origin or ()
            pmu = command.value.removeprefix("pmu:")
            message = (
                f"only the host knows the number of its PMU {pmu}, which {option} can't leave open"
            )
            hint = "emit text or jsonl and resolve the name on the host, where `vmcfg try` does it by itself"
        found.append(
            diagnose(tree.file, VALUES_ARE_KNOWN, Finding(at, message, hint), tree.position(at), ())
        )
    return found


def _written(
    plan: Plan, tree: Tree, format_: str, numbers: bool, comments: bool, main: bool
) -> str:
    if format_ == "text":
        from vmcfg.formats.text import text

        return text(plan, tree, numbers, comments)
    if format_ == "sh":
        from vmcfg.formats.sh import sh

        return sh(plan, tree)
    if format_ == "c":
        from vmcfg.formats.c import c

        return c(plan, tree, main)
    from vmcfg.formats.json_lines import json_object, jsonl

    return jsonl(plan, tree) if format_ == "jsonl" else json_object(plan, tree)
