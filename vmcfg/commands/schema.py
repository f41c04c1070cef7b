"""``vmcfg schema``: the JSON Schemas of what vmcfg reads and writes."""

from __future__ import annotations

import click

from vmcfg import files

NAMES = ("vm", "plan", "diagnostics", "diff", "show")


@click.command()
@click.argument("name", type=click.Choice(NAMES), default="vm", metavar=f"[{'|'.join(NAMES)}]")
def schema(name: str) -> None:
    """Print a JSON Schema (2020-12).

    vm: of descriptions, for an editor's completion and hover help. plan: of emit --format jsonl,
    line by line, and of emit --format json. diagnostics: of validate --format json. diff: of diff
    --format json. show: of show --format json.
    """
    files.print_out(files.read(str(files.packed("schemas") / f"{name}-v1.schema.json")).decode())
