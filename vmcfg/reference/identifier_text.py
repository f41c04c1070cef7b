"""The identifiers of a vCPU in words, with the limits of each."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.plans.apis import API_DOCS
from vmcfg.reference.layout import WIDEST, wrapped
from vmcfg.vm.identifier_limits import LIMITS


def identifiers_lines(width: int = WIDEST) -> Iterator[str]:
    """Yield how each interface identifies a vCPU, then the limits of each identifier."""
    yield from wrapped(
        "A vCPU has several identifiers, and different interfaces use different ones. `vmcfg show`"
        " lists them; `vmcfg decode` finds the vCPU that an identifier belongs to.",
        width,
    )
    yield ""
    yield "How the vCPU of a PMU interrupt is identified (emit --api):"
    for name, doc in API_DOCS.items():
        yield ""
        yield f"  {name}"
        yield from wrapped(doc, width, "    ")
    yield ""
    yield "The limits of each identifier:"
    for limit in LIMITS:
        yield ""
        yield from wrapped(limit.name, width, "  ")
        yield from wrapped(limit.holds, width, "    ")
        yield from wrapped(limit.bites, width, "    ")
        yield from wrapped(limit.source, width, "    source: ")
