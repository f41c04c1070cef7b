"""The identifiers of a vCPU in words, and what each cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from vmcfg.plans.apis import API_DOCS
from vmcfg.vm.identifier_limits import LIMITS


def identifiers_lines() -> Iterator[str]:
    """How each API names a vCPU, and the limits of each identifier."""
    yield (
        "A vCPU has several names, and each API takes another. `vmcfg show` lists them, `vmcfg"
        " decode` goes back."
    )
    yield ""
    yield "How user space says of which vCPU a PMU interrupt is (emit --api):"
    for name, doc in API_DOCS.items():
        yield ""
        yield f"  {name}"
        yield from _indented(doc)
    yield ""
    yield "What each name can't say:"
    for limit in LIMITS:
        yield ""
        yield f"  {limit.name}"
        for text in (limit.holds, limit.bites, f"({limit.source})"):
            yield from _indented(text)


def _indented(text: str) -> list[str]:
    return wrap(text, 116, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
