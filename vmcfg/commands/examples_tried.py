"""The descriptions of `try --examples`: the example of each rule that has one, and each sample."""

from __future__ import annotations

from vmcfg import files


def examples_tried() -> list[tuple[str, bytes]]:
    """Return every description with its name."""
    from vmcfg.reference.examples import EXAMPLES, example_of

    rules = [path for rule in EXAMPLES if (path := example_of(rule)) is not None]
    samples = sorted(files.packed("sample-configs").glob("*.yaml"))
    return [(path.name, files.read(str(path))) for path in (*rules, *samples)]
