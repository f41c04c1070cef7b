"""``vmcfg try``: plans executed on KVM of this host or of a kernel image, each in a VM that is
destroyed at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from vmcfg import files
from vmcfg.commands.boot_elsewhere import (
    boot_elsewhere_options,
    performed_elsewhere,
    write_initrd,
)
from vmcfg.commands.examples_tried import examples_tried
from vmcfg.commands.image import guest_of, image_options
from vmcfg.commands.options import (
    color_option,
    defaults_of,
    defaults_option,
    help_option,
    host_kernel_option,
    host_option,
    hosts_of,
    refuse_defaults,
    stdin_filename_option,
    strict_option,
)
from vmcfg.commands.script_of_trials import TrialOn, print_script, require_output
from vmcfg.exit_codes import FAILED
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.version import Version, running_release, version_of
from vmcfg.reports.human import drawn_for, help_line
from vmcfg.reports.terminal import wants_color
from vmcfg.trial.on_host import Execution
from vmcfg.trial.outcome import Outcome, Step
from vmcfg.trial.report import as_json, exit_code, remarks
from vmcfg.trial.trying import DescriptionTrial, Performer, prepared_plan
from vmcfg.trial.verdict import Attempt, Trial, Tried, attempts, performer_here

if TYPE_CHECKING:
    from vmcfg.checking.check import Defaults
    from vmcfg.trial.boot import Guest

FORMATS = ("human", "json", "ktap")

UNFIT = {
    "--plan": ("--unchecked", "--host-kernel", "--format ktap", "--host", "--defaults"),
    "--examples": ("--host", "--defaults"),
    "--script": ("--image", "--results", "--examples", "--verbose", "--format ktap"),
    "--image": ("--results",),
}
"""The options that cannot be used with an option."""


@click.command("try")
@click.argument("paths", nargs=-1, metavar="[PATH|-...]")
@click.option(
    "--plan",
    "plan",
    metavar="FILE|-",
    help="Execute this plan from 'vmcfg emit --scope vm --format jsonl'.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="Output format.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print one line per command, with the values read back.",
)
@click.option("--no-run", is_flag=True, help="Do not enter KVM_RUN.")
@click.option(
    "--unchecked",
    is_flag=True,
    help=(
        "Execute the plan despite findings, and compare the behavior of KVM with what they predict."
    ),
)
@click.option(
    "--examples",
    is_flag=True,
    help="Try the example of each rule and each sample instead of PATHs, as with --unchecked.",
)
@click.option(
    "--script",
    "wants_script",
    is_flag=True,
    help="Print a script that executes the plans on a host without vmcfg, and reports in JSON.",
)
@click.option(
    "-o", "--output", metavar="FILE", help="With --script: write the script to this file."
)
@image_options
@boot_elsewhere_options
@defaults_option
@host_kernel_option
@host_option
@strict_option
@stdin_filename_option
@color_option
@help_option
def try_(
    paths: tuple[str, ...],
    plan: str | None,
    format_: str,
    verbose: bool,
    no_run: bool,
    unchecked: bool,
    examples: bool,
    wants_script: bool,
    output: str | None,
    image: str | None,
    machine: str | None,
    cpu: str | None,
    append: str | None,
    timeout: float | None,
    console: str | None,
    initrd: str | None,
    results: str | None,
    defaults_path: str | None,
    host_kernel: Version | None,
    host_paths: tuple[str, ...],
    strict: bool,
    stdin_filename: str,
    color: str,
) -> int:
    """Execute plans on /dev/kvm of this host, or of a kernel image, each in its own VM.

    PATH is a description, a directory of descriptions, or - for standard input. Values that KVM can
    return are read back and compared. Each vCPU enters KVM_RUN once, without executing guest
    instructions. Every VM is destroyed at the end. With --image, QEMU boots an arm64 kernel, which
    executes all plans in one boot: no arm64 host is needed, but an arm64 compiler.

    --initrd does not boot the image: boot it with this initrd on any machine, such as a board, and
    give its console to --results, with the same descriptions and options.

    --script does not query this host. To try a description on another one, which needs only Python
    3.7: vmcfg try --script vm.yaml | ssh HOST python3 -. The script prints what 'vmcfg try --format
    json' prints there, and has its exit code. If the description has no host_kernel, the findings
    are those for the kernel of that host.
    """
    if bool(paths) + (plan is not None) + examples != 1:
        raise click.UsageError("try requires descriptions, a plan with --plan, or --examples.")
    _require_that_they_fit(
        {
            "--plan": plan is not None,
            "--examples": examples,
            "--script": wants_script,
            "--image": image is not None,
            "--results": results is not None,
            "--unchecked": unchecked,
            "--verbose": verbose,
            "--format ktap": format_ == "ktap",
            "--host-kernel": host_kernel is not None,
            "--host": bool(host_paths),
            "--defaults": defaults_path is not None,
        }
    )
    if initrd is not None and image is None:
        raise click.UsageError("--initrd requires --image.")
    if output is not None:
        require_output(output, wants_script)
    unchecked = unchecked or examples
    hosts = hosts_of(host_paths)
    defaults = defaults_of(defaults_path, stdin_filename)
    is_several = examples or len(paths) > 1 or any(map(os.path.isdir, paths))
    unreadable: list[str] = []

    def trials() -> list[TrialOn]:
        if plan is not None:
            trial = prepared_plan(files.lines(plan), stdin_filename if plan == "-" else plan)
            return [lambda here: trial]
        if examples:
            sources = examples_tried()
        else:
            sources = _read(paths, stdin_filename, defaults_path, unreadable)
        descriptions = [
            DescriptionTrial(data, name, host_kernel, strict, unchecked, hosts, defaults)
            for name, data in sources
        ]
        if defaults is not None and format_ == "human" and not wants_script:
            return _reported_once(descriptions, defaults)
        return [description.on for description in descriptions]

    if wants_script:
        how = Execution(is_several, unchecked, not no_run)
        return print_script(trials, unreadable, how, output, color)
    try:
        guest = guest_of(image, machine, cpu, append, timeout, console)
        skips = examples or format_ == "ktap"
        if initrd is not None and guest is not None:
            here = version_of(guest.image.release)
            every = [trial_on(here) for trial_on in trials()]
            code = write_initrd(
                initrd, guest, every, skips=skips, go_on=unchecked, run=not no_run, color=color
            )
            return FAILED if unreadable else code
        release, performed = _performer(guest, results, unchecked, run=not no_run)
        here = version_of(release)
        done = attempts([trial_on(here) for trial_on in trials()], performed, release, skips)
    except NoKvm as error:
        files.print_error(f"vmcfg: {error}\n")
        return FAILED
    if examples:
        done = [_without_plan(attempt) for attempt in done]
    _print(done, format_, verbose, unchecked, is_several, color)
    return FAILED if unreadable else exit_code(done, skips)


def _require_that_they_fit(given: Mapping[str, bool]) -> None:
    """Raise a usage error for two options of UNFIT that are both given."""
    for option, others in UNFIT.items():
        for other in others:
            if given[option] and given[other]:
                raise click.UsageError(f"{other} cannot be used with {option}.")


def _performer(
    guest: Guest | None, results: str | None, go_on: bool, run: bool
) -> tuple[str, Performer]:
    """Return the version of a kernel, and the function that executes tasks there: on this host, in
    `guest`, or on the machine whose console `results` is.
    """
    if results is not None:
        return performed_elsewhere(results, go_on=go_on, run=run)
    if guest is None:
        return running_release(), performer_here(go_on=go_on, run=run)
    from vmcfg.trial.boot import perform_in

    return guest.image.release, partial(perform_in, guest, go_on=go_on, run=run)


def _read(
    paths: Sequence[str],
    stdin_filename: str,
    defaults_path: str | None,
    unreadable: list[str],
) -> list[tuple[str, bytes]]:
    """Return the descriptions with their names. Those that cannot be read are reported."""
    if len(paths) == 1 and not os.path.isdir(paths[0]):
        (path,) = paths
        refuse_defaults(path, defaults_path)
        return [(stdin_filename if path == "-" else path, files.read(path))]

    def report(error: files.NoFile) -> None:
        unreadable.append(f"vmcfg: {error}\n")
        files.print_error(unreadable[-1])

    found = []
    for path in files.without(files.descriptions(paths, (), report), defaults_path):
        try:
            found.append((stdin_filename if path == "-" else path, files.read(path)))
        except files.NoFile as error:  # noqa: PERF203  # the other files are tried
            report(error)
    return found


def _reported_once(descriptions: Sequence[DescriptionTrial], defaults: Defaults) -> list[TrialOn]:
    """Return trials that report each finding wholly in the defaults only once, for people."""
    from vmcfg.commands.found_in_defaults import FoundInDefaults

    found = FoundInDefaults(defaults)

    def trial_on(description: DescriptionTrial, here: Version) -> Trial:
        trial = description.on(here)
        checked = description.checked._replace(diagnostics=list(trial.reported))
        return trial._replace(reported=tuple(found.remaining(checked)))

    return [partial(trial_on, description) for description in descriptions]


def _without_plan(attempt: Attempt) -> Attempt:
    """Return an attempt that is skipped if its description means no plan, as many examples do."""
    if attempt.tried is None or attempt.tried.outcome is not None:
        return attempt
    return Attempt(attempt.file, None, "it means no plan")


def _print(
    done: Sequence[Attempt],
    format_: str,
    verbose: bool,
    unchecked: bool,
    is_several: bool,
    color: str,
) -> None:
    """Print the results, and on standard error what was not executed or replaced."""
    if format_ == "ktap":
        from vmcfg.reports.ktap import ktap

        files.print_out(ktap(done))
        return
    files.print_error("".join(remarks(done, is_several)))
    if format_ == "json":
        files.print_out(as_json(done, is_several, unchecked))
        return
    for attempt in done:
        if attempt.tried is not None:
            files.print_out(report_text(attempt.tried, verbose, color))


def report_text(tried: Tried, verbose: bool, color: str) -> str:
    """Return the report for people: with `verbose`, one line per command; findings, predictions,
    and a summary.
    """
    lines = []
    outcome = tried.outcome
    if outcome is not None and verbose:
        lines += [_line(seq, step) for seq, step in enumerate(outcome.steps, 1)]
        lines += [f"run {target}: {errno or 'ok'}" for target, errno in outcome.runs]
    text = "".join(f"{line}\n" for line in lines)
    if tried.diagnostics:
        text += drawn_for(sys.stdout, color, tried.diagnostics, tried.texts)
        rules = [found.rule for found in tried.diagnostics]
        text += help_line(rules, wants_color(color, sys.stdout))
    text += "".join(f"{prediction}\n" for prediction in tried.predictions)
    if outcome is not None:
        text += _summary(tried.name, outcome) + "\n"
    return text


def _line(seq: int, step: Step) -> str:
    """Return the line of a command: its result, and the values that KVM returned."""
    command = f"{seq} {step.call.text}"
    if step.outcome is not None:
        return f"{command}: {step.outcome}"
    if not step.read:
        return f"{command}: ok"
    values = dict.fromkeys(step.read)
    return f"{command}: ok, read back {', '.join(values)}"


def _summary(name: str, outcome: Outcome) -> str:
    ran = sum(run.errno is None for run in outcome.runs)
    counts = [
        f"{outcome.performed} of {len(outcome.steps)} commands executed",
        f"{outcome.read_back} values read back",
        f"{ran} of {len(outcome.runs)} vCPUs entered" if outcome.runs else "no vCPU entered",
    ]
    if outcome.differences:
        counts.insert(2, f"{len(outcome.differences)} differ")
    return f"{name} on Linux {outcome.kernel}: {', '.join(counts)}"
