"""``vmcfg emit``: print the plan, complete or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from vmcfg import files
from vmcfg.checking.check import Checked, check, with_findings
from vmcfg.commands.exit_codes import FOUND
from vmcfg.commands.findings_output import print_diagnostics, print_findings
from vmcfg.commands.options import (
    color_option,
    help_option,
    host_kernel_option,
    host_option,
    hosts_of,
    is_description,
    stdin_filename_option,
    strict_option,
)
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.formats.registry import FORMATS, MACHINE_FORMATS, MachineFormat, Option, PlanFormat
from vmcfg.formats.unresolved import unresolved_diagnostics
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
    from vmcfg.formats.reproducer import Reproduced
    from vmcfg.kernel.host import Host


class Phases(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """Phases of a plan, separated by commas."""

    name = "P[,P...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[PlanPhase, ...]:
        """Return the phases."""
        if isinstance(value, tuple):
            return value
        by_name = {str(phase): phase for phase in PHASES}
        phases = []
        for name in str(value).split(","):
            if name not in by_name:
                self.fail(f"unknown phase {name!r}; use {', '.join(PHASES)}.", param, ctx)
            phases.append(by_name[name])
        return tuple(phases)


def _prefix(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the prefix of names in C. Raises `click.BadParameter` for others."""
    if value is not None and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise click.BadParameter(
            f"{printable(value)!r} is not the beginning of a name in C: use letters, digits, and _."
        )
    return value


@click.command()
@click.argument("path", metavar="PATH|-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    default="text",
    help="Output format.",
)
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    help=(
        "attributes (default): commands that set attributes and MPIDRs; vm: also those that create"
        " the VM, its memory, vCPUs, and devices."
    ),
)
@click.option(
    "--phase",
    "phases",
    type=Phases(),
    help=f"Print only the commands of these phases: {', '.join(PHASES)}.",
)
@click.option(
    "--api",
    type=click.Choice(APIS),
    help=(
        "How the vCPU of a PMU interrupt is identified: vcpu (default, in Linux since 4.6), or by"
        " one of two interfaces that were never merged. See 'vmcfg explain identifiers'."
    ),
)
@click.option(
    "--device-type",
    type=click.IntRange(0, (1 << 32) - 1),
    metavar="N",
    help="Number of KVM_DEV_TYPE_ARM_PMU_V3 in your kernel; no released kernel defines it.",
)
@click.option(
    "--get",
    is_flag=True,
    help="Print the commands that read the values back, with the expected values.",
)
@click.option(
    "--numbers",
    is_flag=True,
    help="With --format text: print numbers instead of names, for a C program to parse.",
)
@click.option(
    "--comments",
    is_flag=True,
    help=(
        "With --format text: add comments with the meaning of each command and its position in the"
        " description."
    ),
)
@click.option(
    "--main",
    "main_",
    is_flag=True,
    help="With --format c: add a main() that creates the VM and prints the answers of KVM.",
)
@click.option(
    "--prefix",
    metavar="NAME",
    callback=_prefix,
    help=(
        "With --format c: begin every name with NAME instead of vmcfg, so that several plans can be"
        " linked."
    ),
)
@click.option(
    "--minimal",
    "reproducer",
    flag_value="minimal",
    help=(
        "With --format c: a program that makes only the calls of a finding, and compares the answer"
        " of KVM with the expected one. Implies --unchecked."
    ),
)
@click.option(
    "--kselftest",
    "reproducer",
    flag_value="kselftest",
    help="The same as a test for tools/testing/selftests/kvm in the source of Linux.",
)
@click.option(
    "--rule",
    metavar="ID",
    help=(
        "With --minimal or --kselftest: the rule of the finding. By default, the first one with an"
        " answer of the kernel counts."
    ),
)
@click.option(
    "--unchecked", is_flag=True, help="Print the plan despite errors, if one can be made."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the plan to FILE: completely, or not at all.",
)
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@color_option
@help_option
def emit(
    path: str,
    format_: str,
    scope: Scope | None,
    phases: tuple[PlanPhase, ...] | None,
    api: Api | None,
    device_type: int | None,
    get: bool,
    numbers: bool,
    comments: bool,
    main_: bool,
    prefix: str | None,
    reproducer: str | None,
    rule: str | None,
    unchecked: bool,
    output: str | None,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    color: str,
) -> int:
    """Print the plan: the commands for KVM, in order.

    PATH is a description, or - for standard input. Findings go to standard error. If there are
    errors, nothing is printed and no file is written.
    """
    of_plans = {
        "--scope": scope is not None,
        "--phase": phases is not None,
        "--api": api is not None,
        "--device-type": device_type is not None,
        "--get": get,
    }
    if format_ in MACHINE_FORMATS:
        _refuse_options_of_plans(f"--format {format_}", of_plans)
    if reproducer is not None:
        if format_ != "c":
            raise click.UsageError(f"--{reproducer} requires --format c, not {format_}.")
        of_c = {**of_plans, "--main": main_, "--prefix": prefix is not None}
        _refuse_options_of_plans(f"--{reproducer}", of_c)
    elif rule is not None:
        raise click.UsageError("--rule requires --minimal or --kselftest.")
    wanted = _Wanted(
        FORMATS[format_],
        scope or (WHOLE_VM if main_ else ATTRIBUTES),
        phases or PHASES,
        api or VCPU,
        device_type,
        get,
        {"numbers": numbers, "comments": comments, "main": main_, "prefix": prefix},
        unchecked,
    )
    _refuse_options_of_other_formats(wanted)
    if main_ and (scope == ATTRIBUTES or phases is not None):
        other = "--phase" if phases else "--scope attributes"
        raise click.UsageError(f"--main cannot be used with {other}: it creates a whole VM.")
    if device_type is not None and (wanted.api == VCPU or get or wanted.scope != WHOLE_VM):
        raise click.UsageError(
            "--device-type requires --api pmu-device or pmu-device-mpidr, and --scope vm."
        )
    if get and (format_ == "c" or scope == WHOLE_VM):
        other = "--format c" if format_ == "c" else "--scope vm"
        raise click.UsageError(f"--get cannot be used with {other}.")
    _refuse_to_overwrite_a_description(path, output)

    hosts = hosts_of(host_paths)
    name = stdin_filename if path == "-" else files.name_of(path)
    checked = check(files.read(path), name, host_kernel, hosts)
    checked = _held_to_format(_held_to_api(checked, wanted.api), wanted.format)
    print_findings(checked, color)
    machine = checked.plannable(strict, unchecked or reproducer is not None)
    if machine is None:
        return FOUND
    if reproducer is not None:
        shown = _reproduced(checked, machine, rule)
        if shown is None:
            return FOUND
        written = shown.source(reproducer)
    elif isinstance(wanted.format, MachineFormat):
        written = wanted.format.written(machine)
    else:
        plan = _plan(machine, wanted, hosts)
        unresolved = _unresolved(plan, checked.tree, wanted)
        if unresolved:
            print_diagnostics(unresolved, checked.tree.text, color)
            return FOUND
        written = wanted.format.written(plan, checked.tree, wanted.options)
    # Always ASCII: only the name of the description can contain other characters.
    ascii_only = written.encode("ascii", "backslashreplace")
    if output is None or output == "-":
        files.put_out(ascii_only)
    else:
        files.write(output, ascii_only)
    return 0


class _Wanted(NamedTuple):
    """The requested plan. `options` are those that only some formats have, by name."""

    format: PlanFormat | MachineFormat
    scope: Scope
    phases: tuple[PlanPhase, ...]
    api: Api
    device_type: int | None
    get: bool
    options: dict[str, Option]
    unchecked: bool


def _refuse_to_overwrite_a_description(path: str, output: str | None) -> None:
    """Raise a usage error if `output` is empty or an existing description."""
    if output is None or output == "-":
        return
    if not output:
        raise click.UsageError("-o requires the name of a file.")
    name = printable(files.name_of(output))
    if files.same(path, output):
        raise click.UsageError(f"-o {name} is the description itself.")
    if is_description(output):
        raise click.UsageError(f"-o {name} is a description, which the plan would replace.")


def _refuse_options_of_other_formats(wanted: _Wanted) -> None:
    """Raise a usage error if an option is not valid for the format."""
    for option, given in wanted.options.items():
        if given and option not in wanted.format.options:
            owner = next(each.name for each in FORMATS.values() if option in each.options)
            raise click.UsageError(
                f"--{option} requires --format {owner}, not {wanted.format.name}."
            )


def _refuse_options_of_plans(wanted: str, given: dict[str, bool]) -> None:
    """Raise a usage error if an option is given that is only for plans, and none is `wanted`."""
    for option, is_given in given.items():
        if is_given:
            raise click.UsageError(
                f"{option} cannot be used with {wanted}, which does not print a plan."
            )


def _plan(machine: Machine, wanted: _Wanted, hosts: Sequence[Host]) -> Plan:
    """Return the requested plan of `machine`."""
    if wanted.get:
        return read_back(machine, wanted.phases, wanted.unchecked, wanted.api)
    pmu_types: dict[str, int] = {}
    if hosts:
        from vmcfg.kernel.host import common_pmu_types

        pmu_types = common_pmu_types(hosts)
    return lower(
        machine,
        wanted.scope,
        wanted.phases,
        wanted.unchecked,
        wanted.api,
        wanted.device_type,
        pmu_types,
    )


def _reproduced(checked: Checked, machine: Machine, rule: str | None) -> Reproduced | None:
    """Return what a reproducer shows; say that there is nothing, if so."""
    from vmcfg.formats.reproducer import reproduced
    from vmcfg.reference.every_rule import every_rule

    rules = {each.id: each for each in every_rule()}
    if rule is not None and rule not in rules:
        raise click.UsageError(f"--rule: there is no rule {printable(rule)!r}.")
    shown = reproduced(machine, checked.diagnostics, rules, rule)
    if shown is None:
        of_rule = "" if rule is None else f" of {rule}"
        files.print_error(f"vmcfg: no finding{of_rule} has an answer of the kernel to reproduce\n")
    return shown


def _held_to_api(checked: Checked, api: Api) -> Checked:
    """Return `checked` with the findings about keys that the API does not support."""
    if checked.machine is None or api == VCPU:
        return checked
    return with_findings(checked, api_rules.unsupported(checked.machine, api))


def _held_to_format(checked: Checked, format_: PlanFormat | MachineFormat) -> Checked:
    """Return `checked` with what prevents a format of whole VMs."""
    if checked.machine is None or not isinstance(format_, MachineFormat):
        return checked
    return with_findings(checked, format_.findings(checked.machine))


def _unresolved(plan: Plan, tree: Tree, wanted: _Wanted) -> list[Diagnostic]:
    """Return the findings that prevent an executable plan."""
    numbers = wanted.options["numbers"]
    if not numbers and not wanted.format.is_executable:
        return []
    option = "--numbers" if numbers else f"--format {wanted.format.name}"
    return unresolved_diagnostics(plan, tree, option)
