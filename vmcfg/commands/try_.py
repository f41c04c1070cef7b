"""``vmcfg try``: the plan executed on KVM of this host, in a VM that is destroyed at the end."""

from __future__ import annotations

import sys
from typing import Any

import click

from vmcfg import files
from vmcfg.commands.exit_codes import FAILED, FOUND
from vmcfg.commands.options import (
    color_option,
    help_option,
    host_kernel_option,
    stdin_filename_option,
    strict_option,
)
from vmcfg.kernel import abi
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.version import Version, running_release
from vmcfg.reports.human import drawn_for, help_line
from vmcfg.reports.terminal import wants_color
from vmcfg.trial.outcome import Outcome, Step
from vmcfg.trial.predictions import Prediction
from vmcfg.trial.trying import Tried, try_description, try_plan

FORMATS = ("human", "json")


@click.command("try")
@click.argument("path", metavar="PATH|-", required=False)
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
@host_kernel_option
@strict_option
@stdin_filename_option
@color_option
@help_option
def try_(
    path: str | None,
    plan: str | None,
    format_: str,
    verbose: bool,
    no_run: bool,
    unchecked: bool,
    host_kernel: Version | None,
    strict: bool,
    stdin_filename: str,
    color: str,
) -> int:
    """Execute the plan on /dev/kvm of this host, in its own VM.

    PATH is a description, or - for standard input. Values that KVM can return are read back and
    compared. Each vCPU enters KVM_RUN once, without executing guest instructions. The VM is
    destroyed when the command ends.
    """
    if (path is None) == (plan is None):
        raise click.UsageError("try requires a description, or a plan with --plan.")
    if plan is not None and (unchecked or host_kernel is not None):
        raise click.UsageError("--unchecked and --host-kernel cannot be used with --plan.")
    source = path or plan or ""
    name = stdin_filename if source == "-" else source
    try:
        if plan is not None:
            tried = try_plan(files.lines(source), name, run=not no_run)
        else:
            data = files.read(source)
            tried = try_description(data, name, host_kernel, strict, unchecked, run=not no_run)
    except NoKvm as error:
        files.print_error(f"vmcfg: {error}\n")
        return FAILED
    if tried.outcome is not None and tried.outcome.stand_in:
        files.print_error(
            f"vmcfg: the VMM sets up the GIC; try uses {_stand_in(tried.outcome)} instead\n"
        )
    if format_ == "json":
        files.print_out(report_json(tried, unchecked))
    else:
        files.print_out(report_text(tried, verbose, color))
    return FOUND if tried.failed else 0


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
        text += drawn_for(sys.stdout, color, tried.diagnostics, tried.text)
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


def report_json(tried: Tried, unchecked: bool) -> str:
    """Return the report by the keys of schemas/try-v1.schema.json."""
    import json

    outcome = tried.outcome or Outcome(running_release(), (), (), (), ())
    report = {
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
        report["predictions"] = [_prediction(each) for each in tried.predictions]
    return json.dumps(report, indent=2) + "\n"


def _command(seq: int, step: Step) -> dict[str, Any]:
    """Return the result of a command; `errno` is "not reached" if it was not executed."""
    return {"seq": seq, "errno": step.outcome, "read": list(step.read)}


def _prediction(prediction: Prediction) -> dict[str, Any]:
    found = prediction.diagnostic
    return {
        "rule": found.rule,
        "pointer": found.pointer,
        "line": found.span.line,
        "predicted": prediction.predicted.as_json(),
        "kernel": prediction.kernel and prediction.kernel.as_json(),
        "held": prediction.held,
    }
