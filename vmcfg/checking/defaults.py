"""Defaults: read and checked alone, before any description."""

from __future__ import annotations

from vmcfg.checking.check import CheckFailed, Defaults, placed
from vmcfg.description.defaults import read_defaults
from vmcfg.findings.diagnostic import Diagnostic, in_order
from vmcfg.text.tree import Tree


def defaults_in(data: bytes, file: str) -> Defaults:
    """Return the defaults in the text `data` of `file`. Raises `CheckFailed` if reading fails."""
    try:
        tree = Tree(file, data)
        found = [] if tree.root is None else read_defaults(tree.root)
        return Defaults(data, tree, in_order([*tree.diagnostics, *placed(tree, found)]))
    except Exception as error:
        raise CheckFailed(file, error) from error


def is_in_defaults(found: Diagnostic, defaults: Defaults) -> bool:
    """Return whether a finding is wholly in the defaults: no place of it is in a description."""
    file = defaults.tree.file
    return found.file == file and all(each.file == file for each in found.related)
