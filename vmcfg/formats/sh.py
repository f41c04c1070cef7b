"""A plan as a POSIX shell script, sourced by the script that defines how to execute a command."""

from __future__ import annotations

from shlex import quote

from vmcfg.escape import ascii_line
from vmcfg.formats.headings import cautions, performed
from vmcfg.plans.plan import Plan
from vmcfg.text.tree import Tree

PERFORMER = "vmcfg_set_attr"
"""The function of the caller: it is called once per command with the six fields as arguments."""

NO_PERFORMER = 3

HEAD = f"""\
# shellcheck shell=sh
# Plan of {{vm}}, created by vmcfg from {{file}}, for Linux {{host_kernel}} and later.
# Number of commands: {{count}}. They are {{perform}}.{{cautions}}
#
# Source this file from a script that defines how to execute one command:
#
#     {PERFORMER}() {{{{ # arguments: OP TARGET GROUP ATTR TYPE VALUE, as in `vmcfg emit`
#         ...
#     }}}}
#     . ./plan.sh
#
# {PERFORMER} is called once per command, in order. If it fails, the plan ends and returns its status.
# If it is not defined, the plan does nothing and returns {NO_PERFORMER}.

# The braces, also at the end, prevent the execution of a truncated file.
{{{{ vmcfg_plan() {{{{
    if ! command -v {PERFORMER} >/dev/null 2>&1; then
        echo 'vmcfg: {PERFORMER} is not defined: define it before you source this plan' >&2
        return {NO_PERFORMER}
    fi
"""  # noqa: E501

TAIL = """\
}; }

{ vmcfg_plan; }
"""


def sh(plan: Plan, tree: Tree) -> str:
    """Return a script of one function, called on the last line: truncated, it does nothing."""
    header = plan.header()
    head = HEAD.format(
        vm=ascii_line(header["vm"]),
        file=ascii_line(tree.file),
        host_kernel=header["host_kernel"],
        count=len(plan.commands),
        perform=performed(plan),
        cautions="".join(f"\n# {sentence}" for sentence in cautions(plan)),
    )
    # `|| return` is needed because `set -e` has no effect if the caller checks the status.
    calls = [
        f"    {PERFORMER} {' '.join(map(quote, command.fields()))} || return\n"
        for command in plan.commands
    ]
    return "".join([head, *calls, TAIL])
