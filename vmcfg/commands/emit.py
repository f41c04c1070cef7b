"""``vmcfg emit``: the plan, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check
from vmcfg.commands.exit_codes import FOUND
from vmcfg.commands.findings_output import print_diagnostics, print_findings
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
from vmcfg.findings.rule import Rule
from vmcfg.formats.registry import FORMATS, Format
from vmcfg.formats.unresolved import UNRESOLVED_VALUE, unresolved_findings
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import APIS, VCPU, Api
from vmcfg.plans.lowering import lower
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.plans.plan import ATTRIBUTES, SCOPES, WHOLE_VM, Plan, Scope
from vmcfg.plans.reading_back import read_back
from vmcfg.rules import apis as api_rules
from vmcfg.text.tree import Tree
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host


class Phases(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """Phases of a plan, with commas between them."""

    name = "P[,P...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[PlanPhase, ...]:
        """The phases named, checked."""
        if isinstance(value, tuple):
            return value
        by_name = {str(phase): phase for phase in PHASES}
        phases = []
        for name in str(value).split(","):
            if name not in by_name:
                self.fail(f"{name!r} is not a phase; they are {', '.join(PHASES)}", param, ctx)
            phases.append(by_name[name])
        return tuple(phases)


@click.command()
@click.argument("path", metavar="PATH|-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
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
    help=(
        "How a PMU interrupt's vCPU is named: vcpu (the default, merged in Linux 4.6), or one of"
        " the two that were never merged. See 'vmcfg explain identifiers'."
    ),
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
    scope: Scope | None,
    phases: tuple[PlanPhase, ...] | None,
    api: Api,
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

    Findings go to standard error. Where there are errors nothing is printed, and no file is
    written.
    """
    wanted = _Wanted(
        FORMATS[format_],
        scope or (WHOLE_VM if main_ else ATTRIBUTES),
        phases or PHASES,
        api,
        device_type,
        get,
        {"numbers": numbers, "comments": comments, "main": main_},
        unchecked,
    )
    _refuse_options_of_other_formats(wanted)
    if numbers and scope == WHOLE_VM:
        raise click.UsageError(
            "--numbers has no words for --scope vm: making a VM is not one number in one place."
        )
    if main_ and (scope == ATTRIBUTES or phases is not None):
        other = "--phase" if phases else "--scope attributes"
        raise click.UsageError(f"--main makes a whole VM: it goes with no {other}.")
    if device_type is not None and (api == VCPU or get or wanted.scope != WHOLE_VM):
        raise click.UsageError(
            "--device-type is for what makes the PMU device: --api pmu-device[-mpidr] --scope vm."
        )
    if get and (format_ == "c" or scope == WHOLE_VM):
        other = "--format c" if format_ == "c" else "--scope vm"
        raise click.UsageError(f"--get goes with no {other}.")
    if output is not None and output != "-" and files.same(path, output):
        raise click.UsageError(f"-o {printable(files.name_of(output))} is the description itself.")

    hosts = hosts_of(host_paths)
    name = stdin_filename if path == "-" else files.name_of(path)
    checked = check(files.read(path), name, host_kernel, hosts)
    checked = _held_to_api(checked, api)
    print_findings(checked, color)
    machine = checked.plannable(strict, unchecked)
    if machine is None:
        return FOUND
    plan = _plan(machine, wanted, hosts)
    unresolved = _unresolved(plan, checked.tree, wanted)
    if unresolved:
        print_diagnostics(unresolved, checked.tree.text, color)
        return FOUND
    written = wanted.format.written(plan, checked.tree, wanted.options)
    # ASCII, wherever it goes: only the description's own name can be anything else.
    ascii_only = written.encode("ascii", "backslashreplace")
    if output is None or output == "-":
        files.print_out(ascii_only.decode())
    else:
        files.write(output, ascii_only)
    return 0


class _Wanted(NamedTuple):
    """The plan that is asked for. `options` are those that only some formats have, by name."""

    format: Format
    scope: Scope
    phases: tuple[PlanPhase, ...]
    api: Api
    device_type: int | None
    get: bool
    options: dict[str, bool]
    unchecked: bool


def _refuse_options_of_other_formats(wanted: _Wanted) -> None:
    """Raise a usage error where an option is given that the format does not have."""
    for option, given in wanted.options.items():
        if given and option not in wanted.format.options:
            owner = next(each.name for each in FORMATS.values() if option in each.options)
            raise click.UsageError(
                f"--{option} goes with --format {owner}, not {wanted.format.name}."
            )


def _plan(machine: Machine, wanted: _Wanted, hosts: Sequence[Host]) -> Plan:
    """The plan of `machine` that is asked for."""
    if wanted.get:
        return read_back(machine, wanted.phases, wanted.unchecked, wanted.api)
    return lower(
        machine,
        wanted.scope,
        wanted.phases,
        wanted.unchecked,
        wanted.api,
        wanted.device_type,
        _pmu_types(hosts),
    )


def _pmu_types(hosts: Sequence[Host]) -> dict[str, int]:
    """The numbers of the PMUs that have one and the same on all hosts, by name."""
    if not hosts:
        return {}
    first, *others = [{pmu.name: pmu.type for pmu in host.pmus} for host in hosts]
    return {
        name: number
        for name, number in first.items()
        if all(other.get(name) == number for other in others)
    }


def _held_to_api(checked: Checked, api: Api) -> Checked:
    """What was checked, with what the API has no words for among the findings."""
    if checked.machine is None or api == VCPU:
        return checked
    found = [
        _diagnostic(checked.tree, rule, finding)
        for rule, finding in api_rules.unsupported(checked.machine, api)
    ]
    return checked._replace(diagnostics=in_order(checked.diagnostics + found))


def _unresolved(plan: Plan, tree: Tree, wanted: _Wanted) -> list[Diagnostic]:
    """The findings that stand in the way of a plan that is to run as it stands."""
    numbers = wanted.options["numbers"]
    if not numbers and not wanted.format.is_executable:
        return []
    option = "--numbers" if numbers else f"--format {wanted.format.name}"
    return [
        _diagnostic(tree, UNRESOLVED_VALUE, finding)
        for finding in unresolved_findings(plan, option)
    ]


def _diagnostic(tree: Tree, rule: Rule, finding: Finding) -> Diagnostic:
    """A finding about a plan, at its place in the description."""
    return diagnose(tree.file, rule, finding, tree.position(finding.path, finding.on), ())
