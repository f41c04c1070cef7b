"""``vmcfg try``: plans executed on KVM of this host or of a kernel image, each in a VM that is
destroyed at the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from vmcfg import files
from vmcfg.commands.examples_tried import examples_tried
from vmcfg.commands.exit_codes import FAILED, FOUND
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
from vmcfg.escape import printable, without_surrogates
from vmcfg.kernel import abi
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.version import Version, running_release
from vmcfg.reports.human import drawn_for, help_line
from vmcfg.reports.terminal import wants_color
from vmcfg.trial.outcome import Outcome, Step
from vmcfg.trial.predictions import Prediction
from vmcfg.trial.trying import (
    Attempt,
    Performer,
    Trial,
    Tried,
    attempts,
    performer_here,
    prepared,
    try_plan,
)

if TYPE_CHECKING:
    from vmcfg.checking.check import Defaults
    from vmcfg.trial.boot import Guest

FORMATS = ("human", "json", "ktap")


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
@image_options
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
    image: str | None,
    machine: str | None,
    cpu: str | None,
    append: str | None,
    timeout: float | None,
    console: str | None,
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
    """
    if bool(paths) + (plan is not None) + examples != 1:
        raise click.UsageError("try requires descriptions, a plan with --plan, or --examples.")
    if plan is not None and (unchecked or host_kernel is not None or format_ == "ktap"):
        raise click.UsageError(
            "--unchecked, --host-kernel, and --format ktap cannot be used with --plan."
        )
    for option, given in (("--host", host_paths), ("--defaults", defaults_path)):
        if given and (plan is not None or examples):
            raise click.UsageError(f"{option} requires descriptions.")
    unchecked = unchecked or examples
    hosts = hosts_of(host_paths)
    defaults = defaults_of(defaults_path, stdin_filename)
    unreadable: list[files.NoFile] = []
    try:
        guest = guest_of(image, machine, cpu, append, timeout, console)
        performed = _performer(guest, unchecked, run=not no_run)
        release = running_release() if guest is None else guest.image.release
        if plan is not None:
            name = stdin_filename if plan == "-" else plan
            tried = try_plan(files.lines(plan), name, run=not no_run, performed=performed)
            done = [Attempt(name, tried)]
        else:
            if examples:
                sources = examples_tried()
            else:
                sources = _read(paths, stdin_filename, defaults_path, unreadable)
            trials = [
                prepared(data, name, host_kernel, strict, unchecked, release, hosts, defaults)
                for name, data in sources
            ]
            if defaults is not None and format_ == "human":
                trials = _reported_once(trials, defaults)
            skips = examples or format_ == "ktap"
            done = attempts(trials, performed, release, skips)
    except NoKvm as error:
        files.print_error(f"vmcfg: {error}\n")
        return FAILED
    is_several = examples or len(paths) > 1 or any(map(os.path.isdir, paths))
    if examples:
        done = [_without_plan(attempt) for attempt in done]
    _print(done, format_, verbose, unchecked, is_several, color)
    cannot = [
        attempt for attempt in done if attempt.tried is None and not _is_skip(format_, examples)
    ]
    if cannot or unreadable:
        return FAILED
    return FOUND if any(each.tried is not None and each.tried.failed for each in done) else 0


def _performer(guest: Guest | None, go_on: bool, run: bool) -> Performer:
    """Return the function that executes tasks: on this host, or in `guest`."""
    if guest is None:
        return performer_here(go_on=go_on, run=run)
    from vmcfg.trial.boot import perform_in

    return lambda tasks: perform_in(guest, tasks, go_on=go_on, run=run)


def _read(
    paths: Sequence[str],
    stdin_filename: str,
    defaults_path: str | None,
    unreadable: list[files.NoFile],
) -> list[tuple[str, bytes]]:
    """Return the descriptions with their names. Those that cannot be read are reported."""
    if len(paths) == 1 and not os.path.isdir(paths[0]):
        (path,) = paths
        refuse_defaults(path, defaults_path)
        return [(stdin_filename if path == "-" else path, files.read(path))]

    def report(error: files.NoFile) -> None:
        unreadable.append(error)
        files.print_error(f"vmcfg: {error}\n")

    found = []
    for path in files.without(files.descriptions(paths, (), report), defaults_path):
        try:
            found.append((stdin_filename if path == "-" else path, files.read(path)))
        except files.NoFile as error:  # noqa: PERF203  # the other files are tried
            report(error)
    return found


def _reported_once(trials: list[Trial], defaults: Defaults) -> list[Trial]:
    """Return trials that report each finding wholly in the defaults only once, for people."""
    from vmcfg.commands.found_in_defaults import FoundInDefaults

    found = FoundInDefaults(defaults)
    return [
        trial._replace(reported=found.remaining(trial.checked._replace(diagnostics=trial.reported)))
        for trial in trials
    ]


def _without_plan(attempt: Attempt) -> Attempt:
    """Return an attempt that is skipped if its description means no plan, as many examples do."""
    if attempt.tried is None or attempt.tried.outcome is not None:
        return attempt
    return Attempt(attempt.file, None, "it means no plan")


def _is_skip(format_: str, examples: bool) -> bool:
    """Return whether what this host lacks is skipped, rather than an error."""
    return examples or format_ == "ktap"


def _print(
    done: Sequence[Attempt],
    format_: str,
    verbose: bool,
    unchecked: bool,
    is_several: bool,
    color: str,
) -> None:
    """Print the results, and on standard error what was not executed or replaced."""
    for attempt in done:
        outcome = attempt.tried and attempt.tried.outcome
        start = f"vmcfg: {printable(attempt.file)}: " if is_several else "vmcfg: "
        if outcome and outcome.stand_in and format_ != "ktap":
            files.print_error(
                f"{start}the VMM sets up the GIC; try uses {_stand_in(outcome)} instead\n"
            )
        if attempt.tried is None and format_ != "ktap":
            files.print_error(f"{start}{attempt.reason}\n")
    if format_ == "ktap":
        from vmcfg.reports.ktap import ktap

        files.print_out(ktap(done))
    elif format_ == "json" and is_several:
        files.print_out(reports_json(done, unchecked))
    else:
        for attempt in done:
            if attempt.tried is not None and format_ == "json":
                files.print_out(report_json(attempt.tried, unchecked))
            elif attempt.tried is not None:
                files.print_out(report_text(attempt.tried, verbose, color))


def _stand_in(outcome: Outcome) -> str:
    """Return the GIC that replaced that of the VMM."""
    made = outcome.stand_in[0].command
    _, gicv2 = abi.DEVICE_TYPES[2]
    return "a GICv2" if made.number == gicv2 else "a GICv3"


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
    command = f"{seq} {step.command.text()}"
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


def reports_json(done: Sequence[Attempt], unchecked: bool) -> str:
    """Return the reports of several files by the keys of schemas/tries-v1.schema.json."""
    import json

    tries = [
        {"file": each.file, "skipped": each.reason}
        if each.tried is None
        else {"file": each.file, **_report(each.tried, unchecked)}
        for each in done
    ]
    whole = {"format": "vmcfg.tries", "format_version": "1.0", "tries": tries}
    return json.dumps(whole, indent=2) + "\n"


def report_json(tried: Tried, unchecked: bool) -> str:
    """Return the report by the keys of schemas/try-v1.schema.json."""
    import json

    return json.dumps(_report(tried, unchecked), indent=2) + "\n"


def _report(tried: Tried, unchecked: bool) -> dict[str, Any]:
    outcome = tried.outcome or Outcome(running_release(), (), (), (), ())
    report: dict[str, Any] = {
        "format": "vmcfg.try",
        "format_version": "1.0",
        "kernel": outcome.kernel,
        "performed": outcome.performed,
        "commands": [_command(seq, step) for seq, step in enumerate(outcome.steps, 1)],
        "read_back": outcome.read_back,
        "differences": [
            {"seq": each.step + 1, "want": each.want, "got": each.got}
            for each in outcome.differences
        ],
        "run": [run._asdict() for run in outcome.runs],
        "diagnostics": [found.as_json() for found in tried.diagnostics],
    }
    if unchecked:
        file = next(iter(tried.texts), "")
        report["predictions"] = [_prediction(each, file) for each in tried.predictions]
    return report


def _command(seq: int, step: Step) -> dict[str, Any]:
    """Return the result of a command; `errno` is "not reached" if it was not executed."""
    return {"seq": seq, "errno": step.outcome, "read": list(step.read)}


def _prediction(prediction: Prediction, file: str) -> dict[str, Any]:
    """Return a prediction; with its file, if that is not the description `file`."""
    found = prediction.diagnostic
    place = {} if found.file == file else {"file": without_surrogates(found.file)}
    return {
        "rule": found.rule,
        **place,
        "pointer": found.pointer,
        "line": found.span.line,
        "predicted": prediction.predicted.as_json(),
        "kernel": prediction.kernel and prediction.kernel.as_json(),
        "held": prediction.held,
    }
