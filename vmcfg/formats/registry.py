"""The table of plan formats, used by `vmcfg emit --format` and everything that lists them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vmcfg.plans.plan import Plan
    from vmcfg.text.tree import Tree


class Writer(Protocol):
    """The function of a format: of a plan, and of the tree with its positions."""

    def __call__(self, plan: Plan, tree: Tree, **options: bool) -> str:
        """Return the plan as text."""


class Format:
    """A format: `writer` is its function in a module of this room, as ``module.function``.

    `options` are the options of `vmcfg emit` for this format only, and `suffix` ends the names of
    its files. If it `is_executable`, every number must be known when the plan is emitted.
    """

    __slots__ = ("is_executable", "name", "options", "suffix", "writer")

    def __init__(
        self,
        name: str,
        *,
        writer: str,
        suffix: str,
        options: tuple[str, ...] = (),
        is_executable: bool = False,
    ) -> None:
        self.name = name
        self.writer = writer
        self.suffix = suffix
        self.options = options
        self.is_executable = is_executable

    def written(self, plan: Plan, tree: Tree, options: dict[str, bool]) -> str:
        """Return `plan` in this format. Its module is imported only here, to keep starts fast."""
        module, _, function = self.writer.partition(".")
        write: Writer = getattr(import_module(f"vmcfg.formats.{module}"), function)
        return write(plan, tree, **{name: options[name] for name in self.options})


FORMATS = {
    each.name: each
    for each in (
        Format("text", writer="text.text", suffix="plan", options=("numbers", "comments")),
        Format("json", writer="json_lines.json_object", suffix="json"),
        Format("jsonl", writer="json_lines.jsonl", suffix="jsonl"),
        Format("sh", writer="sh.sh", suffix="sh", is_executable=True),
        Format("c", writer="c.c", suffix="c", options=("main",), is_executable=True),
    )
}
"""By name, in the order of the documentation."""
