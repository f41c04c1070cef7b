"""The formats of plans: `vmcfg emit --format` and all that lists them read this table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vmcfg.plans.plan import Plan
    from vmcfg.text.tree import Tree


class Writer(Protocol):
    """What a format's module has: a function of the plan, and of the tree that has its places."""

    def __call__(self, plan: Plan, tree: Tree, **options: bool) -> str:
        """The plan as text."""


class Format:
    """A format: `writer` is its function in a module of this room, as ``module.function``.

    `options` are the options of `vmcfg emit` that it alone takes, `suffix` ends the names of its
    files, and a format that `runs_as_it_stands` can leave no number open that only a host knows.
    """

    __slots__ = ("name", "options", "runs_as_it_stands", "suffix", "writer")

    def __init__(
        self,
        name: str,
        *,
        writer: str,
        suffix: str,
        options: tuple[str, ...] = (),
        runs_as_it_stands: bool = False,
    ) -> None:
        self.name = name
        self.writer = writer
        self.suffix = suffix
        self.options = options
        self.runs_as_it_stands = runs_as_it_stands

    def written(self, plan: Plan, tree: Tree, options: dict[str, bool]) -> str:
        """`plan` in this format. Its module is loaded only now: no start pays for the others."""
        module, _, function = self.writer.partition(".")
        write: Writer = getattr(import_module(f"vmcfg.formats.{module}"), function)
        return write(plan, tree, **{name: options[name] for name in self.options})


FORMATS = {
    each.name: each
    for each in (
        Format("text", writer="text.text", suffix="plan", options=("numbers", "comments")),
        Format("json", writer="json_lines.json_object", suffix="json"),
        Format("jsonl", writer="json_lines.jsonl", suffix="jsonl"),
        Format("sh", writer="sh.sh", suffix="sh", runs_as_it_stands=True),
        Format("c", writer="c.c", suffix="c", options=("main",), runs_as_it_stands=True),
    )
}
"""By name, in the order in which they are documented."""
