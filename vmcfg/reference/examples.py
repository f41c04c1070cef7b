"""The example of each rule: a description that breaks it, as one of the tests has it."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "examples"


def example_of(rule_id: str) -> Path | None:
    """The description that shows a rule, where there is one; it is called as its test is."""
    return next(iter(FOLDER.glob(f"{rule_id}-*.yaml")), None)


def chosen_cases(cases: Path) -> list[Path]:
    """Of the descriptions in a folder that break a rule each, the one for each rule: the first by
    name.
    """
    chosen: dict[str, Path] = {}
    for case in sorted(cases.glob("VMC*-*.yaml")):
        rule_id, _, _ = case.name.partition("-")
        chosen.setdefault(rule_id, case)
    return list(chosen.values())
