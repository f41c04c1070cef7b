"""The positions in a description with defaults: each path in the file that wrote its value."""

from __future__ import annotations

from vmcfg.findings.finding import On
from vmcfg.findings.position import Path, Position, Start
from vmcfg.text.nodes import Mapping, Merged, Node, as_written
from vmcfg.text.positions import Positions


class LayeredPositions:
    """The positions in `root`, the mapping of a description that is read from `text`, with keys
    from `defaults`, which are in `file`.
    """

    def __init__(self, root: Mapping, text: str, defaults: Positions, file: str) -> None:
        self.root = root
        self.own = Positions(as_written(root), text)
        self.defaults = defaults
        self.file = file

    def position(self, path: Path, on: On) -> Position:
        """Return the position of `path`, as `Positions.position` does in one file."""
        if self._is_default(path):
            return self.defaults.position(path, on)._replace(file=self.file)
        return self.own.position(path, on)

    def start(self, path: Path) -> Start:
        """Return where the value of `path` begins."""
        if self._is_default(path):
            return self.defaults.start(path)._replace(file=self.file)
        return self.own.start(path)

    def _is_default(self, path: Path) -> bool:
        """Return whether the value of `path` is from the defaults; a value that nobody wrote is
        not.
        """
        node: Node = self.root
        for step in path:
            if not isinstance(node, Merged) or not isinstance(step, str):
                return False
            if step not in node.own.values:
                return step in node.values
            node = node.values[step]
        return False
