"""``vmcfg emit``: print the plan, complete or not at all."""

from __future__ import annotations

import os
import re

import click

from vmcfg import files
from vmcfg.checking.check import Checked
from vmcfg.commands.emission import Emitted, Run, Wanted, ascii_bytes, checked_for, emitted
from vmcfg.commands.findings_output import print_findings
from vmcfg.commands.options import (
    color_option,
    defaults_of,
    defaults_option,
    exclude_option,
    help_option,
    host_kernel_option,
    host_option,
    hosts_of,
    is_description,
    jobs_option,
    refuse_defaults,
    stdin_filename_option,
    strict_option,
)
from vmcfg.escape import printable
from vmcfg.exit_codes import FOUND
from vmcfg.files import STDIN
from vmcfg.formats.registry import FORMATS, MACHINE_FORMATS, PlanFormat
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import APIS, VCPU, Api
from vmcfg.plans.phases import PHASES, PlanPhase
from vmcfg.plans.plan import ATTRIBUTES, SCOPES, STATE_SCOPE, WHOLE_VM, Scope


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
@click.argument("paths", nargs=-1, required=True, metavar="PATH|-...")
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
        " the VM, its memory, vCPUs, and devices; state: those that restore the state of the vGIC,"
        " or with --get save it."
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
    metavar="FILE|DIRECTORY/",
    help=(
        "Write the plan to FILE: completely, or not at all. Of several descriptions, write each"
        " plan to a file in DIRECTORY: all of them, or none. An equal file is left alone."
    ),
)
@exclude_option
@click.option(
    "--check",
    is_flag=True,
    help="With -o: write nothing, and print which files are missing, stale, or left over.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="With -o DIRECTORY/: remove what vmcfg wrote there for descriptions that are deleted.",
)
@jobs_option
@defaults_option
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@color_option
@help_option
def emit(
    paths: tuple[str, ...],
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
    excluded: tuple[str, ...],
    check: bool,
    prune: bool,
    jobs: int | None,
    defaults_path: str | None,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    color: str,
) -> int:
    """Print the plan: the commands for KVM, in order.

    PATH is a description, a directory (all *.yaml and *.yml in it, except hidden ones), or - for
    standard input. Findings go to standard error. If there are errors, nothing is printed and no
    file is written.

    Of several descriptions, or of a directory, -o DIRECTORY/ is required. NAME.yaml becomes
    NAME.plan there, or the suffix of its format, in the same subdirectories.
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
    wanted = Wanted(
        FORMATS[format_],
        scope or (WHOLE_VM if main_ else ATTRIBUTES),
        phases or PHASES,
        api or VCPU,
        device_type,
        get,
        {"numbers": numbers, "comments": comments, "main": main_, "prefix": prefix},
        unchecked,
        strict,
        host_kernel,
        hosts_of(host_paths),
        defaults_of(defaults_path, stdin_filename),
    )
    _refuse_options_of_other_formats(wanted)
    _refuse_contradictions(wanted, scope, phases is not None)
    if check and prune:
        raise click.UsageError("--check cannot be used with --prune.")
    if _are_many(paths, output):
        if reproducer is not None:
            raise click.UsageError(f"--{reproducer} is for one description and one file.")
        return _emit_many(
            Run(
                paths,
                excluded,
                output or "",
                stdin_filename,
                defaults_path,
                check,
                prune,
                jobs,
                color,
            ),
            wanted,
        )
    (path,) = paths
    refuse_defaults(path, defaults_path)
    if prune:
        raise click.UsageError("--prune requires -o DIRECTORY/.")
    if check and output in (None, "-"):
        raise click.UsageError("--check requires -o: the file or the directory to check.")
    _refuse_to_overwrite_a_description(path, output)

    name = stdin_filename if path == "-" else files.name_of(path)
    checked = checked_for(files.read(path), name, wanted)
    done = emitted(checked, wanted) if reproducer is None else Emitted(checked)
    print_findings(done.checked, color)
    if reproducer is not None:
        done = Emitted(checked, _reproduced(checked, reproducer, rule))
    if done.data is None:
        return FOUND
    return _put(done, wanted, output, check)


def _refuse_contradictions(wanted: Wanted, scope: Scope | None, has_phases: bool) -> None:
    """Raise a usage error if options contradict each other; `scope` is that of the command line."""
    if wanted.scope == STATE_SCOPE:
        _refuse_with_state(wanted, has_phases)
    if wanted.options["main"] and (scope not in (None, WHOLE_VM) or has_phases):
        other = "--phase" if has_phases else f"--scope {scope}"
        raise click.UsageError(f"--main cannot be used with {other}: it creates a whole VM.")
    if wanted.device_type is not None and (
        wanted.api == VCPU or wanted.get or wanted.scope != WHOLE_VM
    ):
        raise click.UsageError(
            "--device-type requires --api pmu-device or pmu-device-mpidr, and --scope vm."
        )
    if wanted.get and (wanted.format.name == "c" or scope == WHOLE_VM):
        other = "--format c" if wanted.format.name == "c" else "--scope vm"
        raise click.UsageError(f"--get cannot be used with {other}.")


def _refuse_with_state(wanted: Wanted, has_phases: bool) -> None:
    """Raise a usage error if an option or a format is not for the state of a vGIC."""
    format_ = wanted.format
    has_state = isinstance(format_, PlanFormat) and format_.has_state
    unfit = {
        "--phase": has_phases,
        f"--api {wanted.api}": wanted.api != VCPU,
        f"--format {format_.name}": not has_state,
    }
    for option, is_given in unfit.items():
        if is_given:
            raise click.UsageError(f"{option} cannot be used with --scope state.")
    if wanted.get and wanted.format.name == "c":
        raise click.UsageError(
            "--get cannot be used with --format c: with --scope state, that has both functions."
        )


def _put(done: Emitted, wanted: Wanted, output: str | None, check: bool) -> int:
    """Print what is emitted, write it to a file, or compare it with one. Return the exit code."""
    assert done.data is not None
    if output is None or output == "-":
        files.put_out(done.data)
        return 0
    if check:
        from vmcfg.commands.staleness import staleness

        line = staleness(output, done, wanted.format)
        files.print_out(line)
        return FOUND if line else 0
    is_changed = not files.contains(output, done.data)
    if is_changed:
        from vmcfg.writing import write

        write(output, done.data)
    files.print_error(f"{files.changed_text(int(is_changed), 1)}\n")
    return 0


def _are_many(paths: tuple[str, ...], output: str | None) -> bool:
    """Return whether the output is a directory, or has to be one."""
    if len(paths) > 1 or os.path.isdir(paths[0]):
        return True
    return output is not None and (output.endswith("/") or os.path.isdir(output))


def _emit_many(run: Run, wanted: Wanted) -> int:
    """Emit the descriptions of a run into its directory. Return the exit code."""
    if run.output in ("", "-"):
        raise click.UsageError(
            "Several descriptions, or a directory of them, require -o DIRECTORY/."
        )
    name = printable(files.name_of(run.output))
    if not run.output.endswith("/") and not os.path.isdir(run.output):
        if os.path.lexists(run.output):
            raise click.UsageError(f"-o {name} is not a directory.")
        raise click.UsageError(f"-o {name} does not exist; to create a directory, write '{name}/'.")
    file = os.path.basename(run.stdin_filename)
    if "-" in run.paths and (run.stdin_filename == STDIN or file in ("", ".", "..")):
        raise click.UsageError(
            "Standard input and -o DIRECTORY/ require --stdin-filename, with the name of a file."
        )
    from vmcfg.commands.emit_many import emit_many

    return emit_many(run, wanted)


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


def _refuse_options_of_other_formats(wanted: Wanted) -> None:
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


def _reproduced(checked: Checked, reproducer: str, rule: str | None) -> bytes | None:
    """Return a reproducer; say that there is nothing to reproduce, if so."""
    from vmcfg.formats.reproducer import reproduced
    from vmcfg.reference.every_rule import every_rule

    if checked.machine is None:
        return None
    rules = {each.id: each for each in every_rule()}
    if rule is not None and rule not in rules:
        raise click.UsageError(f"--rule: there is no rule {printable(rule)!r}.")
    shown = reproduced(checked.machine, checked.diagnostics, rules, rule)
    if shown is None:
        of_rule = "" if rule is None else f" of {rule}"
        files.print_error(f"vmcfg: no finding{of_rule} has an answer of the kernel to reproduce\n")
        return None
    return ascii_bytes(shown.source(reproducer))
