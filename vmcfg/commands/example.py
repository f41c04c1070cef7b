"""``vmcfg example``: descriptions to start from."""

from __future__ import annotations

from pathlib import Path

import click

from vmcfg import files
from vmcfg.commands.options import help_option
from vmcfg.escape import printable
from vmcfg.nearest import nearest

SUFFIX = ".yaml"


@click.command()
@click.argument("name", required=False)
@help_option
def example(name: str | None) -> None:
    """Print the sample description NAME. Without NAME, list all samples."""
    samples = _samples()
    if name is None:
        width = max(map(len, samples))
        for each, path in samples.items():
            files.print_out(f"{each:{width}}  {_shows(_text(path))}\n")
    elif name in samples:
        files.print_out(_text(samples[name]))
    else:
        raise click.UsageError(f"No such sample {printable(name)!r}. {_instead(name, samples)}")


def _samples() -> dict[str, Path]:
    """Return the samples by name: the minimal one, then the others in alphabetical order."""
    folder = files.packed("sample-configs")
    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    if not names:
        raise files.NoFile(f"cannot read {printable(str(folder))}: it contains no samples")
    names.sort(key=lambda name: name != "minimal")
    return {name: folder / f"{name}{SUFFIX}" for name in names}


def _text(path: Path) -> str:
    return files.read(str(path)).decode()


def _shows(text: str) -> str:
    """Return what a sample shows: its first line, which is a comment."""
    return text.splitlines()[0].removeprefix("# ")


def _instead(name: str, samples: dict[str, Path]) -> str:
    """Return the sample that was probably meant, or all of them."""
    likely = nearest(name.lower().removesuffix(SUFFIX), samples)
    if likely is None:
        return f"Samples: {', '.join(samples)}."
    return f"If you mean {likely!r}, write that."
