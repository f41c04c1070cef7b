"""Findings about one value that an anchor and its aliases give to several places."""

from __future__ import annotations

from collections.abc import Sequence

from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Position


def hint_of_shared_value(
    finding: Finding, place: Position, others: Sequence[Position]
) -> str | None:
    """Return the hint for a value that clashes with itself, because two of its places take it from
    one anchor; None if it has only one such place. `others` are the related places in order.

    Another value at the anchor would clash in the same way.
    """
    paths = [finding.path, *(path for path, _ in finding.related)]
    positions = [place, *others]
    sharing = {
        path
        for path, position in zip(paths, positions, strict=True)
        if (position.file, position.pointer) == (place.file, place.pointer)
    }
    if len(sharing) < 2:
        return None
    what = "vCPU" if all(path[:1] == ("vcpus",) for path in sharing) else "place"
    who = "both" if len(paths) == 2 else f"several {what}s"
    line = place.span.line
    return f"write a value for each {what}: {who} take the one in line {line} from its anchor"
