"""``vmcfg try``: the plan performed on this machine's KVM, in a VM that ends with the command."""

from __future__ import annotations

import sys
from typing import Any

import click

from vmcfg import files
from vmcfg.commands.exit_codes import FAILED, FOUND
from vmcfg.commands.options import (
    color_option,
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
    "--plan", "plan", metavar="FILE|-", help="Perform this plan: emit --scope vm --format jsonl."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="How the report is written.",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="A line for every command, with the value read back."
)
@click.option("--no-run", is_flag=True, help="Do not enter the vCPUs.")
@click.option(
    "--unchecked", is_flag=True, help="Try in spite of findings, and compare what they predict."
)
@host_kernel_option
@strict_option
@stdin_filename_option
@color_option
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
    """Perform the plan of PATH on this host's /dev/kvm, in a VM of its own, and report what KVM
    says.

    What can be read is read back and compared, and each vCPU is entered once without running its
    guest. Nothing is left when the command ends.
    """
    if (path is None) == (plan is None):
        raise click.UsageError("Give a description, or a plan with --plan.")
    if plan is not None and (unchecked or host_kernel is not None):
        raise click.UsageError(
            "--unchecked and --host-kernel are for descriptions; a plan is performed as it is."
        )
    source = path or plan or ""
    name = stdin_filename if source == "-" else source
    data = files.read(source)
    try:
        if plan is not None:
            tried = try_plan(data, name, run=not no_run)
        else:
            tried = try_description(data, name, host_kernel, strict, unchecked, run=not no_run)
    except NoKvm as error:
        files.print_error(f"vmcfg: {error}\n")
        return FAILED
    if tried.outcome is not None and tried.outcome.stand_in:
        files.print_error(
            f"vmcfg: the GIC is the monitor's; {_stand_in(tried.outcome)} stands in for it\n"
        )
    if format_ == "json":
        files.print_out(report_json(tried, unchecked))
    else:
        files.print_out(report_text(tried, verbose, color))
    return FOUND if tried.failed else 0


def _stand_in(outcome: Outcome) -> str:
    """Which GIC stood in for the monitor's."""
    made = outcome.stand_in[0].command
    _, gicv2 = abi.DEVICE_TYPES[2]
    return "a GICv2" if made.number == gicv2 else "a GICv3"


def report_text(tried: Tried, verbose: bool, color: str) -> str:
    """The report for a person: with `verbose` a line a command, then findings, predictions and a
    summary.
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
    """What became of a command, with each value that KVM gave back."""
    command = f"{seq} {step.command.text()}"
    if step.outcome is not None:
        return f"{command}: {step.outcome}"
    if not step.read:
        return f"{command}: ok"
    values = dict.fromkeys(step.read)
    return f"{command}: ok, reads back {', '.join(values)}"


def _summary(name: str, outcome: Outcome) -> str:
    ran = sum(run.errno is None for run in outcome.runs)
    counts = [
        f"{outcome.performed} of {len(outcome.steps)} commands performed",
        f"{outcome.read_back} values read back",
        f"{ran} of {len(outcome.runs)} vCPUs entered" if outcome.runs else "no vCPU entered",
    ]
    if outcome.differences:
        counts.insert(2, f"{len(outcome.differences)} differ")
    return f"{name} on Linux {outcome.kernel}: {', '.join(counts)}"


def report_json(tried: Tried, unchecked: bool) -> str:
    """The report by schemas/try-v1.schema.json."""
    import json

    outcome = tried.outcome or Outcome(running_release(), (), (), (), ())
    report = {
        "format": "vmcfg.try",
        "format_version": "1.0",
        "kernel": outcome.kernel,
        "performed": outcome.performed,
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
