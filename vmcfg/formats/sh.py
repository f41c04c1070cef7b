"""A plan as a POSIX shell script, to be sourced by the script that knows how to perform a
command.
"""

from __future__ import annotations

from shlex import quote

from vmcfg.escape import ascii_line
from vmcfg.formats.headings import cautions, performed
from vmcfg.plans.plan import Plan
from vmcfg.text.tree import Tree

PERFORMER = "vmcfg_set_attr"
"""What the caller defines: it is called once a command with the six fields as arguments."""

NO_PERFORMER = 3

HEAD = f"""\
# shellcheck shell=sh
# The plan of {{vm}}, made by vmcfg from {{file}}, for kernels {{host_kernel}} and later.
# Commands: {{count}}. They are {{perform}}.{{cautions}}
#
# To be sourced by a script that says how one command is performed:
#
#     {PERFORMER}() {{{{ # OP TARGET GROUP ATTR TYPE VALUE, as `vmcfg emit` prints them
#         ...
#     }}}}
#     . ./plan.sh
#
# {PERFORMER} is called once a command, in order. Where it fails nothing more is called, and its status is returned.
# Where there is none nothing is done, and the status is {NO_PERFORMER}.

# In braces, here and at the end, so that a word that is cut is no command.
{{{{ vmcfg_plan() {{{{
    if ! command -v {PERFORMER} >/dev/null 2>&1; then
        echo 'vmcfg: {PERFORMER} is not defined, so nothing is done: define it before you source this plan' >&2
        return {NO_PERFORMER}
    fi
"""  # noqa: E501

TAIL = """\
}; }

{ vmcfg_plan; }
"""


def sh(plan: Plan, tree: Tree) -> str:
    """A script that does nothing unless it is whole: one function, and the call of it on the last
    line.
    """
    header = plan.header()
    head = HEAD.format(
        vm=ascii_line(header["vm"]),
        file=ascii_line(tree.file),
        host_kernel=header["host_kernel"],
        count=len(plan.commands),
        perform=performed(plan),
        cautions="".join(f"\n# {sentence}" for sentence in cautions(plan)),
    )
    # `|| return`, because `set -e` is off wherever the caller asks for the status.
    calls = [
        f"    {PERFORMER} {' '.join(map(quote, command.fields()))} || return\n"
        for command in plan.commands
    ]
    return "".join([head, *calls, TAIL])
