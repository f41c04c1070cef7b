"""``vmcfg example``: descriptions to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from vmcfg import files
from vmcfg.escape import printable
from vmcfg.nearest import nearest

SUFFIX = ".yaml"


@click.command()
@click.argument("name", required=False)
def example(name: str | None) -> None:
    """Print the sample description NAME; without NAME, list them with what each shows."""
    samples = _samples()
    if name is None:
        width = max(map(len, samples))
        for each, path in samples.items():
            files.print_out(f"{each:{width}}  {_shows(_text(path))}\n")
    elif name in samples:
        files.print_out(_text(samples[name]))
    else:
        raise click.UsageError(f"There is no sample {printable(name)!r}. {_instead(name, samples)}")


def _samples() -> dict[str, Path]:
    """The samples by name, the least first, the others in the order of their names."""
    folder = files.packed("sample-configs")
    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    if not names:
        raise files.NoFile(f"cannot read {printable(str(folder))}: the samples are not there")
    names.sort(key=lambda name: name != "minimal")
    return {name: folder / f"{name}{SUFFIX}" for name in names}


def _text(path: Path) -> str:
    return files.read(str(path)).decode()


def _shows(text: str) -> str:
    """What a sample shows: its first line, a comment."""
    return text.splitlines()[0].removeprefix("# ")


def _instead(name: str, samples: dict[str, Path]) -> str:
    """The sample that was likely meant, or all of them."""
    likely = nearest(name.lower().removesuffix(SUFFIX), samples)
    if likely is None:
        return f"The samples: {', '.join(samples)}."
    return f"Did you mean {likely!r}?"
