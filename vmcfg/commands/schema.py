"""``vmcfg schema``: the JSON Schemas of what vmcfg reads and writes."""

from __future__ import annotations

import click

from vmcfg import files
from vmcfg.commands.options import help_option

SCHEMAS = {
    "vm": "descriptions, for completion and hover help in editors",
    "plan": "'emit --format json', and each line of 'emit --format jsonl'",
    "record": "each line that 'record' writes",
    "diagnostics": "'validate --format json'",
    "diff": "'diff --format json'",
    "show": "'show --format json'",
    "map": "'show --map --format json'",
    "decode": "'decode --format json'",
    "order": "'explain --format json' of the topic 'order'",
    "try": "'try --format json' of one file",
    "tries": "'try --format json' of several files",
    "emitted": "the list of written files in the directory of 'emit -o DIRECTORY/'",
    "host": "'probe --format json', the host files",
}
"""What each schema describes, by its name."""

HELP = (
    "Print the JSON Schema (2020-12) of descriptions, or of an output of vmcfg.\n\n\b\n"
    + "\n".join(f"{name:12} {what}" for name, what in SCHEMAS.items())
)


@click.command(help=HELP)
@click.argument(
    "name", type=click.Choice(list(SCHEMAS)), default="vm", metavar=f"[{'|'.join(SCHEMAS)}]"
)
@help_option
def schema(name: str) -> None:
    """Print a schema, as in HELP."""
    files.print_out(files.read(str(files.packed("schemas") / f"{name}-v1.schema.json")).decode())
