"""``vmcfg probe``: what KVM on this host supports, or a script that finds out on another host."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from vmcfg import files
from vmcfg.commands.image import guest_of, image_options
from vmcfg.commands.options import color_option, help_option, hosts_of
from vmcfg.escape import printable
from vmcfg.exit_codes import FAILED, FOUND
from vmcfg.kernel.common_registers import common_registers
from vmcfg.kernel.host import Host, host_file
from vmcfg.kernel.host_facts import changes, facts
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.probing import probed_host
from vmcfg.plans.apis import VCPU
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reports.styled import table
from vmcfg.reports.terminal import is_terminal, wants_color
from vmcfg.script import script

if TYPE_CHECKING:
    from vmcfg.trial.boot import Guest

FORMATS = ("human", "json")

CARRIED = (
    "vmcfg.kernel.version",
    "vmcfg.kernel.abi",
    "vmcfg.kernel.capabilities",
    "vmcfg.kernel.features",
    "vmcfg.kernel.host_pmus",
    "vmcfg.kernel.ioctls",
    "vmcfg.kernel.registers",
    "vmcfg.kernel.settable_registers",
    "vmcfg.kernel.probing",
)
"""The modules in --script: each imports only the standard library and those before it."""

BODY = """\
import json

from vmcfg.kernel.ioctls import NoKvm
from vmcfg.kernel.probing import probed_host

ATTRIBUTES = json.loads({attributes})

try:
    print(json.dumps(probed_host(ATTRIBUTES), indent=2))
except NoKvm as error:
    print("vmcfg probe: " + str(error), file=sys.stderr)
    sys.exit(3)
"""


@click.command()
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="human",
    help="Output format; json is a host file.",
)
@click.option(
    "--script",
    "wants_script",
    is_flag=True,
    help="Print a script that creates the host file on a machine without vmcfg.",
)
@click.option(
    "--compare",
    "earlier",
    metavar="FILE",
    help="Print what has changed since this host file was created.",
)
@click.option(
    "--common",
    is_flag=True,
    help=(
        "Print the registers that differ between the host files HOST, with values that all of these"
        " hosts accept, as key 'registers' of a description."
    ),
)
@click.argument("host_paths", nargs=-1, metavar="[HOST...]")
@image_options
@color_option
@help_option
def probe(
    format_: str,
    wants_script: bool,
    earlier: str | None,
    common: bool,
    host_paths: tuple[str, ...],
    image: str | None,
    machine: str | None,
    cpu: str | None,
    append: str | None,
    timeout: float | None,
    console: str | None,
    color: str,
) -> int:
    """Show what KVM on this host supports: capabilities, devices, attributes, registers, and PMUs.

    --image does not query this host, but KVM of an arm64 kernel that QEMU boots on any machine.

    --script does not query this host. To query another one: vmcfg probe --script | ssh HOST python3
    - > HOST.json. --common does not query this host either: HOST is a host file, or a directory of
    host files. The exit code is 1 if a register cannot be the same on all hosts.
    """
    if image is not None and (wants_script or common):
        raise click.UsageError("--image cannot be used with --script or --common.")
    try:
        guest = guest_of(image, machine, cpu, append, timeout, console)
        if common:
            return _print_common(hosts_of(host_paths))
        if host_paths:
            raise click.UsageError("HOST requires --common.")
        if wants_script:
            files.print_out(script_text())
            return 0
        before = None if earlier is None else host_file(files.read(earlier), earlier)
        host = _host(guest)
    except NoKvm as error:
        files.print_error(f"vmcfg: {error}\n")
        return FAILED
    if before is not None:
        changed = list(changes(before, host))
        files.print_out("".join(f"{line}\n" for line in changed))
        return FOUND if changed else 0
    if format_ == "json":
        files.print_out(json.dumps(host, indent=2) + "\n")
    elif is_terminal(sys.stdout) and wants_color(color, sys.stdout):
        files.print_out(table(("what", "name", "value"), facts(host)))
    else:
        files.print_out("".join(f"{what} {name} {value}\n" for what, name, value in facts(host)))
    return 0


def _host(guest: Guest | None) -> dict[str, Any]:
    """Return the host file of this host, or of `guest`. Raises `NoKvm`."""
    if guest is None:
        return probed_host(attributes())
    from vmcfg.trial.probing_images import probed_image

    return probed_image(guest, attributes())


def _print_common(hosts: list[Host]) -> int:
    """Print the registers that all hosts can have alike. Return the exit code."""
    if len(hosts) < 2:
        raise click.UsageError("--common requires at least two host files.")
    without = [host.name for host in hosts if not host.registers]
    if without:
        raise files.NoFile(
            f"{printable(without[0])} has no registers: run 'vmcfg probe --format json' on the host"
            " again"
        )
    common = common_registers(hosts)
    lines = [f"# The registers that differ between {len(hosts)} hosts, with values for all of them"]
    lines += ["registers:"] if common.values else ["# (none)"]
    lines += [f"  - {{name: {name}, value: {value:#x}}}" for name, value in common.values.items()]
    lines += [f"# {printable(reason)}" for reason in common.reasons]
    files.print_out("".join(f"{line}\n" for line in lines))
    return FOUND if common.reasons else 0


def attributes() -> list[dict[str, Any]]:
    """Return every attribute of the sequence, by the keys that `probed_host` needs."""
    asked: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in SEQUENCE:
        if row.attr is not None and VCPU in row.apis:
            told = {"target": row.target, "group": row.attr.group, "attr": row.attr.name}
            numbers = {
                "group_id": row.attr.group_id,
                "attr_id": row.attr.id,
                "gic": row.gic_version,
            }
            asked[row.target, row.attr.group, row.attr.name] = told | numbers
    return list(asked.values())


def script_text() -> str:
    """Return a complete Python script that prints the host file of the machine that runs it."""
    doc = "Print a host file: what KVM on this host supports. Created by vmcfg probe --script."
    return script(doc, CARRIED, BODY.format(attributes=ascii(json.dumps(attributes()))))
